"""RandomAccess's extension by itself, stopped at every single instruction: what its memory says is always true."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from nimble.access import READ_WRITE, STATE_BASE, AddressSpace, Memory, Registers, Right, Window
from nimble.engine.closures import translate
from nimble.engine.outcome import Outcome, Status, no_time
from nimble.program import Program
from nimble.services import Services
from nimble.verifier import verify
from rtl.portals import COMMAND, EVENT, EventKind, Operation
from sw.extensions import random_access as extension
from sw.extensions.random_access import MATCH, UPDATER, Message, Updater
from sw.kernel.contexts import ContextHandle, ContextLimits
from sw.portals.endpoint import COMMAND_TAIL, EVENT_HEAD

QUEUE, RING, PAGE, TABLE = 0x10000, 0x20000, 0x30000, 0x40000
WORDS = 8
BEFORE = 3  # commands of the process
LIMITS = ContextLimits(
    mtu_bytes=4096, portal_entries=8, match_entries=32, unexpected_headers=16, counters=16, outstanding=8, nodes=2
)
EVENTS = [
    # value, asks for an acknowledgement, kind of message
    (0x1234_5678_9ABC_DEF3, 1, Message.UPDATE),
    (0x0FED_CBA9_8765_4323, 0, Message.UPDATE),
    (0x1111_1111_1111_1113, 1, Message.BARRIER),
    (0xF000_0000_0000_0005, 1, Message.UPDATE),
]


@pytest.fixture(scope="module")
def program() -> Program:
    handle = ContextHandle(
        index=0, nid=1, pid=9, jid=7, page_va=PAGE, commands_va=RING, commands_log2=2, events_va=QUEUE, events_log2=3,
        counters_va=0, event="context.0", interrupt=True, counter_interrupt=False, limits=LIMITS,
    )  # fmt: skip
    updater = Updater(rank=1, table_va=TABLE, table_words=WORDS, handle=handle, commands_before=BEFORE)
    return updater.program()


@dataclass
class Node:
    """What the extension sees, and a journal of its stores to the device."""

    table: memoryview
    ring: memoryview
    state: memoryview
    written: list[tuple[int, int]]
    outcome: Outcome

    def updater(self) -> dict[str, int]:
        return UPDATER.unpack(self.state)


def run(program: Program, budget: int, handled: int = 0, events: list[tuple[int, int, Message]] = EVENTS) -> Node:
    """One call, with ``events`` in the queue behind ``handled`` earlier ones."""
    queue = bytearray(8 * 64)
    for index, (value, ack, kind) in enumerate(events):
        bits = MATCH.pack(kind=kind, ack=ack, sequence=100 + index, rank=3)[0]
        words = EVENT.pack(
            kind=EventKind.PUT,
            src_nid=7,
            src_pid=8,
            match_bits=bits,
            header_data=value,
            sequence=(handled + index + 1) % (1 << 32),
        )
        at = (handled + index) % 8 * 64
        queue[at : at + 64] = b"".join(word.to_bytes(8, "little") for word in words)
    table, ring, state = bytearray(8 * WORDS), bytearray(4 * 64), bytearray(program.state)
    state[:8] = handled.to_bytes(8, "little")
    written: list[tuple[int, int]] = []
    page = Registers(lambda offset, width: 0, lambda offset, width, value: written.append((offset, value)))
    windows = [
        Window("events", QUEUE, len(queue), Right.READ, Memory(queue)),
        Window("commands", RING, len(ring), READ_WRITE, Memory(ring)),
        Window("table", TABLE, len(table), READ_WRITE, Memory(table)),
        Window("page", PAGE, 0x20, Right.WRITE, page, (8,)),
        Window("state", STATE_BASE, len(state), READ_WRITE, Memory(state)),
    ]
    space = AddressSpace(windows)
    facts = verify(program, Services(), space)
    thread = translate(program, space=space, services=Services(), checked=True, facts=facts)
    outcome = thread.run("message", (), budget=budget, spend=no_time)
    views = [memoryview(one).cast("Q") for one in (table, ring, state)]
    return Node(*views, written, outcome)


def is_update(index: int) -> bool:
    return EVENTS[index][2] is Message.UPDATE


def apply(table: list[int], index: int) -> None:
    value = EVENTS[index][0]
    table[value % WORDS] ^= value


def test_a_whole_call(program: Program) -> None:
    node = run(program, 10_000)
    table = [0] * WORDS
    for index in (0, 1, 3):
        apply(table, index)
    assert (node.outcome.status, node.outcome.r0) == (Status.RETURNED, 0)
    assert list(node.table) == table
    updater = node.updater()
    assert (updater["handled"], updater["sent"], updater["unexpected"]) == (4, 2, 1)
    # Half of the queue's eight entries, and the end.
    assert node.written == [
        (COMMAND_TAIL, BEFORE + 1), (COMMAND_TAIL, BEFORE + 2), (EVENT_HEAD, 4), (EVENT_HEAD, 4)
    ]  # fmt: skip
    answer = MATCH.pack(kind=Message.ACK, rank=1)[0]
    for number, sequence in enumerate((100, 103)):
        slot = (BEFORE + number) % 4
        command = COMMAND.unpack(node.ring[8 * slot : 8 * slot + 8])
        expected = {
            "operation": Operation.PUT, "event_send_disable": 1, "dst_nid": 7, "dst_pid": 8, "match_bits": answer,
            "header_data": sequence,
        }  # fmt: skip
        assert command == {**dict.fromkeys(command, 0), **expected}


def test_indices_wrap(program: Program) -> None:
    node = run(program, 10_000, handled=(1 << 32) - 2)
    assert node.updater()["handled"] == (1 << 32) + 2
    assert node.written[-1] == (EVENT_HEAD, 2)


def test_stopped_at_every_instruction(program: Program) -> None:
    """Whoever takes over knows from the memory alone which updates are in the table, as the receiver does."""
    length = run(program, 10_000).outcome.instructions
    for budget in range(length):
        node = run(program, budget)
        assert (node.outcome.status, node.outcome.instructions) == (Status.BUDGET, budget)
        updater = node.updater()
        handled = updater["handled"]
        table = [0] * WORDS
        for index in filter(is_update, range(handled)):
            apply(table, index)
        if updater["applying"] == handled + 1:
            value = EVENTS[handled][0]
            assert updater["before"] == table[value % WORDS]
            if node.table[value % WORDS] != updater["before"]:
                apply(table, handled)
        assert list(node.table) == table, budget
        done = [one for one in range(handled) if is_update(one) and EVENTS[one][1]]
        tails = [value for offset, value in node.written if offset == COMMAND_TAIL]
        assert len(done) <= len(tails) <= len(done) + 1
        assert updater["sent"] in (len(tails), len(tails) - 1)
        strangers = sum(not is_update(one) for one in range(handled))
        assert updater["unexpected"] in (strangers, strangers + 1)


def test_the_budget_suffices_for_a_full_queue(program: Program) -> None:
    """The longest way: updates that all want an answer."""
    events = [(value, 1, Message.UPDATE) for value in range(8)]
    outcome = run(program, 10_000, events=events).outcome
    assert outcome.status is Status.RETURNED
    assert outcome.instructions < extension.BUDGET_PER_CALL + extension.BUDGET_PER_EVENT * len(events)
    one = (
        run(program, 10_000, events=events[:2]).outcome.instructions
        - run(program, 10_000, events=events[:1]).outcome.instructions
    )
    assert one < extension.BUDGET_PER_EVENT
