// A memory port that writes two words and reads two, and a register bus that writes and reads one, by the rules or
// against the one that +fault=NAME names. Signals change in the middle between two edges of the clock.
`timescale 1ps / 1ps
module rules_bench;
    string fault;
    reg clk = 0, rst = 1;
    always #5 clk = !clk;

    // ---- memory port ----
    reg [47:0] awaddr = 48'hff0, araddr = 48'h1008;
    reg [7:0] awlen = 1, arlen = 1;
    reg [2:0] awsize = 3, arsize = 3;
    reg [1:0] awburst = 1, arburst = 1, bresp = 0, rresp = 0;
    reg awvalid = 0, awready = 0, arvalid = 0, arready = 0, wlast = 0, wvalid = 0, wready = 0;
    reg bvalid = 0, bready = 0, rlast = 0, rvalid = 0, rready = 0;
    reg [63:0] wdata = 7, rdata = 9;
    reg [7:0] wstrb = 8'hff;
    axi_rules memory (.*);

    initial begin
        if (!$value$plusargs("fault=%s", fault)) fault = "none";
        #12 rst = 0;
        if (fault == "alignment") awaddr = 48'hff4;
        if (fault == "page") awaddr = 48'hff8;
        if (fault == "size") arsize = 2;
        if (fault == "burst") arburst = 0;
        if (fault == "unasked") rvalid = 1;
        awvalid = 1; arvalid = 1;
        if (fault == "word") begin wvalid = 1; wready = 1; end
        #10;  // offered, not taken
        if (fault == "address") araddr = 48'h1010;
        if (fault == "withdrawn") arvalid = 0;
        awready = 1; arready = 1;
        #10;
        awvalid = fault == "writes"; arvalid = fault == "reads";
        if (awvalid || arvalid) #100;
        wvalid = 1; wlast = fault == "early";
        #10;
        if (fault == "strobe") wstrb = 8'h0f;
        wready = 1;
        #10 wlast = fault != "late"; wdata = 8;
        if (fault == "answered early") bvalid = 1;
        #10 wvalid = 0; bvalid = 1; rvalid = 1;
        if (fault == "short") rlast = 1;
        if (fault == "exclusive write") bresp = 1;
        if (fault == "exclusive read") rresp = 1;
        #10;  // offered, not taken
        if (fault == "answer") bresp = 2;
        if (fault == "answer withdrawn") bvalid = 0;
        if (fault == "data") rdata = 10;
        if (fault == "response") rresp = 2;
        if (fault == "data withdrawn") rvalid = 0;
        bready = 1; rready = 1;
        #10 bvalid = fault == "answered twice"; rlast = fault != "long"; rdata = 11;
        #10 bvalid = 0; rvalid = fault == "read twice";
        #20 $display("no rule was broken");
        $finish;
    end

    // ---- register bus ----
    reg [31:0] bus_awaddr = 8, bus_araddr = 16;
    reg [2:0] bus_awprot = 1, bus_arprot = 1;
    reg bus_awvalid = 0, bus_awready = 0, bus_wvalid = 0, bus_wready = 0, bus_arvalid = 0, bus_arready = 0;
    reg bus_bvalid = 0, bus_bready = 0, bus_rvalid = 0, bus_rready = 0;
    reg [63:0] bus_wdata = 7, bus_rdata = 9;
    reg [7:0] bus_wstrb = 8'hff;
    reg [1:0] bus_bresp = 0, bus_rresp = 0;
    axi_lite_rules bus (
        .clk, .rst, .awaddr(bus_awaddr), .awprot(bus_awprot), .awvalid(bus_awvalid), .awready(bus_awready),
        .wdata(bus_wdata), .wstrb(bus_wstrb), .wvalid(bus_wvalid), .wready(bus_wready),
        .bresp(bus_bresp), .bvalid(bus_bvalid), .bready(bus_bready),
        .araddr(bus_araddr), .arprot(bus_arprot), .arvalid(bus_arvalid), .arready(bus_arready),
        .rdata(bus_rdata), .rresp(bus_rresp), .rvalid(bus_rvalid), .rready(bus_rready)
    );

    initial begin
        #12 bus_awvalid = 1; bus_wvalid = 1; bus_arvalid = 1;
        #10;  // offered, not taken
        if (fault == "bus address") bus_awaddr = 16;
        if (fault == "bus privilege") bus_arprot = 0;
        if (fault == "bus word") bus_wdata = 8;
        if (fault == "bus withdrawn") bus_wvalid = 0;
        if (fault == "bus unasked") bus_rvalid = 1;
        bus_awready = fault != "bus no address"; bus_wready = fault != "bus no word"; bus_arready = 1;
        #10;
        bus_awvalid = fault == "bus two addresses" || fault == "bus no address";
        bus_wvalid = fault == "bus two words" || fault == "bus no word";
        bus_arvalid = fault == "bus two reads";
        #10 bus_bvalid = 1; bus_rvalid = 1;
        if (fault == "bus exclusive write") bus_bresp = 1;
        if (fault == "bus exclusive read") bus_rresp = 1;
        #10;  // offered, not taken
        if (fault == "bus answer") bus_bresp = 2;
        if (fault == "bus data") bus_rdata = 10;
        if (fault == "bus answer withdrawn") bus_bvalid = 0;
        if (fault == "bus data withdrawn") bus_rvalid = 0;
        bus_bready = 1; bus_rready = 1;
        #10 bus_bvalid = fault == "bus answered twice"; bus_rvalid = fault == "bus read twice";
    end
endmodule
