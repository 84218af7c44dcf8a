"""Property 3, who may ask for memory: a request is made only of a range that was found inside a window of its context.

`memory.window` says that a verdict is right. These say that no range is asked for but one of which the verdict is that
it is inside, with the rights that the access needs, and that the verdict was on a window of the context that it is for.
A verdict is about the registers of the cycle in which they were sampled.
"""

from typing import Any

from amaranth import Cat, Signal, Value
from amaranth.lib import data

from rtl.nic.initiator.collect import Collect
from rtl.nic.initiator.handover import PACKET
from rtl.nic.initiator.issue import Issue
from rtl.nic.parameters import NicParameters
from rtl.nic.target.answers import Answers
from rtl.nic.target.store import Store
from rtl.portals import Operation, Refusal
from tests.formal.bench import Bench
from tests.formal.theorems import SMALL, Bug, theorem


class _Verdict:
    """Of which window of which context the verdict of a `window` check is: as of its last `start`. The check hears the
    registers that the block hears."""

    def __init__(self, bench: Bench, block: Any, *path: str) -> None:
        self.window = window = bench.part(*path)
        self.context, self.number = Signal(8), Signal(8)
        with bench.m.If(window.start):
            bench.m.d.sync += [self.context.eq(window.context), self.number.eq(window.window)]
        for number, (ours, theirs) in enumerate(zip(block.contexts, window.contexts, strict=True)):
            bench.joined(theirs, ours, f"registers of context {number}")

    def allows(self, *rights: str) -> Value:
        return self.window.inside & Cat(*(getattr(self.window, right) for right in rights)).all()


@theorem(
    3,
    "Store",
    bugs=(
        Bug(
            function="rtl.nic.target.store:_verdict",
            old="((~is_put & ~is_atomic) | window.remote_write)",
            new="(~is_put | window.remote_write)",
        ),
        Bug(
            function="rtl.nic.target.store:Store.elaborate",
            old="& (verdict == Fail.OK)",
            new="",
        ),
        Bug(
            function="rtl.nic.target.store:Store.elaborate",
            old="window.bytes.eq(span)",
            new="window.bytes.eq(span - 1)",
        ),
        Bug(
            function="rtl.nic.target.store:Store.elaborate",
            old="wiring.connect(m, wiring.flipped(ours), theirs)",
            new="wiring.connect(m, wiring.flipped(self.contexts[0]), theirs)",
        ),
    ),
    every_width=True,
)
def store(parameters: NicParameters = SMALL) -> Bench:
    """What a put writes, and what an atomic will read and write, is inside a window of the context to which the packet
    was admitted, with the rights for it."""
    bench = Bench(block := Store(parameters))
    m, verdict = bench.m, _Verdict(bench, block, "window")
    window, write, completion = verdict.window, block.write, block.o_completion
    judges = bench.in_state("store", "Judge")
    address, length_bytes = Signal(48), Signal(32)  # that were judged
    put_allowed, atomic_allowed = Signal(), Signal()
    with m.If(judges):
        m.d.sync += [
            address.eq(window.address),
            length_bytes.eq(window.bytes),
            put_allowed.eq(verdict.allows("remote_write")),
            atomic_allowed.eq(verdict.allows("remote_read", "remote_write")),
        ]
    stores, gathers = bench.in_state("store", "Store-Payload"), bench.in_state("store", "Gather-Operands")
    bench.always(~write.valid | stores, "only what was judged is written")
    bench.always(~stores | ((write.address == address) & (write.bytes == length_bytes)), "what was judged is written")
    bench.always(~stores | put_allowed, "as it was allowed")
    words = completion.payload.arrival.words
    is_put = words[0][32:40] == Operation.PUT
    bench.always(~stores | is_put, "only puts are written")
    bench.always(~(judges | stores) | ~is_put | (window.bytes <= words[0][48:]), "no more than the packet brought")
    atomic = completion.payload
    executes = completion.valid & atomic.atomic
    touched = (atomic.address == address) & (atomic.arrival.matched.bytes == length_bytes)
    bench.always(~executes | gathers, "only what was judged is executed")
    bench.always(~gathers | (touched & atomic_allowed), "as it was allowed, too")
    later = judges | stores | gathers
    bench.always(~later | (verdict.context == atomic.arrival.context), "on the arrival's context")
    return bench


