"""The NIC: trusted-header enforcement, commands, DMA, events. `nic.py` is wiring only."""
