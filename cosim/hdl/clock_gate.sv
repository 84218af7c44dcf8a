// A clock behind a gate: it has those edges of `clk` before which `enable` was high, and counts them.
//
// Whether the gate is open is decided when `clk` falls, and nothing changes it before it falls again, so that `gated` has
// no other edges; it rises in the time step in which `clk` does, before anything that `clk` clocks has changed.
module clock_gate (
    input wire clk,
    input wire enable,
    output wire gated
);
    reg open = 1;
    reg [63:0] cycles = 0;
    always @(negedge clk) open <= enable;
    assign gated = clk & open;
    always @(posedge gated) cycles <= cycles + 1;
endmodule
