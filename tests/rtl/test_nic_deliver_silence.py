"""Messages of which nothing more comes: when the deliverer gives them up, and what meets them meanwhile."""

import random
from typing import Any

import pytest

from rtl.nic.parameters import NicParameters
from rtl.portals import Operation
from tests.rtl.deliver_bench import Bench
from tests.rtl.deliver_model import FIRST_EPOCH, Entry, Model, Packet
from tests.rtl.test_nic_deliver import WINDOWS, message, parameters

PUT = Operation.PUT
TIMEOUT = 60
SLOTS = 6  # three nodes of two contexts
LATE_CYCLES = 2 * SLOTS + 20  # from a tick to the end of a message: the walk, and what is under way before
FULL = {"event_success_disable": 1, "ct_comm": 1}


class Silence:
    """Packets that come in given cycles, and what the model says to them."""

    def __init__(self, entries: dict[int, Entry], *, timeout: int = TIMEOUT, **sizes: Any) -> None:
        self.bench = Bench(parameters(), WINDOWS, **sizes)
        self.bench.entries = entries
        self.model = Model(bytearray(self.bench.memory.data), WINDOWS, entries)
        self.timeout = timeout
        self._coming: dict[int, list[Packet]] = {}
        self.after: dict[int, Any] = {}  # what else is done in a cycle

    def comes(self, cycle: int, *packets: Packet) -> None:
        self._coming.setdefault(cycle, []).extend(packets)

    def run(self) -> None:
        def steer(ctx: Any, cycle: int) -> None:
            if cycle == 0:
                ctx.set(self.bench.block.timeout, self.timeout)
            if cycle in self.after:
                self.after[cycle](ctx)
            self.bench.packets += self._coming.pop(cycle, [])
            self.bench.expecting = bool(self._coming)

        self.bench.run(steer)

    def judge(self) -> None:
        """What was told is what the model says."""
        assert [told[:4] for told in self.bench.told] == [told[:4] for told in self.model.told]
        assert self.bench.refusals == self.model.refusals
        assert self.bench.delivered == self.model.delivered
        assert self.bench.memory.data == self.model.memory


@pytest.mark.parametrize("timeout", [1, 60, 150])
@pytest.mark.parametrize("entry", ["unexpected", "counted", "no match"])
def test_a_message_of_which_nothing_more_comes_is_given_up_in_time(entry: str, timeout: int) -> None:
    """As one whose lane begins another message; what comes of it after all is refused."""
    first, second, third = message(PUT, number=1, length=300, pt_index=3)
    entries = {
        "unexpected": Entry(bytes=300, overflow=1, header=9, unlinked=1, user_data=5, counter=3, options=FULL),
        "counted": Entry(bytes=300, counter=3, options={"ct_comm": 1}),
        "no match": Entry(fail=3),
    }
    at = Silence({1: entries[entry]}, timeout=timeout)
    at.comes(0, first, second)
    at.comes(2 * timeout + 100, third)
    at.run()
    for packet in (first, second):
        at.model.take(packet)
    at.model.expire((1, 0))
    at.model.take(third)
    at.judge()
    [ended] = at.bench.timed_out
    waited = ended - at.bench.cycles["header"][1]
    assert timeout <= waited <= 2 * max(timeout, 2 * SLOTS) + LATE_CYCLES
    assert at.bench.refusals == [(0, 1), (0, third.identity)], "its context and the node that it came from"


def test_every_packet_begins_the_time_anew() -> None:
    packets = message(PUT, number=1, length=5 * 128)
    at = Silence({1: Entry(bytes=5 * 128)})
    for number, packet in enumerate(packets[:4]):
        at.comes(number * (TIMEOUT - 5), packet)
        at.model.take(packet)
    at.run()
    at.model.expire((1, 0))
    at.judge()
    assert at.bench.timed_out[0] >= 3 * (TIMEOUT - 5) + TIMEOUT


def test_without_a_timeout_or_a_message_under_way_the_clock_may_stop() -> None:
    """Nor does it run when the message has ended, or the life that it was for."""
    first, second = message(PUT, number=1, length=200)
    at = Silence({1: Entry(bytes=200, unlinked=1)}, timeout=0)
    block = at.bench.block
    quiet = []

    def look(ctx: Any) -> None:
        quiet.append(ctx.get(block.quiescent))

    at.comes(0, first)
    at.after = {
        60: look,
        61: lambda ctx: ctx.set(block.timeout, 10_000),
        64: look,
        101: look,
        140: look,
        141: lambda ctx: ctx.set(block.states[0].active, 0),
    }
    at.comes(70, second)
    at.comes(102, message(PUT, number=1, length=200)[0])
    at.run()
    assert quiet == [1, 0, 1, 0]
    assert at.bench.timed_out == [], "it came to rest before the time was over"


