// The reference of the benchmark: the same RTL and the same memories as in top.sv, with the clock and the cores' ports
// driven by a bare C++ loop (bare.cpp): no timing, no VPI, no Python.
`timescale 1ps / 1ps
`include "store.svh"
import "DPI-C" function longint nimble_store_read(input longint offset);
import "DPI-C" function void nimble_store_write(input longint offset, input longint data, input byte strobe);

module bare #(
    parameter int NODES = 1,
    parameter int CORES = 1,
    parameter longint MEMORY_BYTES = 1 << 20,
    parameter longint MEMORY_BASE = 0,
    parameter int READ_LATENCY = 1,
    parameter int WRITE_LATENCY = 1
) (
    input wire clk, input wire rst,
    input wire [31:0] address, input wire [63:0] data, input wire [31:0] node, input wire start,
    output wire done
);
    localparam int PORTS = NODES * CORES;
    wire [PORTS-1:0] awready, wready, bvalid;
    reg [PORTS-1:0] awvalid, wvalid;
    wire [PORTS-1:0] selected = start ? {{PORTS - 1{1'b0}}, 1'b1} << (node * CORES) : 0;
    assign done = bvalid != 0;
    always @(posedge clk)
        if (rst) begin
            awvalid <= 0;
            wvalid <= 0;
        end else begin
            awvalid <= selected | awvalid & ~awready;
            wvalid <= selected | wvalid & ~wready;
        end

    wire [NODES*48-1:0] memory_awaddr, memory_araddr;
    wire [NODES*8-1:0] memory_awlen, memory_arlen, memory_wstrb;
    wire [NODES*64-1:0] memory_wdata, memory_rdata;
    wire [NODES-1:0] memory_awvalid, memory_awready, memory_wlast, memory_wvalid, memory_wready;
    wire [NODES-1:0] memory_bvalid, memory_bready, memory_arvalid, memory_arready, memory_rlast, memory_rvalid, memory_rready;
    wire [NODES*2-1:0] memory_bresp, memory_rresp;

    machine machine (
        .clk, .rst,
        .core_awaddr({PORTS{address}}), .core_awprot({PORTS{3'b001}}), .core_awvalid(awvalid), .core_awready(awready),
        .core_wdata({PORTS{data}}), .core_wstrb({PORTS * 8{1'b1}}), .core_wvalid(wvalid), .core_wready(wready),
        .core_bresp(), .core_bvalid(bvalid), .core_bready({PORTS{1'b1}}),
        .core_araddr({PORTS * 32{1'b0}}), .core_arprot({PORTS * 3{1'b0}}), .core_arvalid({PORTS{1'b0}}), .core_arready(),
        .core_rdata(), .core_rresp(), .core_rvalid(), .core_rready({PORTS{1'b1}}),
        .memory_awid(), .memory_awaddr, .memory_awlen, .memory_awsize(), .memory_awburst(), .memory_awvalid,
        .memory_awready, .memory_wdata, .memory_wstrb, .memory_wlast, .memory_wvalid, .memory_wready,
        .memory_bid({NODES{1'b0}}), .memory_bresp, .memory_bvalid, .memory_bready,
        .memory_arid(), .memory_araddr, .memory_arlen, .memory_arsize(), .memory_arburst(), .memory_arvalid,
        .memory_arready, .memory_rid({NODES{1'b0}}), .memory_rdata, .memory_rresp, .memory_rlast, .memory_rvalid,
        .memory_rready, .interrupt(), .node_quiescent(), .fabric_quiescent(), .fabric_dropped(),
        .tx_word(), .tx_last(), .tx_valid(), .tx_ready(), .rx_word(), .rx_last(), .rx_valid(), .rx_ready()
    );

    genvar n;
    generate
        for (n = 0; n < NODES; n = n + 1) begin : memory
            host_memory #(
                .BASE(MEMORY_BASE + n * MEMORY_BYTES), .BYTES(MEMORY_BYTES),
                .READ_LATENCY(READ_LATENCY), .WRITE_LATENCY(WRITE_LATENCY)
            ) memory (
                .clk, .quiescent(),
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
        end
    endgenerate
endmodule
