"""Host memory as the NIC reaches it: reads and writes of any alignment over one AXI4 manager, inside windows."""
