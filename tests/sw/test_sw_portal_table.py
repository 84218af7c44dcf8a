"""The portal table, its match entries and who takes them back; counting events; moderation."""

import pytest
from fake_machine import FakeMachine
from portal_sides import EVERYTHING, Side, alone, pair, to_self
from sw_jobs import job

from rtl.portals import AckRequest, EventKind, List, Refusal
from sw.apps.application import Job
from sw.kernel.process import Process
from sw.portals.counters import Count, Counter
from sw.portals.endpoint import EndpointError
from sw.portals.operations import Counting, Region, Target, put
from sw.portals.portal_table import ALL_BITS, MatchEntry

# ---- portal table and match entries ----


def test_entries_that_were_used_once_are_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def main(side: Side) -> object:
        side.table.allocate(0)
        numbers = []
        for turn in range(70):  # there are 32
            entry = MatchEntry(
                ignore_bits=ALL_BITS, op_put=True, use_once=True, user_data=turn, event_link_disable=True
            )
            numbers.append(side.table.append(0, entry))
            to_self(side)
            put_event, unlinked = side.events(2)
            assert (put_event.kind, unlinked.kind) == (EventKind.PUT, EventKind.AUTO_UNLINK)
            assert (put_event.entry, unlinked.entry, unlinked.entry_data) == (numbers[-1], numbers[-1], turn)
        return len(set(numbers))

    assert alone(monkeypatch, main) == 1


def test_all_match_entries_are_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    def main(side: Side) -> object:
        side.table.allocate(0)
        entry = MatchEntry(op_put=True, event_link_disable=True)
        numbers = [side.table.append(0, entry) for _ in range(32)]
        with pytest.raises(EndpointError) as caught:
            side.table.append(0, entry)
        assert side.table.unlink(numbers[5])
        return [*numbers, side.table.append(0, entry), side.endpoint.complete(), str(caught.value)]

    *numbers, refused, text = alone(monkeypatch, main)
    assert (numbers, refused) == ([*range(32), 5], 0)
    assert text == ("match entries: all 32 of context 0 are in use; unlink some, or give their events to observe")


def test_an_entry_that_was_refused_is_free_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def main(side: Side) -> object:
        numbers = [side.table.append(7, MatchEntry())]  # that portal table entry was not allocated
        (event,) = side.events(1)
        side.table.allocate(7)
        numbers.append(side.table.append(7, MatchEntry()))
        return event.failure, numbers, side.kinds(1)

    assert alone(monkeypatch, main) == (Refusal.COMMAND_ENTRY.name, [0, 0], [EventKind.LINK])


def test_unexpected_messages_and_the_entry_that_holds_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """The overflow entry cannot be unlinked while headers refer to it; a search shows them, an append takes them."""

    def main(side: Side) -> object:
        table = side.table
        table.allocate(0)
        store = MatchEntry(
            ignore_bits=ALL_BITS, op_put=True, length_bytes=4096, manage_local=True, min_free=4096 - 40, user_data=1
        )
        held = table.append(0, store, to=List.OVERFLOW)
        assert side.kinds(1) == [EventKind.LINK]
        side.memory[8192 : 8192 + 16] = range(16)
        for bits, length in ((4, 16), (5, 32)):
            to_self(side, bits=bits, length_bytes=length)
        assert side.kinds(3) == [EventKind.PUT, EventKind.PUT, EventKind.AUTO_UNLINK]
        assert not table.unlink(held)
        assert side.kinds(1) == [EventKind.REFUSED]
        table.search(0, MatchEntry(match_bits=4, use_once=True), user_data=9)
        table.search(0, MatchEntry(match_bits=6), user_data=10)
        found, missed = side.events(2)
        assert (found.kind, found.user_data, found.manipulated_bytes) == (EventKind.SEARCH, 9, 16)
        assert (missed.failure, missed.user_data) == ("NO_MATCH", 10)
        wanted = MatchEntry(match_bits=4, op_put=True, use_once=True, length_bytes=64, user_data=2)
        taker = table.append(0, wanted)
        overflow, unlinked = side.events(2)
        assert (overflow.kind, overflow.entry, overflow.start_window) == (EventKind.PUT_OVERFLOW, taker, 0)
        assert unlinked.kind == EventKind.AUTO_UNLINK
        assert bytes(side.memory[overflow.start_offset :][:16]) == bytes(range(16))
        table.search(0, MatchEntry(match_bits=5), delete=True)
        assert side.kinds(2) == [EventKind.PUT_OVERFLOW, EventKind.AUTO_FREE]
        return [held, taker, table.append(0, store), table.append(0, wanted)]

    held, taker, *again = alone(monkeypatch, main)
    assert sorted(again) == sorted([held, taker])


def test_an_overflow_entry_without_headers_is_used_again_after_auto_free(monkeypatch: pytest.MonkeyPatch) -> None:
    def main(side: Side) -> object:
        table = side.table
        table.allocate(0)
        store = MatchEntry(
            ignore_bits=ALL_BITS, op_put=True, length_bytes=64, use_once=True, unexpected_header_disable=True
        )
        first = table.append(0, store, to=List.OVERFLOW)
        assert side.kinds(1) == [EventKind.LINK]
        to_self(side, bits=4, length_bytes=16)
        assert side.kinds(3) == [EventKind.PUT, EventKind.AUTO_UNLINK, EventKind.AUTO_FREE]
        return [first, table.append(0, store, to=List.OVERFLOW)]

    first, again = alone(monkeypatch, main)
    assert first == again


