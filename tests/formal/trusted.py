"""Property 1: who a packet says it is from is what the kernel has set for the context whose command caused it."""

from typing import Any

from amaranth import Cat, Mux, Signal, Value
from amaranth.lib.fifo import SyncFIFO, SyncFIFOBuffered

from rtl.nic.nic import Nic
from rtl.nic.parameters import NicParameters
from rtl.nic.wire.send import Send
from rtl.nic.wire.stamp import Stamp
from rtl.packets import HEADER_WORDS, IDENTITY_WORD, ORDER_WORD, TRUSTED_WORDS
from tests.formal.bench import Bench
from tests.formal.theorems import SMALL, Bug, theorem


class _Flits:
    """Where the words of a header lie in its flits."""

    def __init__(self, parameters: NicParameters) -> None:
        self.per_flit = parameters.datapath_bits // 64
        self.of_header = HEADER_WORDS // self.per_flit

    def flit_of(self, word: int) -> int:
        return word // self.per_flit

    def word(self, flit: Value, word: int) -> Value:
        """Of the flit that has it."""
        return flit.word_select(word % self.per_flit, 64)


class _Lane:
    """One lane of one node, chosen once and for all, and what was sampled for it, as the judge counts it.

    `starts` with `resume`, `context` and `dst_nid`: a packet begins. `identity` is what the kernel said at the last
    start of the lane's context without `resume`; `mine`: the last start was of this context; `number` is the sequence
    number of the last start of this lane, of which `counted` says that it is the last one of all.
    """

    def __init__(self, bench: Bench, *, response: bool, starts: Value, job: Any, kernel: Value) -> None:
        m = bench.m
        self.context = bench.constant("lane_context", 8)
        self.node = bench.constant("lane_node", 16)
        bench.rule((self.context < SMALL.contexts) & (self.node < SMALL.nodes))
        self.identity = Signal(64)
        self.mine = Signal()
        self.counted = Signal()
        self.number = Signal(56)
        self.following = Signal(56)
        own = job.context == self.context
        counts = (job.dst_nid == self.node) & (own | Value.cast(response))
        with m.If(starts):
            m.d.sync += [self.mine.eq(own), self.counted.eq(counts)]
            with m.If(own & ~job.resume):
                m.d.sync += self.identity.eq(kernel)
            with m.If(counts):
                m.d.sync += [self.number.eq(self.following), self.following.eq(self.following + 1)]
        self.row = self.node if response else Cat(self.context[0], self.node)
        self.lane = Mux(response, SMALL.contexts, self.context)


def _claim_rows(bench: Bench, lane: _Lane, *path: str) -> None:
    """What the stamp's memories hold for the lane."""
    counting, address = bench.register("counting", *path), bench.register("address", *path)
    sequences = bench.part(*path, "sequences")._read_ports[0].data
    here = address == lane.row[: len(address)]
    coming = (sequences + 1)[:56]
    held = bench.row(lane.row, *path, "sequences")
    bench.always(bench.row(lane.context, *path, "identities") == lane.identity, "the identity is kept")
    bench.always(~counting | (here == lane.counted), "what is counted is the last start's lane")
    bench.always(Mux(counting & here, coming, held) == lane.following, "the next number is kept")


def _of_kernel(nid: Value, pids: list[Value], jids: list[Value], context: Value) -> Value:
    """The identity word, put together from the layout's description rather than by its code."""
    words = [Cat(nid, pid, jid) for pid, jid in zip(pids, jids, strict=True)]
    chosen: Value = words[0]
    for number, word in enumerate(words[1:], start=1):
        chosen = Mux(context == number, word, chosen)
    return chosen


def _order(lane: Value, number: Value) -> Value:
    return lane[:8] | (number << 8)


def _stamp(*, response: bool) -> Bench:
    bench = Bench(block := Stamp(SMALL, response=response))
    bench.rule((block.context < SMALL.contexts) & (block.dst_nid < SMALL.nodes))
    kernel = _of_kernel(block.nid, list(block.pids), list(block.jids), block.context)
    lane = _Lane(bench, response=response, starts=block.start, job=block, kernel=kernel)
    identity, order = block.trusted
    bench.always(~lane.mine | (identity == lane.identity), "identity")
    bench.always(~lane.mine | (order[:8] == lane.lane), "lane")
    bench.always(~(lane.mine & lane.counted) | (order == _order(lane.lane, lane.number)), "sequence")
    _claim_rows(bench, lane)
    return bench


