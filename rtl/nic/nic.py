"""The NIC: wiring only."""

from typing import Any

from amaranth import Cat, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.axi import Axi4, AxiLite
from rtl.csr import RegisterBank
from rtl.flits import flit_stream
from rtl.nic.context.drain import Drain
from rtl.nic.context.events import Events
from rtl.nic.context.indices import Contexts
from rtl.nic.context.tallies import Tallies
from rtl.nic.host.port import MemoryPort
from rtl.nic.initiator.collect import Collect
from rtl.nic.initiator.fetch import Fetch
from rtl.nic.initiator.issue import Issue
from rtl.nic.initiator.outstanding import Outstanding
from rtl.nic.interfaces.context import ContextRegisters
from rtl.nic.parameters import NicParameters
from rtl.nic.refusal_log import Refusals
from rtl.nic.target.answers import Answers
from rtl.nic.target.atomic import Atomic
from rtl.nic.target.deliver import Deliver
from rtl.nic.target.match import Match
from rtl.nic.wire.admit import Admit
from rtl.nic.wire.receive import Receive
from rtl.nic.wire.send import Send
from rtl.portals import Refusal

WINDOW_REGISTERS = {
    "window_address": ("BASE", "address"),
    "window_bytes": ("LENGTH", "bytes"),
    "window_local_read": ("RIGHTS", "local_read"),
    "window_local_write": ("RIGHTS", "local_write"),
    "window_remote_read": ("RIGHTS", "remote_read"),
    "window_remote_write": ("RIGHTS", "remote_write"),
}
CONTEXT_REGISTERS = {
    "enable": ("CONTROL", "enable"),
    "interrupt": ("CONTROL", "interrupt"),
    "counter_interrupt": ("CONTROL", "counter_interrupt"),
    "pid": ("IDENTITY", "pid"),
    "jid": ("IDENTITY", "jid"),
    "command_base": ("COMMAND_BASE", "address"),
    "command_log2": ("COMMAND_SIZE", "log2"),
    "event_base": ("EVENT_BASE", "address"),
    "event_log2": ("EVENT_SIZE", "log2"),
    "counter_base": ("COUNTER_BASE", "address"),
    "moderation_count": ("MODERATION", "count"),
    "moderation_cycles": ("MODERATION", "cycles"),
}


