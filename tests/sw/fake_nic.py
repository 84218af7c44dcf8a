"""The NIC as software sees it: its registers in front of the golden model, with just enough timing of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from rtl.nic.parameters import NicParameters
from rtl.portals import COMMAND, Refusal
from rtl.registers import Register
from sw.kernel.hardware import BusError
from tests.golden.context import Right, Settings, Window
from tests.golden.effects import Effects, Pause, Refused
from tests.golden.memory import Memory
from tests.golden.model import GoldenNic

if TYPE_CHECKING:
    from fake_machine import Hub

MASK32 = 0xFFFF_FFFF
STEP_PS = 100_000  # of a command or a packet of one
CLOCK_PERIOD_PS = 4_000
LOG_DEPTH = 64
NO_CONTEXT = 255
BUSY_READS = 3  # of CONTROL after a context was switched off
RIGHTS = ("local_read", "local_write", "remote_read", "remote_write")


class HostMemory(Memory):
    """A node's memory, shared with its cores."""

    def __init__(self, data: np.ndarray) -> None:
        super().__init__(0)
        self.bytes = memoryview(data)  # type: ignore[assignment]


class Fabric:
    def __init__(self, hub: Hub, latency_ps: int) -> None:
        self.nics: list[FakeNic] = []
        self.packets: list[Sequence[int]] = []
        self._hub = hub
        self._latency_ps = latency_ps

    def attach(self, nic: FakeNic) -> None:
        self.nics.append(nic)

    def send(self, dst_nid: int, flits: Sequence[int], response: bool) -> None:
        self.packets.append(flits)
        if dst_nid >= len(self.nics):
            return
        self._hub.at(self._hub.now_ps + self._latency_ps, lambda: self.nics[dst_nid].receive(flits, response))


class Log:
    """A violation log's registers."""

    def __init__(self) -> None:
        self.entries: deque[dict[str, int]] = deque()
        self.lost = 0

    def enter(self, **entry: int) -> None:
        if len(self.entries) < LOG_DEPTH:
            self.entries.append(entry)
        else:
            self.lost += 1


