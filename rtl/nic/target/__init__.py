"""What arrives for processes: packets are matched to entries, written to memory, answered."""
