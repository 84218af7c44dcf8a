"""A message is given up only after a long enough silence; there is one between two interrupts of a context, too."""

from amaranth import Mux, Signal

from rtl.nic.context.moderation import Moderation
from rtl.nic.target.deadlines import Deadlines
from tests.formal.bench import Bench
from tests.formal.theorems import SMALL, Bug, theorem


@theorem(
    4,
    "Deadlines",
    bugs=(
        Bug(function="rtl.nic.deadlines:is_overdue", old=">= 2", new=">= 1"),
        Bug(
            function="rtl.nic.deadlines:Walk.elaborate",
            old="elapsed + 1 >= self.timeout",
            new="(elapsed << 1) >= self.timeout",
        ),
        Bug(
            function="rtl.nic.target.deadlines:Deadlines.elaborate",
            old="write.data.tick.eq(walk.tick)",
            new="write.data.tick.eq(walk.tick - 1)",
        ),
        Bug(
            function="rtl.nic.target.deadlines:Deadlines.elaborate",
            old="read.en.eq(walk.look | self.look)",
            new="read.en.eq(walk.look)",
        ),
    ),
)
def messages() -> Bench:
    """A message that is looked at and said to be overdue is under way, and no packet of it has come for as many cycles
    as RESPONSE_TIMEOUT says. Rules: the timeout stays as it is, and no packet comes in the cycle of the look."""
    bench = Bench(block := Deadlines(SMALL))
    m = bench.m
    slot = bench.constant("followed", len(block.slot))
    timeout = bench.constant("cycles", len(block.timeout))
    bench.rule(block.timeout == timeout)
    bench.rule(~(block.look & block.note))
    tick, elapsed = bench.register("tick", "walk"), bench.register("elapsed", "walk")
    comes = block.note & (block.slot == slot)
    waits = Signal()  # what the last packet of the slot said
    silence = Signal(len(timeout) + 1)  # cycles since then, as far as they matter
    known = Signal(range(3))  # ticks that have begun since then, up to two, but for one that has just begun
    ticks = Signal.like(known)
    m.d.comb += ticks.eq(Mux((tick != bench.past(tick)) & (known != 2), known + 1, known))
    with m.If(comes):
        m.d.sync += [waits.eq(block.waits), silence.eq(1), known.eq(0)]
    with m.Else():
        m.d.sync += [silence.eq(Mux(silence.all(), silence, silence + 1)), known.eq(ticks)]
    looked = bench.past(block.look & (block.offered_slot == slot))
    bench.always(~(looked & block.overdue) | (waits & (silence >= timeout)), "silent for long enough")

    stamp = bench.row(slot, "stamps")
    read = bench.part("stamps")._read_ports[0].data.as_value()
    bench.always(known <= 2, "no more than two are counted")
    bench.always(stamp[0] == waits, "whether it waits is kept")
    bench.always(~waits | (ticks == 2) | (stamp[1:] == (tick - ticks)[: len(tick)]), "and in which tick it was stamped")
    bench.always(~waits | (ticks != 1) | (silence > elapsed), "all of the second tick is silence")
    bench.always(~waits | (ticks != 2) | (silence >= timeout), "and when it is over, there has been enough")
    bench.always(~looked | (read == stamp), "what is looked at is what is kept")
    return bench


@theorem(
    4,
    "Moderation",
    bugs=(
        Bug(
            function="rtl.nic.context.moderation:Moderation.elaborate",
            old="m.d.sync += [waiting.eq(0), elapsed.eq(0)]",
            new="m.d.sync += [waiting.eq(0), elapsed.eq(0), silence.eq(0)]",
        ),
        Bug(
            function="rtl.nic.context.moderation:Moderation.elaborate",
            old="Mux(due, self.interval, silence - silence.any())",
            new="silence - silence.any()",
        ),
        Bug(
            function="rtl.nic.context.moderation:Moderation.elaborate",
            old="silence <= 1",
            new="silence <= 2",
        ),
        Bug(
            function="rtl.nic.context.moderation:Moderation.elaborate",
            old="counted & ~waiting.all()",
            new="counted",
        ),
    ),
)
def interrupts() -> Bench:
    """Between two interrupts of a context there are as many cycles as INTERRUPT_INTERVAL said at the first one,
    whatever the context's registers say and however often it restarts meanwhile. What has happened is not forgotten but
    by an interrupt, a restart, or because it is of no interest any more."""
    bench = Bench(block := Moderation(SMALL))
    m = bench.m
    for number, (registers, state) in enumerate(zip(block.contexts, block.states, strict=True)):
        called = block.interrupts[number]
        interval = Signal.like(block.interval, name=f"interval_{number}")  # at the last interrupt
        since = Signal(len(interval) + 1, init=1, name=f"since_{number}")  # cycles, as far as they matter
        m.d.sync += since.eq(Mux(called, 1, since + ~since.all()))
        with m.If(called):
            m.d.sync += interval.eq(block.interval)
        bench.always(~called | (since >= interval), f"context {number}: far enough apart")

        silence, waiting = bench.register(f"silence_{number}"), bench.register(f"waiting_{number}")
        left = Mux(since > interval, 0, interval - since + 1)
        bench.always(silence == left, f"context {number}: the silence that is left")
        told = called | state.restarted | ~(registers.interrupt | registers.counter_interrupt)
        bench.always(~bench.past(waiting.any() & ~told) | waiting.any(), f"context {number}: nothing is forgotten")
    return bench
