"""The lightweight kernel: boot, memory, processes, cores, events and traps. Holds no device register."""
