"""Property 1, a part of it: no two replies share a slot, so none is made of what was handed over for another one.

What is known of a reply lies in a slot of several memories. A slot is free, or its reply has a turn, or has its last
packet under way, or is being told of: one of these.
"""

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from amaranth import C, Signal, Value
from amaranth.lib import data
from amaranth.lib.fifo import SyncFIFOBuffered

from rtl.nic.target.answers import PROMISED, Answers
from tests.formal.bench import Bench
from tests.formal.stillness import claim_queue_settles
from tests.formal.theorems import SMALL, Bug, theorem

PACKETS = 2


@theorem(
    1,
    "Answers",
    bugs=(
        Bug(
            function="rtl.nic.target.answers:Answers._take_answers",
            old="slots.used <= self._parameters.replies",
            new="slots.used <= self._parameters.replies + 1",
        ),
        Bug(
            function="rtl.nic.target.reply_slots:ReplySlots._keep_free",
            old="freed.r_en.eq(self.allocate & ~touch)",
            new="freed.r_en.eq(self.allocate)",
        ),
        Bug(
            function="rtl.nic.target.reply_slots:ReplySlots.elaborate",
            old="self.remove | (self.put_back & ~self.allocate)",
            new="self.remove | self.put_back",
        ),
        Bug(
            function="rtl.nic.target.answers:Answers.elaborate",
            old="slots.put_back.eq(~ends), slots.remove.eq(ends)",
            new="slots.put_back.eq(1), slots.remove.eq(ends)",
        ),
        Bug(
            function="rtl.nic.target.answers:Answers.elaborate",
            old="slots.waiting & flights.room & self.o_job.lean",
            new="slots.waiting & self.o_job.lean",
        ),
        Bug(
            function="rtl.nic.target.reply_flights:ReplyFlights.elaborate",
            old="self.over.eq(leaves & oldest.ends)",
            new="self.over.eq(leaves)",
        ),
    ),
)
def apart() -> Bench:
    """A slot is free, or its reply has a turn, or has its last packet under way, or is being told of: one of these. So
    the slot that a new reply is given is not the one that is read in the same cycle, by whoever has a turn or is told
    of. Rule: the deliverer hands over no more than it began while there was room, at most PROMISED at a time. Proved of
    few packets under way."""
    with patch("rtl.nic.target.reply_flights.MOST_IN_FLIGHT", PACKETS):
        bench = Bench(block := Answers(SMALL))
    slots, flights, reports = (bench.part(name) for name in ("slots", "flights", "reports"))
    layout = flights._entry
    turns, freed, ended = (
        _Queue(bench, *path) for path in (("slots", "turns"), ("slots", "freed"), ("reports", "ended"))
    )
    under_way = _Queue(bench, "flights", "flights")
    hands_over, packet = bench.in_state("answers", "Hand-Over-Reply"), bench.part("packet")
    out = slots.out | (hands_over & (packet.final | packet.orphaned))
    untouched = bench.register("untouched", "slots")

    slot = bench.constant("a_slot", len(slots.slot))
    bench.rule(slot < block._slots)
    places = (
        slot >= untouched,
        out & (slots.slot == slot),
        *(queue.count(lambda entry: entry[: len(slot)] == slot) for queue in (turns, freed, ended)),
        under_way.count(lambda entry: (data.View(layout, entry).slot == slot) & data.View(layout, entry).ends),
    )
    bench.always(sum(places, start=C(0)) == 1, "a slot is at one place")
    given = slots.allocate & (slots.free_slot == slot)
    chosen = slots.choose & (slots.next_slot == slot)
    told = bench.in_state("reports", "Await-Reply", "reports") & ended.shown & (reports.freed_slot == slot)
    bench.always(~(given & chosen), "who has a turn is not free")
    bench.always(~(given & told), "nor is who is told of")
    bench.always(~slots.allocate | (untouched != block._slots) | freed.shown, "there is a free one for who comes")

    # How many there are of each, so that every queue has room.
    unused = block._slots - untouched
    ends = under_way.count(lambda entry: data.View(layout, entry).ends)
    bench.always(untouched <= block._slots, "the slots that were never taken")
    bench.always(turns.level + freed.level + ended.level + ends + out + unused == block._slots, "no slot is lost")
    bench.always(slots.used + freed.level + unused == block._slots, "those that are taken")
    bench.always(slots.used + _promised(bench, block) + freed.fresh <= block._slots, "room for what may come")
    looks, judges = (bench.in_state("answers", name) for name in ("Look-Up-Window", "Judge-Window"))
    bench.always(~(looks | judges) | slots.out, "a reply has its turn")
    bench.always(~(looks | judges | hands_over) | flights.room, "whose packet has room")
    bench.always(bench.in_state("reports", "Await-Reply", "reports") | ended.shown, "what is told of")
    bench.always(~bench.in_state("flights", "Account", "flights") | under_way.level.any(), "what has left")
    return bench


def _promised(bench: Bench, block: Any) -> Signal:
    """Answers that the deliverer has begun and not handed over: the rule of an AnswerPort."""
    answer = block.i_answer
    promised, begins, ends = Signal(4), bench.free("begins"), bench.free("ends")
    bench.m.d.sync += promised.eq(promised + begins - ends)
    bench.rule(~begins | (answer.ack_ready & answer.reply_ready & (promised < PROMISED)))
    bench.rule(~ends | promised.any())
    bench.rule(~answer.valid | ends)
    return promised


class _Queue:
    """What the queue at `path` holds: `level` entries, the oldest of which is `shown`, or soon will be if `fresh`:
    written in the cycle before."""

    def __init__(self, bench: Bench, *path: str) -> None:
        name, queue = path[-1], bench.part(*path)
        buffered = isinstance(queue, SyncFIFOBuffered)
        depth = queue.depth - buffered
        stored = bench.register("inner_level" if buffered else "level", *path)
        consume, produce = (bench.register(index, *path) for index in ("consume", "produce"))
        width = len(consume)
        bench.always(stored <= depth, f"{name} holds no more than its depth")
        bench.always((produce - consume)[:width] == stored[:width], f"{name}: where its entries are")
        self.shown, self.level, self.fresh = queue.r_rdy, stored, bench.past(queue.w_en & queue.w_rdy)
        self._entries = [((row - consume)[:width] < stored, bench.row(row, *path, "storage")) for row in range(depth)]
        if buffered:
            self.level = stored + queue.r_rdy
            self._entries.append((queue.r_rdy, queue.r_data))
            claim_queue_settles(bench, *path)
            bench.always(queue.r_rdy | (stored <= 1), f"{name} has no more than one that it does not show")

    def count(self, wanted: Callable[[Value], Value]) -> Value:
        return sum((there & wanted(entry) for there, entry in self._entries), start=C(0))
