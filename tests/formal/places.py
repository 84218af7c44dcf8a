"""Property 4, places in event queues: only free ones are granted, each is kept for its context, and spent once.

An event that is written where another one waits takes it from its reader. `counted` and `granted` are about who gives
places out, `kept` about who asks for commands, the others about who spends what commands and requests have.
"""

from typing import Any

from amaranth import C, Cat, Mux, Signal, Value
from amaranth.lib import data

from rtl.nic.context.places import Places
from rtl.nic.expressions import FieldsOf
from rtl.nic.initiator.complete import RECORD, Complete
from rtl.nic.initiator.issue import Issue
from rtl.nic.initiator.report import Report
from rtl.portals import COMMAND, FETCHING_OPERATIONS, AckRequest, Refusal
from tests.formal.bench import Bench, chosen
from tests.formal.marks import progress_of_life
from tests.formal.theorems import SMALL, Bug, theorem
from tests.formal.windows import hold_commands


@theorem(
    4,
    "Issue",
    bugs=(
        Bug(  # it loses what changes in the same cycle for a context that does not restart
            function="rtl.nic.initiator.issue:Issue.elaborate",
            old="self._held[number].eq(0)",
            new="self._held.eq(self._held & ~restarted)",
        ),
        Bug(
            function="rtl.nic.initiator.issue:Issue.elaborate",
            old="self._held[number].eq(0)",
            new="self._held.eq(0)",
        ),
        Bug(
            function="rtl.nic.initiator.issue:Issue.elaborate",
            old="with m.If(state.restarted):",
            new="with m.If(state.restarted & ~state.restarted):",
        ),
        Bug(
            function="rtl.nic.initiator.issue:Issue._begin",
            old="self._held.bit_select(self._context, 1).eq(0)",
            new="self._held.eq(0)",
        ),
        Bug(
            function="rtl.nic.initiator.issue:Issue._begin",
            old="with m.If(~self._resumed):",
            new="with m.If(0):",
        ),
        Bug(
            function="rtl.nic.initiator.issue:Issue._claim",
            old="self.reserve.room | self._held.bit_select(self._context, 1)",
            new="1",
        ),
        Bug(
            function="rtl.nic.initiator.issue:Issue._claim",
            old="- self._held.bit_select(self._context, 1))",
            new="- self._held.any())",
        ),
        Bug(
            function="rtl.nic.initiator.issue:Issue._claim",
            old="with m.If(self.reserve.room & (self.reserve.count == wanted)):",
            new="with m.If(self.reserve.room):",
        ),
        Bug(
            function="rtl.nic.initiator.issue:Issue._connect",
            old="self.reserve.context.eq(self._context)",
            new="self.reserve.context.eq(self._turns.choice)",
        ),
        Bug(
            function="rtl.nic.initiator.check:CheckCommand.elaborate",
            old="self.answer_event.eq(fetches | (ack == AckRequest.FULL))",
            new="self.answer_event.eq(ack == AckRequest.FULL)",
        ),
    ),
)
def kept() -> Bench:
    """Of the places that were granted for a context in its life, those that have not gone on with a command that began
    are as many as are kept for its next one, none or one; or in the cycle in which that one begins, all that it needs.
    A command takes one with it, and another one if an entry is made whose response gives an event. No other context
    changes anything of that. A life that ends in the middle of a turn may lose what the turn was granted, two at most,
    and never counts on more than it was. Rules: commands are those of the context that was selected in the cycle
    before, and stay; a life that was switched off does not go on."""
    bench = Bench(block := Issue(SMALL), keep=("turns", "check", "segment"))
    port, commands, entry = block.reserve, block.i_commands, block.outstanding
    granted = Mux(port.valid & port.ready & port.room, port.count, 0)
    answer_event = _gives_event(entry.command_word)
    turn, begins, needed = _claim_steps(bench, block, answer_event)
    bench.always(~entry.valid | (commands.take & (entry.context == commands.select)), "an entry is a command's")
    taken = Mux(commands.take, 1 + (entry.valid & answer_event), 0)
    for number, state in enumerate(block.states):
        places = Signal(16, name=f"places_{number}")
        up, down = Mux(port.context == number, granted, 0), Mux(commands.select == number, taken, 0)
        bench.m.d.sync += places.eq(Mux(state.restarted, 0, places + up - down))
        opened, ended = progress_of_life(bench, state)
        bench.rule(~(state.active & ended))
        ours, held = turn & (block._context == number), block._held[number]
        bench.always(~ours | opened, f"context {number} was active when its turn began")
        exact = places == Mux(ours & begins, needed, held)
        bench.always(exact | (ended & ~ours), f"places of context {number}")
        bench.always(exact | ((held <= places) & (places <= 2)), f"places of context {number} when its life is over")
    return bench


def _gives_event(command_word: Value) -> Value:
    """Whether the response to a request gives an event, as is said of its entry: see `Collect`."""
    command = FieldsOf(COMMAND, [command_word])
    return command.operation.matches(*FETCHING_OPERATIONS) | (command.ack_request == AckRequest.FULL)


