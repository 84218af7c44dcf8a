"""What others may try with a whole NIC: bad packets, bad doorbells, registers that are not theirs, changed commands."""

import itertools

import pytest

from rtl.packets import DATAPATH_BITS, REQUEST, RESPONSE, PacketKind
from rtl.portals import EVENT, AckRequest, EventKind, Fail, List, Refusal
from tests.golden.process import append, get, portal, put
from tests.rtl.whole.board import FIRST_PID, RING_LOG2, Place, Who, to_bytes, usual, words_at
from tests.rtl.whole.scene import JOB, Scene, left, scene, source, to
from tests.rtl.whole.simulator import OKAY, SLVERR, Seen, Settings

A, B, C = (0, 0), (1, 0), (2, 1)
widths = pytest.mark.parametrize("bits", DATAPATH_BITS)


def refusals(at: Scene, nid: int) -> dict[str, int]:
    """Counters that are not 0."""
    counts = {reason.name: at.simulator.value(nid, reason.name) for reason in Refusal if reason is not Refusal.NONE}
    return {name: count for name, count in counts.items() if count}


def log(at: Scene, nid: int, path: str) -> list[tuple[int, int, int]]:
    """Takes all entries of a log: reason, context, detail."""
    entries = []
    while cause := at.simulator.value(nid, f"{path}.CAUSE"):
        entries.append((cause & 0xFF, cause >> 8 & 0xFF, at.simulator.value(nid, f"{path}.DETAIL")))
        assert at.simulator.write(nid, f"{path}.ACKNOWLEDGE", 1) == OKAY
    return entries


def header_of(seen: Seen, bits: int) -> dict[str, int]:
    """Of a response."""
    return RESPONSE.unpack([flit >> at & (1 << 64) - 1 for flit in seen.flits for at in range(0, bits, 64)][:8])


def word(who: Who, jid: int = JOB) -> int:
    """The identity word of who spoke."""
    fields = source(who, jid)
    return REQUEST.pack(**fields)[1]


@widths
def test_bad_packets_change_nothing_and_are_counted_and_logged(bits: int) -> None:
    with scene(bits, jobs={C: 8}) as at:
        at.open(B)
        at.post(A, put(**to(B), length_bytes=64, ack_request=AckRequest.FULL))
        at.simulator.settle()
        good = next(seen for seen in at.simulator.packets() if not seen.received and not seen.response).flits
        before = bytes(at.simulator.memory[1])
        damaged = list(good)
        damaged[3] ^= 4
        cases = [
            (list(good), Refusal.PACKET_SEQUENCE, B[1]),
            (damaged, Refusal.PACKET_CRC, 255),
            (at.resealed(good[:4] + good[-1:]), Refusal.PACKET_MALFORMED, 255),
            (at.resealed(good[:-1] + good[2:5] + good[-1:]), Refusal.PACKET_MALFORMED, 255),
            (at.request(A, B, bytes(64), sequence=2, jid=8), Refusal.PACKET_JOB, B[1]),
            (at.request(C, B, bytes(64), sequence=0, jid=8), Refusal.PACKET_JOB, B[1]),
            (at.request(A, (0, 0), bytes(64), sequence=3), Refusal.PACKET_DESTINATION, 255),
            (at.request(A, B, bytes(64), sequence=4, dst_pid=FIRST_PID + 9), Refusal.PACKET_DESTINATION, 255),
            (at.request(A, B, bytes(64), sequence=5, first=0), Refusal.PACKET_MALFORMED, 255),
            (
                at.request(A, B, bytes(128), sequence=6, first=0, segment_offset=128, message_bytes=256),
                Refusal.PACKET_ABORTED,
                B[1],
            ),
            (at.request(A, B, bytes(64), sequence=7, lane=3), Refusal.PACKET_MALFORMED, 255),
            (at.request((5, 0), B, bytes(64), sequence=8), Refusal.PACKET_MALFORMED, 255),
            (at.request(A, B, bytes(64), sequence=9, kind=PacketKind.ACK), Refusal.PACKET_MALFORMED, 255),
            (at.request(A, B, bytes(64), sequence=10, message_bytes=(1 << 26) + 1), Refusal.PACKET_MALFORMED, 255),
        ]
        wanted: dict[str, int] = {}
        for flits, reason, _ in cases:
            at.simulator.inject(1, flits)
            at.simulator.settle()
            wanted[reason.name] = wanted.get(reason.name, 0) + 1
            assert refusals(at, 1) == wanted, reason
            [(logged, _, _)] = log(at, 1, "PACKET_LOG")
            assert logged == reason
        assert bytes(at.simulator.memory[1]) == before


