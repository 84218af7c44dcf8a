"""The largest message there is, from memory to memory: that all of it comes, and at which rate."""

import random

from rtl.nic.parameters import NicParameters
from rtl.portals import LIST_COMMAND, MAX_MESSAGE_BYTES, EventKind, Fail, Operation
from tests.bench_nic.figures import Figure
from tests.bench_nic.rates import LEAST_PAYLOAD_SHARE
from tests.bench_nic.rig import MATCH_BITS, PT_INDEX, Rig

DATAPATH_BITS = 128
_LARGE = MATCH_BITS + 1
_CYCLES_AT_A_TIME = 5_000  # between looks at whether it is over; packets are forgotten meanwhile


def figures() -> list[Figure]:
    """AssertionError if a byte is not what it was at the sender."""
    rig = Rig(NicParameters(datapath_bits=DATAPATH_BITS), large_bytes=MAX_MESSAGE_BYTES)
    entry = LIST_COMMAND.pack(
        operation=Operation.ME_APPEND, pt_index=PT_INDEX, match_bits=_LARGE, entry=1, window=1, any_nid=1, any_pid=1,
        op_put=1, length_bytes=MAX_MESSAGE_BYTES, event_link_disable=1,
    )  # fmt: skip
    rig.post(1, 0, [entry])
    rig.settle()
    rig.large(0)[:] = random.Random(1).randbytes(MAX_MESSAGE_BYTES)
    put = rig.command(Operation.PUT, 1, length_bytes=MAX_MESSAGE_BYTES, local_window=1, match_bits=_LARGE)
    begun = rig.simulator.cycle
    rig.post(0, 0, [put])
    event = _await_event(rig)
    cycles = rig.simulator.cycle - begun
    assert (event["kind"], event["fail"], event["manipulated_bytes"]) == (EventKind.PUT, Fail.OK, MAX_MESSAGE_BYTES)
    assert rig.large(1) == rig.large(0)
    rig.settle()
    rig.close()
    return [
        Figure(
            name=f"put of {MAX_MESSAGE_BYTES >> 20} MiB, one way, all bytes compared, {DATAPATH_BITS} bits",
            value=MAX_MESSAGE_BYTES / rig.parameters.datapath_bytes / cycles, unit="payload of datapath",
            at_least=LEAST_PAYLOAD_SHARE,
        )
    ]  # fmt: skip


def _await_event(rig: Rig) -> dict[str, int]:
    """The next event of node 1; AssertionError if it takes twice as long as the message is."""
    for _ in range(0, 2 * MAX_MESSAGE_BYTES // rig.parameters.datapath_bytes, _CYCLES_AT_A_TIME):
        rig.simulator.run(_CYCLES_AT_A_TIME)
        rig.forget()
        event = rig.next_event(1, 0)
        if event is not None:
            return event
    raise AssertionError(f"no event in {rig.simulator.cycle} cycles")
