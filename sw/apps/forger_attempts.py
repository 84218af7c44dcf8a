"""What the forger tries, and how it finds out what came of it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from nimble.access import Right
from nimble.assembler import assemble
from nimble.extension import Attachment, Manifest, Trust
from rtl.portals import COMMAND, EventKind
from sw.apps.forger_lies import NIC, Lie, Register, commands, messages, question, registers
from sw.apps.witness import Target, Witness
from sw.kernel.contexts import ContextHandle, ContextRequest, WindowRequest
from sw.kernel.extensions import Grant
from sw.kernel.hardware import BusError
from sw.kernel.memory import PAGE_BYTES, PageFault, smartmap
from sw.kernel.process import Process
from sw.kernel.traps import TrapError
from sw.portals.endpoint import Endpoint
from sw.portals.events import Event

# The forger's memory: canary, window 0 (read only), canary, window 1 (written only), canary; a page each.
CANARY = 0xCA9A_4EED_CA9A_4EED
PAGES = 5
EVENTS_LOG2 = 5
INDICES = ("command_tail", "event_head")  # registers that move while a context is used
MARK = 0xF0F6_0000_0000_0000  # what forged messages carry, and a number
ANSWER_US = 100  # how long the forger waits for the event of a command
TRAVEL_US = 20  # how long it waits for a packet to be judged
LOOK_US = 2  # how often it looks meanwhile
REFUSALS = (
    "nic.packet_crc",
    "nic.packet_malformed",
    "nic.packet_destination",
    "nic.packet_job",
    "nic.packet_sequence",
    "nic.packet_handle",
)


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One attempt; `refused` is the error's text, or the counter or event that told."""

    name: str
    tried: str
    refused: str
    delivered: bool


