"""Property 5, the blocks between the nodes, which stand behind the same gates; see `stillness`."""

from rtl.fabric.channel import Link
from rtl.fabric.injector import Injector
from rtl.fabric.parameters import FabricParameters, Topology
from rtl.fabric.router import Router
from rtl.fabric.switch import Switch
from rtl.interconnect import AxiLiteInterconnect
from tests.formal.bench import Bench
from tests.formal.stillness import still
from tests.formal.theorems import Bug, theorem

# A ring, whose links have two channels of each class, take two cycles, and two for a flit.
RING = FabricParameters(nodes=3, topology=Topology.RING, link_latency_cycles=2, link_width_bits=32)
CROSSBAR = FabricParameters(nodes=2, topology=Topology.CROSSBAR)


@theorem(
    5,
    "Link",
    bugs=(Bug(function="rtl.fabric.channel:Link.elaborate", old="| credits_under_way", new=""),),
)
def link() -> Bench:
    """Quiescence of a link."""
    bench = still(block := Link.of(RING))
    for channel, stream in enumerate(block.o_flits):
        arrived = bench.register(f"arrived_{channel}")
        bench.always(~arrived.any() | stream.valid, "what has arrived is shown")
    return bench


@theorem(
    5,
    "Injector",
    bugs=(Bug(function="rtl.fabric.sender:Sender.elaborate", old="| link.credit.any()", new=""),),
)
def injector() -> Bench:
    """Quiescence of what stands before the link of a node."""
    return still(Injector(RING))


@theorem(
    5,
    "Router",
    bugs=(
        Bug(
            function="rtl.fabric.router:Router._elaborate_input",
            old="~(stream.valid & (stream.ready | ~routed))",
            new="~(stream.valid & stream.ready)",
        ),
    ),
)
def router() -> Bench:
    """Quiescence of a router of a ring."""
    bench = still(Router(RING))
    for channel in range(2):
        shown = bench.part("local_link").o_flits[channel].valid
        arrived = bench.register(f"arrived_{channel}", "local_link")
        bench.always(~arrived.any() | shown, "what has arrived is shown")
    return bench


@theorem(
    5,
    "Switch",
    bugs=(
        Bug(
            function="rtl.fabric.switch:Switch.elaborate",
            old="quiescent.append(link.quiescent)",
            new="quiescent.append(router.quiescent)",
        ),
    ),
)
def switch() -> Bench:
    """Quiescence of a crossbar's switch, and of the links that end there."""
    bench = still(Switch(CROSSBAR))
    for port in range(CROSSBAR.nodes):
        for channel in range(CROSSBAR.link_channels):
            shown = bench.part(f"link_{port}").o_flits[channel].valid
            arrived = bench.register(f"arrived_{channel}", f"link_{port}")
            bench.always(~arrived.any() | shown, "what has arrived is shown")
    return bench


@theorem(
    5,
    "AxiLiteInterconnect",
    bugs=(
        Bug(
            function="rtl.interconnect:AxiLiteInterconnect.elaborate",
            old="~Cat(reading, writing, *requests).any()",
            new="~Cat(reading, *requests).any()",
        ),
    ),
)
def interconnect() -> Bench:
    """Quiescence of what joins cores and devices."""
    bench = still(AxiLiteInterconnect(managers=2, map={"near": (0x0, 0x1000), "far": (0x1_0000, 0x1000)}))
    (word_taken,) = bench.registers("word_taken", 1)
    bench.always(bench.register("write_busy") | ~word_taken, "a word is taken for a write that is under way")
    return bench
