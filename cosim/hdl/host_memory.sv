// A node's memory as its devices see it: an AXI4 subordinate whose timing is here and whose data lie in the store.
//
// Reads and writes are independent, in order, one word of DATA_BITS (64 or 128) a cycle each, without a pause between
// bursts; eight of each are accepted ahead. The first word of a read comes read_latency cycles after its address, the
// response of a write write_latency cycles after its last word, if nothing is before them. A word outside the memory,
// whose size is in whole words, is answered DECERR and touches nothing. Only incrementing bursts of whole words. The
// data of a write are taken from the cycle after its address on.
`include "store.svh"

module host_memory #(
    parameter int DATA_BITS = 64
) (
    input wire clk,
    input wire [63:0] base,  // offset of the memory in the store
    input wire [63:0] bytes,
    input wire [31:0] read_latency, write_latency,
    output wire quiescent,

    input wire [47:0] awaddr,
    input wire [7:0] awlen,
    input wire awvalid,
    output wire awready,
    input wire [DATA_BITS-1:0] wdata,
    input wire [DATA_BITS/8-1:0] wstrb,
    input wire wlast,
    input wire wvalid,
    output wire wready,
    output reg [1:0] bresp,
    output reg bvalid,
    input wire bready,
    input wire [47:0] araddr,
    input wire [7:0] arlen,
    input wire arvalid,
    output wire arready,
    output reg [DATA_BITS-1:0] rdata,
    output reg [1:0] rresp,
    output reg rlast,
    output reg rvalid,
    input wire rready
);
    localparam [1:0] OKAY = 0, DECERR = 3;
    localparam int STORE_WORDS = DATA_BITS / 64;
    localparam int WORD_LOG2 = DATA_BITS == 128 ? 4 : 3;  // of bytes
    localparam [3:0] DEPTH = 8;

    integer i;

    // Times are in cycles of a counter that runs while something is due, modulo 2**32.
    function due_by(input [31:0] due, input [31:0] now);
        reg [31:0] left;
        begin
            left = due - 1 - now;
            due_by = left[31];
        end
    endfunction

    // ---- reads ----
    reg [47:0] read_start[0:7];
    reg [7:0] read_length[0:7];
    reg [31:0] read_due[0:7];
    reg [3:0] reads_taken = 0, reads_done = 0;  // modulo 16
    reg [31:0] reading_time = 0;
    reg [7:0] read_beat = 0;
    wire [2:0] read_tail = reads_taken[2:0], read_head = reads_done[2:0];
    wire [3:0] reads_waiting = reads_taken - reads_done;
    wire reading = reads_waiting != 0;
    wire [47:0] read_address = read_start[read_head] + ({40'd0, read_beat} << WORD_LOG2);
    wire last_beat = read_beat == read_length[read_head];
    wire send_word = reading && due_by(read_due[read_head], reading_time) && (!rvalid || rready);
    assign arready = reads_waiting != DEPTH;

    initial begin
        rvalid = 0; rdata = 0; rresp = 0; rlast = 0;
        for (i = 0; i < 8; i = i + 1) begin
            read_start[i] = 0; read_length[i] = 0; read_due[i] = 0;
        end
    end

    // ---- writes ----
    reg [47:0] write_start[0:7];
    reg [31:0] write_due[0:7];
    reg [7:0] write_refused = 0;  // a bit for each
    // Bursts of which the address, all data, the answer have been passed on; modulo 16.
    reg [3:0] writes_taken = 0, writes_stored = 0, writes_answered = 0;
    reg [31:0] writing_time = 0;
    reg [7:0] write_beat = 0;
    wire [2:0] write_tail = writes_taken[2:0], write_current = writes_stored[2:0], write_head = writes_answered[2:0];
    wire [3:0] writes_waiting = writes_taken - writes_answered;
    wire answering = writes_stored != writes_answered;
    wire [47:0] write_address = write_start[write_current] + ({40'd0, write_beat} << WORD_LOG2);
    wire send_answer = answering && due_by(write_due[write_head], writing_time) && (!bvalid || bready);
    assign awready = writes_waiting != DEPTH;
    assign wready = writes_taken != writes_stored;

    initial begin
        bvalid = 0; bresp = 0;
        for (i = 0; i < 8; i = i + 1) begin
            write_start[i] = 0; write_due[i] = 0;
        end
    end

    // One process for both, so that a word read and written in one cycle is read first on every simulator.
    integer w;
    always @(posedge clk) begin
        if (reading) reading_time <= reading_time + 1;
        if (arvalid && arready) begin
            read_start[read_tail] <= {araddr[47:WORD_LOG2], {WORD_LOG2{1'b0}}};
            read_length[read_tail] <= arlen;
            read_due[read_tail] <= (reading ? reading_time + 1 : reading_time) + read_latency - 1;
            reads_taken <= reads_taken + 1;
        end
        if (rvalid && rready) rvalid <= 0;
        if (send_word) begin
            if (read_address < bytes) begin
                for (w = 0; w < STORE_WORDS; w = w + 1)
                    rdata[64*w+:64] <= `STORE_READ(base + {16'd0, read_address} + 8 * w);
                rresp <= OKAY;
            end else begin
                rdata <= 0;
                rresp <= DECERR;
            end
            rvalid <= 1;
            rlast <= last_beat;
            read_beat <= last_beat ? 0 : read_beat + 1;
            if (last_beat) reads_done <= reads_done + 1;
        end

        if (answering) writing_time <= writing_time + 1;
        if (awvalid && awready) begin
            write_start[write_tail] <= {awaddr[47:WORD_LOG2], {WORD_LOG2{1'b0}}};
            write_refused[write_tail] <= 0;
            writes_taken <= writes_taken + 1;
        end
        if (wvalid && wready) begin
            if (write_address < bytes) begin
                for (w = 0; w < STORE_WORDS; w = w + 1)
                    `STORE_WRITE(base + {16'd0, write_address} + 8 * w, wdata[64*w+:64], wstrb[8*w+:8]);
            end else write_refused[write_current] <= 1;
            write_beat <= wlast ? 0 : write_beat + 1;
            if (wlast) begin
                write_due[write_current] <= (answering ? writing_time + 1 : writing_time) + write_latency - 1;
                writes_stored <= writes_stored + 1;
            end
        end
        if (bvalid && bready) bvalid <= 0;
        if (send_answer) begin
            bvalid <= 1;
            bresp <= write_refused[write_head] ? DECERR : OKAY;
            writes_answered <= writes_answered + 1;
        end
    end

    assign quiescent = !reading && !rvalid && writes_waiting == 0 && !bvalid && !arvalid && !awvalid;
endmodule