class Attempts:
    """The attempts of one process, from its own NIC context."""

    def __init__(self, process: Process, witness: Witness, cycles_per_us: int) -> None:
        self._process = process
        self._witness = witness
        self._cycles_per_us = cycles_per_us
        self._memory_va = process.calls.allocate(PAGES * PAGE_BYTES)
        self._memory = process.view(self._memory_va, PAGES * PAGE_BYTES)
        self._memory[:] = CANARY
        windows = (
            WindowRequest(va=self._memory_va + PAGE_BYTES, length_bytes=PAGE_BYTES, local_read=True, remote_read=True),
            WindowRequest(
                va=self._memory_va + 3 * PAGE_BYTES, length_bytes=PAGE_BYTES, local_write=True, remote_write=True
            ),
        )
        self._endpoint = Endpoint.open(
            process, ContextRequest(commands_log2=4, events_log2=EVENTS_LOG2, windows=windows, interrupt=True)
        )
        self._handle = self._endpoint.handle
        self._number = 0
        # What nobody answers is waited for until the end. One must be left, or no other question can be asked; so must
        # places in the event queue.
        self._questions = min(self._handle.limits.outstanding - 1, (1 << EVENTS_LOG2) // 2)

    def round(self) -> list[Attempt]:
        """Everything once. Attempts on another job need one that has a NIC context open."""
        here = self._handle.nid
        targets = self._witness.targets()
        local = [target for target in targets if target.handle.nid == here]
        # Another node's context is reached over every fabric; the own node's only where packets turn round.
        remote = [target for target in targets if target.handle.nid != here] or local
        made: list[Attempt] = []
        if remote:
            made += self._messages(remote[-1])
        if local:
            made += self._neighbour(local[0])
        return [*made, *self._registers(), *self._commands(), *self._own_side()]

    # ---- registers ----

    def _registers(self) -> Iterator[Attempt]:
        page, own = self._handle.page_va, self._handle.index
        kernel_va = page - NIC["NIC.PAGE"] - own * NIC["NIC.PAGE_STRIDE"]
        yield self._store("kernel page, not mapped", kernel_va + NIC["NIC.NODE_ID"], 0x666)
        if self._process.kernel_page_va is not None:
            yield from self._exposed_registers(self._process.kernel_page_va)
        yield self._store("another context's page", page + NIC["NIC.PAGE_STRIDE"] + NIC["NIC.PAGE.COMMAND_TAIL"], 1)
        yield self._store("doorbell far ahead", page + NIC["NIC.PAGE.COMMAND_TAIL"], 0x7FFF_FFFF)
        yield self._store("event head beyond tail", page + NIC["NIC.PAGE.EVENT_HEAD"], 0x7FFF_FFFF)
        yield self._store("own identity, as shown on the own page", page + NIC["NIC.PAGE.IDENTITY"], 0x0001_0001_0000)

    def _exposed_registers(self, kernel_va: int) -> Iterator[Attempt]:
        """The same page mapped: now only the hardware stands in the way."""
        other = (self._handle.index + 1) % NIC["NIC.CONTEXT_COUNT"]
        for register in registers(self._handle.index, other):
            yield self._register(f"kernel page: {register.name}", kernel_va, register)

    def _register(self, name: str, kernel_va: int, register: Register) -> Attempt:
        va = kernel_va + register.offset
        return self._load(name, va) if register.value is None else self._store(name, va, register.value)

    def _store(self, name: str, va: int, value: int) -> Attempt:
        """A store to a register. It came through if any register of the node's contexts changed."""
        before = self._registers_here()
        refused = self._refusal(lambda: self._process.store(va, value))
        delivered = not refused or self._changed(before)
        return Attempt(name=name, tried=f"store {value:#x} at {va:#x}", refused=refused, delivered=delivered)

    def _load(self, name: str, va: int) -> Attempt:
        refused = self._refusal(lambda: self._process.load(va))
        return Attempt(name=name, tried=f"load from {va:#x}", refused=refused, delivered=not refused)

    def _registers_here(self) -> dict[ContextHandle, dict[str, int]]:
        return self._witness.registers(self._process, self._handle.nid)

    def _changed(self, before: dict[ContextHandle, dict[str, int]], *, own_moves: bool = False) -> bool:
        """Whether a register of a context that was open throughout has changed, but for the indices of others' rings
        and, if `own_moves`, of the own."""
        after = self._registers_here()
        return any(
            before[handle][name] != after[handle][name]
            for handle in before
            if handle in after
            for name in before[handle]
            if name not in INDICES or (handle == self._handle and not own_moves)
        )

    @staticmethod
    def _refusal(action: Callable[[], object]) -> str:
        """The error's text, or nothing if there was none."""
        try:
            action()
        except (PageFault, BusError, TrapError) as error:
            return str(error)
        return ""

    # ---- commands ----

    def _commands(self) -> Iterator[Attempt]:
        """Commands of the own ring that lie; none may leave."""
        for lie in commands(self._handle):
            yield self._command(lie)

    def _command(self, lie: Lie) -> Attempt:
        """A command as it stands into the ring. It came through if anything left, or anybody's memory shows it."""
        mark = self._mark()
        self._endpoint.submit(lie.marked(mark))
        refused = self._told(self._answer(mark, ANSWER_US))
        delivered = not refused or self._seen(mark) or self._canary_died()
        return Attempt(name=lie.name, tried=lie.tried, refused=refused, delivered=delivered)

    @staticmethod
    def _told(event: Event | None) -> str:
        """The refusal that an event tells, or nothing."""
        refused = event is not None and event.kind == EventKind.REFUSED
        return f"REFUSED event, {event.failure}" if event is not None and refused else ""

    def _mark(self) -> int:
        self._number += 1
        return MARK | self._number

    def _answer(self, mark: int, patience_us: int) -> Event | None:
        """The event that answers a command, or None if there is none in time."""
        limit_ps = self._process.now_ps + patience_us * 1_000_000
        while self._process.now_ps < limit_ps:
            event = self._endpoint.poll()
            if event is not None and event.user_data == mark:
                self._endpoint.tell()
                return event
        return None

    def _seen(self, mark: int) -> bool:
        """Whether any other job's event queue, on any node, holds the mark."""
        return any((self._witness.events(target) == mark).any() for target in self._witness.targets())

    def _canary_died(self) -> bool:
        self._process.settle()
        return bool((self._memory != CANARY).any())

    # ---- messages ----

    def _messages(self, target: Target) -> Iterator[Attempt]:
        """Packets that leave, and must be refused where they arrive."""
        for lie in messages(target):
            yield self._message(lie)
        if self._questions:
            self._questions -= 1
            yield self._message(question(target))

    def _message(self, lie: Lie) -> Attempt:
        """It came through if it is seen in another job's queue, if it was answered, or if nobody says that it left."""
        mark = self._mark()
        nodes = self._witness.nodes()
        before = [self._witness.counters(self._process, node) for node in nodes]
        self._endpoint.submit(lie.marked(mark))
        event = self._answer(mark, TRAVEL_US if lie.answered else ANSWER_US)
        seen = self._watch(mark)
        after = [self._witness.counters(self._process, node) for node in nodes]
        risen = [
            f"{counter} of node {node} counted it"
            for node, old, new in zip(nodes, before, after, strict=True)
            for counter in REFUSALS
            if new[counter] > old[counter]
        ]
        refused = "; ".join(risen) or "no NIC received it"
        if lie.answered == (event is not None):
            refused, seen = "", True
        return Attempt(name=lie.name, tried=lie.tried, refused=refused, delivered=seen or self._canary_died())

    def _watch(self, mark: int) -> bool:
        """Whether a packet shows up in another job's queue while it may travel."""
        seen = False
        for _ in range(TRAVEL_US // LOOK_US):
            self._process.compute(LOOK_US * self._cycles_per_us)
            self._process.settle()
            seen = seen or self._seen(mark)
        return seen

    # ---- the kernel ----

    def _neighbour(self, target: Target) -> Iterator[Attempt]:
        """What the kernel must refuse about another job's process on the same node."""
        calls, handle = self._process.calls, target.handle
        steal = WindowRequest(va=smartmap(target.slot, PAGE_BYTES), length_bytes=PAGE_BYTES, local_read=True)
        yield self._kernel(
            "another job's memory by SMARTMAP",
            f"slot {target.slot}",
            lambda: self._process.view(smartmap(target.slot, PAGE_BYTES), 8, Right.READ),
        )
        yield self._kernel(
            "NIC context over another job's memory",
            f"slot {target.slot}",
            lambda: calls.open_context(ContextRequest(commands_log2=0, events_log2=2, windows=(steal,))),
        )
        yield self._kernel(
            "waiting for another job's events", f"context {handle.index}", lambda: calls.wait_event(handle)
        )
        yield self._kernel(
            "extension on another job's event",
            handle.event,
            lambda: self._insert(attach=handle.event, grants=()),
        )

    def _own_side(self) -> Iterator[Attempt]:
        """What a context and an extension must not get from the kernel, nor an extension take once it is in it."""
        page = self._handle.page_va
        beside = Grant(name="beside", va=page + NIC["NIC.PAGE_STRIDE"], length_bytes=8, rights=Right.READ | Right.WRITE)
        forge = WindowRequest(va=self._handle.counters_va, length_bytes=8, local_write=True)
        yield self._kernel(
            "NIC window over what only the NIC writes",
            "the own counting events",
            lambda: self._process.calls.open_context(ContextRequest(commands_log2=0, events_log2=2, windows=(forge,))),
        )
        yield self._kernel("trusted extension", "trust: trusted", lambda: self._insert(trust=Trust.TRUSTED, grants=()))
        yield self._kernel(
            "extension with another context's page", f"window at {beside.va:#x}", lambda: self._insert(grants=(beside,))
        )
        yield self._escape()

    def _insert(self, *, grants: tuple[Grant, ...], attach: str | None = None, trust: Trust = Trust.UNTRUSTED) -> int:
        """Insert an extension that stores to the physical address of the NIC's node ID, whatever it was granted."""
        program = assemble(
            "lddw %r1, ADDRESS\nstdw [%r1], 1\nexit", symbols={"ADDRESS": self._node_id_address()}, source="forger"
        )
        events = (Attachment(attach or self._handle.event, "main"),)
        manifest = Manifest(name="forger", trust=trust, attach=events, budget=16)
        return self._process.calls.insert_extension(program, manifest, grants)

    def _node_id_address(self) -> int:
        return self._witness.device_base(self._handle.nid) + NIC["NIC.NODE_ID"]

    def _escape(self) -> Attempt:
        """An extension that is inserted, and then reaches out of its windows; an event of the own context runs it."""
        before = self._registers_here()
        number = self._insert(grants=())
        mark = self._mark()
        self._endpoint.submit(COMMAND.pack(operation=0x7F, user_data=mark))
        self._answer(mark, ANSWER_US)
        self._process.compute(TRAVEL_US * self._cycles_per_us)
        self._process.settle()
        stopped = self._process.calls.extension_state(number).stopped
        self._process.calls.remove_extension(number)
        refused = f"the extension was stopped: {stopped}" if stopped else ""
        return Attempt(
            name="extension that stores outside its windows",
            tried="store to the NIC's node ID",
            refused=refused,
            delivered=not refused or self._changed(before, own_moves=True),
        )

    def _kernel(self, name: str, tried: str, action: Callable[[], object]) -> Attempt:
        refused = self._refusal(action)
        return Attempt(name=name, tried=tried, refused=refused, delivered=not refused)
