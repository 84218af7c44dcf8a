"""Host memory, as the blocks that read and write it see it."""

from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.nic.interfaces.widths import ADDRESS_WIDTH, SIZE_WIDTH


class ReadPort(wiring.Signature):
    """Reads of host memory, seen from the block that reads.

    A request is for `bytes` (1 to 65,536) from byte `address`, any alignment. Its flits come in order, byte 0 of the
    first being the byte at `address`; bytes beyond the last are 0. The reader takes every flit in the cycle in which
    it comes: it requests only what it has room for, so that nobody ever waits for it. `data_error`: memory answered
    an access for this flit with an error; its data are 0. Requests of one reader are answered in order.
    """

    def __init__(self, datapath_bits: int) -> None:
        super().__init__(
            {
                "valid": Out(1),
                "ready": In(1),
                "address": Out(ADDRESS_WIDTH),
                "bytes": Out(SIZE_WIDTH),
                "data_valid": In(1),
                "data": In(datapath_bits),
                "data_last": In(1),
                "data_error": In(1),
            }
        )


class WritePort(wiring.Signature):
    """Writes of host memory, seen from the block that writes.

    A request is for `bytes` (1 to 65,536) from byte `address`, any alignment; its flits, byte 0 of the first going to
    `address`, may be offered from the cycle of the request on. The writer has or will have all flits whatever happens
    elsewhere: nobody waits for another because of it. `done` pulses once for each request, in order, when memory has
    answered all of it; `error` beside it tells how. Writes of all writers reach memory in the order of acceptance.
    """

    def __init__(self, datapath_bits: int) -> None:
        super().__init__(
            {
                "valid": Out(1),
                "ready": In(1),
                "address": Out(ADDRESS_WIDTH),
                "bytes": Out(SIZE_WIDTH),
                "data_valid": Out(1),
                "data_ready": In(1),
                "data": Out(datapath_bits),
                "done": In(1),
                "error": In(1),
            }
        )
