"""How fast the NIC is, in cycles of its clock, and how fast it can be simulated; run by `make bench-nic`."""
