// A machine with no NIC, for tests of the harness alone. Every core has 16 registers of its own at addresses 0..0x78;
// reads take 2 cycles more at odd words; 0x100 and above answer SLVERR, unprivileged writes to register 15 too.
// Writing n to register 14 of a core raises its interrupt n cycles later; writing its register 13 lowers it.
// ALWAYS_ON keeps the clock running, to show that the gate cannot be seen in simulated time.
package machine;
    localparam int NODES = 2, CORES = 2, LINKS = 1, CHANNELS = 2, CHANNEL_BITS = 1, DIMENSIONS = 1, DATA_BITS = 64;
endpackage

module tile #(
    parameter C = 2,
`ifdef ALWAYS_ON
    parameter QUIET = 0
`else
    parameter QUIET = 1
`endif
) (
    input clk, input rst, input [63:0] now, output quiescent, output reg [C-1:0] interrupts, output [31:0] dropped,
    input [15:0] bases, input ties,
    input [C*32-1:0] core_awaddr, input [C*3-1:0] core_awprot, input [C-1:0] core_awvalid, output [C-1:0] core_awready,
    input [C*64-1:0] core_wdata, input [C*8-1:0] core_wstrb, input [C-1:0] core_wvalid, output [C-1:0] core_wready,
    output [C*2-1:0] core_bresp, output [C-1:0] core_bvalid, input [C-1:0] core_bready,
    input [C*32-1:0] core_araddr, input [C*3-1:0] core_arprot, input [C-1:0] core_arvalid, output [C-1:0] core_arready,
    output [C*64-1:0] core_rdata, output [C*2-1:0] core_rresp, output [C-1:0] core_rvalid, input [C-1:0] core_rready,
    output memory__awid, output [47:0] memory__awaddr, output [7:0] memory__awlen, output [2:0] memory__awsize,
    output [1:0] memory__awburst, output memory__awvalid, input memory__awready,
    output [63:0] memory__wdata, output [7:0] memory__wstrb, output memory__wlast, output memory__wvalid,
    input memory__wready, input memory__bid, input [1:0] memory__bresp, input memory__bvalid, output memory__bready,
    output memory__arid, output [47:0] memory__araddr, output [7:0] memory__arlen, output [2:0] memory__arsize,
    output [1:0] memory__arburst, output memory__arvalid, input memory__arready,
    input memory__rid, input [63:0] memory__rdata, input [1:0] memory__rresp, input memory__rlast, input memory__rvalid,
    output memory__rready,
    output o_link__valid, output o_link__channel, output [64:0] o_link__flit, input [1:0] o_link__credit,
    input i_link__valid, input i_link__channel, input [64:0] i_link__flit, output [1:0] i_link__credit,
    output [127:0] tx_flit, output [1:0] tx_last, output [1:0] tx_valid, output [1:0] tx_ready,
    output [127:0] rx_flit, output [1:0] rx_last, output [1:0] rx_valid, output [1:0] rx_ready
);
    assign dropped = 0, o_link__valid = 0, o_link__channel = 0, o_link__flit = 0, i_link__credit = 0;
    assign memory__awid = 0, memory__awaddr = 0, memory__awlen = 0, memory__awsize = 0, memory__awburst = 0;
    assign memory__wdata = 0, memory__wstrb = 0, memory__wlast = 0;
    assign memory__arid = 0, memory__araddr = 0, memory__arlen = 0, memory__arsize = 0, memory__arburst = 0;
    assign memory__awvalid = 0, memory__wvalid = 0, memory__arvalid = 0, memory__bready = 1, memory__rready = 1;
    assign tx_valid = 0, tx_flit = 0, tx_last = 0, tx_ready = 0, rx_valid = 0, rx_flit = 0, rx_last = 0, rx_ready = 0;

    wire [C-1:0] port_quiet;
    initial interrupts = 0;

    genvar i;
    generate
        for (i = 0; i < C; i = i + 1) begin : port
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
            reg [63:0] countdown;
            initial countdown = 0;
            assign port_quiet[i] = !core_awvalid[i] && !core_arvalid[i] && !bvalid && !rvalid && !reading && countdown == 0;
            always @(posedge clk) begin
                if (accept_write && awaddr[6:3] == 14) countdown <= core_wdata[i*64+:64];
                else if (countdown != 0) countdown <= countdown - 1;
                if (countdown == 1) interrupts[i] <= 1;
                else if (accept_write && awaddr[6:3] == 13) interrupts[i] <= 0;
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
    endgenerate

    assign quiescent = QUIET && port_quiet == {C{1'b1}};
endmodule

module fabric #(
    parameter N = 2
) (
    input clk, input rst,
    input [N-1:0] o_link_valid, input [N-1:0] o_link_channel, input [N*65-1:0] o_link_flit, output [N*2-1:0] o_link_credit,
    output [N-1:0] i_link_valid, output [N-1:0] i_link_channel, output [N*65-1:0] i_link_flit, input [N*2-1:0] i_link_credit,
    output [N*16-1:0] bases, output [N-1:0] ties, output [31:0] dropped, output quiescent
);
    assign o_link_credit = 0, i_link_valid = 0, i_link_channel = 0, i_link_flit = 0, bases = 0, ties = 0, dropped = 0;
    assign quiescent = 1;
endmodule