class Nic(wiring.Component):
    """Registers on `bus`; commands, payload, events and counters in `memory`; flits to and from the fabric.

    Requests and responses travel apart, so that neither waits for the other. `time` counts cycles of the device clock
    from the machine's start; it is read only where a refusal is logged, and its changing leaves the NIC as quiet as it
    was. A line of `interrupts` is high while a bit of its PENDING is set. `quiescent`: while all other inputs stay
    as they are, a clock edge would change nothing.
    """

    def __init__(self, parameters: NicParameters) -> None:
        self.parameters = parameters
        flits = flit_stream(parameters.datapath_bits)
        super().__init__(
            {
                "bus": In(AxiLite(address_width=32)),
                "memory": Out(Axi4(data_width=parameters.datapath_bits)),
                "i_requests": In(flits),
                "i_responses": In(flits),
                "o_requests": Out(flits),
                "o_responses": Out(flits),
                "time": In(64),
                "interrupts": Out(parameters.interrupt_lines),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        parameters = self.parameters
        bank = RegisterBank(parameters.registers)
        m.submodules.contexts = contexts = Contexts(parameters)
        m.submodules.events = events = Events(parameters, sources=5, reservers=5)
        m.submodules.tallies = tallies = Tallies(parameters)
        m.submodules.drain = drain = Drain(parameters, engines=7)
        m.submodules.port = port = MemoryPort(parameters, readers=4, writers=4)
        m.submodules.fetch = fetch = Fetch(parameters)
        m.submodules.issue = issue = Issue(parameters)
        m.submodules.outstanding = outstanding = Outstanding(parameters)
        m.submodules.collect = collect = Collect(parameters)
        m.submodules.match = match = Match(parameters)
        m.submodules.deliver = deliver = Deliver(parameters)
        m.submodules.atomic = atomic = Atomic(parameters)
        m.submodules.answers = answers = Answers(parameters)
        m.submodules.send_requests = send_requests = Send(parameters, response=False)
        m.submodules.send_responses = send_responses = Send(parameters, response=True)
        m.submodules.receive_requests = receive_requests = Receive(parameters)
        m.submodules.receive_responses = receive_responses = Receive(parameters)
        m.submodules.admit_requests = admit_requests = Admit(parameters, response=False)
        m.submodules.admit_responses = admit_responses = Admit(parameters, response=True)
        packet_refusals = [
            receive_requests.refusal,
            receive_responses.refusal,
            admit_requests.refusal,
            admit_responses.refusal,
            deliver.refusal,
            collect.refusal,
        ]
        process_refusals = [issue.refusal, events.refusal]
        m.submodules.refusals = refusals = Refusals(
            parameters, process_sources=len(process_refusals), packet_sources=len(packet_refusals)
        )

        # Host memory.
        reads = (fetch.read, send_responses.read, send_requests.read, atomic.read)
        writes = (events.write, deliver.write, collect.write, atomic.write)
        for theirs, ours in zip((*reads, *writes), (*port.readers, *port.writers), strict=True):
            wiring.connect(m, theirs, ours)
        wiring.connect(m, port.memory, wiring.flipped(self.memory))
        # Where an access is from its judgement on until the memory port has it: a packet's job and an atomic hold what
        # they read and write, and a transfer of an event and a counter is two writes.
        requests = [fetch.read, deliver.write, collect.write, issue.o_job, answers.o_job]
        m.d.comb += [
            drain.offered.eq(Cat(*(request.valid for request in requests), deliver.atomic.valid, events.write.valid)),
            drain.passed.eq(Cat(*(request.ready for request in requests), deliver.atomic.done, events.passed)),
            port.mark.eq(drain.mark),
            drain.marked.eq(port.marked),
            contexts.busy.eq(drain.busy),
        ]

        # Initiator, target, wire.
        wiring.connect(m, fetch.o_commands, issue.i_commands)
        wiring.connect(m, issue.o_list, match.i_list)
        wiring.connect(m, issue.outstanding, outstanding.allocate)
        wiring.connect(m, issue.left, outstanding.left)
        wiring.connect(m, collect.lookup, outstanding.lookup)
        wiring.connect(m, outstanding.expiry, collect.expiry)
        wiring.connect(m, issue.o_job, send_requests.i_job)
        wiring.connect(m, answers.o_job, send_responses.i_job)
        wiring.connect(m, deliver.match, match.i_match)
        wiring.connect(m, deliver.atomic, atomic.i_request)
        wiring.connect(m, deliver.answer, answers.i_answer)
        wiring.connect(m, answers.finish, deliver.i_finish)
        wiring.connect(m, send_requests.o_flits, wiring.flipped(self.o_requests))
        wiring.connect(m, send_responses.o_flits, wiring.flipped(self.o_responses))
        wiring.connect(m, wiring.flipped(self.i_requests), receive_requests.i_flits)
        wiring.connect(m, wiring.flipped(self.i_responses), receive_responses.i_flits)
        wiring.connect(m, receive_requests.o_packet, admit_requests.i_packet)
        wiring.connect(m, receive_responses.o_packet, admit_responses.i_packet)
        wiring.connect(m, admit_requests.o_packet, deliver.i_packet)
        wiring.connect(m, admit_responses.o_packet, collect.i_packet)

        # Events.
        reporting: list[Any] = [issue, match, deliver, answers, collect]
        for number, block in enumerate(reporting):
            wiring.connect(m, block.o_event, events.ports[number])
            wiring.connect(m, block.reserve, events.reserves[number])
        wiring.connect(m, events.progress, contexts.events)
        m.d.comb += [block.room.eq(events.room) for block in (issue, match)]

        # Contexts.
        nid = bank.field("NODE_ID", "nid")
        m.d.comb += [
            *(block.nid.eq(nid) for block in (send_requests, send_responses, admit_requests, admit_responses)),
            *(block.timeout.eq(bank.field("RESPONSE_TIMEOUT", "cycles")) for block in (outstanding, deliver)),
            events.interval.eq(bank.field("INTERRUPT_INTERVAL", "cycles")),
            fetch.pending.eq(contexts.pending),
            contexts.fetched.eq(fetch.fetched),
            contexts.fetched_context.eq(fetch.fetched_context),
            contexts.retired.eq(issue.retired),
            contexts.retired_context.eq(issue.retired_context),
            contexts.retired_refused.eq(issue.retired_refused),
            tallies.dropped.eq(match.dropped),
            tallies.violated.eq(match.violated),
            tallies.context.eq(match.counted_context),
        ]

        # Refusals.
        for log, sources in ((refusals.processes, process_refusals), (refusals.packets, packet_refusals)):
            for theirs, ours in zip(sources, log, strict=True):
                wiring.connect(m, theirs, ours)
        m.d.comb += [
            refusals.time.eq(self.time),
            refusals.interval.eq(bank.field("LOG_INTERVAL", "cycles")),
            refusals.access_refused.eq(bank.refused),
            refusals.access_unprivileged.eq(bank.refused_unprivileged),
            refusals.access_address.eq(bank.refused_address),
        ]

        blocks: list[Any] = [
            contexts, events, tallies, drain, port, fetch, issue, outstanding, collect, match, deliver, atomic, answers,
            send_requests, send_responses, receive_requests, receive_responses, admit_requests, admit_responses,
            refusals,
        ]  # fmt: skip
        self._configure(m, bank, [block for block in blocks if hasattr(block, "contexts")])
        for number, state in enumerate(contexts.states):
            others = [block for block in blocks if hasattr(block, "states") and block is not contexts]
            wiring.connect(m, state, *(block.states[number] for block in others))
        self._expose_contexts(m, bank, contexts, tallies)
        for number in range(parameters.contexts):
            m.d.comb += bank.field(f"CONTEXT[{number}].CONTROL", "busy").eq(drain.busy[number])
        self._expose_logs(m, bank, refusals)
        self._expose_status(m, bank, events, refusals)
        self._raise_interrupts(m, bank, refusals)
        m.d.comb += [
            bank.increment("PACKETS_SENT").eq(send_requests.sent),
            bank.increment("RESPONSES_SENT").eq(send_responses.sent),
            bank.increment("MESSAGES_DELIVERED").eq(deliver.delivered),
            bank.increment("RESPONSES_COLLECTED").eq(collect.collected),
            bank.increment("RESPONSES_TIMED_OUT").eq(collect.timed_out),
            bank.increment("MESSAGES_TIMED_OUT").eq(deliver.timed_out),
            bank.increment("EVENTS_WRITTEN").eq(events.written),
            self.quiescent.eq(Cat(*(block.quiescent for block in (*blocks, bank))).all()),
        ]

        # Last, because the bank must know by now which of its signals are used.
        m.submodules.bank = bank
        wiring.connect(m, wiring.flipped(self.bus), bank.bus)
        return m

    def _configure(self, m: Module, bank: RegisterBank, blocks: list[Any]) -> None:
        """The kernel's registers, to every block that acts by them."""
        windows = self.parameters.windows
        for number in range(self.parameters.contexts):
            registers = ContextRegisters(windows).create(path=(f"context_{number}",))
            path = f"CONTEXT[{number}]"
            for member, (register, field) in CONTEXT_REGISTERS.items():
                m.d.comb += getattr(registers, member).eq(bank.field(f"{path}.{register}", field))
            for index in range(windows):
                for member, (register, field) in WINDOW_REGISTERS.items():
                    value = bank.field(f"{path}.WINDOW[{index}].{register}", field)
                    m.d.comb += getattr(registers, member)[index].eq(value)
            wiring.connect(m, registers, *(block.contexts[number] for block in blocks))

    def _expose_contexts(self, m: Module, bank: RegisterBank, contexts: Contexts, tallies: Tallies) -> None:
        """The context pages: indices, doorbells, own identity, counts."""
        m.d.comb += contexts.proposed.eq(bank.write_data)
        for number, state in enumerate(contexts.states):
            page = f"PAGE[{number}]"
            m.d.comb += [
                contexts.command_tail_proposed[number].eq(bank.proposed(f"{page}.COMMAND_TAIL")),
                bank.accept(f"{page}.COMMAND_TAIL").eq(contexts.command_tail_accept[number]),
                contexts.event_head_proposed[number].eq(bank.proposed(f"{page}.EVENT_HEAD")),
                bank.accept(f"{page}.EVENT_HEAD").eq(contexts.event_head_accept[number]),
                bank.field(f"{page}.COMMAND_TAIL", "index").eq(state.command_tail),
                bank.field(f"{page}.COMMAND_HEAD", "index").eq(state.command_head),
                bank.field(f"{page}.EVENT_HEAD", "index").eq(state.event_head),
                bank.field(f"{page}.EVENT_TAIL", "index").eq(state.event_tail),
                bank.field(f"{page}.REFUSED", "count").eq(contexts.commands_refused[number]),
                bank.field(f"{page}.DROPPED", "count").eq(tallies.drops[number]),
                bank.field(f"{page}.VIOLATIONS", "count").eq(tallies.violations[number]),
                bank.field(f"{page}.IDENTITY", "nid").eq(bank.field("NODE_ID", "nid")),
                bank.field(f"{page}.IDENTITY", "pid").eq(bank.field(f"CONTEXT[{number}].IDENTITY", "pid")),
                bank.field(f"{page}.IDENTITY", "jid").eq(bank.field(f"CONTEXT[{number}].IDENTITY", "jid")),
            ]

    def _expose_logs(self, m: Module, bank: RegisterBank, refusals: Refusals) -> None:
        """The violation logs and the counters of refusals."""
        for path, log in (("VIOLATION_LOG", refusals.processes_log), ("PACKET_LOG", refusals.packets_log)):
            m.d.comb += [
                bank.field(f"{path}.CAUSE", "reason").eq(log.reason),
                bank.field(f"{path}.CAUSE", "context").eq(log.context),
                bank.field(f"{path}.DETAIL", "detail").eq(log.detail),
                bank.field(f"{path}.TIME", "cycle").eq(log.time),
                bank.field(f"{path}.LOST", "count").eq(log.lost),
                bank.accept(f"{path}.ACKNOWLEDGE").eq(log.held),
                log.acknowledge.eq(bank.proposed(f"{path}.ACKNOWLEDGE")),
            ]
        for reason in Refusal:
            if reason is not Refusal.NONE:
                m.d.comb += bank.increment(reason.name).eq(refusals.counts[reason])

    def _expose_status(self, m: Module, bank: RegisterBank, events: Events, refusals: Refusals) -> None:
        """Capabilities, node ID, what happened."""
        for register in ("CAPABILITIES", "CAPABILITIES_MATCHING"):
            for field in bank.register_map.register(register).fields:
                m.d.comb += bank.field(register, field.name).eq(getattr(self.parameters, field.name))
        m.d.comb += [
            bank.accept("NODE_ID").eq(~bank.field("NODE_ID", "locked")),
            bank.field("INT_STATUS", "context").eq(events.interrupts),
            bank.field("INT_STATUS", "packet").eq(refusals.packets_log.due),
            bank.field("INT_STATUS", "violation").eq(refusals.processes_log.due),
        ]

    def _raise_interrupts(self, m: Module, bank: RegisterBank, refusals: Refusals) -> None:
        """What a context has to tell goes to the core that its CONTROL names, and takes no time of the others."""
        contexts = bank.stored("INT_STATUS", "context") & bank.field("INT_ENABLE", "context")
        packet = refusals.packets_log.due & bank.field("INT_ENABLE", "packet")
        violation = refusals.processes_log.due & bank.field("INT_ENABLE", "violation")
        lines = [bank.field(f"CONTEXT[{number}].CONTROL", "line") for number in range(self.parameters.contexts)]
        for number in range(self.parameters.interrupt_lines):
            here = Cat(line == number for line in lines)
            pending = {
                name: bank.field(f"INTERRUPT_LINE[{number}].PENDING", name)
                for name in ("context", "packet", "violation")
            }
            m.d.comb += [
                pending["context"].eq(contexts & here),
                pending["packet"].eq(packet if number == 0 else 0),
                pending["violation"].eq(violation if number == 0 else 0),
                self.interrupts[number].eq(Cat(pending.values()).any()),
            ]
