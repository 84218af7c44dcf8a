// Drives a machine of tiles by their packed ports alone: the last node's core C-1 makes its NIC send 40 bytes to node
// 0, where core 0 has made a match entry for them. Prints PASS and a checksum of everything that left the tiles in every
// cycle, or what is wrong; it is the same with +ungated, where all clocks run always.
//
// Addresses and positions are worked by hand from nic.rdl and portals.py for four contexts, two windows and 64 bits.
`timescale 1ns / 1ps
module bench;
    parameter DELAY = 0;  // cycles from a flit's leaving the sender to its arrival
    localparam N = machine::NODES, C = machine::CORES, P = N * C;
    localparam LINKS = machine::LINKS, CHANNELS = machine::CHANNELS, CHANNEL_BITS = machine::CHANNEL_BITS;
    localparam DIMENSIONS = machine::DIMENSIONS;
    localparam SENDER = N - 1;
    localparam S = 2 * SENDER;  // its stream of requests

    reg clk = 0, rst = 1;
    always #5 clk = !clk;
    wire [63:0] now = 64'h1234_5678;

    // ---- gates; the last one is the fabric's ----
    wire [N:0] quiescent;
    wire ungated = $test$plusargs("ungated");
    reg [N:0] open = ~0;
    always @(negedge clk) #2 open = ~quiescent | {N + 1{rst || ungated}};  // cores have done what they do by then
    wire [N:0] gated = {N + 1{clk}} & open;

    reg [P*32-1:0] core_awaddr = 0, core_araddr = 0;
    reg [P*3-1:0] core_awprot = 0, core_arprot = 0;
    reg [P-1:0] core_awvalid = 0, core_wvalid = 0, core_arvalid = 0;
    reg [P*64-1:0] core_wdata = 0;
    wire [P-1:0] core_awready, core_wready, core_bvalid, core_arready, core_rvalid;
    wire [P*64-1:0] core_rdata;
    wire [P*2-1:0] core_bresp, core_rresp;
    wire [N*48-1:0] memory_awaddr, memory_araddr;
    wire [N*8-1:0] memory_awlen, memory_arlen, memory_wstrb;
    wire [N*64-1:0] memory_wdata, memory_rdata;
    wire [N-1:0] memory_awid, memory_arid, memory_awvalid, memory_wlast, memory_wvalid, memory_bready, memory_arvalid;
    wire [N-1:0] memory_rready, memory_rlast, memory_rvalid, memory_bvalid, memory_awready, memory_wready, memory_arready;
    wire [N*3-1:0] memory_awsize, memory_arsize;
    wire [N*2-1:0] memory_awburst, memory_arburst;
    wire [P-1:0] interrupts;
    wire [(N+1)*32-1:0] dropped;
    wire [2*N*64-1:0] tx_flit, rx_flit;
    wire [2*N-1:0] tx_last, tx_valid, tx_ready, rx_last, rx_valid, rx_ready;

    wire [N*DIMENSIONS*16-1:0] bases;
    wire [N*DIMENSIONS-1:0] ties;
    wire [N*LINKS-1:0] o_link_valid, i_link_valid;
    wire [N*LINKS*CHANNEL_BITS-1:0] o_link_channel, i_link_channel;
    wire [N*LINKS*65-1:0] o_link_flit, i_link_flit;
    wire [N*LINKS*CHANNELS-1:0] o_link_credit, i_link_credit;

    fabric fabric (
        .clk(gated[N]), .rst(rst), .bases(bases), .ties(ties), .dropped(dropped[N*32+:32]), .quiescent(quiescent[N]),
        .o_link_valid(o_link_valid), .o_link_channel(o_link_channel), .o_link_flit(o_link_flit),
        .o_link_credit(o_link_credit), .i_link_valid(i_link_valid), .i_link_channel(i_link_channel),
        .i_link_flit(i_link_flit), .i_link_credit(i_link_credit)
    );
    genvar t;
    generate
        for (t = 0; t < N; t = t + 1) begin : tiles
            tile tile (
                .clk(gated[t]), .rst(rst), .now(now), .quiescent(quiescent[t]), .interrupts(interrupts[t*C+:C]),
                .bases(bases[t*DIMENSIONS*16+:DIMENSIONS*16]), .ties(ties[t*DIMENSIONS+:DIMENSIONS]),
                .dropped(dropped[t*32+:32]),
                .core_awaddr(core_awaddr[t*C*32+:C*32]), .core_awprot(core_awprot[t*C*3+:C*3]),
                .core_awvalid(core_awvalid[t*C+:C]), .core_awready(core_awready[t*C+:C]),
                .core_wdata(core_wdata[t*C*64+:C*64]), .core_wstrb({C * 8{1'b1}}), .core_wvalid(core_wvalid[t*C+:C]),
                .core_wready(core_wready[t*C+:C]), .core_bresp(core_bresp[t*C*2+:C*2]),
                .core_bvalid(core_bvalid[t*C+:C]), .core_bready({C{1'b1}}),
                .core_araddr(core_araddr[t*C*32+:C*32]), .core_arprot(core_arprot[t*C*3+:C*3]),
                .core_arvalid(core_arvalid[t*C+:C]), .core_arready(core_arready[t*C+:C]),
                .core_rdata(core_rdata[t*C*64+:C*64]), .core_rresp(core_rresp[t*C*2+:C*2]),
                .core_rvalid(core_rvalid[t*C+:C]), .core_rready({C{1'b1}}),
                .memory__awid(memory_awid[t]), .memory__awaddr(memory_awaddr[t*48+:48]),
                .memory__awlen(memory_awlen[t*8+:8]), .memory__awsize(memory_awsize[t*3+:3]),
                .memory__awburst(memory_awburst[t*2+:2]), .memory__awvalid(memory_awvalid[t]),
                .memory__awready(memory_awready[t]), .memory__wdata(memory_wdata[t*64+:64]),
                .memory__wstrb(memory_wstrb[t*8+:8]), .memory__wlast(memory_wlast[t]),
                .memory__wvalid(memory_wvalid[t]), .memory__wready(memory_wready[t]), .memory__bid(1'b0),
                .memory__bresp(2'd0), .memory__bvalid(memory_bvalid[t]), .memory__bready(memory_bready[t]),
                .memory__arid(memory_arid[t]), .memory__araddr(memory_araddr[t*48+:48]),
                .memory__arlen(memory_arlen[t*8+:8]), .memory__arsize(memory_arsize[t*3+:3]),
                .memory__arburst(memory_arburst[t*2+:2]), .memory__arvalid(memory_arvalid[t]),
                .memory__arready(memory_arready[t]), .memory__rid(1'b0), .memory__rdata(memory_rdata[t*64+:64]),
                .memory__rresp(2'd0), .memory__rlast(memory_rlast[t]), .memory__rvalid(memory_rvalid[t]),
                .memory__rready(memory_rready[t]),
                .o_link__valid(o_link_valid[t*LINKS+:LINKS]),
                .o_link__channel(o_link_channel[t*LINKS*CHANNEL_BITS+:LINKS*CHANNEL_BITS]),
                .o_link__flit(o_link_flit[t*LINKS*65+:LINKS*65]),
                .o_link__credit(o_link_credit[t*LINKS*CHANNELS+:LINKS*CHANNELS]),
                .i_link__valid(i_link_valid[t*LINKS+:LINKS]),
                .i_link__channel(i_link_channel[t*LINKS*CHANNEL_BITS+:LINKS*CHANNEL_BITS]),
                .i_link__flit(i_link_flit[t*LINKS*65+:LINKS*65]),
                .i_link__credit(i_link_credit[t*LINKS*CHANNELS+:LINKS*CHANNELS]),
                .tx_flit(tx_flit[t*128+:128]), .tx_last(tx_last[t*2+:2]), .tx_valid(tx_valid[t*2+:2]),
                .tx_ready(tx_ready[t*2+:2]), .rx_flit(rx_flit[t*128+:128]), .rx_last(rx_last[t*2+:2]),
                .rx_valid(rx_valid[t*2+:2]), .rx_ready(rx_ready[t*2+:2])
            );
        end
    endgenerate

    task fail(input [8*40-1:0] what, input [63:0] seen, input [63:0] expected);
        begin
            $display("FAIL %0s: %h, expected %h", what, seen, expected);
            $finish;
        end
    endtask

    task check(input [8*40-1:0] what, input [63:0] seen, input [63:0] expected);
        if (seen !== expected) fail(what, seen, expected);
    endtask

    // ---- what leaves the machine: never unknown once it matters, and the same in every run ----
    reg [63:0] checksum = 0;
    integer cycle = 0;
    task take(input [63:0] value);
        checksum = (checksum ^ value) * 64'h100_0000_01b3 + 1;
    endtask
    wire [2*N-1:0] tx_odd, rx_odd;  // what stands on a stream of flits matters only while it is valid
    wire [13:0] odd = {^core_rdata, ^core_rresp, ^core_bresp, ^memory_awaddr, ^memory_araddr, ^memory_awlen, ^memory_arlen,
                       ^memory_wstrb, ^memory_wdata, ^tx_odd, ^rx_odd, ^dropped,
                       ^{memory_awid, memory_arid, memory_wlast, memory_awsize, memory_arsize, memory_awburst}, ^interrupts};
    wire [9:0] handshakes = {^core_awready, ^core_wready, ^core_bvalid, ^core_arready, ^core_rvalid, ^memory_awvalid,
                             ^memory_wvalid, ^memory_arvalid, ^quiescent, ^{tx_valid, tx_ready, rx_valid, rx_ready}};
    always @(negedge clk)
        if (!rst) begin
            if (^{odd, handshakes} === 1'bx) fail("an unknown output", 0, 0);
            take({odd, handshakes, cycle});
            cycle = cycle + 1;
        end

    // ---- streams; memories of 16 KiB: a burst at a time, one word a cycle ----
    genvar g;
    generate
        for (g = 0; g < 2 * N; g = g + 1) begin : stream
            assign tx_odd[g] = tx_valid[g] && ^{tx_flit[g*64+:64], tx_last[g]};
            assign rx_odd[g] = rx_valid[g] && ^{rx_flit[g*64+:64], rx_last[g]};
        end
        for (g = 0; g < N; g = g + 1) begin : node
            reg [63:0] words[0:2047];
            reg [47:0] read_address, write_address;
            reg [8:0] reads_left;
            reg writing, answering;
            integer i;
            initial begin
                for (i = 0; i < 2048; i = i + 1) words[i] = 0;
                reads_left = 0; writing = 0; answering = 0; read_address = 0; write_address = 0;
            end
            assign memory_arready[g] = reads_left == 0;
            assign memory_rvalid[g] = reads_left != 0;
            assign memory_rdata[g*64+:64] = words[read_address[13:3]];
            assign memory_rlast[g] = reads_left == 1;
            assign memory_awready[g] = !writing && !answering;
            assign memory_wready[g] = writing;
            assign memory_bvalid[g] = answering;
            always @(posedge clk) begin
                if (memory_arvalid[g] && memory_arready[g]) begin
                    read_address <= memory_araddr[g*48+:48];
                    reads_left <= memory_arlen[g*8+:8] + 1;
                end else if (memory_rvalid[g] && memory_rready[g]) begin
                    read_address <= read_address + 8;
                    reads_left <= reads_left - 1;
                end
                if (memory_awvalid[g] && memory_awready[g]) begin
                    write_address <= memory_awaddr[g*48+:48];
                    writing <= 1;
                end
                if (memory_wvalid[g] && memory_wready[g]) begin
                    for (i = 0; i < 8; i = i + 1)
                        if (memory_wstrb[g*8+i]) words[write_address[13:3]][8*i+:8] <= memory_wdata[g*64+8*i+:8];
                    write_address <= write_address + 8;
                    writing <= !memory_wlast[g];
                    answering <= memory_wlast[g];
                end
                if (memory_bvalid[g] && memory_bready[g]) answering <= 0;
            end
        end
    endgenerate

    // ---- cores: their signals change when the clock falls ----
    task store(input integer port, input [31:0] address, input [63:0] data);
        begin
            core_awaddr[port*32 +: 32] = address;
            core_awprot[port*3 +: 3] = 3'b001;
            core_wdata[port*64 +: 64] = data;
            core_awvalid[port] = 1;
            core_wvalid[port] = 1;
            #1;
            while (core_awvalid[port] || core_wvalid[port]) begin : handshake
                reg address_goes, data_goes;
                address_goes = core_awvalid[port] && core_awready[port];
                data_goes = core_wvalid[port] && core_wready[port];
                @(negedge clk);
                if (address_goes) core_awvalid[port] = 0;
                if (data_goes) core_wvalid[port] = 0;
                #1;
            end
            while (!core_bvalid[port]) @(negedge clk);
            check("xRESP of a store", core_bresp[port*2 +: 2], 0);
            check("only this core is answered", core_bvalid, {{P - 1{1'b0}}, 1'b1} << port);
            @(negedge clk);
        end
    endtask

    task load(input integer port, input [31:0] address, output [63:0] data);
        begin : body
            reg goes;
            core_araddr[port*32 +: 32] = address;
            core_arprot[port*3 +: 3] = 3'b001;
            core_arvalid[port] = 1;
            #1;
            while (core_arvalid[port]) begin
                goes = core_arready[port];
                @(negedge clk);
                if (goes) core_arvalid[port] = 0;
                #1;
            end
            while (!core_rvalid[port]) @(negedge clk);
            check("xRESP of a load", core_rresp[port*2 +: 2], 0);
            check("only this core gets data", core_rvalid, {{P - 1{1'b0}}, 1'b1} << port);
            data = core_rdata[port*64 +: 64];
            @(negedge clk);
        end
    endtask

    // ---- monitors: requests alone are sent, for an acknowledgement was not asked for ----
    integer sent = 0, received = 0;
    reg [63:0] packet[0:15];
    integer first_sent_at = 0, first_received_at = 0;
    always @(posedge clk)
        if ((tx_valid & tx_ready) != 0) begin
            check("who sends", tx_valid, {{2 * N - 1{1'b0}}, 1'b1} << S);
            if (sent == 0) first_sent_at = cycle;
            packet[sent] = tx_flit[S*64 +: 64];
            check("last flit of the packet", tx_last[S], sent == 13);
            sent = sent + 1;
        end
    always @(posedge clk)
        if ((rx_valid & rx_ready) != 0) begin
            check("who receives", rx_valid, 1);
            if (received == 0) first_received_at = cycle;
            check("a flit that arrives", rx_flit[63:0], packet[received]);
            check("last flit that arrives", rx_last[0], received == 13);
            received = received + 1;
        end

    reg [63:0] value;
    integer n, waited;
    task await_event(input integer port, input [63:0] tail);
        begin
            value = 0;
            for (waited = 0; value != tail && waited < 100; waited = waited + 1) load(port, 32'hC002_0018, value);
            check("EVENT_TAIL", value, tail);
        end
    endtask

    initial begin
        // Node 0, context 1, at 0x1240: PT_ALLOC 3; ME_APPEND to it, entry 5: 0x100 of window 1, all bits, any sender.
        node[0].words[12'h248] = 64'h0000_0000_0000_0310;
        node[0].words[12'h250] = 64'h0005_0000_0000_0314;
        node[0].words[12'h251] = 64'h0000_0103_0000_0000;
        node[0].words[12'h252] = 64'h0001_0000_0000_0000;
        node[0].words[12'h253] = 64'h0000_0000_0000_0100;
        node[0].words[12'h255] = 64'hffff_ffff_ffff_ffff;
        // The sender, context 1, at 0x1240: PUT to portal table entry 3 of node 0, PID 7: 40 bytes from window 0.
        node[SENDER].words[12'h248 + 16] = 64'h0000_0000_0000_0301;
        node[SENDER].words[12'h249 + 16] = 64'h0000_0028_0007_0000;
        node[SENDER].words[12'h24c + 16] = 64'hA5A5_0000_0000_5A5A;
        for (n = 0; n < 5; n = n + 1) node[SENDER].words[12'h300 + n] = 64'h1111_2222_3333_0000 + n;
        repeat (4) @(negedge clk);
        rst = 0;
        for (waited = 0; quiescent != {N + 1{1'b1}} && waited < 1000; waited = waited + 1) @(negedge clk);
        check("quiescent", quiescent, {N + 1{1'b1}});
        // Every node's NIC gets its NID from the node's first core, and tells it to the last one.
        for (n = 0; n < N; n = n + 1) store(n * C, 32'hC000_0010, n);
        for (n = 0; n < N; n = n + 1) begin
            load(n * C + C - 1, 32'hC000_0010, value);
            check("NODE_ID", value, n);
        end
        // Context 1: PID 7 at node 0, 9 at the sender; JID 3; a ring of 16 and an event queue of 16.
        for (n = 0; n < N; n = n + N - 1) begin
            store(n * C, 32'hC000_4208, n == 0 ? 64'h0000_0003_0000_0007 : 64'h0000_0003_0000_0009);
            store(n * C, 32'hC000_4210, n == 0 ? 64'h1240 : 64'h12c0);
            store(n * C, 32'hC000_4218, 4);
            store(n * C, 32'hC000_4220, 64'h2000);
            store(n * C, 32'hC000_4228, 4);
            store(n * C, 32'hC000_4240, 64'h1800);  // window 0: 256 bytes that may be sent
            store(n * C, 32'hC000_4248, 64'h100);
            store(n * C, 32'hC000_4250, 1);
            store(n * C, 32'hC000_4260, 64'h1a00);  // window 1: 256 bytes that others may write
            store(n * C, 32'hC000_4268, 64'h100);
            store(n * C, 32'hC000_4270, 8);
            store(n * C, 32'hC000_4200, 1);
        end
        store(0, 32'hC002_0000, 2);
        await_event(0, 1);
        check("event LINK", node[0].words[12'h400] & 64'hff, 64'h0d);
        store(SENDER * C + C - 1, 32'hC002_0000, 1);
        await_event(0, 2);
        await_event(SENDER * C, 1);
        check("flits sent", sent, 14);
        check("flits received", received, 14);
        check("word 0", packet[0], 64'h0028_0301_0007_0000);
        check("word 1", packet[1], 64'h0000_0003_0009_0000 | SENDER);
        check("word 5", packet[5], 64'hA5A5_0000_0000_5A5A);
        for (n = 0; n < 5; n = n + 1) begin
            check("payload sent", packet[8 + n], 64'h1111_2222_3333_0000 + n);
            check("payload in memory", node[0].words[12'h340 + n], 64'h1111_2222_3333_0000 + n);
        end
        check("event PUT", node[0].words[12'h408] & 64'hff, 3);
        check("who put", node[0].words[12'h409], 64'h0000_0003_0009_0000 | SENDER);
        check("event SEND", node[SENDER].words[12'h400] & 64'hff, 64'h0a);
        check("delay of the fabric", first_received_at - first_sent_at, DELAY);
        repeat (60) @(negedge clk);
        check("quiescent afterwards", quiescent, {N + 1{1'b1}});
        check("dropped by the fabric", dropped != 0, 0);
        load(0, 32'hC000_0110, value);
        check("MESSAGES_DELIVERED", value, 1);
        $display("PASS %h after %0d cycles", checksum, cycle);
        $finish;
    end
    initial #100000 begin $display("FAIL timeout"); $finish; end
endmodule
