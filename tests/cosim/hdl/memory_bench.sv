// hdl/host_memory.sv alone, its port as cocotbext-axi's AxiMaster wants it, and a packet monitor fed by the test.
`timescale 1ps / 1ps
`include "store.svh"
`ifdef VERILATOR
import "DPI-C" function longint nimble_store_read(input longint offset);
import "DPI-C" function void nimble_store_write(input longint offset, input longint data, input byte strobe);
`endif

module memory_bench #(
    parameter int READ_LATENCY = 1,
    parameter int WRITE_LATENCY = 1,
    parameter int DATA_BITS = 64
) (
    input wire clk, input wire rst, output wire quiescent,
    input wire [0:0] axi_awid, input wire [47:0] axi_awaddr, input wire [7:0] axi_awlen, input wire [2:0] axi_awsize,
    input wire [1:0] axi_awburst, input wire axi_awvalid, output wire axi_awready,
    input wire [DATA_BITS-1:0] axi_wdata, input wire [DATA_BITS/8-1:0] axi_wstrb, input wire axi_wlast,
    input wire axi_wvalid,
    output wire axi_wready,
    output wire [0:0] axi_bid, output wire [1:0] axi_bresp, output wire axi_bvalid, input wire axi_bready,
    input wire [0:0] axi_arid, input wire [47:0] axi_araddr, input wire [7:0] axi_arlen, input wire [2:0] axi_arsize,
    input wire [1:0] axi_arburst, input wire axi_arvalid, output wire axi_arready,
    output wire [0:0] axi_rid, output wire [DATA_BITS-1:0] axi_rdata, output wire [1:0] axi_rresp, output wire axi_rlast,
    output wire axi_rvalid, input wire axi_rready,
    input wire [DATA_BITS-1:0] flit, input wire last, input wire valid, input wire ready
);
    assign axi_bid = 0, axi_rid = 0;
    host_memory #(.DATA_BITS(DATA_BITS)) memory (
        .clk, .base(64'd65536), .bytes(64'd65536), .read_latency(READ_LATENCY), .write_latency(WRITE_LATENCY), .quiescent,
        .awaddr(axi_awaddr), .awlen(axi_awlen), .awvalid(axi_awvalid), .awready(axi_awready),
        .wdata(axi_wdata), .wstrb(axi_wstrb), .wlast(axi_wlast), .wvalid(axi_wvalid), .wready(axi_wready),
        .bresp(axi_bresp), .bvalid(axi_bvalid), .bready(axi_bready),
        .araddr(axi_araddr), .arlen(axi_arlen), .arvalid(axi_arvalid), .arready(axi_arready),
        .rdata(axi_rdata), .rresp(axi_rresp), .rlast(axi_rlast), .rvalid(axi_rvalid), .rready(axi_rready)
    );
    packet_monitor #(.DATA_BITS(DATA_BITS)) monitor (.clk, .ring(64'd1024), .records(64'd4), .flit, .last, .valid, .ready);
endmodule
