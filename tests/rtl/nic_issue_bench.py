"""What surrounds the block that issues commands: fetched commands, lists, event queues, open entries, a sender."""

import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from rtl.nic.initiator.issue import Issue
from rtl.nic.parameters import NicParameters
from rtl.packets import REQUEST
from rtl.portals import COMMAND, EVENT, Operation
from tests.rtl.quiescence import QuiescenceJudge

MTU = 128
WINDOW_BYTES = (0x8000, 64, 64, 64)
# local_read, local_write of each window.
WINDOW_RIGHTS = ((1, 1), (1, 0), (0, 1), (0, 0))


def window_base(context: int, window: int) -> int:
    return 0x10_0000 * (context + 1) + 0x1_0000 * window


@dataclass
class Job:
    """A packet that was taken, and what becomes of it. `shown`: the first cycle in which it was offered."""

    cycle: int
    shown: int
    context: int
    resume: bool
    address: int
    payload_bytes: int
    tag: int
    header: dict[str, int]
    life: int
    failed: bool = False


@dataclass
class Told:
    """One report: what was written for a command, and how it was retired."""

    context: int = -1
    life: int = 0
    event: dict[str, int] | None = None
    counter: tuple[int, int, int, int] | None = None  # counter, set, success, failure
    refusal: tuple[int, int] | None = None  # reason, index
    retired: bool | None = None  # refused


@dataclass
class Process:
    """A context: its life, its fetched commands, its event queue, its outstanding entries."""

    number: int
    places: int = 8
    entries: int = 4
    life: int = 0
    active: bool = True
    posted: int = 0
    commands: deque[tuple[list[int], int, bool]] = field(default_factory=deque)  # words, index, unreadable
    reserved: int = 0
    unread: deque[int] = field(default_factory=deque)  # cycles at which the process will consume what was written
    open_entries: list[dict[str, int]] = field(default_factory=list)
    deferred: list[int] | None = None  # words of the list command that waits
    forgotten: bool = False  # one did, when its life ended


