"""Property 4: a packet of another job gets no further than the admission, and leaves nothing behind but its refusal."""

from amaranth import Cat, Mux, Signal, Value

from rtl.nic.parameters import NicParameters
from rtl.nic.wire.admit import Admit, Passage
from rtl.nic.wire.receive import Receive
from rtl.portals import Refusal
from tests.formal.bench import Bench, chosen
from tests.formal.theorems import SMALL, Bug, theorem


def _entering(block: Admit, bench: Bench) -> Value:
    """High in the first cycle in which a packet is shown behind the admission."""
    admitted = block.o_packet
    return admitted.valid & ~bench.past(admitted.valid & ~admitted.ready)


def _admit(*, response: bool) -> Bench:
    bench = Bench(block := Admit(SMALL, response=response))
    arriving, admitted, refusal = block.i_packet, block.o_packet, block.refusal
    words = Cat(*arriving.words, arriving.poisoned)
    waited = bench.past(arriving.valid & ~arriving.ready)
    bench.rule(~waited | (arriving.valid & (words == bench.past(words))))
    shown = Cat(*admitted.words, admitted.poisoned)
    context = admitted.context
    dst_nid, dst_pid, jid = admitted.words[0][:16], admitted.words[0][16:32], admitted.words[1][32:]
    # All of one cycle, the one before.
    was_active = chosen((bench.past(state.active) for state in block.states), context)
    pid = chosen((bench.past(registers.pid) for registers in block.contexts), context)
    own_jid = chosen((bench.past(registers.jid) for registers in block.contexts), context)
    epoch = chosen((bench.past(state.epoch) for state in block.states), context)
    was_admitted = bench.past(admitted.valid & ~admitted.ready)
    enters = _entering(block, bench)
    bench.always(~enters | (was_active & (pid == dst_pid) & (own_jid == jid)), "the process is of the packet's job")
    bench.always(~enters | (admitted.epoch == epoch), "in the life that was judged")
    bench.always(~enters | (shown == bench.past(words)), "words pass unchanged")
    everything = Cat(shown, context, admitted.epoch)
    bench.always(
        ~was_admitted | (admitted.valid & (everything == bench.past(everything))), "and stays until it is taken"
    )
    seen_nid = Signal(16)
    with bench.m.If(arriving.valid & ~waited):
        bench.m.d.sync += seen_nid.eq(block.nid)
    bench.always(~enters | (dst_nid == seen_nid), "the node is the packet's")
    bench.always(~(enters & bench.past(refusal.valid)), "who is refused is not admitted")
    taken = bench.past(arriving.valid & arriving.ready)
    bench.always(taken == (bench.past(refusal.valid) | enters), "either or")
    bench.always(~(refusal.valid & (refusal.reason == Refusal.NONE)), "a refusal has a reason")

    judging, idle = bench.in_state("admit", "Judge"), bench.in_state("admit", "Await-Packet")
    bench.always(idle != waited, "a packet is examined when it comes")
    is_here = arriving.words[0][:16] == seen_nid
    bench.always(~judging | (bench.register("here") == is_here), "for which node was noted")
    return bench


@theorem(
    4,
    "Admit",
    bugs=(
        Bug(
            function="rtl.nic.wire.admit:Admit._find_context",
            old="found & active & (pid == header.dst_pid), jid == header.jid",
            new="found & active & (pid == header.dst_pid), jid[1:] == header.jid[1:]",
        ),
        Bug(
            function="rtl.nic.wire.admit:Admit._find_context",
            old="found & active & (pid",
            new="found & (pid",
        ),
        Bug(
            function="rtl.nic.wire.admit:Admit._decide",
            old="passage.room & (~admitted.valid | admitted.ready)",
            new="passage.room",
        ),
    ),
)
def requests() -> Bench:
    """A request is shown behind the admission only if, in the cycle before, its context was active, was the process
    that it is for, and of its job; a packet is admitted or refused, never both. Rule: a packet holds until it is
    taken."""
    return _admit(response=False)


@theorem(
    4,
    "Admit",
    bugs=(
        Bug(
            function="rtl.nic.wire.admit:Admit.elaborate",
            old="with m.Elif(~own_job):",
            new="with m.Elif(~own_job & ~arriving.poisoned):",
        ),
    ),
)
def responses() -> Bench:
    """The same of a response."""
    return _admit(response=True)


