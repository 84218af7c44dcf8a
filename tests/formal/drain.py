"""Property 3, its end: when a context that was switched off is not `busy` any more, no access of it is on its way.

An access is judged by a block for an active context, offered by it from the next cycle on until it is passed on, and
then known to memory until that has answered. The theorems at the end say that the blocks keep to this, `mark` that
the memory port knows what it owes, `drain` that nothing is forgotten between them.
"""

from typing import Any
from unittest.mock import patch

from amaranth import Cat, Signal, Value

from rtl.nic.context.drain import Drain
from rtl.nic.context.events import Events
from rtl.nic.context.indices import Contexts
from rtl.nic.host.mark import Mark
from rtl.nic.host.port import MemoryPort
from rtl.nic.initiator.collect import Collect
from rtl.nic.initiator.fetch import Fetch
from rtl.nic.initiator.handover import Handover
from rtl.nic.nic import Nic
from rtl.nic.parameters import NicParameters
from rtl.nic.target.answers import Answers
from rtl.nic.target.atomic import Atomic
from rtl.nic.target.complete import Complete
from rtl.nic.target.store import Store
from tests.formal.bench import Bench, chosen
from tests.formal.marks import is_live
from tests.formal.stillness import claim_queue_is_bounded
from tests.formal.theorems import SMALL, Bug, theorem

ENGINES = 2
MOST = 5
BURSTS = 4


@theorem(
    3,
    "Drain",
    bugs=(
        Bug(
            function="rtl.nic.context.drain:Drain.elaborate",
            old="held.eq(self.offered & ~self.passed)",
            new="held.eq(0)",
        ),
        Bug(
            function="rtl.nic.context.drain:Drain.elaborate",
            old="held.eq(held & ~self.passed)",
            new="held.eq(held & ~self.passed & self.marked)",
        ),
        Bug(
            function="rtl.nic.context.drain:Drain.elaborate",
            old="ends.eq(~self.marked)",
            new="ends.eq(1)",
        ),
        Bug(
            function="rtl.nic.context.drain:Drain.elaborate",
            old="Mux(ends, leaving, 0)",
            new="Mux(ends, self.busy, 0)",
        ),
    ),
)
def drain() -> Bench:
    """While an access that was judged for a context is offered or not answered, the context is active or busy: for any
    context, engine and access. Rules: those of engines and mark, and that no busy context becomes active."""
    bench = Bench(block := Drain(SMALL, engines=ENGINES))
    m = bench.m
    context, engine = bench.constant("a_context"), bench.constant("an_engine")
    active, busy = chosen((one.active for one in block.states), context), chosen(block.busy, context)
    bench.rule(~bench.past(busy) | ~active)
    judged, answered = bench.free("judged"), bench.free("answered")
    offered, in_memory, asked = Signal(), Signal(), Signal()
    passed = offered & chosen(block.passed, engine)
    bench.rule(~judged | (active & ~offered & ~in_memory))
    bench.rule(~offered | chosen(block.offered, engine))
    bench.rule(~answered | in_memory)
    bench.rule(~asked | block.marked)
    m.d.sync += [
        offered.eq(judged | (offered & ~passed)),
        in_memory.eq(passed | (in_memory & ~answered)),
        asked.eq(in_memory & ~answered & (asked | block.mark)),
    ]
    exists = offered | in_memory
    bench.always(~exists | active | busy, "busy while there is an access")
    used = chosen(bench.register("used"), context)
    leaving = chosen(bench.register("leaving"), context)
    engines, memory = bench.in_state("drain", "Await-Engines"), bench.in_state("drain", "Await-Memory")
    held = chosen(bench.register("held"), engine)
    bench.always(~(leaving & (engines | memory)) | (used & ~active), "who leaves is not active")
    bench.always(~(leaving & engines & offered) | held, "what is offered is held")
    bench.always(~(leaving & memory) | (~offered & (asked | ~in_memory)), "memory was asked for what it has")
    bench.always(~asked | in_memory, "asked for what is there")
    return bench


