"""What of the NIC's behaviour the compared traffic has reached: bins, by group.

A bin is a tuple of labels. GROUPS says which bins there are; those of HOLES are not reached by random traffic, for the
reason beside them. What is hit beyond them is a mistake of this table, and is reported, too.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path

from rtl.nic.parameters import NicParameters
from rtl.packets import REQUEST, RESPONSE
from rtl.portals import (
    ATOMIC_OPERATIONS,
    COMMAND,
    DATA_OPERATIONS,
    LIST_COMMAND,
    AckRequest,
    AtomicOperation,
    AtomicType,
    EventKind,
    Fail,
    List,
    Operation,
    Refusal,
)
from rtl.records import Record
from tests.golden.effects import Effects
from tests.golden.searches import LIST_OPERATIONS
from tests.rtl.whole.board import FIRST_PID
from tests.rtl.whole.compare import Happened, header_words
from tests.rtl.whole.simulator import Channel, Seen

Bin = tuple[str, ...]

SIZES = ("0", "1..7", "8..mtu-1", "mtu", "mtu+1..2*mtu", "more")
TARGET_EVENTS = (EventKind.PUT, EventKind.GET, EventKind.ATOMIC, EventKind.FETCH_ATOMIC)
ALIGNMENTS = ("aligned", "unaligned")
WAITS = (
    "an event queue is full",
    "all requests wait for responses",
    "a list command waits for the rest of a message",
    "a message finds no place in the event queue",
)
INTERLEAVINGS = (
    "messages of two contexts leave packet by packet",
    "messages of two nodes arrive packet by packet",
    "messages of one lane to two nodes follow each other",
    "a response leaves beside a request",
    "a response arrives beside a request",
    "two replies leave packet by packet",
    "a message to the own node",
    "an entry is not unlinked because its message is under way",
    "a poisoned message",
    "a message that its sender aborts",
    "an abandoned message",
    "a reply that memory does not give",
)

SILENCES = (
    "of a node",
    "of a closed context",
    "of single packets",
    "a message that nothing goes on with",
    "a request that nothing answers",
    "a request whose place is taken by another one",
)

# At `mod 16` all places in a bus word of either width differ.
PLACES = tuple(f"mod 16 = {place}" for place in range(16))
CONTEXTS = 4  # of the shape that has most
FETCHING_ATOMICS = (Operation.FETCH_ATOMIC, Operation.SWAP)
SEARCH_FLAGS = (
    *("any_nid", "any_pid", "use_once", "search_delete", "no_truncate", "manage_local"),
    *("event_comm_disable", "event_over_disable", "ct_overflow", "ct_bytes"),
)
# Records of commands with flags, and which of them count: all, but those of other commands, if none is named.
FLAGGED: Mapping[Operation, tuple[Record, tuple[str, ...]]] = {
    **dict.fromkeys(DATA_OPERATIONS, (COMMAND, ())),
    Operation.ME_APPEND: (LIST_COMMAND, ()),
    Operation.ME_SEARCH: (LIST_COMMAND, SEARCH_FLAGS),
    Operation.PT_ALLOC: (LIST_COMMAND, ("flow_control",)),
}
OTHERS_FLAGS = ("flow_control", "search_delete")


def size_class(length_bytes: int, mtu_bytes: int) -> str:
    limits = (0, 7, mtu_bytes - 1, mtu_bytes, 2 * mtu_bytes)
    return next((name for name, limit in zip(SIZES, limits, strict=False) if length_bytes <= limit), SIZES[-1])


def aligned(offset: int) -> str:
    return ALIGNMENTS[offset % 8 != 0]


def names(kinds: Sequence) -> list[str]:
    return [kind.name for kind in kinds]


def _operations() -> Iterator[Bin]:
    """Operation, size, alignment at the initiator and at the target."""
    for operation, size in product(DATA_OPERATIONS, SIZES):
        if operation not in ATOMIC_OPERATIONS or size in SIZES[1:3]:
            yield from ((operation.name, size, here, there) for here, there in product(ALIGNMENTS, ALIGNMENTS))


def _atomics() -> Iterator[Bin]:
    for operation, atomic, datum in product(ATOMIC_OPERATIONS, AtomicOperation, AtomicType):
        if (operation == Operation.SWAP) == (atomic >= AtomicOperation.SWAP):
            yield operation.name, atomic.name, datum.name


def _events() -> Iterator[Bin]:
    """Kind, fail, list."""
    for kind in TARGET_EVENTS:
        for fail, which in product((Fail.OK, Fail.SEGMENT), List):
            yield kind.name, fail.name, which.name
        if kind is EventKind.ATOMIC or kind is EventKind.FETCH_ATOMIC:
            yield from ((kind.name, Fail.ARGUMENT.name, which.name) for which in List)
    yield EventKind.PUT.name, Fail.UNDELIVERABLE.name, List.PRIORITY.name
    yield EventKind.PUT.name, Fail.UNDELIVERABLE.name, List.OVERFLOW.name
    for kind in (EventKind.ACK, EventKind.REPLY):
        for fail, which in product((Fail.OK, Fail.SEGMENT, Fail.ARGUMENT), List):
            yield kind.name, fail.name, which.name
        for fail in (Fail.PT_DISABLED, Fail.DROPPED, Fail.OPERATION, Fail.UNDELIVERABLE):
            yield kind.name, fail.name, List.PRIORITY.name
    for kind in (EventKind.ACK, EventKind.REPLY):
        yield kind.name, Fail.UNDELIVERABLE.name, List.OVERFLOW.name
    for kind in EventKind:
        if kind.name.endswith("_OVERFLOW") or kind in (EventKind.AUTO_FREE, EventKind.SEARCH):
            yield kind.name, Fail.OK.name, List.OVERFLOW.name
    yield EventKind.SEARCH.name, Fail.NO_MATCH.name, List.PRIORITY.name
    for kind in (EventKind.LINK, EventKind.AUTO_UNLINK):
        yield from ((kind.name, Fail.OK.name, which.name) for which in List)
    # Of a message that was abandoned.
    yield from ((EventKind.AUTO_UNLINK.name, Fail.UNDELIVERABLE.name, which.name) for which in List)
    yield EventKind.PT_DISABLED.name, Fail.OK.name, List.PRIORITY.name
    yield from ((EventKind.SEND.name, fail.name, List.PRIORITY.name) for fail in (Fail.OK, Fail.SEGMENT))


def _commands() -> Iterator[Bin]:
    """How commands end."""
    counters = (Operation.COUNTER_SET, Operation.COUNTER_INCREMENT)
    for operation in (*DATA_OPERATIONS, *LIST_OPERATIONS, *counters):
        yield operation.name, "carried out"
        if operation in DATA_OPERATIONS:
            yield operation.name, Refusal.COMMAND_WINDOW.name
        yield operation.name, Refusal.COMMAND_MALFORMED.name
        if operation is not Operation.ME_SEARCH or operation in LIST_OPERATIONS:
            yield operation.name, Refusal.COMMAND_ENTRY.name
    yield "unknown", Refusal.COMMAND_MALFORMED.name


def _answers() -> Iterator[Bin]:
    """Operation, acknowledgement wanted, whether it was silent."""
    for operation, wanted in product((Operation.PUT, Operation.ATOMIC), AckRequest):
        yield operation.name, wanted.name, "heard"
        if wanted is not AckRequest.NONE:
            yield operation.name, wanted.name, "silent"


def _alignments() -> Iterator[Bin]:
    """Where bytes begin: at the initiator, what comes back to it, at the target."""
    yield from product(names(DATA_OPERATIONS), ("local",), PLACES)
    yield from product(names(FETCHING_ATOMICS), ("reply",), PLACES)
    yield from product(names((EventKind.PUT, EventKind.GET)), ("target",), PLACES)
    datum_bytes = min(datum.length_bytes for datum in AtomicType)
    yield from product(names((EventKind.ATOMIC, EventKind.FETCH_ATOMIC)), ("target",), PLACES[::datum_bytes])


def _flags() -> Iterator[Bin]:
    """Commands that were carried out with a flag, and without."""
    for operation, (record, only) in FLAGGED.items():
        for name, field in record.fields.items():
            if field.width == 1 and (name in only if only else name not in OTHERS_FLAGS):
                yield from product((operation.name,), (name,), ("0", "1"))


# Every way in which the compared traffic can differ.
GROUPS: Mapping[str, frozenset[Bin]] = {
    "operations": frozenset(_operations()),
    "atomics": frozenset(_atomics()),
    "acknowledgements": frozenset(_answers()),
    "commands": frozenset(_commands()),
    "events": frozenset(_events()),
    "taken": frozenset(product(names(TARGET_EVENTS), ("all", "a part", "nothing"))),
    "packets refused": frozenset((r.name,) for r in Refusal if r.name.startswith("PACKET_")),
    "waits": frozenset((name,) for name in WAITS),
    "interleavings": frozenset((name,) for name in INTERLEAVINGS),
    "alignments": frozenset(_alignments()),
    "flags": frozenset(_flags()),
    "ways": frozenset((f"context {a}", f"to context {b}") for a, b in product(range(CONTEXTS), repeat=2)),
    "back pressure": frozenset((channel.name,) for channel in Channel),
    "interrupts": frozenset(
        [("of nothing", "quiet"), ("of every one", "called"), ("after a time", "called")]
        + [("after some", outcome) for outcome in ("called", "quiet")]
        + [(name, "at intervals") for name in ("of every one", "after some", "after a time")]
    ),
    "silences": frozenset((what,) for what in SILENCES),
    "stalls": frozenset(product(("memory free", "memory stalls"), ("fabric free", "fabric stalls"))),
}
HOLES: Mapping[str, Mapping[Bin, str]] = {
    "back pressure": {
        (Channel.MEMORY_B.name,): "the NIC keeps a place for the answer to every burst whose address it gives, and "
        "memory answers nothing else",
    },
    "waits": {
        ("a list command waits for the rest of a message",): "it leaves no trace outside; test_nic_whole_threats.py "
        "makes it wait",
        ("a message finds no place in the event queue",): "who gets the last place is the hardware's choice, so it "
        "cannot be predicted; test_nic_whole.py fills a queue",
    },
}


class Coverage:
    """Bins that were hit, and how often."""

    def __init__(self) -> None:
        self.hits: dict[str, Counter[Bin]] = {group: Counter() for group in GROUPS}

    def hit(self, group: str, *labels: str) -> None:
        self.hits[group][labels] += 1

    # ---- what has happened ----

    def collect(self, happened: Happened, parameters: NicParameters) -> None:
        """Counts what one comparison has been through."""
        for _, words, effects in happened.commands:
            self._command(words, effects, parameters.mtu_bytes)
        for nid, seen, effects in happened.arrivals:
            self._arrival(nid, seen, effects, parameters.datapath_bits)
        for _, effects in happened.effects:
            for event in effects.events:
                self._event(event.fields)
            for reason in effects.reasons:
                if reason.name.startswith("PACKET_"):
                    self.hit("packets refused", reason.name)
        for what in happened.silences:
            self.hit("silences", what)
        if happened.exhausted:
            self.hit("waits", "all requests wait for responses")
        self._interleavings(happened, parameters.datapath_bits)

    def stalls(self, *, memory: bool, fabric: bool) -> None:
        self.hit("stalls", "memory stalls" if memory else "memory free", "fabric stalls" if fabric else "fabric free")

    def back_pressure(self, held: Mapping[Channel, int]) -> None:
        """Counts the channels that were made to wait, given for how many cycles since the machine's start."""
        for channel, cycles in held.items():
            if cycles:
                self.hit("back pressure", channel.name)

    def _command(self, words: Sequence[int], effects: Effects, mtu_bytes: int) -> None:
        operation = words[0] & 0xFF
        known = operation in list(Operation)
        name = Operation(operation).name if known and operation != Operation.LIST_FIRST else "unknown"
        if operation == Operation.PT_ALLOC:
            name = Operation.PT_ALLOC.name
        self.hit("commands", name, effects.reasons[0].name if effects.reasons else "carried out")
        if effects.reasons:
            return
        if known and operation in FLAGGED:
            self._flags(Operation(operation), words)
        if operation not in DATA_OPERATIONS:
            return
        fields = COMMAND.unpack(words)
        if fields["length_bytes"]:
            self.hit("alignments", name, "local", PLACES[fields["local_offset"] % 16])
            if operation in FETCHING_ATOMICS:
                self.hit("alignments", name, "reply", PLACES[fields["get_offset"] % 16])
        size = size_class(fields["length_bytes"], mtu_bytes)
        if operation in ATOMIC_OPERATIONS and size == "mtu":  # they may be as long as the shortest MTU
            size = "8..mtu-1"
        self.hit("operations", name, size, aligned(fields["local_offset"]), aligned(fields["remote_offset"]))
        if operation in ATOMIC_OPERATIONS:
            atomic, datum = AtomicOperation(fields["atomic_operation"]), AtomicType(fields["atomic_type"])
            self.hit("atomics", name, atomic.name, datum.name)
        if operation in (Operation.PUT, Operation.ATOMIC) and fields["ack_request"] == AckRequest.NONE:
            self.hit("acknowledgements", name, AckRequest.NONE.name, "heard")

    def _flags(self, operation: Operation, words: Sequence[int]) -> None:
        fields = FLAGGED[operation][0].unpack(words)
        for labels in GROUPS["flags"]:
            if labels[0] == operation.name and labels[2] == str(fields[labels[1]]):
                self.hit("flags", *labels)

    def _arrival(self, nid: int, seen: Seen, effects: Effects, bits: int) -> None:
        """An acknowledgement is known by the request that it answers."""
        header = REQUEST.unpack(header_words(seen.flits, bits))
        if seen.response:
            return
        if not effects.refusals:
            sender, receiver = header["src_pid"] - FIRST_PID, header["dst_pid"] - FIRST_PID
            if 0 <= sender < CONTEXTS:  # whose name is not forged
                self.hit("ways", f"context {sender}", f"to context {receiver}")
        if header["src_nid"] == nid:
            self.hit("interleavings", "a message to the own node")
        if header["kind"] in (Operation.PUT, Operation.ATOMIC) and header["ack_request"]:
            for packet in effects.packets:
                silent = RESPONSE.unpack(header_words(packet.flits, bits))["silent"]
                labels = (Operation(header["kind"]).name, AckRequest(header["ack_request"]).name)
                self.hit("acknowledgements", *labels, "silent" if silent else "heard")
        if header["kind"] == Operation.GET and any(packet.poisoned for packet in effects.packets):
            self.hit("interleavings", "a reply that memory does not give")
        if header["aborted"] and not effects.refusals:
            self.hit("interleavings", "a message that its sender aborts")
        if any(refused.reason is Refusal.PACKET_ABORTED and not refused.detail for refused in effects.refusals):
            self.hit("interleavings", "an abandoned message")

    def _event(self, fields: Mapping[str, int]) -> None:
        kind = EventKind(fields["kind"])
        if kind in TARGET_EVENTS and not fields["fail"] and fields["requested_bytes"]:
            if fields["manipulated_bytes"]:
                self.hit("alignments", kind.name, "target", PLACES[fields["start_offset"] % 16])
            taken, wanted = fields["manipulated_bytes"], fields["requested_bytes"]
            self.hit("taken", kind.name, "all" if taken == wanted else "a part" if taken else "nothing")
        if kind is not EventKind.REFUSED:
            self.hit("events", kind.name, Fail(fields["fail"]).name, List(fields["list"]).name)

    # ---- what happened at the same time ----

    def _interleavings(self, happened: Happened, bits: int) -> None:
        by_link: dict[tuple[int, bool, bool], list[tuple[Seen, dict[str, int]]]] = {}
        for seen in happened.seen:
            record = RESPONSE if seen.response else REQUEST
            entry = (seen, record.unpack(header_words(seen.flits, bits)))
            by_link.setdefault((seen.node, seen.response, seen.received), []).append(entry)
        for (node, response, received), packets in by_link.items():
            if response:
                if not received and self._mixed([(h["handle"], h["last"]) for _, h in packets]):
                    self.hit("interleavings", "two replies leave packet by packet")
                continue
            source = "src_nid" if received else "lane"
            if self._mixed([(h[source], h["last"]) for _, h in packets]):
                where = "messages of two nodes arrive" if received else "messages of two contexts leave"
                self.hit("interleavings", f"{where} packet by packet")
            if not received and self._redirected([h for _, h in packets]):
                self.hit("interleavings", "messages of one lane to two nodes follow each other")
            beside = by_link.get((node, True, received), [])
            if self._overlap([seen for seen, _ in packets], [seen for seen, _ in beside]):
                self.hit("interleavings", f"a response {'arrives' if received else 'leaves'} beside a request")
        if any(packet.poisoned for _, effects in happened.effects for packet in effects.packets if not packet.response):
            self.hit("interleavings", "a poisoned message")

    @staticmethod
    def _mixed(packets: Sequence[tuple[int, int]]) -> bool:
        """Whether a packet of another source stands between two of one message; (source, last) of each."""
        before: tuple[int, int] | None = None
        unfinished: set[int] = set()
        for source, last in packets:
            if before is not None and source in unfinished and before[0] != source:
                return True
            unfinished = unfinished - {source} if last else unfinished | {source}
            before = (source, last)
        return False

    @staticmethod
    def _redirected(headers: Sequence[Mapping[str, int]]) -> bool:
        destination: dict[int, int] = {}
        return any(destination.setdefault(header["lane"], header["dst_nid"]) != header["dst_nid"] for header in headers)

    @staticmethod
    def _overlap(some: Sequence[Seen], others: Sequence[Seen]) -> bool:
        spans = [(seen.first_cycle, seen.last_cycle) for seen in others]
        return any(first <= s.last_cycle and s.first_cycle <= last for s in some for first, last in spans)

    # ---- report ----

    def missing(self, group: str) -> list[Bin]:
        """Bins that should have been hit and were not."""
        return sorted(GROUPS[group] - set(self.hits[group]) - set(HOLES.get(group, {})))

    def unforeseen(self, group: str) -> list[Bin]:
        """Bins that were hit and of which GROUPS knows nothing."""
        return sorted(set(self.hits[group]) - GROUPS[group])

    def rows(self) -> list[list[str]]:
        """Of each group: its name, bins reached, of how many, holes, and some of those not reached."""
        rows = []
        for group, bins in GROUPS.items():
            missing = self.missing(group)
            reached = len(bins & set(self.hits[group]))
            some = ", ".join(" ".join(labels) for labels in missing[:6]) + (" ..." if len(missing) > 6 else "")
            rows.append([group, str(reached), str(len(bins)), str(len(HOLES.get(group, {}))), some])
        return rows

    def shortcomings(self) -> Iterator[str]:
        """A line for each bin that should have been hit and was not, or was and should not be there."""
        for group in GROUPS:
            yield from (f"{group}: {' '.join(labels)}: not reached" for labels in self.missing(group))
            yield from (f"{group}: {' '.join(labels)}: not foreseen" for labels in self.unforeseen(group))

    def explanations(self) -> Iterator[str]:
        """A line for each hole that is one, with its reason."""
        for group, holes in HOLES.items():
            yield from (
                f"{group}: {' '.join(bin_)}: {why}" for bin_, why in holes.items() if bin_ not in self.hits[group]
            )

    def save(self, path: Path) -> None:
        """All bins as JSON: hits, missing and holes with their reasons."""
        report = {
            group: {
                "hits": {" ".join(labels): count for labels, count in sorted(self.hits[group].items())},
                "missing": [" ".join(labels) for labels in self.missing(group)],
                "holes": {" ".join(labels): why for labels, why in HOLES.get(group, {}).items()},
            }
            for group in GROUPS
        }
        path.write_text(json.dumps(report, indent=1) + "\n")
