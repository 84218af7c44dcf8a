"""Commands are checked, become packets, and are reported: against a reference, at random and by hand."""

import random
from typing import Any

import pytest

from rtl.portals import COMMAND, COUNTER_COMMAND, LIST_COMMAND, Operation, Refusal
from tests.rtl.nic_initiator_bench import simulate
from tests.rtl.nic_issue_bench import MTU, IssueBench
from tests.rtl.nic_issue_model import Outcome, outcome
from tests.rtl.quiescence import QuiescenceJudge

PUT = {"operation": Operation.PUT, "length_bytes": 8}
GET = {"operation": Operation.GET, "length_bytes": 8}
ATOMIC = {"operation": Operation.ATOMIC, "length_bytes": 8, "atomic_type": 2}
FETCH = {**ATOMIC, "operation": Operation.FETCH_ATOMIC}
SWAP = {**ATOMIC, "operation": Operation.SWAP, "atomic_operation": 8}
CSWAP = {**SWAP, "atomic_operation": 9}
MALFORMED, WINDOW, ENTRY = Refusal.COMMAND_MALFORMED, Refusal.COMMAND_WINDOW, Refusal.COMMAND_ENTRY

# Fields, bits added to words, what must come of it.
CHECKS: dict[str, tuple[dict[str, int], dict[int, int], Refusal]] = {
    "put": (PUT, {}, Refusal.NONE),
    "empty put beside every window": ({**PUT, "length_bytes": 0, "local_window": 99}, {}, Refusal.NONE),
    "empty get beside every window": ({**GET, "length_bytes": 0, "local_window": 99}, {}, Refusal.NONE),
    "operation 0": ({**PUT, "operation": 0}, {}, MALFORMED),
    "operation 6": ({**PUT, "operation": 6}, {}, MALFORMED),
    "operation 15": ({**PUT, "operation": 15}, {}, MALFORMED),
    "operation 23": ({"operation": 23}, {}, MALFORMED),
    "operation 31": ({"operation": 31}, {}, MALFORMED),
    "operation 34": ({"operation": 34}, {}, MALFORMED),
    "operation 0x81": ({**PUT, "operation": 0x81}, {}, MALFORMED),
    "reserved bit of word 0": (PUT, {0: 1 << 48}, MALFORMED),
    "last bit of word 0": (PUT, {0: 1 << 63}, MALFORMED),
    "reserved bit of word 2": (PUT, {2: 1 << 56}, MALFORMED),
    "last bit of word 7": (GET, {7: 1 << 63}, MALFORMED),
    "ack request 3": ({**PUT, "ack_request": 3}, {}, MALFORMED),
    "ack requests of a put": ({**PUT, "ack_request": 2}, {}, Refusal.NONE),
    "ack request of a get": ({**GET, "ack_request": 1}, {}, MALFORMED),
    "ack request of a fetch": ({**FETCH, "ack_request": 2}, {}, MALFORMED),
    "ack request of a swap": ({**SWAP, "ack_request": 1}, {}, MALFORMED),
    "ack request of an atomic": ({**ATOMIC, "ack_request": 1}, {}, Refusal.NONE),
    "last node": ({**PUT, "dst_nid": 4}, {}, Refusal.NONE),
    "no such node": ({**PUT, "dst_nid": 5}, {}, MALFORMED),
    "longest message, too long for its window": ({**PUT, "length_bytes": 1 << 26}, {}, WINDOW),
    "too long a message": ({**PUT, "length_bytes": (1 << 26) + 1}, {}, MALFORMED),
    "put with an atomic operation": ({**PUT, "atomic_operation": 1}, {}, MALFORMED),
    "get with an atomic type": ({**GET, "atomic_type": 1}, {}, MALFORMED),
    "atomic": (ATOMIC, {}, Refusal.NONE),
    "atomic of 64 bytes": ({**ATOMIC, "length_bytes": 64}, {}, Refusal.NONE),
    "atomic of 72 bytes": ({**ATOMIC, "length_bytes": 72}, {}, MALFORMED),
    "atomic of nothing": ({**ATOMIC, "length_bytes": 0}, {}, MALFORMED),
    "atomic of half a datum": ({**ATOMIC, "length_bytes": 12}, {}, MALFORMED),
    "atomic of three short data": ({**ATOMIC, "length_bytes": 12, "atomic_type": 1}, {}, Refusal.NONE),
    "atomic of half a short datum": ({**ATOMIC, "length_bytes": 6, "atomic_type": 0}, {}, MALFORMED),
    "atomic operation 6": ({**ATOMIC, "atomic_operation": 6}, {}, MALFORMED),
    "atomic operation 5": ({**ATOMIC, "atomic_operation": 5}, {}, Refusal.NONE),
    "atomic operation 11": ({**SWAP, "atomic_operation": 11}, {}, MALFORMED),
    "atomic type 4": ({**ATOMIC, "atomic_type": 4}, {}, MALFORMED),
    "swap as an atomic": ({**ATOMIC, "atomic_operation": 8}, {}, MALFORMED),
    "cswap as a fetch": ({**FETCH, "atomic_operation": 9}, {}, MALFORMED),
    "sum as a swap": ({**SWAP, "atomic_operation": 0}, {}, MALFORMED),
    "swap of several data": ({**SWAP, "length_bytes": 32}, {}, Refusal.NONE),
    "cswap": (CSWAP, {}, Refusal.NONE),
    "mswap of a short datum": (
        {**CSWAP, "atomic_operation": 10, "length_bytes": 4, "atomic_type": 1},
        {},
        Refusal.NONE,
    ),
    "cswap of two short data": ({**CSWAP, "atomic_type": 1}, {}, MALFORMED),
    "cswap of two data": ({**CSWAP, "length_bytes": 16}, {}, MALFORMED),
    "no such counter": ({**PUT, "counter": 16, "ct_send": 1}, {}, ENTRY),
    "no such counter for acks": ({**PUT, "counter": 16, "ct_ack": 1}, {}, ENTRY),
    "no such counter for replies": ({**GET, "counter": 255, "ct_reply": 1}, {}, ENTRY),
    "a counter that nothing names": ({**PUT, "counter": 16}, {}, Refusal.NONE),
    "malformed, and no such counter": ({**PUT, "counter": 16, "ct_send": 1, "dst_nid": 5}, {}, MALFORMED),
    "no such counter, and outside": ({**PUT, "counter": 16, "ct_send": 1, "local_window": 3}, {}, ENTRY),
    "whole window": ({**PUT, "length_bytes": 64, "local_window": 1}, {}, Refusal.NONE),
    "one byte too many": ({**PUT, "length_bytes": 65, "local_window": 1}, {}, WINDOW),
    "end of the window": ({**PUT, "length_bytes": 1, "local_offset": 63, "local_window": 1}, {}, Refusal.NONE),
    "one byte beyond the end": ({**PUT, "length_bytes": 2, "local_offset": 63, "local_window": 1}, {}, WINDOW),
    "wraps at 48 bits": ({**PUT, "length_bytes": 16, "local_offset": (1 << 48) - 8}, {}, WINDOW),
    "no right to read": ({**PUT, "local_window": 2}, {}, WINDOW),
    "no such window": ({**PUT, "local_window": 4}, {}, WINDOW),
    "no such window, whose low bits name one": ({**PUT, "local_window": 0x80}, {}, WINDOW),
    "get into what may be written": ({**GET, "local_window": 2}, {}, Refusal.NONE),
    "get into what may be read": ({**GET, "local_window": 1}, {}, WINDOW),
    "fetch": ({**FETCH, "local_window": 1, "get_window": 2}, {}, Refusal.NONE),
    "fetch into what may be read": ({**FETCH, "local_window": 1, "get_window": 1}, {}, WINDOW),
    "fetch into less": ({**FETCH, "length_bytes": 16, "get_window": 2, "get_offset": 49}, {}, WINDOW),
    "fetch of what may be written": ({**FETCH, "local_window": 2, "get_window": 2}, {}, WINDOW),
    "operand and datum fill the window": ({**CSWAP, "local_window": 1, "local_offset": 48}, {}, Refusal.NONE),
    "the operand makes it too long": ({**CSWAP, "local_window": 1, "local_offset": 49}, {}, WINDOW),
    "the reply has no operand": ({**CSWAP, "get_window": 2, "get_offset": 56}, {}, Refusal.NONE),
    "counter": ({"operation": 32, "counter": 15}, {}, Refusal.NONE),
    "increment of no such counter": ({"operation": 33, "counter": 16}, {}, ENTRY),
    "reserved bit of a counter command": ({"operation": 33, "counter": 16}, {1: 1}, MALFORMED),
}


