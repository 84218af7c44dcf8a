"""Cuts messages into packets, one at a time, and remembers how far each has come."""

from amaranth import C, Cat, Module, Mux, Signal, Value
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from rtl.nic.expressions import FieldsOf
from rtl.nic.initiator.check import has_operand
from rtl.nic.interfaces.widths import COMMAND_WORDS, CONTEXT_WIDTH, EPOCH_WIDTH, LENGTH_WIDTH
from rtl.nic.parameters import NicParameters
from rtl.portals import COMMAND, MAX_MESSAGE_BYTES, OPERAND_BYTES, Operation

MESSAGE_WORDS = COMMAND.fields["get_offset"].word  # of a command that is needed to go on: a put has no use for the rest

MESSAGE = data.StructLayout(
    {
        "words": data.ArrayLayout(64, MESSAGE_WORDS),
        "position": range(MAX_MESSAGE_BYTES + 1),
        "handle": 16,
        "generation": 8,
        "epoch": EPOCH_WIDTH,
    }
)


class Segment(wiring.Component):
    """The next packet of the message of `context`: of a fresh command (`fresh_words`), or with `resumed` of the message
    that was stored for this context.

    `read` asks for what is stored. From the next cycle on `words` are the command's, `position` is the packet's place
    in the message, `handle`, `generation` and `epoch` are those stored with a resumed message. `measure` comes not
    before that; from the cycle after it `payload_bytes` and `last` are the packet's, and `bytes` from `offset` of the
    local window are what must be allowed: of a fresh command all that it names, of a resumed one what the packet takes.
    `store` remembers that the packet has been made; what is needed to go on is given beside it.
    """

    def __init__(self, parameters: NicParameters) -> None:
        self._parameters = parameters
        super().__init__(
            {
                "context": In(CONTEXT_WIDTH),
                "fresh_words": In(64).array(COMMAND_WORDS),
                "resumed": In(1),
                "read": In(1),
                "words": Out(64).array(COMMAND_WORDS),
                "position": Out(LENGTH_WIDTH),
                "handle": Out(16),
                "generation": Out(8),
                "epoch": Out(EPOCH_WIDTH),
                "measure": In(1),
                "payload_bytes": Out(16),
                "last": Out(1),
                "offset": Out(64),
                "bytes": Out(LENGTH_WIDTH),
                "store": In(1),
                "stored_handle": In(16),
                "stored_generation": In(8),
                "stored_epoch": In(EPOCH_WIDTH),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        mtu_bytes = self._parameters.mtu_bytes
        m.submodules.messages = messages = memory.Memory(shape=MESSAGE, depth=self._parameters.contexts, init=[])
        write, read = messages.write_port(), messages.read_port()
        stored = read.data
        resumed_words = [*stored.words, C(0, 64)]
        m.d.comb += [read.addr.eq(self.context), read.en.eq(self.read)]
        m.d.comb += [
            word.eq(Mux(self.resumed, resumed, fresh))
            for word, resumed, fresh in zip(self.words, resumed_words, self.fresh_words, strict=True)
        ]
        m.d.comb += [
            self.position.eq(Mux(self.resumed, stored.position, 0)),
            self.handle.eq(stored.handle),
            self.generation.eq(stored.generation),
            self.epoch.eq(stored.epoch),
            write.addr.eq(self.context),
            write.en.eq(self.store),
            Cat(*write.data.words).eq(Cat(*self.words)),
            write.data.position.eq(self.position + mtu_bytes),
            write.data.handle.eq(self.stored_handle),
            write.data.generation.eq(self.stored_generation),
            write.data.epoch.eq(self.stored_epoch),
        ]
        with m.If(self.measure):
            self._measure(m, FieldsOf(COMMAND, list(self.words)))
        return m

    def _measure(self, m: Module, command: FieldsOf) -> None:
        mtu_bytes = self._parameters.mtu_bytes
        gets = command.operation == Operation.GET
        total = Signal(LENGTH_WIDTH)
        remaining = Signal(LENGTH_WIDTH)
        payload_bytes = Signal(16)
        m.d.comb += [
            total.eq(command.length_bytes + self._operand_bytes(command)),
            remaining.eq(total - self.position),
            payload_bytes.eq(Mux(gets, 0, Mux(remaining > mtu_bytes, mtu_bytes, remaining))),
        ]
        m.d.sync += [
            self.payload_bytes.eq(payload_bytes),
            self.last.eq(gets | (remaining <= mtu_bytes)),
            self.offset.eq(command.local_offset + self.position),
            self.bytes.eq(Mux(self.resumed, payload_bytes, total)),
        ]

    def _operand_bytes(self, command: FieldsOf) -> Value:
        return Mux(has_operand(command), OPERAND_BYTES, 0)