def _claim_steps(bench: Bench, block: Any, answer_event: Value) -> tuple[Value, Value, Value]:
    """What the steps of a turn know of its command. Returns whether one with a fresh command is under way in the life
    in which it began, whether that command begins, and how many places it needs."""
    check, context = bench.part("check"), block._context
    selected, stays = hold_commands(bench, block)
    idle, selects, reads = (bench.in_state("issue", name) for name in ("Await-Turn", "Select-Command", "Read-Command"))
    bench.always(idle | (context < SMALL.contexts), "the context exists")
    bench.always(idle | selects | (selected == context), "the command was selected")
    known = ~(idle | selects | reads)
    bench.always(~known | stays, "and is still shown")
    fresh = ~block._resumed
    claims = [bench.in_state("issue", name) for name in ("Check-Reply-Window", "Claim-Resources")]
    bench.always(fresh | ~Cat(*claims).any(), "a message that goes on needs no place")
    bench.always(~(known & fresh) | (check.answer_event == answer_event), "what is known of its response")
    bench.always(~(known & fresh) | check.answered | ~check.answer_event, "which alone gives an event")
    (was_stale,) = bench.registers("was_stale", 1)
    needed = 1 + ((block._reason == Refusal.NONE) & check.sends & check.answer_event)
    return ~idle & fresh & ~was_stale, bench.in_state("issue", "Begin"), needed


@theorem(
    4,
    "Report",
    bugs=(
        Bug(
            function="rtl.nic.initiator.report:Report._conclude",
            old="current & ~report.event",
            new="current",
        ),
        Bug(
            function="rtl.nic.initiator.report:Report._conclude",
            old="current & ~report.event",
            new="over & ~report.event",
        ),
        Bug(
            function="rtl.nic.initiator.report:Report.elaborate",
            old="port.ready.eq(over & (source == number))",
            new="port.ready.eq(over & (following == number))",
        ),
    ),
)
def spent_by_commands() -> Bench:
    """A command that is over in its life uses its place for an event of its context or gives it back, not both; and it
    is reported once. Rule: a report holds until it is taken."""
    bench = Bench(block := Report(SMALL, sources=3))
    event = block.o_event
    uses, gives = event.valid & event.ready & event.event, block.release_valid
    whose = (event.context == block.retired_context) & (block.release_context == block.retired_context)
    now = chosen((state.epoch for state in block.states), block.retired_context)
    live = (now == event.epoch) & ~chosen((state.restarted for state in block.states), block.retired_context)
    bench.always(~(uses & gives), "a place is spent once")
    bench.always(~(uses | gives) | whose, "for the context")
    bench.always(~gives | (block.release_epoch == now), "in the life that lasts")
    bench.always(block.retired == ((uses & live) | gives), "by what is over")
    taken = Cat(source.valid & source.ready for source in block.i_reports)
    for number, source in enumerate(block.i_reports):
        bench.holds(source.valid, source.ready, source.payload)
        reports = bench.in_state("report", "Report") & (bench.register("source") == number)
        same = source.valid & (bench.register("report") == source.payload.as_value())
        bench.always(~reports | same, "what is told is what was reported")
        bench.always(~source.ready | reports, "and taken when it is told")
    bench.always(bench.register("source") < len(block.i_reports), "by one that exists")
    bench.always(~(block.retired | uses) | taken.any(), "it is not reported again")
    return bench


@theorem(
    4,
    "Complete",
    bugs=(
        Bug(
            function="rtl.nic.initiator.complete:Complete.elaborate",
            old="record.place & (record.silent | ~event)",
            new="record.place & ~event",
        ),
        Bug(
            function="rtl.nic.initiator.complete:Complete.elaborate",
            old="event = record.place & (",
            new="event = (",
        ),
    ),
)
def spent_by_responses() -> Bench:
    """What ends a request that has a place uses it for an event of its context and life or gives it back, not both;
    nothing else of a response does. Rule: a queue shows what it shows until it is taken (see `trusted.queue`)."""
    bench = Bench(block := Complete(SMALL))
    event, reserve, records = block.o_event, block.reserve, bench.part("records")
    record = data.View(RECORD, records.r_data)
    waits = bench.past(records.r_rdy & ~records.r_en)
    bench.rule(~waits | (records.r_rdy & (records.r_data == bench.past(records.r_data))))
    uses, gives = event.valid & event.ready & event.event, reserve.release_valid
    bench.always((uses + gives) == (block.free & record.place), "a place is spent when its request ends")
    bench.always(~block.free | (records.r_rdy & records.r_en & record.closing), "which it does once")
    for who, context, epoch in (
        (uses, event.context, event.epoch),
        (gives, reserve.release_context, reserve.release_epoch),
    ):
        bench.always(~who | ((context == record.context) & (epoch == record.epoch)), "for its context and life")
    bench.always(~gives | (reserve.release_count == 1), "one place")
    working = bench.in_state("complete", "Judge-Segment") | bench.in_state("complete", "Report")
    bench.always(~working | records.r_rdy, "there is a record")
    bench.always(~bench.in_state("complete", "Report") | record.closing, "it is the last one")
    return bench


