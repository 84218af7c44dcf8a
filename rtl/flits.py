"""What travels on a link, between NIC and fabric and within it."""

from amaranth import unsigned
from amaranth.lib import data, stream


def flit_layout(datapath_bits: int) -> data.StructLayout:
    """One flit of a packet; `last` marks the CRC flit."""
    return data.StructLayout({"data": unsigned(datapath_bits), "last": unsigned(1)})


def flit_stream(datapath_bits: int) -> stream.Signature:
    """Flits of packets, one packet after the other."""
    return stream.Signature(flit_layout(datapath_bits))
