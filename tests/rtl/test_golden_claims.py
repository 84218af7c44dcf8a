"""The golden model: whatever processes command and whatever packets say, only what is theirs is touched."""

import random

import pytest

from rtl.packets import REQUEST, RESPONSE, PacketKind, pack
from rtl.portals import COMMAND, LIST_COMMAND, MAX_ATOMIC_BYTES, List, Operation
from tests.golden.context import INDEX_MODULUS, Right, Settings, Window
from tests.golden.effects import Pause
from tests.golden.judging import pair
from tests.golden.machine import CONTEXT_BYTES, COUNTER_BASE, WINDOW_BYTES
from tests.golden.process import append, portal
from tests.golden.wire import SEQUENCE_MODULUS

QUEUE_BYTES = 64 << 6
COUNTER_BYTES = 4 * 16
SHORT_BYTES = WINDOW_BYTES - 0x1000  # of a window that ends before anything else begins
EDGES = (0, 1, 2, 3, 8, 63, 64, 65, 0xFFFF, SHORT_BYTES - 1, SHORT_BYTES, (1 << 48) - 1, 1 << 63, (1 << 64) - 1)


def claim(chooser, record, **usual):
    """Fields of a record: usual ones, and now and then anything."""
    fields = dict(usual)
    for field in record:
        if chooser.random() < 0.05:
            value = chooser.choice(EDGES) if chooser.random() < 0.8 else chooser.getrandbits(64)
            fields[field.name] = value & field.mask
    return fields


def some_command(chooser):
    if chooser.random() < 0.5:
        usual = {"dst_nid": chooser.randrange(2), "dst_pid": 10 + chooser.randrange(2), "pt_index": 2}
        kind = chooser.choice([Operation.PUT, Operation.GET, Operation.ATOMIC, Operation.FETCH_ATOMIC, Operation.SWAP])
        atomic = {"length_bytes": 8, "atomic_operation": 8 if kind == Operation.SWAP else 0, "atomic_type": 2}
        more = atomic if kind >= Operation.ATOMIC else {"length_bytes": chooser.randrange(200)}
        return COMMAND.pack(**claim(chooser, COMMAND, operation=kind, **usual, **more))
    kind = chooser.choice([Operation.ME_APPEND, Operation.ME_APPEND, Operation.ME_UNLINK, Operation.ME_SEARCH])
    usual = {"pt_index": 2, "entry": chooser.randrange(8), "any_nid": 1, "any_pid": 1, "op_put": 1, "op_get": 1}
    more = {"length_bytes": chooser.choice(EDGES[:-2]), "list": chooser.choice(list(List)), "use_once": 1}
    return LIST_COMMAND.pack(**claim(chooser, LIST_COMMAND, operation=kind, **usual, **more))


def some_packet(chooser, orders, *, response):
    """A packet to node 1 with a good CRC, and mostly in order."""
    source = chooser.randrange(2)
    lane = 2 if response else chooser.randrange(2)
    order = (orders.get((source, lane), -1) + 1) % SEQUENCE_MODULUS
    usual = {"dst_nid": 1, "dst_pid": 10, "src_nid": source, "src_pid": 10, "jid": 1, "lane": lane}
    usual |= {"sequence": order, "last": 1}
    if response:
        kind = chooser.choice(list(PacketKind))
        usual |= {"kind": kind, "handle": chooser.randrange(2), "generation": chooser.randrange(3)}
        payload = chooser.randbytes(chooser.choice([0, 8, 64]) if kind == PacketKind.REPLY else 0)
        usual["manipulated_bytes"] = len(payload)
        fields = claim(chooser, RESPONSE, **usual)
    else:
        kind = chooser.choice([Operation.PUT, Operation.PUT, Operation.GET, Operation.ATOMIC, Operation.SWAP])
        payload = b"" if kind == Operation.GET else chooser.randbytes(chooser.choice([8, MAX_ATOMIC_BYTES]))
        usual |= {"kind": kind, "first": 1, "pt_index": 2, "message_bytes": len(payload)}
        usual |= {"atomic_operation": 8} if kind == Operation.SWAP else {}
        fields = claim(chooser, REQUEST, **usual)
    claimed = (fields["src_nid"], fields["lane"])
    if (fields["sequence"] - orders.get(claimed, -1)) % SEQUENCE_MODULUS < SEQUENCE_MODULUS // 2:
        orders[claimed] = fields["sequence"]
    fields.pop("payload_bytes", None)
    flits = pack(RESPONSE if response else REQUEST, payload, **fields)
    if chooser.random() < 0.1:
        flits[-1] ^= 0xFFFF_FFFF
    return flits


