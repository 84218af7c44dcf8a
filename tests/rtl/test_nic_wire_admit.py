"""Admission: which packets get in."""

import random
from collections import defaultdict
from typing import Any

import pytest

from rtl.nic.interfaces.widths import NO_CONTEXT
from rtl.nic.parameters import NicParameters
from rtl.nic.wire.admit import Admit
from rtl.nic.wire.lanes import SEQUENCE_WIDTH
from rtl.packets import REQUEST, RESPONSE, payload_flits
from rtl.portals import Refusal
from tests.rtl.nic_wire_bench import Clock, PacketSink, PacketSource, record_refusals, settle, simulate
from tests.rtl.nic_wire_headers import (
    ACK,
    CONTEXTS,
    DESTINATION,
    JOB,
    MALFORMED,
    MTU_BYTES,
    NID,
    NODES,
    OK,
    PLACE,
    PUT,
    REQUESTS,
    RESPONSES,
    SEQUENCE,
    WRONG_JOB,
    is_request,
    is_response,
)

HALF = 1 << 55  # of the sequence numbers


class Bench:
    """Contexts 0 to 2 are processes 10 to 12; 0 is of job JOB + 1, the others of JOB; 2 is not active."""

    def __init__(self, *, response: bool = False, width: int = 64, stall: float = 0.0, data_stall: float = 0.0) -> None:
        self.width = width
        self.record = RESPONSE if response else REQUEST
        self.lane = CONTEXTS if response else 0
        self.admit = Admit(
            NicParameters(contexts=CONTEXTS, mtu_bytes=MTU_BYTES, nodes=NODES, datapath_bits=width, windows=1),
            response=response,
        )
        self.clock = Clock()
        self.source = PacketSource(self.admit.i_packet, self.clock, stall=stall)
        self.sink = PacketSink(self.admit.o_packet, self.clock, width, stall=stall, data_stall=data_stall)
        self.refusals: list[tuple[int, int, int]] = []

    def run(self, test: Any) -> None:
        async def whole(ctx: Any) -> None:
            ctx.set(self.admit.nid, NID)
            for index in range(CONTEXTS):
                ctx.set(self.admit.contexts[index].pid, 10 + index)
                ctx.set(self.admit.contexts[index].jid, JOB + (index == 0))
                ctx.set(self.admit.states[index].active, index != 2)
            await test(ctx)

        async def refusals(ctx: Any) -> None:
            await record_refusals(ctx, self.admit.refusal, self.refusals)

        simulate(self.admit, whole, self.source.run, self.sink.run, refusals, clock=self.clock)

    async def settle(self, ctx: Any) -> None:
        await settle(ctx, self.admit, lambda: self.source.busy)

    def words(self, **fields: int) -> list[int]:
        return self.record.pack(**{**PLACE, "lane": self.lane, **fields})

    def payload(self, words: list[int], source: random.Random) -> list[int]:
        size = self.record.unpack(words)["payload_bytes"]
        return [source.getrandbits(self.width) for _ in range(payload_flits(size, self.width))]


def _judge_table(table: dict[str, tuple[dict[str, int], Refusal]], *, response: bool) -> None:
    """Each packet comes from a node or lane of its own life: sequence numbers begin anew at what the case says."""
    bench = Bench(response=response)
    verdicts: dict[str, Refusal] = {}

    async def test(ctx: Any) -> None:
        (expected,) = [memory for memory in bench.clock.memories if memory.shape == SEQUENCE_WIDTH]
        for name, (fields, _) in table.items():
            for row in range(expected.depth):
                ctx.set(expected[row], 0)
            before = len(bench.refusals), len(bench.sink.headers)
            words = bench.words(**fields)
            bench.source.inject(words, bench.payload(words, random.Random(1)))
            await bench.settle(ctx)
            refused = bench.refusals[before[0] :]
            assert len(refused) + len(bench.sink.headers) - before[1] == 1, name
            verdicts[name] = Refusal(refused[0][0]) if refused else OK
            for reason, context, detail in refused:
                assert detail == words[1]
                assert reason == WRONG_JOB or context == NO_CONTEXT

    bench.run(test)
    assert verdicts == {name: reason for name, (_, reason) in table.items()}
    assert all(context == 1 for _, _, context, _ in bench.sink.packets)


