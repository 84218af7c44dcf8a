"""Admission: which packets get in."""

import random
from collections import defaultdict
from typing import Any

import pytest

from rtl.nic.parameters import NicParameters
from rtl.nic.wire.admit import Admit
from rtl.packets import REQUEST, RESPONSE, PacketKind, payload_flits
from rtl.portals import AtomicOperation, AtomicType, Fail, Operation, Refusal
from tests.rtl.nic_wire_bench import Clock, PacketSink, PacketSource, record_refusals, settle, simulate

NID, NODES, CONTEXTS, MTU_BYTES = 1, 3, 3, 128
JOB = 0x7000_0001
MAX = 1 << 26
OK = Refusal.NONE
MALFORMED, DESTINATION = Refusal.PACKET_MALFORMED, Refusal.PACKET_DESTINATION
SEQUENCE, WRONG_JOB = Refusal.PACKET_SEQUENCE, Refusal.PACKET_JOB

PLACE = {"dst_nid": NID, "dst_pid": 11, "src_nid": 2, "src_pid": 99, "jid": JOB, "sequence": 0}
ALONE = {"first": 1, "last": 1}
PUT = {"kind": Operation.PUT, **ALONE}
MIDDLE = {**PUT, "first": 0, "last": 0, "message_bytes": 300, "segment_offset": 128, "payload_bytes": 128}
GET = {"kind": Operation.GET, **ALONE}
ATOMIC = {"kind": Operation.ATOMIC, **ALONE, "message_bytes": 64, "payload_bytes": 64}
SWAP = {**ATOMIC, "kind": Operation.SWAP, "atomic_operation": AtomicOperation.SWAP}
CSWAP = {**SWAP, "atomic_operation": AtomicOperation.CSWAP, "message_bytes": 4, "payload_bytes": 12}
CSWAP_LONG = {**CSWAP, "atomic_type": AtomicType.UINT64, "message_bytes": 8, "payload_bytes": 16}
CUT = {**MIDDLE, "aborted": 1, "last": 1, "payload_bytes": 0}
REPLY = {"kind": PacketKind.REPLY, "last": 1}
REPLY_MIDDLE = {**REPLY, "last": 0, "manipulated_bytes": 300, "segment_offset": 128, "payload_bytes": 128}
ACK = {"kind": PacketKind.ACK, "last": 1}

