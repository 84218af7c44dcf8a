"""AXI4-Lite and AXI4 signatures, seen from the manager.

Ref: AMBA AXI and ACE Protocol Specification (ARM IHI 0022), chapters A2, A3 and B1.

Rules that every block here keeps: a `valid`, once high, stays high with its payload unchanged until `ready`; `valid`
never waits for `ready`; no output depends combinationally on an input of the same interface but `ready` signals.
`prot[0]` is the privilege of the access: 1 for the kernel, 0 for applications and untrusted extensions.
"""

import enum

from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

PROT_PRIVILEGED = 0


class Response(enum.IntEnum):
    """xRESP."""

    OKAY = 0
    EXOKAY = 1
    SLVERR = 2
    DECERR = 3


BURST_INCR = 1


class AxiLite(wiring.Signature):
    """AXI4-Lite with `data_width` 32 or 64 bits."""

    def __init__(self, *, address_width: int = 32, data_width: int = 64) -> None:
        if data_width not in (32, 64):
            raise ValueError(f"AxiLite.data_width: {data_width} is not 32 or 64")
        self.address_width = address_width
        self.data_width = data_width
        super().__init__(
            {
                "awaddr": Out(address_width),
                "awprot": Out(3),
                "awvalid": Out(1),
                "awready": In(1),
                "wdata": Out(data_width),
                "wstrb": Out(data_width // 8),
                "wvalid": Out(1),
                "wready": In(1),
                "bresp": In(2),
                "bvalid": In(1),
                "bready": Out(1),
                "araddr": Out(address_width),
                "arprot": Out(3),
                "arvalid": Out(1),
                "arready": In(1),
                "rdata": In(data_width),
                "rresp": In(2),
                "rvalid": In(1),
                "rready": Out(1),
            }
        )


class Axi4(wiring.Signature):
    """AXI4 with incrementing bursts of whole words; all transactions carry the same ID and stay in order."""

    def __init__(self, *, address_width: int = 48, data_width: int = 64, id_width: int = 1) -> None:
        if data_width not in (64, 128):
            raise ValueError(f"Axi4.data_width: {data_width} is not 64 or 128")
        self.address_width = address_width
        self.data_width = data_width
        self.id_width = id_width
        super().__init__(
            {
                "awid": Out(id_width),
                "awaddr": Out(address_width),
                "awlen": Out(8),
                "awsize": Out(3),
                "awburst": Out(2),
                "awvalid": Out(1),
                "awready": In(1),
                "wdata": Out(data_width),
                "wstrb": Out(data_width // 8),
                "wlast": Out(1),
                "wvalid": Out(1),
                "wready": In(1),
                "bid": In(id_width),
                "bresp": In(2),
                "bvalid": In(1),
                "bready": Out(1),
                "arid": Out(id_width),
                "araddr": Out(address_width),
                "arlen": Out(8),
                "arsize": Out(3),
                "arburst": Out(2),
                "arvalid": Out(1),
                "arready": In(1),
                "rid": In(id_width),
                "rdata": In(data_width),
                "rresp": In(2),
                "rlast": In(1),
                "rvalid": In(1),
                "rready": Out(1),
            }
        )
