// A clock behind a gate: it has those edges of `clk` before which `enable` was high, and counts them.
//
// Whether the gate is open is decided when `clk` falls, and nothing changes it before it falls again, so that `gated` has
// no other edges; it rises in the time step in which `clk` does, before anything that `clk` clocks has changed.
// `now_gated` is `now` while the gate is open: what stands still behind the gate sees no time pass.
`timescale 1ps / 1ps

module clock_gate (
    input wire clk,
    input wire enable,
    input wire [63:0] now,
    output wire gated,
    output reg [63:0] now_gated
);
    reg open = 1;
    reg [63:0] cycles = 0;
    initial now_gated = 0;
    always @(negedge clk) begin
        open <= enable;
        if (enable) now_gated <= now;
    end
    assign gated = clk & open;
    always @(posedge gated) cycles <= cycles + 1;
endmodule