def test_requests_are_admitted_or_refused_for_the_first_reason() -> None:
    _judge_table(REQUESTS, response=False)


def test_responses_are_admitted_or_refused_for_the_first_reason() -> None:
    _judge_table(RESPONSES, response=True)


@pytest.mark.parametrize("response", [False, True])
def test_every_reserved_bit_is_malformed(response: bool) -> None:
    bench = Bench(response=response)
    good = ACK if response else PUT
    reserved = [(word, bit) for word in range(8) for bit in range(64) if bench.record.reserved_mask(word) >> bit & 1]
    assert len(reserved) == (156 if response else 19)

    async def test(ctx: Any) -> None:
        for word, bit in reserved:
            words = bench.words(**good)
            words[word] |= 1 << bit
            bench.source.inject(words)
        bench.source.inject(bench.words(**good))
        await bench.settle(ctx)

    bench.run(test)
    assert [reason for reason, _, _ in bench.refusals] == [MALFORMED] * len(reserved)
    assert len(bench.sink.packets) == 1


# (fields beside those of an empty put, reason); in order.
SEQUENCES: list[tuple[dict[str, int], Refusal]] = [
    ({"sequence": 0}, OK),
    ({"sequence": 0}, SEQUENCE),
    ({"sequence": 1}, OK),
    ({"sequence": 5}, OK),  # three were lost
    ({"sequence": 3}, SEQUENCE),  # one of them is late
    ({"sequence": 6, "lane": 1}, OK),  # another lane counts for itself
    ({"sequence": 2, "src_nid": 0}, OK),  # and so does another node
    ({"sequence": 2, "src_nid": 0}, SEQUENCE),
    ({"sequence": 6}, OK),
    ({"sequence": 9 << 52, "lane": 2}, SEQUENCE),  # further than half way round
    ({"sequence": 7 + HALF}, SEQUENCE),
    ({"sequence": 7 + HALF - 1}, OK),
    ({"sequence": 2 * HALF - 1}, OK),
    ({"sequence": 2 * HALF - 1}, SEQUENCE),
    ({"sequence": 0}, OK),  # round the end
    ({"sequence": 1, "last": 0}, MALFORMED),  # counts for nothing
    ({"sequence": 2, "dst_nid": 0}, DESTINATION),  # neither does what is not for this node
    ({"sequence": 3, "dst_pid": 99}, DESTINATION),  # nor what no process takes
    ({"sequence": 4, "jid": 5}, WRONG_JOB),  # nor what is of another job
    ({"sequence": 1}, OK),
    ({"sequence": 3}, OK),
    ({"sequence": 7, "lane": 1}, OK),
    ({"sequence": 3, "src_nid": 0}, OK),
]


def test_sequence_numbers_are_used_once() -> None:
    bench = Bench()

    async def test(ctx: Any) -> None:
        for fields, _ in SEQUENCES:
            bench.source.inject(bench.words(**{**PUT, **fields}))
        await bench.settle(ctx)

    bench.run(test)
    assert [reason for reason, _, _ in bench.refusals] == [reason for _, reason in SEQUENCES if reason is not OK]
    admitted = [bench.words(**{**PUT, **fields}) for fields, reason in SEQUENCES if reason is OK]
    assert [words for words, _, _, _ in bench.sink.packets] == admitted


@pytest.mark.parametrize("response", [False, True])
def test_a_replay_is_refused_however_old_it_is(response: bool) -> None:
    """And changes nothing: the next packet of the lane gets in after it, however many numbers were left out."""
    bench = Bench(response=response)
    numbers = [7, *(7 + (1 << power) for power in (1, 15, 16, 17, 32, 48, 54)), 6 + HALF]

    async def test(ctx: Any) -> None:
        for index, number in enumerate(numbers):
            for sequence in (number, *numbers[: index + 1]):
                bench.source.inject(bench.words(**ACK if response else PUT, sequence=sequence))
        await bench.settle(ctx)

    bench.run(test)
    assert [bench.record.unpack(words)["sequence"] for words, _, _, _ in bench.sink.packets] == numbers
    assert [reason for reason, _, _ in bench.refusals] == [SEQUENCE] * sum(range(1, len(numbers) + 1))


