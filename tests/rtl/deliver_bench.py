"""What surrounds the deliverer in the simulator: packets, match unit, atomic unit, answers, event writer.

Every process here obeys the rules of its port and fails the test when the deliverer does not. What the deliverer tells
is logged in order; `deliver_model` says what it should be.
"""

import random
from typing import Any

from rtl.nic.parameters import NicParameters
from rtl.nic.target.deliver import Deliver
from rtl.packets import REQUEST, RESPONSE, PacketKind
from rtl.portals import EVENT, LIST_COMMAND, AtomicOperation, Refusal
from tests.rtl.deliver_model import FIRST_EPOCH, Entry, Packet, Told, Window, execute
from tests.rtl.nic_port_bench import PortMemory, simulate

ANSWERS_HELD = 8
ANSWERS_PROMISED = 4  # `ready` means room for as many


class Bench:
    """A deliverer with its surroundings; `stall` is the probability that anything waits in a cycle.

    `match_cycles` from question to answer; memory answers a write `latency` cycles after its last flit.
    """

    def __init__(
        self,
        parameters: NicParameters,
        windows: dict[tuple[int, int], Window],
        *,
        stall: float = 0.0,
        match_cycles: int = 6,
        latency: int = 10,
        seed: int = 1,
    ) -> None:
        self.block = Deliver(parameters)
        self.memory = PortMemory(parameters.datapath_bits, latency=latency, stall=stall, seed=seed)
        self.packets: list[Packet] = []
        self.entries: dict[int, Entry] = {}
        self.told: list[Told] = []
        self.refusals: list[tuple[int, int]] = []
        self.asked: list[int] = []
        self.delivered = 0
        self.timed_out: list[int] = []  # in which cycles
        self.told_when_asked: list[int] = []  # how many things had been told at each question
        self.answers_blocked = False  # while set, no answer leaves
        self.events_blocked = False  # while set, no event is taken
        self.expecting = False  # while set, packets are still to come
        self.cycles: dict[str, list[int]] = {name: [] for name in ("header", "flit", "write", "event", "told")}
        self._windows = windows
        self._parameters = parameters
        self._stall = stall
        self._match_cycles = match_cycles
        self._random = random.Random(seed)
        self._cycle = 0

    def run(self, steer: Any = None) -> None:
        """Until all packets have come and the deliverer is quiescent. `steer` (ctx, cycle) is called in every cycle."""
        block = self.block

        async def test(ctx: Any) -> None:
            self._configure(ctx)
            cycle = 0
            while True:
                if steer is not None:
                    steer(ctx, cycle)
                await ctx.tick()
                cycle += 1
                if not self.packets and not self.expecting and ctx.get(block.quiescent):
                    break
            await ctx.tick().repeat(4)

        simulate(
            block,
            test,
            self._offer_packets,
            self._answer_matches,
            self._execute_atomics,
            self._hear,
            self._watch,
            lambda ctx: self.memory.serve_writes(ctx, block.write),
        )

    def _configure(self, ctx: Any) -> None:
        for (context, number), window in self._windows.items():
            registers = self.block.contexts[context]
            ctx.set(registers.window_address[number], window.address)
            ctx.set(registers.window_bytes[number], window.bytes)
            ctx.set(registers.window_remote_read[number], window.remote_read)
            ctx.set(registers.window_remote_write[number], window.remote_write)
        for context, state in enumerate(self.block.states):
            ctx.set(state.active, 1)
            ctx.set(state.epoch, FIRST_EPOCH + context)

    def _goes(self) -> bool:
        return self._random.random() >= self._stall

    async def _offer_packets(self, ctx: Any) -> None:
        port = self.block.i_packet
        size = self._parameters.datapath_bytes
        cycle = 0
        header_offered = flit_offered = False
        flits: list[int] = []
        async for _, _, taken, flit_taken in ctx.tick().sample(port.ready, port.data_ready):
            cycle += 1
            if header_offered and taken:
                self.packets.pop(0)
                header_offered = False
            if flit_offered and flit_taken:
                flits.pop(0)
                self.cycles["flit"].append(cycle)
                flit_offered = False
            if not header_offered and self.packets and self._goes():
                packet = self.packets[0]
                header_offered = True
                self.cycles["header"].append(cycle + 1)
                for signal, word in zip(port.words, packet.words, strict=True):
                    ctx.set(signal, word)
                ctx.set(port.context, packet.context)
                ctx.set(port.epoch, ctx.get(self.block.states[packet.context].epoch))
                ctx.set(port.poisoned, packet.poisoned)
                text = packet.payload
                flits += [int.from_bytes(text[i : i + size], "little") for i in range(0, len(text), size)]
            if not flit_offered and flits and self._goes():
                flit_offered = True
            ctx.set(port.valid, header_offered)
            ctx.set(port.data_valid, flit_offered)
            ctx.set(port.data, flits[0] if flit_offered else self._random.getrandbits(64))

    async def _serve(self, ctx: Any, port: Any, question: list[Any], cycles: int, begin: Any, answer: Any) -> None:
        """Answers what `port` asks with a pulse of `done`, `cycles` after the question if nothing stalls."""
        waited = 0
        done = False
        held: list[int] | None = None
        async for _, _, valid, *asked in ctx.tick().sample(port.valid, *question):
            assert held is None or (valid and held == asked), "a question changed before its answer"
            if done:
                held, waited, done = None, 0, False
            elif valid:
                held = asked
                waited += 1
                if waited == 1:
                    begin(ctx, asked)
                done = self._goes() if self._stall else waited == cycles
                if done:
                    answer(ctx, asked)
            ctx.set(port.done, done)

    async def _answer_matches(self, ctx: Any) -> None:
        port = self.block.match

        def begin(ctx: Any, _: list[int]) -> None:
            self._set_match(ctx, Entry.arbitrary(self._random))  # old answers end with the next question

        def answer(ctx: Any, asked: list[int]) -> None:
            number = REQUEST.unpack(asked[2:])["header_data"]
            assert asked[1] == ctx.get(self.block.i_packet.epoch), "matched for another life than admitted to"
            self.asked.append(number)
            self.told_when_asked.append(len(self.told))
            self._set_match(ctx, self.entries[number])

        await self._serve(ctx, port, [port.context, port.epoch, *port.words], self._match_cycles, begin, answer)

    def _set_match(self, ctx: Any, entry: Entry) -> None:
        port = self.block.match
        for name in ("fail", "window", "start", "bytes", "remote_offset", "event", "unlinked", "overflow"):
            ctx.set(getattr(port, name), int(getattr(entry, name)))
        ctx.set(port.entry, entry.number)
        ctx.set(port.header, entry.header)
        ctx.set(port.user_data, entry.user_data)
        ctx.set(port.counter, entry.counter)
        ctx.set(port.entry_word, LIST_COMMAND.pack(**entry.options)[1])

    async def _execute_atomics(self, ctx: Any) -> None:
        port = self.block.atomic

        def begin(_: Any, asked: list[int]) -> None:
            address, length, operation, kind, operand, *words = asked
            conditional = operation in (AtomicOperation.CSWAP, AtomicOperation.MSWAP)
            detail = {
                "address": address,
                "bytes": length,
                "operation": operation,
                "type": kind,
                "operand": operand.to_bytes(8, "little") if conditional else b"",
                "data": _text(words)[:length],
            }
            assert self._count("write") == self._count("answer"), "a write is under way beside an atomic"
            self._tell("atomic", 0, 0, detail)

        def answer(ctx: Any, asked: list[int]) -> None:
            old = execute(self.memory.data, self.memory.bad_writes, asked[0], _text(asked[5:])[: asked[1]])
            assert self._count("write") == self._count("answer"), "a write has overtaken an atomic"
            ctx.set(port.failed, old is None)
            text = (old or b"").ljust(64, b"\xa5")  # beyond the bytes asked for stands what may stand there
            for index, signal in enumerate(port.old):
                ctx.set(signal, int.from_bytes(text[8 * index : 8 * index + 8], "little"))

        asked = [port.address, port.bytes, port.operation, port.type, port.operand, *port.data]
        await self._serve(ctx, port, asked, 10, begin, answer)

    def _count(self, kind: str) -> int:
        return sum(entry[0] == kind for entry in self.memory.log)

    def _tell(self, kind: str, context: int, epoch: int, detail: Any) -> None:
        self.told.append(Told(kind, context, epoch, detail, self._count("answer")))
        self.cycles["told"].append(self._cycle)

    async def _hear(self, ctx: Any) -> None:
        """Events, messages finished, answers and places given back, in their order; answers drain now and then."""
        block = self.block
        event, match, answer, reserve = block.o_event, block.match, block.answer, block.reserve
        event_signals = [event.valid, event.ready, event.context, event.epoch, event.event, event.counter_valid]
        event_signals += [event.counter_set, event.counter, event.success, event.failure, *event.words]
        finish_signals = [match.finish, match.finish_ready, match.finish_context, match.finish_epoch]
        finish_signals += [match.finish_entry, match.finish_overflow, match.finish_unexpected]
        finish_signals += [match.finish_header, match.finish_failed]
        release_signals = [reserve.release_valid, reserve.release_context, reserve.release_epoch, reserve.release_count]
        answer_signals = [answer.valid, answer.context, answer.epoch, answer.window, answer.offset, answer.inline]
        answer_signals += [
            answer.event,
            answer.event_success_disable,
            answer.unlink_event,
            answer.counter_valid,
            answer.counter,
            answer.success,
            answer.matched,
            answer.entry,
            answer.overflow,
            answer.unexpected,
            answer.header,
        ]
        answer_signals += [answer.failure, *answer.words, *answer.data, *answer.event_words, *answer.unlink_words]
        groups = [event_signals, finish_signals, release_signals, answer_signals]
        held: list[list[int] | None] = [None, None]
        levels = {PacketKind.ACK: 0, PacketKind.REPLY: 0}
        while True:
            ctx.set(event.ready, not self.events_blocked and self._goes())
            ctx.set(match.finish_ready, self._goes())
            ctx.set(answer.ack_ready, ANSWERS_HELD - levels[PacketKind.ACK] >= ANSWERS_PROMISED)
            ctx.set(answer.reply_ready, ANSWERS_HELD - levels[PacketKind.REPLY] >= ANSWERS_PROMISED)
            _, _, *flat = await ctx.tick().sample(*(signal for group in groups for signal in group))
            self._cycle += 1
            heard = [[flat.pop(0) for _ in group] for group in groups]
            for index in range(2):
                valid, ready, *content = heard[index]
                assert held[index] is None or (valid and held[index] == content), "changed before it was taken"
                held[index] = content if valid and not ready else None
            events, finished, released, answered = heard
            if events[0] and events[1]:
                self.cycles["event"].append(self._cycle)
                self._hear_event(*events[2:10], words=events[10:])
            if finished[0] and finished[1]:
                entry, overflow, unexpected, unexpected_header, failed = finished[4:]
                end = (entry, overflow, unexpected_header if unexpected else None)
                self._tell("finish", *finished[2:4], (*end, bool(failed)))
            for kind in levels:
                levels[kind] -= levels[kind] > 0 and not self.answers_blocked and self._goes()
            if answered[0]:
                kind = self._hear_answer(answered[1:])
                levels[kind] += 1
                assert levels[kind] <= ANSWERS_HELD, "there is no room for this answer"
            if released[0]:
                self._tell("release", *released[1:])

    def _hear_event(
        self,
        context: int,
        epoch: int,
        with_event: int,
        with_counter: int,
        counter_set: int,
        counter: int,
        success: int,
        failure: int,
        words: list[int],
    ) -> None:
        assert not counter_set
        event = EVENT.unpack(words) if with_event else None
        self._tell("event", context, epoch, (event, (counter, success, failure) if with_counter else None))

    def _hear_answer(self, values: list[int]) -> PacketKind:
        context, epoch, window, offset, inline, event, if_failed, unlink, counts, counter, success, *values = values
        matched, entry, overflow, unexpected, unexpected_header, failure, *words = values
        header = RESPONSE.unpack(words[:8])
        length = header["manipulated_bytes"]
        detail: dict[str, Any] = {name: value for name, value in header.items() if value}
        if not inline:
            detail |= {"window": window, "offset": offset} if length else {}
            events = [EVENT.unpack(words[16:24]) if event else None, EVENT.unpack(words[24:32]) if unlink else None]
            detail["events"] = (*events, (counter, success, failure) if counts else None)
            detail["if_failed"] = if_failed
            detail["end"] = (entry, overflow, unexpected_header if unexpected else None) if matched else None
        else:
            assert (event, unlink, counts, matched) == (0, 0, 0, 0), "this answer's message has ended before"
            if header["kind"] == PacketKind.REPLY:
                detail["old"] = _text(words[8:16])[:length]
        self._tell("answer", context, epoch, detail)
        return PacketKind(header["kind"])

    async def _watch(self, ctx: Any) -> None:
        """Refusals, messages delivered, and when writes were requested."""
        block = self.block
        refusal, write = block.refusal, block.write
        cycle = 0
        async for (
            _,
            _,
            delivered,
            timed_out,
            refused,
            reason,
            context,
            detail,
            valid,
            ready,
            reserves,
        ) in ctx.tick().sample(
            block.delivered,
            block.timed_out,
            refusal.valid,
            refusal.reason,
            refusal.context,
            refusal.detail,
            write.valid,
            write.ready,
            block.reserve.valid,
        ):
            cycle += 1
            self.delivered += delivered
            if timed_out:
                self.timed_out.append(cycle)
            assert not reserves, "the match unit reserves"
            if valid and ready:
                self.cycles["write"].append(cycle)
            if refused:
                assert reason == Refusal.PACKET_ABORTED
                self.refusals.append((context, detail))


def _text(words: list[int]) -> bytes:
    return b"".join(word.to_bytes(8, "little") for word in words)