def test_flow_control(monkeypatch: pytest.MonkeyPatch) -> None:
    def main(side: Side) -> object:
        side.table.allocate(0, flow_control=True)
        to_self(side)
        (event,) = side.events(1)
        side.table.append(0, MatchEntry(ignore_bits=ALL_BITS, op_put=True, event_link_disable=True))
        to_self(side)  # dropped: disabled
        side.endpoint.complete()
        side.process.compute(10_000)
        side.process.settle()
        side.table.enable(0)
        to_self(side)
        kinds = [EventKind(event.kind), *side.kinds(1)]
        side.table.disable(0)
        side.table.free(0)  # something is in its lists
        return kinds, side.events(1)[0].failure

    assert alone(monkeypatch, main) == ([EventKind.PT_DISABLED, EventKind.PUT], "COMMAND_ENTRY")


# ---- counting events ----


@pytest.mark.parametrize("interrupt", [False, True])
def test_counters(monkeypatch: pytest.MonkeyPatch, interrupt: bool) -> None:
    def offer(side: Side) -> None:
        side.table.allocate(3)
        quiet = {"event_link_disable": True, "event_comm_disable": True}
        side.table.append(
            3,
            MatchEntry(counter=5, ct_comm=True, ct_bytes=True, **quiet, **EVERYTHING),  # type: ignore[arg-type]
        )

    def target(side: Side) -> object:
        return Counter(side.endpoint, 5).wait(300)

    def initiator(side: Side, pid: int) -> object:
        sent, answered = Counter(side.endpoint, 0), Counter(side.endpoint, 1)
        sent.set(success=10, failure=1)
        sent.increment(success=2)
        side.endpoint.complete()
        assert sent.read() == Count(success=12, failure=1)
        sent.set()
        for number, counting in ((0, {"send": True}), (1, {"ack": True, "in_bytes": True})):
            for _ in range(2):
                put(
                    side.endpoint,
                    Target(nid=0, pid=pid, pt_index=3),
                    local=Region(window=0, offset=0, length_bytes=75),
                    ack_request=AckRequest.COUNTING,
                    counting=Counting(counter=number, **counting),
                    event_send_disable=True,
                )
        assert sent.wait(2) == Count(success=2, failure=0)
        assert answered.wait(150) == Count(success=150, failure=0)
        put(
            side.endpoint,
            Target(nid=0, pid=pid, pt_index=4),
            ack_request=AckRequest.COUNTING,
            counting=Counting(counter=1, ack=True),
            event_send_disable=True,
        )
        return answered.wait(151), side.endpoint.poll()

    theirs, own = pair(monkeypatch, target, initiator, offer, interrupt=False, counter_interrupt=interrupt)
    assert theirs == Count(success=300, failure=0)
    assert own == (Count(success=150, failure=1), None)


@pytest.mark.parametrize("interrupt", [False, True])
def test_a_counter_is_waited_for_until_a_time(monkeypatch: pytest.MonkeyPatch, interrupt: bool) -> None:
    def waiting(side: Side) -> object:
        counter, process = Counter(side.endpoint, 2), side.process
        counter.set(success=4)
        due_ps = process.now_ps + 20_000_000
        assert counter.wait(4, due_ps=due_ps) == Count(success=4, failure=0)
        assert process.now_ps < due_ps
        return counter.wait(5, due_ps=due_ps), process.now_ps >= due_ps

    assert alone(monkeypatch, waiting, counter_interrupt=interrupt) == (Count(success=4, failure=0), True)


def test_a_waiting_process_sleeps_only_if_counters_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    def waiting(side: Side) -> object:
        before = side.process.calls.counters()["kernel.wake_ups"]
        Counter(side.endpoint, 2).increment(success=1)
        Counter(side.endpoint, 2).wait(1)
        return side.process.calls.counters()["kernel.wake_ups"] - before

    for interrupt in (False, True):
        assert alone(monkeypatch, waiting, interrupt=False, counter_interrupt=interrupt) == interrupt


def test_moderation_is_changed_while_the_context_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def main(side: Side) -> list[int]:
        side.table.allocate(0)
        side.table.append(0, MatchEntry(ignore_bits=ALL_BITS, op_put=True, event_link_disable=True))
        side.endpoint.complete()
        calls, counts = side.process.calls, []
        for count in (0, 4):
            calls.moderate(side.endpoint.handle, count=count, duration_us=0)
            before = calls.counters()["kernel.interrupts"]
            for _ in range(8):
                to_self(side)
                side.process.compute(20_000)
                side.process.settle()
            counts.append(calls.counters()["kernel.interrupts"] - before)
        return counts

    assert alone(monkeypatch, main) == [8, 2]


@pytest.mark.parametrize(
    ("moderation", "interrupts"),
    [({}, 8), ({"moderation_count": 4}, 2), ({"moderation_count": 8, "moderation_us": 1}, 4)],
)
def test_moderation(monkeypatch: pytest.MonkeyPatch, moderation: dict[str, int], interrupts: int) -> None:
    """Eight messages to oneself, a pair each 5 us; the interrupts that come of it."""

    def main(process: Process, job: Job) -> int:
        side = Side.of(process, job, **moderation)
        side.table.allocate(0)
        side.table.append(0, MatchEntry(ignore_bits=ALL_BITS, op_put=True, event_link_disable=True))
        side.endpoint.complete()
        before = process.calls.counters()["kernel.interrupts"]
        for _ in range(4):
            for _ in range(2):
                to_self(side)
                process.compute(20_000 if not moderation else 0)
            process.compute(10_000)
            process.settle()
        process.compute(20_000)
        process.settle()
        return process.calls.counters()["kernel.interrupts"] - before

    assert FakeMachine(nodes=1).run(job(monkeypatch, main)).results()["job"] == [interrupts]
