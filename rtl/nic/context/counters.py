"""The counting events of all contexts."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.nic.expressions import select
from rtl.nic.interfaces.context import ContextState
from rtl.nic.interfaces.widths import CONTEXT_WIDTH, EPOCH_WIDTH
from rtl.nic.parameters import NicParameters


class Counters(wiring.Component):
    """One change at a time: `start` pulses with all that goes with it, which is used in that cycle alone.

    Two cycles later `sums` (successes, failures) are what the counter is then, until the next `start`, which comes no
    earlier than another cycle later. `valid` says that they are there.

    A context's counters are 0 when it starts. Nothing is swept for that: memory keeps a bit for each counter, which
    says whether it has been changed since, and a context's first change clears the bits of all its counters.
    """

    def __init__(self, parameters: NicParameters) -> None:
        self._contexts = parameters.contexts
        self._counters = parameters.counters
        super().__init__(
            {
                "states": In(ContextState()).array(parameters.contexts),
                "start": In(1),
                "context": In(CONTEXT_WIDTH),
                "epoch": In(EPOCH_WIDTH),
                "counter": In(8),
                "set": In(1),
                "success": In(64),
                "failure": In(64),
                "valid": Out(1),
                "sums": Out(64).array(2),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.values = values = Memory(shape=128, depth=self._contexts * self._counters, init=[])
        m.submodules.touched = touched = Memory(shape=self._counters, depth=self._contexts, init=[])
        write, write_touched = values.write_port(), touched.write_port()
        read, read_touched = values.read_port(), touched.read_port()

        context = Signal(CONTEXT_WIDTH)
        epoch = Signal(EPOCH_WIDTH)
        counter = Signal(range(self._counters))
        replace = Signal()
        amounts = [Signal(64, name="success"), Signal(64, name="failure")]
        adding, storing = Signal(), Signal()
        fresh = Signal(self._contexts, init=-1)
        known = Signal(self._counters)  # which counters of this context have been changed in this life

        m.d.comb += [
            read.en.eq(self.start),
            read.addr.eq(Cat(self.counter[: len(counter)], self.context)),
            read_touched.en.eq(self.start),
            read_touched.addr.eq(self.context),
        ]
        with m.If(self.start):
            m.d.sync += [
                context.eq(self.context),
                epoch.eq(self.epoch),
                counter.eq(self.counter),
                replace.eq(self.set),
                *(signal.eq(value) for signal, value in zip(amounts, (self.success, self.failure), strict=True)),
            ]
        m.d.sync += [adding.eq(self.start), storing.eq(adding)]
        with m.If(self.start):
            m.d.sync += self.valid.eq(0)
        m.d.comb += known.eq(Mux(select(list(fresh), context), 0, read_touched.data))
        with m.If(adding):
            keep = known.bit_select(counter, 1) & ~replace
            m.d.sync += self.valid.eq(1)
            for index, amount in enumerate(amounts):
                old = read.data[64 * index : 64 * index + 64]
                m.d.sync += self.sums[index].eq(Mux(keep, old, 0) + amount)

        m.d.comb += [
            write.en.eq(storing),
            write.addr.eq(Cat(counter, context)),
            write.data.eq(Cat(*self.sums)),
            write_touched.en.eq(storing),
            write_touched.addr.eq(context),
            write_touched.data.eq(known | (1 << counter)),
        ]
        # A life that has ended meanwhile must not say that the bits of the next one are those in memory.
        present = select([state.epoch for state in self.states], context) == epoch
        for number, state in enumerate(self.states):
            with m.If(state.restarted):
                m.d.sync += fresh[number].eq(1)
            with m.Elif(storing & present & (context == number)):
                m.d.sync += fresh[number].eq(0)
        restarting = Cat(*(state.restarted for state in self.states)).any()
        m.d.comb += self.quiescent.eq(~(self.start | adding | storing | restarting))
        return m
