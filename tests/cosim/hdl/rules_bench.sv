// A manager of a memory port that writes two words and reads one, by the rules or against the one that FAULT names.
`timescale 1ps / 1ps
module rules_bench;
    parameter FAULT = "none";
    reg clk = 0, rst = 1;
    always #5 clk = !clk;
    reg [47:0] awaddr = 48'hff0, araddr = 48'h1008;
    reg [7:0] awlen = 1, arlen = 0;
    reg [2:0] awsize = 3, arsize = 3;
    reg [1:0] awburst = 1, arburst = 1;
    reg awvalid = 0, awready = 0, arvalid = 0, arready = 0, wlast = 0, wvalid = 0, wready = 0;
    reg [63:0] wdata = 7;
    reg [7:0] wstrb = 8'hff;
    axi_rules rules (.*);

    initial begin
        #12 rst = 0;
        if (FAULT == "alignment") awaddr = 48'hff4;
        if (FAULT == "page") awaddr = 48'hff8;
        if (FAULT == "size") arsize = 2;
        if (FAULT == "burst") arburst = 0;
        awvalid = 1; arvalid = 1;
        #10;  // offered, not taken
        if (FAULT == "address") araddr = 48'h1010;
        if (FAULT == "withdrawn") arvalid = 0;
        awready = 1; arready = 1;
        #10 awvalid = 0; arvalid = 0; wvalid = 1; wlast = FAULT == "early";
        #10;
        if (FAULT == "strobe") wstrb = 8'h0f;
        wready = 1;
        #10 wlast = FAULT != "late"; wdata = 8;
        #10 wvalid = 0;
        #20 $display("no rule was broken");
        $finish;
    end
endmodule
