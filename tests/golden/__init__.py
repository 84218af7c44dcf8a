"""The golden model: what a NIC does, in plain Python, written from the contracts alone.

It is the executable specification that the hardware is judged by, transaction by transaction and without time. Begin
with `model.py` (what can be asked of a NIC), then `initiator.py` (commands), `target.py` (requests), `lists.py` and
`searches.py` (matching), `wire.py` (packets). `process.py` writes commands, `machine.py` joins several NICs, `judge.py`
compares hardware with the model. No Amaranth and nothing of the hardware's blocks may enter: only what software knows
of a NIC.
"""
