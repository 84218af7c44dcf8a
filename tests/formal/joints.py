"""Properties 1, 3 and 4, the whole NIC: its blocks are joined to each other, to the kernel's registers and to the state
of the contexts as the theorems about them take for granted, and to nothing else."""

from amaranth import Cat, Const, Value

from rtl.nic.nic import CONTEXT_REGISTERS, WINDOW_REGISTERS, Nic
from tests.formal.bench import Bench
from tests.formal.theorems import SMALL, Bug, theorem

SENDERS = ("send_requests", "send_responses")
ADMISSIONS = ("admit_requests", "admit_responses")
REPORTING = ("issue", "match", "deliver", "answers", "collect")
# Who speaks by which interface, and who hears it by which.
JOINTS = (
    ("fetch.o_commands", "issue.i_commands"),
    ("issue.o_list", "match.i_list"),
    ("issue.outstanding", "outstanding.allocate"),
    ("issue.left", "outstanding.left"),
    ("collect.lookup", "outstanding.lookup"),
    ("outstanding.expiry", "collect.expiry"),
    ("issue.o_job", "send_requests.i_job"),
    ("answers.o_job", "send_responses.i_job"),
    ("deliver.match", "match.i_match"),
    ("deliver.atomic", "atomic.i_request"),
    ("deliver.answer", "answers.i_answer"),
    ("answers.finish", "deliver.i_finish"),
    ("receive_requests.o_packet", "admit_requests.i_packet"),
    ("receive_responses.o_packet", "admit_responses.i_packet"),
    ("admit_requests.o_packet", "deliver.i_packet"),
    ("admit_responses.o_packet", "collect.i_packet"),
    ("events.progress", "contexts.events"),
)
READERS = ("fetch.read", "send_responses.read", "send_requests.read", "atomic.read")
WRITERS = ("events.write", "deliver.write", "collect.write", "atomic.write")


def _at(bench: Bench, place: str) -> Value:
    part, _, member = place.partition(".")
    return getattr(bench.part(part), member)


@theorem(
    3,
    "Nic",
    bugs=(
        Bug(
            function="rtl.nic.nic:Nic._configure",
            old='bank.field(f"{path}.WINDOW[{index}].{register}", field)',
            new='bank.field(f"CONTEXT[0].WINDOW[{index}].{register}", field)',
        ),
        Bug(
            function="rtl.nic.nic:Nic._configure",
            old='bank.field(f"{path}.{register}", field)',
            new='bank.field(f"CONTEXT[0].{register}", field)',
        ),
        Bug(
            function="rtl.nic.nic:Nic._configure",
            old="getattr(registers, member)[index].eq(value)",
            new="getattr(registers, member)[0].eq(value)",
        ),
        Bug(
            function="rtl.nic.nic:Nic.elaborate",
            old='bank.field("INTERRUPT_INTERVAL", "cycles")',
            new='bank.field("LOG_INTERVAL", "cycles")',
        ),
    ),
)
def registers() -> Bench:
    """Every block that acts by the kernel's registers of a context hears those of that context: each window's range and
    rights, rings, queues and counters, identities. What raises interrupts hears the interval between them."""
    bench = Bench(Nic(SMALL), keep=("bank",))
    bank = bench.part("bank")
    for _, name, *_ in bench.fragment.subfragments:
        part = bench.part(name)
        for number, heard in enumerate(getattr(part, "contexts", ())):
            path = f"CONTEXT[{number}]"
            for member, (register, field) in CONTEXT_REGISTERS.items():
                if member in heard.signature.members:
                    said = bank.stored(f"{path}.{register}", field)
                    bench.always(getattr(heard, member) == said, f"{name}: {member} of context {number}")
            for index in range(SMALL.windows):
                for member, (register, field) in WINDOW_REGISTERS.items():
                    said = bank.stored(f"{path}.WINDOW[{index}].{register}", field)
                    what = f"{name}: {member} {index} of context {number}"
                    bench.always(getattr(heard, member)[index] == said, what)
    bench.always(bench.part("events").interval == bank.stored("INTERRUPT_INTERVAL", "cycles"), "interval of interrupts")
    return bench


