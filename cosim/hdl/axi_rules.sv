// Ends the simulation when a side of a bus breaks a rule that the other side relies on. Ref: AMBA AXI (ARM IHI 0022).
//
// On both buses what is offered stays as it is until it is taken (A3.2.1), an answer comes only after what it answers
// has been taken (A3.3.1), and nobody is answered EXOKAY, since nobody asks for exclusive access (A7.2, B1.1.1).
`timescale 1ps / 1ps

// A node's memory port. Bursts increment by whole words, are aligned to them and stay inside 4 KiB (A3.4.1), and the
// last word of each is marked. The memory takes no word before its burst's address. No more than OUTSTANDING bursts of
// each kind are under way: those that the memory accepts ahead, and the one that it is answering.
module axi_rules #(
    parameter int DATA_BITS = 64,
    parameter int OUTSTANDING = 9
) (
    input wire clk,
    input wire rst,
    input wire [47:0] awaddr, araddr,
    input wire [7:0] awlen, arlen,
    input wire [2:0] awsize, arsize,
    input wire [1:0] awburst, arburst,
    input wire awvalid, awready, arvalid, arready,
    input wire [DATA_BITS-1:0] wdata, rdata,
    input wire [DATA_BITS/8-1:0] wstrb,
    input wire wlast, wvalid, wready,
    input wire [1:0] bresp, rresp,
    input wire bvalid, bready, rlast, rvalid, rready
);
    localparam [1:0] EXOKAY = 1;

    held #(.WIDTH(61), .CHANNEL("AW")) aw (
        .clk, .rst, .valid(awvalid), .ready(awready), .payload({awaddr, awlen, awsize, awburst})
    );
    held #(.WIDTH(61), .CHANNEL("AR")) ar (
        .clk, .rst, .valid(arvalid), .ready(arready), .payload({araddr, arlen, arsize, arburst})
    );
    held #(.WIDTH(DATA_BITS + DATA_BITS / 8 + 1), .CHANNEL("W")) w (
        .clk, .rst, .valid(wvalid), .ready(wready), .payload({wdata, wstrb, wlast})
    );
    held #(.WIDTH(2), .CHANNEL("B")) b (.clk, .rst, .valid(bvalid), .ready(bready), .payload(bresp));
    held #(.WIDTH(DATA_BITS + 3), .CHANNEL("R")) r (
        .clk, .rst, .valid(rvalid), .ready(rready), .payload({rdata, rresp, rlast})
    );
    burst_rules #(.DATA_BITS(DATA_BITS), .CHANNEL("AW")) writes (
        .clk, .rst, .taken(awvalid && awready), .address(awaddr), .length(awlen), .size(awsize), .burst(awburst)
    );
    burst_rules #(.DATA_BITS(DATA_BITS), .CHANNEL("AR")) reads (
        .clk, .rst, .taken(arvalid && arready), .address(araddr), .length(arlen), .size(arsize), .burst(arburst)
    );

    // ---- lengths of the bursts under way; how many have begun, have had their words, their answer; modulo 16 ----
    reg [7:0] write_length[0:15], read_length[0:15];
    reg [3:0] writes_begun = 0, writes_ended = 0, writes_answered = 0, reads_begun = 0, reads_ended = 0;
    reg [7:0] write_beat = 0, read_beat = 0;
    wire [3:0] writes_waiting = writes_begun - writes_answered, reads_waiting = reads_begun - reads_ended;
    integer i;
    initial
        for (i = 0; i < 16; i = i + 1) begin
            write_length[i] = 0;
            read_length[i] = 0;
        end

    always @(posedge clk)
        if (!rst) begin
            if (awvalid && awready) begin
                if (writes_waiting == OUTSTANDING) $fatal(1, "%m: a write begins while %0d are under way", OUTSTANDING);
                write_length[writes_begun] <= awlen;
                writes_begun <= writes_begun + 1;
            end
            if (wvalid && wready) begin
                if (writes_ended == writes_begun) $fatal(1, "%m: a word was taken before its address");
                if (wlast != (write_beat == write_length[writes_ended]))
                    $fatal(1, "%m: WLAST is %b in word %0d of a burst", wlast, write_beat);
                write_beat <= wlast ? 0 : write_beat + 1;
                if (wlast) writes_ended <= writes_ended + 1;
            end
            if (bvalid) begin
                if (writes_answered == writes_ended) $fatal(1, "%m: B answers no write that has ended");
                if (bresp == EXOKAY) $fatal(1, "%m: B is EXOKAY");
                if (bready) writes_answered <= writes_answered + 1;
            end
        end

    always @(posedge clk)
        if (!rst) begin
            if (arvalid && arready) begin
                if (reads_waiting == OUTSTANDING) $fatal(1, "%m: a read begins while %0d are under way", OUTSTANDING);
                read_length[reads_begun] <= arlen;
                reads_begun <= reads_begun + 1;
            end
            if (rvalid) begin
                if (reads_ended == reads_begun) $fatal(1, "%m: R answers no read");
                if (rresp == EXOKAY) $fatal(1, "%m: R is EXOKAY");
                if (rlast != (read_beat == read_length[reads_ended]))
                    $fatal(1, "%m: RLAST is %b in word %0d of a burst", rlast, read_beat);
                if (rready) begin
                    read_beat <= rlast ? 0 : read_beat + 1;
                    if (rlast) reads_ended <= reads_ended + 1;
                end
            end
        end
endmodule

// A core's way to the registers of its node, AXI4-Lite (B1.1). The interconnect carries one write and one read at a
// time.
module axi_lite_rules (
    input wire clk,
    input wire rst,
    input wire [31:0] awaddr, araddr,
    input wire [2:0] awprot, arprot,
    input wire awvalid, awready, arvalid, arready,
    input wire [63:0] wdata, rdata,
    input wire [7:0] wstrb,
    input wire wvalid, wready,
    input wire [1:0] bresp, rresp,
    input wire bvalid, bready, rvalid, rready
);
    localparam [1:0] EXOKAY = 1;

    held #(.WIDTH(35), .CHANNEL("AW")) aw (.clk, .rst, .valid(awvalid), .ready(awready), .payload({awaddr, awprot}));
    held #(.WIDTH(72), .CHANNEL("W")) w (.clk, .rst, .valid(wvalid), .ready(wready), .payload({wdata, wstrb}));
    held #(.WIDTH(2), .CHANNEL("B")) b (.clk, .rst, .valid(bvalid), .ready(bready), .payload(bresp));
    held #(.WIDTH(35), .CHANNEL("AR")) ar (.clk, .rst, .valid(arvalid), .ready(arready), .payload({araddr, arprot}));
    held #(.WIDTH(66), .CHANNEL("R")) r (.clk, .rst, .valid(rvalid), .ready(rready), .payload({rdata, rresp}));

    reg addressed = 0, worded = 0, reading = 0;  // taken and not answered yet
    always @(posedge clk)
        if (!rst) begin
            if (bvalid) begin
                if (!addressed || !worded) $fatal(1, "%m: B answers no write that has ended");
                if (bresp == EXOKAY) $fatal(1, "%m: B is EXOKAY");
                if (bready) begin
                    addressed <= 0;
                    worded <= 0;
                end
            end
            if (rvalid) begin
                if (!reading) $fatal(1, "%m: R answers no read");
                if (rresp == EXOKAY) $fatal(1, "%m: R is EXOKAY");
                if (rready) reading <= 0;
            end
            if (awvalid && awready) begin
                if (addressed) $fatal(1, "%m: AW was taken before the write before it was answered");
                addressed <= 1;
            end
            if (wvalid && wready) begin
                if (worded) $fatal(1, "%m: W was taken before the write before it was answered");
                worded <= 1;
            end
            if (arvalid && arready) begin
                if (reading) $fatal(1, "%m: AR was taken before the read before it was answered");
                reading <= 1;
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