@theorem(
    1,
    "Stamp",
    bugs=(
        Bug(
            function="rtl.nic.wire.stamp:Stamp._identify",
            old="write.en.eq(self.start & ~self.resume)",
            new="write.en.eq(self.start)",
        ),
        Bug(function="rtl.nic.wire.stamp:Stamp._number", old="transparent_for=(write,)", new=""),
        Bug(
            function="rtl.nic.wire.stamp:Stamp._identify",
            old="select(list(self.jids), self.context)",
            new="select(list(self.jids), self.dst_nid)",
        ),
    ),
)
def stamp_requests() -> Bench:
    """Both trusted words of a request are those of the context: node, process and job as the kernel's registers say in
    the cycle of `start`, or said at the message's first; the lane is the context; numbers of a lane follow each other.
    Rule: contexts and nodes exist."""
    return _stamp(response=False)


@theorem(
    1,
    "Stamp",
    bugs=(
        Bug(
            function="rtl.nic.wire.stamp:Stamp._number",
            old="if not self._response:",
            new="if self._response:",
        ),
        Bug(
            function="rtl.nic.wire.stamp:Stamp._number",
            old="write.data.eq(read.data + 1)",
            new="write.data.eq((read.data + 1)[:16])",
        ),
    ),
)
def stamp_responses() -> Bench:
    """The same of a response; its lane is that of all responses."""
    return _stamp(response=True)


