"""Several golden NICs under every order of events that seeds choose: what must be the same is the same."""

import random
from collections import Counter

import pytest

from rtl.nic.parameters import NicParameters
from rtl.portals import AckRequest, AtomicOperation, AtomicType, EventKind, Fail, List, Operation
from tests.golden.machine import Machine
from tests.golden.process import append, atomic, fetch_atomic, get, portal, portal_do, put, unlink

NODES, CONTEXTS = 3, 2
ALL = [(nid, context) for nid in range(NODES) for context in range(CONTEXTS)]
SHARED = 0x8000  # 64-bit sums of everybody
AREA = 0x400  # of each context in every other one's memory
SENT, FETCHED = 0x4000, 0x6000  # what a context sends, and where it puts what it gets


def machine_of(seed: int, **sizes: int) -> Machine:
    usual = {"contexts": CONTEXTS, "windows": 1, "mtu_bytes": 64, "outstanding": 4, "nodes": NODES, "counters": 2}
    machine = Machine(NicParameters(**(usual | sizes)), seed)
    for nid, context in ALL:
        machine.start(nid, context)
    return machine


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("datapath_bits", [64, 128])
def test_puts_gets_and_sums_from_everybody_to_everybody(seed, datapath_bits):
    chooser = random.Random(seed)
    machine = machine_of(seed, datapath_bits=datapath_bits)
    text = {who: bytes([number]) * 0x2000 for number, who in enumerate(ALL, 1)}
    image = {who: bytearray(text[who][:AREA] * 8) for who in ALL}  # what lies in the areas
    fetched = {who: bytearray(0x1000) for who in ALL}
    total: Counter[tuple[int, int]] = Counter()
    for who in ALL:
        machine.write(*who, 0, bytes(image[who]))
        machine.write(*who, SENT, chooser.randbytes(0x1800))
        entry = {"ct_comm": 1, "ct_bytes": 1, "counter": 1, "length_bytes": 0xA000}
        machine.do(*who, portal(0), append(pt_index=0, entry=0, event_comm_disable=1, **entry))
    for number, who in enumerate(ALL):
        at = 0
        for _ in range(12):
            peer = chooser.choice(ALL)
            to = {"dst_nid": peer[0], "dst_pid": 10 + peer[1], "counter": 0}
            length = min(chooser.choice([0, 1, 7, 63, 64, 65, 130, 200]), AREA - at)
            source, place = chooser.randrange(0x1700), AREA * number + at
            machine.command(
                *who, put(local_offset=SENT + source, length_bytes=length, remote_offset=place, ct_send=1, **to)
            )
            image[peer][place : place + length] = machine.read(*who, SENT + source, length)
            machine.write(*who, SHARED + 64, (number + 1).to_bytes(8, "little"))
            sums = {"local_offset": SHARED + 64, "length_bytes": 8, "remote_offset": SHARED}
            machine.command(*who, atomic(AtomicOperation.SUM, AtomicType.UINT64, ack_request=1, ct_ack=1, **sums, **to))
            total[peer] += number + 1
            at += length
        # Areas 6 and 7 are nobody's, so that a get finds there what stood there in the beginning.
        peer = chooser.choice(ALL)
        length, place = chooser.randrange(500), AREA * 6 + chooser.randrange(500)
        to = {"dst_nid": peer[0], "dst_pid": 10 + peer[1]}
        machine.command(*who, get(local_offset=FETCHED + 3, length_bytes=length, remote_offset=place, **to))
        fetched[who][3 : 3 + length] = image[peer][place : place + length]
    machine.run()
    for who in ALL:
        assert not machine.waits(*who)
        assert machine.read(*who, 0, 8 * AREA) == image[who]
        assert machine.read(*who, FETCHED, 0x1000) == fetched[who]
        assert machine.read(*who, SHARED, 8) == total[who].to_bytes(8, "little")
        assert machine.counter(*who, 0) == (24, 0)
        kinds = Counter(EventKind(event.fields["kind"]) for event in machine.events[who])
        assert kinds == {EventKind.SEND: 24, EventKind.ACK: 12, EventKind.REPLY: 1}
        assert machine.nics[who[0]].contexts[who[1]].queue.reserved == 0
    assert not any(machine.refusals.values())


