"""Property 1, the way of a command's context: what is done for a context was asked for by it.

Each word that comes from a context's ring or from a packet admitted to it is marked by the judge with the context's
number (see `marks`). No mark comes out beside the number of another context.
"""

from typing import Any

from amaranth import Signal, Value
from amaranth.lib import data
from amaranth.lib.fifo import SyncFIFOBuffered

from rtl.nic.initiator.fetch import Fetch
from rtl.nic.initiator.handover import PACKET
from rtl.nic.initiator.issue import Issue
from rtl.nic.target.answers import _ACK, _REPLY, ACKS, Answers
from rtl.portals import COMMAND
from tests.formal.bench import Bench, chosen
from tests.formal.marks import bears, is_live
from tests.formal.theorems import SMALL, Bug, theorem
from tests.formal.windows import hold_commands

MARK_WORD = COMMAND.fields["match_bits"].word
RESPONSE_MARK_WORD = 4  # remote_offset


@theorem(
    1,
    "Fetch",
    bugs=(
        Bug(
            function="rtl.nic.initiator.fetch:Fetch._keep",
            old="words_write.addr.eq(Cat(slot, arriving))",
            new="words_write.addr.eq(Cat(slot, self.fetched_context))",
        ),
        Bug(
            function="rtl.nic.initiator.fetch:Fetch._keep",
            old="words_read.addr.eq(Cat(select(oldest, commands.select), commands.select))",
            new="words_read.addr.eq(Cat(commands.select, select(oldest, commands.select)))",
        ),
    ),
)
def fetched() -> Bench:
    """What is shown as a command of a context was read for that context, and with `memory.fetch` from its ring. Rules:
    memory answers reads in their order, eight flits each."""
    bench = Bench(block := Fetch(SMALL))
    m, read = bench.m, block.read
    depth = 8
    asked = [Signal(8, name=f"asked_{number}") for number in range(depth)]
    first, behind, level = Signal(3), Signal(3), Signal(4)
    arrives = read.data_valid & read.data_last
    for number, context in enumerate(asked):
        with m.If(block.fetched & (behind == number)):
            m.d.sync += context.eq(block.fetched_context)
    m.d.sync += [
        first.eq(first + arrives),
        behind.eq(behind + block.fetched),
        level.eq(level + block.fetched - arrives),
    ]
    owner = chosen(asked, first)
    bench.rule(~read.data_valid | (level != 0))
    bench.rule(~read.data_valid | (read.data[:8] == owner + 1))
    bench.rule(block.o_commands.select < SMALL.contexts)

    for number, context in enumerate(asked):
        bench.always(bench.register(f"read_context_{number}") == context, "whose reads are under way")
        bench.always(context < SMALL.contexts, "contexts that exist")
    waiting = bench.register("waiting")
    bench.always((waiting == level) & (level <= depth) & (behind == (first + level)[:3]), "how many")
    newest, oldest = bench.registers("oldest", 3)
    bench.always((newest == behind) & (oldest == first), "which are the next")
    bench.always(block.fetched_context < SMALL.contexts, "who asks")
    for row in range(SMALL.contexts * SMALL.prefetch):
        words = bench.row(row, "words")
        context = Value.cast(row // SMALL.prefetch)
        for number in range(8):
            bench.always(bears(words[64 * number : 64 * number + 64], context), "what is kept for a context is its own")
    shown = bench.past(block.o_commands.select)
    seen = bench.past(1)
    for word in block.o_commands.words:
        bench.always(~seen | bears(word, shown), "what is shown for a context is its own")
    return bench


@theorem(
    1,
    "Issue",
    bugs=(
        Bug(
            function="rtl.nic.initiator.segment:Segment.elaborate",
            old="write.addr.eq(self.context)",
            new="write.addr.eq(0)",
        ),
        Bug(
            function="rtl.nic.initiator.issue:Issue._connect",
            old="commands.select.eq(self._context)",
            new="commands.select.eq(self._turns.choice)",
        ),
    ),
)
def issued() -> Bench:
    """A packet is sent, and a command for the lists handed on, as one of the context from whose commands it was made.
    Rule: commands are those of the context that was selected in the cycle before."""
    bench = Bench(block := Issue(SMALL))
    selected, _ = hold_commands(bench, block)
    for word in block.i_commands.words:
        bench.rule(bears(word, selected))
    job, handover = block.o_job, bench.part("handover")
    bench.always(~job.valid | bears(job.words[5], job.context), "a packet")
    ahead = data.View(PACKET, bench.register("ahead", "handover"))
    bench.always(~bench.register("waits", "handover") | bears(ahead.match_bits, ahead.context), "the one behind it")
    bench.always(~handover.load | bears(handover.packet.match_bits, handover.packet.context), "one that is made")
    idle, selects = bench.in_state("issue", "Await-Turn"), bench.in_state("issue", "Select-Command")
    bench.always(idle | selects | (selected == block._context), "commands are those of the turn's context")
    bench.always(idle | (block._context < SMALL.contexts), "which exists")
    stored = bench.part("segment", "messages")._read_ports[0].data
    bench.always(idle | selects | bears(stored.words[MARK_WORD], block._context), "as is what goes on")
    for number in range(SMALL.contexts):
        kept = bench.row(number, "segment", "messages")
        bench.always(bears(kept[64 * MARK_WORD : 64 * MARK_WORD + 64], Value.cast(number)), "and is kept")
    _claim_list_commands(bench, block)
    return bench


def _claim_list_commands(bench: Bench, block: Any) -> None:
    command, lists = block.o_list, bench.part("list_commands")
    bench.always(bears(command.words[MARK_WORD], command.context), "a command for the lists")
    bench.always(command.context < SMALL.contexts, "of a context that exists")
    bench.always(~lists.load | bears(lists.words[MARK_WORD], lists.context), "one that is handed on")
    first = len(bench.row(0, "list_commands", "commands")) - 64 * (COMMAND.length_words - MARK_WORD)
    for number in range(SMALL.contexts):
        kept = bench.row(number, "list_commands", "commands")
        bench.always(bears(kept[first : first + 64], Value.cast(number)), "one that waits")


@theorem(
    1,
    "Answers",
    bugs=(
        Bug(
            function="rtl.nic.target.answers:Answers._compose_job",
            old="Mux(acknowledges, ack.context, reply.context)",
            new="Mux(acknowledges, reply.context, ack.context)",
        ),
        Bug(
            function="rtl.nic.target.answers:Answers._take_answers",
            old='("context", "epoch", "window"',
            new='("epoch", "window"',
        ),
        Bug(
            function="rtl.nic.target.reply_slots:ReplySlots._keep_free",
            old="untouched != self._slots",
            new="1",
        ),
    ),
)
def answered() -> Bench:
    """A response is sent as one of the context that answers: the header's fields and the context were handed over
    together. Rule: a queue gives what it was given (see `trusted.queue`)."""
    bench = Bench(block := Answers(SMALL))
    answer, job = block.i_answer, block.o_job
    for word in answer.words:
        bench.rule(~answer.valid | bears(word, answer.context))
    bench.always(~job.valid | bears(job.words[RESPONSE_MARK_WORD], job.context), "a response")
    acks = bench.part("acks")
    put, got = data.View(_ACK, acks.w_data), data.View(_ACK, acks.r_data)
    bench.always(~acks.w_en | bears(put.header.remote_offset, put.context), "acknowledgements that wait")
    bench.rule(~acks.r_rdy | bears(got.header.remote_offset, got.context))
    bench.always(~bench.in_state("answers", "Hand-Over-Ack") | acks.r_rdy, "one that is handed over")
    bench.always(acks.level <= ACKS, "are no more than there is room for")
    for row in range(block._slots):
        reply = data.View(_REPLY, bench.row(row, "replies"))
        bench.always(bears(reply.header.remote_offset, reply.context), "replies that wait")
    chosen = bench.part("replies")._read_ports[0].data
    bench.always(bears(chosen.header.remote_offset, chosen.context), "the reply whose turn it is")
    _claim_slots(bench, block._slots)
    return bench


@theorem(
    1,
    "Answers",
    bugs=(
        Bug(
            function="rtl.nic.target.answers:Answers.elaborate",
            old="is_live(self.states, ack.context, ack.epoch)",
            new="is_live(self.states, ack.context, reply.epoch)",
        ),
        Bug(
            function="rtl.nic.target.answers:Answers.elaborate",
            old="self.o_job.valid.eq(~packetless)",
            new="self.o_job.valid.eq(1)",
        ),
        Bug(
            function="rtl.nic.target.reply_packet:ReplyPacket.elaborate",
            old="self.orphaned.eq(~is_live(self.states, self.context, self.epoch))",
            new="self.orphaned.eq(left.any() & ~is_live(self.states, self.context, self.epoch))",
        ),
    ),
)
def answered_in_its_life() -> Bench:
    """A response is shown in the cycle after its context was active, and in the life in which the answer was handed
    over: with `trusted.send_takes_responses`, it carries the identity of that life. Rule: a queue shows what it shows
    until it is taken (see `trusted.queue`)."""
    bench = Bench(block := Answers(SMALL))
    job, acks, packet = block.o_job, bench.part("acks"), bench.part("packet")
    got = data.View(_ACK, acks.r_data)
    waits = bench.past(acks.r_rdy & ~acks.r_en)
    bench.rule(~waits | (acks.r_rdy & (acks.r_data == bench.past(acks.r_data))))
    acknowledges = bench.in_state("answers", "Hand-Over-Ack")
    chosen_reply = bench.part("replies")._read_ports[0].data
    fresh = job.valid & ~bench.past(job.valid & ~job.ready)
    for who, whose, in_turn in (("who acknowledges", got, acknowledges), ("who replies", chosen_reply, ~acknowledges)):
        live = is_live(block, whose.context, whose.epoch)
        same = (bench.past(whose.context) == whose.context) & (bench.past(whose.epoch) == whose.epoch)
        bench.always(~(fresh & in_turn) | (bench.past(live) & same), f"{who} was found alive")
        bench.always(~(job.valid & in_turn) | (job.context == whose.context), "as the one that speaks")
    hands_over = bench.in_state("answers", "Hand-Over-Reply")
    bench.always(~job.valid | acknowledges | hands_over, "nobody else speaks")
    bench.always(~bench.past(job.valid & ~job.ready) | job.valid, "it stays")
    judged = bench.past(packet.judge & ~is_live(block, packet.context, packet.epoch))
    bench.always(~judged | packet.orphaned, "what was not")
    bench.always(~hands_over | bench.past(packet.judge | hands_over), "is known when it is handed over")
    return bench


def _claim_slots(bench: Bench, slots: int) -> None:
    """Replies lie in slots that exist: no queue holds the number of another one. All begin with the number."""
    width = len(bench.register("slot", "slots"))
    for path in (("slots", "turns"), ("slots", "freed"), ("flights", "flights"), ("reports", "ended")):
        queue = bench.part(*path)
        depth = queue.depth - isinstance(queue, SyncFIFOBuffered)
        held = [bench.row(number, *path, "storage") for number in range(depth)]
        for entry in (*held, queue.r_data):
            bench.always(entry[:width] < slots, f"{path[-1]}: slots that exist")
    bench.always(bench.register("slot", "slots") < slots, "the slot that has its turn")
    bench.always(bench.register("untouched", "slots") <= slots, "the slots that were never taken")
