"""Which memory a message may touch: portal tables, match entries, unexpected headers, and what changes them.

One block for each thing that can be asked (`messages`, `finishing`, `commands`, `pending`, `sweep`), over one set of
`tables` that belongs to one of them at a time. `rtl.nic.target.match` decides whose turn it is; the blocks know nothing
of each other.
"""
