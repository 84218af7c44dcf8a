// The simulated machine: the clock, one port per core, and the board with RTL, gates, memories and monitors.
//
// Python reads and writes the store; of the signals below it touches only the ports' `request` and `cancel`, `done`,
// `finished`, `cycles`, `dropped`, and `cycles` of the board's gates.
`timescale 1ps / 1ps
`include "store.svh"
`ifdef VERILATOR
import "DPI-C" function longint nimble_store_read(input longint offset);
import "DPI-C" function void nimble_store_write(input longint offset, input longint data, input byte strobe);
`endif

module top #(
    parameter int GATED = 1,  // 0: all clocks run while any does
    parameter int PERIOD_PS = 4000,
    parameter longint MEMORY_BYTES = 1 << 20,
    parameter int READ_LATENCY = 1,
    parameter int WRITE_LATENCY = 1,
    parameter longint RECORDS = 1024,
    parameter longint MAILBOX_BASE = 0,
    parameter longint RINGS_BASE = 4096,
    parameter longint MEMORY_BASE = 1 << 20
);
    localparam int NODES = machine::NODES, CORES = machine::CORES, PORTS = NODES * CORES;

    // ---- clock: runs while anything would change at an edge, always on the same grid ----
    reg clk = 0;
    reg [63:0] now = 0;  // whole periods that have passed when the clock falls
    reg [63:0] cycles = 0;
    reg [3:0] reset_count = 8;
    wire rst = reset_count != 0;
    wire busy;

    always begin
        if (!busy) wait (busy);
        #(PERIOD_PS - ($time % PERIOD_PS)) clk = 1;
        cycles = cycles + 1;
        #(PERIOD_PS / 2) now = $time / PERIOD_PS;
        clk = 0;
    end

    always @(posedge clk) if (rst) reset_count <= reset_count - 1;

`ifdef NIMBLE_WAVES
    // Verilator's waveforms are main.cpp's.
    reg [8*1024-1:0] waves_file;
    reg [63:0] waves_from, waves_to;
    initial
        if ($value$plusargs("waves=%s", waves_file)) begin
            if (!$value$plusargs("waves_from=%d", waves_from)) waves_from = 0;
            #(waves_from);
            $dumpfile(waves_file);
            $dumpvars(0, top);
            if ($value$plusargs("waves_to=%d", waves_to)) #(waves_to - waves_from) $dumpoff;
        end
`endif

    // ---- the machine ----
    wire [PORTS*32-1:0] core_awaddr, core_araddr;
    wire [PORTS*3-1:0] core_awprot, core_arprot;
    wire [PORTS-1:0] core_awvalid, core_awready, core_wvalid, core_wready, core_bvalid, core_arvalid, core_arready, core_rvalid;
    wire [PORTS*64-1:0] core_wdata, core_rdata;
    wire [PORTS*2-1:0] core_bresp, core_rresp;
    wire [PORTS-1:0] interrupts;
    wire [(NODES+1)*32-1:0] dropped;
    wire quiescent;

    // What a core asks for reaches the bus with an edge of `clk`; from then on it is its node that is not quiescent.
    board #(
        .GATED(GATED), .MEMORY_BYTES(MEMORY_BYTES), .MEMORY_BASE(MEMORY_BASE), .READ_LATENCY(READ_LATENCY),
        .WRITE_LATENCY(WRITE_LATENCY), .RECORDS(RECORDS), .RINGS_BASE(RINGS_BASE)
    ) board (
        .core_wstrb({PORTS * 8{1'b1}}), .core_bready({PORTS{1'b1}}), .core_rready({PORTS{1'b1}}), .*
    );

    // ---- cores ----
    wire [PORTS-1:0] done;
    wire [PORTS-1:0] port_busy;
    reg finished = 0  /* Python writes */;

    assign busy = rst || port_busy != 0 || !quiescent;

    genvar n, c;
    generate
        for (n = 0; n < NODES; n = n + 1) begin : node
            for (c = 0; c < CORES; c = c + 1) begin : core
                localparam int P = n * CORES + c;
                core_port #(
                    .MAILBOX(MAILBOX_BASE + 64 * P)
                ) port (
                    .clk,
                    .interrupt(interrupts[P]),
                    .busy(port_busy[P]),
                    .done(done[P]),
                    .awaddr(core_awaddr[P*32+:32]), .awprot(core_awprot[P*3+:3]),
                    .awvalid(core_awvalid[P]), .awready(core_awready[P]),
                    .wdata(core_wdata[P*64+:64]), .wvalid(core_wvalid[P]), .wready(core_wready[P]),
                    .bresp(core_bresp[P*2+:2]), .bvalid(core_bvalid[P]),
                    .araddr(core_araddr[P*32+:32]), .arprot(core_arprot[P*3+:3]),
                    .arvalid(core_arvalid[P]), .arready(core_arready[P]),
                    .rdata(core_rdata[P*64+:64]), .rresp(core_rresp[P*2+:2]), .rvalid(core_rvalid[P])
                );
            end
        end
    endgenerate
endmodule
