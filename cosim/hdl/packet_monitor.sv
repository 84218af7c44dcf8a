// Watches one packet stream and leaves a record of 64 bytes of every packet in a ring in the store:
//   word 0  time of the first word in ps     word 1  time of the last word in ps
//   word 2  word 0 of the packet             word 3  word 1 of the packet (the trusted word)
//   word 4  word 4 of the packet (header data)
// The ring is RECORDS long and follows a head of 64 bytes, whose first word counts the records ever written.
`include "store.svh"

module packet_monitor #(
    parameter longint RING = 0,
    parameter longint RECORDS = 1
) (
    input wire clk,
    input wire [63:0] word,
    input wire last,
    input wire valid,
    input wire ready
);
    reg [63:0] last_time = 0;
    reg [63:0] first_time = 0, route = 0, trusted = 0, header_data = 0, written = 0;
    reg [2:0] index = 0;
    wire [63:0] record = RING + 64 + (written % RECORDS) * 64;

    always @(posedge clk)
        if (valid && ready) begin
            if (index == 0) begin
                first_time <= $time;
                route <= word;
            end
            if (index == 1) trusted <= word;
            if (index == 4) header_data <= word;
            index <= last ? 0 : index == 7 ? 7 : index + 1;
            if (last) begin
                last_time = $time;  // Icarus has no $time as an argument of a VPI function
                `STORE_WRITE(record, first_time, 8'hff);
                `STORE_WRITE(record + 8, last_time, 8'hff);
                `STORE_WRITE(record + 16, route, 8'hff);
                `STORE_WRITE(record + 24, trusted, 8'hff);
                `STORE_WRITE(record + 32, header_data, 8'hff);
                `STORE_WRITE(RING, written + 1, 8'hff);
                written <= written + 1;
            end
        end
endmodule
