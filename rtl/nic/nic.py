"""The NIC: wiring only."""

from typing import Any

from amaranth import Cat, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.axi import Axi4, AxiLite
from rtl.csr import RegisterBank
from rtl.descriptors import Refusal
from rtl.layouts import PacketStream
from rtl.nic.commands import Commands
from rtl.nic.contexts import Contexts
from rtl.nic.deliver import Deliver
from rtl.nic.events import Events
from rtl.nic.memory import MemoryPort
from rtl.nic.ports import ContextRegisters
from rtl.nic.receive import Receive
from rtl.nic.refusals import Refusals
from rtl.nic.transmit import Transmit
from rtl.registers import load


class Nic(wiring.Component):
    """Registers on `bus`; commands, payload and events in `memory`; packets to and from the fabric.

    `contexts`: processes it serves at a time; `windows` of memory for each; `mtu_bytes`: the longest payload.
    `rtl.node.NodeParameters` says their ranges. `interrupt` is high while a bit of INT_STATUS that INT_ENABLE allows is
    set. `quiescent`: while all inputs stay as they are, a clock edge would change nothing.
    """

    def __init__(self, *, contexts: int, windows: int, mtu_bytes: int) -> None:
        self._contexts = contexts
        self._windows = windows
        self._mtu_bytes = mtu_bytes
        super().__init__(
            {
                "bus": In(AxiLite(address_width=32)),
                "memory": Out(Axi4()),
                "i_packet": In(PacketStream),
                "o_packet": Out(PacketStream),
                "interrupt": Out(1),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        sizes = {"contexts": self._contexts, "windows": self._windows}
        bank = RegisterBank(load("nic", CONTEXTS=self._contexts, WINDOWS=self._windows))
        m.submodules.contexts = contexts = Contexts(**sizes)
        m.submodules.commands = commands = Commands(**sizes)
        m.submodules.transmit = transmit = Transmit(**sizes, mtu_bytes=self._mtu_bytes)
        m.submodules.receive = receive = Receive(mtu_bytes=self._mtu_bytes)
        m.submodules.deliver = deliver = Deliver(**sizes)
        m.submodules.events = events = Events(**sizes)
        m.submodules.refusals = refusals = Refusals(contexts=self._contexts, packet_sources=3)
        m.submodules.port = port = MemoryPort(readers=2, writers=2)

        self._configure(m, bank, [contexts, commands, transmit, deliver, events])
        self._expose_contexts(m, bank, contexts)
        self._expose_status(m, bank, transmit, events, refusals)

        wiring.connect(m, wiring.flipped(self.memory), port.memory)
        wiring.connect(m, wiring.flipped(self.i_packet), receive.i_packet)
        wiring.connect(m, wiring.flipped(self.o_packet), transmit.o_packet)
        wiring.connect(m, commands.read, port.readers[0])
        wiring.connect(m, transmit.read, port.readers[1])
        wiring.connect(m, events.write, port.writers[0])
        wiring.connect(m, deliver.write, port.writers[1])
        wiring.connect(m, commands.o_command, transmit.i_command)
        wiring.connect(m, receive.o_packet, deliver.i_packet)
        wiring.connect(m, transmit.o_event, events.i_local)
        wiring.connect(m, deliver.o_event, events.i_put)
        for number in range(self._contexts):
            wiring.connect(m, contexts.indices[number], commands.indices[number], events.indices[number])
        m.d.comb += [
            commands.pending.eq(contexts.pending),
            contexts.fetched.eq(commands.fetched),
            contexts.fetched_context.eq(commands.fetched_context),
            contexts.retired.eq(transmit.retired),
            contexts.retired_refused.eq(transmit.retired_refused),
            contexts.retired_context.eq(transmit.context),
            contexts.event_written.eq(events.written),
            contexts.event_visible.eq(events.visible),
            contexts.event_withdrawn.eq(events.withdrawn),
            contexts.event_context.eq(events.written_context),
            receive.buffer_half.eq(deliver.buffer_half),
            receive.buffer_index.eq(deliver.buffer_index),
            deliver.buffer_word.eq(receive.buffer_word),
            events.reserve_valid.eq(deliver.reserve_valid),
            events.reserve_context.eq(deliver.reserve_context),
            events.release.eq(deliver.release),
            deliver.reserve_ready.eq(events.reserve_ready),
            deliver.reserve_room.eq(events.reserve_room),
        ]
        wiring.connect(m, receive.refusal, refusals.packets[0])
        wiring.connect(m, deliver.refusal, refusals.packets[1])
        wiring.connect(m, events.refusal, refusals.packets[2])
        wiring.connect(m, transmit.refusal, refusals.command)
        m.d.comb += [block.nid.eq(bank.field("NODE_ID", "nid")) for block in (transmit, deliver)]
        m.d.comb += [block.restarted.eq(contexts.restarted) for block in (transmit, deliver, events)]
        blocks: list[Any] = [bank, contexts, commands, transmit, receive, deliver, events, refusals, port]
        m.d.comb += self.quiescent.eq(Cat(*(block.quiescent for block in blocks)).all())

        # Last, because the bank must know by now which of its signals are used.
        m.submodules.bank = bank
        wiring.connect(m, wiring.flipped(self.bus), bank.bus)
        return m

    def _configure(self, m: Module, bank: RegisterBank, blocks: list[Any]) -> None:
        """The kernel's registers, to every block that acts by them."""
        for number in range(self._contexts):
            registers = ContextRegisters(self._windows).create(path=(f"context_{number}",))
            path = f"CONTEXT[{number}]"
            m.d.comb += [
                registers.enable.eq(bank.field(f"{path}.CONTROL", "enable")),
                registers.interrupt.eq(bank.field(f"{path}.CONTROL", "interrupt")),
                registers.pid.eq(bank.field(f"{path}.IDENTITY", "pid")),
                registers.jid.eq(bank.field(f"{path}.IDENTITY", "jid")),
                registers.command_base.eq(bank.field(f"{path}.COMMAND_BASE", "address")),
                registers.command_log2.eq(bank.field(f"{path}.COMMAND_SIZE", "log2")),
                registers.event_base.eq(bank.field(f"{path}.EVENT_BASE", "address")),
                registers.event_log2.eq(bank.field(f"{path}.EVENT_SIZE", "log2")),
            ]
            for index in range(self._windows):
                window = f"{path}.WINDOW[{index}]"
                m.d.comb += [
                    registers.window_address[index].eq(bank.field(f"{window}.BASE", "address")),
                    registers.window_bytes[index].eq(bank.field(f"{window}.LENGTH", "bytes")),
                    registers.window_local_read[index].eq(bank.field(f"{window}.RIGHTS", "local_read")),
                    registers.window_remote_write[index].eq(bank.field(f"{window}.RIGHTS", "remote_write")),
                ]
            wiring.connect(m, registers, *(block.contexts[number] for block in blocks))

    def _expose_contexts(self, m: Module, bank: RegisterBank, contexts: Contexts) -> None:
        """The context pages: indices, doorbells, own identity."""
        m.d.comb += contexts.proposed.eq(bank.write_data)
        for number, indices in enumerate(contexts.indices):
            page = f"PAGE[{number}]"
            m.d.comb += [
                contexts.command_tail_proposed[number].eq(bank.proposed(f"{page}.COMMAND_TAIL")),
                bank.accept(f"{page}.COMMAND_TAIL").eq(contexts.command_tail_accept[number]),
                contexts.event_head_proposed[number].eq(bank.proposed(f"{page}.EVENT_HEAD")),
                bank.accept(f"{page}.EVENT_HEAD").eq(contexts.event_head_accept[number]),
                bank.field(f"{page}.COMMAND_TAIL", "index").eq(indices.command_tail),
                bank.field(f"{page}.COMMAND_HEAD", "index").eq(indices.command_head),
                bank.field(f"{page}.EVENT_HEAD", "index").eq(indices.event_head),
                bank.field(f"{page}.EVENT_TAIL", "index").eq(indices.event_tail),
                bank.field(f"{page}.REFUSED", "count").eq(indices.commands_refused),
                bank.field(f"{page}.IDENTITY", "nid").eq(bank.field("NODE_ID", "nid")),
                bank.field(f"{page}.IDENTITY", "pid").eq(bank.field(f"CONTEXT[{number}].IDENTITY", "pid")),
                bank.field(f"{page}.IDENTITY", "jid").eq(bank.field(f"CONTEXT[{number}].IDENTITY", "jid")),
            ]

    def _expose_status(
        self, m: Module, bank: RegisterBank, transmit: Transmit, events: Events, refusals: Refusals
    ) -> None:
        """The kernel's page: capabilities, node ID, interrupts, violations, counters."""
        violation = bank.stored("INT_STATUS", "violation")
        acknowledged = bank.register_map.register("INT_STATUS").field("violation")
        m.d.comb += [
            bank.field("CAPABILITIES", "contexts").eq(self._contexts),
            bank.field("CAPABILITIES", "windows").eq(self._windows),
            bank.field("CAPABILITIES", "mtu_bytes").eq(self._mtu_bytes),
            bank.accept("NODE_ID").eq(~bank.field("NODE_ID", "locked")),
            bank.field("INT_STATUS", "context").eq(events.interrupts),
            bank.field("INT_STATUS", "violation").eq(refusals.violation),
            refusals.unacknowledged.eq(violation),
            refusals.acknowledge.eq(bank.written("INT_STATUS") & bank.write_data[acknowledged.lsb]),
            refusals.access_refused.eq(bank.refused),
            refusals.access_unprivileged.eq(bank.refused_unprivileged),
            refusals.access_address.eq(bank.refused_address),
            refusals.command_context.eq(transmit.context),
            refusals.command_index.eq(transmit.index),
            bank.field("VIOLATION", "reason").eq(refusals.reason),
            bank.field("VIOLATION", "context").eq(refusals.context),
            bank.field("VIOLATION", "address").eq(refusals.address),
            bank.increment("PACKETS_SENT").eq(transmit.sent),
            bank.increment("PACKETS_DELIVERED").eq(events.written & events.written_put),
            bank.increment("EVENTS_WRITTEN").eq(events.written),
            self.interrupt.eq(
                (bank.stored("INT_STATUS", "context") & bank.field("INT_ENABLE", "context")).any()
                | (violation & bank.field("INT_ENABLE", "violation"))
            ),
        ]
        for reason in Refusal:
            if reason is not Refusal.NONE:
                m.d.comb += bank.increment(reason.name).eq(refusals.counts[reason])
