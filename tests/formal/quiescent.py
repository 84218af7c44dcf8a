"""Property 5, the blocks around memory, commands and registers, and the whole NIC; see `stillness`."""

from amaranth import Cat, Value

from rtl.nic.context.drain import Drain
from rtl.nic.context.events import Events
from rtl.nic.context.indices import Contexts
from rtl.nic.context.tallies import Tallies
from rtl.nic.host.port import MemoryPort
from rtl.nic.initiator.collect import Collect
from rtl.nic.initiator.fetch import Fetch
from rtl.nic.initiator.issue import Issue
from rtl.nic.initiator.outstanding import Outstanding
from rtl.nic.nic import Nic
from rtl.nic.parameters import NicParameters
from rtl.nic.refusal_log import Refusals
from tests.formal.banks import register_bank
from tests.formal.bench import Bench, own_registers
from tests.formal.stillness import claim_queue_is_bounded, claim_stillness, still
from tests.formal.theorems import SMALL, Bug, theorem


@theorem(
    5,
    "Contexts",
    bugs=(
        Bug(
            function="rtl.nic.context.indices:Contexts._live",
            old="restart | state.restarted | (start ^ started)",
            new="restart | state.restarted",
        ),
    ),
)
def contexts() -> Bench:
    """Quiescence of indices and lives."""
    return still(Contexts(SMALL))


@theorem(
    5,
    "Events",
    bugs=(
        Bug(
            function="rtl.nic.context.moderation:Moderation.elaborate",
            old="busy += [due, clocked, forgets, silence.any(), state.restarted]",
            new="busy += [due, forgets, silence.any(), state.restarted]",
        ),
        Bug(
            function="rtl.nic.context.moderation:Moderation.elaborate",
            old="busy += [due, clocked, forgets, silence.any(), state.restarted]",
            new="busy += [due, clocked, forgets, state.restarted]",
        ),
        Bug(
            function="rtl.nic.context.events:Events.elaborate",
            old=" & moderation.quiescent & ~write.done",
            new=" & moderation.quiescent",
        ),
    ),
    every_width=True,
)
def events(parameters: NicParameters = SMALL) -> Bench:
    """Quiescence of queues, counters and moderation. Rule: an EventPort's `valid` holds until `ready`."""
    bench = still(block := Events(parameters, sources=2, reservers=2))
    chosen, source = bench.register("chosen", "writer"), bench.register("source", "writer")
    for number, port in enumerate(block.ports):
        bench.rule(~bench.past(port.valid & ~port.ready) | port.valid)
        bench.always(~(chosen & (source == number)) | port.valid, "who was chosen still wants it")
    for number in range(parameters.contexts):
        waiting = bench.register(f"waiting_{number}", "moderation")
        elapsed = bench.register(f"elapsed_{number}", "moderation")
        bench.always(waiting.any() | ~elapsed.any(), "time is counted only for something")
    return bench


@theorem(
    5,
    "Tallies",
    bugs=(
        Bug(
            function="rtl.nic.context.tallies:Tallies.elaborate",
            old="~(self.dropped | self.violated | (restarted != 0))",
            new="~(self.dropped | (restarted != 0))",
        ),
    ),
)
def tallies() -> Bench:
    """Quiescence of the counts of messages sent in vain."""
    return still(Tallies(SMALL))


@theorem(
    5,
    "Drain",
    bugs=(
        Bug(
            function="rtl.nic.context.drain:Drain.elaborate",
            old="self.quiescent.eq(~(active & ~used).any())",
            new="self.quiescent.eq(1)",
        ),
    ),
)
def drain() -> Bench:
    """Quiescence of what waits for the last accesses of closed contexts. Rule: no busy context becomes active."""
    bench = still(block := Drain(SMALL, engines=2))
    active = Cat(*(state.active for state in block.states))
    bench.rule((bench.past(block.busy) & active) == 0)
    return bench


@theorem(
    5,
    "MemoryPort",
    bugs=(
        Bug(
            function="rtl.nic.host.write:Write.elaborate",
            old=" & ~unanswered.r_rdy",
            new="",
        ),
    ),
    every_width=True,
)
def memory_port(parameters: NicParameters = SMALL) -> Bench:
    """Quiescence of the memory port; it then tells nobody of data or of a write's end. Rules: memory answers only what
    it was asked."""
    bench = still(block := MemoryPort(parameters, readers=2, writers=2))
    claim_queue_is_bounded(bench, "read", "bursts", "transfers")
    completing = bench.register("completing", "read", "align")
    bench.always(~completing | bench.part("read", "align").i_transfer.valid, "what is being completed is under way")
    for reader in block.readers:
        bench.always(~(block.quiescent & reader.data_valid), "no data come")
    for writer in block.writers:
        bench.always(~(block.quiescent & writer.done), "no write ends")
    return bench


@theorem(
    5,
    "Fetch",
    bugs=(
        Bug(
            function="rtl.nic.initiator.fetch:Fetch._keep",
            old="return (shown == words_read.addr) & ~written & ~data.data_valid",
            new="return (shown == words_read.addr) & ~data.data_valid",
        ),
    ),
    every_width=True,
)
def fetch(parameters: NicParameters = SMALL) -> Bench:
    """Quiescence of the fetcher of commands."""
    bench = still(Fetch(parameters))
    shown, written = bench.register("shown"), bench.register("written")
    for name in ("words", "errors"):
        memory = bench.part(name)
        data = memory._read_ports[0].data
        bench.always(written | (data == bench.row(shown, name)), f"{name} are shown as they are stored")
    return bench


