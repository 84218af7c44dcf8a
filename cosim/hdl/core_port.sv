// A CPU core's way to its node's interconnect: carries out one request at a time.
//
// A request lies in the core's mailbox (four words; see cosim/store.py):
//   word 0  bits 1..0 operation (0 wait, 1 load, 2 store), bit 2 an interrupt may cut the wait short, bits 10..8 AxPROT
//   word 1  due: absolute time in ps at which the operation starts; until then the core computes or idles
//   word 2  address
//   word 3  data to store
// The answer takes its place:
//   word 0  bits 1..0 xRESP, bit 2 interrupted before `due` (nothing was done)
//   word 1  time in ps
//   word 3  loaded data
// Python toggles `request`, the port toggles `done` when the answer is in the mailbox. Toggling `cancel` ends a wait as
// an interrupt would.
//
// Hardware changes at even picoseconds, software acts at odd ones, so that no race between them decides anything: a wait
// that ends at t wakes software at t + 1, an operation due at t starts on the first clock edge later than t (whether or
// not the clock was running before: the gate must not be visible in simulated time), an edge at t is answered at t + 1.
`include "store.svh"

module core_port #(
    parameter longint MAILBOX = 0
) (
    input wire clk,
    input wire interrupt,
    output wire busy,
    output reg done,

    output reg [31:0] awaddr,
    output reg [2:0] awprot,
    output reg awvalid,
    input wire awready,
    output reg [63:0] wdata,
    output reg wvalid,
    input wire wready,
    input wire [1:0] bresp,
    input wire bvalid,
    output reg [31:0] araddr,
    output reg [2:0] arprot,
    output reg arvalid,
    input wire arready,
    input wire [63:0] rdata,
    input wire [1:0] rresp,
    input wire rvalid
);
    localparam [1:0] WAIT = 0, LOAD = 1;

    reg request  /* Python writes */;
    reg cancel  /* Python writes */;
    initial begin
        request = 0;
        cancel = 0;
        done = 0;
    end

    reg [63:0] control, due;
    reg waiting = 0;  // until `due`, an interrupt or a cancel
    reg [63:0] alarm = 0;
    reg wanted = 0;   // toggles when an operation is due
    reg started = 0;  // follows `wanted` when it goes to the bus
    reg active = 0;   // on the bus
    wire cut_short = waiting && control[2] && interrupt;

    assign busy = wanted != started || active;

    initial begin
        awvalid = 0; wvalid = 0; arvalid = 0;
        awaddr = 0; awprot = 0; wdata = 0; araddr = 0; arprot = 0;
        control = 0; due = 0;
    end

    task automatic answer(input bit interrupted, input [1:0] response);
        `STORE_WRITE(MAILBOX, {61'd0, interrupted, response}, 8'hff);
        `STORE_WRITE(MAILBOX + 8, $time & ~64'd1, 8'hff);
        done <= #($time % 2 == 0 ? 1 : 2) !done;
    endtask

    always @(request)
        if ($time != 0) begin
            control = `STORE_READ(MAILBOX);
            due = `STORE_READ(MAILBOX + 8);
            if (control[2] && interrupt) answer(1, 0);
            else if (due < $time) begin_operation;
            else begin
                waiting = 1;
                set_alarm;
            end
        end

    // The value only has to change. Verilator keeps one value for all pending alarms, so that of a wait that was cut
    // short may use up the change that a later wait is in need of: then the alarm is set again.
    task automatic set_alarm;
        alarm <= #(due - $time + 1) $time;
    endtask

    always @(alarm)
        if (waiting) begin
            if (due < $time) begin_operation;
            else set_alarm;
        end

    always @(cut_short) if (cut_short && waiting) interrupt_wait;
    always @(cancel) if (waiting && control[2]) interrupt_wait;

    task automatic begin_operation;
        waiting = 0;
        if (control[1:0] == WAIT) answer(0, 0);
        else wanted = !wanted;
    endtask

    task automatic interrupt_wait;
        waiting = 0;
        answer(1, 0);
    endtask

    always @(posedge clk) begin
        if (wanted != started) begin
            started <= wanted;
            active <= 1;
            if (control[1:0] == LOAD) begin
                araddr <= `STORE_READ(MAILBOX + 16);
                arprot <= control[10:8];
                arvalid <= 1;
            end else begin
                awaddr <= `STORE_READ(MAILBOX + 16);
                awprot <= control[10:8];
                awvalid <= 1;
                wdata <= `STORE_READ(MAILBOX + 24);
                wvalid <= 1;
            end
        end
        if (active) begin
            if (arready) arvalid <= 0;
            if (awready) awvalid <= 0;
            if (wready) wvalid <= 0;
            if (rvalid || bvalid) begin
                active <= 0;
                if (rvalid) `STORE_WRITE(MAILBOX + 24, rdata, 8'hff);
                answer(0, rvalid ? rresp : bresp);
            end
        end
    end
endmodule
