"""Several beginnings of links side by side, as packed vectors: by them the blocks of a machine are joined."""

from amaranth import Module, Shape, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.fabric.channel import LinkPort


class LinkBundle(wiring.Signature):
    """`count` LinkPorts, seen from the senders; number i's part of each member is its word i."""

    def __init__(self, datapath_bits: int, channels: int, count: int) -> None:
        self.widths = {
            name: Shape.cast(member.shape).width for name, member in LinkPort(datapath_bits, channels).members.items()
        }
        super().__init__(
            {name: (In if name == "credit" else Out)(count * width) for name, width in self.widths.items()}
        )


def begin(m: Module, port: wiring.PureInterface, bundle: wiring.PureInterface, index: int) -> None:
    """What a sender puts on `port` goes out as number `index` of `bundle`."""
    _carry(m, port, bundle, index, into_bundle=True)


def end(m: Module, bundle: wiring.PureInterface, index: int, port: wiring.PureInterface) -> None:
    """Number `index` of `bundle`, which comes in, goes to `port`, where a link begins."""
    _carry(m, port, bundle, index, into_bundle=False)


def _carry(
    m: Module, port: wiring.PureInterface, bundle: wiring.PureInterface, index: int, *, into_bundle: bool
) -> None:
    for name in port.signature.members:
        single = Value.cast(getattr(port, name))
        part = getattr(bundle, name).word_select(index, len(single))
        m.d.comb += part.eq(single) if into_bundle == (name != "credit") else single.eq(part)