@theorem(
    4,
    "Nic",
    bugs=(
        Bug(
            function="rtl.nic.nic:Nic.elaborate",
            old="wiring.connect(m, state, *(block.states[number] for block in others))",
            new="wiring.connect(m, contexts.states[0], *(block.states[number] for block in others))",
        ),
        Bug(
            function="rtl.nic.nic:Nic.elaborate",
            old="reads = (fetch.read, send_responses.read, send_requests.read, atomic.read)",
            new="reads = (fetch.read, send_responses.read, atomic.read, send_requests.read)",
        ),
        Bug(
            function="rtl.nic.nic:Nic.elaborate",
            old="tallies.context.eq(match.counted_context)",
            new="tallies.context.eq(0)",
        ),
        Bug(
            function="rtl.nic.nic:Nic.elaborate",
            old="contexts.retired_context.eq(issue.retired_context)",
            new="contexts.retired_context.eq(issue.i_commands.select)",
        ),
    ),
)
def blocks() -> Bench:
    """Each block is told what the block that it works with says, and of all contexts where they stand; each has a way
    to memory of its own."""
    bench = Bench(block := Nic(SMALL), keep=("bank",))
    for speaker, hearer in JOINTS:
        bench.joined(_at(bench, speaker), _at(bench, hearer), f"{speaker} to {hearer}")
    port, events, contexts = (bench.part(name) for name in ("port", "events", "contexts"))
    for number, (reader, writer) in enumerate(zip(READERS, WRITERS, strict=True)):
        bench.joined(_at(bench, reader), port.readers[number], f"memory: {reader}")
        bench.joined(_at(bench, writer), port.writers[number], f"memory: {writer}")
    bench.joined(port.memory, block.memory, "memory")
    for number, name in enumerate(REPORTING):
        bench.joined(bench.part(name).o_event, events.ports[number], f"events of {name}")
        bench.joined(bench.part(name).reserve, events.reserves[number], f"places of {name}")
    for name in ("requests", "responses"):
        bench.joined(getattr(block, f"i_{name}"), bench.part(f"receive_{name}").i_flits, f"{name} that come")
    for _, name, *_ in bench.fragment.subfragments:
        for number, heard in enumerate(getattr(bench.part(name), "states", ())):
            bench.joined(contexts.states[number], heard, f"{name}: state of context {number}")
    fetch, issue, match, tallies = (bench.part(name) for name in ("fetch", "issue", "match", "tallies"))
    told = (
        (fetch.pending, contexts.pending),
        (contexts.fetched, fetch.fetched),
        (contexts.fetched_context, fetch.fetched_context),
        (contexts.retired, issue.retired),
        (contexts.retired_context, issue.retired_context),
        (tallies.dropped, match.dropped),
        (tallies.violated, match.violated),
        (tallies.context, match.counted_context),
    )
    bench.always(Cat(heard == said for heard, said in told).all(), "indices and counts")
    return bench


@theorem(
    4,
    "Nic",
    bugs=(
        Bug(function="rtl.nic.nic:Nic._raise_interrupts", old="line == number for", new="line == 0 for"),
        Bug(function="rtl.nic.nic:Nic._raise_interrupts", old="contexts & here", new="contexts"),
        Bug(function="rtl.nic.nic:Nic._raise_interrupts", old="violation if number == 0 else 0", new="violation"),
        Bug(function="rtl.nic.nic:Nic._raise_interrupts", old="Cat(pending.values())", new="Cat(contexts, packet)"),
    ),
)
def lines() -> Bench:
    """A core is interrupted for those contexts that the kernel has steered to it and for nobody else, the first one for
    refusals, too; PENDING says for which."""
    bench = Bench(block := Nic(SMALL), keep=("bank",))
    bank, refusals = bench.part("bank"), bench.part("refusals")
    enabled = {name: bank.stored("INT_ENABLE", name) for name in ("context", "packet", "violation")}
    happened = bank.stored("INT_STATUS", "context") & enabled["context"]
    packet = refusals.packets_log.due & enabled["packet"]
    violation = refusals.processes_log.due & enabled["violation"]
    for core in range(SMALL.interrupt_lines):
        pending = {name: bank.field(f"INTERRUPT_LINE[{core}].PENDING", name) for name in enabled}
        for number in range(SMALL.contexts):
            steered = bank.stored(f"CONTEXT[{number}].CONTROL", "line") == core
            what = f"core {core}, context {number}"
            bench.always(pending["context"][number] == (happened[number] & steered), what)
        logs = Cat(packet, violation) if core == 0 else Const(0, 2)
        bench.always(Cat(pending["packet"], pending["violation"]) == logs, f"core {core}: refusals")
        bench.always(block.interrupts[core] == Cat(pending.values()).any(), f"core {core}: the line")
    return bench