@theorem(
    3,
    "Mark",
    bugs=(
        Bug(function="rtl.nic.host.mark:Mark.elaborate", old="left.eq(unanswered - self.ends)", new="left.eq(1)"),
        Bug(
            function="rtl.nic.host.mark:Mark.elaborate",
            old="with m.If(self.mark):",
            new="with m.If(self.mark & ~self.marked):",
        ),
    ),
)
def mark() -> Bench:
    """After a `mark`, `marked` is high while any request that had been taken before is not answered. Rules: requests
    are answered in order, and no more than were taken; no more are taken than the block can count."""
    bench = Bench(block := Mark(MOST))
    m = bench.m
    unanswered, left = bench.register("unanswered"), bench.register("left")
    bench.rule(~block.ends | (unanswered != 0))
    bench.rule(~block.begins | (unanswered != MOST))
    followed = bench.free("followed")  # the request that begins in this cycle
    there, asked = Signal(), Signal()
    ahead = Signal(range(MOST + 1))
    ends = there & block.ends & (ahead == 0)
    bench.rule(~followed | (block.begins & ~there))
    m.d.sync += [
        there.eq(followed | (there & ~ends)),
        asked.eq(there & ~ends & (asked | block.mark)),
    ]
    with m.If(followed):
        m.d.sync += ahead.eq(unanswered - block.ends)
    with m.Elif(there & block.ends):
        m.d.sync += ahead.eq(ahead - 1)
    bench.always(~asked | block.marked, "marked until it is answered")
    bench.always(~there | (ahead < unanswered), "it is one of those that are counted")
    bench.always(~asked | (there & (ahead < left)), "and of those that were asked for")
    bench.always((left <= unanswered) & (unanswered <= MOST), "no more than there are")
    return bench


@theorem(
    3,
    "MemoryPort",
    bugs=(
        Bug(
            function="rtl.nic.host.port:MemoryPort.elaborate",
            old="Cat(*(writer.done for writer in self.writers)).any()",
            new="self.memory.bvalid & self.memory.bready",
        ),
        Bug(
            function="rtl.nic.host.read:Read.elaborate",
            old="align.i_transfer.valid & align.i_transfer.ready",
            new="align.data_last & align.data_valid.any()",
        ),
    ),
    every_width=True,
)
def port(parameters: NicParameters = SMALL) -> Bench:
    """What the memory port counts as unanswered are the requests whose data or answers are still to come, and no more
    than it can count: reads that have not ended; writes whose last burst has no answer or was not asked for yet. Rule:
    a write has 1 to 65,536 bytes. Proved of a port that waits for few answers at a time."""
    few = {"OUTSTANDING_BURSTS": BURSTS}
    with patch.multiple("rtl.nic.host.write", **few), patch.multiple("rtl.nic.host.port", **few):
        bench = Bench(block := MemoryPort(parameters, readers=2, writers=2))
    for writer in block.writers:
        bench.rule(~writer.valid | ((writer.bytes != 0) & (writer.bytes <= 65_536)))
    reads, writes = bench.register("unanswered", "reads"), bench.register("unanswered", "writes")
    transfers = ("read", "bursts", "transfers")
    claim_queue_is_bounded(bench, *transfers)
    bench.always(reads == bench.part(*transfers).level, "reads")
    answers = ("write", "unanswered")
    claim_queue_is_bounded(bench, *answers)
    level, oldest = bench.part(*answers).level, bench.register("consume", *answers)
    newest = bench.register("produce", *answers)
    bench.always((newest - oldest)[: len(oldest)] == level[: len(oldest)], "the answers that are awaited")
    waiting = []
    for row in range(BURSTS):
        place = (row - oldest)[: len(oldest)]
        waiting.append((place < level) & bench.row(row, *answers, "storage")[0])
    asking = bench.register("left", "write", "bursts").any()
    bench.always(writes == sum(waiting, start=asking), "writes")
    return bench


@theorem(
    3,
    "Contexts",
    bugs=(
        Bug(
            function="rtl.nic.context.indices:Contexts._live",
            old="start & ~self.busy[number]",
            new="start",
        ),
    ),
)
def contexts() -> Bench:
    """A context that is busy and not active does not become active."""
    bench = Bench(block := Contexts(SMALL))
    for number, state in enumerate(block.states):
        waits = block.busy[number] & ~state.active
        bench.always(~bench.past(waits) | ~state.active, f"context {number} waits")
    return bench


# ---- engines: what is offered and was not offered before was judged, in the cycle before, for an active context ----


def _fresh(bench: Bench, offered: Value, passed: Value) -> Value:
    return offered & ~bench.past(offered & ~passed)


def _offers(bench: Bench, offered: Value, passed: Value, *, judged: Value, what: str) -> None:
    """What is freshly offered was `judged` in the cycle before, and stays offered until it has passed."""
    bench.always(~_fresh(bench, offered, passed) | bench.past(judged), f"a fresh {what}")
    bench.always(~bench.past(offered & ~passed) | offered, "it stays")


def _active(block: Any, context: Value) -> Value:
    return chosen((state.active for state in block.states), context)


