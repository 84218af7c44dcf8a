"""Reads the payloads of packets from host memory, a piece at a time, no further ahead than is needed."""

from amaranth import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from rtl.nic.interfaces.host import ReadPort
from rtl.nic.interfaces.widths import ADDRESS_WIDTH
from rtl.nic.parameters import NicParameters


class PayloadAhead(wiring.Component):
    """Payloads of the packets that were `wanted`, in their order, as flits: `valid`, `flit` and `error` until `ready`.

    A payload of `bytes` from `address` is `wanted` until `taken`, which comes with or after `complete`: all of it has
    been asked for, or nothing is wanted. It is asked for in pieces, each when at most `read_ahead_flits` are `unsent`:
    asked for, and not taken out. So who else reads waits for little more than these, however large the payload is.
    """

    def __init__(self, parameters: NicParameters) -> None:
        self._parameters = parameters
        self._piece_flits = parameters.read_ahead_flits // 2
        self.depth = parameters.read_ahead_flits + self._piece_flits
        self._layout = data.StructLayout({"flit": parameters.datapath_bits, "error": 1})
        super().__init__(
            {
                "wanted": In(1),
                "address": In(ADDRESS_WIDTH),
                "bytes": In(16),
                "complete": Out(1),
                "taken": In(1),
                "read": Out(ReadPort(parameters.datapath_bits)),
                "unsent": Out(range(self.depth + 1)),
                "valid": Out(1),
                "ready": In(1),
                "flit": Out(parameters.datapath_bits),
                "error": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        # A buffered FIFO holds one entry in its output register and the others in memory.
        m.submodules.payload = payload = SyncFIFOBuffered(width=self._layout.size, depth=self.depth + 1)
        entering, leaving = data.View(self._layout, payload.w_data), data.View(self._layout, payload.r_data)
        read = self.read
        m.d.comb += [
            entering.flit.eq(read.data),
            entering.error.eq(read.data_error),
            payload.w_en.eq(read.data_valid),
            self.valid.eq(payload.r_rdy),
            self.flit.eq(leaving.flit),
            self.error.eq(leaving.error),
            payload.r_en.eq(self.ready),
        ]
        asks = self._ask(m)
        takes = self.valid & self.ready
        size = self._parameters.datapath_bytes
        with m.If(asks | takes):
            flits = (read.bytes + (size - 1)) >> (size.bit_length() - 1)
            m.d.sync += self.unsent.eq(self.unsent + Mux(asks, flits, 0) - takes)
        return m

    def _ask(self, m: Module) -> Signal:
        """Asks memory for the pieces of what is wanted; returns whether one is taken."""
        read = self.read
        piece_bytes = self._piece_flits * self._parameters.datapath_bytes
        begun = Signal()  # a piece has been asked for, and `left` bytes are to come, from `following` on
        requested = Signal()  # all pieces have
        following = Signal.like(self.address)
        left = Signal.like(self.bytes)
        rest = Signal.like(self.bytes)
        more = Signal()
        asks = Signal()
        m.d.comb += [
            rest.eq(Mux(begun, left, self.bytes)),
            more.eq(rest > piece_bytes),
            read.valid.eq(self.wanted & ~requested & (self.unsent <= self._parameters.read_ahead_flits)),
            read.address.eq(Mux(begun, following, self.address)),
            read.bytes.eq(Mux(more, piece_bytes, rest)),
            asks.eq(read.valid & read.ready),
            self.complete.eq(~self.wanted | requested | (asks & ~more)),
        ]
        with m.If(self.taken):
            m.d.sync += [begun.eq(0), requested.eq(0)]
        with m.Elif(asks):
            m.d.sync += [
                begun.eq(1),
                requested.eq(~more),
                following.eq(read.address + piece_bytes),
                left.eq(rest - piece_bytes),
            ]
        return asks
