"""Packets that a wire may bring, but no NIC of the machine would send: replayed, damaged, cut short, forged."""

import random
from collections import defaultdict, deque

from rtl.nic.parameters import NicParameters
from rtl.packets import HEADER_WORDS, REQUEST, RESPONSE, crc32
from tests.rtl.whole.compare import header_words
from tests.rtl.whole.simulator import Seen

KEPT = 60
GENERATIONS = 1 << RESPONSE.fields["generation"].width
SOON = 64  # more requests than a context makes in a phase
# Fields whose change leaves a request the kind of request that its portal table entry is for.
FORGED = {
    False: (
        *("dst_nid", "dst_pid", "src_nid", "src_pid", "jid", "lane", "message_bytes", "segment_offset", "ack_request"),
        *("first", "last", "aborted", "handle", "generation", "payload_bytes"),
    ),
    True: (
        *("dst_nid", "dst_pid", "kind", "src_nid", "src_pid", "jid", "lane", "manipulated_bytes", "segment_offset"),
        *("fail", "list", "last", "silent", "handle", "generation", "payload_bytes"),
    ),
}


class Junk:
    """Makes bad packets out of good ones that it has seen arrive."""

    def __init__(self, parameters: NicParameters, chooser: random.Random) -> None:
        self._parameters = parameters
        self._chooser = chooser
        self._seen: dict[int, deque[Seen]] = defaultdict(lambda: deque(maxlen=KEPT))
        self._sequences: dict[tuple[int, int, int], int] = {}
        self._generations: dict[tuple[int, int], int] = {}  # the last one answered, by node and handle

    def forget(self) -> None:
        """Of what has arrived so far, nothing comes again: nobody knows which of it was admitted."""
        self._seen.clear()

    def remember(self, seen: Seen) -> None:
        """A packet has arrived whole."""
        header = self._header(seen)
        self._seen[seen.node].append(seen)
        self._sequences[seen.node, header["src_nid"], header["lane"]] = header["sequence"]
        if seen.response:
            self._generations[seen.node, header["handle"]] = header["generation"]

    def _header(self, seen: Seen) -> dict[str, int]:
        record = RESPONSE if seen.response else REQUEST
        return record.unpack(header_words(seen.flits, self._parameters.datapath_bits))

    def packet(self, nid: int) -> tuple[list[int], bool] | None:
        """Flits for a node, and whether they come as a response; None as long as it has seen nothing."""
        choose = self._chooser
        if not self._seen[nid]:
            return None
        seen = choose.choice(self._seen[nid])
        flits = list(seen.flits)
        kind = choose.randrange(9)
        if kind == 0:
            return flits, seen.response
        if kind == 1:
            flits[choose.randrange(len(flits))] ^= 1 << choose.randrange(self._parameters.datapath_bits)
            return flits, seen.response
        if kind == 2:
            return [*flits[: choose.randrange(len(flits))], flits[-1]], seen.response
        if kind == 3:
            return [*flits[:-1], *flits[: choose.randrange(1, 40)], flits[-1]], seen.response
        if kind == 4:
            return flits, not seen.response
        if kind == 5:
            begun = [one for one in self._seen[nid] if not self._header(one)["last"]] or [seen]
            seen = choose.choice(begun)  # of a message whose rest does not come again
            return self._forged(nid, seen, {}), seen.response
        return self._forged(nid, seen, self._fault(seen)), seen.response

    def _fault(self, seen: Seen) -> dict[str, int]:
        """One field, or two, not as it should be."""
        choose, fields = self._chooser, self._header(seen)
        name = choose.choice(FORGED[seen.response])
        width = (RESPONSE if seen.response else REQUEST).fields[name].width
        wrong = choose.choice([0, 1, fields[name] + 1, fields[name] ^ 1 << choose.randrange(width)])
        fault = {name: wrong % (1 << width)}
        if choose.randrange(4) == 0:
            fault["silent" if seen.response else "aborted"] = 1
        return fault

    def _answered(self, nid: int, handle: int, generation: int) -> int:
        """A generation that no request has soon: nobody could tell whether hardware has made its entry by then."""
        last = self._generations.get((nid, handle), GENERATIONS - 1)
        return last if 0 < (generation - last) % GENERATIONS <= SOON else generation

    def _forged(self, nid: int, seen: Seen, fault: dict[str, int]) -> list[int]:
        """With a good CRC, mostly, and a sequence number that may be believed."""
        choose, bits = self._chooser, self._parameters.datapath_bits
        record = RESPONSE if seen.response else REQUEST
        fields = self._header(seen) | fault
        if seen.response:
            fields["generation"] = self._answered(nid, fields["handle"], fields["generation"])
        last = self._sequences.get((nid, fields["src_nid"], fields["lane"]), 0)
        forged = record.pack(**(fields | {"sequence": last + 1 + choose.randrange(4)}))
        if fault and choose.randrange(8) == 0:
            index = choose.choice([i for i in range(HEADER_WORDS) if record.reserved_mask(i)])
            forged[index] |= record.reserved_mask(index) & -record.reserved_mask(index)
        per_flit = bits // 64
        flits = [
            sum(word << 64 * i for i, word in enumerate(forged[at : at + per_flit]))
            for at in range(0, HEADER_WORDS, per_flit)
        ]
        flits += seen.flits[len(flits) : -1]
        poisoned = fault and choose.randrange(8) == 0
        return [*flits, crc32(flits, bits) ^ (0xFFFF_FFFF if poisoned else 0)]