@theorem(
    3,
    "Fetch",
    bugs=(
        Bug(
            function="rtl.nic.initiator.fetch:Fetch._request",
            old="read.valid.eq(1)]",
            new="read.valid.eq(waiting != READS)]",
        ),
    ),
)
def fetch() -> Bench:
    """A command is asked for in the cycle after it was found pending, which it is in active contexts alone; until
    memory takes the request it stays."""
    bench = Bench(block := Fetch(SMALL))
    read = block.read
    bench.rule((block.pending & ~Cat(*(state.active for state in block.states))) == 0)
    looked_up = block.fetched & _active(block, block.fetched_context)
    _offers(bench, read.valid, read.ready, judged=looked_up, what="request")
    bench.always(~bench.past(block.fetched) | read.valid, "it is asked for at once")
    return bench


@theorem(
    3,
    "Handover",
    bugs=(
        Bug(
            function="rtl.nic.initiator.handover:Handover.elaborate",
            old="self.spoiled.eq(moves & (~active | (epoch != following.epoch)))",
            new="self.spoiled.eq(moves & (epoch != following.epoch))",
        ),
    ),
)
def handover() -> Bench:
    """A packet with payload is shown to who reads it in the cycle after its context was found active."""
    bench = Bench(block := Handover(SMALL))
    job = block.o_job
    reads = job.valid & (job.payload_bytes != 0)
    active = Signal(SMALL.contexts)
    bench.m.d.comb += active.eq(Cat(*(state.active for state in block.states)))
    was_active = chosen(bench.past(active), job.context)
    bench.rule(block.packet.context < SMALL.contexts)
    ahead = bench.register("ahead")
    bench.always(ahead[1:9] < SMALL.contexts, "the context exists")
    bench.always(~(reads & _fresh(bench, job.valid, job.ready)) | was_active, "a fresh packet")
    bench.always(~bench.past(job.valid & ~job.ready) | job.valid, "it stays")
    return bench


@theorem(
    3,
    "Answers",
    bugs=(
        Bug(
            function="rtl.nic.target.reply_packet:ReplyPacket.elaborate",
            old="self.orphaned.eq(~is_live(self.states, self.context, self.epoch))",
            new="self.orphaned.eq(0)",
        ),
    ),
)
def answers() -> Bench:
    """A packet of a reply with payload is shown to who reads it in the cycle after its context was found active."""
    bench = Bench(block := Answers(SMALL))
    job, packet = block.o_job, bench.part("packet")
    reads = job.valid & ~job.inline & (job.payload_bytes != 0)
    judged = packet.judge & _active(block, packet.context)
    bench.always(~(reads & _fresh(bench, job.valid, job.ready)) | bench.past(judged), "a fresh packet")
    bench.always(~bench.past(job.valid & ~job.ready) | job.valid, "it stays")
    return bench


@theorem(
    3,
    "Store",
    bugs=(
        Bug(
            function="rtl.nic.target.store:Store.elaborate",
            old="& is_live(self.states, arrival.context, arrival.epoch)",
            new="",
        ),
        Bug(
            function="rtl.nic.target.store:Store.elaborate",
            old="is_live(self.states, arrival.context, arrival.epoch)",
            new="is_live(self.states, arrival.context, coming.epoch)",
        ),
    ),
    every_width=True,
)
def store(parameters: NicParameters = SMALL) -> Bench:
    """A put is written from the cycle on after its context was found active, in the life of the arrival."""
    bench = Bench(block := Store(parameters))
    write, arrival = block.write, block.o_completion.payload.arrival
    judged = bench.in_state("store", "Judge") & is_live(block, arrival.context, arrival.epoch)
    _offers(bench, write.valid, write.ready, judged=judged, what="write")
    return bench


@theorem(
    3,
    "Complete",
    bugs=(
        Bug(
            function="rtl.nic.target.complete:Complete.elaborate",
            old="live.eq(is_live(self.states, arrival.context, arrival.epoch) & ~arrival.refused)",
            new="live.eq(~arrival.refused)",
        ),
        Bug(
            function="rtl.nic.target.complete:Complete.elaborate",
            old="is_live(self.states, arrival.context, arrival.epoch)",
            new="is_live(self.states, arrival.context, self.states[0].epoch)",
        ),
    ),
)
def atomics() -> Bench:
    """An atomic is executed from the cycle on after its context was found active, in the life of the arrival, until it
    is done."""
    bench = Bench(block := Complete(SMALL))
    atomic, arrival = block.atomic, block.i_completion.payload.arrival
    judged = bench.in_state("complete", "Await-Answer") & is_live(block, arrival.context, arrival.epoch)
    _offers(bench, atomic.valid, atomic.done, judged=judged, what="atomic")
    return bench