@widths
def test_forged_responses_reach_nobody(bits: int) -> None:
    with scene(bits, jobs={C: 8}) as at:
        at.simulator.manual()  # the get's answer is what this test sends
        at.board.post(A, get(**to(B), length_bytes=64, local_window=1, user_data=6))
        at.simulator.settle()
        [asked] = left(at.simulator.packets())
        handle = (asked.flits[7 * 64 // bits] >> (7 * 64 % bits)) >> 32 & 0xFFFF
        before = bytes(at.simulator.memory[0])
        fine = {
            **to(A), **source(B), "kind": PacketKind.REPLY, "lane": 3, "manipulated_bytes": 64, "last": 1,
            "handle": handle, "generation": asked.flits[7 * 64 // bits] >> (7 * 64 % bits) >> 48 & 0xFF,
        }  # fmt: skip
        forged = [
            {"sequence": 0, "generation": fine["generation"] ^ 1},
            {"sequence": 1, "handle": handle ^ 1},
            {"sequence": 2, "src_pid": FIRST_PID + 1},
            {"sequence": 0, "src_nid": 2},
            {"sequence": 3, "dst_pid": FIRST_PID + 1},
            {"sequence": 4, "kind": PacketKind.ACK, "payload": b""},
        ]
        for number, change in enumerate(forged, 1):
            payload = bytes(64) if "payload" not in change else b""
            fields = {name: value for name, value in (fine | change).items() if name != "payload"}
            at.simulator.inject(0, at.packet(True, payload, **fields), response=True)
            at.simulator.settle()
            assert refusals(at, 0) == {"PACKET_HANDLE": number}, change
        assert bytes(at.simulator.memory[0]) == before
        at.simulator.inject(0, at.packet(True, bytes(64), **fine, sequence=5), response=True)
        at.simulator.settle()
        assert at.board.read(A, 1, 0, 64) == bytes(64)
        [reply] = at.board.events(A)
        assert reply[0] & 0xFF == EventKind.REPLY


@widths
def test_a_message_that_stops_in_the_middle_is_given_up_when_the_next_one_comes(bits: int) -> None:
    with scene(bits) as at:
        at.do(B, portal(0), append(List.OVERFLOW, pt_index=0, entry=0, window=1, length_bytes=1000))
        half = at.request(A, B, bytes(128), message_bytes=200, last=0)
        at.simulator.inject(1, half)
        at.rest()
        assert at.nics[1].awaits_packets(0)
        # Another context's lists are not held up by a command that waits for the rest of the message.
        at.board.post(B, append(pt_index=0, entry=1, window=1, length_bytes=500, user_data=4))
        at.simulator.settle()
        assert at.board.page(B, "COMMAND_HEAD") == 2
        assert at.board.page((1, 1), "COMMAND_HEAD") == 0
        at.board.post((1, 1), portal(0))
        at.simulator.settle()
        assert at.board.page((1, 1), "COMMAND_HEAD") == 1
        whole = at.request(A, B, b"late", sequence=1, match_bits=0)
        at.simulator.inject(1, whole)
        at.simulator.settle()
        assert refusals(at, 1) == {"PACKET_ABORTED": 1}
        assert at.board.page(B, "COMMAND_HEAD") == 3
        # The command goes on when the header is gone: it is before or after the next message.
        kinds = [words[0] & 0xFF for words in at.board.events(B)]
        assert kinds in ([EventKind.PUT], [EventKind.PUT, EventKind.PUT_OVERFLOW])


@widths
def test_poisoned_and_aborted_packets_end_their_message(bits: int) -> None:
    with scene(bits) as at:
        at.open(B)
        start = {"message_bytes": 200, "last": 0, "ack_request": AckRequest.FULL}
        at.simulator.inject(1, at.request(A, B, bytes(128), **start))
        rest = {"message_bytes": 200, "first": 0, "segment_offset": 128, "sequence": 1}
        at.simulator.inject(1, at.request(A, B, bytes(72), poisoned=1, **rest))
        told = at.rest()
        assert [(e["fail"], e["manipulated_bytes"]) for e in told[B]] == [(Fail.UNDELIVERABLE, 0)]
        at.simulator.inject(1, at.request(A, B, bytes(128), **start, sequence=2))
        at.simulator.inject(1, at.request(A, B, **(rest | {"aborted": 1, "sequence": 3})))
        told = at.rest()
        assert [(e["fail"], e["manipulated_bytes"]) for e in told[B]] == [(Fail.UNDELIVERABLE, 0)]
        at.simulator.inject(1, at.request(A, B, bytes(64), poisoned=1, sequence=4, ack_request=AckRequest.FULL))
        told = at.rest()
        assert told[B] == []


@widths
def test_doorbells_and_event_heads_that_cannot_be_are_refused(bits: int) -> None:
    with scene(bits) as at:
        tail, head = "PAGE[0].COMMAND_TAIL", "PAGE[0].EVENT_HEAD"
        ring = 1 << RING_LOG2
        for value in (ring + 1, 0xFFFF_FFFF, 1 << 31):
            assert at.simulator.write(0, tail, value, privileged=False) == SLVERR
        for value in (1, 0xFFFF_FFFF):
            assert at.simulator.write(0, head, value, privileged=False) == SLVERR
        at.simulator.settle()
        assert at.board.page(A, "COMMAND_HEAD") == 0
        at.do(A, put(**to(B)))
        assert at.simulator.write(0, tail, 0, privileged=False) == SLVERR
        assert at.simulator.write(0, head, 0, privileged=False) == SLVERR
        assert refusals(at, 0) == {"ACCESS_REFUSED": 7}
        at.board.disable(A)
        assert at.simulator.write(0, tail, 2, privileged=False) == SLVERR
        at.simulator.settle()
        assert not left(at.simulator.packets())


@widths
def test_the_kernels_registers_are_the_kernels(bits: int) -> None:
    with scene(bits) as at:
        simulator = at.simulator
        paths = ["NODE_ID", "INT_STATUS", "INT_ENABLE", "VIOLATION_LOG.CAUSE", "PACKETS_SENT", "CONTEXT[0].CONTROL"]
        paths += [f"CONTEXT[1].{name}" for name in ("IDENTITY", "COMMAND_BASE", "EVENT_BASE", "COUNTER_BASE")]
        paths += [f"CONTEXT[2].WINDOW[1].{name}" for name in ("BASE", "LENGTH", "RIGHTS")]
        before = {path: simulator.value(0, path) for path in paths}
        for path in paths:
            assert simulator.read(0, path, privileged=False) == (SLVERR, 0)
            assert simulator.write(0, path, (1 << 64) - 1, privileged=False) == SLVERR
        assert refusals(at, 0) == {"ACCESS_UNPRIVILEGED": 2 * len(paths)}
        entries = log(at, 0, "VIOLATION_LOG")
        assert len(entries) == 2 * len(paths)
        assert {reason for reason, _, _ in entries} == {Refusal.ACCESS_UNPRIVILEGED}
        assert entries[0][2] == simulator.map.address(paths[0])
        assert simulator.value(0, "VIOLATION_LOG.LOST") == 0
        assert {path: simulator.value(0, path) for path in paths if path != "VIOLATION_LOG.CAUSE"} == {
            path: value for path, value in before.items() if path != "VIOLATION_LOG.CAUSE"
        }
        assert simulator.write(0, "NODE_ID", 2) == SLVERR  # it is locked, for the kernel, too
        assert simulator.value(0, "NODE_ID") == 1 << 63
        assert simulator.write(0, "VIOLATION_LOG.ACKNOWLEDGE", 1) == OKAY
        assert simulator.write(0, "PAGE[0].COMMAND_TAIL", 1, strobe=0x0F, privileged=False) == SLVERR


@widths
def test_refused_commands_are_logged_with_their_context_and_index(bits: int) -> None:
    with scene(bits) as at:
        who = (1, 2)
        at.do(who, put(**to(A)), put(**to(A), ack_request=3), put(**to(A), local_window=9, length_bytes=1))
        at.do(who, portal(200))
        reasons = [Refusal.COMMAND_MALFORMED, Refusal.COMMAND_WINDOW, Refusal.COMMAND_ENTRY]
        assert log(at, 1, "VIOLATION_LOG") == [(reason, 2, index) for index, reason in enumerate(reasons, 1)]
        assert at.board.page(who, "REFUSED") == 3


@widths
def test_a_command_that_changes_after_its_doorbell_is_one_or_the_other_or_refused(bits: int) -> None:
    """Whatever mixture of the two the NIC has read, it sends nothing that the context may not read."""
    with scene(bits) as at:
        board, simulator = at.board, at.simulator
        secret = Place(1).window(0)
        good = put(**to(B), length_bytes=64, local_offset=0, event_send_disable=1)
        evil = put(**to(B), length_bytes=64, local_window=0, local_offset=(secret - Place(0).window(0)), user_data=1)
        allowed = board.read(A, 0, 0, 64)
        for delay in range(60):
            tail = board.write_ring(A, good)
            assert board.ring(A) == OKAY
            simulator.run(delay)
            slot = Place(0).ring + 64 * ((tail - 1) % (1 << RING_LOG2))
            simulator.memory[0][slot : slot + 64] = to_bytes(evil)
            simulator.settle()
            sent = [seen for seen in left(simulator.packets()) if not seen.response]
            assert len(sent) <= 1
            for seen in sent:
                text = b"".join(flit.to_bytes(bits // 8, "little") for flit in seen.flits[512 // bits : -1])
                assert text == allowed
            board.events(A)
        assert refusals(at, 0).keys() <= {"COMMAND_WINDOW"}


@widths
def test_a_context_that_restarts_in_the_middle_ends_its_messages_and_forgets_its_requests(bits: int) -> None:
    with scene(bits) as at:
        board, simulator = at.board, at.simulator
        at.open(B)
        at.open(C)
        others = put(**to(C), length_bytes=1000, local_offset=1, ack_request=AckRequest.FULL)
        for delay in range(0, 260, 13):
            board.post(A, put(**to(B), length_bytes=1500), get(**to(B), length_bytes=1000, local_window=1))
            board.post((0, 1), others)
            simulator.run(delay)
            board.disable(A)
            simulator.run(delay % 7)
            board.enable(A)
            simulator.settle()
            assert board.page(A, "COMMAND_HEAD") == 0
            assert board.page(A, "EVENT_TAIL") == 0
            # The other context's message is whole, and the target has no message left that is under way.
            fails = [(words[0] & 0xFF, words[7] >> 40 & 0xFF) for words in board.events((0, 1))]
            assert fails == [(EventKind.SEND, Fail.OK), (EventKind.ACK, Fail.OK)]
            assert board.read(C, 1, 0, 1000) == board.read((0, 1), 0, 1, 1000)
            board.events(B)
            board.events(C)
            assert board.read(A, 0, 0, 64) == at.nics[0].memory.read(Place(0).window(0), 64)
        assert simulator.value(1, "PACKET_ABORTED") == 0
        board.post(A, put(**to(B), length_bytes=1500, ack_request=AckRequest.FULL))
        simulator.settle()
        assert [words[7] >> 40 & 0xFF for words in board.events(A)] == [Fail.OK, Fail.OK]


@widths
def test_the_next_owner_of_a_context_does_not_answer_for_the_last_one(bits: int) -> None:
    """Many answers are due, and leave slowly, when the context changes hands; its new process answers for itself."""
    fetches = get(**to(B), length_bytes=0x400)
    acknowledged = put(**to(B), length_bytes=8, ack_request=AckRequest.FULL)
    others = [(nid, context) for nid in (0, 2) for context in range(3)]
    with scene(bits) as at:
        board, simulator = at.board, at.simulator
        at.open(B)
        for who in others:
            at.time_out(who[0], 3000)
            board.post(who, *[fetches] * 2, *[acknowledged] * 2)
        simulator.run(100)
        simulator.change(Settings(fabric_stall=230))
        simulator.run(400)
        board.disable(B)
        while simulator.value(1, "CONTEXT[0].CONTROL"):
            pass
        board.start(B, jid=8)
        simulator.change(Settings())
        simulator.settle()
        answers = [header_of(seen, bits) for seen in left(simulator.packets()) if seen.node == 1 and seen.response]
        assert answers
        assert {header["jid"] for header in answers} == {JOB}
        assert not any(header["fail"] for header in answers)
        assert simulator.value(0, "PACKET_JOB") == simulator.value(2, "PACKET_JOB") == 0
        # Everybody has been told, and nothing of this is left at the target.
        kinds = [words[0] & 0xFF for who in others for words in board.events(who)]
        assert kinds.count(EventKind.REPLY) == kinds.count(EventKind.ACK) == 2 * len(others)
        at.time_out(0, 0)
        board.configure((0, 0), usual(0, jid=8))
        for command in (portal(0), append(pt_index=0, entry=0, window=1, length_bytes=64)):
            assert board.do(B, command) == []
        told = board.do((0, 0), get(**to(B), length_bytes=64))
        assert [event["fail"] for event in told] == [Fail.OK]


def test_who_is_refused_for_long_leaves_nothing_to_the_next_owner_of_the_context() -> None:
    """More packets than half of what 16 bits count, to a process that is not there; then the context belongs to another
    job, which is heard at once. Of 128 bits alone, where packets are short: numbers are the same in both."""
    sent, ring = 0, 1 << RING_LOG2
    with scene(128, jobs={B: 8}, settings=Settings(read_latency=5)) as at:
        board, simulator = at.board, at.simulator
        for command in (portal(0), append(pt_index=0, entry=0, window=1, length_bytes=64)):
            assert board.do(B, command) == []
        nobody = put(dst_nid=B[0], dst_pid=FIRST_PID + 9, event_send_disable=1)
        while sent <= 1 << 15:
            board.post(A, *[nobody] * ring)
            simulator.settle()
            simulator.forget()
            sent += ring
        assert refusals(at, B[0]) == {"PACKET_DESTINATION": sent}
        board.disable(A)
        while simulator.value(A[0], "CONTEXT[0].CONTROL"):
            pass
        board.start(A, jid=8)
        board.write(A, 0, 0, b"first")
        [told] = board.do(A, put(**to(B), length_bytes=5, ack_request=AckRequest.FULL, event_send_disable=1))
        assert told["fail"] == Fail.OK
        assert board.read(B, 1, 0, 5) == b"first"
        assert refusals(at, B[0]) == {"PACKET_DESTINATION": sent}


@widths
def test_interrupts_are_moderated_by_number_and_time_and_not_needed(bits: int) -> None:
    with scene(bits) as at:
        board, simulator = at.board, at.simulator
        board.disable(A)
        board.configure(A, usual(0, jid=JOB))
        simulator.configure(0, "CONTEXT[0].MODERATION", count=3, cycles=0)
        simulator.configure(0, "INT_ENABLE", context=1)
        board.enable(A, interrupt=True)
        plain = put(**to(B), length_bytes=0)
        for number in (1, 2, 3):
            board.post(A, plain)
            simulator.settle()
            assert len(board.events(A)) == 1
            assert simulator.interrupts(0) == (number == 3)
        simulator.configure(0, "INT_STATUS", context=1)
        assert not simulator.interrupts(0)
        simulator.configure(0, "CONTEXT[0].MODERATION", count=100, cycles=500)
        board.post(A, plain)
        simulator.run(200)
        assert len(board.events(A)) == 1
        assert not simulator.interrupts(0)
        simulator.settle()
        assert simulator.interrupts(0)
        assert not simulator.interrupts(1)


@widths
def test_each_context_interrupts_the_core_that_the_kernel_has_steered_it_to(bits: int) -> None:
    with scene(bits) as at:
        board, simulator = at.board, at.simulator
        simulator.configure(0, "INT_ENABLE", context=0b111, packet=1, violation=1)
        for context, line in ((0, 0), (1, 1), (2, 2)):  # there are two lines
            board.disable((0, context))
            board.configure((0, context), usual(context, jid=JOB))
            board.enable((0, context), interrupt=True, line=line)
        for context in range(3):
            board.post((0, context), put(**to(B), length_bytes=0))
        simulator.settle()
        assert simulator.interrupts(0) == 0b11
        assert simulator.value(0, "INT_STATUS") == 0b111
        assert [simulator.value(0, f"INTERRUPT_LINE[{line}].PENDING") for line in (0, 1)] == [0b001, 0b010]
        simulator.configure(0, "INT_STATUS", context=0b001)
        assert simulator.interrupts(0) == 0b10
        # What belongs to nobody goes to the first core.
        simulator.write(0, "ID", 0, privileged=False)
        simulator.settle()
        assert simulator.interrupts(0) == 0b11
        assert [simulator.value(0, f"INTERRUPT_LINE[{line}].PENDING") for line in (0, 1)] == [1 << 63, 0b010]


def watch(at: Scene, cycles: int) -> list[int]:
    """Clears node 0's interrupt as soon as it rises, for so long; in which cycles it rose."""
    rose = []
    end = at.simulator.cycle + cycles
    while at.simulator.cycle < end:
        at.simulator.run(1)
        if at.simulator.interrupts(0):
            rose.append(at.simulator.cycle)
            at.simulator.configure(0, "INT_STATUS", context=(1 << 62) - 1)
            assert not at.simulator.interrupts(0)
    return rose


def flood(at: Scene, who: Who) -> None:
    """A ring of puts of a context to itself, each of which it is told of."""
    at.board.post(who, *[put(**to(who), length_bytes=0, event_send_disable=1)] * (1 << RING_LOG2))


def interrupting(at: Scene, *whos: Who) -> None:
    """New lives, told of every event; portal table entry 0 takes every message."""
    for who in whos:
        at.board.disable(who)
        while at.simulator.value(who[0], f"CONTEXT[{who[1]}].CONTROL"):
            pass
        at.board.enable(who, interrupt=True)
        at.board.post(who, portal(0), append(pt_index=0, entry=0, window=1, length_bytes=64, event_link_disable=1))
        while at.board.page(who, "COMMAND_HEAD") != 2:
            pass


@widths
def test_a_context_that_floods_itself_interrupts_once_in_an_interval(bits: int) -> None:
    interval = 150
    with scene(bits) as at:
        interrupting(at, A)
        at.simulator.configure(0, "INT_ENABLE", context=1)
        flood(at, A)
        unbound = watch(at, 2000)
        assert len(unbound) > 2 * 2000 // interval  # it could hold a core without an interval
        at.board.events(A)
        at.simulator.configure(0, "INTERRUPT_INTERVAL", cycles=interval)
        started = at.simulator.cycle
        flood(at, A)
        rose = watch(at, 2000)
        assert rose[0] - started < interval  # the first one at once
        assert len(rose) > 2
        assert all(later - one >= interval for one, later in itertools.pairwise(rose))
        assert rose[1] - rose[0] == interval
        at.simulator.settle()
        assert len(at.board.events(A)) == 1 << RING_LOG2


@widths
def test_a_context_that_closes_and_opens_interrupts_no_sooner(bits: int) -> None:
    interval = 2000
    with scene(bits) as at:
        at.simulator.configure(0, "INT_ENABLE", context=1)
        at.simulator.configure(0, "INTERRUPT_INTERVAL", cycles=interval)
        rose = []
        for _ in range(3):
            interrupting(at, A)
            flood(at, A)
            rose += watch(at, 500)
        assert len(rose) == 1
        rose += watch(at, interval)
        assert len(rose) == 2
        assert rose[1] - rose[0] == interval


@widths
def test_a_flood_delays_no_other_contexts_interrupt(bits: int) -> None:
    interval, victim = 5000, (0, 1)
    with scene(bits) as at:
        interrupting(at, A, victim)
        at.simulator.configure(0, "INTERRUPT_INTERVAL", cycles=interval)
        flood(at, A)
        while not at.simulator.value(0, "INT_STATUS") & 1:
            pass
        at.simulator.configure(0, "INT_STATUS", context=1)  # A's time runs
        at.simulator.configure(0, "INT_ENABLE", context=1 << victim[1])
        at.board.post(B, put(**to(victim), length_bytes=0, event_send_disable=1))
        sequence = Place(victim[1]).queue + EVENT.length_bytes - 8
        while not words_at(at.simulator.memory[0], sequence, 1)[0]:
            at.simulator.run(1)
        seen = at.simulator.cycle
        [rose] = watch(at, 200)
        assert rose - seen < 30  # as soon as memory has answered
        assert not at.simulator.value(0, "INT_STATUS")
        assert len(at.board.events(A)) > 1  # of which no interrupt tells yet
