"""Compares what hardware did with what the model says, in every order that the specification allows.

Allowed are: any interleaving of the packets of different lanes, destinations and responses; any interleaving of events
of different sources, and of the replies among themselves; packets that were made before their message was found to
have been poisoned. Sequence numbers follow from the order, so they are judged apart from the rest.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from rtl.nic.parameters import NicParameters
from rtl.packets import HEADER_WORDS, REQUEST, RESPONSE, crc32
from rtl.portals import EVENT, Refusal
from tests.golden.effects import Effects, Source
from tests.golden.wire import CRC_INVERSION, SEQUENCE_MODULUS

# The sources whose events are ordered. Each reply and each other event is ordered with regard to nothing else.
ORDERED = (Source.COMMANDS, Source.LISTS, Source.REQUESTS, Source.RESPONSES)
EVENT_INDEX_MODULUS = 1 << 32

# An event by number, a chain of them, and what is left to come: positions in the ordered sources, and chains.
Chain = tuple[int, ...]
Rest = tuple[tuple[int, ...], frozenset[tuple[Chain, int]]]


class Stream:
    """Packets that keep their order: of a lane to a node, or of one response. `seen` are all there were."""

    def __init__(self) -> None:
        self.expected: list[tuple[bool, tuple[int, ...]]] = []
        self.seen: list[tuple[bool, tuple[int, ...]]] = []


class Judge:
    """Expectations and observations of one NIC since its reset."""

    def __init__(self, parameters: NicParameters) -> None:
        self._parameters = parameters
        self._streams: dict[tuple[int, ...], Stream] = defaultdict(Stream)
        self._sequences: dict[tuple[int, int], list[int]] = defaultdict(list)
        self._next: dict[tuple[int, int], int] = defaultdict(int)  # number of a lane's next packet
        self._was_reset = False
        self._forgotten_events: Counter[int] = Counter()
        self._numbers: dict[tuple[int, ...], int] = {}  # of events that differ
        self._events: dict[int, dict[Source, list[int]]] = defaultdict(lambda: {source: [] for source in ORDERED})
        self._chains: dict[int, list[Chain]] = defaultdict(list)
        self._seen_events: dict[int, list[tuple[int, ...]]] = defaultdict(list)
        self._refusals: Counter[Refusal] = Counter()
        self._seen_refusals: Counter[Refusal] = Counter()

    # ---- what should be and what is ----

    def expect(self, effects: Effects) -> None:
        """What the model says of one transaction; a reply's events must come in one call."""
        for packet in effects.packets:
            key, _, contents = self._split(packet.flits, packet.poisoned)
            self._streams[key].expected.append((packet.poisoned, contents))
        chains: dict[int, Chain] = {}
        for event in effects.events:
            number = self._number(event.words)
            if event.source in ORDERED:
                self._events[event.context][event.source].append(number)
            elif event.source in (Source.OWED, Source.SILENCE):
                self._chains[event.context].append((number,))
            else:
                chains[event.context] = (*chains.get(event.context, ()), number)
        for context, chain in chains.items():
            self._chains[context].append(chain)
        self._refusals.update(effects.reasons)

    def saw_packet(self, flits: Sequence[int]) -> None:
        """A packet that has left, whole."""
        poisoned = flits[-1] == crc32(flits[:-1], self._parameters.datapath_bits) ^ CRC_INVERSION
        key, sequence, contents = self._split(flits, poisoned)
        self._streams[key].seen.append((poisoned, contents))
        self._sequences[sequence[0], sequence[1]].append(sequence[2])

    def passed_over(self, flits: Sequence[int]) -> None:
        """A packet that has left, of which the model was not asked: only its number is looked at."""
        _, sequence, _ = self._split(flits, False)
        self._sequences[sequence[0], sequence[1]].append(sequence[2])

    def saw_event(self, context: int, words: Sequence[int]) -> None:
        """The next event of a context's queue."""
        self._seen_events[context].append(tuple(words))

    def saw_refusals(self, reasons: Iterable[Refusal]) -> None:
        self._seen_refusals.update(reasons)

    # ---- long runs ----

    def forget(self) -> None:
        """What there was so far was right, and is done with: nothing of it is still to come. Numbers go on."""
        self._next.update({lane: (numbers[-1] + 1) % SEQUENCE_MODULUS for lane, numbers in self._sequences.items()})
        self._forgotten_events.update({context: len(words) for context, words in self._seen_events.items()})
        for kept in (self._streams, self._sequences, self._numbers, self._events, self._chains, self._seen_events):
            kept.clear()
        self._refusals.clear()
        self._seen_refusals.clear()

    def restarted(self, context: int) -> None:
        """A context of which nothing is to come begins a new life; call it after `forget`."""
        del self._forgotten_events[context]

    def was_reset(self) -> None:
        """The NIC was reset: packets that were being made are lost, and their numbers with them."""
        self._was_reset = True

    # ---- verdict ----

    def differences(self) -> list[str]:
        """What cannot be explained; empty if the hardware did just what the model says."""
        found = [text for key, stream in self._streams.items() for text in self._packet_differences(key, stream)]
        for key, sequence in self._sequences.items():
            found += self._sequence_differences(key, sequence)
        for context in sorted({*self._events, *self._chains, *self._seen_events}):
            found += self._event_differences(context)
        for reason in sorted({*self._refusals, *self._seen_refusals}):
            expected, seen = self._refusals[reason], self._seen_refusals[reason]
            if expected != seen:
                found.append(f"refusals {reason.name}: {seen} instead of {expected}")
        return found

    # ---- packets ----

    def _sequence_differences(self, key: tuple[int, int], sequence: Sequence[int]) -> list[str]:
        """The first number that is not its lane's next one; after a reset a later one is right, too."""
        wanted = self._next[key]
        for number in sequence:
            skipped = (number - wanted) % SEQUENCE_MODULUS
            if skipped and not (self._was_reset and skipped < SEQUENCE_MODULUS // 2):
                return [f"packet {wanted} of lane {key[1]} to node {key[0]}: sequence number {number}"]
            wanted = number + 1
        return []

    def _split(
        self, flits: Sequence[int], poisoned: bool
    ) -> tuple[tuple[int, ...], tuple[int, int, int], tuple[int, ...]]:
        """Stream, (node, lane, sequence number) and contents of a packet; of a poisoned one the header alone."""
        size = self._parameters.datapath_bits // 8
        text = b"".join(flit.to_bytes(size, "little") for flit in flits[:-1])
        words = [int.from_bytes(text[place : place + 8], "little") for place in range(0, len(text), 8)]
        order = REQUEST.unpack([*words, *[0] * HEADER_WORDS])
        response = order["lane"] == self._parameters.contexts
        key = (order["dst_nid"], order["lane"])
        sequence = (*key, order["sequence"])
        if response:
            answer = RESPONSE.unpack([*words, *[0] * HEADER_WORDS])
            key = (*key, answer["dst_pid"], answer["handle"], answer["generation"])
        field = REQUEST.fields["sequence"]
        if len(words) > field.word:
            words[field.word] &= ~(field.mask << field.lsb)
        if poisoned:
            return key, sequence, tuple(words[:HEADER_WORDS])
        good = flits[-1] == crc32(flits[:-1], self._parameters.datapath_bits)
        return key, sequence, (*words, 0 if good else flits[-1] + 1)

    @staticmethod
    def _packet_differences(key: tuple[int, ...], stream: Stream) -> list[str]:
        """The first packet that is not the expected one. What follows a poisoned packet in its message is nothing."""
        name = f"lane {key[1]} to node {key[0]}" + (f", response {key[2:]}" if len(key) > 2 else "")
        expected, broken = iter(enumerate(stream.expected)), False
        for poisoned, contents in stream.seen:
            if broken and not REQUEST.unpack(contents)["first"]:
                continue
            number, wanted = next(expected, (len(stream.expected), None))
            if wanted != (poisoned, contents):
                record = REQUEST if len(key) == 2 else RESPONSE
                wanted_fields = None if wanted is None else record.unpack(wanted[1])
                return [f"packet {number} of {name}: {record.unpack(contents)} instead of {wanted_fields}"]
            broken = poisoned
        missing = len(list(expected))
        return [f"{name}: {missing} packets are missing"] if missing else []

    # ---- events ----

    def _number(self, words: Sequence[int]) -> int:
        """Equal numbers for events that are equal but for their sequence."""
        field = EVENT.fields["sequence"]
        rest = (*words[: field.word], words[field.word] & ~(field.mask << field.lsb), *words[field.word + 1 :])
        return self._numbers.setdefault(rest, len(self._numbers))

    def _event_differences(self, context: int) -> list[str]:
        """The first event that no order explains; all explanations that are still possible are followed."""
        ordered = [self._events[context][source] for source in ORDERED]
        rests: set[Rest] = {((0,) * len(ORDERED), frozenset(Counter(self._chains[context]).items()))}
        for index, words in enumerate(self._seen_events[context], self._forgotten_events[context]):
            fields = EVENT.unpack(words)
            if fields["sequence"] != (index + 1) % EVENT_INDEX_MODULUS:
                return [f"event {index} of context {context}: sequence number {fields['sequence']}"]
            number = self._number(words)
            rests = {after for rest in rests for after in self._explanations(ordered, rest, number)}
            if not rests:
                return [f"event {index} of context {context}: nothing explains {fields}"]
        total = sum(map(len, ordered)) + sum(map(len, self._chains[context]))
        missing = total - len(self._seen_events[context])
        return [f"context {context}: {missing} events are missing"] if missing else []

    @staticmethod
    def _explanations(ordered: Sequence[Sequence[int]], rest: Rest, number: int) -> Iterable[Rest]:
        """What may be left when event `number` has come."""
        positions, chains = rest
        for source, position in enumerate(positions):
            if position < len(ordered[source]) and ordered[source][position] == number:
                yield (*positions[:source], position + 1, *positions[source + 1 :]), chains
        for chain, _ in chains:
            if chain[0] == number:
                left = Counter(dict(chains))
                left[chain] -= 1
                if len(chain) > 1:
                    left[chain[1:]] += 1
                yield positions, frozenset((+left).items())
