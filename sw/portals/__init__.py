"""The user-level library over the NIC, in Portals 4's words: commands, events and counting events in the process's own
memory, no trap on the way of a message.

`endpoint.py` is one NIC context with its ring and queue. `operations.py` sends (PtlPut, PtlGet, PtlAtomic,
PtlFetchAtomic, PtlSwap), `portal_table.py` receives (PtlPTAlloc, PtlMEAppend, ...), `counters.py` counts (PtlCT...).
What they write are claims, which the hardware checks; a process can harm none but itself here.
"""
