"""Counts every refusal by reason, and keeps for the kernel who was refused what, where and when."""

from typing import Any

from amaranth import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from rtl.nic.arbitration import next_in_turn
from rtl.nic.expressions import select
from rtl.nic.interfaces.reports import RefusalPort
from rtl.nic.interfaces.widths import CONTEXT_WIDTH, NO_CONTEXT
from rtl.nic.parameters import NicParameters
from rtl.portals import Refusal

PAGE_LOG2_BYTES = 16
TIME_WIDTH = 64
INTERVAL_WIDTH = 32
LOST_WIDTH = 32
BACKLOG_WIDTH = 8


class LogPort(wiring.Signature):
    """The oldest entry of a log, seen from the log.

    `held`: there is one; without it its fields are 0. It stays until `acknowledge`, a pulse, which does nothing to an
    empty log. `due`: it is time to look at it. `time` is when it was entered. `lost` refusals found no room, and were
    counted alone; it stays at its maximum.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "held": Out(1),
                "due": Out(1),
                "reason": Out(8),
                "context": Out(CONTEXT_WIDTH),
                "detail": Out(64),
                "time": Out(TIME_WIDTH),
                "lost": Out(LOST_WIDTH),
                "acknowledge": In(1),
            }
        )


class RefusalLog(wiring.Component):
    """The first `depth` refusals of several sources that have not been acknowledged.

    One is entered each cycle, the sources in turn, at the earliest in the cycle after its pulse; of each source one can
    wait. `time` may change in every cycle. An entry is due two cycles after it was entered, but no earlier than
    `interval` after the last acknowledgement: a flood is told of as rarely as that.
    """

    def __init__(self, *, sources: int, depth: int = 64) -> None:
        self._depth = depth
        super().__init__(
            {
                "refusals": In(RefusalPort()).array(sources),
                "time": In(TIME_WIDTH),
                "interval": In(INTERVAL_WIDTH),
                "log": Out(LogPort()),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        width = 8 + CONTEXT_WIDTH + 64
        m.submodules.entries = entries = SyncFIFO(width=width + TIME_WIDTH, depth=self._depth)
        waiting = Signal(len(self.refusals))
        entered = Signal(range(max(len(self.refusals), 2)))
        index = next_in_turn(m, waiting, entered)
        with m.If(waiting.any()):
            m.d.sync += entered.eq(index)
        texts = []
        overrun = []
        for number, refusal in enumerate(self.refusals):
            text = Signal(width, name=f"refusal_{number}")
            leaves = waiting[number] & (index == number)
            free = ~waiting[number] | leaves
            m.d.sync += waiting[number].eq(refusal.valid | ~free)
            with m.If(refusal.valid & free):
                m.d.sync += text.eq(Cat(refusal.reason, refusal.context, refusal.detail))
            texts.append(text)
            overrun.append(refusal.valid & ~free)
        m.d.comb += [
            entries.w_en.eq(waiting.any()),
            entries.w_data.eq(Cat(select(texts, index), self.time)),
            entries.r_en.eq(self.log.acknowledge),
            self.log.held.eq(entries.r_rdy),
        ]
        with m.If(entries.r_rdy):
            fields = Cat(self.log.reason, self.log.context, self.log.detail, self.log.time)
            m.d.comb += fields.eq(entries.r_data)
        self._fall_due(m)
        self._lose(m, [*overrun, waiting.any() & ~entries.w_rdy])
        pulses = Cat(*(refusal.valid for refusal in self.refusals))
        waits = self.log.held ^ self.log.due
        m.d.comb += self.quiescent.eq(~(pulses.any() | waiting.any() | self.log.acknowledge | waits))
        return m

    def _fall_due(self, m: Module) -> None:
        earliest = Signal(TIME_WIDTH)
        with m.If(self.log.acknowledge):
            m.d.sync += earliest.eq(self.time + self.interval)
        m.d.sync += self.log.due.eq(self.log.held & ~self.log.acknowledge & (self.log.due | (self.time >= earliest)))

    def _lose(self, m: Module, losses: list[Value]) -> None:
        lost = Signal(LOST_WIDTH + 1)
        m.d.comb += lost.eq(self.log.lost + sum(losses, Value.cast(0)))
        m.d.sync += self.log.lost.eq(Mux(lost[LOST_WIDTH], (1 << LOST_WIDTH) - 1, lost))


class Refusals(wiring.Component):
    """`counts[reason]` pulses once for every refusal, at the latest when the refusals pause.

    Sources may refuse together, for one reason or several: up to 255 more than cycles have gone by are remembered,
    and no source refuses nearly as often. What this node's own processes were refused (accesses, and `processes`:
    commands, their events) and what the packets were stand in logs of their own, so that a flood of one hides nothing
    of the other. An access is of the context whose page it was to, or of none (255); its detail is the address.

    INT_STATUS shows `processes_log.due` and `packets_log.due` as they are: levels, which fall with an acknowledgement
    and rise again after `interval` cycles if there is still an entry.
    """

    def __init__(self, parameters: NicParameters, *, process_sources: int, packet_sources: int) -> None:
        self._contexts = parameters.contexts
        super().__init__(
            {
                "access_refused": In(1),
                "access_unprivileged": In(1),
                "access_address": In(32),
                "processes": In(RefusalPort()).array(process_sources),
                "packets": In(RefusalPort()).array(packet_sources),
                "time": In(TIME_WIDTH),
                "interval": In(INTERVAL_WIDTH),
                "processes_log": Out(LogPort()),
                "packets_log": Out(LogPort()),
                "counts": Out(len(Refusal)),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        access = RefusalPort().create()
        page = self.access_address[PAGE_LOG2_BYTES:]
        m.d.comb += [
            access.valid.eq(self.access_refused | self.access_unprivileged),
            access.reason.eq(Mux(self.access_unprivileged, Refusal.ACCESS_UNPRIVILEGED, Refusal.ACCESS_REFUSED)),
            access.context.eq(Mux((page != 0) & (page <= self._contexts), page - 1, NO_CONTEXT)),
            access.detail.eq(self.access_address),
        ]
        quiet = []
        for name, sources in (("processes", [access, *self.processes]), ("packets", [*self.packets])):
            m.submodules[f"{name}_log"] = log = RefusalLog(sources=len(sources))
            quiet.append(log.quiescent)
            wiring.connect(m, wiring.flipped(getattr(self, f"{name}_log")), log.log)
            for source, refusal in zip(sources, log.refusals, strict=True):
                m.d.comb += [getattr(refusal, field).eq(getattr(source, field)) for field in RefusalPort().members]
            m.d.comb += [log.time.eq(self.time), log.interval.eq(self.interval)]
        ports = [access, *self.processes, *self.packets]
        busy = [self._count(m, reason, ports) for reason in Refusal if reason is not Refusal.NONE]
        m.d.comb += self.quiescent.eq(Cat(*quiet).all() & ~Cat(*busy).any())
        return m

    def _count(self, m: Module, reason: Refusal, ports: list[Any]) -> Value:
        """A counter takes one refusal at a time. Returns whether there is something to count."""
        pulses = [port.valid & (port.reason == reason) for port in ports]
        backlog = Signal(BACKLOG_WIDTH, name=f"backlog_{reason.name.lower()}")
        counted = Signal(name=f"counted_{reason.name.lower()}")
        busy = Cat(*pulses).any() | counted
        m.d.comb += [counted.eq(backlog.any()), self.counts[reason].eq(counted)]
        m.d.sync += backlog.eq(backlog + sum(pulses, Value.cast(0)) - counted)
        return busy
