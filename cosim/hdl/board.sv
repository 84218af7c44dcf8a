// The RTL in `machine` with a memory for each node and a monitor for each stream of packets that a node sends or receives.
//
// Index i's part of a vector is [i * width +: width]; index i is a clock of rtl/wrapper.py in `clk` and `quiescent`,
// node * CORES + core in `core_*`, the node in `interrupt`, a router in `fabric_dropped`.
`include "store.svh"

module board #(
    parameter int NODES = 1,
    parameter int CORES = 1,
    parameter int CLOCKS = 1,
    parameter int ROUTERS = 1,
    parameter int DATA_BITS = 64,
    parameter longint MEMORY_BYTES = 1 << 20,
    parameter longint MEMORY_BASE = 1 << 20,
    parameter int READ_LATENCY = 1,
    parameter int WRITE_LATENCY = 1,
    parameter longint RECORDS = 1024,
    parameter longint RINGS_BASE = 4096
) (
    input wire [CLOCKS-1:0] clk,
    input wire rst,
    input wire [63:0] now,
    output wire [CLOCKS-1:0] quiescent,
    output wire [NODES-1:0] interrupt,
    output wire [ROUTERS*32-1:0] fabric_dropped,

    input wire [NODES*CORES*32-1:0] core_awaddr, core_araddr,
    input wire [NODES*CORES*3-1:0] core_awprot, core_arprot,
    input wire [NODES*CORES-1:0] core_awvalid, core_wvalid, core_bready, core_arvalid, core_rready,
    output wire [NODES*CORES-1:0] core_awready, core_wready, core_bvalid, core_arready, core_rvalid,
    input wire [NODES*CORES*64-1:0] core_wdata,
    input wire [NODES*CORES*8-1:0] core_wstrb,
    output wire [NODES*CORES*64-1:0] core_rdata,
    output wire [NODES*CORES*2-1:0] core_bresp, core_rresp
);
    localparam longint RING_BYTES = 64 + 96 * RECORDS;
    localparam int STROBES = DATA_BITS / 8;

    wire [NODES*48-1:0] memory_awaddr, memory_araddr;
    wire [NODES*8-1:0] memory_awlen, memory_arlen;
    wire [NODES*DATA_BITS-1:0] memory_wdata, memory_rdata;
    wire [NODES*STROBES-1:0] memory_wstrb;
    wire [NODES-1:0] memory_awid, memory_arid, memory_awvalid, memory_awready, memory_wlast, memory_wvalid, memory_wready;
    wire [NODES-1:0] memory_bvalid, memory_bready, memory_arvalid, memory_arready, memory_rlast, memory_rvalid, memory_rready;
    wire [NODES*3-1:0] memory_awsize, memory_arsize;
    wire [NODES*2-1:0] memory_awburst, memory_arburst, memory_bresp, memory_rresp;
    wire [NODES-1:0] memory_bid = 0, memory_rid = 0;

    wire [2*NODES*DATA_BITS-1:0] tx_flit, rx_flit;
    wire [2*NODES-1:0] tx_last, tx_valid, tx_ready, rx_last, rx_valid, rx_ready;

    wire [CLOCKS-1:0] machine_quiescent;
    wire [NODES-1:0] memory_quiescent;
    // A crossbar's switch has a clock of its own, and no memory.
    assign quiescent = machine_quiescent & ~(CLOCKS'(~memory_quiescent));

    machine machine (.quiescent(machine_quiescent), .*);

    genvar n, s;
    generate
        for (n = 0; n < NODES; n = n + 1) begin : node
            host_memory #(
                .BASE(MEMORY_BASE + n * MEMORY_BYTES),
                .BYTES(MEMORY_BYTES),
                .READ_LATENCY(READ_LATENCY),
                .WRITE_LATENCY(WRITE_LATENCY),
                .DATA_BITS(DATA_BITS)
            ) memory (
                .clk(clk[n]),
                .quiescent(memory_quiescent[n]),
                .awaddr(memory_awaddr[n*48+:48]), .awlen(memory_awlen[n*8+:8]),
                .awvalid(memory_awvalid[n]), .awready(memory_awready[n]),
                .wdata(memory_wdata[n*DATA_BITS+:DATA_BITS]), .wstrb(memory_wstrb[n*STROBES+:STROBES]),
                .wlast(memory_wlast[n]), .wvalid(memory_wvalid[n]), .wready(memory_wready[n]),
                .bresp(memory_bresp[n*2+:2]), .bvalid(memory_bvalid[n]), .bready(memory_bready[n]),
                .araddr(memory_araddr[n*48+:48]), .arlen(memory_arlen[n*8+:8]),
                .arvalid(memory_arvalid[n]), .arready(memory_arready[n]),
                .rdata(memory_rdata[n*DATA_BITS+:DATA_BITS]), .rresp(memory_rresp[n*2+:2]), .rlast(memory_rlast[n]),
                .rvalid(memory_rvalid[n]), .rready(memory_rready[n])
            );
            for (s = 2 * n; s < 2 * n + 2; s = s + 1) begin : packets
                packet_monitor #(
                    .RING(RINGS_BASE + 2 * s * RING_BYTES), .RECORDS(RECORDS), .DATA_BITS(DATA_BITS)
                ) sent (
                    .clk(clk[n]), .flit(tx_flit[s*DATA_BITS+:DATA_BITS]),
                    .last(tx_last[s]), .valid(tx_valid[s]), .ready(tx_ready[s])
                );
                packet_monitor #(
                    .RING(RINGS_BASE + (2 * s + 1) * RING_BYTES), .RECORDS(RECORDS), .DATA_BITS(DATA_BITS)
                ) received (
                    .clk(clk[n]), .flit(rx_flit[s*DATA_BITS+:DATA_BITS]),
                    .last(rx_last[s]), .valid(rx_valid[s]), .ready(rx_ready[s])
                );
            end
        end
    endgenerate
endmodule
