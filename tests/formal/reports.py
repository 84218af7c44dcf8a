"""Property 4, the end of the way: what is told for a context is written for it, in the life for which it was told.

The words of each event are marked with the context and the life for which its port offers it (see `marks`).
`memory.events` says where a transfer of a context is written; these say whose transfer it is, and what is written.
"""

from amaranth import Cat, Mux, Signal

from rtl.nic.context.counters import Counters
from rtl.nic.context.events import Events
from rtl.nic.context.indices import Contexts
from rtl.nic.context.tallies import Tallies
from rtl.nic.parameters import NicParameters
from rtl.portals import COUNTER, EVENT
from tests.formal.bench import Bench, chosen
from tests.formal.marks import bears_life, hold_lives, hold_mark, is_live, progress_of_life
from tests.formal.theorems import SMALL, Bug, theorem

MARK_WORD = EVENT.fields["user_data"].word
CHANGE = ("context", "epoch", "counter", "success", "failure")


@theorem(
    4,
    "Events",
    bugs=(
        Bug(
            function="rtl.nic.context.writer:EventWriter.elaborate",
            old='self.context.eq(taken["context"])',
            new="self.context.eq(0)",
        ),
        Bug(
            function="rtl.nic.context.writer:EventWriter.elaborate",
            old='(epoch == taken["epoch"])',
            new="1",
        ),
        Bug(
            function="rtl.nic.context.writer:EventWriter._copy",
            old="select([port.words[index] for port in self.ports], source)",
            new="self.ports[0].words[index]",
        ),
        Bug(
            function="rtl.nic.context.writer:EventWriter._request",
            old="requested.context.eq(self.context)",
            new="requested.context.eq(0)",
        ),
        Bug(
            function="rtl.nic.context.events:Events._answer",
            old="self.progress.answered_context.eq(context)",
            new="self.progress.answered_context.eq(0)",
        ),
        Bug(
            function="rtl.nic.context.writer:EventWriter.elaborate",
            old="busy.eq(requesting | (streaming & ~finishing))",
            new="busy.eq(requesting)",
        ),
    ),
    every_width=True,
)
def events(parameters: NicParameters = SMALL) -> Bench:
    """A transfer is that of the port that is told that it was taken: its context and counter, while the life lasts for
    which it is told, and its words. Its writes get as many flits as they have, one behind the other. Indices are told
    of the transfer's context. Rules: EventPorts hold until they are taken; contexts exist."""
    bench = Bench(block := Events(parameters, sources=2, reservers=2))
    m, writer, write, progress = bench.m, bench.part("writer"), block.write, block.progress
    counters, places = bench.part("writer", "counters"), bench.part("places")
    taken = Cat(port.ready for port in block.ports)
    bench.always(~writer.begins | taken.any(), "a transfer is taken from a port")
    bench.always(~taken.all(), "from one")
    bench.always(places.context == writer.context, "its place is in its context's queue")
    chosen_now, source = bench.register("chosen", "writer"), bench.register("source", "writer")
    for number, port in enumerate(block.ports):
        bench.holds(port.valid, port.ready, Cat(port.context, port.epoch, port.event, port.counter_valid, *port.words))
        bench.rule(port.context < parameters.contexts)
        hold_mark(bench, port.valid, port.words[MARK_WORD], port.context, port.epoch)
        bench.always(~(chosen_now & (source == number)) | port.valid, "who was chosen still wants it")
        begins = writer.begins & port.ready
        live = port.valid & is_live(block, port.context, port.epoch)
        bench.always(~begins | (live & (writer.context == port.context)), "for its context, in its life")
        same = Cat(*(getattr(counters, name) == getattr(port, name) for name in CHANGE)).all()
        counts = port.counter_valid & (counters.set == port.counter_set)
        bench.always(~(counters.start & port.ready) | (writer.begins & same & counts), "its counter")
    bench.always(~counters.start | taken.any(), "nobody else's")
    adding, storing = bench.registers("storing", 1, "writer", "counters")
    changing = adding | storing
    bench.always(~counters.start | ~changing, "one change at a time")

    context, epoch = Signal(8), Signal(16)  # of the transfer under way
    with m.If(writer.begins):
        m.d.sync += [context.eq(writer.context), epoch.eq(chosen((one.epoch for one in block.states), writer.context))]
    requested = writer.requested
    whose = (requested.context == context) & (requested.epoch == epoch)
    bench.always(whose, "what is noted of it")
    asks_event, asks_counter, event, counter = bench.registers("counter", 1, "writer")
    streams, beat = event | counter, bench.register("beat", "writer")
    bench.always(~changing | (counter & (event | (beat == 0))), "a change is written when it is known")
    bench.always(~adding | ((beat == 0) & ~counters.valid), "and not before")
    bench.always(~storing | (beat < 2), "an event before it goes on meanwhile")
    bench.always(~event | bears_life(bench.register("word_6", "writer"), context, epoch), "its words")
    per_flit = parameters.datapath_bits // 64
    told = write.data_valid & event & (beat == MARK_WORD // per_flit)
    mark = write.data.word_select(MARK_WORD % per_flit, 64)
    bench.always(~told | bears_life(mark, context, epoch), "are what is written")
    unwritten = Signal(8)
    asked = Mux(write.valid & write.ready, write.bytes // parameters.datapath_bytes, 0)
    m.d.sync += unwritten.eq(unwritten + asked - (write.data_valid & write.data_ready))
    bench.always(~write.valid | (write.bytes == EVENT.length_bytes) | (write.bytes == COUNTER.length_bytes), "sizes")
    of_event, of_counter = (size.length_bytes // parameters.datapath_bytes for size in (EVENT, COUNTER))  # flits
    owed = Mux(event, of_event, 0) + Mux(counter, of_counter, 0) - beat
    not_asked = Mux(asks_event, of_event, 0) + Mux(asks_counter, of_counter, 0)
    bench.always((unwritten + not_asked)[:8] == owed[:8], "every write gets its flits")
    bench.always(streams | (beat == 0), "a transfer begins with its first flit")
    bench.always(~streams | (beat < Mux(event, of_event, of_counter)), "and ends with its last")

    queue = bench.part("requested")
    noted = Cat(context, epoch, requested.event, write.address)
    bench.always(queue.w_en == (write.valid & write.ready), "each write is remembered")
    bench.always(~queue.w_en | (queue.w_data == noted), "as it is")
    oldest, oldest_epoch = queue.r_data[:8], queue.r_data[8:24]
    present = chosen((one.epoch for one in block.states), oldest) == oldest_epoch
    bench.always(queue.r_en == write.done, "an answer is that of the oldest write")
    answered = write.done & present & queue.r_data[24] & (progress.answered_context == oldest)
    bench.always(~progress.answered | answered, "its context is told of it, in its life")
    now = chosen((one.epoch for one in block.states), context)
    bench.always(~progress.shown | ((progress.shown_context == context) & (now == epoch)), "and of its being shown")
    return bench


@theorem(
    4,
    "Counters",
    bugs=(
        Bug(
            function="rtl.nic.context.counters:Counters.elaborate",
            old="write.addr.eq(Cat(counter, context))",
            new="write.addr.eq(Cat(counter, 0 * context))",
        ),
        Bug(
            function="rtl.nic.context.counters:Counters.elaborate",
            old="read.addr.eq(Cat(self.counter[: len(counter)], self.context))",
            new="read.addr.eq(Cat(self.counter[: len(counter)], 0 * self.context))",
        ),
        Bug(
            function="rtl.nic.context.counters:Counters.elaborate",
            old="storing & present & (context == number)",
            new="storing & (context == number)",
        ),
        Bug(
            function="rtl.nic.context.counters:Counters.elaborate",
            old="write_touched.addr.eq(context)",
            new="write_touched.addr.eq(0)",
        ),
    ),
)
def counters() -> Bench:
    """A change of any counter of any context starts from what the last one of that counter left, if that was in the
    same life of the context, and else from 0. Rules: a change is one of the context's present life, and comes when the
    one before is stored; a restart, and nothing else, begins a new life."""
    bench = Bench(block := Counters(SMALL))
    m = bench.m
    context, counter = bench.constant("a_context", 8), bench.constant("a_counter", 8)
    bench.rule((context < SMALL.contexts) & (counter < SMALL.counters))
    bench.rule((block.context < SMALL.contexts) & (block.counter < SMALL.counters))
    hold_lives(bench, block)
    now, restarted = (
        chosen((getattr(one, name) for one in block.states), block.context) for name in ("epoch", "restarted")
    )
    adding, storing = bench.registers("storing", 1)
    bench.rule(~block.start | (~restarted & (now == block.epoch) & ~adding & ~storing))

    mine = block.start & (block.context == context) & (block.counter == counter)
    left, before, amounts = (Signal(128, name=name) for name in ("left", "before", "amounts"))
    changed, last = Signal(), Signal()  # in this life; the last change was the counter's
    with m.If(block.start):
        m.d.sync += last.eq(mine)
    with m.If(mine):
        m.d.sync += [before.eq(Mux(changed & ~block.set, left, 0)), amounts.eq(Cat(block.success, block.failure))]
        m.d.sync += changed.eq(1)
    with m.Elif(chosen((state.restarted for state in block.states), context)):
        m.d.sync += changed.eq(0)
    with m.If(storing & last):
        m.d.sync += left.eq(Cat(*block.sums))

    under_way = adding | storing
    row, touched = bench.row(Cat(counter[0], context[0]), "values"), bench.row(context, "touched")
    known = ~chosen(bench.register("fresh"), context) & chosen(touched, counter)
    settled = ~(last & under_way)
    bench.always(~settled | (known == changed), "whether it was changed in this life")
    bench.always(~(settled & changed) | (row == left), "what is kept")

    kept_context, kept_counter = bench.register("context"), bench.register("counter")
    bench.always(kept_context < SMALL.contexts, "a context that exists")
    bench.always(~under_way | (last == ((kept_context == context) & (kept_counter == counter))), "whose change it is")
    bench.always(~storing | (block.valid & ~adding), "one change at a time")
    read, read_touched = (bench.part(name)._read_ports[0].data for name in ("values", "touched"))
    own = under_way & (kept_context == context)
    bench.always(~own | (read_touched == touched), "what was known of the context's counters")
    keep = known & ~bench.register("replace")
    starts_from = Mux(keep, row, 0) == before
    bench.always(~(last & adding) | ((read == row) & starts_from), "what a change starts from")
    change = Cat(bench.register("success"), bench.register("failure"))
    bench.always(~(last & adding) | (change == amounts), "what is added")
    now, restarted = (chosen((getattr(one, name) for one in block.states), context) for name in ("epoch", "restarted"))
    lives = (now - restarted - bench.register("epoch"))[:16]  # that have begun since, before this cycle
    bench.always(~(last & under_way & changed) | (lives == 0), "in its life")
    bench.always(~(last & adding) | changed, "at first")
    fresh = chosen(bench.register("fresh"), context)
    bench.always(~(last & storing & ~changed) | (fresh & (lives == 1)), "or in the next one")
    return bench


@theorem(
    4,
    "Contexts",
    bugs=(
        Bug(
            function="rtl.nic.context.indices:Contexts._advance",
            old="self.events.answered & (self.events.answered_context == number)",
            new="self.events.answered",
        ),
        Bug(
            function="rtl.nic.context.indices:Contexts._live",
            old="epoch.eq(epoch + restart)",
            new="epoch.eq(epoch + state.restarted)",
        ),
        Bug(
            function="rtl.nic.context.indices:Contexts._live",
            old="enable & (opened | (start & ~self.busy[number]))",
            new="opened | (start & ~self.busy[number])",
        ),
        Bug(
            function="rtl.nic.context.indices:Contexts._accept",
            old="state.active & (consumed <= unread)",
            new="state.active",
        ),
    ),
)
def contexts() -> Bench:
    """A context's indices move by its own doorbells, commands and events alone, or begin anew with its life; no event
    is read that was not shown. Its life changes in the cycle in which it is said to restart and no other, and it is not
    active then. A life that was switched off does not go on."""
    bench = Bench(block := Contexts(SMALL))
    events = block.events
    for number, state in enumerate(block.states):
        own = {
            "command_tail": block.command_tail_proposed[number],
            "event_head": block.event_head_proposed[number],
            "command_fetched": block.fetched & (block.fetched_context == number),
            "command_head": block.retired & (block.retired_context == number),
            "event_tail": events.answered & (events.answered_context == number),
        }
        for name, moves in own.items():
            index = getattr(state, name)
            still = index == bench.past(index)
            bench.always(still | bench.past(moves | state.restarted), f"{name} of context {number}")
        lives = (bench.past(state.epoch) + state.restarted)[: len(state.epoch)]
        bench.always(~bench.past(1) | (state.epoch == lives), f"lives of context {number}")
        bench.always(~(state.restarted & state.active), f"context {number} rests while it restarts")
        opened, started = bench.register(f"opened_{number}"), bench.register(f"started_{number}")
        bench.always(~opened | (started & ~state.restarted), f"context {number} was started")
        _, ended = progress_of_life(bench, state)
        bench.always(~(state.active & ended), f"an old life of context {number}")
        bench.always(~ended | ~(opened | started), f"is over, which context {number} knows")
        bench.always(~bench.past(state.active) | opened, f"one of context {number} lasts")
        unread = (bench.register(f"events_shown_{number}") - state.event_head)[:32]
        read = (state.event_head - bench.past(state.event_head))[:32]
        bench.always(bench.past(state.restarted) | (read <= bench.past(unread)), f"events read of context {number}")
    return bench


@theorem(
    4,
    "Tallies",
    bugs=(
        Bug(
            function="rtl.nic.context.tallies:Tallies.elaborate",
            old="pulse & (self.context == number)",
            new="pulse",
        ),
    ),
)
def tallies() -> Bench:
    """What is counted of messages sent in vain is counted for the context that they were sent to."""
    bench = Bench(block := Tallies(SMALL))
    for number, state in enumerate(block.states):
        for count in (block.drops[number], block.violations[number]):
            still = count == bench.past(count)
            bench.always(still | bench.past((block.context == number) | state.restarted), f"context {number}")
    return bench
