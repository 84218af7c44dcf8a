// A machine with no NIC, for tests of the harness alone. Every core has 16 registers of its own at addresses 0..0x78;
// reads take 2 cycles more at odd words; 0x100 and above answer SLVERR, unprivileged writes to register 15 too.
// Writing n to register 14 of core 0 raises the node's interrupt n cycles later; writing register 13 lowers it.
// ALWAYS_ON keeps the clock running, to show that the gate cannot be seen in simulated time.
module machine #(
    parameter N = 2,
    parameter C = 2,
`ifdef ALWAYS_ON
    parameter QUIET = 0
`else
    parameter QUIET = 1
`endif
) (
    input [N-1:0] clk, input rst, input [63:0] now,
    input [N*C*32-1:0] core_awaddr, input [N*C*3-1:0] core_awprot, input [N*C-1:0] core_awvalid,
    output [N*C-1:0] core_awready,
    input [N*C*64-1:0] core_wdata, input [N*C*8-1:0] core_wstrb, input [N*C-1:0] core_wvalid,
    output [N*C-1:0] core_wready,
    output [N*C*2-1:0] core_bresp, output [N*C-1:0] core_bvalid, input [N*C-1:0] core_bready,
    input [N*C*32-1:0] core_araddr, input [N*C*3-1:0] core_arprot, input [N*C-1:0] core_arvalid,
    output [N*C-1:0] core_arready,
    output [N*C*64-1:0] core_rdata, output [N*C*2-1:0] core_rresp, output [N*C-1:0] core_rvalid,
    input [N*C-1:0] core_rready,
    output [N-1:0] memory_awid, output [N*48-1:0] memory_awaddr, output [N*8-1:0] memory_awlen,
    output [N*3-1:0] memory_awsize, output [N*2-1:0] memory_awburst, output [N-1:0] memory_awvalid,
    input [N-1:0] memory_awready,
    output [N*64-1:0] memory_wdata, output [N*8-1:0] memory_wstrb, output [N-1:0] memory_wlast,
    output [N-1:0] memory_wvalid, input [N-1:0] memory_wready,
    input [N-1:0] memory_bid, input [N*2-1:0] memory_bresp, input [N-1:0] memory_bvalid, output [N-1:0] memory_bready,
    output [N-1:0] memory_arid, output [N*48-1:0] memory_araddr, output [N*8-1:0] memory_arlen,
    output [N*3-1:0] memory_arsize, output [N*2-1:0] memory_arburst, output [N-1:0] memory_arvalid,
    input [N-1:0] memory_arready,
    input [N-1:0] memory_rid, input [N*64-1:0] memory_rdata, input [N*2-1:0] memory_rresp, input [N-1:0] memory_rlast,
    input [N-1:0] memory_rvalid, output [N-1:0] memory_rready,
    output [N-1:0] interrupt, output [N-1:0] quiescent, output [N*32-1:0] fabric_dropped,
    output [2*N*64-1:0] tx_flit, output [2*N-1:0] tx_last, output [2*N-1:0] tx_valid, output [2*N-1:0] tx_ready,
    output [2*N*64-1:0] rx_flit, output [2*N-1:0] rx_last, output [2*N-1:0] rx_valid, output [2*N-1:0] rx_ready
);
    assign fabric_dropped = 0;
    assign memory_awid = 0, memory_awaddr = 0, memory_awlen = 0, memory_awsize = 0, memory_awburst = 0;
    assign memory_wdata = 0, memory_wstrb = 0, memory_wlast = 0;
    assign memory_arid = 0, memory_araddr = 0, memory_arlen = 0, memory_arsize = 0, memory_arburst = 0;
    assign memory_awvalid = 0, memory_wvalid = 0, memory_arvalid = 0, memory_bready = 1, memory_rready = 1;
    assign tx_valid = 0, tx_flit = 0, tx_last = 0, tx_ready = 0, rx_valid = 0, rx_flit = 0, rx_last = 0, rx_ready = 0;

    wire [N*C-1:0] port_quiet, raise, lower;
    wire [N*C*64-1:0] count;

    genvar i;
    generate
        for (i = 0; i < N * C; i = i + 1) begin : port
            reg [63:0] registers[0:15];
            reg [1:0] wait_cycles;
            reg writing, reading, bvalid, rvalid;
            reg [1:0] bresp, rresp;
            reg [63:0] rdata;
            integer r;
            initial begin
                wait_cycles = 0; writing = 0; reading = 0; bvalid = 0; rvalid = 0; bresp = 0; rresp = 0; rdata = 0;
                for (r = 0; r < 16; r = r + 1) registers[r] = 0;
            end
            wire [31:0] awaddr = core_awaddr[i*32+:32];
            wire [31:0] araddr = core_araddr[i*32+:32];
            wire accept_write = core_awvalid[i] && core_wvalid[i] && !bvalid;
            wire refuse_write = awaddr >= 256 || awaddr[6:3] == 15 && !core_awprot[i*3];
            wire accept_read = core_arvalid[i] && !rvalid && !reading;
            assign core_awready[i] = accept_write;
            assign core_wready[i] = accept_write;
            assign core_bvalid[i] = bvalid;
            assign core_bresp[i*2+:2] = bresp;
            assign core_arready[i] = accept_read;
            assign core_rvalid[i] = rvalid;
            assign core_rresp[i*2+:2] = rresp;
            assign core_rdata[i*64+:64] = rdata;
            assign port_quiet[i] = !core_awvalid[i] && !core_arvalid[i] && !bvalid && !rvalid && !reading;
            assign raise[i] = accept_write && awaddr[6:3] == 14;
            assign lower[i] = accept_write && awaddr[6:3] == 13;
            assign count[i*64+:64] = core_wdata[i*64+:64];
            always @(posedge clk[i/C]) begin
                if (accept_write) begin
                    bvalid <= 1;
                    bresp <= refuse_write ? 2 : 0;
                    if (!refuse_write) registers[awaddr[6:3]] <= core_wdata[i*64+:64];
                end else if (core_bready[i]) bvalid <= 0;
                if (accept_read) begin
                    reading <= 1;
                    wait_cycles <= araddr[3] ? 2 : 0;
                end
                if (reading) begin
                    if (wait_cycles != 0) wait_cycles <= wait_cycles - 1;
                    else begin
                        reading <= 0;
                        rvalid <= 1;
                        rresp <= araddr >= 256 ? 2 : 0;
                        rdata <= araddr >= 256 ? 0 : registers[araddr[6:3]];
                    end
                end
                if (rvalid && core_rready[i]) rvalid <= 0;
            end
        end
        for (i = 0; i < N; i = i + 1) begin : node
            reg [63:0] countdown;
            reg level;
            initial begin
                countdown = 0;
                level = 0;
            end
            assign interrupt[i] = level;
            assign quiescent[i] = QUIET && countdown == 0 && port_quiet[i*C+:C] == {C{1'b1}};
            always @(posedge clk[i]) begin
                if (raise[i*C]) countdown <= count[i*C*64+:64];
                else if (countdown != 0) countdown <= countdown - 1;
                if (countdown == 1) level <= 1;
                else if (lower[i*C+:C] != 0) level <= 0;
            end
        end
    endgenerate
endmodule
