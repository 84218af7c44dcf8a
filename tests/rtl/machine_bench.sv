// Drives a machine of N nodes by its packed ports alone: the last node's core C-1 makes its NIC send one packet without
// payload to node 0, from a command that this bench, as the memories, hands out. Prints PASS, or what is wrong.
//
// Addresses and positions are worked by hand from nic.rdl for four contexts.
`timescale 1ns / 1ps
module bench;
    parameter N = 2;
    parameter C = 2;
    localparam P = N * C;
    localparam SENDER = N - 1;

    reg clk = 0, rst = 1;
    always #5 clk = !clk;

    reg [P*32-1:0] core_awaddr = 0, core_araddr = 0;
    reg [P*3-1:0] core_awprot = 0, core_arprot = 0;
    reg [P-1:0] core_awvalid = 0, core_wvalid = 0, core_arvalid = 0;
    reg [P*64-1:0] core_wdata = 0;
    wire [P-1:0] core_awready, core_wready, core_bvalid, core_arready, core_rvalid;
    wire [P*64-1:0] core_rdata;
    wire [P*2-1:0] core_bresp, core_rresp;
    wire [N*48-1:0] memory_awaddr, memory_araddr;
    wire [N*8-1:0] memory_awlen, memory_arlen, memory_wstrb;
    wire [N*64-1:0] memory_wdata;
    wire [N-1:0] memory_awid, memory_arid, memory_awvalid, memory_wlast, memory_wvalid, memory_bready, memory_arvalid;
    wire [N-1:0] memory_rready;
    wire [N*3-1:0] memory_awsize, memory_arsize;
    wire [N*2-1:0] memory_awburst, memory_arburst;
    reg [N*64-1:0] memory_rdata = 0;
    reg [N-1:0] memory_rvalid = 0, memory_rlast = 0, memory_bvalid = 0;
    wire [N-1:0] interrupt, node_quiescent, fabric_dropped;
    wire fabric_quiescent;
    wire [N*64-1:0] tx_word, rx_word;
    wire [N-1:0] tx_last, tx_valid, tx_ready, rx_last, rx_valid, rx_ready;

    machine machine (
        .clk(clk), .rst(rst),
        .core_awaddr(core_awaddr), .core_awprot(core_awprot), .core_awvalid(core_awvalid), .core_awready(core_awready),
        .core_wdata(core_wdata), .core_wstrb({P * 8{1'b1}}), .core_wvalid(core_wvalid), .core_wready(core_wready),
        .core_bresp(core_bresp), .core_bvalid(core_bvalid), .core_bready({P{1'b1}}),
        .core_araddr(core_araddr), .core_arprot(core_arprot), .core_arvalid(core_arvalid), .core_arready(core_arready),
        .core_rdata(core_rdata), .core_rresp(core_rresp), .core_rvalid(core_rvalid), .core_rready({P{1'b1}}),
        .memory_awid(memory_awid), .memory_awaddr(memory_awaddr), .memory_awlen(memory_awlen),
        .memory_awsize(memory_awsize), .memory_awburst(memory_awburst), .memory_awvalid(memory_awvalid),
        .memory_awready({N{1'b1}}), .memory_wdata(memory_wdata), .memory_wstrb(memory_wstrb),
        .memory_wlast(memory_wlast), .memory_wvalid(memory_wvalid), .memory_wready({N{1'b1}}),
        .memory_bid({N{1'b0}}), .memory_bresp({N * 2{1'b0}}), .memory_bvalid(memory_bvalid),
        .memory_bready(memory_bready), .memory_arid(memory_arid), .memory_araddr(memory_araddr),
        .memory_arlen(memory_arlen), .memory_arsize(memory_arsize), .memory_arburst(memory_arburst),
        .memory_arvalid(memory_arvalid), .memory_arready({N{1'b1}}), .memory_rid({N{1'b0}}),
        .memory_rdata(memory_rdata), .memory_rresp({N * 2{1'b0}}), .memory_rlast(memory_rlast),
        .memory_rvalid(memory_rvalid), .memory_rready(memory_rready),
        .interrupt(interrupt), .node_quiescent(node_quiescent), .fabric_quiescent(fabric_quiescent),
        .fabric_dropped(fabric_dropped), .tx_word(tx_word), .tx_last(tx_last), .tx_valid(tx_valid), .tx_ready(tx_ready),
        .rx_word(rx_word), .rx_last(rx_last), .rx_valid(rx_valid), .rx_ready(rx_ready)
    );

    task fail(input [8*40-1:0] what, input [63:0] seen, input [63:0] expected);
        begin
            $display("FAIL %0s: %h, expected %h", what, seen, expected);
            $finish;
        end
    endtask

    task check(input [8*40-1:0] what, input [63:0] seen, input [63:0] expected);
        if (seen !== expected) fail(what, seen, expected);
    endtask

    // Nothing that leaves the machine may ever be unknown.
    always @(negedge clk)
        if (!rst && ^{core_awready, core_wready, core_bresp, core_bvalid, core_arready, core_rdata, core_rresp,
                      core_rvalid, memory_awaddr, memory_araddr, memory_awlen, memory_arlen, memory_wstrb, memory_wdata,
                      memory_awid, memory_arid, memory_awvalid, memory_wlast, memory_wvalid, memory_bready,
                      memory_arvalid, memory_rready, memory_awsize, memory_arsize, memory_awburst, memory_arburst,
                      interrupt, node_quiescent, fabric_quiescent, fabric_dropped, tx_word, tx_last, tx_valid, tx_ready,
                      rx_word, rx_last, rx_valid, rx_ready} === 1'bx)
            fail("an unknown output", 0, 0);

    // ---- cores ----
    task store(input integer port, input [31:0] address, input [63:0] data);
        begin
            core_awaddr[port*32 +: 32] = address;
            core_awprot[port*3 +: 3] = 3'b001;
            core_wdata[port*64 +: 64] = data;
            core_awvalid[port] = 1;
            core_wvalid[port] = 1;
            while (core_awvalid[port] || core_wvalid[port]) begin : handshake
                reg address_goes, data_goes;
                #1;
                address_goes = core_awvalid[port] && core_awready[port];
                data_goes = core_wvalid[port] && core_wready[port];
                @(negedge clk);
                if (address_goes) core_awvalid[port] = 0;
                if (data_goes) core_wvalid[port] = 0;
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
            while (core_arvalid[port]) begin
                #1;
                goes = core_arready[port];
                @(negedge clk);
                if (goes) core_arvalid[port] = 0;
            end
            while (!core_rvalid[port]) @(negedge clk);
            check("xRESP of a load", core_rresp[port*2 +: 2], 0);
            check("only this core gets data", core_rvalid, {{P - 1{1'b0}}, 1'b1} << port);
            data = core_rdata[port*64 +: 64];
            @(negedge clk);
        end
    endtask

    // ---- the sender's memory: one command ----
    reg [63:0] command[0:7];
    integer word;
    task hand_out_command;
        begin
            while (memory_arvalid == 0) @(negedge clk);
            check("who reads memory", memory_arvalid, 1 << SENDER);
            check("the command's address", memory_araddr[SENDER*48 +: 48], 48'h0000_1240);
            check("the command's length", memory_arlen[SENDER*8 +: 8], 7);
            @(negedge clk);
            for (word = 0; word < 8; word = word + 1) begin
                memory_rdata[SENDER*64 +: 64] = command[word];
                memory_rlast[SENDER] = word == 7;
                memory_rvalid[SENDER] = 1;
                #1;
                while (!memory_rready[SENDER]) @(negedge clk);
                @(negedge clk);
            end
            memory_rvalid[SENDER] = 0;
        end
    endtask

    // ---- monitors ----
    integer sent = 0, received = 0, events = 0;
    reg [63:0] packet[0:5];
    integer first_sent_at = 0, first_received_at = 0, cycle = 0;
    always @(posedge clk) cycle <= cycle + 1;
    always @(posedge clk)
        if ((tx_valid & tx_ready) != 0) begin
            check("who sends", tx_valid, 1 << SENDER);
            if (sent == 0) first_sent_at = cycle;
            packet[sent] = tx_word[SENDER*64 +: 64];
            check("last word of the packet", tx_last[SENDER], sent == 5);
            sent = sent + 1;
        end
    always @(posedge clk)
        if ((rx_valid & rx_ready) != 0) begin
            check("who receives", rx_valid, 1);
            if (received == 0) first_received_at = cycle;
            check("a word that arrives", rx_word[63:0], packet[received]);
            check("last word that arrives", rx_last[0], received == 5);
            received = received + 1;
        end
    // The receiver's memory takes the event, and answers once it has all of it.
    reg event_written = 0, answer_taken = 0;
    always @(posedge clk) begin
        event_written <= memory_wvalid[0] && memory_wlast[0];
        answer_taken <= memory_bvalid[0] && memory_bready[0];
    end
    always @(negedge clk) begin
        if (answer_taken) memory_bvalid[0] = 0;
        if (event_written) begin
            events = events + 1;
            memory_bvalid[0] = 1;
        end
    end

    reg [63:0] value;
    integer n;
    initial begin
        for (n = 0; n < 8; n = n + 1) command[n] = 0;
        command[0] = 64'h1;  // put, no payload
        command[1] = 64'h0007_0000;  // dst_nid 0, dst_pid 7
        command[5] = 64'hA5A5_0000_0000_5A5A;  // match bits
        repeat (4) @(negedge clk);
        rst = 0;
        @(negedge clk);
        check("quiescent nodes", node_quiescent, {N{1'b1}});
        check("quiescent fabric", fabric_quiescent, 1);
        // Every node's NIC gets its NID from the node's first core, and tells it to the last one.
        for (n = 0; n < N; n = n + 1) store(n * C, 32'hC000_0010, n);
        for (n = 0; n < N; n = n + 1) begin
            load(n * C + C - 1, 32'hC000_0010, value);
            check("NODE_ID", value, n);
        end
        // Context 0 of node 0 receives: PID 7, JID 3, an event queue of 16 at 0x8000.
        store(0, 32'hC000_4008, 64'h0000_0003_0000_0007);
        store(0, 32'hC000_4020, 64'h8000);
        store(0, 32'hC000_4028, 4);
        store(0, 32'hC000_4000, 1);
        // Context 1 of the sender: PID 9, JID 3, a command ring of 16 at 0x1200.
        store(SENDER * C, 32'hC000_4208, 64'h0000_0003_0000_0009);
        store(SENDER * C, 32'hC000_4210, 64'h1240);
        store(SENDER * C, 32'hC000_4218, 4);
        store(SENDER * C, 32'hC000_4200, 1);
        store(SENDER * C + C - 1, 32'hC002_0000, 1);
        hand_out_command;
        while (events == 0 && cycle < 2000) @(negedge clk);
        check("words sent", sent, 6);
        check("words received", received, 6);
        check("word 0", packet[0], 64'h0000_0001_0007_0000);
        check("word 1", packet[1], (64'h3 << 32) | (64'h9 << 16) | SENDER);
        check("word 3", packet[3], 64'hA5A5_0000_0000_5A5A);
        check("delay of the fabric", first_received_at - first_sent_at, `DELAY);
        repeat (60) @(negedge clk);
        check("quiescent nodes afterwards", node_quiescent, {N{1'b1}});
        check("quiescent fabric afterwards", fabric_quiescent, 1);
        load(0, 32'hC000_0108, value);
        check("PACKETS_DELIVERED", value, 1);
        $display("PASS");
        $finish;
    end
    initial #40000 begin $display("FAIL timeout"); $finish; end
endmodule