class Reference:
    """What becomes of packets in turn."""

    def __init__(self, bench: Bench, *, response: bool) -> None:
        self._bench, self._response = bench, response
        self._expected: dict[tuple[int, int], int] = defaultdict(int)

    def reason(self, words: list[int]) -> Refusal:
        header = self._bench.record.unpack(words)
        lanes = {CONTEXTS} if self._response else set(range(CONTEXTS))
        is_legal = is_response(header) if self._response else is_request(header)
        reserved = any(word & self._bench.record.reserved_mask(index) for index, word in enumerate(words))
        if reserved or not is_legal or header["src_nid"] >= NODES or header["lane"] not in lanes:
            return MALFORMED
        if header["dst_nid"] != NID:
            return DESTINATION
        key = header["src_nid"], header["lane"]
        if (header["sequence"] - self._expected[key]) % (2 * HALF) >= HALF:
            return SEQUENCE
        if header["dst_pid"] not in (10, 11):
            return DESTINATION
        if header["jid"] != JOB + (header["dst_pid"] == 10):
            return WRONG_JOB
        self._expected[key] = header["sequence"] + 1
        return OK


def _random_header(
    source: random.Random, table: dict[str, tuple[dict[str, int], Refusal]], number: int
) -> dict[str, int]:
    """One of the table's, often a good one, sometimes with fields that some other of them has."""
    good = source.random() < 0.6
    fields = dict(source.choice([fields for fields, reason in table.values() if reason is OK or not good]))
    for _ in range(source.choice([0, 0, 0, 1, 2])):
        name, value = source.choice(list(source.choice(list(table.values()))[0].items()))
        fields[name] = value
    fields.setdefault("sequence", number)
    fields.setdefault("src_nid", source.randrange(NODES))
    fields.setdefault("dst_pid", source.choice([10, 11, 11]))
    fields.setdefault("jid", JOB + (fields["dst_pid"] == 10))
    return fields


