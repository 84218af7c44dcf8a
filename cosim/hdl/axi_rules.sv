// Ends the simulation when the manager of a memory port breaks a rule of AXI4 that a memory relies on: what is offered
// stays as it is until it is taken (AMBA AXI, A3.2.1), bursts increment by whole words, are aligned to them and stay
// inside 4 KiB (A3.4.1), and the last word of each is marked. The memory takes no word before its burst's address.
`timescale 1ps / 1ps

module axi_rules #(
    parameter int DATA_BITS = 64
) (
    input wire clk,
    input wire rst,
    input wire [47:0] awaddr, araddr,
    input wire [7:0] awlen, arlen,
    input wire [2:0] awsize, arsize,
    input wire [1:0] awburst, arburst,
    input wire awvalid, awready, arvalid, arready,
    input wire [DATA_BITS-1:0] wdata,
    input wire [DATA_BITS/8-1:0] wstrb,
    input wire wlast, wvalid, wready
);
    held #(.WIDTH(61), .CHANNEL("AW")) aw (
        .clk, .rst, .valid(awvalid), .ready(awready), .payload({awaddr, awlen, awsize, awburst})
    );
    held #(.WIDTH(61), .CHANNEL("AR")) ar (
        .clk, .rst, .valid(arvalid), .ready(arready), .payload({araddr, arlen, arsize, arburst})
    );
    held #(.WIDTH(DATA_BITS + DATA_BITS / 8 + 1), .CHANNEL("W")) w (
        .clk, .rst, .valid(wvalid), .ready(wready), .payload({wdata, wstrb, wlast})
    );
    burst_rules #(.DATA_BITS(DATA_BITS), .CHANNEL("AW")) writes (
        .clk, .rst, .taken(awvalid && awready), .address(awaddr), .length(awlen), .size(awsize), .burst(awburst)
    );
    burst_rules #(.DATA_BITS(DATA_BITS), .CHANNEL("AR")) reads (
        .clk, .rst, .taken(arvalid && arready), .address(araddr), .length(arlen), .size(arsize), .burst(arburst)
    );

    // ---- words of writes: lengths of bursts whose words have not all come, modulo 16 ----
    reg [7:0] lengths[0:15];
    reg [3:0] begun = 0, ended = 0;
    reg [7:0] beat = 0;
    integer i;
    initial for (i = 0; i < 16; i = i + 1) lengths[i] = 0;
    always @(posedge clk)
        if (!rst) begin
            if (awvalid && awready) begin
                lengths[begun] <= awlen;
                begun <= begun + 1;
            end
            if (wvalid && wready) begin
                if (wlast != (beat == lengths[ended])) $fatal(1, "%m: WLAST is %b in word %0d of a burst", wlast, beat);
                beat <= wlast ? 0 : beat + 1;
                if (wlast) ended <= ended + 1;
            end
        end
endmodule

module held #(
    parameter int WIDTH = 1,
    parameter CHANNEL = ""
) (
    input wire clk, input wire rst, input wire valid, input wire ready, input wire [WIDTH-1:0] payload
);
    reg waiting = 0;
    reg [WIDTH-1:0] offered = 0;
    always @(posedge clk) begin
        waiting <= valid && !ready && !rst;
        if (valid && !ready) offered <= payload;
        if (waiting && !rst) begin
            if (!valid) $fatal(1, "%m: %0s was withdrawn before it was taken", CHANNEL);
            if (payload != offered) $fatal(1, "%m: %0s changed before it was taken", CHANNEL);
        end
    end
endmodule

module burst_rules #(
    parameter int DATA_BITS = 64,
    parameter CHANNEL = ""
) (
    input wire clk, input wire rst, input wire taken, input wire [47:0] address, input wire [7:0] length,
    input wire [2:0] size, input wire [1:0] burst
);
    localparam int BYTES = DATA_BITS / 8;
    localparam [1:0] INCR = 1;
    wire [12:0] last_byte = {1'b0, address[11:0]} + ({5'd0, length} + 1) * BYTES - 1;
    always @(posedge clk)
        if (taken && !rst) begin
            if ((1 << size) != BYTES || burst != INCR) $fatal(1, "%m: %0s does not increment by whole words", CHANNEL);
            if (address % BYTES != 0) $fatal(1, "%m: %0s of %h is not aligned", CHANNEL, address);
            if (last_byte[12]) $fatal(1, "%m: %0s of %h crosses 4 KiB", CHANNEL, address);
        end
endmodule
