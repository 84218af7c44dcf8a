"""Requests for host memory, taken in turn and cut into AXI bursts.

Ref: ARM IHI 0022, A3.4.1 (bursts).
"""

from amaranth import C, Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.nic.arbitration import next_in_turn
from rtl.nic.expressions import select
from rtl.nic.interfaces.widths import ADDRESS_WIDTH, SIZE_WIDTH
from rtl.nic.parameters import NicParameters

# AxLEN's bound for INCR. A block of as many aligned words is 2 or 4 KiB: a burst inside one never crosses 4 KiB.
BURST_LOG2_WORDS = 8


def log2_bytes(parameters: NicParameters) -> int:
    """Logarithm of the bytes of a bus word, which is also a flit."""
    return (parameters.datapath_bytes - 1).bit_length()


def owner_width(requesters: int) -> int:
    return max(requesters - 1, 1).bit_length()


def burst_layout(requesters: int) -> data.StructLayout:
    """One burst of request of `owner`, as an address channel carries it.

    `address` of a whole bus word, `length` in words less one. `last`: the request needs no other.
    """
    return data.StructLayout(
        {
            "owner": unsigned(owner_width(requesters)),
            "address": unsigned(ADDRESS_WIDTH),
            "length": unsigned(BURST_LOG2_WORDS),
            "last": unsigned(1),
        }
    )


def transfer_layout(parameters: NicParameters, requesters: int) -> data.StructLayout:
    """What a request means for its data.

    `owner`: whose. `offset`: of byte 0 in the first bus word. `tail`: bytes in the last flit, 0 if it is full. `words`:
    bus words, one more than flits if `extra`. `position`: of the first word in its block of 256.
    """
    log2 = log2_bytes(parameters)
    return data.StructLayout(
        {
            "owner": unsigned(owner_width(requesters)),
            "offset": unsigned(log2),
            "tail": unsigned(log2),
            "words": unsigned(SIZE_WIDTH + 1 - log2),
            "extra": unsigned(1),
            "position": unsigned(BURST_LOG2_WORDS),
        }
    )


class Bursts(wiring.Component):
    """Takes a request (`valid`, `address` and `bytes` hold until `ready`) and offers its bursts from the next cycle on.

    At most `depth` requests are taken whose transfers have not been; transfers come in the order of the requests, each
    no earlier than its first burst.
    """

    def __init__(self, parameters: NicParameters, *, requesters: int, depth: int) -> None:
        self._log2 = log2_bytes(parameters)
        self._layout = transfer_layout(parameters, requesters)
        self._depth = depth
        super().__init__(
            {
                "valid": In(requesters),
                "ready": Out(requesters),
                "address": In(ADDRESS_WIDTH).array(requesters),
                "bytes": In(SIZE_WIDTH).array(requesters),
                "o_burst": Out(stream.Signature(burst_layout(requesters))),
                "o_transfer": Out(stream.Signature(self._layout)),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.transfers = transfers = fifo.SyncFIFO(width=self._layout.size, depth=self._depth)
        transfer = data.View(self._layout, transfers.w_data)
        position = Signal(ADDRESS_WIDTH - self._log2)  # of the next burst, in words
        left = Signal.like(transfer.words)  # 0: no request is taken
        turn = Signal.like(transfer.owner)

        owner = next_in_turn(m, self.valid, turn)
        address = select(list(self.address), owner)
        size_bytes = select(list(self.bytes), owner)
        rounding = (1 << self._log2) - 1
        flits = (size_bytes + rounding) >> self._log2
        m.d.comb += [
            transfer.owner.eq(owner),
            transfer.offset.eq(address),
            transfer.tail.eq(size_bytes),
            transfer.words.eq((transfer.offset + size_bytes + rounding) >> self._log2),
            transfer.extra.eq(transfer.words != flits),
            transfer.position.eq(address[self._log2 :]),
            transfers.w_en.eq(self.valid.any() & ~left.any()),
            self.ready.eq(Mux(transfers.w_rdy & ~left.any(), self.valid & (C(1) << owner), 0)),
            self.o_transfer.valid.eq(transfers.r_rdy),
            self.o_transfer.payload.eq(transfers.r_data),
            transfers.r_en.eq(self.o_transfer.ready),
            self.quiescent.eq(~(self.valid.any() | left.any() | transfers.r_rdy)),
        ]
        with m.If(self.ready.any()):
            m.d.sync += [position.eq(address[self._log2 :]), left.eq(transfer.words), turn.eq(owner)]
        m.d.comb += self.o_burst.payload.owner.eq(turn)
        self._offer(m, position, left)
        return m

    def _offer(self, m: Module, position: Signal, left: Signal) -> None:
        to_boundary = (1 << BURST_LOG2_WORDS) - position[:BURST_LOG2_WORDS]
        burst = self.o_burst.payload
        m.d.comb += [
            self.o_burst.valid.eq(left.any()),
            burst.address.eq(Cat(C(0, self._log2), position)),
            burst.last.eq(left <= to_boundary),
            burst.length.eq(Mux(burst.last, left, to_boundary) - 1),
        ]
        with m.If(self.o_burst.valid & self.o_burst.ready):
            # A burst that is not the last one ends where its block does.
            m.d.sync += [
                position.eq(Cat(C(0, BURST_LOG2_WORDS), position[BURST_LOG2_WORDS:] + 1)),
                left.eq(Mux(burst.last, 0, left - to_boundary)),
            ]
