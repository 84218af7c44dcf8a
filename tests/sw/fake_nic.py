"""The NIC's behaviour as its register map and records describe it, in plain Python and without timing of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from rtl.descriptors import COMMAND, EVENT, EventKind, Refusal
from rtl.packet import Operation, pack, unpack
from rtl.registers import Register, RegisterMap
from sw.kernel.hardware import BusError

if TYPE_CHECKING:
    from fake_machine import Hub

MASK32 = 0xFFFF_FFFF
STEP_PS = 100_000  # of a command


class Fabric:
    def __init__(self, hub: Hub, latency_ps: int) -> None:
        self.nics: list[FakeNic] = []
        self.lost = 0  # to nodes that do not exist
        self.packets: list[list[int]] = []
        self._hub = hub
        self._latency_ps = latency_ps

    def attach(self, nic: FakeNic) -> None:
        self.nics.append(nic)

    def send(self, words: list[int]) -> None:
        self.packets.append(words)
        nid = words[0] & 0xFFFF
        if nid >= len(self.nics):
            self.lost += 1
            return
        self._hub.at(self._hub.now_ps + self._latency_ps, lambda: self.nics[nid].receive(words))


class FakeNic:
    interrupt_core = 0

    def __init__(
        self, *, hub: Hub, fabric: Fabric, registers: RegisterMap, memory: np.ndarray, base: int, length: int,
        contexts: int, windows: int, mtu_bytes: int, on_interrupt: Callable[[], None],
    ) -> None:  # fmt: skip
        self.base = base
        self.length = length
        self.registers = registers
        self.contexts = contexts
        self._hub = hub
        self._fabric = fabric
        self._memory = memory.view(np.uint64)
        self._bytes = memory
        self._windows = windows
        self._mtu = mtu_bytes
        self._on_interrupt = on_interrupt
        self._by_address = {register.address: register for register in registers.registers}
        self._values = {
            register.address: sum(field.reset << field.lsb for field in register.fields)
            for register in registers.registers
        }
        self._busy = False
        self._next = 0
        self.set("CAPABILITIES", contexts=contexts, windows=windows, mtu_bytes=mtu_bytes)

    # ---- registers ----

    def get(self, path: str, field: str | None = None) -> int:
        register = self.registers.register(path)
        value = self._values[register.address]
        if field is None:
            return value
        spec = register.field(field)
        return (value & spec.mask) >> spec.lsb

    def set(self, path: str, **fields: int) -> None:
        register = self.registers.register(path)
        for name, value in fields.items():
            spec = register.field(name)
            self._values[register.address] &= ~spec.mask
            self._values[register.address] |= value << spec.lsb & spec.mask

    def count(self, name: str) -> None:
        self.set(name, count=self.get(name, "count") + 1)

    @property
    def interrupt(self) -> bool:
        return bool(self.get("INT_STATUS") & self.get("INT_ENABLE"))

    def load(self, address: int, privileged: bool) -> int:
        register = self._reach(address - self.base, privileged, write=False)
        if register.path.endswith(".IDENTITY") and register.path.startswith("PAGE"):
            context = self._index(register.path)
            own = f"CONTEXT[{context}].IDENTITY"
            return self.get("NODE_ID", "nid") | self.get(own, "pid") << 16 | self.get(own, "jid") << 32
        return self._values[register.address]

    def store(self, address: int, value: int, privileged: bool) -> int:
        register = self._reach(address - self.base, privileged, write=True)
        if not register.writable or (register.checked and not self._accepts(register, value)):
            self._refuse_access(register.address, write=True)
        before = self._values[register.address]
        if register.path == "INT_STATUS":
            self._values[register.address] = before & ~value
            return 0
        mask = sum(field.mask for field in register.fields if "w" in field.software)
        self._values[register.address] = value & mask
        if register.path.endswith("CONTROL") and value & 1 and not before & 1:
            for name in ("COMMAND_TAIL", "COMMAND_HEAD", "EVENT_HEAD", "EVENT_TAIL", "REFUSED"):
                self._values[self.registers.address(f"PAGE[{self._index(register.path)}].{name}")] = 0
        if register.path.endswith("COMMAND_TAIL"):
            self._kick()
        self._on_interrupt()
        return 0

    @staticmethod
    def _index(path: str) -> int:
        return int(path[path.index("[") + 1 : path.index("]")])

    def _reach(self, address: int, privileged: bool, write: bool) -> Register:
        register = self._by_address.get(address)
        if register is None:
            self._refuse_access(address, write)
        if register.privileged and not privileged:
            self.count("ACCESS_UNPRIVILEGED")
            self._violation(Refusal.ACCESS_UNPRIVILEGED, 0, address)
            raise BusError(address=self.base + address, write=write, response=2)
        return register

    def _refuse_access(self, address: int, write: bool) -> None:
        self.count("ACCESS_REFUSED")
        page = address // 0x10000
        self._violation(Refusal.ACCESS_REFUSED, max(page - 1, 0), address)
        raise BusError(address=self.base + address, write=write, response=2)

    def _accepts(self, register: Register, value: int) -> bool:
        if register.path == "NODE_ID":
            return not self.get("NODE_ID", "locked")
        context = self._index(register.path)
        if not self.get(f"CONTEXT[{context}].CONTROL", "enable") or value >> 32:
            return False
        old = self._values[register.address]
        if register.path.endswith("COMMAND_TAIL"):
            size = 1 << self.get(f"CONTEXT[{context}].COMMAND_SIZE", "log2")
            limit = self.get(f"PAGE[{context}].COMMAND_HEAD") + size
        else:
            limit = self.get(f"PAGE[{context}].EVENT_TAIL")
        return (value - old) & MASK32 <= (limit - old) & MASK32

    def _violation(self, reason: Refusal, context: int, address: int) -> None:
        if not self.get("INT_STATUS", "violation"):
            self.set("VIOLATION", reason=reason, context=context, address=address)
            self.set("INT_STATUS", violation=1)
            self._on_interrupt()

    # ---- commands ----

    def _kick(self) -> None:
        if not self._busy:
            self._busy = True
            self._hub.at(self._hub.now_ps + STEP_PS, self._work)

    def _pending(self, context: int) -> bool:
        page = f"PAGE[{context}]"
        enabled = self.get(f"CONTEXT[{context}].CONTROL", "enable")
        return bool(enabled) and self.get(f"{page}.COMMAND_HEAD") != self.get(f"{page}.COMMAND_TAIL")

    def _work(self) -> None:
        self._busy = False
        for step in range(self.contexts):
            context = (self._next + step) % self.contexts
            if self._pending(context):
                self._next = context + 1
                self._carry_out(context)
                self._kick()
                return

    def _carry_out(self, context: int) -> None:
        page, own = f"PAGE[{context}]", f"CONTEXT[{context}]"
        head = self.get(f"{page}.COMMAND_HEAD")
        slot = head & (1 << self.get(f"{own}.COMMAND_SIZE", "log2")) - 1
        start = self.get(f"{own}.COMMAND_BASE") // 8 + slot * COMMAND.length_words
        words = [int(word) for word in self._memory[start : start + COMMAND.length_words]]
        command = COMMAND.unpack(words)
        reason = self._judge(context, command, words)
        self.set(f"{page}.COMMAND_HEAD", index=head + 1 & MASK32)
        echo = {name: command[name] for name in ("match_bits", "header_data", "user_data")}
        if reason is not Refusal.NONE:
            self.count(reason.name)
            self.set(f"{page}.REFUSED", count=self.get(f"{page}.REFUSED") + 1)
            self._violation(reason, context, head)
            self._event(context, kind=EventKind.REFUSED, reason=reason, **echo)
            return
        payload = b""
        if command["length_bytes"]:
            window = f"{own}.WINDOW[{command['local_window']}]"
            at = self.get(f"{window}.BASE") + command["local_offset"]
            payload = bytes(self._bytes[at : at + command["length_bytes"]])
        header = {name: command[name] for name in ("dst_nid", "dst_pid", "operation", "remote_offset", "match_bits")}
        header |= {"window": command["remote_window"], "header_data": command["header_data"]}
        header |= {"src_nid": self.get("NODE_ID", "nid")}
        header |= {"src_pid": self.get(f"{own}.IDENTITY", "pid"), "jid": self.get(f"{own}.IDENTITY", "jid")}
        self.count("PACKETS_SENT")
        self._fabric.send(pack(payload, **header))
        if command["notify"]:
            self._event(context, kind=EventKind.SENT, length_bytes=command["length_bytes"], **echo)

    def _judge(self, context: int, command: dict[str, int], words: list[int]) -> Refusal:
        reserved = any(word & COMMAND.reserved_mask(index) for index, word in enumerate(words))
        aligned = not (command["local_offset"] | command["remote_offset"]) % 8
        known = command["operation"] == Operation.PUT
        if not known or reserved or command["length_bytes"] > self._mtu or not aligned:
            return Refusal.COMMAND_MALFORMED
        length, index = command["length_bytes"], command["local_window"]
        if length and not self._inside(context, index, command["local_offset"], length, "local_read"):
            return Refusal.COMMAND_WINDOW
        return Refusal.NONE

    def _inside(self, context: int, index: int, offset: int, length: int, right: str) -> bool:
        if index >= self._windows:
            return False
        window = f"CONTEXT[{context}].WINDOW[{index}]"
        return bool(self.get(f"{window}.RIGHTS", right)) and offset + length <= self.get(f"{window}.LENGTH")

    # ---- packets and events ----

    def receive(self, words: list[int]) -> None:
        try:
            header, payload = unpack(words)
        except ValueError:
            self.count("PACKET_CRC")
            return
        context = self._addressed(header)
        if context is None:
            self.count("PACKET_DESTINATION")
        elif header["jid"] != self.get(f"CONTEXT[{context}].IDENTITY", "jid"):
            self.count("PACKET_JOB")
        elif payload and not self._inside(
            context, header["window"], header["remote_offset"], len(payload), "remote_write"
        ):
            self.count("PACKET_WINDOW")
        elif self._room(context):
            if payload:
                at = self.get(f"CONTEXT[{context}].WINDOW[{header['window']}].BASE") + header["remote_offset"]
                self._bytes[at : at + len(payload)] = np.frombuffer(payload, dtype=np.uint8)
            self.count("PACKETS_DELIVERED")
            names = ("src_nid", "src_pid", "jid", "match_bits", "header_data", "window", "length_bytes")
            fields = {name: header[name] for name in names}
            self._event(context, kind=EventKind.PUT, offset=header["remote_offset"], **fields)
        else:
            self.count("EVENT_QUEUE_FULL")

    def _addressed(self, header: dict[str, int]) -> int | None:
        if header["dst_nid"] != self.get("NODE_ID", "nid"):
            return None
        for context in range(self.contexts):
            own = f"CONTEXT[{context}]"
            if self.get(f"{own}.CONTROL", "enable") and self.get(f"{own}.IDENTITY", "pid") == header["dst_pid"]:
                return context
        return None

    def _room(self, context: int) -> bool:
        size = 1 << self.get(f"CONTEXT[{context}].EVENT_SIZE", "log2")
        return self.get(f"PAGE[{context}].EVENT_TAIL") - self.get(f"PAGE[{context}].EVENT_HEAD") & MASK32 < size

    def _event(self, context: int, **fields: int) -> None:
        if not self._room(context):
            self.count("EVENT_QUEUE_FULL")
            return
        page, own = f"PAGE[{context}]", f"CONTEXT[{context}]"
        tail = self.get(f"{page}.EVENT_TAIL")
        slot = tail & (1 << self.get(f"{own}.EVENT_SIZE", "log2")) - 1
        start = self.get(f"{own}.EVENT_BASE") // 8 + slot * EVENT.length_words
        self._memory[start : start + EVENT.length_words] = EVENT.pack(sequence=tail + 1 & MASK32, **fields)
        self.set(f"{page}.EVENT_TAIL", index=tail + 1 & MASK32)
        self.count("EVENTS_WRITTEN")
        if self.get(f"{own}.CONTROL", "interrupt"):
            self.set("INT_STATUS", context=self.get("INT_STATUS", "context") | 1 << context)
            self._on_interrupt()
