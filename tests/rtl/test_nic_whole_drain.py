"""Whole NICs: what a context that is switched off may still do to memory, and when it says that this is over."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest

from rtl.packets import DATAPATH_BITS
from rtl.portals import AckRequest, AtomicOperation, AtomicType
from tests.golden.process import append, counter_increment, fetch_atomic, get, portal, put
from tests.rtl.whole.board import CONTEXT_BYTES, RING_LOG2, WINDOW_BYTES, Who
from tests.rtl.whole.scene import Scene, scene, to
from tests.rtl.whole.simulator import Settings, Touched

SENDER, VICTIM = (0, 0), (1, 0)
OTHERS = ((0, 1), (0, 2), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2))
SLOW = Settings(read_latency=60, write_latency=150, memory_stall=160, fabric_stall=40, transit=5)
BUSY = 1 << 3
MOST_CYCLES = 20_000  # memory answers a beat every 3 cycles, and up to 16 bursts are ahead

OPENING = [portal(0), append(pt_index=0, entry=0, window=1, length_bytes=WINDOW_BYTES)]
LONG = {"length_bytes": 0x2800, "local_window": 1}
SUM = (AtomicOperation.SUM, AtomicType.UINT64)
# What the sender and the victim post, so that the victim is in the middle of it when it is switched off.
STORIES: dict[str, tuple[list[list[int]], list[list[int]]]] = {
    "a put arrives": ([put(**to(VICTIM), **LONG, ack_request=AckRequest.FULL)] * 4, []),
    "a get is answered": ([get(**to(VICTIM), **LONG)] * 4, []),
    "atomics arrive": (
        [fetch_atomic(*SUM, **to(VICTIM), length_bytes=64, local_window=2, get_window=1)] * 30,
        [],
    ),
    "a reply arrives": ([], [get(**to(SENDER), **LONG)] * 4),
    "it sends": ([], [put(**to(SENDER), **LONG)] * 4),
    "it counts and tells": ([], [counter_increment(0, 1), put(**to(SENDER), ct_send=1, counter=1)] * 15),
}


@dataclass(frozen=True, kw_only=True)
class Burst:
    """An access to a node's memory; `end` is the cycle of its last datum or its answer."""

    context: int
    begin: int
    end: int


def bursts(at: Scene, node: int) -> Iterator[Burst]:
    """All that have ended."""
    opened: dict[Touched, deque[tuple[int, int]]] = {Touched.READ_DATA: deque(), Touched.WRITE_ANSWER: deque()}
    for touch in at.simulator.touches():
        if touch.node != node:
            continue
        if touch.touched in (Touched.READ_ADDRESS, Touched.WRITE_ADDRESS):
            reads = touch.touched == Touched.READ_ADDRESS
            begun = (touch.cycle, touch.value // CONTEXT_BYTES)
            opened[Touched.READ_DATA if reads else Touched.WRITE_ANSWER].append(begun)
        elif touch.touched == Touched.WRITE_ANSWER or (touch.touched == Touched.READ_DATA and touch.value):
            begin, context = opened[touch.touched].popleft()
            yield Burst(context=context, begin=begin, end=touch.cycle)


def drained(at: Scene, who: Who) -> int:
    """Switches a context off and waits until it says that it is done; the cycle in which that was read."""
    at.board.disable(who)
    begun = at.simulator.cycle
    while at.simulator.value(who[0], f"CONTEXT[{who[1]}].CONTROL") & BUSY:
        assert at.simulator.cycle - begun < MOST_CYCLES, "it does not end"
    return at.simulator.cycle


def its_memory(at: Scene, who: Who) -> bytes:
    return bytes(at.simulator.memory[who[0]][CONTEXT_BYTES * who[1] :][:CONTEXT_BYTES])


def post(at: Scene, who: Who, commands: Sequence[list[int]]) -> None:
    if commands:
        at.board.post(who, *commands)


def judge(at: Scene, last: int, before: bytes) -> int:
    """Nothing of the victim's has ended since; how many accesses it had in all."""
    mine = [burst for burst in bursts(at, VICTIM[0]) if burst.context == VICTIM[1]]
    assert not [burst for burst in mine if burst.end > last]
    assert its_memory(at, VICTIM) == before
    return len(mine)


@pytest.mark.parametrize("bits", DATAPATH_BITS)
@pytest.mark.parametrize("name", STORIES)
def test_memory_of_a_closed_context_is_not_touched_once_it_is_not_busy(name: str, bits: int) -> None:
    theirs, own = STORIES[name]
    with scene(bits, settings=SLOW) as at:
        for who in (SENDER, VICTIM):
            assert at.board.do(who, *OPENING) == []
        waited = []
        for delay in range(400, 1900, 83):
            at.simulator.trace()
            post(at, SENDER, theirs)
            post(at, VICTIM, own)
            at.simulator.run(delay)
            closed = at.simulator.cycle
            last = drained(at, VICTIM)
            before = its_memory(at, VICTIM)
            at.simulator.run(2500)
            assert judge(at, last, before)
            waited += [burst.end for burst in bursts(at, VICTIM[0]) if burst.end > closed + 20]
            at.simulator.settle()
            assert its_memory(at, VICTIM) == before
            at.simulator.trace(False)
            _begin_anew(at)
        assert waited, "none was under way"


def _begin_anew(at: Scene) -> None:
    """Both contexts live again, and have what they had."""
    at.board.disable(SENDER)
    at.simulator.settle()
    for who in (SENDER, VICTIM):
        assert not at.simulator.value(who[0], f"CONTEXT[{who[1]}].CONTROL") & BUSY
        at.board.enable(who)
        at.board.do(who, *OPENING)


@pytest.mark.parametrize("bits", DATAPATH_BITS)
def test_it_ends_while_all_others_take_what_they_can(bits: int) -> None:
    with scene(bits, settings=SLOW) as at:
        for nid in range(3):
            for context in range(3):
                assert at.board.do((nid, context), *OPENING) == []
        busy = [put(**to((1, 1 + who[1] % 2)), length_bytes=0x3000, local_window=1) for who in OTHERS]
        at.simulator.trace()
        for who, command in zip(OTHERS, busy, strict=True):
            at.board.post(who, *[command] * (1 << RING_LOG2))
        post(at, SENDER, [put(**to(VICTIM), **LONG)] * 4)
        post(at, VICTIM, [get(**to(SENDER), **LONG)] * 4)
        at.simulator.run(6000)
        last = drained(at, VICTIM)
        before = its_memory(at, VICTIM)
        at.simulator.run(5000)
        assert judge(at, last, before)
        others = [burst for burst in bursts(at, VICTIM[0]) if burst.context != VICTIM[1] and burst.begin > last]
        assert len(others) > 100, "the others had come to rest"


@pytest.mark.parametrize("bits", DATAPATH_BITS)
def test_a_busy_context_that_is_switched_on_begins_its_life_when_the_last_one_has_ended(bits: int) -> None:
    with scene(bits, settings=SLOW) as at:
        assert at.board.do(VICTIM, *OPENING) == []
        at.simulator.trace()
        at.board.post(SENDER, *[put(**to(VICTIM), **LONG)] * 4)
        at.simulator.run(1500)
        at.board.disable(VICTIM)
        at.board.enable(VICTIM)
        assert at.simulator.value(1, "CONTEXT[0].CONTROL") == BUSY | 1
        while at.simulator.value(1, "CONTEXT[0].CONTROL") != 1:
            pass
        last = at.simulator.cycle
        before = its_memory(at, VICTIM)
        at.simulator.settle()
        assert judge(at, last, before)
        assert at.board.do(VICTIM, *OPENING) == []
