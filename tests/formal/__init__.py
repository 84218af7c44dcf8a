"""Proofs of the NIC's protection, by SMT solver, and the seeded bugs that show that they can fail.

`python -m tests.formal` runs them; README.md beside this file says what each theorem says, what it relies on, and why
together they are the whole NIC's. A theorem is a function that returns a `Bench`; nothing here is used by the hardware.
"""
