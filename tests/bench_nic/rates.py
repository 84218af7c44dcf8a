"""How many messages and bytes go through a NIC, in both directions at once."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from rtl.packets import HEADER_WORDS
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
    """So many equal commands of each of the first `contexts` contexts of both nodes, each to the other node."""

    name: str
    operation: Operation
    length_bytes: int
    contexts: int
    commands: int
    response: bool = False  # the packets to be counted are the answers
    fields: dict[str, int] = field(default_factory=dict)


def _loads(contexts: int) -> Iterator[Load]:
    both = sorted({1, contexts})
    yield Load(name="put of 64 KiB", operation=Operation.PUT, length_bytes=1 << 16, contexts=1, commands=4)
    yield Load(name="get of 64 KiB", operation=Operation.GET, length_bytes=1 << 16, contexts=1, commands=4,
               response=True)  # fmt: skip
    for used in both:
        yield Load(name="put of 8 bytes", operation=Operation.PUT, length_bytes=8, contexts=used, commands=200)
    yield Load(name="acknowledged put of 8 bytes", operation=Operation.PUT, length_bytes=8, contexts=contexts,
               commands=200, fields={"ack_request": 2})  # fmt: skip
    for used in both:
        yield Load(name="get of 8 bytes", operation=Operation.GET, length_bytes=8, contexts=used, commands=200,
                   response=True)  # fmt: skip
    for operation, name in ((Operation.ATOMIC, "add of 8 bytes"), (Operation.FETCH_ATOMIC, "fetch and add of 8 bytes")):
        yield Load(name=name, operation=operation, length_bytes=8, contexts=contexts, commands=200,
                   response=operation == Operation.FETCH_ATOMIC, fields={"atomic_type": _DATUM_64})  # fmt: skip


def figures(rig: Rig) -> list[Figure]:
    """Large messages by their share of the datapath, small ones by cycles for each."""
    bits = rig.parameters.datapath_bits
    found = []
    for load in _loads(rig.parameters.contexts):
        packets = carry(rig, load)
        title = f"{load.name}, {load.contexts} contexts, {bits} bits"
        if load.length_bytes > rig.parameters.mtu_bytes:
            share = min(payload_share(node, rig.parameters.datapath_bytes) for node in packets)
            found.append(Figure(name=title, value=share, unit="payload of datapath", at_least=least_share(rig, load)))
        else:
            put = load.operation == Operation.PUT and not load.fields
            found.append(
                Figure(
                    name=title, value=max(interval(node) for node in packets), unit="cycles each",
                    at_most=MOST_CYCLES_FOR_A_SMALL_PUT if put else None,
                )
            )  # fmt: skip
    return found


def least_share(rig: Rig, load: Load) -> float:
    """What large messages must reach; headers and CRC of a shorter MTU leave less than the bound."""
    mtu, header = rig.parameters.mtu_bytes, HEADER_WORDS * WORD_BYTES + rig.parameters.datapath_bytes
    return min(LEAST_PAYLOAD_SHARE, 0.99 * mtu / (mtu + header))


def carry(rig: Rig, load: Load) -> list[list[Seen]]:
    """For each node the packets counted by `load` that it received, without those that came while not all contexts were
    busy: the fabric has room for all, so that what has been sent says nothing."""
    rig.settle()
    rig.forget()
    doorbells = []
    for node in range(2):
        command = rig.command(load.operation, 1 - node, length_bytes=load.length_bytes, **load.fields)
        for context in range(load.contexts):
            doorbells.append((node, context, rig.place(node, context, [command] * load.commands)))
    for doorbell in doorbells:
        rig.ring(*doorbell)
    rig.settle()
    rig.consume_events()
    seen = rig.simulator.packets()
    found = []
    for node in range(2):
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