REQUESTS = {
    "an empty put": ({**PUT}, OK),
    "a put in one packet": ({**PUT, "message_bytes": 5, "payload_bytes": 5}, OK),
    "a put of just the MTU": ({**PUT, "message_bytes": 128, "payload_bytes": 128}, OK),
    "the first of several": ({**PUT, "last": 0, "message_bytes": 129, "payload_bytes": 128}, OK),
    "one in the middle": ({**MIDDLE}, OK),
    "the last": ({**MIDDLE, "segment_offset": 256, "payload_bytes": 44, "last": 1}, OK),
    "the last, full": ({**MIDDLE, "message_bytes": 256, "last": 1}, OK),
    "the longest message": ({**MIDDLE, "message_bytes": MAX}, OK),
    "longer than the longest": ({**MIDDLE, "message_bytes": MAX + 1}, MALFORMED),
    "far longer": ({**MIDDLE, "message_bytes": (1 << 32) - 1}, MALFORMED),
    "acknowledged": ({**PUT, "ack_request": 1}, OK),
    "counted": ({**PUT, "ack_request": 2}, OK),
    "no such acknowledgement": ({**PUT, "ack_request": 3}, MALFORMED),
    "first in the middle": ({**MIDDLE, "first": 1}, MALFORMED),
    "not first at the beginning": ({**PUT, "first": 0}, MALFORMED),
    "last in the middle": ({**MIDDLE, "last": 1}, MALFORMED),
    "not last at the end": ({**PUT, "last": 0}, MALFORMED),
    "an empty segment at the end": ({**MIDDLE, "message_bytes": 128, "payload_bytes": 0, "last": 1}, MALFORMED),
    "a segment beyond the end": ({**MIDDLE, "segment_offset": 384, "payload_bytes": 0, "last": 1}, MALFORMED),
    "a segment that wraps": ({**MIDDLE, "segment_offset": (1 << 32) - 128}, MALFORMED),
    "a segment at an odd place": ({**MIDDLE, "segment_offset": 64}, MALFORMED),
    "less than a segment": ({**MIDDLE, "payload_bytes": 127}, MALFORMED),
    "more than what remains": ({**PUT, "message_bytes": 5, "payload_bytes": 6}, MALFORMED),
    "less than what remains": ({**PUT, "message_bytes": 5, "payload_bytes": 4}, MALFORMED),
    "a put with an atomic operation": ({**PUT, "atomic_operation": 1}, MALFORMED),
    "a put with an atomic type": ({**PUT, "atomic_type": 1}, MALFORMED),
    "cut short": ({**CUT}, OK),
    "cut short at the beginning": ({**CUT, "segment_offset": 0, "first": 1}, OK),
    "cut short, but first in the middle": ({**CUT, "first": 1}, MALFORMED),
    "cut short, but not last": ({**CUT, "last": 0}, MALFORMED),
    "cut short, with payload": ({**MIDDLE, "aborted": 1}, MALFORMED),
    "cut short beyond the end": ({**CUT, "segment_offset": 384}, MALFORMED),
    "cut short at an odd place": ({**CUT, "segment_offset": 130}, MALFORMED),
    "an empty get": ({**GET}, OK),
    "a long get": ({**GET, "message_bytes": MAX}, OK),
    "a get that is too long": ({**GET, "message_bytes": MAX + 1}, MALFORMED),
    "a get with payload": ({**GET, "message_bytes": 8, "payload_bytes": 8}, MALFORMED),
    "a get that is not first": ({**GET, "first": 0}, MALFORMED),
    "a get that is not last": ({**GET, "last": 0}, MALFORMED),
    "a get of a segment": ({**GET, "message_bytes": 300, "segment_offset": 128}, MALFORMED),
    "a get with acknowledgement": ({**GET, "ack_request": 1}, MALFORMED),
    "a get with an atomic type": ({**GET, "atomic_type": 1}, MALFORMED),
    "an atomic": ({**ATOMIC}, OK),
    "an atomic with acknowledgement": ({**ATOMIC, "ack_request": 2}, OK),
    "an atomic of one datum": ({**ATOMIC, "message_bytes": 4, "payload_bytes": 4}, OK),
    "an atomic of half a datum": ({**ATOMIC, "atomic_type": 3, "message_bytes": 4, "payload_bytes": 4}, MALFORMED),
    "an atomic of two bytes": ({**ATOMIC, "message_bytes": 2, "payload_bytes": 2}, MALFORMED),
    "an atomic of nothing": ({**ATOMIC, "message_bytes": 0, "payload_bytes": 0}, MALFORMED),
    "an atomic that is too long": ({**ATOMIC, "message_bytes": 72, "payload_bytes": 72}, MALFORMED),
    "an atomic whose length wraps": ({**ATOMIC, "message_bytes": 128 + 64, "payload_bytes": 64}, MALFORMED),
    "an atomic with less payload": ({**ATOMIC, "payload_bytes": 56}, MALFORMED),
    "an atomic of no type": ({**ATOMIC, "atomic_type": 4}, MALFORMED),
    "an atomic of no operation": ({**ATOMIC, "atomic_operation": 6}, MALFORMED),
    "an atomic of a far operation": ({**ATOMIC, "atomic_operation": 11}, MALFORMED),
    "an atomic that swaps": ({**ATOMIC, "atomic_operation": AtomicOperation.SWAP}, MALFORMED),
    "an atomic in the middle": ({**ATOMIC, "first": 0}, MALFORMED),
    "an atomic that goes on": ({**ATOMIC, "last": 0}, MALFORMED),
    "an atomic at an offset": ({**ATOMIC, "message_bytes": 64, "segment_offset": 128}, MALFORMED),
    "an atomic cut short": ({**ATOMIC, "aborted": 1, "payload_bytes": 0}, OK),
    "an atomic cut short, with payload": ({**ATOMIC, "aborted": 1}, MALFORMED),
    "a fetch": ({**ATOMIC, "kind": Operation.FETCH_ATOMIC, "atomic_operation": AtomicOperation.XOR}, OK),
    "a fetch that swaps": ({**SWAP, "kind": Operation.FETCH_ATOMIC}, MALFORMED),
    "a fetch with acknowledgement": ({**ATOMIC, "kind": Operation.FETCH_ATOMIC, "ack_request": 1}, MALFORMED),
    "a swap": ({**SWAP}, OK),
    "a swap that sums": ({**SWAP, "atomic_operation": AtomicOperation.SUM}, MALFORMED),
    "a compare and swap": ({**CSWAP}, OK),
    "a long compare and swap": ({**CSWAP_LONG}, OK),
    "a masked swap": ({**CSWAP_LONG, "atomic_operation": AtomicOperation.MSWAP}, OK),
    "a compare and swap without operand": ({**CSWAP, "payload_bytes": 4}, MALFORMED),
    "a compare and swap of two": ({**CSWAP, "message_bytes": 8, "payload_bytes": 16}, MALFORMED),
    "a long compare and swap of two": ({**CSWAP_LONG, "message_bytes": 16, "payload_bytes": 24}, MALFORMED),
    "no operation": ({**PUT, "kind": 0}, MALFORMED),
    "a list operation": ({**PUT, "kind": Operation.ME_APPEND}, MALFORMED),
    "a response among requests": ({**ACK, "first": 1}, MALFORMED),
    "another kind": ({**PUT, "kind": 6}, MALFORMED),
    "a node that is not there": ({**PUT, "src_nid": NODES}, MALFORMED),
    "a node that is far from there": ({**PUT, "src_nid": 0x8002}, MALFORMED),
    "the lane of responses": ({**PUT, "lane": CONTEXTS}, MALFORMED),
    "the last lane": ({**PUT, "lane": CONTEXTS - 1}, OK),
    "a lane that is not there": ({**PUT, "lane": 0x82}, MALFORMED),
    "another node": ({**PUT, "dst_nid": 2}, DESTINATION),
    "another node, replayed": ({**PUT, "dst_nid": 2, "sequence": 0xFFFF}, DESTINATION),
    "another node, malformed": ({**PUT, "dst_nid": 2, "last": 0}, MALFORMED),
    "replayed": ({**PUT, "sequence": 0xFFFF}, SEQUENCE),
    "replayed, no such process": ({**PUT, "sequence": 0xFFFF, "dst_pid": 99}, SEQUENCE),
    "no such process": ({**PUT, "dst_pid": 99}, DESTINATION),
    "a process that is not active": ({**PUT, "dst_pid": 12}, DESTINATION),
    "a process of another job": ({**PUT, "dst_pid": 10}, WRONG_JOB),
    "from another job": ({**PUT, "jid": JOB ^ 1 << 31}, WRONG_JOB),
    "from job 0": ({**PUT, "jid": 0}, WRONG_JOB),
}
RESPONSES = {
    "an acknowledgement": ({**ACK, "manipulated_bytes": 300}, OK),
    "a silent one": ({**ACK, "silent": 1}, OK),
    "a failed one": ({**ACK, "fail": Fail.DROPPED}, OK),
    "one with payload": ({**ACK, "manipulated_bytes": 8, "payload_bytes": 8}, MALFORMED),
    "one that is not last": ({**ACK, "last": 0}, MALFORMED),
    "one of a segment": ({**ACK, "manipulated_bytes": 300, "segment_offset": 128}, MALFORMED),
    "one of too much": ({**ACK, "manipulated_bytes": MAX + 1}, MALFORMED),
    "an empty reply": ({**REPLY}, OK),
    "a reply": ({**REPLY, "manipulated_bytes": 7, "payload_bytes": 7}, OK),
    "a reply in the middle": ({**REPLY_MIDDLE}, OK),
    "a failing reply in the middle": ({**REPLY_MIDDLE, "fail": Fail.SEGMENT}, OK),
    "a reply of too much": ({**REPLY_MIDDLE, "manipulated_bytes": MAX + 1}, MALFORMED),
    "the end of a reply": ({**REPLY_MIDDLE, "segment_offset": 256, "payload_bytes": 44, "last": 1}, OK),
    "a reply that ends early": ({**REPLY_MIDDLE, "last": 1}, MALFORMED),
    "a reply that does not end": ({**REPLY, "last": 0}, MALFORMED),
    "a reply of less": ({**REPLY_MIDDLE, "payload_bytes": 120}, MALFORMED),
    "a reply that gave up": ({**REPLY_MIDDLE, "fail": Fail.SEGMENT, "payload_bytes": 0, "last": 1}, OK),
    "a reply that gave up without failing": ({**REPLY_MIDDLE, "payload_bytes": 0, "last": 1}, MALFORMED),
    "a reply that gave up and goes on": ({**REPLY_MIDDLE, "fail": Fail.SEGMENT, "payload_bytes": 0}, MALFORMED),
    "a reply that gave up beyond": (
        {**REPLY_MIDDLE, "fail": Fail.SEGMENT, "payload_bytes": 0, "last": 1, "segment_offset": 384},
        MALFORMED,
    ),
    "a request among responses": ({**REPLY, "kind": Operation.PUT}, MALFORMED),
    "another kind of response": ({**ACK, "kind": 66}, MALFORMED),
    "the lane of a context": ({**ACK, "lane": 0}, MALFORMED),
    "a lane beyond": ({**ACK, "lane": CONTEXTS + 1}, MALFORMED),
    "a node that is not there": ({**ACK, "src_nid": NODES}, MALFORMED),
    "another node": ({**ACK, "dst_nid": 0}, DESTINATION),
    "replayed": ({**ACK, "sequence": 0x8000}, SEQUENCE),
    "just not replayed": ({**ACK, "sequence": 0x7FFF}, OK),
    "a process that is not active": ({**ACK, "dst_pid": 12}, DESTINATION),
    "from another job": ({**ACK, "jid": JOB + 1}, WRONG_JOB),
}


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
        (expected,) = [memory for memory in bench.clock.memories if memory.shape == 16]
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
                assert reason == WRONG_JOB or context == 0

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
    assert len(reserved) > 40

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
    ({"sequence": 0x9000, "lane": 2}, SEQUENCE),  # further than half way round
    ({"sequence": 7 + 0x8000}, SEQUENCE),
    ({"sequence": 7 + 0x7FFF}, OK),
    ({"sequence": 0xFFFF}, OK),
    ({"sequence": 0xFFFF}, SEQUENCE),
    ({"sequence": 0}, OK),  # round the end
    ({"sequence": 1, "last": 0}, MALFORMED),  # counts for nothing
    ({"sequence": 2, "dst_nid": 0}, DESTINATION),  # neither does what is not for this node
    ({"sequence": 1, "dst_pid": 99}, DESTINATION),  # no process takes it, but it has been here
    ({"sequence": 1}, SEQUENCE),
    ({"sequence": 2, "jid": 5}, WRONG_JOB),  # the same
    ({"sequence": 2}, SEQUENCE),
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