@pytest.mark.parametrize("seed", range(20))
def test_only_what_is_theirs_is_touched(seed):
    chooser = random.Random(seed)
    machine = pair(outstanding=2)
    nic = machine.nics[1]
    pattern = chooser.randbytes(2 * CONTEXT_BYTES)
    nic.memory.bytes[:] = pattern
    settings = vars(nic.contexts[0].settings) | {"windows": [Window(base=0, length=SHORT_BYTES)]}
    nic.configure(0, Settings(**settings))
    near_end = {"length_bytes": 1 << 17, "ignore_bits": (1 << 64) - 1, "offset": SHORT_BYTES - 20}
    machine.do(1, 0, append(pt_index=2, entry=6, **near_end))
    machine.do(1, 0, append(List.OVERFLOW, pt_index=2, entry=7, length_bytes=999, ignore_bits=(1 << 64) - 1))
    orders: dict[tuple[int, int], int] = {}
    done = 0
    for _ in range(300):
        if not nic.is_idle(0):
            nic.proceed(0)
        choice = chooser.random()
        if choice < 0.3 and nic.is_idle(0):
            done += nic.command(0, some_command(chooser)).waits in (None, Pause.HEADER)
        else:
            response = choice > 0.8
            done += not nic.packet(some_packet(chooser, orders, response=response), response=response).refusals
        queue = nic.contexts[0].queue
        assert queue.reserved >= 0
        assert queue.free(6) >= 0
        nic.event_head(0, (queue.head + chooser.randrange(3) % (queue.tail - queue.head + 1)) % INDEX_MODULUS)
    assert done > 40  # enough is carried out for the test to mean something
    # Context 0 has its window, event queue and counters; context 1 was not asked for anything.
    after = nic.memory.bytes
    queue_end, counters_end = WINDOW_BYTES + QUEUE_BYTES, COUNTER_BASE + COUNTER_BYTES
    assert after[SHORT_BYTES:WINDOW_BYTES] == pattern[SHORT_BYTES:WINDOW_BYTES]
    assert after[queue_end:COUNTER_BASE] == pattern[queue_end:COUNTER_BASE]
    assert after[counters_end:] == pattern[counters_end:]
    assert after[:SHORT_BYTES] != pattern[:SHORT_BYTES]


@pytest.mark.parametrize("right", list(Right)[:4])
def test_a_window_without_rights_is_not_written(right):
    """What may only be read stays what it is, whatever comes."""
    chooser = random.Random(int(right))
    machine = pair()
    nic = machine.nics[1]
    machine.start(1, 1, rights=right)  # again: it runs already, so that only what the kernel says changes
    machine.do(1, 1, portal(2), append(pt_index=2, entry=0, length_bytes=1 << 16))
    pattern = chooser.randbytes(WINDOW_BYTES)
    machine.write(1, 1, 0, pattern)
    orders: dict[tuple[int, int], int] = {}
    for _ in range(200):
        flits = some_packet(chooser, orders, response=False)
        flits = pack(REQUEST, b"".join(flit.to_bytes(8, "little") for flit in flits[8:-1]), **header_to_1(flits))
        nic.packet(flits, response=False)
    changed = machine.read(1, 1, 0, WINDOW_BYTES) != pattern
    assert changed == (right == Right.REMOTE_WRITE)


def header_to_1(flits):
    """The fields of a packet, but that it is for context 1."""
    fields = REQUEST.unpack(flits) | {"dst_pid": 11}
    del fields["payload_bytes"]
    return fields
