// The simulated machine: clock and gate, one memory per node, one port per core, monitors, and the RTL in `machine`.
//
// Python reads and writes the store; of the signals below it touches only the ports' `request` and `cancel`, `done`,
// `finished` and `cycles`.
`timescale 1ps / 1ps
`include "store.svh"
`ifdef VERILATOR
import "DPI-C" function longint nimble_store_read(input longint offset);
import "DPI-C" function void nimble_store_write(input longint offset, input longint data, input byte strobe);
`endif

module top #(
    parameter int NODES = 1,
    parameter int CORES = 1,
    parameter int PERIOD_PS = 4000,
    parameter longint MEMORY_BYTES = 1 << 20,
    parameter int READ_LATENCY = 1,
    parameter int WRITE_LATENCY = 1,
    parameter longint RECORDS = 1024,
    parameter longint MAILBOX_BASE = 0,
    parameter longint RINGS_BASE = 4096,
    parameter longint MEMORY_BASE = 1 << 20
);
    localparam int PORTS = NODES * CORES;
    localparam longint RING_BYTES = 64 * (RECORDS + 1);

    // ---- clock: runs while anything would change at an edge, always on the same grid ----
    reg clk = 0;
    reg [63:0] cycles = 0;
    reg [3:0] reset_count = 8;
    wire rst = reset_count != 0;
    wire busy;

    always begin
        if (!busy) wait (busy);
        #(PERIOD_PS - ($time % PERIOD_PS)) clk = 1;
        cycles = cycles + 1;
        #(PERIOD_PS / 2) clk = 0;
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

    wire [NODES*48-1:0] memory_awaddr, memory_araddr;
    wire [NODES*8-1:0] memory_awlen, memory_arlen, memory_wstrb;
    wire [NODES*64-1:0] memory_wdata, memory_rdata;
    wire [NODES-1:0] memory_awid, memory_arid, memory_awvalid, memory_awready, memory_wlast, memory_wvalid, memory_wready;
    wire [NODES-1:0] memory_bvalid, memory_bready, memory_arvalid, memory_arready, memory_rlast, memory_rvalid, memory_rready;
    wire [NODES*3-1:0] memory_awsize, memory_arsize;
    wire [NODES*2-1:0] memory_awburst, memory_arburst, memory_bresp, memory_rresp;

    wire [NODES-1:0] interrupt, node_quiescent, memory_quiescent;
    wire fabric_quiescent;
    wire [NODES*64-1:0] tx_word, rx_word;
    wire [NODES-1:0] tx_last, tx_valid, tx_ready, rx_last, rx_valid, rx_ready;

    machine machine (
        .clk, .rst,
        .core_awaddr, .core_awprot, .core_awvalid, .core_awready,
        .core_wdata, .core_wstrb({PORTS * 8{1'b1}}), .core_wvalid, .core_wready,
        .core_bresp, .core_bvalid, .core_bready({PORTS{1'b1}}),
        .core_araddr, .core_arprot, .core_arvalid, .core_arready,
        .core_rdata, .core_rresp, .core_rvalid, .core_rready({PORTS{1'b1}}),
        .memory_awid, .memory_awaddr, .memory_awlen, .memory_awsize, .memory_awburst, .memory_awvalid, .memory_awready,
        .memory_wdata, .memory_wstrb, .memory_wlast, .memory_wvalid, .memory_wready,
        .memory_bid({NODES{1'b0}}), .memory_bresp, .memory_bvalid, .memory_bready,
        .memory_arid, .memory_araddr, .memory_arlen, .memory_arsize, .memory_arburst, .memory_arvalid, .memory_arready,
        .memory_rid({NODES{1'b0}}), .memory_rdata, .memory_rresp, .memory_rlast, .memory_rvalid, .memory_rready,
        .interrupt, .node_quiescent, .fabric_quiescent, .fabric_dropped(),
        .tx_word, .tx_last, .tx_valid, .tx_ready, .rx_word, .rx_last, .rx_valid, .rx_ready
    );

    // ---- cores and memories ----
    wire [PORTS-1:0] done;
    wire [PORTS-1:0] port_busy;
    reg finished = 0  /* Python writes */;

    assign busy = rst || port_busy != 0 || node_quiescent != {NODES{1'b1}} || !fabric_quiescent
        || memory_quiescent != {NODES{1'b1}};

    genvar n, c;
    generate
        for (n = 0; n < NODES; n = n + 1) begin : node
            for (c = 0; c < CORES; c = c + 1) begin : core
                localparam int P = n * CORES + c;
                core_port #(
                    .MAILBOX(MAILBOX_BASE + 64 * P)
                ) port (
                    .clk,
                    .interrupt(c == 0 && interrupt[n]),  // the device table says: to core 0
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
            host_memory #(
                .BASE(MEMORY_BASE + n * MEMORY_BYTES),
                .BYTES(MEMORY_BYTES),
                .READ_LATENCY(READ_LATENCY),
                .WRITE_LATENCY(WRITE_LATENCY)
            ) memory (
                .clk,
                .quiescent(memory_quiescent[n]),
                .awaddr(memory_awaddr[n*48+:48]), .awlen(memory_awlen[n*8+:8]),
                .awvalid(memory_awvalid[n]), .awready(memory_awready[n]),
                .wdata(memory_wdata[n*64+:64]), .wstrb(memory_wstrb[n*8+:8]), .wlast(memory_wlast[n]),
                .wvalid(memory_wvalid[n]), .wready(memory_wready[n]),
                .bresp(memory_bresp[n*2+:2]), .bvalid(memory_bvalid[n]), .bready(memory_bready[n]),
                .araddr(memory_araddr[n*48+:48]), .arlen(memory_arlen[n*8+:8]),
                .arvalid(memory_arvalid[n]), .arready(memory_arready[n]),
                .rdata(memory_rdata[n*64+:64]), .rresp(memory_rresp[n*2+:2]), .rlast(memory_rlast[n]),
                .rvalid(memory_rvalid[n]), .rready(memory_rready[n])
            );
            packet_monitor #(
                .RING(RINGS_BASE + (2 * n) * RING_BYTES), .RECORDS(RECORDS)
            ) sent (
                .clk, .word(tx_word[n*64+:64]), .last(tx_last[n]), .valid(tx_valid[n]), .ready(tx_ready[n])
            );
            packet_monitor #(
                .RING(RINGS_BASE + (2 * n + 1) * RING_BYTES), .RECORDS(RECORDS)
            ) received (
                .clk, .word(rx_word[n*64+:64]), .last(rx_last[n]), .valid(rx_valid[n]), .ready(rx_ready[n])
            );
        end
    endgenerate
endmodule
