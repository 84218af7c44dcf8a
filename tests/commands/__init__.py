"""What the commands behind `make formal`, `make synth`, `make fuzz-nic` and `make bench-nic` have in common.

They end in one line and leave no process behind, work on several processors, say how far they are, call tools within a
time limit, and print tables that 40 columns hold. What they do is theirs: nothing here knows the NIC.
"""
