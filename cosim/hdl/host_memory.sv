// A node's memory as its devices see it: an AXI4 subordinate whose timing is here and whose data lie in the store.
//
// Reads and writes are independent, in order, one word per cycle; up to four reads are accepted ahead. The first word of
// a read comes READ_LATENCY cycles after its address, the response of a write WRITE_LATENCY cycles after its last word.
// A word outside the memory is answered DECERR and touches nothing. Only incrementing bursts of whole words.
`include "store.svh"

module host_memory #(
    parameter longint BASE = 0,   // offset of the memory in the store
    parameter longint BYTES = 0,
    parameter int READ_LATENCY = 1,
    parameter int WRITE_LATENCY = 1
) (
    input wire clk,
    output wire quiescent,

    input wire [47:0] awaddr,
    input wire [7:0] awlen,
    input wire awvalid,
    output wire awready,
    input wire [63:0] wdata,
    input wire [7:0] wstrb,
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
    output reg [63:0] rdata,
    output reg [1:0] rresp,
    output reg rlast,
    output reg rvalid,
    input wire rready
);
    localparam [1:0] OKAY = 0, DECERR = 3;

    // ---- reads ----
    reg [47:0] queue_address[0:3];
    reg [7:0] queue_length[0:3];
    reg [31:0] queue_due[0:3];  // in cycles of `reading_time`
    reg [2:0] queue_written = 0, queue_read = 0;
    wire [2:0] queued = queue_written - queue_read;
    reg [31:0] reading_time = 0;  // counts while a read is under way
    reg [7:0] beat = 0;
    wire [1:0] head = queue_read[1:0];
    wire [47:0] read_address = queue_address[head] + {37'd0, beat, 3'd0};
    wire reading = queued != 0;
    wire send_word = reading && reading_time >= queue_due[head] && (!rvalid || rready);
    assign arready = queued != 4;

    integer i;
    initial begin
        rvalid = 0; rdata = 0; rresp = 0; rlast = 0;
        for (i = 0; i < 4; i = i + 1) begin
            queue_address[i] = 0; queue_length[i] = 0; queue_due[i] = 0;
        end
    end

    always @(posedge clk) begin
        if (reading) reading_time <= reading_time + 1;
        if (arvalid && arready) begin
            queue_address[queue_written[1:0]] <= {araddr[47:3], 3'd0};
            queue_length[queue_written[1:0]] <= arlen;
            queue_due[queue_written[1:0]] <= (reading ? reading_time + 1 : reading_time) + READ_LATENCY - 1;
            queue_written <= queue_written + 1;
        end
        if (rvalid && rready) rvalid <= 0;
        if (send_word) begin
            if (read_address < BYTES) begin
                rdata <= `STORE_READ(BASE + {16'd0, read_address});
                rresp <= OKAY;
            end else begin
                rdata <= 0;
                rresp <= DECERR;
            end
            rvalid <= 1;
            rlast <= beat == queue_length[head];
            beat <= beat == queue_length[head] ? 0 : beat + 1;
            if (beat == queue_length[head]) queue_read <= queue_read + 1;
        end
    end

    // ---- writes ----
    reg writing = 0;  // address accepted, response not yet given
    reg wrote_last = 0;
    reg [47:0] write_address = 0;
    reg write_refused = 0;
    reg [31:0] write_wait = 0;
    assign awready = !writing;
    assign wready = writing && !wrote_last;

    initial begin
        bvalid = 0; bresp = 0;
    end

    always @(posedge clk) begin
        if (awvalid && awready) begin
            writing <= 1;
            write_address <= {awaddr[47:3], 3'd0};
            write_refused <= 0;
        end
        if (wvalid && wready) begin
            if (write_address < BYTES) `STORE_WRITE(BASE + {16'd0, write_address}, wdata, wstrb);
            else write_refused <= 1;
            write_address <= write_address + 8;
            wrote_last <= wlast;
            write_wait <= WRITE_LATENCY - 1;
        end
        if (wrote_last && !bvalid) begin
            if (write_wait == 0) begin
                bvalid <= 1;
                bresp <= write_refused ? DECERR : OKAY;
            end else write_wait <= write_wait - 1;
        end
        if (bvalid && bready) begin
            bvalid <= 0;
            writing <= 0;
            wrote_last <= 0;
        end
    end

    assign quiescent = !reading && !rvalid && !writing && !arvalid && !awvalid;
endmodule
