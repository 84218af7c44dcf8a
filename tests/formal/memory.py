"""Property 3, where memory is asked for: windows, rings, queues, counters, and what passes a request on."""

from typing import Any

from amaranth import C, Cat, Mux, Signal, Value

from rtl.nic.context.events import Events
from rtl.nic.host.window import RIGHTS, WindowCheck
from rtl.nic.initiator.fetch import Fetch
from rtl.nic.parameters import NicParameters
from rtl.nic.target.atomic import Atomic
from rtl.nic.wire.send import Send
from tests.formal.bench import Bench, chosen
from tests.formal.theorems import SMALL, Bug, theorem


@theorem(
    3,
    "WindowCheck",
    bugs=(
        Bug(
            function="rtl.nic.host.window:WindowCheck.elaborate",
            old=" & ~self.offset[ADDRESS_WIDTH:].any()",
            new="",
        ),
        Bug(
            function="rtl.nic.host.window:WindowCheck.elaborate",
            old="end = self.offset[:ADDRESS_WIDTH] + self.bytes",
            new="end = (self.offset[:ADDRESS_WIDTH] + self.bytes)[:ADDRESS_WIDTH]",
        ),
        Bug(
            function="rtl.nic.host.window:WindowCheck.elaborate",
            old="self.window < self._parameters.windows",
            new="self.window <= self._parameters.windows",
        ),
    ),
)
def window() -> Bench:
    """The verdict on a window is that on its registers in the cycle of `start`: `inside` if every byte from `offset` on
    is in it, whatever the numbers are; the address is that of the first byte. Rule: the context exists."""
    bench = Bench(block := WindowCheck(SMALL))
    m = bench.m
    context, window = bench.constant("chosen_context", 8), bench.constant("chosen_window", 8)
    bench.rule((block.context < SMALL.contexts) & (context < SMALL.contexts))
    mine, base, size = Signal(), Signal(48), Signal(48)
    rights = Signal(len(RIGHTS))
    registers = {
        name: chosen((chosen(getattr(one, f"window_{name}"), window) for one in block.contexts), context)
        for name in ("address", "bytes", *RIGHTS)
    }
    with m.If(block.start):
        m.d.sync += [
            mine.eq((block.context == context) & (block.window == window)),
            base.eq(registers["address"]),
            size.eq(registers["bytes"]),
            rights.eq(Cat(*(registers[name] for name in RIGHTS))),
        ]
    exists = window < SMALL.windows
    fits = (block.offset[48:] == 0) & (block.offset[:48] + block.bytes <= size)  # no bit of the sum is lost
    bench.always(~mine | (block.inside == (exists & fits)), "inside means inside")
    bench.always(~(mine & block.inside) | (block.address == (base + block.offset)[:48]), "address")
    for number, name in enumerate(RIGHTS):
        bench.always(~(mine & exists) | (getattr(block, name) == rights[number]), name)
    kept_base, kept_size = bench.register("base"), bench.register("size_bytes")
    bench.always(~(mine & exists) | ((kept_base == base) & (kept_size == size)), "sampled")
    bench.always(~mine | (bench.register("exists") == exists), "exists")
    return bench


@theorem(
    3,
    "Fetch",
    bugs=(
        Bug(
            function="rtl.nic.expressions:slot_address",
            old="(index & ((C(1) << log2_slots) - 1))[:15]",
            new="index[:15]",
        ),
        Bug(
            function="rtl.nic.initiator.fetch:Fetch._locate",
            old="registers.command_base for registers in self.contexts], context",
            new="registers.command_base for registers in self.contexts], 0 * context",
        ),
    ),
)
def fetch() -> Bench:
    """Commands are read from the ring of the context for which they are fetched, as the kernel's registers say in the
    cycle in which the place is looked up, 64 bytes each."""
    bench = Bench(block := Fetch(SMALL))
    base, log2, context = Signal(48), Signal(4), Signal(8)
    with bench.m.If(block.fetched):
        bench.m.d.sync += [
            context.eq(block.fetched_context),
            base.eq(chosen((one.command_base for one in block.contexts), block.fetched_context)),
            log2.eq(chosen((one.command_log2 for one in block.contexts), block.fetched_context)),
        ]
    read = block.read
    offset = (read.address - Cat(C(0, 6), base[6:]))[:48]
    bench.always(~read.valid | (read.bytes == 64), "a command")
    requests = bench.in_state("request", "Request-Command")
    bench.always(~requests | (~(offset[6:] >> log2).any() & ~offset[:6].any()), "in the ring")
    bench.always(~read.valid | requests, "and nowhere else")
    return bench