class IssueBench:
    """Drives an Issue cycle by cycle. All randomness is seeded; `stall` is how often a port does not answer."""

    def __init__(self, *, seed: int = 1, stall: float = 0.0, contexts: int = 3, datapath_bits: int = 64) -> None:
        self.parameters = NicParameters(
            contexts=contexts, datapath_bits=datapath_bits, mtu_bytes=MTU, nodes=5, counters=16
        )
        self.issue = Issue(self.parameters)
        self.random = random.Random(seed)
        self.stall = stall
        self.cycle = 0
        self.processes = [Process(number) for number in range(contexts)]
        self.jobs: list[Job] = []
        self.told: list[Told] = []
        self.lists: list[tuple[int, list[int]]] = []  # context, words, when answered
        self.opened: list[dict[str, int]] = []
        self._unsent: set[tuple[int, int, int, int]] = set()  # context, life, handle, generation of entries made
        self.bad: set[int] = set()  # addresses of payloads that memory does not give
        self.list_refusals: dict[int, int] = {}  # by user_data
        self.list_waits: set[int] = set()  # user_data of list commands that are deferred
        self.list_defers = 0.0  # how often one is for no reason
        self.deferrals = 0
        self.send_cycles = 10  # to take a job
        self.leave_cycles = 15  # from then on until it has left
        self.blocked = False  # the sender takes nothing
        self.lean = True  # the sender wants the next packet to be chosen
        self.closed: set[tuple[int, int]] = set()  # context, window
        self._taking: int | None = None
        self._offered = 0
        self._leaving: deque[tuple[int, Job]] = deque()
        self._shown = -1
        self._handle = 0x100
        self._restarting: set[int] = set()
        self._held_event: Any = None
        self._driven: dict[int, int] = {}
        self._resume = 0
        self._listed: tuple[int, list[int]] | None = None  # what is offered, and not answered yet

    # ---- what tests do ----

    def post(self, context: int, *, unreadable: bool = False, words: list[int] | None = None, **fields: int) -> None:
        process = self.processes[context]
        given = words or COMMAND.pack(**{"operation": Operation.PUT, "dst_nid": 1, "dst_pid": 9, **fields})
        process.commands.append(([0] * 8 if unreadable else given, process.posted, unreadable))
        process.posted += 1

    def restart(self, context: int) -> None:
        """In the coming cycle."""
        self._restarting.add(context)

    def configure(self, ctx: Any) -> None:
        for number, registers in enumerate(self.issue.contexts):
            for window, (size, rights) in enumerate(zip(WINDOW_BYTES, WINDOW_RIGHTS, strict=True)):
                ctx.set(registers.window_address[window], window_base(number, window))
                ctx.set(registers.window_bytes[window], 0 if (number, window) in self.closed else size)
                ctx.set(registers.window_local_read[window], rights[0])
                ctx.set(registers.window_local_write[window], rights[1])

    def close(self, ctx: Any, context: int, window: int = 0) -> None:
        self.closed.add((context, window))
        self.configure(ctx)

    @property
    def settled(self) -> bool:
        waiting = any(process.commands or process.deferred for process in self.processes)
        return not (self._leaving or waiting)

    def of(self, context: int) -> Iterator[Told]:
        return (told for told in self.told if told.context == context)

    # ---- one cycle ----

    async def step(self, ctx: Any, judge: QuiescenceJudge) -> None:
        self._show_contexts(ctx)
        self._show_commands(ctx)
        self._answer_lists(ctx)
        self._answer_jobs(ctx)
        self._show_entries(ctx)
        self._set(ctx, self.issue.o_event.ready, self._goes())
        self._answer_reservation(ctx)
        self._observe(ctx)
        await judge.tick(ctx)
        self.cycle += 1

    async def run(self, ctx: Any, judge: QuiescenceJudge, cycles: int = 2000) -> None:
        """Until all commands are over."""
        for _ in range(cycles):
            await self.step(ctx, judge)
            offers = (self.issue.o_job.valid, self.issue.o_list.valid, self.issue.o_event.valid)
            if self.settled and ctx.get(self.issue.quiescent) and not any(ctx.get(valid) for valid in offers):
                break
        else:
            raise AssertionError(f"not settled after {cycles} cycles")
        for _ in range(5):
            await self.step(ctx, judge)
        assert not self._unsent, "requests of which it was not said that they have left"

    def _set(self, ctx: Any, signal: Any, value: int) -> None:
        """Each set makes the simulator settle, so only what changes is set."""
        if self._driven.get(id(signal)) != value:
            self._driven[id(signal)] = value
            ctx.set(signal, value)

    def _goes(self) -> bool:
        return self.random.random() >= self.stall

    def _show_contexts(self, ctx: Any) -> None:
        for process, state in zip(self.processes, self.issue.states, strict=True):
            restarts = process.number in self._restarting
            if restarts:
                process.life += 1
                process.reserved = 0
                process.unread.clear()
                process.open_entries.clear()
                process.deferred, process.forgotten = None, process.forgotten or process.deferred is not None
            self._set(ctx, state.restarted, restarts)
            self._set(ctx, state.epoch, process.life)
            self._set(ctx, state.active, process.active and not restarts)
            while process.unread and process.unread[0] <= self.cycle:
                process.unread.popleft()
        self._set(ctx, self.issue.room, self._bits(lambda process: self._free(process) > 0))

    def _free(self, process: Process) -> int:
        return process.places - process.reserved - len(process.unread)

    def _bits(self, condition: Any) -> int:
        return sum(bool(condition(process)) << process.number for process in self.processes)

    def _show_commands(self, ctx: Any) -> None:
        """The words of what was selected in the last cycle. A restart empties the buffer at the end of its cycle."""
        port = self.issue.i_commands
        if self._shown >= 0 and self.processes[self._shown].commands:
            words, index, unreadable = self.processes[self._shown].commands[0]
            for signal, word in zip(port.words, words, strict=True):
                self._set(ctx, signal, word)
            self._set(ctx, port.index, index)
            self._set(ctx, port.unreadable, unreadable)
        self._set(ctx, port.available, self._bits(lambda process: process.commands))

    def _answer_lists(self, ctx: Any) -> None:
        """A command of a life that is over is answered at once; others may have to wait and are offered again."""
        port = self.issue.o_list
        self._check_offer(ctx)
        user_data, process = ctx.get(port.words[6]), self.processes[ctx.get(port.context)]
        alive = process.active and ctx.get(port.epoch) == process.life and process.number not in self._restarting
        waits = user_data in self.list_waits or self.random.random() < self.list_defers
        self._set(ctx, port.ready, bool(ctx.get(port.valid)) and self._goes())
        self._set(ctx, port.deferred, alive and waits)
        self._set(ctx, port.refusal, self.list_refusals.get(user_data, 0) if alive else 0)
        self._resume = self._bits(self._resumes)
        self._set(ctx, port.resume, self._resume)

    def _resumes(self, process: Process) -> bool:
        if process.deferred is None:
            return process.forgotten
        if not process.active:
            return True
        return process.deferred[6] not in self.list_waits and self._goes()

    def _check_offer(self, ctx: Any) -> None:
        """What begins to be offered is new, or what was deferred and would have got on in the last cycle."""
        port = self.issue.o_list
        if not ctx.get(port.valid):
            assert self._listed is None, "a list command was withdrawn"
            return
        shown = ctx.get(port.context), [ctx.get(word) for word in port.words]
        if self._listed is None:
            deferred = self.processes[shown[0]].deferred
            assert deferred is None or (deferred == shown[1] and self._resume >> shown[0] & 1)
        assert self._listed in (None, shown), "a list command changed"
        self._listed = shown

    def _answer_jobs(self, ctx: Any) -> None:
        """The sender looks at a job for a while before it takes it, and they leave in order."""
        port = self.issue.o_job
        valid = ctx.get(port.valid)
        self._set(ctx, port.lean, self.lean)
        if valid and self._taking is None:
            self._taking = self.cycle + self.send_cycles - 1
            self._offered = self.cycle
        ready = bool(valid) and not self.blocked and self._taking is not None and self._taking <= self.cycle
        self._set(ctx, port.ready, ready)
        if ready:
            self._taking = None
        assert valid or self._taking is None, "a job was withdrawn"
        leaves = bool(self._leaving) and self._leaving[0][0] <= self.cycle and self._goes()
        self._set(ctx, port.done, leaves)
        if leaves:
            job = self._leaving.popleft()[1]
            self._set(ctx, port.done_tag, job.tag)
            self._set(ctx, port.failed, job.failed)

    def _show_entries(self, ctx: Any) -> None:
        port = self.issue.outstanding
        for process in self.processes:
            due = [entry for entry in process.open_entries if entry["cycle"] <= self.cycle]
            for entry in due:
                process.open_entries.remove(entry)
                process.reserved -= entry["place"]
        self._set(ctx, port.free, self._bits(lambda process: len(process.open_entries) < process.entries))
        self._set(ctx, port.handle, self._handle)
        self._set(ctx, port.generation, self._handle * 7 % 256)

    def _answer_reservation(self, ctx: Any) -> None:
        port = self.issue.reserve
        if ctx.get(port.valid):
            context, count = ctx.get(port.context), ctx.get(port.count)
            process = self.processes[context]
            ready = context not in self._restarting and self._goes()
            room = self._free(process) >= count
            assert count in (1, 2)
            self._set(ctx, port.ready, ready)
            self._set(ctx, port.room, room)
            if ready and room:
                process.reserved += count
        else:
            self._set(ctx, port.ready, 0)

    def _observe(self, ctx: Any) -> None:
        self._observe_job(ctx)
        self._observe_entry(ctx)
        self._observe_left(ctx)
        self._observe_list(ctx)
        self._observe_report(ctx)
        commands = self.issue.i_commands
        self._shown = ctx.get(commands.select)
        if ctx.get(commands.take):
            assert self._shown not in self._restarting
            self.processes[self._shown].commands.popleft()
            self._shown = -1
        for context in self._restarting:
            self.processes[context].commands.clear()
            self.processes[context].posted = 0
        self._restarting = set()

    def _observe_job(self, ctx: Any) -> None:
        port = self.issue.o_job
        if not (ctx.get(port.valid) and ctx.get(port.ready)):
            return
        words = [ctx.get(word) for word in port.words]
        assert words[1:3] == [0, 0], "trusted words are the stamp's"
        assert not ctx.get(port.inline)
        header = REQUEST.unpack(words)
        for name in ("src_nid", "src_pid", "jid", "lane", "sequence"):
            del header[name]
        payload_bytes, address = ctx.get(port.payload_bytes), ctx.get(port.address)
        context = ctx.get(port.context)
        job = Job(
            cycle=self.cycle,
            shown=self._offered,
            context=context,
            resume=bool(ctx.get(port.resume)),
            address=address if payload_bytes else 0,
            payload_bytes=payload_bytes,
            tag=ctx.get(port.tag),
            header=header,
            life=self.processes[context].life,
            failed=payload_bytes > 0 and address in self.bad,
        )
        self.jobs.append(job)
        self._leaving.append((self.cycle + self.leave_cycles, job))

    def _observe_entry(self, ctx: Any) -> None:
        port = self.issue.outstanding
        if not ctx.get(port.valid):
            return
        process = self.processes[ctx.get(port.context)]
        assert len(process.open_entries) < process.entries
        assert ctx.get(port.epoch) == process.life
        names = ("context", "dst_nid", "dst_pid", "window", "offset", "bytes", "command_word", "user_data", "handle")
        entry = {name: ctx.get(getattr(port, name)) for name in names}
        if not entry["bytes"]:
            entry["window"] = entry["offset"] = 0  # they mean nothing
        self.opened.append(entry)
        self._unsent.add((process.number, process.life, self._handle, self._handle * 7 % 256))
        word = COMMAND.unpack([ctx.get(port.command_word)] + [0] * 7)
        place = word["ack_request"] == 1 or word["operation"] not in (Operation.PUT, Operation.ATOMIC)
        process.open_entries.append({"cycle": self.cycle + self.random.randrange(20, 200), "place": place})
        self._handle += 1

    def _observe_left(self, ctx: Any) -> None:
        """Of each entry it is said once that its request has left; then nothing of it is on its way."""
        port = self.issue.left
        if ctx.get(port.valid):
            context, life, handle, generation = map(ctx.get, (port.context, port.epoch, port.handle, port.generation))
            self._unsent.remove((context, life, handle, generation))
            assert handle not in [job.header["handle"] for _, job in self._leaving]

    def _observe_list(self, ctx: Any) -> None:
        port = self.issue.o_list
        if not (ctx.get(port.valid) and ctx.get(port.ready)):
            return
        context, words = ctx.get(port.context), [ctx.get(word) for word in port.words]
        self._listed = None
        if ctx.get(port.deferred):
            self.deferrals += 1
            self.processes[context].deferred = words
        else:
            self.processes[context].deferred, self.processes[context].forgotten = None, False
            self.lists.append((context, words))

    def _observe_report(self, ctx: Any) -> None:
        issue, event = self.issue, self.issue.o_event
        told = Told()
        shown = [ctx.get(signal) for signal in (*event.words, event.context, event.epoch)]
        assert self._held_event is None or (ctx.get(event.valid) and shown == self._held_event), "an event changed"
        self._held_event = shown if ctx.get(event.valid) and not ctx.get(event.ready) else None
        if ctx.get(event.valid) and ctx.get(event.ready):
            process = self.processes[ctx.get(event.context)]
            if ctx.get(event.epoch) == process.life and process.number not in self._restarting:
                told.context = process.number
                self._write(ctx, process, told)
        if ctx.get(issue.reserve.release_valid):
            process = self.processes[ctx.get(issue.reserve.release_context)]
            if ctx.get(issue.reserve.release_epoch) == process.life and process.number not in self._restarting:
                process.reserved -= ctx.get(issue.reserve.release_count)
                assert process.reserved >= 0
        if ctx.get(issue.refusal.valid):
            told.context = ctx.get(issue.refusal.context)
            told.refusal = (ctx.get(issue.refusal.reason), ctx.get(issue.refusal.detail))
        if ctx.get(issue.retired):
            assert told.context in (-1, ctx.get(issue.retired_context))
            assert ctx.get(issue.retired_context) not in self._restarting
            told.context = ctx.get(issue.retired_context)
            told.retired = bool(ctx.get(issue.retired_refused))
        if told.context >= 0:
            told.life = self.processes[told.context].life
            self.told.append(told)

    def _write(self, ctx: Any, process: Process, told: Told) -> None:
        event = self.issue.o_event
        if ctx.get(event.event):
            fields = EVENT.unpack([ctx.get(word) for word in event.words])
            told.event = {name: value for name, value in fields.items() if value}
            assert process.reserved > 0, "an event without a place"
            process.reserved -= 1
            process.unread.append(self.cycle + self.random.randrange(1, 60))
        if ctx.get(event.counter_valid):
            names = (event.counter, event.counter_set, event.success, event.failure)
            told.counter = tuple(ctx.get(name) for name in names)  # type: ignore[assignment]
