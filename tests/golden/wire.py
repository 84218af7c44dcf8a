"""Packets: what the hardware stamps into those that leave, and which of those that arrive it believes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rtl.nic.parameters import NicParameters
from rtl.packets import (
    HEADER_WORDS,
    IDENTITY_WORD,
    REQUEST,
    RESPONSE,
    PacketKind,
    crc32,
    pack,
    packet_flits,
)
from rtl.portals import (
    ATOMIC_OPERATIONS,
    DATA_OPERATIONS,
    FETCHING_OPERATIONS,
    MAX_ATOMIC_BYTES,
    MAX_MESSAGE_BYTES,
    OPERAND_BYTES,
    AckRequest,
    AtomicOperation,
    AtomicType,
    Fail,
    Operation,
    Refusal,
)
from rtl.records import Record
from tests.golden.context import Context
from tests.golden.effects import SentPacket

SEQUENCE_MODULUS = 1 << REQUEST.fields["sequence"].width
CRC_INVERSION = 0xFFFF_FFFF
CONDITIONAL = (AtomicOperation.CSWAP, AtomicOperation.MSWAP)


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Who speaks; only the hardware writes it into a packet."""

    nid: int
    pid: int
    jid: int


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """An admitted packet. `void`: it is aborted, or poisoned, and what it carries is not to be used."""

    context: Context
    header: Mapping[str, int]
    payload: bytes
    void: bool
    poisoned: bool


def atomic_fault(operation: int, atomic_operation: int, atomic_type: int, length: int) -> bool:
    """Whether an ATOMIC, FETCH_ATOMIC or SWAP of `length` bytes cannot be."""
    if atomic_operation not in list(AtomicOperation) or atomic_type not in list(AtomicType):
        return True
    if (atomic_operation >= AtomicOperation.SWAP) != (operation == Operation.SWAP):
        return True
    datum = AtomicType(atomic_type).length_bytes
    if atomic_operation in CONDITIONAL:
        return length != datum
    return not 0 < length <= MAX_ATOMIC_BYTES or length % datum != 0