@theorem(
    3,
    "Events",
    bugs=(
        Bug(
            function="rtl.nic.context.writer:EventWriter._request",
            old="Mux(event, EVENT.length_bytes, COUNTER.length_bytes)",
            new="EVENT.length_bytes",
        ),
        Bug(
            function="rtl.nic.context.places:Places._position",
            old="select(bases, self.context)",
            new="bases[0]",
        ),
    ),
    every_width=True,
)
def events(parameters: NicParameters = SMALL) -> Bench:
    """Events are written into their context's queue, as the kernel's registers said when its life began; counters into
    its counters, as they say when the change is taken. Rule: the counters that are named exist."""
    bench = Bench(block := Events(parameters, sources=2, reservers=2))
    m = bench.m
    writer = bench.part("writer")
    for port in block.ports:
        bench.rule(~(port.valid & port.counter_valid) | (port.counter < parameters.counters))
        bench.rule(~bench.past(port.valid & ~port.ready) | port.valid)
        bench.rule(port.context < parameters.contexts)
        bench.rule(~bench.past(port.valid & ~port.ready) | (_told(port) == bench.past(_told(port))))
    bases, sizes = [], []
    for number, (registers, state) in enumerate(zip(block.contexts, block.states, strict=True)):
        base, size = Signal(48, name=f"base_{number}"), Signal(4, name=f"size_{number}")
        with m.If(state.restarted):
            m.d.sync += [base.eq(registers.event_base), size.eq(registers.event_log2)]
        kept_base = bench.register(f"queue_base_{number}", "places")
        bench.always(kept_base == base[6:], "the queue's base was sampled")
        bench.always(bench.register(f"queue_log2_{number}", "places") == size, "and its size")
        bases.append(base)
        sizes.append(size)
    base, size, counters = Signal(48), Signal(4), Signal(48)
    with m.If(writer.begins):
        m.d.sync += [
            base.eq(chosen(bases, writer.context)),
            size.eq(chosen(sizes, writer.context)),
            counters.eq(chosen((one.counter_base for one in block.contexts), writer.context)),
        ]
    write = block.write
    in_queue = (write.address - Cat(C(0, 6), base[6:]))[:48]
    in_counters = (write.address - Cat(C(0, 4), counters[4:]))[:48]
    of_queue = (write.bytes == 64) & ~(in_queue[6:] >> size).any() & ~in_queue[:6].any()
    of_counters = (write.bytes == 16) & (in_counters < 16 * parameters.counters) & ~in_counters[:4].any()
    bench.always(~write.valid | of_queue | of_counters, "in the queue or the counters")
    chosen_now, source = bench.register("chosen", "writer"), bench.register("source", "writer")
    for number, port in enumerate(block.ports):
        bench.always(~(chosen_now & (source == number)) | port.valid, "who was chosen still wants it")
    event, counter, *_ = bench.registers("counter", 1, "writer")  # what is left to ask for
    event_address, counter_address = bench.registers("counter_address", 48, "writer")
    place = (event_address - Cat(C(0, 6), base[6:]))[:48]
    bench.always(~event | (~(place[6:] >> size).any() & ~place[:6].any()), "the event's place")
    change = (counter_address - Cat(C(0, 4), counters[4:]))[:48]
    bench.always(~counter | ((change < 16 * parameters.counters) & ~change[:4].any()), "the counter's place")
    return bench


def _told(port: Any) -> Value:
    return Cat(port.context, port.epoch, port.event, port.counter_valid, port.counter, port.counter_set)


@theorem(
    3,
    "Send",
    bugs=(
        Bug(
            function="rtl.nic.wire.send:Send._take",
            old="ahead.bytes.eq(job.payload_bytes)",
            new="ahead.bytes.eq(job.payload_bytes + 1)",
        ),
        Bug(
            function="rtl.nic.wire.payload:PayloadAhead._ask",
            old="read.bytes.eq(Mux(more, piece_bytes, rest))",
            new="read.bytes.eq(piece_bytes)",
        ),
        Bug(
            function="rtl.nic.wire.payload:PayloadAhead._ask",
            old="with m.If(self.taken):",
            new="with m.If(self.taken & ~asks):",
        ),
    ),
    every_width=True,
)
def send(parameters: NicParameters = SMALL) -> Bench:
    """What a packet reads, piece by piece, is what its job says, and nothing if the payload is at hand or there is
    none; the job is taken when all of it has been asked for. Rule: a job holds until it is taken."""
    bench = Bench(block := Send(parameters, response=False))
    job, read = block.i_job, block.read
    waited = bench.past(job.valid & ~job.ready)
    held = Cat(job.payload_bytes, job.inline, job.address)
    bench.rule(~waited | (job.valid & (held == bench.past(held))))
    asked, asks = Signal(17), read.valid & read.ready  # bytes of this job
    read_to = asked + Mux(asks, read.bytes, 0)
    taken = job.valid & job.ready
    bench.m.d.sync += asked.eq(Mux(taken, 0, read_to))
    size = Mux(job.inline, 0, job.payload_bytes)
    bench.always(~read.valid | (read.address == (job.address + asked)[: len(read.address)]), "in order, without a gap")
    bench.always(~read.valid | (job.valid & (read.bytes != 0) & (asked + read.bytes <= size)), "what the job says")
    bench.always(~taken | (read_to == size), "all of it")
    begun, requested = bench.register("begun", "ahead"), bench.register("requested", "ahead")
    following, left = bench.register("following", "ahead"), bench.register("left", "ahead")
    bench.always(waited | (~begun & ~requested & (asked == 0)), "a job begins with its first piece")
    bench.always(begun == (asked != 0), "a piece was asked for")
    bench.always(~begun | requested | ((left != 0) & (asked + left == size)), "what is left")
    bench.always(~requested | (asked == size), "nothing is left")
    bench.always(~begun | (following == (job.address + asked)[: len(following)]) | requested, "where")
    return bench


@theorem(
    3,
    "Atomic",
    bugs=(
        Bug(
            function="rtl.nic.target.atomic:Atomic.elaborate",
            old="*(port.bytes.eq(request.bytes) for port in (self.read, self.write)),",
            new="self.read.bytes.eq(request.bytes), self.write.bytes.eq(64),",
        ),
    ),
)
def atomic() -> Bench:
    """An atomic reads and writes what it was asked for."""
    bench = Bench(block := Atomic(SMALL))
    request = block.i_request
    for port in (block.read, block.write):
        bench.always((port.address == request.address) & (port.bytes == request.bytes), "as it was asked")
    return bench
