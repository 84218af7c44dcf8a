"""The middle of a crossbar: its router, and the links that end there."""

from amaranth import Cat, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.fabric.bundle import LinkBundle, begin, end
from rtl.fabric.channel import Link
from rtl.fabric.parameters import FabricParameters
from rtl.fabric.router import DROPPED_WIDTH, Router


class Switch(wiring.Component):
    """Number n of `i_link` and `o_link` is that of node n. `dropped` as of `Router`.

    `quiescent`: with the inputs still, a clock edge would change nothing.
    """

    def __init__(self, parameters: FabricParameters) -> None:
        self._parameters = parameters
        links = LinkBundle(parameters.datapath_bits, parameters.link_channels, parameters.nodes)
        super().__init__(
            {"i_link": In(links), "o_link": Out(links), "dropped": Out(DROPPED_WIDTH), "quiescent": Out(1)}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.router = router = Router(self._parameters)
        quiescent = [router.quiescent]
        for nid in range(self._parameters.nodes):
            m.submodules[f"link_{nid}"] = link = Link.of(self._parameters)
            end(m, self.i_link, nid, link.i_link)
            begin(m, router.o_links[nid], self.o_link, nid)
            for stream, arriving in zip(link.o_flits, router.i_links[nid], strict=True):
                wiring.connect(m, stream, arriving)
            quiescent.append(link.quiescent)
        m.d.comb += [self.dropped.eq(router.dropped), self.quiescent.eq(Cat(*quiescent).all())]
        return m