@theorem(
    3,
    "Collect",
    bugs=(
        Bug(
            function="rtl.nic.initiator.collect:Collect.elaborate",
            old=" & window.local_write",
            new="",
        ),
        Bug(
            function="rtl.nic.initiator.collect:Collect.elaborate",
            old=" & in_entry & window.inside",
            new=" & window.inside",
        ),
    ),
    every_width=True,
)
def collect(parameters: NicParameters = SMALL) -> Bench:
    """What a reply writes is inside a window, with local_write, of the context to which it was admitted, and in the
    range that the entry of its handle names. Rules: a packet holds until it is taken; what was looked up stays."""
    bench = Bench(block := Collect(parameters))
    verdict = _Verdict(bench, block, "window")
    packet, write, entry, window = block.i_packet, block.write, block.lookup.entry, verdict.window
    header = Cat(*packet.words, packet.context, packet.poisoned)
    bench.rule(~bench.past(packet.valid & ~packet.ready) | (packet.valid & (header == bench.past(header))))
    bench.rule(bench.past(block.lookup.look) | (entry.as_value() == bench.past(entry)))
    offset, segment, length_bytes = entry.offset, packet.words[3][32:], packet.words[0][48:]
    places, judges = bench.in_state("collect", "Place-Data"), bench.in_state("collect", "Judge-Context")
    bench.always(~write.valid | places, "only what was judged is written")
    judged = (write.address == window.address) & (write.bytes == window.bytes)
    bench.always(~write.valid | (judged & verdict.allows("local_write")), "inside a window")
    bench.always(~write.valid | (segment + length_bytes <= entry.bytes), "in the entry's range")
    bench.always(~places | (verdict.context == packet.context) & (verdict.number == entry.window), "of the entry")
    later = places | judges
    bench.always(~later | (window.offset == offset + segment), "the place in the window")
    bench.always(~later | (bench.register("in_entry") == (segment + length_bytes <= entry.bytes)), "and in the entry")
    bench.always(~(later | bench.in_state("collect", "Judge-Sender")) | packet.valid, "the packet is there")
    return bench


@theorem(
    3,
    "Answers",
    bugs=(
        Bug(
            function="rtl.nic.target.reply_packet:ReplyPacket.elaborate",
            old="window.inside & window.remote_read",
            new="window.inside & window.local_read",
        ),
        Bug(
            function="rtl.nic.target.reply_packet:ReplyPacket.elaborate",
            old="self.payload_bytes.eq(Mux(broken, 0, ",
            new="self.payload_bytes.eq(Mux(broken & window.inside, 0, ",
        ),
        Bug(
            function="rtl.nic.target.reply_packet:ReplyPacket.elaborate",
            old="wiring.connect(m, wiring.flipped(ours), theirs)",
            new="wiring.connect(m, wiring.flipped(self.contexts[0]), theirs)",
        ),
    ),
)
def answers() -> Bench:
    """What a packet of a reply reads is inside a window, with remote_read, of the context that answers."""
    bench = Bench(block := Answers(SMALL))
    m, verdict = bench.m, _Verdict(bench, block, "packet", "window")
    job, packet, window = block.o_job, bench.part("packet"), verdict.window
    address, length_bytes, allowed = Signal(48), Signal(32), Signal()
    with m.If(packet.judge):
        m.d.sync += [address.eq(window.address), length_bytes.eq(window.bytes)]
        m.d.sync += allowed.eq(verdict.allows("remote_read"))
    judges, hands_over = bench.in_state("answers", "Judge-Window"), bench.in_state("answers", "Hand-Over-Reply")
    reads = job.valid & ~job.inline & (job.payload_bytes != 0)
    bench.always(~reads | hands_over, "only what was judged is read")
    judged = (packet.address == address) & (packet.payload_bytes <= length_bytes)
    read = (job.address == packet.address) & (job.payload_bytes == packet.payload_bytes)
    bench.always(~reads | read, "what was judged is read")
    wants = ~packet.inline & (packet.payload_bytes != 0)
    bench.always(~hands_over | (judged & (~wants | allowed)), "as it was allowed")
    later = judges | hands_over
    bench.always(~later | (verdict.context == packet.context), "on the context")
    bench.always(~reads | (job.context == packet.context), "that answers")
    bench.always(packet.payload_bytes <= SMALL.mtu_bytes, "no packet is longer than allowed")
    return bench


