"""What a small message waits for behind a large one of another context."""

from dataclasses import dataclass

from rtl.packets import REQUEST, packet_flits
from rtl.portals import Operation
from tests.bench_nic.figures import Figure
from tests.bench_nic.latency import MOST_CYCLES_TO_FIRST_FLIT
from tests.bench_nic.rig import Rig
from tests.rtl.whole.compare import header_words
from tests.rtl.whole.simulator import Seen, Touched

LARGE_BYTES = 1 << 16
MOMENTS = 16  # of the small put's doorbell, spread over the time that a packet takes


@dataclass(frozen=True, kw_only=True)
class Wait:
    """From the doorbell of the small put to its first flit: cycles, and flits and packets of the large one between."""

    cycles: int
    flits: int
    packets: int


def figures(rig: Rig) -> list[Figure]:
    """The worst of several moments."""
    bits = rig.parameters.datapath_bits
    flits_of_a_packet = rig.parameters.mtu_bytes // rig.parameters.datapath_bytes
    waits = [wait(rig, flits_of_a_packet * 3 + flits_of_a_packet * n // MOMENTS) for n in range(MOMENTS)]
    return [
        Figure(name=f"doorbell to first flit, {bits} bits", unit="cycles", value=max(w.cycles for w in waits)),
        Figure(
            name=f"flits of the large one before it, {bits} bits", unit="flits", value=max(w.flits for w in waits),
            at_most=_most_flits(rig),
        ),
        Figure(
            name=f"packets of the large one before it, whole or in part, {bits} bits", unit="packets",
            value=max(w.packets for w in waits),
        ),
    ]  # fmt: skip


def _most_flits(rig: Rig) -> int:
    """One packet, what is read ahead with a last piece, and what leaves in the time that a small put takes alone."""
    parameters = rig.parameters
    packet = packet_flits(parameters.mtu_bytes, parameters.datapath_bits)
    return packet + parameters.read_ahead_flits * 3 // 2 + MOST_CYCLES_TO_FIRST_FLIT


def wait(rig: Rig, delay_cycles: int) -> Wait:
    """Context 1 rings so many cycles after context 0 did."""
    rig.settle()
    rig.forget()
    large = rig.command(Operation.PUT, 1, length_bytes=LARGE_BYTES)
    small = rig.command(Operation.PUT, 1, length_bytes=8)
    tail = rig.place(0, 1, [small])
    rig.post(0, 0, [large])
    rig.simulator.run(delay_cycles)
    rig.simulator.trace()
    rig.ring(0, 1, tail)
    rig.settle()
    rig.simulator.trace(False)
    rung = next(touch.cycle for touch in rig.simulator.touches() if touch.touched == Touched.BUS_WRITE)
    sent = [packet for packet in rig.simulator.packets() if packet.node == 0 and not packet.received]
    rig.consume_events()
    [ours] = [packet for packet in sent if _lane(rig, packet) == 1]
    between = [p for p in sent if p is not ours and rung < p.last_cycle and p.first_cycle < ours.first_cycle]
    return Wait(
        cycles=ours.first_cycle - rung,
        flits=sum(min(len(packet.flits), packet.last_cycle - rung) for packet in between),
        packets=len(between),
    )


def _lane(rig: Rig, packet: Seen) -> int:
    return REQUEST.unpack(header_words(packet.flits, rig.parameters.datapath_bits))["lane"]