def check_words(name: str) -> list[int]:
    fields, added, _ = CHECKS[name]
    words = COMMAND.pack(**{"user_data": 7, "pt_index": 0, **fields})
    return [word | added.get(index, 0) for index, word in enumerate(words)]


def test_every_check_refuses_what_it_must() -> None:
    """The table, the reference and the block agree."""
    bench = IssueBench(contexts=1)

    async def test(ctx: Any, judge: QuiescenceJudge) -> None:
        bench.configure(ctx)
        for name in CHECKS:
            bench.post(0, words=check_words(name))
        bench.post(0, unreadable=True)
        await bench.run(ctx, judge, cycles=6000)

    simulate(bench.issue, test)
    expected = {name: refusal for name, (_, _, refusal) in CHECKS.items()} | {"unreadable": Refusal.MEMORY_ERROR}
    assert len(bench.told) == len(expected)
    for index, ((name, refusal), told) in enumerate(zip(expected.items(), bench.told, strict=True)):
        assert told.refusal == ((refusal, index) if refusal else None), name
        assert told.retired is (refusal is not Refusal.NONE), name
        if name in CHECKS:
            assert outcome(check_words(name), context=0).refusal == refusal, name


# ---- random traffic ----


def random_fields(source: random.Random) -> dict[str, int]:
    """Mostly good commands that move data, all alignments, some spoilt."""
    operation = source.choice([1, 1, 1, 2, 3, 4, 5])
    fields = {
        "operation": operation,
        "dst_nid": source.randrange(5),
        "dst_pid": source.getrandbits(16),
        "pt_index": source.getrandbits(8),
        "local_offset": source.randrange(100),
        "get_offset": source.randrange(100),
        "length_bytes": source.choice([0, 1, 8, source.randrange(4 * MTU), MTU, MTU + 1, 2 * MTU]),
        "counter": source.randrange(16),
        **{name: source.getrandbits(64) for name in ("remote_offset", "match_bits", "header_data", "user_data")},
    }
    flags = ("event_send_disable", "event_success_disable", "ct_send", "ct_ack", "ct_reply", "ct_bytes")
    fields |= {name: source.random() < 0.3 for name in flags}
    if operation in (1, 3):
        fields["ack_request"] = source.choice([0, 0, 1, 2])
    if operation >= 3:
        fields["atomic_type"] = source.randrange(4)
        fields["atomic_operation"] = source.choice((8, 9, 10) if operation == 5 else (0, 1, 2, 3, 4, 5))
        datum = 4 if fields["atomic_type"] < 2 else 8
        fields["length_bytes"] = datum * (1 if fields["atomic_operation"] > 8 else source.randrange(1, 64 // datum + 1))
    spoils = {
        "local_window": source.randrange(6),
        "get_window": source.randrange(6),
        "local_offset": source.choice([0x8000 - 8, 1 << 47]),
        "counter": 200,
        "dst_nid": 5,
        "atomic_type": 3,
        "ack_request": source.randrange(4),
    }
    if source.random() < 0.25:
        name = source.choice(list(spoils))
        fields[name] = spoils[name]
    return fields


def random_words(source: random.Random) -> list[int]:
    draw = source.random()
    if draw < 0.08:
        fields = {"operation": source.choice([32, 33]), "counter": source.randrange(18)}
        values = {name: source.getrandbits(64) for name in ("success", "failure", "user_data")}
        return COUNTER_COMMAND.pack(**fields, **values)
    if draw < 0.16:
        return LIST_COMMAND.pack(
            operation=source.randrange(16, 23), pt_index=source.randrange(8), user_data=source.getrandbits(64)
        )
    return COMMAND.pack(**random_fields(source))


def judge_packets(bench: IssueBench, context: int, outcomes: list[Outcome]) -> None:
    expected = [packet for outcome in outcomes for packet in outcome.packets]
    jobs = [job for job in bench.jobs if job.context == context]
    assert len(jobs) == len(expected)
    entries = iter([entry for entry in bench.opened if entry["context"] == context])
    names = (0, 0)
    for job, packet in zip(jobs, expected, strict=True):
        header = dict(job.header)
        if packet["header"]["first"]:
            handle = next(entries)["handle"] if packet["due"] else 0
            names = (handle, handle * 7 % 256)
        assert (header.pop("handle"), header.pop("generation")) == names
        assert header == packet["header"]
        assert (job.address, job.payload_bytes) == (packet["address"], packet["header"]["payload_bytes"])
        assert job.resume is not bool(packet["header"]["first"])


def judge_reports(bench: IssueBench, context: int, words: list[list[int]], outcomes: list[Outcome]) -> None:
    told = list(bench.of(context))
    assert len(told) == len(outcomes)
    for index, (report, result, command) in enumerate(zip(told, outcomes, words, strict=True)):
        refusal = result.refusal
        event, counter = result.event, result.counter
        if result.is_list:
            refusal = bench.list_refusals.get(command[6], 0)
            event = {"kind": 17, "fail": refusal, "user_data": command[6]} if refusal else None
        if any(packet["address"] in bench.bad and packet["address"] for packet in result.packets):
            event, counter = result.failed_event, result.failed_counter
        assert report.event == event, index
        assert report.counter == counter, index
        assert report.refusal == ((refusal, index) if refusal else None)
        assert report.retired is bool(refusal)


TRAFFIC: dict[str, dict[str, Any]] = {
    "stalls": {"stall": 0.5},
    "narrow queues": {"places": 2, "stall": 0.2},
    "few entries": {"entries": 1, "send_cycles": 1, "leave_cycles": 1},
    "fast sender": {"send_cycles": 1, "leave_cycles": 150, "datapath_bits": 128},
    "memory fails": {"failures": 0.2, "contexts": 1},
    "many contexts": {"contexts": 6},
    "lists wait": {"list_defers": 0.8, "stall": 0.2},
}


@pytest.mark.parametrize("name", TRAFFIC)
def test_random_commands(name: str) -> None:
    """Every packet, entry, list command, event, counter and retirement, of each context in order."""
    case = dict(TRAFFIC[name])
    sizes = {key: case.pop(key) for key in ("contexts", "datapath_bits", "stall") if key in case}
    places, entries, failures = case.pop("places", 8), case.pop("entries", 4), case.pop("failures", 0.0)
    bench = IssueBench(seed=3, **sizes)
    for key, value in case.items():
        setattr(bench, key, value)
    source = random.Random(name)
    contexts = bench.parameters.contexts
    words: list[list[list[int]]] = [[] for _ in range(contexts)]
    outcomes: list[list[Outcome]] = [[] for _ in range(contexts)]

    async def test(ctx: Any, judge: QuiescenceJudge) -> None:
        bench.configure(ctx)
        for process in bench.processes:
            process.places, process.entries = places, entries
        for index in range(60):
            context = index % contexts
            command = random_words(source)
            result = outcome(command, context=context)
            if len(result.packets) == 1 and source.random() < failures and result.packets[0]["address"]:
                bench.bad.add(result.packets[0]["address"])
            if result.is_list and source.random() < 0.3:
                bench.list_refusals[command[6]] = Refusal.COMMAND_ENTRY
            words[context].append(command)
            outcomes[context].append(result)
            bench.post(context, words=command)
        await bench.run(ctx, judge, cycles=9000)
        while any(process.open_entries for process in bench.processes):  # until the last response has come
            await bench.step(ctx, judge)

    judge = simulate(bench.issue, test)
    # A failing address may be met by a longer message, too, whose packets then depend on when that is known.
    for context in range(contexts):
        if not bench.bad:
            judge_packets(bench, context, outcomes[context])
        judge_reports(bench, context, words[context], outcomes[context])
        expected = [result.entry for result in outcomes[context] if result.entry]
        opened = [{k: v for k, v in entry.items() if k != "handle"} for entry in bench.opened]
        assert [entry for entry in opened if entry["context"] == context] == expected
        lists = [command for command, result in zip(words[context], outcomes[context], strict=True) if result.is_list]
        assert [command for owner, command in bench.lists if owner == context] == lists
        assert bench.processes[context].reserved == 0, "places were lost"
    assert judge.quiet_edges > 3