@theorem(
    3,
    "Issue",
    bugs=(
        Bug(
            function="rtl.nic.initiator.issue:Issue._check_window",
            old="window.local_write, window.local_read)",
            new="window.local_write, True)",
        ),
        Bug(
            function="rtl.nic.initiator.segment:Segment._measure",
            old="self.bytes.eq(Mux(self.resumed, payload_bytes, total))",
            new="self.bytes.eq(Mux(self.resumed, payload_bytes, command.length_bytes))",
        ),
    ),
)
def issue() -> Bench:
    """What a packet of a request reads is inside a window, with local_read, of its context: packet by packet. Rule: a
    command stays while it is selected and not taken."""
    bench = Bench(block := Issue(SMALL))
    m, verdict = bench.m, _Verdict(bench, block, "window")
    window, segment, handover = verdict.window, bench.part("segment"), bench.part("handover")
    selected, before = hold_commands(bench, block)
    checks, fetches = bench.in_state("issue", "Check-Window"), bench.in_state("issue", "Check-Reply-Window")
    bench.always(~fetches | (~block._resumed & (block._reason == Refusal.NONE)), "what fetches was accepted so far")
    later = Cat(*(bench.in_state("issue", name) for name in ("Check-Reply-Window", "Claim-Resources", "Begin"))).any()
    address, length_bytes, allowed = Signal(48), Signal(32), Signal()
    with m.If(checks):
        m.d.sync += [
            address.eq(window.address),
            length_bytes.eq(window.bytes),
            allowed.eq(verdict.allows("local_read")),
        ]
    packet = handover.packet
    judged = (packet.address == address) & (packet.payload_bytes <= length_bytes) & allowed
    begins = bench.in_state("issue", "Begin")
    bench.always(~handover.load | begins, "only what was judged is handed over")
    bench.always(~handover.load | (packet.payload_bytes == 0) | judged, "as it was allowed")
    bench.always(~handover.load | (packet.context == block._context), "for the context")
    bench.always(~(later | checks) | (verdict.context == block._context), "on the context")
    reads = bench.in_state("issue", "Read-Command")
    bench.always(~(reads | checks | later) | (selected == block._context), "the command was selected")
    bench.always(~(checks | later) | before, "and is still shown")
    _claim_issue_steps(bench, block, checks=checks, later=later, allowed=allowed)
    bench.always(~later | ((block._address == address) & (segment.payload_bytes <= length_bytes)), "what was judged")
    _claim_handed_over(bench, handover)
    return bench


def _claim_issue_steps(bench: Bench, block: Any, *, checks: Value, later: Value, allowed: Value) -> None:
    """What the steps of a turn know of each other: why a message without bytes has no payload, and a get none."""
    segment, check = bench.part("segment"), bench.part("check")
    operation, length = segment.words[0][:8], segment.words[1][32:]
    resumed, accepted = block._resumed, (check.reason == Refusal.NONE) & check.sends
    has_payload = segment.payload_bytes != 0
    known = checks | later
    bench.always(~(known & has_payload) | (operation != Operation.GET), "a get reads nothing")
    bench.always(~(checks & has_payload & ~resumed & accepted) | (length != 0), "no bytes, no payload")
    bench.always(~checks | (segment.payload_bytes <= segment.bytes), "the packet is part of what is judged")
    bench.always(~(checks & ~resumed & accepted & ~segment.last) | (length != 0), "what goes on has bytes")
    sends = resumed | ((block._reason == Refusal.NONE) & check.sends)
    bench.always(~(later & sends & ~segment.last) | (length != 0), "what goes on has bytes, later")
    bench.always(~(later & sends & ~block._aborted & has_payload) | allowed, "only what is allowed is sent")
    working = ~bench.in_state("issue", "Await-Turn")
    bench.always(~(working & resumed) | block._begun.bit_select(block._context, 1), "what is resumed was begun")
    bench.always(~working | (block._context < SMALL.contexts), "the context exists")
    read = working & ~bench.in_state("issue", "Select-Command")
    stored = bench.part("segment", "messages")._read_ports[0].data
    bench.always(~(read & resumed) | (stored.words[1][32:] != 0), "what goes on had bytes")
    for number in range(SMALL.contexts):
        kept = bench.row(number, "segment", "messages")
        bench.always(~block._begun[number] | (kept[64 + 32 : 64 + 64] != 0), "and has them still")


def _claim_handed_over(bench: Bench, handover: Any) -> None:
    """Whatever range and context a job has: it was handed over with them."""
    job, packet = handover.o_job, handover.packet
    address, length_bytes = bench.constant("a_job_address", 48), bench.constant("a_job_bytes", 16)
    context = bench.constant("a_job_context", 8)

    def is_it(one: Any) -> Value:
        return (one.address == address) & (one.payload_bytes == length_bytes) & (one.context == context)

    loaded = Signal()
    with bench.m.If(handover.load & is_it(packet)):
        bench.m.d.sync += loaded.eq(1)
    bench.rule(length_bytes != 0)
    ahead = data.View(PACKET, bench.register("ahead", "handover"))
    bench.always(~(job.valid & is_it(job)) | loaded, "a job is what was handed over")
    bench.always(~(bench.register("waits", "handover") & is_it(ahead)) | loaded, "and what waits, too")


def hold_commands(bench: Bench, block: Any) -> tuple[Value, Value]:
    """The rule of a CommandPort: words show what was selected in the cycle before, and stay until it is taken. Returns
    what was selected in the cycle before, and whether the words of the cycle after this one will still be the same."""
    commands = block.i_commands
    selected = bench.past(commands.select)
    stays = (selected == bench.past(selected)) & ~bench.past(commands.take)
    shown = Cat(*commands.words, commands.index, commands.unreadable)
    bench.rule(~stays | (shown == bench.past(shown)))
    return selected, stays
