"""The packets on the wire, as passive monitors in HDL saw them: put on the timeline."""

from cosim.store import PacketRing, Store
from cosim.trace import NIC_RECEIVED, NIC_SENT, Recorder
from rtl.packet import HEADER, TRUSTED_WORD, Operation
from sw.kernel.hardware import TraceKind

_WORDS_BETWEEN = [0] * (HEADER.length_words - TRUSTED_WORD - 1)


class Wire:
    """Drains the rings of the monitors."""

    def __init__(self, store: Store, trace: Recorder) -> None:
        nodes = range(store.layout.nodes)
        self._rings: list[tuple[int, int, PacketRing]] = [
            (node, track, store.ring(node, received=track == NIC_RECEIVED))
            for node in nodes
            for track in (NIC_SENT, NIC_RECEIVED)
        ]
        self._trace = trace

    @property
    def lost(self) -> int:
        """Packets that the monitors saw but that were overwritten before `drain` came."""
        return sum(ring.lost for _, _, ring in self._rings)

    def drain(self) -> None:
        """Take over what the monitors have seen since the last call."""
        for node, track, ring in self._rings:
            for first_ps, last_ps, route, trusted, header_data in ring.drain():
                header = HEADER.unpack([route, trusted, *_WORDS_BETWEEN])
                self._trace.record(TraceKind.PACKET, node, track, first_ps, last_ps, _name(header), header_data)


def _name(header: dict[str, int]) -> str:
    """Who to whom; the number of different names is that of pairs of processes."""
    try:
        operation = Operation(header["operation"]).name.lower()
    except ValueError:
        operation = f"operation {header['operation']}"
    source = f"{header['src_nid']}:{header['src_pid']}"
    return f"{operation} {source} to {header['dst_nid']}:{header['dst_pid']}"