@theorem(
    4,
    "Admit",
    bugs=(
        Bug(
            function="rtl.nic.wire.admit:Passage.elaborate",
            old="m.d.sync += [left.eq(next_left), passing.eq(next_passing), next_left.eq(0)]",
            new="m.d.sync += [left.eq(next_left), next_left.eq(0)]",
        ),
        Bug(
            function="rtl.nic.wire.admit:Passage.elaborate",
            old="self.o_valid.eq(self.i_valid & ~idle & passing)",
            new="self.o_valid.eq(self.i_valid & ~idle)",
        ),
    ),
    every_width=True,
)
def payload(parameters: NicParameters = SMALL) -> Bench:
    """The flits of a packet's payload pass if it was admitted, and are drained if it was not: those of one packet,
    whichever it is. Rule: a verdict comes only while there is room for it (see `verdicts_on_requests`)."""
    bench = Bench(block := Passage(parameters.datapath_bits))
    m = bench.m
    bench.rule(~block.judged | block.room)
    moves = block.i_valid & block.i_ready
    owed, before, mine = Signal(16), Signal(16), Signal(16)  # flits: of all verdicts; before the packet's; its own
    verdict, followed = Signal(), Signal()
    follows = block.judged & bench.free("follow") & ~followed
    m.d.sync += owed.eq(owed + Mux(block.judged, block.flits, 0) - moves)
    with m.If(follows):
        m.d.sync += [followed.eq(1), before.eq(owed - moves), mine.eq(block.flits), verdict.eq(block.admitted)]
    with m.Elif(moves & (before != 0)):
        m.d.sync += before.eq(before - 1)
    with m.Elif(moves & (mine != 0)):
        m.d.sync += mine.eq(mine - 1)
    due = (before == 0) & (mine != 0)
    bench.always(~due | ~block.i_valid | (block.o_valid == verdict), "shown if admitted")
    bench.always(~(due & moves) | (verdict == (block.o_valid & block.o_ready)), "passed if admitted, drained if not")
    bench.always(~block.o_valid | (block.i_valid & (block.o_data == block.i_data)), "nothing is made up")

    left, passing = bench.register("left"), bench.register("passing")
    next_left, next_passing = bench.register("next_left"), bench.register("next_passing")
    first = (before == 0) & (left == mine) & (passing == verdict)
    second = (before == left) & (left != 0) & (next_left == mine) & (next_passing == verdict)
    bench.always(owed == left + next_left, "flits that are owed")
    bench.always((mine == 0) | first | second, "where the packet is")
    return bench


def _verdicts(parameters: NicParameters, *, response: bool) -> Bench:
    bench = Bench(block := Admit(parameters, response=response))
    arriving, passage = block.i_packet, bench.part("passage")
    judged = passage.judged
    flits = (arriving.words[0][48:] + (parameters.datapath_bytes - 1)) // parameters.datapath_bytes
    bench.holds(arriving.valid, arriving.ready, Cat(*arriving.words, arriving.poisoned))
    bench.always(judged == (arriving.valid & arriving.ready), "a verdict on each packet that is taken")
    bench.always(~judged | passage.room, "while there is room for it")
    bench.always(~judged | (passage.admitted == ~block.refusal.valid), "as it is admitted or refused")
    bench.always(~judged | (passage.flits == flits), "and of as many flits as its payload has")
    judging = bench.in_state("admit", "Judge")
    bench.always(~judging | arriving.valid, "the packet is there")
    node = arriving.words[1][:16]
    bench.always(~(judged & passage.admitted) | (node < parameters.nodes), "it comes from a node that exists")
    bench.always(~judging | ~bench.register("well_formed") | (node < parameters.nodes), "which was looked at")
    for context in (bench.register("context"), block.o_packet.context):
        bench.always(context < parameters.contexts, "its context exists")
    return bench


@theorem(
    4,
    "Receive",
    bugs=(
        Bug(
            function="rtl.nic.wire.receive:Receive._show",
            old="packet.valid.eq(headers.valid)",
            new="packet.valid.eq(headers.valid & ~payload.write)",
        ),
    ),
    every_width=True,
)
def received(parameters: NicParameters = SMALL) -> Bench:
    """A packet that has come is offered until it is taken, as it is."""
    bench = Bench(block := Receive(parameters))
    packet = block.o_packet
    bench.stays(packet.valid, packet.ready, Cat(packet.poisoned, *packet.words), "a packet")
    return bench


