"""Small helpers of the model's tests."""

from collections.abc import Mapping, Sequence

from rtl.nic.parameters import NicParameters
from tests.golden.machine import Machine
from tests.golden.process import append, portal

FROM_NODE_0 = {"src_nid": 0, "src_pid": 10, "jid": 1}
FROM_NODE_1 = {"src_nid": 1, "src_pid": 10, "jid": 1}
TO_NODE_1 = {"dst_nid": 1, "dst_pid": 10, "pt_index": 2}
TEXT = bytes(range(1, 201))


def pair(*, seed: int = 0, event_log2: int = 6, flow_control: bool = False, **sizes: int) -> Machine:
    """Two nodes; on each, contexts 0 and 1 (pid 10 and 11) run; node 1's context 0 has portal table entry 2."""
    usual = {"contexts": 2, "windows": 2, "portal_entries": 4, "match_entries": 8, "unexpected_headers": 4}
    machine = Machine(NicParameters(**(usual | {"counters": 4, "outstanding": 2, "mtu_bytes": 64} | sizes)), seed)
    for nid in (0, 1):
        for context in (0, 1):
            machine.start(nid, context, event_log2=event_log2)
    machine.do(1, 0, portal(2, flow_control=flow_control))
    return machine


def target(**entry: int) -> Machine:
    """A pair whose node 1 takes everything, from offset 0x100 on; TEXT lies at the beginning of node 0's window."""
    machine = pair()
    machine.write(0, 0, 0, TEXT)
    machine.do(1, 0, append(pt_index=2, entry=0, offset=0x100, length_bytes=1000, **entry))
    return machine


def said(events: Sequence[Mapping[str, int]]) -> list[dict[str, int]]:
    """Events without their sequence numbers and without fields that are 0."""
    return [{name: int(value) for name, value in event.items() if value and name != "sequence"} for event in events]


def meant(*events: Mapping[str, int]) -> list[dict[str, int]]:
    """Expected events, with fields that are 0 left out."""
    return [{name: int(value) for name, value in event.items() if value} for event in events]
