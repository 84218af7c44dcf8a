"""Whole fabrics, verilated, under a random load that saturates them: see `tests.rtl.load.model`."""
