// The reference of the MMIO benchmark: the same RTL with the port of one core brought out, for cocotbext-axi.
`timescale 1ps / 1ps

module single_port #(
    parameter int NODES = 1,
    parameter int CORES = 1,
    parameter int CLOCKS = 1,
    parameter int DATA_BITS = 64
) (
    input wire clk, input wire rst,
    input wire [31:0] core_awaddr, input wire [2:0] core_awprot, input wire core_awvalid, output wire core_awready,
    input wire [63:0] core_wdata, input wire [7:0] core_wstrb, input wire core_wvalid, output wire core_wready,
    output wire [1:0] core_bresp, output wire core_bvalid, input wire core_bready,
    input wire [31:0] core_araddr, input wire [2:0] core_arprot, input wire core_arvalid, output wire core_arready,
    output wire [63:0] core_rdata, output wire [1:0] core_rresp, output wire core_rvalid, input wire core_rready
);
    localparam int PORTS = NODES * CORES;
    wire [PORTS-1:0] awready, wready, bvalid, arready, rvalid;
    wire [PORTS*2-1:0] bresp, rresp;
    wire [PORTS*64-1:0] rdata;
    assign core_awready = awready[0], core_wready = wready[0], core_bvalid = bvalid[0], core_bresp = bresp[1:0];
    assign core_arready = arready[0], core_rvalid = rvalid[0], core_rresp = rresp[1:0], core_rdata = rdata[63:0];

    machine machine (
        .clk({CLOCKS{clk}}), .rst, .now(64'd0),
        .core_awaddr({PORTS{core_awaddr}}), .core_awprot({PORTS{core_awprot}}),
        .core_awvalid({{PORTS - 1{1'b0}}, core_awvalid}), .core_awready(awready),
        .core_wdata({PORTS{core_wdata}}), .core_wstrb({PORTS{core_wstrb}}),
        .core_wvalid({{PORTS - 1{1'b0}}, core_wvalid}), .core_wready(wready),
        .core_bresp(bresp), .core_bvalid(bvalid), .core_bready({PORTS{core_bready}}),
        .core_araddr({PORTS{core_araddr}}), .core_arprot({PORTS{core_arprot}}),
        .core_arvalid({{PORTS - 1{1'b0}}, core_arvalid}), .core_arready(arready),
        .core_rdata(rdata), .core_rresp(rresp), .core_rvalid(rvalid), .core_rready({PORTS{core_rready}}),
        .memory_awid(), .memory_awaddr(), .memory_awlen(), .memory_awsize(), .memory_awburst(), .memory_awvalid(),
        .memory_awready({NODES{1'b1}}), .memory_wdata(), .memory_wstrb(), .memory_wlast(), .memory_wvalid(),
        .memory_wready({NODES{1'b1}}), .memory_bid({NODES{1'b0}}), .memory_bresp({NODES{2'b0}}),
        .memory_bvalid({NODES{1'b0}}), .memory_bready(),
        .memory_arid(), .memory_araddr(), .memory_arlen(), .memory_arsize(), .memory_arburst(), .memory_arvalid(),
        .memory_arready({NODES{1'b1}}), .memory_rid({NODES{1'b0}}), .memory_rdata({NODES * DATA_BITS{1'b0}}),
        .memory_rresp({NODES{2'b0}}), .memory_rlast({NODES{1'b0}}), .memory_rvalid({NODES{1'b0}}), .memory_rready(),
        .interrupt(), .quiescent(), .fabric_dropped(),
        .tx_flit(), .tx_last(), .tx_valid(), .tx_ready(), .rx_flit(), .rx_last(), .rx_valid(), .rx_ready()
    );
endmodule