@theorem(
    4,
    "Admit",
    bugs=(
        Bug(
            function="rtl.nic.wire.admit:Admit._decide",
            old="(payload_bytes + (size - 1))",
            new="(payload_bytes + size)",
        ),
    ),
    every_width=True,
)
def verdicts_on_requests(parameters: NicParameters = SMALL) -> Bench:
    """What passes the payload (see `payload`) hears of each request that is taken, once: whether it is admitted, and
    how many flits of payload it has. A context that is admitted to exists, and so does the node from which a packet is
    admitted. Rule: a packet holds until it is taken (see `received`)."""
    return _verdicts(parameters, response=False)


@theorem(
    4,
    "Admit",
    bugs=(
        Bug(
            function="rtl.nic.wire.admit:Admit._decide",
            old="self.refusal.valid.eq(~passage.admitted)",
            new="self.refusal.valid.eq(reason == Refusal.PACKET_JOB)",
        ),
    ),
    every_width=True,
)
def verdicts_on_responses(parameters: NicParameters = SMALL) -> Bench:
    """The same of responses."""
    return _verdicts(parameters, response=True)


def _sequence(*, response: bool) -> Bench:
    bench = Bench(block := Admit(SMALL, response=response))
    arriving = block.i_packet
    words = Cat(*arriving.words)
    waited = bench.past(arriving.valid & ~arriving.ready)
    bench.rule(~waited | (arriving.valid & (words == bench.past(words))))
    node, lane = bench.constant("node", 16), bench.constant("lane", 8)
    lanes = (lane == SMALL.contexts) if response else (lane < SMALL.contexts)
    bench.rule((node < SMALL.nodes) & lanes)

    def origin(words: list[Value]) -> tuple[Value, Value, Value]:
        """Node, lane, number."""
        return words[1][:16], words[2][:8], words[2][8:]

    src_nid, src_lane, number = origin(arriving.words)
    mine = (src_nid == node) & (src_lane == lane)
    entered_nid, entered_lane, entered_number = origin(block.o_packet.words)
    mine_enters = _entering(block, bench) & (entered_nid == node) & (entered_lane == lane)
    expected = bench.row(node if response else Cat(lane[0], node), "sequence", "expected")
    ahead = (entered_number - bench.past(expected))[:56]
    bench.always(~mine_enters | ~ahead[55], "nothing gets in that is behind")
    bench.always(~mine_enters | (expected == (entered_number + 1)[:56]), "and nothing gets in twice")
    changed = expected != bench.past(expected)
    was_mine = bench.past(arriving.valid & mine)
    bench.always(~changed | (was_mine & (expected == bench.past(number + 1)[:56])), "only the lane's own packets count")
    bench.always(~changed | mine_enters, "only packets that are admitted count")

    judging = bench.in_state("admit", "Judge")
    bench.always(bench.in_state("admit", "Await-Packet") != waited, "a packet is examined when it comes")
    known = (src_nid < SMALL.nodes) & ((src_lane == SMALL.contexts) if response else (src_lane < SMALL.contexts))
    bench.always(~judging | ~bench.register("well_formed") | known, "only lanes that exist are counted")
    looked_up = bench.part("sequence", "expected")._read_ports[0].data
    bench.always(~(judging & mine) | (looked_up == expected), "the lane's number was looked up")
    return bench


@theorem(
    4,
    "Admit",
    bugs=(
        Bug(
            function="rtl.nic.wire.admit:SequenceCheck.elaborate",
            old="self.fresh.eq(~ahead[-1])",
            new="self.fresh.eq(1)",
        ),
        Bug(
            function="rtl.nic.wire.form:HeaderForm.elaborate",
            old="header.lane < contexts",
            new="header.lane <= contexts",
        ),
        Bug(
            function="rtl.nic.wire.admit:Admit.elaborate",
            old="passage.judged & passage.admitted",
            new="passage.judged & well_formed & here & sequence.fresh",
        ),
    ),
)
def sequence_of_requests() -> Bench:
    """No request gets in whose sequence number is behind the one that its lane expects, nor the same one twice; only
    packets that are admitted change what a lane expects, and only what their own lane does. Rule: a packet holds until
    it is taken."""
    return _sequence(response=False)


@theorem(
    4,
    "Admit",
    bugs=(
        Bug(
            function="rtl.nic.wire.admit:SequenceCheck.elaborate",
            old="write.data.eq(self.sequence + 1)",
            new="write.data.eq(self.sequence)",
        ),
        Bug(
            function="rtl.nic.wire.admit:SequenceCheck.elaborate",
            old="self.fresh.eq(~ahead[-1])",
            new="self.fresh.eq(~ahead[15])",
        ),
    ),
)
def sequence_of_responses() -> Bench:
    """The same of responses."""
    return _sequence(response=True)
