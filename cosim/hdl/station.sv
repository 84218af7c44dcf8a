// A tile of the machine with what stands around it: its memory, and a monitor for each stream of packets that its node
// sends or receives. All that differs between machines of the same RTL is told by inputs, which never change: one
// compiled module serves all nodes.
`timescale 1ps / 1ps
`include "store.svh"

module station (
    input wire clk,
    input wire rst,
    input wire [63:0] now,
    output wire quiescent,
    output wire [machine::CORES-1:0] interrupts,
    input wire [63:0] memory_base,  // in the store
    input wire [63:0] memory_bytes,
    input wire [31:0] read_latency, write_latency,
    input wire [63:0] rings_base,
    input wire [63:0] ring_records,

    input wire [machine::CORES*32-1:0] core_awaddr, core_araddr,
    input wire [machine::CORES*3-1:0] core_awprot, core_arprot,
    input wire [machine::CORES-1:0] core_awvalid, core_wvalid, core_bready, core_arvalid, core_rready,
    output wire [machine::CORES-1:0] core_awready, core_wready, core_bvalid, core_arready, core_rvalid,
    input wire [machine::CORES*64-1:0] core_wdata,
    input wire [machine::CORES*8-1:0] core_wstrb,
    output wire [machine::CORES*64-1:0] core_rdata,
    output wire [machine::CORES*2-1:0] core_bresp, core_rresp,

    input wire [machine::DIMENSIONS*16-1:0] bases,
    input wire [machine::DIMENSIONS-1:0] ties,
    output wire [31:0] dropped,
    output wire [machine::LINKS-1:0] o_link_valid,
    output wire [machine::LINKS*machine::CHANNEL_BITS-1:0] o_link_channel,
    output wire [machine::LINKS*(machine::DATA_BITS+1)-1:0] o_link_flit,
    input wire [machine::LINKS*machine::CHANNELS-1:0] o_link_credit,
    input wire [machine::LINKS-1:0] i_link_valid,
    input wire [machine::LINKS*machine::CHANNEL_BITS-1:0] i_link_channel,
    input wire [machine::LINKS*(machine::DATA_BITS+1)-1:0] i_link_flit,
    output wire [machine::LINKS*machine::CHANNELS-1:0] i_link_credit
);
    localparam int DATA_BITS = machine::DATA_BITS;
    wire [47:0] awaddr, araddr;
    wire [7:0] awlen, arlen;
    wire [2:0] awsize, arsize;
    wire [1:0] awburst, arburst;
    wire [DATA_BITS-1:0] wdata, rdata;
    wire [DATA_BITS/8-1:0] wstrb;
    wire [1:0] bresp, rresp;
    wire awvalid, awready, wlast, wvalid, wready, bvalid, bready, arvalid, arready, rlast, rvalid, rready;
    wire [2*DATA_BITS-1:0] tx_flit, rx_flit;
    wire [1:0] tx_last, tx_valid, tx_ready, rx_last, rx_valid, rx_ready;
    wire tile_quiescent, memory_quiescent;
    assign quiescent = tile_quiescent && memory_quiescent && !tile_rst;

    // Every register of the tile looks at its reset. Coming from a register itself, it is no input of this module by
    // which the simulator would have to look at every register once more whenever any input changes.
    reg tile_rst = 1;
    always @(posedge clk) tile_rst <= rst;

    tile tile (
        .clk, .rst(tile_rst), .now, .quiescent(tile_quiescent), .interrupts, .dropped, .bases, .ties,
        .core_awaddr, .core_awprot, .core_awvalid, .core_awready, .core_wdata, .core_wstrb, .core_wvalid, .core_wready,
        .core_bresp, .core_bvalid, .core_bready, .core_araddr, .core_arprot, .core_arvalid, .core_arready,
        .core_rdata, .core_rresp, .core_rvalid, .core_rready,
        .memory__awid(), .memory__awaddr(awaddr), .memory__awlen(awlen), .memory__awsize(awsize), .memory__awburst(awburst),
        .memory__awvalid(awvalid), .memory__awready(awready),
        .memory__wdata(wdata), .memory__wstrb(wstrb), .memory__wlast(wlast), .memory__wvalid(wvalid),
        .memory__wready(wready),
        .memory__bid(1'b0), .memory__bresp(bresp), .memory__bvalid(bvalid), .memory__bready(bready),
        .memory__arid(), .memory__araddr(araddr), .memory__arlen(arlen), .memory__arsize(arsize), .memory__arburst(arburst),
        .memory__arvalid(arvalid), .memory__arready(arready),
        .memory__rid(1'b0), .memory__rdata(rdata), .memory__rresp(rresp), .memory__rlast(rlast),
        .memory__rvalid(rvalid), .memory__rready(rready),
        .o_link__valid(o_link_valid), .o_link__channel(o_link_channel), .o_link__flit(o_link_flit),
        .o_link__credit(o_link_credit),
        .i_link__valid(i_link_valid), .i_link__channel(i_link_channel), .i_link__flit(i_link_flit),
        .i_link__credit(i_link_credit),
        .tx_flit, .tx_last, .tx_valid, .tx_ready, .rx_flit, .rx_last, .rx_valid, .rx_ready
    );

    host_memory #(.DATA_BITS(DATA_BITS)) memory (
        .clk, .quiescent(memory_quiescent), .base(memory_base), .bytes(memory_bytes), .read_latency, .write_latency,
        .awaddr, .awlen, .awvalid, .awready, .wdata, .wstrb, .wlast, .wvalid, .wready, .bresp, .bvalid, .bready,
        .araddr, .arlen, .arvalid, .arready, .rdata, .rresp, .rlast, .rvalid, .rready
    );

    axi_rules #(.DATA_BITS(DATA_BITS)) memory_rules (
        .clk, .rst(tile_rst), .awaddr, .awlen, .awsize, .awburst, .awvalid, .awready, .wdata, .wstrb, .wlast, .wvalid, .wready,
        .bresp, .bvalid, .bready,
        .araddr, .arlen, .arsize, .arburst, .arvalid, .arready, .rdata, .rresp, .rlast, .rvalid, .rready
    );

    genvar c;
    generate
        for (c = 0; c < machine::CORES; c = c + 1) begin : core
            axi_lite_rules rules (
                .clk, .rst(tile_rst), .awaddr(core_awaddr[c*32+:32]), .awprot(core_awprot[c*3+:3]),
                .awvalid(core_awvalid[c]), .awready(core_awready[c]),
                .wdata(core_wdata[c*64+:64]), .wstrb(core_wstrb[c*8+:8]), .wvalid(core_wvalid[c]), .wready(core_wready[c]),
                .bresp(core_bresp[c*2+:2]), .bvalid(core_bvalid[c]), .bready(core_bready[c]),
                .araddr(core_araddr[c*32+:32]), .arprot(core_arprot[c*3+:3]),
                .arvalid(core_arvalid[c]), .arready(core_arready[c]),
                .rdata(core_rdata[c*64+:64]), .rresp(core_rresp[c*2+:2]), .rvalid(core_rvalid[c]), .rready(core_rready[c])
            );
        end
    endgenerate

    wire [63:0] ring_bytes = 64'd64 + 64'd96 * ring_records;
    genvar s;
    generate
        for (s = 0; s < 2; s = s + 1) begin : packets
            packet_monitor #(.DATA_BITS(DATA_BITS)) sent (
                .clk, .ring(rings_base + 2 * s * ring_bytes), .records(ring_records),
                .flit(tx_flit[s*DATA_BITS+:DATA_BITS]), .last(tx_last[s]), .valid(tx_valid[s]), .ready(tx_ready[s])
            );
            packet_monitor #(.DATA_BITS(DATA_BITS)) received (
                .clk, .ring(rings_base + (2 * s + 1) * ring_bytes), .records(ring_records),
                .flit(rx_flit[s*DATA_BITS+:DATA_BITS]), .last(rx_last[s]), .valid(rx_valid[s]), .ready(rx_ready[s])
            );
        end
    endgenerate
endmodule
