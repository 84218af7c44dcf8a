"""The trusted words of every packet that leaves: who sends it, and the number that makes a replay visible.

`Stamp` is the only block whose output reaches these words. What it says about the sender comes from registers of the
kernel's page and from the number of the context for which the hardware acts; no word of a command is among its inputs
but the destination, which chooses a sequence number and nothing else.
"""

from amaranth import Module, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from rtl.nic.expressions import assemble, select
from rtl.nic.interfaces.widths import CONTEXT_WIDTH
from rtl.nic.parameters import NicParameters
from rtl.nic.wire.lanes import SEQUENCE_WIDTH, Lanes
from rtl.packets import IDENTITY_WORD, ORDER_WORD, REQUEST, TRUSTED_WORDS


class Stamp(wiring.Component):
    """The trusted words, in the order of TRUSTED_WORDS, of a packet that `context` sends to `dst_nid` (< nodes).

    All inputs are sampled in the cycle of `start`; `trusted` stands from the next cycle until the next `start`. The
    identity is what the kernel's registers say in that cycle, or with `resume` what was sampled for this context's last
    `start` without it: a message has one identity, whatever happens to its context while it is being sent. Each
    `start` counts in the sequence of its lane to that node.
    """

    def __init__(self, parameters: NicParameters, *, response: bool) -> None:
        self._parameters = parameters
        self._response = response
        super().__init__(
            {
                "nid": In(16),
                "pids": In(16).array(parameters.contexts),
                "jids": In(32).array(parameters.contexts),
                "start": In(1),
                "resume": In(1),
                "context": In(CONTEXT_WIDTH),
                "dst_nid": In(16),
                "trusted": Out(64).array(len(TRUSTED_WORDS)),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        self._identify(m)
        self._number(m)
        return m

    def _identify(self, m: Module) -> None:
        """The memory passes on what is being written, so a fresh identity and a resumed one take the same way."""
        contexts = self._parameters.contexts
        m.submodules.identities = identities = memory.Memory(shape=64, depth=contexts, init=[])
        write = identities.write_port()
        read = identities.read_port(transparent_for=(write,))
        sampled = assemble(
            REQUEST,
            {
                "src_nid": self.nid,
                "src_pid": select(list(self.pids), self.context),
                "jid": select(list(self.jids), self.context),
            },
        )[IDENTITY_WORD]
        m.d.comb += [
            write.addr.eq(self.context),
            write.data.eq(sampled),
            write.en.eq(self.start & ~self.resume),
            read.addr.eq(self.context),
            read.en.eq(self.start),
            self.trusted[TRUSTED_WORDS.index(IDENTITY_WORD)].eq(read.data),
        ]

    def _number(self, m: Module) -> None:
        """Responses have one lane; the number of contexts is its name. Each context's requests have their own."""
        lanes = Lanes(self._parameters, response=self._response)
        m.submodules.sequences = sequences = memory.Memory(shape=SEQUENCE_WIDTH, depth=lanes.rows, init=[])
        write = sequences.write_port()
        read = sequences.read_port(transparent_for=(write,))
        counting = Signal()
        address = Signal.like(write.addr)
        lane = Signal(CONTEXT_WIDTH, init=self._parameters.contexts)
        m.d.comb += [
            read.addr.eq(lanes.row(self.dst_nid, self.context)),
            read.en.eq(self.start),
            write.addr.eq(address),
            write.data.eq(read.data + 1),
            write.en.eq(counting),
            self.quiescent.eq(~(self.start | counting)),
        ]
        m.d.sync += counting.eq(self.start)
        with m.If(self.start):
            m.d.sync += address.eq(read.addr)
            if not self._response:
                m.d.sync += lane.eq(self.context)
        order = assemble(REQUEST, {"lane": lane, "sequence": read.data})
        m.d.comb += self.trusted[TRUSTED_WORDS.index(ORDER_WORD)].eq(order[ORDER_WORD])