@theorem(
    3,
    "Atomic",
    bugs=(
        Bug(
            function="rtl.nic.target.atomic:Atomic.elaborate",
            old="with m.If(request.valid):",
            new="with m.If(1):",
        ),
    ),
    every_width=True,
)
def atomic(parameters: NicParameters = SMALL) -> Bench:
    """Memory is asked for no more once an atomic is done. Rule: one is offered until it is done."""
    bench = Bench(block := Atomic(parameters))
    request = block.i_request
    bench.rule(~bench.past(request.valid & ~request.done) | request.valid)
    asks = block.read.valid | block.write.valid
    bench.always(~asks | (request.valid & ~request.done), "what is asked for is offered and not done")
    bench.always(bench.in_state("atomic", "Await-Request") | request.valid, "one is carried out")
    return bench


@theorem(
    3,
    "Collect",
    bugs=(
        Bug(
            function="rtl.nic.initiator.collect:Collect.elaborate",
            old="expected & lookup.waiting & live",
            new="expected & lookup.waiting",
        ),
        Bug(
            function="rtl.nic.initiator.collect:Collect.elaborate",
            old="(select([state.epoch for state in self.states], packet.context) == packet.epoch)",
            new="1",
        ),
    ),
    every_width=True,
)
def collect(parameters: NicParameters = SMALL) -> Bench:
    """Data of a reply are written from the cycle on after its context was found active, in the life of the packet.
    Rules: a packet holds until it is taken; what was looked up stays."""
    bench = Bench(block := Collect(parameters))
    packet, write, entry = block.i_packet, block.write, block.lookup.entry
    header = Cat(*packet.words, packet.context, packet.epoch, packet.poisoned)
    bench.rule(~bench.past(packet.valid & ~packet.ready) | (packet.valid & (header == bench.past(header))))
    bench.rule(bench.past(block.lookup.look) | (entry.as_value() == bench.past(entry)))
    judged = bench.in_state("collect", "Judge-Context") & is_live(block, packet.context, packet.epoch)
    _offers(bench, write.valid, write.ready, judged=judged, what="write")
    later = bench.in_state("collect", "Judge-Context") | bench.in_state("collect", "Place-Data")
    bench.always(~(later | bench.in_state("collect", "Judge-Sender")) | packet.valid, "the packet is there")
    return bench


@theorem(
    3,
    "Events",
    bugs=(
        Bug(
            function="rtl.nic.context.writer:EventWriter.elaborate",
            old="select([state.active for state in self.states], self.context) & (",
            new="(",
        ),
        Bug(
            function="rtl.nic.context.writer:EventWriter._request",
            old="~(event & counter)",
            new="1",
        ),
    ),
    every_width=True,
)
def events(parameters: NicParameters = SMALL) -> Bench:
    """The writes of a transfer are offered from the cycle after its context was found active on, one behind the other
    until the last one is taken."""
    bench = Bench(block := Events(parameters, sources=2, reservers=2))
    writer, write = bench.part("writer"), block.write
    begins = writer.begins & _active(block, writer.context)
    bench.always(~_fresh(bench, write.valid, block.passed) | bench.past(begins), "a fresh transfer")
    bench.always(~bench.past(write.valid & ~block.passed) | write.valid, "it stays")
    return bench


@theorem(
    3,
    "Nic",
    bugs=(
        Bug(function="rtl.nic.nic:Nic.elaborate", old="events.passed)", new="events.write.ready)"),
        Bug(
            function="rtl.nic.nic:Nic.elaborate",
            old="requests = [fetch.read, deliver.write, collect.write,",
            new="requests = [fetch.read, deliver.write, deliver.write,",
        ),
    ),
)
def wiring() -> Bench:
    """Everything that asks for memory is seen: reads of commands, writes of events, of puts and of replies, and, from
    their jobs on, atomics and payload of packets. The port answers for the rest, and contexts hear whether they are
    busy."""
    bench = Bench(Nic(SMALL), keep=("bank",))
    drain, memory = bench.part("drain"), bench.part("port")
    fetch, events, deliver, collect = (bench.part(name) for name in ("fetch", "events", "deliver", "collect"))
    pairs = [(one.valid, one.ready) for one in (fetch.read, deliver.write, collect.write)]
    pairs += [(one.valid, one.ready) for one in (bench.part("issue").o_job, bench.part("answers").o_job)]
    pairs += [(deliver.atomic.valid, deliver.atomic.done), (events.write.valid, events.passed)]
    for number, (offered, passed) in enumerate(pairs):
        seen = Cat((drain.offered[bit] == offered) & (drain.passed[bit] == passed) for bit in range(len(pairs)))
        bench.always(seen.any(), f"engine {number}")
    bench.always((memory.mark == drain.mark) & (drain.marked == memory.marked), "memory is asked")
    bench.always(bench.part("contexts").busy == drain.busy, "the contexts hear of it")
    return bench
