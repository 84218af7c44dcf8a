"""Tells processes that a get of their memory has been answered: events and counter, when the reply has left, and the
match unit after them."""

from collections.abc import Sequence

from amaranth import Cat, Module, Mux, Signal, Value, ValueLike, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.nic.expressions import FieldsOf, fit
from rtl.nic.interfaces.reports import EventPort, ReservePort
from rtl.nic.interfaces.widths import CONTEXT_WIDTH, ENTRY_WIDTH, EPOCH_WIDTH, EVENT_REQUEST_WORDS
from rtl.nic.target.stages import finish_part
from rtl.portals import EVENT, Fail

# What is to be told of a reply that leaves as it ought to.
REPORT = data.StructLayout(
    {
        "context": CONTEXT_WIDTH,
        "epoch": EPOCH_WIDTH,
        "event": 1,
        "event_success_disable": 1,
        "event_words": data.ArrayLayout(unsigned(64), EVENT_REQUEST_WORDS),
        "unlink_event": 1,
        "unlink_words": data.ArrayLayout(unsigned(64), EVENT_REQUEST_WORDS),
        "counter_valid": 1,
        "counter": 8,
        "success": 64,
        "failure": 64,
        "matched": 1,
        "entry": ENTRY_WIDTH,
        "overflow": 1,
        "unexpected": 1,
        "header": ENTRY_WIDTH,
    }
)


class ReplyReports(wiring.Component):
    """Keeps a report for each of `slots` replies, and gives it out when the reply is over.

    `store` pulses to put `report` into `store_slot`. `over` pulses when the reply of `over_slot` has left, and with it
    `over_failed` says that it was cut short: then the event says SEGMENT and 0 bytes, the counter counts a failure.
    Replies are reported in the order in which they end; `free` pulses when `freed_slot` has been.
    """

    def __init__(self, slots: int) -> None:
        self._slots = slots
        super().__init__(
            {
                "store": In(1),
                "store_slot": In(range(slots)),
                "report": In(REPORT),
                "over": In(1),
                "over_slot": In(range(slots)),
                "over_failed": In(1),
                "free": Out(1),
                "freed_slot": Out(range(slots)),
                "o_event": Out(EventPort()),
                "reserve": Out(ReservePort()),
                "finish": Out(finish_part()),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.reports = reports = Memory(shape=REPORT, depth=self._slots, init=[])
        write, read = reports.write_port(), reports.read_port()
        entry = data.StructLayout({"slot": range(self._slots), "failed": unsigned(1)})
        m.submodules.ended = ended = SyncFIFOBuffered(width=entry.size, depth=self._slots)
        oldest = data.View(entry, ended.r_data)
        unlinks = Signal()
        m.d.comb += [
            write.en.eq(self.store),
            write.addr.eq(self.store_slot),
            write.data.eq(self.report),
            read.addr.eq(oldest.slot),
            read.en.eq(0),  # its reset value is 1
            ended.w_en.eq(self.over),
            ended.w_data.eq(Cat(self.over_slot, self.over_failed)),
            ended.r_en.eq(self.free),
            self.freed_slot.eq(oldest.slot),
        ]
        wanted = self._compose(m, read.data, oldest.failed, unlinks)

        with m.FSM(name="reports"):
            with m.State("Await-Reply"):
                # A slot whose reply has ended is not free: see `Answers`.
                apart = self.store_slot != oldest.slot
                m.d.comb += [read.en.eq(ended.r_rdy & (~self.store | apart)), self.quiescent.eq(~ended.level.any())]
                with m.If(ended.r_rdy):
                    m.next = "Report-Message"
            with m.State("Report-Message"):
                m.d.comb += self.o_event.valid.eq(wanted | self.o_event.counter_valid)
                with m.If(self.o_event.ready | ~self.o_event.valid):
                    m.d.comb += self.reserve.release_valid.eq(read.data.event & ~wanted)
                    with m.If(read.data.unlink_event):
                        m.next = "Report-Unlink"
                    with m.Else():
                        self._finish(m, read.data)
            with m.State("Report-Unlink"):
                m.d.comb += [unlinks.eq(1), self.o_event.valid.eq(1)]
                with m.If(self.o_event.ready):
                    self._finish(m, read.data)
            with m.State("Finish-Message"):
                m.d.comb += self.finish.finish.eq(1)
                with m.If(self.finish.finish_ready):
                    self._free(m)
        return m

    def _finish(self, m: Module, report: data.View) -> None:
        """All is told but to the match unit, if the message matched."""
        with m.If(report.matched):
            m.next = "Finish-Message"
        with m.Else():
            self._free(m)

    def _free(self, m: Module) -> None:
        m.d.comb += self.free.eq(1)
        m.next = "Await-Reply"

    def _compose(self, m: Module, report: data.View, failed: Value, unlinks: Value) -> Value:
        """The event port's payload; whether the message's event is wanted."""
        words = [report.event_words[index] for index in range(EVENT_REQUEST_WORDS)]
        wanted = Signal()
        good = ~failed & (FieldsOf(EVENT, words).fail == Fail.OK)
        m.d.comb += [
            wanted.eq(report.event & ~(good & report.event_success_disable)),
            self.finish.finish_context.eq(report.context),
            self.finish.finish_epoch.eq(report.epoch),
            *(
                getattr(self.finish, f"finish_{name}").eq(report[name])
                for name in ("entry", "overflow", "unexpected", "header")
            ),
            self.finish.finish_failed.eq(~good),
            self.reserve.release_context.eq(report.context),
            self.reserve.release_epoch.eq(report.epoch),
            self.reserve.release_count.eq(1),
            self.o_event.context.eq(report.context),
            self.o_event.epoch.eq(report.epoch),
            self.o_event.event.eq(wanted | unlinks),
            self.o_event.counter_valid.eq(report.counter_valid & ~unlinks),
            self.o_event.counter.eq(report.counter),
            self.o_event.success.eq(Mux(failed, 0, report.success)),
            self.o_event.failure.eq(Mux(failed, 1, report.failure)),
        ]
        mended = _replace(_replace(words, "manipulated_bytes", 0), "fail", Fail.SEGMENT)
        for index, word in enumerate(words):
            told = Mux(failed, mended[index], word)
            m.d.comb += self.o_event.words[index].eq(Mux(unlinks, report.unlink_words[index], told))
        return wanted


def _replace(words: Sequence[Value], name: str, value: ValueLike) -> list[Value]:
    """The words of an event with field `name` set to `value`."""
    field = EVENT.fields[name]
    word = words[field.word]
    mended = Cat(word[: field.lsb], fit(value, field.width), word[field.lsb + field.width :])
    return [mended if index == field.word else other for index, other in enumerate(words)]
