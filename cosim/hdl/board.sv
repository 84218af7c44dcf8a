// All stations of the machine, the fabric between them, and a gated clock for each: a clock runs while anything that it
// clocks would change at an edge.
//
// How large it all is stands in the package `machine`, beside the RTL. Index i's part of a vector is
// [i * width +: width]: index node * CORES + core of `core_*` and `interrupts`; of `dropped` the node's number,
// and after all nodes the fabric's own. `now` is the time in clock cycles and changes when `clk` falls at the latest.
`timescale 1ps / 1ps

module board #(
    parameter int GATED = 1,  // 0: all clocks run
    parameter longint MEMORY_BYTES = 1 << 20,
    parameter longint MEMORY_BASE = 1 << 20,
    parameter int READ_LATENCY = 1,
    parameter int WRITE_LATENCY = 1,
    parameter longint RECORDS = 1024,
    parameter longint RINGS_BASE = 4096
) (
    input wire clk,
    input wire rst,
    input wire [63:0] now,
    output wire quiescent,
    output wire [machine::NODES*machine::CORES-1:0] interrupts,
    output wire [(machine::NODES+1)*32-1:0] dropped,

    input wire [machine::NODES*machine::CORES*32-1:0] core_awaddr, core_araddr,
    input wire [machine::NODES*machine::CORES*3-1:0] core_awprot, core_arprot,
    input wire [machine::NODES*machine::CORES-1:0] core_awvalid, core_wvalid, core_bready, core_arvalid, core_rready,
    output wire [machine::NODES*machine::CORES-1:0] core_awready, core_wready, core_bvalid, core_arready, core_rvalid,
    input wire [machine::NODES*machine::CORES*64-1:0] core_wdata,
    input wire [machine::NODES*machine::CORES*8-1:0] core_wstrb,
    output wire [machine::NODES*machine::CORES*64-1:0] core_rdata,
    output wire [machine::NODES*machine::CORES*2-1:0] core_bresp, core_rresp
);
    localparam int NODES = machine::NODES, CORES = machine::CORES, DIMENSIONS = machine::DIMENSIONS;
    localparam int LINKS = machine::LINKS, CHANNELS = machine::CHANNELS, CHANNEL_BITS = machine::CHANNEL_BITS;
    localparam int FLIT = machine::DATA_BITS + 1;
    localparam longint RINGS_BYTES = 4 * (64 + 96 * RECORDS);

    wire [NODES*DIMENSIONS*16-1:0] bases;
    wire [NODES*DIMENSIONS-1:0] ties;
    wire [NODES*LINKS-1:0] o_link_valid, i_link_valid;
    wire [NODES*LINKS*CHANNEL_BITS-1:0] o_link_channel, i_link_channel;
    wire [NODES*LINKS*FLIT-1:0] o_link_flit, i_link_flit;
    wire [NODES*LINKS*CHANNELS-1:0] o_link_credit, i_link_credit;

    wire [NODES:0] quiescents;  // the last one is the fabric's
    assign quiescent = quiescents == {NODES + 1{1'b1}};

    genvar n;
    generate
        for (n = 0; n < NODES; n = n + 1) begin : node
            wire gated;
            wire [63:0] time_here;
            clock_gate gate (.clk, .enable(rst || !GATED || !quiescents[n]), .now, .gated, .now_gated(time_here));
            station station (
                .clk(gated), .rst, .now(time_here), .quiescent(quiescents[n]), .interrupts(interrupts[n*CORES+:CORES]),
                .memory_base(MEMORY_BASE + n * MEMORY_BYTES), .memory_bytes(MEMORY_BYTES),
                .read_latency(READ_LATENCY), .write_latency(WRITE_LATENCY),
                .rings_base(RINGS_BASE + n * RINGS_BYTES), .ring_records(RECORDS),
                .core_awaddr(core_awaddr[n*CORES*32+:CORES*32]), .core_awprot(core_awprot[n*CORES*3+:CORES*3]),
                .core_awvalid(core_awvalid[n*CORES+:CORES]), .core_awready(core_awready[n*CORES+:CORES]),
                .core_wdata(core_wdata[n*CORES*64+:CORES*64]), .core_wstrb(core_wstrb[n*CORES*8+:CORES*8]),
                .core_wvalid(core_wvalid[n*CORES+:CORES]), .core_wready(core_wready[n*CORES+:CORES]),
                .core_bresp(core_bresp[n*CORES*2+:CORES*2]), .core_bvalid(core_bvalid[n*CORES+:CORES]),
                .core_bready(core_bready[n*CORES+:CORES]),
                .core_araddr(core_araddr[n*CORES*32+:CORES*32]), .core_arprot(core_arprot[n*CORES*3+:CORES*3]),
                .core_arvalid(core_arvalid[n*CORES+:CORES]), .core_arready(core_arready[n*CORES+:CORES]),
                .core_rdata(core_rdata[n*CORES*64+:CORES*64]), .core_rresp(core_rresp[n*CORES*2+:CORES*2]),
                .core_rvalid(core_rvalid[n*CORES+:CORES]), .core_rready(core_rready[n*CORES+:CORES]),
                .bases(bases[n*DIMENSIONS*16+:DIMENSIONS*16]), .ties(ties[n*DIMENSIONS+:DIMENSIONS]),
                .dropped(dropped[n*32+:32]),
                .o_link_valid(o_link_valid[n*LINKS+:LINKS]),
                .o_link_channel(o_link_channel[n*LINKS*CHANNEL_BITS+:LINKS*CHANNEL_BITS]),
                .o_link_flit(o_link_flit[n*LINKS*FLIT+:LINKS*FLIT]),
                .o_link_credit(o_link_credit[n*LINKS*CHANNELS+:LINKS*CHANNELS]),
                .i_link_valid(i_link_valid[n*LINKS+:LINKS]),
                .i_link_channel(i_link_channel[n*LINKS*CHANNEL_BITS+:LINKS*CHANNEL_BITS]),
                .i_link_flit(i_link_flit[n*LINKS*FLIT+:LINKS*FLIT]),
                .i_link_credit(i_link_credit[n*LINKS*CHANNELS+:LINKS*CHANNELS])
            );
        end
    endgenerate

    wire fabric_clk;
    clock_gate gate (.clk, .enable(rst || !GATED || !quiescents[NODES]), .now, .gated(fabric_clk), .now_gated());
    fabric fabric (
        .clk(fabric_clk), .rst, .dropped(dropped[NODES*32+:32]), .quiescent(quiescents[NODES]), .bases, .ties,
        .o_link_valid, .o_link_channel, .o_link_flit, .o_link_credit,
        .i_link_valid, .i_link_channel, .i_link_flit, .i_link_credit
    );
endmodule
