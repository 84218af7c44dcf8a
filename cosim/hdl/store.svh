// Access to the store: one mmap that HDL and Python share. Zero simulated time; byte offsets, multiples of 8.
// By DPI where the simulator has it (Verilator), else by VPI system functions; store.cpp holds both.
`ifdef VERILATOR
`define STORE_READ(offset) nimble_store_read(offset)
`define STORE_WRITE(offset, data, strobe) nimble_store_write(offset, data, strobe)
`else
`define STORE_READ(offset) $nimble_store_read(offset)
`define STORE_WRITE(offset, data, strobe) $nimble_store_write(offset, data, strobe)
`endif