@pytest.mark.parametrize("seed", range(6))
def test_every_fetch_of_a_counter_gets_another_number(seed):
    machine = machine_of(seed)
    machine.do(0, 0, portal(0), append(pt_index=0, entry=0, length_bytes=8))
    for who in ALL:
        machine.write(*who, 8, (1).to_bytes(8, "little"))
        for number in range(5):
            fetch = fetch_atomic(
                *(AtomicOperation.SUM, AtomicType.UINT64),
                **{"dst_nid": 0, "dst_pid": 10, "local_offset": 8, "length_bytes": 8, "get_offset": 16 + 8 * number},
            )
            machine.command(*who, fetch)
    machine.run()
    tickets = [int.from_bytes(machine.read(*who, 16 + 8 * number, 8), "little") for who in ALL for number in range(5)]
    assert sorted(tickets) == list(range(30))
    for who in ALL:
        mine = [int.from_bytes(machine.read(*who, 16 + 8 * number, 8), "little") for number in range(5)]
        assert mine == sorted(mine)


@pytest.mark.parametrize("seed", range(10))
def test_early_and_late_messages_reach_their_entries(seed):
    """Puts race with the appends that want them: each is told of once, early or late."""
    machine = machine_of(seed, unexpected_headers=64)
    over = {"length_bytes": 0x1000, "offset": 0x1000, "manage_local": 1, "ignore_bits": (1 << 64) - 1}
    machine.do(0, 0, portal(0), append(List.OVERFLOW, pt_index=0, entry=31, **over))
    senders = ALL[1:]
    for number, who in enumerate(senders):
        machine.write(*who, 0, bytes([number + 1]) * 150)
        machine.command(*who, put(dst_nid=0, dst_pid=10, length_bytes=150, match_bits=number))
        fields = {"match_bits": number, "length_bytes": 150, "offset": 256 * number, "user_data": number + 1}
        machine.command(0, 0, append(pt_index=0, entry=number, use_once=1, **fields))
    machine.run()
    assert not machine.waits(0, 0)
    told = [event.fields for event in machine.events[0, 0]]
    late = [event for event in told if event["kind"] == EventKind.PUT_OVERFLOW]
    at_once = [event for event in told if event["kind"] == EventKind.PUT and event["list"] == List.PRIORITY]
    assert sorted(event["user_data"] for event in (*late, *at_once)) == list(range(1, len(senders) + 1))
    for event in (*late, *at_once):
        assert machine.read(0, 0, event["start_offset"], 150) == bytes([event["user_data"]]) * 150
    assert sum(event["kind"] == EventKind.AUTO_UNLINK for event in told) == len(senders)


@pytest.mark.parametrize("seed", range(10))
def test_with_flow_control_nothing_is_lost_silently(seed):
    """Senders repeat what was refused, the receiver enables its portal again: everything arrives once."""
    machine = machine_of(seed, unexpected_headers=2)
    machine.do(0, 0, portal(0, flow_control=True))
    machine.do(0, 0, append(List.OVERFLOW, pt_index=0, entry=0, length_bytes=8, ignore_bits=(1 << 64) - 1))
    senders = ALL[1:]
    waiting = {who: number for number, who in enumerate(senders)}
    got: list[int] = []
    for _ in range(len(senders)):
        for who, number in waiting.items():
            words = put(dst_nid=0, dst_pid=10, match_bits=number, ack_request=AckRequest.FULL, event_send_disable=1)
            machine.command(*who, words)
        machine.run()
        for who in list(waiting):
            fail = machine.events[who][-1].fields["fail"]
            assert fail in (Fail.OK, Fail.PT_DISABLED)
            if fail == Fail.OK:
                del waiting[who]
        disabled = [event for event in machine.events[0, 0] if event.fields["kind"] == EventKind.PT_DISABLED]
        assert len(disabled) == (1 if waiting else 0)
        everything = {"any_nid": 1, "any_pid": 1, "ignore_bits": (1 << 64) - 1, "length_bytes": 8}
        got += [e["match_bits"] for e in machine.do(0, 0, append(pt_index=0, entry=1, **everything))]
        machine.do(0, 0, unlink(1), portal_do(Operation.PT_ENABLE, 0))
        machine.events[0, 0].clear()
        if not waiting:
            break
    assert sorted(got) == list(range(len(senders)))