@pytest.mark.parametrize("pause", [5, 3 * TIMEOUT])
def test_the_next_life_of_a_context_has_its_own_time(pause: int) -> None:
    """The message of the last one, in the same place, is forgotten in silence, before its time is over or after it."""
    first, _ = message(PUT, number=1, length=200)
    again, rest = message(PUT, number=2, length=200)
    other = message(PUT, number=3, length=7 * 128, context=1, src_nid=2)  # keeps the time going
    at = Silence({1: Entry(bytes=200, unlinked=1), 2: Entry(bytes=200), 3: Entry(bytes=0)})
    block = at.bench.block

    def restart(ctx: Any) -> None:
        ctx.set(block.states[0].epoch, FIRST_EPOCH + 1)
        ctx.set(block.states[0].restarted, 1)

    at.comes(0, first)
    at.after = {50: restart, 51: lambda ctx: ctx.set(block.states[0].restarted, 0)}
    for number, packet in enumerate(other):
        at.comes(number * (TIMEOUT - 5) + 1, packet)
    at.comes(52 + pause, again)
    at.comes(52 + pause + TIMEOUT - 10, rest)
    at.run()
    assert at.bench.delivered == 2
    assert at.bench.timed_out == []
    assert at.bench.refusals == []


def test_a_flood_of_others_neither_saves_a_message_nor_is_held_up_by_the_watch() -> None:
    """Packets of small messages follow one another as they do without a timeout, but for the one turn."""
    spans = {}
    for timeout in (0, TIMEOUT):
        first, _ = message(PUT, number=1000, length=200, src_nid=2)
        at = Silence({1000: Entry(bytes=200, unlinked=1)}, timeout=timeout, match_cycles=5)
        flood = [packet for number in range(30) for packet in message(PUT, number=number)]
        at.bench.entries |= {number: Entry(bytes=8) for number in range(30)}
        at.comes(0, first, *flood)
        at.run()
        assert at.bench.delivered == 30
        spans[timeout] = at.bench.cycles["header"][-1]
        if timeout:
            [ended] = at.bench.timed_out
            assert ended <= 2 * TIMEOUT + LATE_CYCLES
            assert ended < at.bench.cycles["header"][-1]
    assert spans[0] <= spans[TIMEOUT] <= spans[0] + 4


def test_all_messages_may_fall_silent_at_once() -> None:
    """Between two that are given up, a packet of another one has its turn."""
    source = random.Random(3)
    at = Silence({number: Entry.arbitrary(source, fail=0, bytes=200) for number in range(SLOTS)})
    lanes = [(nid, lane) for nid in range(3) for lane in range(2)]
    for number, (nid, lane) in enumerate(lanes):
        first, _ = message(PUT, number=number, length=200, src_nid=nid, lane=lane, context=number % 2)
        at.comes(0, first)
        at.model.take(first)
    at.run()
    for lane in lanes:
        at.model.expire(lane)
    at.judge()
    assert len(at.bench.timed_out) == SLOTS


def test_random_silence() -> None:
    """Every message ends once, whether it goes on at once, late or never."""
    source = random.Random(1)
    count = 16
    at = Silence({number: Entry(bytes=200, unlinked=1) for number in range(count)}, stall=0.2, seed=1)
    cycle = 0
    for number in range(count):
        lane = {"src_nid": source.randrange(3), "lane": source.randrange(2)}
        first, second = message(PUT, number=number, length=200, context=source.randrange(2), **lane)
        cycle += source.randrange(1, 60)
        at.comes(cycle if number else 0, first)
        if source.random() < 0.5:
            at.comes(cycle + source.choice([1, 20, 2 * TIMEOUT]), second)
    at.run()
    told = [told.detail[0] for told in at.bench.told if told.kind == "event" and told.detail[0]]
    assert sum(event["kind"] == 14 for event in told) == count
    assert at.bench.timed_out


def test_sizes_that_are_no_powers_of_two_are_walked_to_their_end() -> None:
    sizes = NicParameters(contexts=3, windows=2, nodes=3, mtu_bytes=128)
    bench = Bench(sizes, {(2, 0): WINDOWS[0, 0]})
    last, _ = message(PUT, number=1, length=200, src_nid=2, lane=2, context=2)
    bench.entries, bench.packets = {1: Entry(bytes=200)}, [last]
    bench.run(lambda ctx, _: ctx.set(bench.block.timeout, 5))
    assert len(bench.timed_out) == 1
