"""Several whole NICs of which one is reset in the middle: what is left of its old lives, and what the others hear.

Memory and CPUs are reset with their NIC, memories inside the NIC are not; see `Simulator.reset`.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import product

import pytest

from rtl.packets import DATAPATH_BITS
from rtl.portals import EVENT, AckRequest, AtomicOperation, AtomicType, EventKind, Fail, List, Refusal
from tests.golden.process import append, atomic, counter_increment, fetch_atomic, get, portal, put
from tests.rtl.whole.board import CONTEXT_BYTES, QUEUE_LOG2, WINDOW_BYTES, Place, Who, parameters_of
from tests.rtl.whole.scene import JOB, Scene, scene, to
from tests.rtl.whole.simulator import OKAY, SLVERR, Settings, Simulator

NODE = 1  # that is reset
VICTIM, PEER, OTHER = (NODE, 0), (0, 0), (2, 0)
VICTIMS = tuple((NODE, context) for context in range(3))
ENTRIES, HEADERS, COUNTERS = 16, 8, 4
TIMEOUT_CYCLES = 2500
MOMENTS = {64: range(0, 1400, 87), 128: range(40, 1000, 87)}  # cycles after the last doorbell, by width
LONG = 0x600  # bytes: 12 packets
UNTOUCHED = 0x4000  # offset of what no message of an exchange reads or writes
SUM = (AtomicOperation.SUM, AtomicType.UINT64)
widths = pytest.mark.parametrize("bits", DATAPATH_BITS)


def exchange(peer: Who) -> list[list[int]]:
    """Put, get and atomics with another process, each of which is answered."""
    at = to(peer)
    return [
        fetch_atomic(*SUM, **at, length_bytes=64, get_window=2, get_offset=0x800, remote_offset=0x1000),
        put(**at, length_bytes=LONG, local_offset=3, ack_request=AckRequest.FULL),
        get(**at, length_bytes=LONG, local_window=2, remote_offset=0x800),
        atomic(*SUM, **at, length_bytes=8, remote_offset=0x1040, ack_request=AckRequest.FULL),
    ]


def use_everything(at: Scene) -> None:
    """Fills what the NIC keeps in memory of each context of the node: entries, headers, counters, requests."""
    overflow = {"pt_index": 1, "entry": 1, "window": 2, "length_bytes": WINDOW_BYTES, "manage_local": 1}
    more = [append(pt_index=0, entry=n, window=1, length_bytes=WINDOW_BYTES) for n in range(2, ENTRIES)]
    for who in VICTIMS:
        at.open(who)
        at.do(who, *(counter_increment(n, 1) for n in range(COUNTERS)))
        told = at.do(who, portal(1), append(List.OVERFLOW, **overflow), *more)
        assert told == []
        at.do(PEER, *(put(**to(who), pt_index=1, length_bytes=8) for _ in range(HEADERS)))
        at.do(who, *exchange(PEER))
        at.do(PEER, *exchange(who))


def begin(at: Scene) -> None:
    """Every node talks with every other one, more than one message ahead."""
    at.post(OTHER, *exchange(PEER), *exchange(VICTIM))
    at.post(PEER, *exchange(VICTIM))
    at.post((NODE, 1), *(counter_increment(n, 5) for n in range(COUNTERS)), *exchange(OTHER))
    at.post(VICTIM, *exchange(PEER))


def areas(memory: Sequence[int]) -> list[bytes]:
    """Of each context, counters and windows: all but its ring and its queue, which are emptied for its next life."""
    return [bytes(memory[Place(context).counters : Place(context).base + CONTEXT_BYTES]) for _, context in VICTIMS]


def nothing_has_come(at: Scene, before: bytes) -> None:
    """No byte, event or counter of the node's new lives is one of the old ones."""
    now = at.simulator.memory[NODE]
    assert areas(now) == areas(before)
    for who in VICTIMS:
        queue = Place(who[1]).queue
        assert not any(now[queue : queue + (EVENT.length_bytes << QUEUE_LOG2)])
        assert at.board.page(who, "EVENT_TAIL") == at.board.page(who, "COMMAND_HEAD") == 0


def first_request_gets_its_own_answer(at: Scene, before: bytes) -> bytes:
    """While answers to requests of the old life still come; memory afterwards."""
    place = {"length_bytes": 0x180, "local_window": 2, "local_offset": UNTOUCHED, "remote_offset": UNTOUCHED}
    at.board.post(VICTIM, get(**to(PEER), **place, user_data=99))
    at.simulator.settle()
    wanted, start = bytearray(before), Place(VICTIM[1]).window(2) + UNTOUCHED
    wanted[start : start + 0x180] = at.board.read(PEER, 1, UNTOUCHED, 0x180)
    assert areas(at.simulator.memory[NODE]) == areas(wanted)
    [told] = [EVENT.unpack(words) for words in at.board.events(VICTIM)]
    assert (told["kind"], told["fail"], told["user_data"]) == (EventKind.REPLY, Fail.OK, 99)
    at.board.disable(VICTIM)
    at.simulator.settle()
    at.board.start(VICTIM, jid=JOB)
    return bytes(wanted)


def others_have_been_told(at: Scene) -> Counter[tuple[int, int]]:
    """Each request of the other nodes has ended, once; how: kinds and fails."""
    told: Counter[tuple[int, int]] = Counter()
    for who, exchanges in ((PEER, 1), (OTHER, 2)):
        answers = [event for event in at.saw_events(who) if event["kind"] in (EventKind.REPLY, EventKind.ACK)]
        kinds = Counter(event["kind"] for event in answers)
        assert kinds == {EventKind.REPLY: 2 * exchanges, EventKind.ACK: 2 * exchanges}
        told.update((event["kind"], event["fail"]) for event in answers)
    return told


