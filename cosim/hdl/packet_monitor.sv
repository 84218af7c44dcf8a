// Watches one stream of packets and leaves a record of 96 bytes of every packet in a ring in the store:
//   word 0      time of the first flit in ps
//   word 1      time of the last flit in ps
//   words 2-9   header words 0 to 7; 0 where a packet ended before
//   word 10     the low 64 bits of the last flit: the CRC, and with it what the payload was
//   word 11     flits of the packet
// The ring is `records` long and follows a head of 64 bytes, whose first word counts the records ever written.
`timescale 1ps / 1ps
`include "store.svh"

module packet_monitor #(
    parameter int DATA_BITS = 64
) (
    input wire clk,
    input wire [63:0] ring,  // where it lies in the store
    input wire [63:0] records,
    input wire [DATA_BITS-1:0] flit,
    input wire last,
    input wire valid,
    input wire ready
);
    localparam int HEADER_FLITS = 512 / DATA_BITS;

    reg [63:0] last_time = 0, first_time = 0, written = 0;
    reg [31:0] index = 0;
    reg [511:0] header = 0;
    wire [63:0] record = ring + 64 + (written % records) * 96;
    integer w;

    always @(posedge clk)
        if (valid && ready) begin
            if (index == 0) begin
                first_time = $time;
                header = 0;
            end
            if (index < HEADER_FLITS) header[index*DATA_BITS+:DATA_BITS] = flit;
            index <= last ? 0 : index + 1;
            if (last) begin
                last_time = $time;  // Icarus has no $time as an argument of a VPI function
                `STORE_WRITE(record, first_time, 8'hff);
                `STORE_WRITE(record + 8, last_time, 8'hff);
                for (w = 0; w < 8; w = w + 1) `STORE_WRITE(record + 16 + 8 * w, header[64*w+:64], 8'hff);
                `STORE_WRITE(record + 80, flit[63:0], 8'hff);
                `STORE_WRITE(record + 88, {32'd0, index} + 1, 8'hff);
                `STORE_WRITE(ring, written + 1, 8'hff);
                written <= written + 1;
            end
        end
endmodule
