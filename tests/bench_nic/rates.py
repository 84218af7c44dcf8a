"""How many messages and bytes go through a NIC, in one direction and in both at once.

What limits each of them:

- Large messages: the link, which also carries headers and CRCs.
- Small puts without SEND events, and with them in one direction: the link. A put of 8 bytes is 10 flits at 64 bits and
  6 at 128. The memory of the target takes its event and its payload, 9 and 5 flits; the SEND event goes to the other
  memory.
- Small puts of one context at 128 bits: what is fetched ahead, `prefetch` commands in each latency of memory.
- Small puts with SEND events in both directions: the write channel of each memory, which takes two events and the
  payload for each: 17 flits at 64 bits, 9 at 128. So at 64 bits nothing could keep the bound of one direction: an event
  has 64 bytes.
- Small gets: the same channel, two events and the reply's payload.
- Atomics: one at a time; each reads memory, waits for it, and writes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from rtl.packets import HEADER_WORDS, packet_flits
from rtl.portals import Operation
from rtl.records import WORD_BYTES
from tests.bench_nic.figures import Figure
from tests.bench_nic.rig import Rig
from tests.rtl.whole.simulator import Seen

LEAST_PAYLOAD_SHARE = 0.95
MOST_CYCLES_FOR_A_SMALL_PUT = 16
_DATUM_64 = 3  # AtomicType.UINT64


@dataclass(frozen=True, kw_only=True)
class Load:
    """So many equal commands of each of the first `contexts` contexts of one node or of `both`, each to the other node.

    `bounded`: one context keeps the bound for small puts, and several are not slower than one."""

    name: str
    operation: Operation
    length_bytes: int
    contexts: int
    commands: int
    both: bool = True
    bounded: bool = False
    response: bool = False  # the packets to be counted are the answers
    fields: dict[str, int] = field(default_factory=dict)

    @property
    def title(self) -> str:
        ways = "both ways" if self.both else "one way"
        return f"{self.name}, {ways}, {self.contexts} context{'s' if self.contexts > 1 else ''}"


def _loads(contexts: int) -> Iterator[Load]:
    one_and_all = sorted({1, contexts})
    yield Load(name="put of 64 KiB", operation=Operation.PUT, length_bytes=1 << 16, contexts=1, commands=4)
    yield Load(name="get of 64 KiB", operation=Operation.GET, length_bytes=1 << 16, contexts=1, commands=4,
               response=True)  # fmt: skip
    for name, directions, bounded, fields in _SMALL_PUTS:
        for used in one_and_all:
            yield Load(name=name, operation=Operation.PUT, length_bytes=8, contexts=used, commands=200,
                       both=directions, bounded=bounded, fields=fields)  # fmt: skip
    yield Load(name="acknowledged put of 8 bytes", operation=Operation.PUT, length_bytes=8, contexts=contexts,
               commands=200, fields={"ack_request": 2})  # fmt: skip
    for used in one_and_all:
        yield Load(name="get of 8 bytes", operation=Operation.GET, length_bytes=8, contexts=used, commands=200,
                   response=True)  # fmt: skip
    for operation, name in ((Operation.ATOMIC, "add of 8 bytes"), (Operation.FETCH_ATOMIC, "fetch and add of 8 bytes")):
        yield Load(name=name, operation=operation, length_bytes=8, contexts=contexts, commands=200,
                   response=operation == Operation.FETCH_ATOMIC, fields={"atomic_type": _DATUM_64})  # fmt: skip


_EVENTS = {"event_send_disable": 0}
# Name, both directions, bounded, fields.
_SMALL_PUTS: list[tuple[str, bool, bool, dict[str, int]]] = [
    ("put of 8 bytes without SEND events", True, True, {}),
    ("put of 8 bytes with SEND events", False, True, _EVENTS),
    ("put of 8 bytes with SEND events", True, False, _EVENTS),
]


def figures(rig: Rig) -> list[Figure]:
    """Large messages by their share of the datapath, small ones by cycles for each."""
    bits = rig.parameters.datapath_bits
    found = []
    alone: dict[tuple[str, bool], float] = {}  # what one context takes
    for load in _loads(rig.parameters.contexts):
        packets = carry(rig, load)
        title = f"{load.title}, {bits} bits"
        if load.length_bytes > rig.parameters.mtu_bytes:
            share = min(payload_share(node, rig.parameters.datapath_bytes) for node in packets)
            found.append(Figure(name=title, value=share, unit="payload of datapath", at_least=least_share(rig, load)))
        else:
            cycles = max(interval(node) for node in packets)
            most: float = MOST_CYCLES_FOR_A_SMALL_PUT
            if load.contexts == 1:
                alone[load.name, load.both] = cycles
            elif load.bounded:
                # Several contexts do more than one, if one has not filled the link already.
                most = min(most, max(alone[load.name, load.both] - 1, packet_flits(load.length_bytes, bits)))
            at_most = most if load.bounded else None
            found.append(Figure(name=title, value=cycles, unit="cycles each", at_most=at_most))
    return found


def least_share(rig: Rig, load: Load) -> float:
    """What large messages must reach; headers and CRC of a shorter MTU leave less than the bound."""
    mtu, header = rig.parameters.mtu_bytes, HEADER_WORDS * WORD_BYTES + rig.parameters.datapath_bytes
    return min(LEAST_PAYLOAD_SHARE, 0.99 * mtu / (mtu + header))


def carry(rig: Rig, load: Load) -> list[list[Seen]]:
    """For each direction the packets counted by `load`, as received, without those that came while not all contexts
    were busy: the fabric has room for all, so that what has been sent says nothing."""
    rig.settle()
    rig.forget()
    doorbells = []
    senders = range(2 if load.both else 1)
    for node in senders:
        command = rig.command(load.operation, 1 - node, length_bytes=load.length_bytes, **load.fields)
        for context in range(load.contexts):
            doorbells.append((node, context, rig.place(node, context, [command] * load.commands)))
    for doorbell in doorbells:
        rig.ring(*doorbell)
    rig.settle()
    rig.consume_events()
    seen = rig.simulator.packets()
    found = []
    for sender in senders:
        node = sender if load.response else 1 - sender
        came = [p for p in seen if p.node == node and p.received and p.response == load.response]
        found.append(came[len(came) // 4 : -len(came) // 8])
    return found


def interval(packets: list[Seen]) -> float:
    """Cycles from one packet to the next."""
    return (packets[-1].last_cycle - packets[0].last_cycle) / (len(packets) - 1)


def payload_share(packets: list[Seen], datapath_bytes: int) -> float:
    """Of the cycles between the first and the last of the packets, how many carried payload."""
    overhead = HEADER_WORDS * WORD_BYTES // datapath_bytes + 1
    flits = sum(len(packet.flits) - overhead for packet in packets[1:])
    return flits / (packets[-1].last_cycle - packets[0].last_cycle)
