"""Signatures between the blocks of the NIC, each with what is valid when; by the room whose blocks offer them.

Handshakes: `valid` and what goes with it hold until `ready`; `valid` never waits for `ready`. A pulse is high for one
cycle. `context` numbers a context, `epoch` says which life of it is meant: it counts the context's restarts modulo
2**16, and what was begun for another epoch is dropped by whoever notices.
"""