class FakeNic:
    def __init__(
        self, *, nid: int, hub: Hub, fabric: Fabric, parameters: NicParameters, memory: np.ndarray, base: int,
        length: int, on_interrupt: Sequence[Callable[[], None]],
    ) -> None:  # fmt: skip
        self.base = base
        self.length = length
        registers = self.registers = parameters.registers
        self.parameters = parameters
        self.model = GoldenNic(parameters, nid, HostMemory(memory))
        self.logs = {"VIOLATION_LOG": Log(), "PACKET_LOG": Log()}
        self._hub = hub
        self._fabric = fabric
        self._on_interrupt = on_interrupt
        self._by_address = {register.address: register for register in registers.registers}
        self._by_path = {register.path: register for register in registers.registers}
        self._values = {
            register.address: sum(field.reset << field.lsb for field in register.fields)
            for register in registers.registers
        }
        self._busy = False
        self._next = 0
        self._stuck: set[int] = set()  # contexts whose command waits for something else to happen
        self._unsignalled = [0] * parameters.contexts
        self._busy_reads = [0] * parameters.contexts  # of CONTROL, until a closed context is done with its memory
        self.stuck: set[int] = set()  # contexts that never say that they are done
        for path in ("CAPABILITIES", "CAPABILITIES_MATCHING"):
            for built in self._by_path[path].fields:
                self.set(path, **{built.name: getattr(parameters, built.name)})

    # ---- registers ----

    def get(self, path: str, field: str | None = None) -> int:
        register = self._by_path[path]
        value = self._values[register.address]
        if field is None:
            return value
        spec = register.field(field)
        return (value & spec.mask) >> spec.lsb

    def set(self, path: str, **fields: int) -> None:
        register = self._by_path[path]
        for name, value in fields.items():
            spec = register.field(name)
            self._values[register.address] &= ~spec.mask
            self._values[register.address] |= value << spec.lsb & spec.mask

    def count(self, name: str) -> None:
        self.set(name, count=self.get(name, "count") + 1)

    def _poke(self) -> None:
        for poke in self._on_interrupt:
            poke()

    def pending(self, line: int) -> int:
        """What interrupts a core: bits of contexts whose interrupts go there; the first one, those of the logs, too."""
        status, contexts = self.get("INT_STATUS") & self.get("INT_ENABLE"), range(self.parameters.contexts)
        here = sum(1 << number for number in contexts if self.get(f"CONTEXT[{number}].CONTROL", "line") == line)
        logs = 0 if line else -1 << self.parameters.contexts
        return status & (here | logs)

    def load(self, address: int, privileged: bool) -> int:
        register = self._reach(address - self.base, privileged, write=False)
        if register.path.endswith(".PENDING"):
            return self.pending(self._index(register.path))
        if register.path not in ("INT_STATUS", "INT_ENABLE"):
            self._show()
        if register.path.endswith(".CONTROL"):
            self._show_busy(self._index(register.path))
        return self._values[register.address]

    def store(self, address: int, value: int, privileged: bool) -> int:
        register = self._reach(address - self.base, privileged, write=True)
        if not register.writable or (register.checked and not self._accepts(register, value)):
            self._refuse_access(register.address, write=True)
        before = self._values[register.address]
        if register.path == "INT_STATUS":
            contexts = register.field("context").mask
            self._values[register.address] = before & ~(value & contexts)
            return 0
        mask = sum(field.mask for field in register.fields if "w" in field.software)
        self._values[register.address] = value & mask
        self._changed(register.path, value, before)
        self._poke()
        return 0

    def _changed(self, path: str, value: int, before: int) -> None:
        """What a write to a register does besides."""
        if path.startswith("CONTEXT["):
            number = self._index(path)
            self.model.configure(number, self._settings(number))
            if path.endswith(".CONTROL") and (value ^ before) & 1:
                self._switch(number, on=bool(value & 1))
        elif path.endswith(".COMMAND_TAIL"):
            self._kick()
        elif path.endswith(".EVENT_HEAD"):
            self._done(self.model.event_head(self._index(path), value))
        elif path.endswith(".ACKNOWLEDGE"):
            self.logs[path.split(".")[0]].entries.popleft()
            self._show_logs()

    def _switch(self, number: int, *, on: bool) -> None:
        if not on:
            self._busy_reads[number] = BUSY_READS
            self._done(self.model.disable(number))
            return
        assert not self._busy_reads[number], "a context is opened whose last life may still touch memory"
        self.model.enable(number)
        self._stuck.discard(number)
        self._unsignalled[number] = 0
        for name in ("COMMAND_TAIL", "EVENT_HEAD"):
            self.set(f"PAGE[{number}].{name}", index=0)

    def _show_busy(self, number: int) -> None:
        self.set(f"CONTEXT[{number}].CONTROL", busy=self._busy_reads[number] > 0)
        if number not in self.stuck:
            self._busy_reads[number] = max(self._busy_reads[number] - 1, 0)

    @property
    def busy(self) -> bool:
        """Whether it has yet to say of a closed context that its memory is touched no more."""
        return any(self._busy_reads)

    def _settings(self, number: int) -> Settings:
        own = f"CONTEXT[{number}]"
        windows = []
        for index in range(self.parameters.windows):
            path = f"{own}.WINDOW[{index}]"
            rights = sum(right for right, name in zip(Right, RIGHTS, strict=False) if self.get(f"{path}.RIGHTS", name))
            windows.append(
                Window(base=self.get(f"{path}.BASE"), length=self.get(f"{path}.LENGTH"), rights=Right(rights))
            )
        return Settings(
            pid=self.get(f"{own}.IDENTITY", "pid"),
            jid=self.get(f"{own}.IDENTITY", "jid"),
            windows=windows,
            event_base=self.get(f"{own}.EVENT_BASE"),
            event_log2=self.get(f"{own}.EVENT_SIZE", "log2"),
            counter_base=self.get(f"{own}.COUNTER_BASE"),
        )

    def _show(self) -> None:
        """Bring the registers that the model and the logs stand behind up to date."""
        for context in self.model.contexts:
            page, identity = f"PAGE[{context.number}]", self.get(f"CONTEXT[{context.number}].IDENTITY")
            self.set(f"{page}.COMMAND_HEAD", index=context.command_head & MASK32)
            self.set(f"{page}.EVENT_TAIL", index=context.queue.tail)
            self.set(f"{page}.REFUSED", count=context.refused)
            self.set(f"{page}.DROPPED", count=context.dropped)
            self.set(f"{page}.VIOLATIONS", count=context.violations)
            self.set(f"{page}.IDENTITY", nid=self.get("NODE_ID", "nid"), pid=identity & 0xFFFF, jid=identity >> 32)
        for name, log in self.logs.items():
            entry = log.entries[0] if log.entries else {"reason": 0, "context": 0, "detail": 0, "cycle": 0}
            self.set(f"{name}.CAUSE", reason=entry["reason"], context=entry["context"])
            self.set(f"{name}.DETAIL", detail=entry["detail"])
            self.set(f"{name}.TIME", cycle=entry["cycle"])
            self.set(f"{name}.LOST", count=log.lost)

    def _show_logs(self) -> None:
        held = {name: bool(log.entries) for name, log in self.logs.items()}
        self.set("INT_STATUS", violation=held["VIOLATION_LOG"], packet=held["PACKET_LOG"])

    @staticmethod
    def _index(path: str) -> int:
        return int(path[path.index("[") + 1 : path.index("]")])

    def _reach(self, address: int, privileged: bool, write: bool) -> Register:
        register = self._by_address.get(address)
        if register is None:
            self._refuse_access(address, write)
        if register.privileged and not privileged:
            self._refuse_access(address, write, Refusal.ACCESS_UNPRIVILEGED)
        return register

    def _refuse_access(self, address: int, write: bool, reason: Refusal = Refusal.ACCESS_REFUSED) -> None:
        page = address // 0x10000 - 1
        number = page if 0 <= page < self.parameters.contexts else NO_CONTEXT
        self._refuse("VIOLATION_LOG", reason, number, address)
        raise BusError(address=self.base + address, write=write, response=2)

    def _refuse(self, log: str, reason: Refusal, context: int, detail: int) -> None:
        self.count(reason.name)
        cycle = self._hub.now_ps // CLOCK_PERIOD_PS
        self.logs[log].enter(reason=reason, context=context, detail=detail, cycle=cycle)
        self._show_logs()
        self._poke()

    def _accepts(self, register: Register, value: int) -> bool:
        if register.path == "NODE_ID":
            return not self.get("NODE_ID", "locked")
        if register.path.endswith(".ACKNOWLEDGE"):
            return bool(self.logs[register.path.split(".")[0]].entries)
        number = self._index(register.path)
        context = self.model.contexts[number]
        if not context.active or value >> 32:
            return False
        old = self._values[register.address]
        if register.path.endswith("COMMAND_TAIL"):
            limit = context.command_head + (1 << self.get(f"CONTEXT[{number}].COMMAND_SIZE", "log2"))
        else:
            limit = context.queue.tail
        return (value - old) & MASK32 <= (limit - old) & MASK32

    # ---- commands ----

    def _kick(self) -> None:
        if not self._busy:
            self._busy = True
            self._hub.at(self._hub.now_ps + STEP_PS, self._work)

    def _pending(self, number: int) -> bool:
        if number in self._stuck:
            return False
        if not self.model.is_idle(number):
            return True
        context = self.model.contexts[number]
        return context.active and context.command_head & MASK32 != self.get(f"PAGE[{number}].COMMAND_TAIL")

    def _work(self) -> None:
        self._busy = False
        for step in range(self.parameters.contexts):
            number = (self._next + step) % self.parameters.contexts
            if self._pending(number):
                self._next = number + 1
                effects = self._step(number)
                if effects.waits not in (None, Pause.PACKET):
                    self._stuck.add(number)
                self._done(effects)
                self._kick()
                return

    def _step(self, number: int) -> Effects:
        if not self.model.is_idle(number):
            return self.model.proceed(number)
        own, head = f"CONTEXT[{number}]", self.model.contexts[number].command_head
        slot = head & (1 << self.get(f"{own}.COMMAND_SIZE", "log2")) - 1
        start = self.get(f"{own}.COMMAND_BASE") + slot * COMMAND.length_bytes
        text = self.model.memory.read(start, COMMAND.length_bytes)
        words = None if text is None else [int.from_bytes(text[at : at + 8], "little") for at in range(0, len(text), 8)]
        return self.model.begin(number, words)

    # ---- packets and events ----

    def receive(self, flits: Sequence[int], response: bool) -> None:
        effects = self.model.packet(flits, response=response)
        if not any(refused.reason.name.startswith("PACKET") for refused in effects.refusals):
            self.count("RESPONSES_COLLECTED" if response else "MESSAGES_DELIVERED")
        self._done(effects)

    def _done(self, effects: Effects) -> None:
        """Let the world see what the model did."""
        for packet in effects.packets:
            self.count("RESPONSES_SENT" if packet.response else "PACKETS_SENT")
            self._fabric.send(packet.dst_nid, packet.flits, packet.response)
        for refused in effects.refusals:
            self._log(refused)
        for event in effects.events:
            self.count("EVENTS_WRITTEN")
            if self.get(f"CONTEXT[{event.context}].CONTROL", "interrupt"):
                self._signal(event.context)
        for change in effects.counters:
            if self.get(f"CONTEXT[{change.context}].CONTROL", "counter_interrupt"):
                self._signal(change.context)
        if effects.waits in (None, Pause.PACKET) or effects.events or effects.packets:
            self._stuck.clear()
            self._kick()
        self._poke()

    def _log(self, refused: Refused) -> None:
        log = "PACKET_LOG" if refused.reason.name.startswith("PACKET") else "VIOLATION_LOG"
        context = NO_CONTEXT if refused.context is None else refused.context
        self._refuse(log, refused.reason, context, refused.detail)

    # ---- moderation ----

    def _signal(self, number: int) -> None:
        moderation = f"CONTEXT[{number}].MODERATION"
        self._unsignalled[number] += 1
        if self._unsignalled[number] >= self.get(moderation, "count"):
            self._raise(number)
        elif self._unsignalled[number] == 1 and self.get(moderation, "cycles"):
            due_ps = self._hub.now_ps + self.get(moderation, "cycles") * CLOCK_PERIOD_PS
            life = self.model.contexts[number].epoch
            self._hub.at(due_ps, lambda: self._late(number, life))

    def _late(self, number: int, life: int) -> None:
        if self._unsignalled[number] and self.model.contexts[number].epoch == life:
            self._raise(number)
            self._poke()

    def _raise(self, number: int) -> None:
        self._unsignalled[number] = 0
        self.set("INT_STATUS", context=self.get("INT_STATUS", "context") | 1 << number)
