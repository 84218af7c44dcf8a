// The reference of the benchmark: the same RTL, memories, monitors and gates as in top.sv, with the clock and the cores'
// ports driven by a bare C++ loop (bare.cpp): no timing, no VPI, no Python.
`timescale 1ps / 1ps
`include "store.svh"
import "DPI-C" function longint nimble_store_read(input longint offset);
import "DPI-C" function void nimble_store_write(input longint offset, input longint data, input byte strobe);

module bare #(
    parameter int NODES = 1,
    parameter int CORES = 1,
    parameter int CLOCKS = 1,
    parameter int ROUTERS = 1,
    parameter int DATA_BITS = 64,
    parameter longint MEMORY_BYTES = 1 << 20,
    parameter longint MEMORY_BASE = 0,
    parameter int READ_LATENCY = 1,
    parameter int WRITE_LATENCY = 1,
    parameter longint RECORDS = 1024,
    parameter longint RINGS_BASE = 4096
) (
    input wire clk, input wire rst, input wire [63:0] now,
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

    wire [CLOCKS-1:0] quiescent, gated;
    genvar g;
    generate
        for (g = 0; g < CLOCKS; g = g + 1) begin : clocks
            clock_gate gate (.clk, .enable(rst || !quiescent[g]), .gated(gated[g]));
        end
    endgenerate

    board #(
        .NODES(NODES), .CORES(CORES), .CLOCKS(CLOCKS), .ROUTERS(ROUTERS), .DATA_BITS(DATA_BITS),
        .MEMORY_BYTES(MEMORY_BYTES), .MEMORY_BASE(MEMORY_BASE),
        .READ_LATENCY(READ_LATENCY), .WRITE_LATENCY(WRITE_LATENCY), .RECORDS(RECORDS), .RINGS_BASE(RINGS_BASE)
    ) board (
        .clk(gated), .rst, .now, .quiescent, .interrupt(), .fabric_dropped(),
        .core_awaddr({PORTS{address}}), .core_awprot({PORTS{3'b001}}), .core_awvalid(awvalid), .core_awready(awready),
        .core_wdata({PORTS{data}}), .core_wstrb({PORTS * 8{1'b1}}), .core_wvalid(wvalid), .core_wready(wready),
        .core_bresp(), .core_bvalid(bvalid), .core_bready({PORTS{1'b1}}),
        .core_araddr({PORTS * 32{1'b0}}), .core_arprot({PORTS * 3{1'b0}}), .core_arvalid({PORTS{1'b0}}), .core_arready(),
        .core_rdata(), .core_rresp(), .core_rvalid(), .core_rready({PORTS{1'b1}})
    );
endmodule
