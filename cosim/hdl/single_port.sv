// The reference of the MMIO benchmark: a tile of the same RTL with the port of one core brought out, for cocotbext-axi.
`timescale 1ps / 1ps

module single_port (
    input wire clk, input wire rst,
    input wire [31:0] core_awaddr, input wire [2:0] core_awprot, input wire core_awvalid, output wire core_awready,
    input wire [63:0] core_wdata, input wire [7:0] core_wstrb, input wire core_wvalid, output wire core_wready,
    output wire [1:0] core_bresp, output wire core_bvalid, input wire core_bready,
    input wire [31:0] core_araddr, input wire [2:0] core_arprot, input wire core_arvalid, output wire core_arready,
    output wire [63:0] core_rdata, output wire [1:0] core_rresp, output wire core_rvalid, input wire core_rready
);
    localparam int CORES = machine::CORES, LINKS = machine::LINKS, CHANNELS = machine::CHANNELS;
    localparam int CHANNEL_BITS = machine::CHANNEL_BITS, DIMENSIONS = machine::DIMENSIONS, DATA_BITS = machine::DATA_BITS;
    wire [CORES-1:0] awready, wready, bvalid, arready, rvalid;
    wire [CORES*2-1:0] bresp, rresp;
    wire [CORES*64-1:0] rdata;
    assign core_awready = awready[0], core_wready = wready[0], core_bvalid = bvalid[0], core_bresp = bresp[1:0];
    assign core_arready = arready[0], core_rvalid = rvalid[0], core_rresp = rresp[1:0], core_rdata = rdata[63:0];

    tile tile (
        .clk, .rst, .now(64'd0), .quiescent(), .interrupts(), .dropped(),
        .bases({DIMENSIONS * 16{1'b0}}), .ties({DIMENSIONS{1'b0}}),
        .core_awaddr({CORES{core_awaddr}}), .core_awprot({CORES{core_awprot}}),
        .core_awvalid({{CORES - 1{1'b0}}, core_awvalid}), .core_awready(awready),
        .core_wdata({CORES{core_wdata}}), .core_wstrb({CORES{core_wstrb}}),
        .core_wvalid({{CORES - 1{1'b0}}, core_wvalid}), .core_wready(wready),
        .core_bresp(bresp), .core_bvalid(bvalid), .core_bready({CORES{core_bready}}),
        .core_araddr({CORES{core_araddr}}), .core_arprot({CORES{core_arprot}}),
        .core_arvalid({{CORES - 1{1'b0}}, core_arvalid}), .core_arready(arready),
        .core_rdata(rdata), .core_rresp(rresp), .core_rvalid(rvalid), .core_rready({CORES{core_rready}}),
        .memory__awid(), .memory__awaddr(), .memory__awlen(), .memory__awsize(), .memory__awburst(),
        .memory__awvalid(), .memory__awready(1'b1), .memory__wdata(), .memory__wstrb(), .memory__wlast(),
        .memory__wvalid(), .memory__wready(1'b1), .memory__bid(1'b0), .memory__bresp(2'b0), .memory__bvalid(1'b0),
        .memory__bready(), .memory__arid(), .memory__araddr(), .memory__arlen(), .memory__arsize(), .memory__arburst(),
        .memory__arvalid(), .memory__arready(1'b1), .memory__rid(1'b0), .memory__rdata({DATA_BITS{1'b0}}),
        .memory__rresp(2'b0), .memory__rlast(1'b0), .memory__rvalid(1'b0), .memory__rready(),
        .o_link__valid(), .o_link__channel(), .o_link__flit(), .o_link__credit({LINKS * CHANNELS{1'b0}}),
        .i_link__valid({LINKS{1'b0}}), .i_link__channel({LINKS * CHANNEL_BITS{1'b0}}),
        .i_link__flit({LINKS * (DATA_BITS + 1){1'b0}}), .i_link__credit(),
        .tx_flit(), .tx_last(), .tx_valid(), .tx_ready(), .rx_flit(), .rx_last(), .rx_valid(), .rx_ready()
    );
endmodule
