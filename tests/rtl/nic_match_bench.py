"""What surrounds the match unit in the simulator: deliverer, issuer of list commands, event queues with few places."""

import random
from collections.abc import Awaitable, Callable
from typing import Any

from amaranth.sim import Simulator

from rtl.nic.interfaces.widths import EPOCH_WIDTH
from rtl.nic.parameters import NicParameters
from rtl.nic.target.match import Match
from rtl.packets import REQUEST
from rtl.portals import EVENT, LIST_COMMAND, Operation
from tests.rtl.nic_port_bench import simulate

ANSWERS = (
    *("fail", "window", "start", "bytes", "remote_offset", "event", "unlinked", "overflow", "header"),
    *("entry", "entry_word", "user_data", "counter"),
)
Told = tuple[int, dict[str, int] | None, tuple[int, int, int] | None]  # context, event, counter's change


def message(**fields: int) -> dict[str, int]:
    """A put of 16 bytes of which every field can be told from every other."""
    usual = {"kind": Operation.PUT, "src_nid": 7, "src_pid": 70, "jid": 700, "message_bytes": 16}
    return {**usual, "match_bits": 0xAB, "header_data": 0xDA7A, "first": 1, **fields}


def append(entry: int, **fields: int) -> dict[str, int]:
    """A match entry of 256 bytes that takes every put and get."""
    usual = {"operation": Operation.ME_APPEND, "entry": entry, "match_bits": 0xAB, "any_nid": 1, "any_pid": 1}
    rights = {"op_put": 1, "op_get": 1, "event_link_disable": 1}
    place = {"offset": 0x1000 * (entry + 1), "window": 2, "length_bytes": 256, "user_data": 0x500 + entry}
    return {**usual, **rights, **place, **fields}