@pytest.mark.parametrize(
    ("response", "width", "stall", "data_stall"),
    [(False, 64, 0.0, 0.0), (False, 128, 0.3, 0.6), (True, 64, 0.7, 0.2), (True, 128, 0.0, 0.5)],
)
def test_packets_pass_whole_or_not_at_all(response: bool, width: int, stall: float, data_stall: float) -> None:
    bench = Bench(response=response, width=width, stall=stall, data_stall=data_stall)
    source = random.Random(width + response)
    reference = Reference(bench, response=response)
    table = {name: case for name, case in (RESPONSES if response else REQUESTS).items() if "sequence" not in case[0]}
    passed: list[tuple[list[int], int, int, bytes]] = []
    refused: list[tuple[int, int]] = []

    async def test(ctx: Any) -> None:
        for number in range(240):
            words = bench.words(**_random_header(source, table, number))
            flits = bench.payload(words, source)
            poisoned = int(source.random() < 0.2)
            bench.source.inject(words, flits, poisoned=poisoned)
            reason = reference.reason(words)
            if reason is OK:
                text = b"".join(flit.to_bytes(width // 8, "little") for flit in flits)
                passed.append((words, poisoned, REQUEST.unpack(words)["dst_pid"] - 10, text))
            else:
                refused.append((reason, words[1]))
            if number % 60 == 59:
                await bench.settle(ctx)
                await ctx.tick().repeat(3)

    bench.run(test)
    assert 60 < len(passed) < 180
    assert bench.sink.packets == passed
    assert [(reason, detail) for reason, _, detail in bench.refusals] == refused
    assert bench.clock.quiet_edges > 8


def test_the_first_of_several_contexts_of_one_process_is_meant() -> None:
    bench = Bench()

    async def test(ctx: Any) -> None:
        for index in range(CONTEXTS):
            ctx.set(bench.admit.contexts[index].pid, 11)
            ctx.set(bench.admit.contexts[index].jid, JOB)
        for number in range(3):
            for index in range(CONTEXTS):
                ctx.set(bench.admit.states[index].active, index >= number)
            bench.source.inject(bench.words(**PUT, sequence=number))
            await bench.settle(ctx)

    bench.run(test)
    assert [context for _, _, context, _ in bench.sink.packets] == [0, 1, 2]


def test_an_inactive_context_hides_no_active_one_and_a_job_admits_for_its_own_context_alone() -> None:
    """Another context of the packet's job does not help."""
    bench = Bench()

    async def test(ctx: Any) -> None:
        ctx.set(bench.admit.contexts[0].pid, 11)
        bench.source.inject(bench.words(**PUT, sequence=0))
        await bench.settle(ctx)
        ctx.set(bench.admit.states[0].active, 0)
        bench.source.inject(bench.words(**PUT, sequence=1))
        await bench.settle(ctx)

    bench.run(test)
    assert [(reason, context) for reason, context, _ in bench.refusals] == [(WRONG_JOB, 0)]
    assert [context for _, _, context, _ in bench.sink.packets] == [1]


CHANGES = {
    "given to another job": ("jid", JOB + 9, WRONG_JOB),
    "given to another process": ("pid", 77, DESTINATION),
    "closed": ("active", 0, DESTINATION),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_changes_before_the_verdict_falls_counts(name: str) -> None:
    """A packet whose verdict waits, because payloads before it have not passed, is judged by what is true then."""
    member, value, reason = CHANGES[name]
    bench = Bench()
    source = random.Random(17)
    full = {**PUT, "message_bytes": MTU_BYTES, "payload_bytes": MTU_BYTES}

    async def test(ctx: Any) -> None:
        for number in range(3):
            words = bench.words(**full, sequence=number)
            bench.source.inject(words, bench.payload(words, source))
        while len(bench.sink.headers) < 2:
            await ctx.tick()
        await ctx.tick().repeat(4)
        assert len(bench.sink.flits) < MTU_BYTES // 8
        interface = bench.admit.states[1] if member == "active" else bench.admit.contexts[1]
        ctx.set(getattr(interface, member), value)
        await bench.settle(ctx)

    bench.run(test)
    assert [refused for refused, _, _ in bench.refusals] == [reason]
    assert len(bench.sink.packets) == 2


def test_a_packet_keeps_the_life_that_it_was_admitted_in() -> None:
    """However long it waits to be taken; the life is that of the cycle in which the verdict falls."""
    bench = Bench()
    lives = [bench.admit.states[context].epoch for context in range(CONTEXTS)]

    async def test(ctx: Any) -> None:
        for index, life in enumerate(lives):
            ctx.set(life, 10 * index)
        for change in range(6):  # cycles after that in which the verdict falls
            ctx.set(lives[1], 10)
            bench.sink.blocked = True
            bench.source.inject(bench.words(**PUT, sequence=change))
            shown = len(bench.sink.shown_cycles)
            while not ctx.get(bench.admit.i_packet.valid):
                await ctx.tick()
            for _ in range(change):
                await ctx.tick()
            ctx.set(lives[1], 11)
            await ctx.tick().repeat(8)
            assert len(bench.sink.shown_cycles) == shown + 1
            bench.sink.blocked = False
            await bench.settle(ctx)

    bench.run(test)
    assert bench.refusals == []
    assert bench.sink.epochs == [11, 10, 10, 10, 10, 10]


@pytest.mark.parametrize("width", [64, 128])
def test_a_verdict_takes_two_cycles_and_falls_while_the_payload_before_it_passes(width: int) -> None:
    bench = Bench(width=width)
    source = random.Random(19)
    full = {**PUT, "message_bytes": MTU_BYTES, "payload_bytes": MTU_BYTES}

    async def test(ctx: Any) -> None:
        for number in range(2):
            words = bench.words(**full, sequence=number)
            bench.source.inject(words, bench.payload(words, source))
        await bench.settle(ctx)

    bench.run(test)
    # Noted at the end of the cycle, offered at its beginning.
    delays = [s - 1 - o for s, o in zip(bench.sink.shown_cycles, bench.source.offered_cycles, strict=True)]
    assert delays == [2, 2]
    assert bench.sink.shown_cycles[1] - bench.sink.shown_cycles[0] < MTU_BYTES * 8 // width