def _segments(total_bytes: int, near: int) -> set[tuple[int, int, int]]:
    """(offset, bytes, last) of those segments of a message that lie about `near`, and of the last one."""
    offsets = range(0, max(total_bytes, 1), MTU_BYTES)
    chosen = {offset for offset in range(near - 1, near + 2) if offset in offsets} | {offsets[-1]}
    return {(offset, min(MTU_BYTES, total_bytes - offset), int(offset == offsets[-1])) for offset in chosen}


def _is_request(header: dict[str, int]) -> bool:
    """A reference for requests: lists what is legal instead of deriving it."""
    kind, total = header["kind"], header["message_bytes"]
    segment = header["segment_offset"], header["payload_bytes"], header["last"]
    segments = _segments(total, segment[0])
    legal: set[tuple[int, ...]] = set()  # segment and first
    pairs = {(0, 0)}
    acks = {0, 1, 2} if kind in (Operation.PUT, Operation.ATOMIC) else {0}
    if kind == Operation.PUT and header["aborted"]:
        legal = {(offset, 0, 1, 0) for offset, _, _ in segments} | {(0, 0, 1, 1)}
    elif kind == Operation.PUT:
        legal = {(offset, size, last, int(offset == 0)) for offset, size, last in segments}
    elif kind == Operation.GET:
        legal = {(0, 0, 1, 1)}
    elif kind in (Operation.ATOMIC, Operation.FETCH_ATOMIC, Operation.SWAP):
        operations = {8, 9, 10} if kind == Operation.SWAP else {0, 1, 2, 3, 4, 5}
        datum = {0: 4, 1: 4, 2: 8, 3: 8}.get(header["atomic_type"], 0)
        paired = header["atomic_operation"] in (9, 10)
        sizes = {datum} if paired else set(range(datum, 65, datum or 100))
        pairs = {(operation, datum_type) for operation in operations for datum_type in range(4)}
        if total in sizes and datum:
            legal = {(0, 0 if header["aborted"] else total + 8 * paired, 1, 1)}
    return (
        (*segment, header["first"]) in legal
        and header["ack_request"] in acks
        and (header["atomic_operation"], header["atomic_type"]) in pairs
        and total <= MAX
    )