class MatchBench:
    """`told` is everything that went out through `o_event`; `answered` the refusals of list commands, in order.

    Each context has one list command at a time: `posted` until it is answered for good, `deferred` while it waits to be
    offered again.
    Each context's queue has `places`; `free` counts those that nobody has reserved, `owed` those that the match unit
    reserved and has neither used nor given back nor passed on to the deliverer.
    """

    def __init__(self, parameters: NicParameters, *, places: int = 8, stall: float = 0.0, seed: int = 1) -> None:
        self.parameters = parameters
        self.block = Match(parameters)
        self.places = places
        self.free = [places] * parameters.contexts
        self.owed = [0] * parameters.contexts
        self.epoch = [0] * parameters.contexts
        self.told: list[Told] = []
        self.answered: list[int] = []
        self.posted: dict[int, tuple[int, list[int]]] = {}  # epoch and words, by context
        self.deferred: set[int] = set()
        self.deferrals = 0
        self.counted: list[tuple[int, str]] = []
        self.cycles = 0
        self.ctx: Any = None
        self.late_epoch = True  # whether an epoch changes after the pulse of the restart, or with it
        self.hold_reservations = False
        self._entries: dict[tuple[int, int], int] = {}  # of the last message of (context, unexpected header)
        self._stall = stall
        self._random = random.Random(seed)

    def run(self, test: Callable[[], Awaitable[None]], *, judged: bool = True) -> None:
        """`judged`: quiescence is looked at in every cycle, which takes most of the time."""

        async def bench(ctx: Any) -> None:
            self.ctx = ctx
            for context in range(self.parameters.contexts):
                ctx.set(self.block.states[context].active, 1)
            self._show_room()
            await test()

        roles = (self._serve_places, self._take_events, self._offer_commands, self._count)
        if judged:
            simulate(self.block, bench, *roles)
        else:
            simulator = Simulator(self.block)
            simulator.add_clock(1e-8)
            simulator.add_testbench(bench)
            for role in roles:
                simulator.add_testbench(role, background=True)
            simulator.run()

    # ---- roles ----

    def _goes(self) -> bool:
        return self._random.random() >= self._stall

    def _show_room(self) -> None:
        self.ctx.set(self.block.room, sum((free > 0) << context for context, free in enumerate(self.free)))

    async def _serve_places(self, ctx: Any) -> None:
        reserve = self.block.reserve
        release = (reserve.release_valid, reserve.release_context, reserve.release_epoch, reserve.release_count)
        request = (reserve.valid, reserve.context, reserve.count)
        restarts = [state.restarted for state in self.block.states]
        held: tuple[int, int] | None = None
        while True:
            ready = self._goes() and not self.hold_reservations
            ctx.set(reserve.ready, ready)
            ctx.set(reserve.room, self.free[ctx.get(reserve.context)] >= ctx.get(reserve.count))
            _, _, room, valid, context, count, *others = await ctx.tick().sample(
                reserve.room, *request, *release, *restarts
            )
            released, restarting = others[:4], others[4:]
            assert held is None or (valid and held == (context, count)), "a reservation fell or changed"
            held = (context, count) if valid and not ready else None
            if released[0] and released[2] == self.epoch[released[1]]:
                self._move(released[1], -released[3])
            if valid and ready and room and not restarting[context]:
                self._move(context, count)
            self._show_room()

    def _move(self, context: int, count: int) -> None:
        self.free[context] -= count
        self.owed[context] += count
        assert 0 <= self.free[context] <= self.places
        assert self.owed[context] >= 0, "more places were given back than were reserved"

    async def _take_events(self, ctx: Any) -> None:
        port = self.block.o_event
        fields = (port.context, port.epoch, port.event, port.counter_valid, port.counter, port.success, port.failure)
        held: tuple[int, ...] | None = None
        while True:
            ready = self._goes()
            ctx.set(port.ready, ready)
            valid = ctx.get(port.valid)  # of this cycle; the rest is worth looking at only then
            assert valid or held is None, "an event fell"
            payload = [ctx.get(value) for value in (*fields, *port.words)] if valid else []
            assert held is None or held == tuple(payload), "an event changed"
            await ctx.tick()
            held = tuple(payload) if valid and not ready else None
            if not valid or not ready:
                continue
            context, epoch, event, counts, *counter = payload[:7]
            assert event or counts, "an event without anything"
            if epoch == self.epoch[context]:
                if event:
                    self.owed[context] -= 1
                    assert self.owed[context] >= 0, "an event without a reserved place"
                told = EVENT.unpack(payload[7:])
                shown = {name: value for name, value in told.items() if value} if event else None
                self.told.append((context, shown, tuple(counter) if counts else None))

    async def _offer_commands(self, ctx: Any) -> None:
        """One at a time, as the match unit lets them; at random among those that would get on."""
        port = self.block.i_list
        offered: int | None = None
        while True:
            if offered is None and (ready := self._ready_commands()):
                offered = self._random.choice(ready)
                epoch, words = self.posted[offered]
                ctx.set(port.context, offered)
                ctx.set(port.epoch, epoch)
                for theirs, word in zip(port.words, words, strict=True):
                    ctx.set(theirs, word)
            ctx.set(port.valid, offered is not None)
            _, _, ready, deferred, refusal = await ctx.tick().sample(port.ready, port.deferred, port.refusal)
            if offered is None or not ready:
                continue
            if deferred:
                self.deferred.add(offered)
                self.deferrals += 1
            else:
                self.deferred.discard(offered)
                del self.posted[offered]
                self.answered.append(refusal)
            offered = None

    def _ready_commands(self) -> list[int]:
        resume = self.ctx.get(self.block.i_list.resume)
        return [context for context in self.posted if context not in self.deferred or resume >> context & 1]

    async def _count(self, ctx: Any) -> None:
        block = self.block
        async for _, _, dropped, violated, context in ctx.tick().sample(
            block.dropped, block.violated, block.counted_context
        ):
            self.cycles += 1
            self.counted += [(context, "dropped")] * dropped + [(context, "violated")] * violated

    # ---- the deliverer ----

    async def match(
        self, context: int = 0, *, restart_in: int | None = None, epoch: int | None = None, **fields: int
    ) -> dict[str, int]:
        """The answers; places that were reserved for the message are the deliverer's from then on. The context is
        restarted in cycle `restart_in`, counted from `valid`, if the message is not answered before."""
        port = self.block.i_match
        self.ctx.set(port.context, context)
        self.ctx.set(port.epoch, self.epoch[context] if epoch is None else epoch)
        for theirs, word in zip(port.words, REQUEST.pack(**message(**fields)), strict=True):
            self.ctx.set(theirs, word)
        self.ctx.set(port.valid, 1)
        answers = [getattr(port, name) for name in ANSWERS]
        done, cycle = False, 0
        while not done:
            if cycle == restart_in:
                self._begin_restart(context)
            _, _, done, *values = await self.ctx.tick().sample(port.done, *answers)
            if cycle == restart_in:
                self._end_restart(context)
            cycle += 1
        self.ctx.set(port.valid, 0)
        _, _, *later = await self.ctx.tick().sample(*answers)
        assert values == later, "the answers did not stay"
        found = dict(zip(ANSWERS, values, strict=True))
        self.owed[context] -= found["event"] + found["unlinked"]
        self._entries[context, found["header"]] = found["entry"]
        return found

    async def finish(self, header: int, context: int = 0, *, failed: bool = False, epoch: int | None = None) -> None:
        """The end of the last message that got an unexpected header."""
        found = {"entry": self._entries[context, header], "overflow": 1, "header": header}
        await self.end(found, context, failed=failed, epoch=epoch)

    async def end(
        self, found: dict[str, int], context: int = 0, *, failed: bool = False, epoch: int | None = None
    ) -> None:
        """The end of the message of these answers."""
        port = self.block.i_match
        self.ctx.set(port.finish_context, context)
        self.ctx.set(port.finish_epoch, self.epoch[context] if epoch is None else epoch)
        for name in ("entry", "overflow", "header"):
            self.ctx.set(getattr(port, f"finish_{name}"), found[name])
        keeps = not LIST_COMMAND.unpack([0, found.get("entry_word", 0), *[0] * 6])["unexpected_header_disable"]
        self.ctx.set(port.finish_unexpected, bool(found["overflow"]) and keeps)
        self.ctx.set(port.finish_failed, failed)
        self.ctx.set(port.finish, 1)
        await self.ctx.tick().until(port.finish_ready)
        self.ctx.set(port.finish, 0)

    # ---- issuer, queues, kernel ----

    def post(
        self, context: int = 0, *, words: list[int] | None = None, epoch: int | None = None, **fields: int
    ) -> None:
        """Begins a list command; its end is heard by itself."""
        assert context not in self.posted
        self.posted[context] = self.epoch[context] if epoch is None else epoch, words or LIST_COMMAND.pack(**fields)

    async def command(self, context: int = 0, **fields: Any) -> int:
        """The refusal of a list command that has not to wait."""
        before = len(self.answered)
        self.post(context, **fields)
        await self.settle()
        assert len(self.answered) == before + 1, "the command waits"
        return self.answered[-1]

    def give_places(self, context: int, count: int) -> None:
        """The application has consumed events, or the deliverer has given places back."""
        self.free[context] += count
        assert self.free[context] + self.owed[context] <= self.places
        self._show_room()

    async def settle(self) -> None:
        await self.ctx.tick()
        while self._ready_commands() or not self.ctx.get(self.block.quiescent):
            await self.ctx.tick()
        await self.ctx.tick()

    async def restart(self, context: int) -> None:
        self._begin_restart(context)
        await self.ctx.tick()
        self._end_restart(context)

    def _begin_restart(self, context: int) -> None:
        state = self.block.states[context]
        self.epoch[context] = (self.epoch[context] + 1) % (1 << EPOCH_WIDTH)
        self.ctx.set(state.restarted, 1)
        if not self.late_epoch:
            self.ctx.set(state.epoch, self.epoch[context])

    def _end_restart(self, context: int) -> None:
        state = self.block.states[context]
        self.ctx.set(state.restarted, 0)
        self.ctx.set(state.epoch, self.epoch[context])
        self.free[context], self.owed[context] = self.places, 0
        self.hold_reservations = False
