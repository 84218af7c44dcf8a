"""What stands between a node and its link to a switch: its two classes of packets share the link, in turn."""

from amaranth import Cat, Module, Mux
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.fabric.channel import LinkPort, places
from rtl.fabric.parameters import CLASSES, FabricParameters
from rtl.fabric.sender import Sender
from rtl.fabric.turns import in_turn
from rtl.flits import flit_stream


class Injector(wiring.Component):
    """`i_local`, a stream for each class, go to `o_link`, each on its channel; a flit in one cycle is on the link in
    the next. `quiescent`: with the inputs still, a clock edge would change nothing; flits may wait for credits.
    """

    def __init__(self, parameters: FabricParameters) -> None:
        self._sender = Sender(
            datapath_bits=parameters.datapath_bits,
            channels=CLASSES,
            credits=places(parameters.link_latency_cycles, parameters.cycles_per_flit),
            cycles_per_flit=parameters.cycles_per_flit,
        )
        super().__init__(
            {
                "i_local": In(flit_stream(parameters.datapath_bits)).array(CLASSES),
                "o_link": Out(LinkPort(parameters.datapath_bits, CLASSES)),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.sender = sender = self._sender
        wiring.connect(m, sender.o_link, wiring.flipped(self.o_link))
        requests, response = self.i_local
        served = in_turn(m, Cat(stream.valid for stream in self.i_local) & sender.usable, "link")
        m.d.comb += [
            requests.ready.eq(served[0]),
            response.ready.eq(served[1]),
            sender.take.eq(served.any()),
            sender.channel.eq(served[1]),
            sender.flit.eq(Mux(served[1], response.payload.as_value(), requests.payload.as_value())),
            self.quiescent.eq(sender.quiescent),
        ]
        return m
