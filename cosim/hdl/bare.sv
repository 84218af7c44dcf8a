// The reference of the benchmark: the same RTL, memories, monitors and gates as in top.sv, with the clock and the cores'
// ports driven by a bare C++ loop (bare.cpp): no timing, no VPI, no Python.
`timescale 1ps / 1ps
`include "store.svh"
import "DPI-C" function longint nimble_store_read(input longint offset);
import "DPI-C" function void nimble_store_write(input longint offset, input longint data, input byte strobe);

module bare #(
    parameter longint MEMORY_BYTES = 1 << 20,
    parameter longint MEMORY_BASE = 0,
    parameter int READ_LATENCY = 1,
    parameter int WRITE_LATENCY = 1,
    parameter longint RECORDS = 1024,
    parameter longint RINGS_BASE = 4096
) (
    input wire clk, input wire rst,
    input wire [31:0] address, input wire [63:0] data, input wire [31:0] node, input wire start,
    output wire done
);
    localparam int NODES = machine::NODES, CORES = machine::CORES, PORTS = NODES * CORES;
    reg [63:0] now = 0;  // as in top.sv; an input that changes would have the simulator look at everything again
    always @(negedge clk) now <= now + 1;

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

    board #(
        .MEMORY_BYTES(MEMORY_BYTES), .MEMORY_BASE(MEMORY_BASE), .READ_LATENCY(READ_LATENCY),
        .WRITE_LATENCY(WRITE_LATENCY), .RECORDS(RECORDS), .RINGS_BASE(RINGS_BASE)
    ) board (
        .clk, .rst, .now, .quiescent(), .interrupts(), .dropped(),
        .core_awaddr({PORTS{address}}), .core_awprot({PORTS{3'b001}}), .core_awvalid(awvalid), .core_awready(awready),
        .core_wdata({PORTS{data}}), .core_wstrb({PORTS * 8{1'b1}}), .core_wvalid(wvalid), .core_wready(wready),
        .core_bresp(), .core_bvalid(bvalid), .core_bready({PORTS{1'b1}}),
        .core_araddr({PORTS * 32{1'b0}}), .core_arprot({PORTS * 3{1'b0}}), .core_arvalid({PORTS{1'b0}}), .core_arready(),
        .core_rdata(), .core_rresp(), .core_rvalid(), .core_rready({PORTS{1'b1}})
    );
endmodule