def _is_response(header: dict[str, int]) -> bool:
    segment = header["segment_offset"], header["payload_bytes"], header["last"]
    segments = _segments(header["manipulated_bytes"], segment[0])
    if header["fail"]:
        segments |= {(offset, 0, 1) for offset, _, _ in segments}
    legal = {PacketKind.ACK: {(0, 0, 1)}, PacketKind.REPLY: segments}
    return segment in legal.get(header["kind"], ()) and header["manipulated_bytes"] <= MAX


class Reference:
    """What becomes of packets in turn."""

    def __init__(self, bench: Bench, *, response: bool) -> None:
        self._bench, self._response = bench, response
        self._expected: dict[tuple[int, int], int] = defaultdict(int)

    def reason(self, words: list[int]) -> Refusal:
        header = self._bench.record.unpack(words)
        lanes = {CONTEXTS} if self._response else set(range(CONTEXTS))
        is_legal = _is_response(header) if self._response else _is_request(header)
        reserved = any(word & self._bench.record.reserved_mask(index) for index, word in enumerate(words))
        if reserved or not is_legal or header["src_nid"] >= NODES or header["lane"] not in lanes:
            return MALFORMED
        if header["dst_nid"] != NID:
            return DESTINATION
        key = header["src_nid"], header["lane"]
        if (header["sequence"] - self._expected[key]) % 0x1_0000 >= 0x8000:
            return SEQUENCE
        self._expected[key] = header["sequence"] + 1
        if header["dst_pid"] not in (10, 11):
            return DESTINATION
        return OK if header["jid"] == JOB + (header["dst_pid"] == 10) else WRONG_JOB


def _random_header(
    source: random.Random, table: dict[str, tuple[dict[str, int], Refusal]], number: int
) -> dict[str, int]:
    """One of the table's, often a good one, sometimes with fields that some other of them has."""
    good = source.random() < 0.6
    fields = dict(source.choice([fields for fields, reason in table.values() if reason is OK or not good]))
    for _ in range(source.choice([0, 0, 0, 1, 2])):
        name, value = source.choice(list(source.choice(list(table.values()))[0].items()))
        fields[name] = value
    fields.setdefault("sequence", number & 0xFFFF)
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