@theorem(
    4,
    "Places",
    bugs=(
        Bug(
            function="rtl.nic.context.places:Places._reserve",
            old="port.valid & ~select(restarting, port.context)",
            new="port.valid",
        ),
        Bug(
            function="rtl.nic.context.places:Places._release",
            old="port.release_valid & present",
            new="port.release_valid",
        ),
        Bug(
            function="rtl.nic.context.places:Places.elaborate",
            old="Mux(context == number, count, 0)",
            new="count",
        ),
        Bug(
            function="rtl.nic.context.places:Places.elaborate",
            old="Mux(chosen_context == number, granted, 0)",
            new="granted",
        ),
        Bug(
            function="rtl.nic.context.places:Places._position",
            old="self.advance & (self.context == number)",
            new="self.advance",
        ),
        Bug(
            function="rtl.nic.context.places:Places._position",
            old="select(sizes, self.context)",
            new="sizes[0]",
        ),
    ),
)
def counted() -> Bench:
    """Of a context's places as many more are claimed as it is granted, and as many less as were given back in its life
    that lasts, whatever others do; none is granted in the cycle in which it restarts, which forgets them all. An event
    goes where its number falls in its context's queue, and the next one has the next number. Rule: contexts exist."""
    bench = Bench(block := Places(SMALL, reservers=2))
    bench.rule(block.context < SMALL.contexts)
    for number, state in enumerate(block.states):
        granted = sum(
            (Mux(port.valid & port.ready & port.room & (port.context == number), port.count, 0))
            for port in block.reserves
        )
        freed = _given_back(bench, block, number)
        claimed, next_event = bench.register(f"claimed_{number}"), bench.register(f"events_issued_{number}")
        known = Mux(state.restarted, 0, claimed + granted - freed)
        bench.always(claimed == bench.past(known[:16]), f"places of context {number}")
        bench.always(~(state.restarted & granted.any()), f"none while context {number} restarts")
        ours = block.context == number
        following = Mux(state.restarted, 0, next_event + (block.advance & ours))
        bench.always(next_event == bench.past(following[:32]), f"events of context {number}")
        first, last = bench.register(f"queue_base_{number}"), (_places(bench, number) - 1)[:15]
        slot = (block.address[6:] - first)[:15]
        bench.always(~ours | (slot == (next_event & last)), f"where they go in the queue of context {number}")
        bench.always(~ours | (block.number == next_event), f"as number so much of context {number}")
    return bench


@theorem(
    4,
    "Places",
    bugs=(
        Bug(
            function="rtl.nic.context.places:Places._reserve",
            old="select(places, port.context) >= port.count",
            new="select(places, port.context).any()",
        ),
        Bug(
            function="rtl.nic.context.places:Places._reserve",
            old="select(places, port.context)",
            new="places[0]",
        ),
        Bug(
            function="rtl.nic.context.places:Places._count",
            old="ever - state.event_head[:PLACES_WIDTH]",
            new="ever - state.event_tail[:PLACES_WIDTH]",
        ),
        Bug(
            function="rtl.nic.context.places:Places._queues",
            old="with m.If(state.restarted):",
            new="with m.If(state.restarted | self.advance):",
        ),
    ),
)
def granted() -> Bench:
    """The places of a context that are claimed and not read are never more than its queue had when its life began. With
    `counted`, none is granted that is not free. Rules: an event that is read, and a place that is given back, was
    claimed before, and once; event heads begin with each life."""
    bench = Bench(block := Places(SMALL, reservers=2))
    for number, state in enumerate(block.states):
        read = bench.free(f"read_{number}", 16)
        head = bench.past(Mux(state.restarted, 0, state.event_head + read)[:16])
        bench.rule(state.event_head[:16] == head)
        taken = (bench.register(f"claimed_{number}") - state.event_head)[:16]
        bench.rule(read + _given_back(bench, block, number) <= taken)
        bench.always(taken <= _places(bench, number), f"no more than context {number} has")
    return bench


def _given_back(bench: Bench, block: Any, number: int) -> Value:
    """How many places the context was given back in the cycle before, in the life that lasted then."""
    total = C(0, 2)
    state = block.states[number]
    for reserver, port in enumerate(block.reserves):
        gives = port.release_valid & (port.release_context == number) & (port.release_epoch == state.epoch)
        known = Mux(bench.register(f"released_context_{reserver}") == number, bench.register(f"released_{reserver}"), 0)
        given = bench.past(Mux(gives, port.release_count, 0))
        bench.always(known == given, f"what reserver {reserver} gives back to context {number}")
        total = total + given
    return total


def _places(bench: Bench, number: int) -> Value:
    """Of the context's queue: its size is that of the life's beginning (see `memory.events`)."""
    return (C(1) << bench.register(f"queue_log2_{number}"))[:16]
