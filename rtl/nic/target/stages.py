"""What the stages of the deliverer pass on: messages under way, arrivals, completions.

A message is known by its slot: its source node and lane, of which each has one message under way at most.
"""

from collections.abc import Callable, Iterable
from typing import Any

from amaranth import Cat, Module, Value, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import Out

from rtl.nic.expressions import FieldsOf, select
from rtl.nic.interfaces.host import WritePort
from rtl.nic.interfaces.target import MatchPort
from rtl.nic.interfaces.widths import ADDRESS_WIDTH, CONTEXT_WIDTH, ENTRY_WIDTH, EPOCH_WIDTH, START_WIDTH
from rtl.nic.interfaces.wire import PacketPort
from rtl.nic.parameters import NicParameters
from rtl.packets import HEADER_WORDS, REQUEST
from rtl.portals import MAX_MESSAGE_BYTES

MESSAGE_WIDTH = MAX_MESSAGE_BYTES.bit_length()  # bytes of a message; also the offset of a segment

# What is known of the match entry of a message. Unless `fail` is OK everything else is 0. `found`: `entry` took the
# message, which is to be finished; with `unexpected` it has unexpected header `header`. `event` and `unlinked`: a place
# is reserved for the message's event, for AUTO_UNLINK. `counted`: the message changes counter `counter`.
MATCHED = data.StructLayout(
    {
        "fail": 8,
        "found": 1,
        "entry": ENTRY_WIDTH,
        "window": 8,
        "start": START_WIDTH,
        "bytes": MESSAGE_WIDTH,
        "remote_offset": 64,
        "event": 1,
        "unlinked": 1,
        "overflow": 1,
        "unexpected": 1,
        "header": ENTRY_WIDTH,
        "success_disable": 1,
        "ack_disable": 1,
        "counted": 1,
        "count_bytes": 1,
        "counter": 8,
        "user_data": 64,
    }
)


def message_layout(parameters: NicParameters) -> data.StructLayout:
    """A message that goes on; `next_offset` is that of its next segment. `pt_index` and `src_nid` are told of if it is
    abandoned."""
    return data.StructLayout(
        {
            "under_way": 1,
            "context": CONTEXT_WIDTH,
            "epoch": EPOCH_WIDTH,
            "src_nid": range(parameters.nodes),
            "next_offset": MESSAGE_WIDTH,
            "pt_index": 8,
            "matched": MATCHED,
        }
    )


def slots(parameters: NicParameters) -> int:
    """How many messages can be under way; that of a node and lane is slot node * contexts + lane."""
    return parameters.nodes * parameters.contexts


def arrival_layout(parameters: NicParameters) -> data.StructLayout:
    """A packet whose message is known, or the end of a message that was `abandoned`: of its words the pt_index alone is
    the message's, and the others mean nothing and need not hold.

    `refused`: nothing is done but to take the payload away. `cut_short`: the message ends here, undeliverable. `owes`:
    the packet may be answered, and was counted as such.
    """
    return data.StructLayout(
        {
            "abandoned": 1,
            "refused": 1,
            "cut_short": 1,
            "owes": 1,
            "context": CONTEXT_WIDTH,
            "epoch": EPOCH_WIDTH,
            "slot": range(slots(parameters)),
            "words": data.ArrayLayout(unsigned(64), HEADER_WORDS),
            "matched": MATCHED,
        }
    )


def completion_layout(parameters: NicParameters) -> data.StructLayout:
    """An arrival whose memory was looked up. `matched.bytes` of an atomic is cut to whole data.

    `written`: a write was requested, whose answer is to be awaited. `atomic`: an atomic is to be carried out on
    `address`. `fail`: why the memory may not be touched, or OK.
    """
    return data.StructLayout(
        {
            "arrival": arrival_layout(parameters),
            "written": 1,
            "atomic": 1,
            "address": ADDRESS_WIDTH,
            "fail": 8,
        }
    )


def _part(signature: wiring.Signature, wanted: Callable[[str], bool]) -> wiring.Signature:
    return wiring.Signature({name: member for name, member in signature.members.items() if wanted(name)})


def header_part(parameters: NicParameters) -> wiring.Signature:
    """Of a PacketPort: header."""
    return _part(PacketPort(parameters.datapath_bits), lambda name: not name.startswith("data"))


def payload_part(parameters: NicParameters) -> wiring.Signature:
    """Of a PacketPort: payload."""
    return _part(PacketPort(parameters.datapath_bits), lambda name: name.startswith("data"))


def write_part(parameters: NicParameters) -> wiring.Signature:
    """Of a WritePort: all but the answers."""
    return _part(WritePort(parameters.datapath_bits), lambda name: name not in ("done", "error"))


def match_part() -> wiring.Signature:
    """Of a MatchPort: questions and answers."""
    return _part(MatchPort(), lambda name: not name.startswith("finish"))


def finish_part() -> wiring.Signature:
    """Of a MatchPort: the end of messages."""
    return _part(MatchPort(), lambda name: name.startswith("finish"))


def connect_part(m: Module, part: wiring.Signature, source: Any, target: Any) -> None:
    """Connects the members of `part` of two interfaces; `source` drives those that the signature calls outputs."""
    for name, member in part.members.items():
        pair = (source, target) if member.flow is Out else (target, source)
        for driver, driven in zip(*(_signals(getattr(interface, name)) for interface in pair), strict=True):
            m.d.comb += driven.eq(driver)


def _signals(member: Any) -> Iterable[Any]:
    return [member] if isinstance(member, Value) else member


def header_fields(arrival: data.View) -> FieldsOf:
    """Fields of the request that arrived."""
    return FieldsOf(REQUEST, [arrival.words[index] for index in range(HEADER_WORDS)])


def is_one_of(value: Value, wanted: Iterable[int]) -> Value:
    """Whether `value` is one of the numbers `wanted`."""
    return Cat(*(value == number for number in wanted)).any()


def is_live(states: Any, context: Value, epoch: Value) -> Value:
    """Whether `context` is in its life `epoch`. Once false it stays so, for as long as epochs do not repeat."""
    return select([state.active for state in states], context) & (
        select([state.epoch for state in states], context) == epoch
    )