@theorem(
    5,
    "Issue",
    bugs=(
        Bug(
            function="rtl.nic.initiator.issue:Issue._proceed",
            old='return turn.ongoing("Await-Turn") & ~turns.any',
            new='return turn.ongoing("Await-Turn")',
        ),
        Bug(
            function="rtl.nic.initiator.handover:Handover.elaborate",
            old="~(self.load | moves | (job.valid & job.ready))",
            new="~(self.load | (job.valid & job.ready))",
        ),
    ),
)
def issue() -> Bench:
    """Quiescence of the issuer of commands."""
    bench = still(block := Issue(SMALL))
    place = "departures"
    departures = bench.part(place)
    records = bench.part(place, "packets")
    newest, oldest = records._write_ports[0].addr, records._read_ports[0].addr
    level = bench.register("level", place)
    accounting = bench.in_state("account", "Account", place)
    looking, resumed = block._looking, block._resumed
    idle = bench.in_state("issue", "Await-Turn")
    begins = bench.in_state("issue", "Begin")
    sends = resumed | ((block._reason == 0) & bench.part("check").sends)
    shown = Value.cast(records._read_ports[0].data)
    bench.always((level <= 1 << len(newest)) & (level[: len(newest)] == (newest - oldest)[: len(newest)]), "level")
    bench.always(~accounting | level.any(), "what is accounted for has been entered")
    bench.always(~accounting | (shown == bench.row(oldest, place, "packets")), "and is shown as it is stored")
    bench.always(idle | looking | departures.room, "who took the turn has room for its packet")
    bench.always(idle | ~looking | ~resumed, "who only looks begins nothing that goes on")
    bench.always(~(begins & sends) | ~looking, "who only looks sends nothing")
    return bench


@theorem(
    5,
    "Outstanding",
    bugs=(
        Bug(
            function="rtl.nic.initiator.outstanding:Outstanding.elaborate",
            old="~(self._restarted.any() | touched | choosing)",
            new="~(self._restarted.any() | touched)",
        ),
        Bug(
            function="rtl.nic.deadlines:Walk.elaborate",
            old="~runs & ~elapsed.any()",
            new="~elapsed.any()",
        ),
    ),
)
def outstanding() -> Bench:
    """Quiescence of the table of requests that wait for a response."""
    return still(Outstanding(SMALL))


@theorem(
    5,
    "Collect",
    bugs=(
        Bug(
            function="rtl.nic.initiator.collect:Collect.elaborate",
            old="awaiting & ~flits_left.any() & complete.quiescent",
            new="awaiting & complete.quiescent",
        ),
    ),
    every_width=True,
)
def collect(parameters: NicParameters = SMALL) -> Bench:
    """Quiescence of the collector of responses. Rule: the memory port, quiescent itself, tells of no write's end."""
    bench = still(block := Collect(parameters))
    bench.rule(~(block.quiescent & block.write.done))
    records = bench.part("complete", "records")
    idle = bench.in_state("complete", "Await-Memory", "complete")
    bench.always(idle | records.r_rdy, "what is being ended is still recorded")
    claim_queue_is_bounded(bench, "complete", "records")
    return bench


@theorem(
    5,
    "RegisterBank",
    bugs=(
        Bug(
            function="rtl.csr:RegisterBank._elaborate_hardware_updates",
            old="changes.append(self._increments[register.path])",
            new="pass",
        ),
    ),
)
def registers() -> Bench:
    """Quiescence of the register bank with the NIC's own map."""
    bank, inputs = register_bank()
    bench = Bench(bank, inputs=inputs)
    claim_stillness(bench, bank.quiescent)
    return bench


@theorem(
    5,
    "Nic",
    bugs=(
        Bug(
            function="rtl.nic.nic:Nic.elaborate",
            old="for block in (*blocks, bank)",
            new="for block in (*blocks[1:], bank)",
        ),
    ),
)
def whole() -> Bench:
    """The NIC says `quiescent` only if each of its blocks does, and has no register beside those of its blocks."""
    bench = Bench(block := Nic(SMALL), keep=("bank",))
    if own_registers(bench.fragment):
        raise AssertionError("nic: the wiring has registers of its own")
    for _, name, *_ in bench.fragment.subfragments:
        part = bench.part(name)
        bench.always(~block.quiescent | part.quiescent, f"{name} is quiescent")
    return bench


@theorem(
    5,
    "Refusals",
    bugs=(
        Bug(
            function="rtl.nic.refusal_log:RefusalLog.elaborate",
            old="~(pulses.any() | waiting.any() | self.log.acknowledge | waits)",
            new="~(pulses.any() | self.log.acknowledge | waits)",
        ),
        Bug(
            function="rtl.nic.refusal_log:RefusalLog.elaborate",
            old="| self.log.acknowledge | waits)",
            new="| self.log.acknowledge)",
        ),
    ),
)
def refusals() -> Bench:
    """Quiescence of the logs of refusals, whatever `time` does."""
    return still(Refusals(SMALL, process_sources=2, packet_sources=2))
