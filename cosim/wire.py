"""The packets on the wire, as passive monitors in HDL saw them: put on the timeline."""

from collections.abc import Sequence

from cosim.store import PacketRing, Store
from cosim.trace import NIC_RECEIVED, NIC_RESPONSES_RECEIVED, NIC_RESPONSES_SENT, NIC_SENT, Recorder
from rtl.packets import REQUEST, RESPONSE, PacketKind, is_response
from rtl.portals import DATA_OPERATIONS
from sw.kernel.hardware import TraceKind

# Track of the timeline: of responses, received.
_RINGS = {
    NIC_SENT: (False, False),
    NIC_RECEIVED: (False, True),
    NIC_RESPONSES_SENT: (True, False),
    NIC_RESPONSES_RECEIVED: (True, True),
}
_KINDS: dict[int, str] = {int(kind): kind.name.lower().replace("_", " ") for kind in (*DATA_OPERATIONS, *PacketKind)}


class Wire:
    """Drains the rings of the monitors."""

    def __init__(self, store: Store, trace: Recorder) -> None:
        self._rings: list[tuple[int, int, PacketRing]] = [
            (node, track, store.ring(node, responses=responses, received=received))
            for node in range(store.layout.nodes)
            for track, (responses, received) in _RINGS.items()
        ]
        self._trace = trace

    @property
    def lost(self) -> int:
        """Packets that the monitors saw but that were overwritten before `drain` came."""
        return sum(ring.lost for _, _, ring in self._rings)

    def drain(self) -> None:
        """Take over what the monitors have seen since the last call."""
        for node, track, ring in self._rings:
            for packet in ring.drain():
                name, header_data = _described(packet.header)
                self._trace.record(TraceKind.PACKET, node, track, packet.first_ps, packet.last_ps, name, header_data)


def _described(words: Sequence[int]) -> tuple[str, int]:
    """What goes from whom to whom, and the header data. The number of names is that of pairs of processes."""
    header = (RESPONSE if is_response(words) else REQUEST).unpack(words)
    kind = _KINDS.get(header["kind"], f"kind {header['kind']}")
    source = f"{header['src_nid']}:{header['src_pid']}"
    return f"{kind} {source} to {header['dst_nid']}:{header['dst_pid']}", header.get("header_data", 0)