class Wire:
    """Both directions of one node's link."""

    def __init__(self, parameters: NicParameters, nid: int, contexts: Sequence[Context]) -> None:
        self._parameters = parameters
        self._nid = nid
        self._contexts = contexts
        self._next: dict[tuple[int, int], int] = {}  # sequence of the next packet that leaves, by (dst_nid, lane)
        self._expected: dict[tuple[int, int], int] = {}  # and that arrives, by (src_nid, lane)

    def identity(self, context: Context) -> Identity:
        return Identity(nid=self._nid, pid=context.settings.pid, jid=context.settings.jid)

    def send(
        self,
        record: Record,
        lane: int,
        identity: Identity,
        payload: bytes = b"",
        *,
        poisoned: bool = False,
        **header: int,
    ) -> SentPacket:
        """Makes a packet: trusted words, padding, CRC; the CRC of a poisoned one is inverted."""
        to = (header["dst_nid"], lane)
        sequence = self._next.get(to, 0)
        self._next[to] = (sequence + 1) % SEQUENCE_MODULUS
        flits = pack(
            record,
            payload,
            datapath_bits=self._parameters.datapath_bits,
            src_nid=identity.nid,
            src_pid=identity.pid,
            jid=identity.jid,
            lane=lane,
            sequence=sequence,
            **header,
        )
        if poisoned:
            flits[-1] ^= CRC_INVERSION
        return SentPacket(dst_nid=to[0], lane=lane, response=record is RESPONSE, poisoned=poisoned, flits=tuple(flits))

    def admit(self, flits: Sequence[int], *, response: bool) -> Arrival | tuple[Refusal, int]:
        """The packet, or why it is refused and its identity word (0 if it is too short to have one)."""
        bits = self._parameters.datapath_bits
        text = b"".join(flit.to_bytes(bits // 8, "little") for flit in flits[:-1])
        words = [int.from_bytes(text[place : place + 8], "little") for place in range(0, len(text), 8)]
        detail = words[IDENTITY_WORD] if len(words) > IDENTITY_WORD else 0
        difference = flits[-1] ^ crc32(flits[:-1], bits)
        if difference not in (0, CRC_INVERSION):
            return Refusal.PACKET_CRC, detail
        record = RESPONSE if response else REQUEST
        if len(words) < HEADER_WORDS:
            return Refusal.PACKET_MALFORMED, detail
        header = record.unpack(words)
        payload = text[8 * HEADER_WORDS :][: header["payload_bytes"]]
        if len(flits) != packet_flits(header["payload_bytes"], bits) or self._malformed(record, words, header):
            return Refusal.PACKET_MALFORMED, detail
        if header["dst_nid"] != self._nid:
            return Refusal.PACKET_DESTINATION, detail
        if not self._in_order(header):
            return Refusal.PACKET_SEQUENCE, detail
        context = next((c for c in self._contexts if c.active and c.settings.pid == header["dst_pid"]), None)
        if context is None:
            return Refusal.PACKET_DESTINATION, detail
        if header["jid"] != context.settings.jid:
            return Refusal.PACKET_JOB, detail
        self._expected[header["src_nid"], header["lane"]] = (header["sequence"] + 1) % SEQUENCE_MODULUS
        poisoned = difference != 0
        void = poisoned or bool(header.get("aborted"))
        return Arrival(context=context, header=header, payload=payload, void=void, poisoned=poisoned)

    def _in_order(self, header: Mapping[str, int]) -> bool:
        """Whether the packet is later than the last one of its lane that was admitted."""
        source = (header["src_nid"], header["lane"])
        ahead = (header["sequence"] - self._expected.get(source, 0)) % SEQUENCE_MODULUS
        return ahead < SEQUENCE_MODULUS // 2

    def _malformed(self, record: Record, words: Sequence[int], header: Mapping[str, int]) -> bool:
        """Whether no NIC of this machine sends such a packet."""
        p = self._parameters
        if any(words[i] & record.reserved_mask(i) for i in range(HEADER_WORDS)):
            return True
        if header["src_nid"] >= p.nodes or header["payload_bytes"] > p.mtu_bytes:
            return True
        if record is RESPONSE:
            return header["lane"] != p.contexts or self._impossible_response(header)
        return header["lane"] >= p.contexts or self._impossible_request(header)

    def _impossible_response(self, header: Mapping[str, int]) -> bool:
        total = header["manipulated_bytes"]
        if total > MAX_MESSAGE_BYTES:
            return True
        if header["kind"] == PacketKind.ACK:
            return bool(header["payload_bytes"] or header["segment_offset"]) or not header["last"]
        cut_short = header["fail"] != Fail.OK and header["last"] and not header["payload_bytes"]
        return header["kind"] != PacketKind.REPLY or self._impossible_segment(header, total, cut_short=bool(cut_short))

    def _impossible_request(self, header: Mapping[str, int]) -> bool:
        kind, message, payload = header["kind"], header["message_bytes"], header["payload_bytes"]
        if kind not in DATA_OPERATIONS or message > MAX_MESSAGE_BYTES:
            return True
        wanted = header["ack_request"]
        if wanted not in list(AckRequest) or (wanted and kind in FETCHING_OPERATIONS):
            return True
        if kind not in ATOMIC_OPERATIONS and (header["atomic_operation"] or header["atomic_type"]):
            return True
        if header["aborted"] and (payload or not header["last"]):
            return True
        begins = header["segment_offset"] == 0
        if kind == Operation.PUT:
            astray = bool(header["first"]) != begins and not (header["aborted"] and not header["first"])
            return astray or self._impossible_segment(header, message, cut_short=bool(header["aborted"]))
        if not (header["first"] and header["last"] and begins):
            return True
        if kind not in ATOMIC_OPERATIONS:
            return payload != 0
        operand = OPERAND_BYTES if header["atomic_operation"] in CONDITIONAL else 0
        bad = atomic_fault(kind, header["atomic_operation"], header["atomic_type"], message)
        return bad or (not header["aborted"] and payload != operand + message)

    def _impossible_segment(self, header: Mapping[str, int], total: int, *, cut_short: bool) -> bool:
        """Segments of `total` bytes lie side by side, all but the last one full; one that is cut short has no bytes."""
        mtu, start = self._parameters.mtu_bytes, header["segment_offset"]
        if start % mtu or (start >= total and start > 0):
            return True
        rest = total - start
        whole = header["payload_bytes"] == min(rest, mtu) and bool(header["last"]) == (rest <= mtu)
        return not whole and not cut_short