def _send_takes(parameters: NicParameters, *, response: bool) -> Bench:
    bench = Bench(block := Send(parameters, response=response))
    flits = _Flits(parameters)
    job, heads = block.i_job, bench.part("heads")
    dst_nid = job.words[0][:16]
    pids = [registers.pid for registers in block.contexts]
    jids = [registers.jid for registers in block.contexts]
    waited = bench.past(job.valid & ~job.ready)
    held = Cat(job.resume, job.context, *job.words, job.payload_bytes, job.inline, *job.data)
    bench.rule(~waited | (job.valid & (held == bench.past(held))))
    bench.rule((job.context < parameters.contexts) & (dst_nid < parameters.nodes))
    bench.rule(~job.inline | (job.payload_bytes <= parameters.mtu_bytes))
    shown = job.valid & ~waited
    lane = _Lane(
        bench,
        response=response,
        starts=shown,
        job=_Job(job.context, job.resume, dst_nid),
        kernel=_of_kernel(block.nid, pids, jids, job.context),
    )
    entry = bench.part("heads").w_data
    data, last = entry[: parameters.datapath_bits], entry[parameters.datapath_bits]
    position = Signal(5)
    writes = heads.w_en & heads.w_rdy
    with bench.m.If(writes):
        bench.m.d.sync += position.eq(Mux(last, 0, position + 1))
    queues = bench.in_state("take", "Queue-Packet")
    index, queued = bench.register("index"), bench.register("queued")
    bench.always(queues == waited, "a job is taken from the cycle on in which it is shown")
    bench.always(position == Mux(queued, 0, index), "the queue gets the head flit by flit")
    bench.always(queues | (~queued & (index == 0)), "a job begins with its first flit")
    bench.always(~writes | ~last | (position >= flits.of_header - 1), "no head is shorter than a header")
    size = parameters.datapath_bytes
    longest = flits.of_header - 1 + Mux(job.inline, (job.payload_bytes + (size - 1)) // size, 0)
    bench.always(~queues | queued | (index <= longest), "nor longer than it is")
    mine = writes & lane.mine
    bench.always(~queues | (lane.mine == (job.context == lane.context)), "the last start is the job's")
    identity, order = flits.word(data, IDENTITY_WORD), flits.word(data, ORDER_WORD)
    bench.always(~(mine & (position == flits.flit_of(IDENTITY_WORD))) | (identity == lane.identity), "identity")
    ordered = mine & (position == flits.flit_of(ORDER_WORD))
    bench.always(~ordered | (order[:8] == lane.lane), "lane")
    bench.always(~(ordered & lane.counted) | (order == _order(lane.lane, lane.number)), "sequence")
    stamp = bench.part("stamp")
    bench.always(~lane.mine | (stamp.trusted[0] == lane.identity), "the stamp's identity")
    bench.always(~lane.mine | (stamp.trusted[1][:8] == lane.lane), "the stamp's lane")
    bench.always(~(lane.mine & lane.counted) | (stamp.trusted[1] == _order(lane.lane, lane.number)), "and number")
    _claim_rows(bench, lane, "stamp")
    return bench


class _Job:
    def __init__(self, context: Value, resume: Value, dst_nid: Value) -> None:
        self.context, self.resume, self.dst_nid = context, resume, dst_nid


@theorem(
    1,
    "Send",
    bugs=(
        Bug(
            function="rtl.nic.wire.send:Send._head_flits",
            old="words[index] = word",
            new="words[index] = job.words[index] | word",
        ),
        Bug(
            function="rtl.nic.wire.send:Send._take",
            old="stamp.context.eq(job.context)",
            new="stamp.context.eq(job.words[1])",
        ),
    ),
    every_width=True,
)
def send_takes_requests(parameters: NicParameters = SMALL) -> Bench:
    """Whatever words a job brings: the second and third word that are queued of it are the trusted words of its
    context, sampled when it was first shown. Rules: a job holds until it is taken; its context and node exist; payload
    at hand fits into a packet."""
    return _send_takes(parameters, response=False)


@theorem(
    1,
    "Send",
    bugs=(
        Bug(
            function="rtl.nic.wire.send:Send._take",
            old="stamp.start.eq(job.valid)",
            new="stamp.start.eq(job.valid & ~job.inline)",
        ),
    ),
    every_width=True,
)
def send_takes_responses(parameters: NicParameters = SMALL) -> Bench:
    """The same of responses."""
    return _send_takes(parameters, response=True)


@theorem(
    1,
    "Send",
    bugs=(
        Bug(
            function="rtl.nic.wire.send:Send._emit",
            old="crc.flit.eq(head.data)",
            new="crc.flit.eq(Mux(ahead.error, ahead.flit, head.data))",
        ),
        Bug(
            function="rtl.nic.wire.send:Send._emit",
            old="advance.eq(~out.valid | out.ready)",
            new="advance.eq(1)",
        ),
    ),
    every_width=True,
)
def send_emits(parameters: NicParameters = SMALL) -> Bench:
    """The flits with the second and the third word of each packet that leaves are those of a head that was queued, as
    they were queued. Rule: a queued head is no shorter than a header (see `send_takes_requests`)."""
    bench = Bench(block := Send(parameters, response=False))
    m, heads, out, flits = bench.m, bench.part("heads"), block.o_flits, _Flits(parameters)
    trusted = sorted({flits.flit_of(word) for word in TRUSTED_WORDS})
    pops = heads.r_en & heads.r_rdy
    width = parameters.datapath_bits
    data, last = heads.r_data[:width], heads.r_data[width]
    popped = Signal(4)  # of the head that is being emitted
    kept = {number: Signal(width, name=f"flit_{number}") for number in trusted}
    left = Signal(4)  # flits of the packet that have left; stays at 15
    with m.If(pops):
        m.d.sync += popped.eq(Mux(last, 0, Mux(popped == 15, 15, popped + 1)))
        for number in trusted:
            with m.If(popped == number):
                m.d.sync += kept[number].eq(data)
    with m.If(out.valid & out.ready):
        m.d.sync += left.eq(Mux(out.payload.last, 0, Mux(left == 15, 15, left + 1)))
    bench.rule(~(pops & last) | (popped >= flits.of_header - 1))
    in_head = bench.in_state("emit", "Send-Head")
    ended = out.valid & out.payload.last
    gone = Signal(4)
    m.d.comb += gone.eq(Mux(left == 15, 15, left + out.valid))
    bench.always(~in_head | (popped == Mux(ended, 0, gone)), "flits leave as they are popped")
    bench.always(in_head | ((gone >= flits.of_header) & ~ended & (popped == 0)), "what follows comes after the header")
    bench.always(~ended | (left >= flits.of_header) & in_head, "the CRC is last")
    for number in trusted:
        bench.always(~(out.valid & (left == number)) | (out.payload.data == kept[number]), f"flit {number}")
    return bench


def _queue(fifo: Any, *, rows: int, buffered: bool) -> Bench:
    bench = Bench(fifo, inputs=[fifo.w_en, fifo.w_data, fifo.r_en])
    m = bench.m
    writes, reads = fifo.w_en & fifo.w_rdy, fifo.r_en & fifo.r_rdy
    level, consume = bench.register("inner_level" if buffered else "level"), bench.register("consume")
    produce = bench.register("produce")
    shown = fifo.r_rdy & Value.cast(buffered)  # the oldest entry is no longer among the rows
    leaves_rows = level.any() & (~fifo.r_rdy | fifo.r_en) if buffered else reads
    followed, stored = Signal(), Signal()  # an entry is; it lies in a row
    value, row, ahead = Signal(4), Signal(3), Signal(4)
    with m.If(~followed & bench.free("follow") & writes):
        m.d.sync += [followed.eq(1), stored.eq(1), value.eq(fifo.w_data), row.eq(produce)]
        m.d.sync += ahead.eq(fifo.level - reads)
    with m.If(followed & reads):
        m.d.sync += [ahead.eq(ahead - 1), followed.eq(ahead != 0)]
    with m.If(stored & leaves_rows & (consume == row)):
        m.d.sync += stored.eq(0)
    distance = (row - consume)[:3]
    bench.always(~(followed & fifo.r_rdy & (ahead == 0)) | (fifo.r_data == value), "the entry that was followed")
    bench.always((level <= rows) & (produce == (consume + level)[:3]), "places")
    bench.always(~stored | followed, "a stored entry is followed")
    bench.always(~stored | ((distance < level) & (ahead == distance + shown)), "its turn")
    bench.always(~stored | (bench.row(row, "storage") == value), "its value")
    bench.always(~followed | stored | (shown & (ahead == 0)), "it is shown when its turn comes")
    bench.always(~bench.past(fifo.w_rdy & ~fifo.w_en) | fifo.w_rdy, "room stays until it is used")
    if buffered:
        bench.stays(fifo.r_rdy, fifo.r_en, fifo.r_data, "the entry that is shown")
    return bench


@theorem(
    1,
    "SyncFIFOBuffered",
    bugs=(
        Bug(
            function="amaranth.lib.fifo:SyncFIFOBuffered.elaborate",
            old="do_inner_read  = inner_r_rdy & (~self.r_rdy | self.r_en)",
            new="do_inner_read  = inner_r_rdy",
        ),
    ),
)
def buffered_queue() -> Bench:
    """A buffered queue gives its entries in the order in which they came, each once and unchanged. Width 4 and depth 9:
    nothing in it depends on either."""
    return _queue(SyncFIFOBuffered(width=4, depth=9), rows=8, buffered=True)


@theorem(
    1,
    "SyncFIFO",
    bugs=(
        Bug(
            function="amaranth.lib.fifo:SyncFIFO.elaborate",
            old="w_port.en.eq(self.w_en & self.w_rdy)",
            new="w_port.en.eq(self.w_en)",
        ),
    ),
)
def queue() -> Bench:
    """The same of an unbuffered queue."""
    return _queue(SyncFIFO(width=4, depth=8), rows=8, buffered=False)


@theorem(
    1,
    "Nic",
    bugs=(
        Bug(
            function="rtl.nic.nic:Nic._configure",
            old='bank.field(f"{path}.{register}", field)',
            new='bank.field(f"CONTEXT[0].{register}", field)',
        ),
    ),
)
def wiring() -> Bench:
    """The senders and the admission hear the kernel's registers and nothing else of who is who; jobs come from Issue
    and Answers, commands from Fetch, and what leaves the NIC comes from the senders."""
    bench = Bench(block := Nic(SMALL), keep=("bank",))
    nid = bench.register("NODE_ID__nid", "bank")
    for name in ("send_requests", "send_responses", "admit_requests", "admit_responses"):
        part = bench.part(name)
        bench.always(part.nid == nid, f"{name} knows the node")
        for number, registers in enumerate(part.contexts):
            for field in ("pid", "jid"):
                kernel = bench.register(f"CONTEXT_{number}__IDENTITY__{field}", "bank")
                bench.always(getattr(registers, field) == kernel, f"{name} knows the {field} of context {number}")
    for speaker, hearer in (("issue", "send_requests"), ("answers", "send_responses")):
        bench.joined(bench.part(speaker).o_job, bench.part(hearer).i_job, f"jobs of {speaker}")
    for name, outside in (("send_requests", block.o_requests), ("send_responses", block.o_responses)):
        bench.joined(bench.part(name).o_flits, outside, f"flits of {name}")
    fetched, issued = bench.part("fetch").o_commands, bench.part("issue").i_commands
    bench.joined(fetched, issued, "commands")
    bench.always((fetched.select == issued.select) & (fetched.take == issued.take), "whose command")
    return bench