@widths
def test_nothing_of_an_old_life_reaches_a_new_one_and_nobody_waits_for_ever(bits: int) -> None:
    """At many moments of an exchange. What the others are told and keep is judged by the model, and so is all that the
    node does with its memories afterwards."""
    told: Counter[tuple[int, int]] = Counter()
    refused: set[tuple[int, Refusal]] = set()
    with scene(bits, settings=Settings(transit=60)) as at:
        for who in (PEER, OTHER):
            at.open(who)
            at.time_out(who[0], TIMEOUT_CYCLES)
        use_everything(at)
        for number, moment in enumerate(MOMENTS[bits]):
            begin(at)
            at.simulator.run(moment)
            at.reset(NODE)
            before = bytes(at.simulator.memory[NODE])
            at.board.boot(NODE)
            at.simulator.run(number % 3 * 200)
            for who in VICTIMS:
                at.board.start(who, jid=JOB)
            if number % 2:
                before = first_request_gets_its_own_answer(at, before)
            at.simulator.settle()
            nothing_has_come(at, before)
            told += others_have_been_told(at)
            at.compare(victims=frozenset(VICTIMS))
            for who in VICTIMS:
                at.resume(who)
            refused |= {(nid, r) for nid in range(3) for r in Refusal if r and at.simulator.value(nid, r.name)}
            use_everything(at)
    # All of this was in the middle of something: requests, messages and packets, in both directions.
    assert set(told) == set(product((EventKind.REPLY, EventKind.ACK), (Fail.OK, Fail.UNDELIVERABLE, Fail.DROPPED)))
    assert {reason for nid, reason in refused if nid == NODE} >= {
        Refusal.PACKET_CRC, Refusal.PACKET_ABORTED, Refusal.PACKET_HANDLE, Refusal.PACKET_DESTINATION,
    }  # fmt: skip
    assert {reason for nid, reason in refused if nid == PEER[0]} == {Refusal.PACKET_CRC, Refusal.PACKET_ABORTED}


@widths
def test_the_rest_of_a_message_that_a_reset_cut_off_is_no_message_of_the_next_life(bits: int) -> None:
    """It comes just where the memory of the NIC expects it, and in the first life after the reset."""
    with scene(bits) as at:
        at.open(VICTIM)
        half = {"message_bytes": 384, "last": 0}
        at.simulator.inject(NODE, at.request(PEER, VICTIM, bytes(128), **half))
        at.simulator.settle()
        at.simulator.reset(NODE)
        before = bytes(at.simulator.memory[NODE])
        at.board.boot(NODE)
        for who in VICTIMS:
            at.board.start(who, jid=JOB)
        rest = at.request(PEER, VICTIM, bytes(128), **half, first=0, segment_offset=128, sequence=1)
        at.simulator.inject(NODE, rest)
        at.simulator.settle()
        nothing_has_come(at, before)
        assert at.simulator.value(NODE, Refusal.PACKET_ABORTED.name) == 1


def registers(simulator: Simulator, nid: int) -> dict[str, int]:
    """All that can be read, but for addresses between registers."""
    return {register.path: simulator.value(nid, register.path) for register in simulator.map.registers}


@widths
def test_a_reset_clears_every_register_and_the_node_id_is_locked_once_more(bits: int) -> None:
    fresh = Simulator(parameters_of(bits), Settings(), nodes=1)
    wanted = registers(fresh, 0)
    fresh.close()
    with scene(bits) as at:
        simulator = at.simulator
        use_everything(at)
        simulator.configure(NODE, "INT_ENABLE", context=7)
        assert simulator.write(NODE, "NODE_ID", 2) == SLVERR
        assert simulator.value(NODE, "NODE_ID") == 1 << 63 | NODE
        simulator.manual()  # nothing of the others arrives, which would be counted
        begin(at)
        simulator.poll(NODE, "PAGE[0].EVENT_TAIL")  # nobody answers that any more
        at.reset(NODE)
        assert registers(simulator, NODE) == wanted
        for nid in (2, 0):  # not locked yet
            assert simulator.write(NODE, "NODE_ID", nid) == OKAY
            assert simulator.value(NODE, "NODE_ID") == nid
        at.board.boot(NODE)
        assert simulator.write(NODE, "NODE_ID", 2) == SLVERR
        assert simulator.value(NODE, "NODE_ID") == 1 << 63 | NODE


@widths
@pytest.mark.parametrize("powered", [True, False])
def test_packet_numbers_go_on_after_a_reset_and_only_a_loss_of_power_makes_replays_of_them(
    powered: bool, bits: int
) -> None:
    """Memories of the NIC keep the numbers through a reset. A node that has lost them is refused by those who have not,
    and hears UNDELIVERABLE, until its numbers are again those that were never used."""
    used = 5
    with scene(bits) as at:
        at.open(PEER)
        put_one = put(**to(PEER), length_bytes=8, ack_request=AckRequest.FULL, event_send_disable=1)
        for _ in range(used):
            at.do(VICTIM, put_one)
        at.simulator.reset(NODE, powered=powered)
        at.board.boot(NODE)
        at.simulator.configure(NODE, "RESPONSE_TIMEOUT", cycles=1000)
        at.board.start(VICTIM, jid=JOB)
        fails = [at.board.do(VICTIM, put_one)[0]["fail"] for _ in range(used + 2)]
        refused = 0 if powered else used
        assert fails == [Fail.UNDELIVERABLE] * refused + [Fail.OK] * (used + 2 - refused)
        assert at.simulator.value(PEER[0], Refusal.PACKET_SEQUENCE.name) == refused
