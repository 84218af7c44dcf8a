"""How many messages of each match entry have ended."""

from amaranth import Cat, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.nic.interfaces.widths import CONTEXT_WIDTH
from rtl.nic.parameters import NicParameters
from rtl.nic.target.matching.tables import count_width, index_width


class Ends(wiring.Component):
    """Counts modulo more than can be under way at a time, beside the tables and at any time.

    `count`, only if `ready`, adds one to `entry` of `context`; from the next cycle on `before` is how many there were
    before it. In the cycle after `look`, `ended` is the number of `look_entry`, with all that was counted up to the
    cycle before. `clear`, only if `clearable`, makes the number of `clear_entry` zero. What is counted is written in
    the next cycle, unless that clears something: then in the one after, in which nothing may be cleared.
    """

    def __init__(self, parameters: NicParameters) -> None:
        self._parameters = parameters
        entry = index_width(parameters.match_entries)
        width = count_width(parameters)
        super().__init__(
            {
                "ready": Out(1),
                "count": In(1),
                "context": In(CONTEXT_WIDTH),
                "entry": In(entry),
                "before": Out(width),
                "look": In(1),
                "look_context": In(CONTEXT_WIDTH),
                "look_entry": In(entry),
                "ended": Out(width),
                "clearable": Out(1),
                "clear": In(1),
                "clear_context": In(CONTEXT_WIDTH),
                "clear_entry": In(entry),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        entries = self._parameters.contexts * self._parameters.match_entries
        m.submodules.numbers = numbers = Memory(shape=len(self.ended), depth=entries, init=[])
        write = numbers.write_port()
        counted, looked = numbers.read_port(), numbers.read_port(transparent_for=(write,))
        counting = Signal()  # what was counted is still to be written
        delayed = Signal()
        address = Signal.like(write.addr)
        m.d.comb += [
            self.ready.eq(~counting),
            self.clearable.eq(~delayed),
            self.quiescent.eq(~(counting | delayed)),
            counted.addr.eq(self._address(self.context, self.entry)),
            counted.en.eq(self.count),
            self.before.eq(counted.data),
            looked.addr.eq(self._address(self.look_context, self.look_entry)),
            looked.en.eq(self.look),
            self.ended.eq(looked.data),
            write.en.eq(counting | self.clear),
            write.addr.eq(address),
            write.data.eq(counted.data + 1),
        ]
        with m.If(self.clear):
            m.d.comb += [write.addr.eq(self._address(self.clear_context, self.clear_entry)), write.data.eq(0)]
        with m.If(self.count):
            m.d.sync += address.eq(counted.addr)
        m.d.sync += [counting.eq(self.count | (counting & self.clear)), delayed.eq(counting & self.clear)]
        return m

    def _address(self, context: Value, entry: Value) -> Value:
        return Cat(entry[: self._parameters.match_entries.bit_length() - 1], context)
