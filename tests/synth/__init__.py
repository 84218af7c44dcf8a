"""What the NIC costs in an ECP5: ``python -m tests.synth`` synthesises and places its blocks, and tells area and speed.

Nothing here is used by the hardware. Figures are for the part named in `flow`, block by block out of context: links
between blocks are not among their critical paths.
"""
