"""Property 1, the way of a command's context: what is done for a context was asked for by it.

Each word that comes from a context's ring or from a packet admitted to it is marked by the judge with the context's
number (see `marks`). No mark comes out beside the number of another context.
"""

from typing import Any

from amaranth import C, Cat, Signal, Value
from amaranth.lib import data
from amaranth.lib.fifo import SyncFIFOBuffered

from rtl.nic.initiator.departures import Departures
from rtl.nic.initiator.fetch import Fetch
from rtl.nic.initiator.handover import PACKET, Handover
from rtl.nic.initiator.issue import Issue
from rtl.nic.initiator.report import REPORT, Report
from rtl.nic.parameters import NicParameters
from rtl.nic.target.answers import _ACK, _REPLY, ACKS, Answers
from rtl.packets import REQUEST, RESPONSE
from rtl.portals import COMMAND, EVENT
from tests.formal.bench import Bench, chosen
from tests.formal.marks import bears, hold_lives, hold_mark, is_live
from tests.formal.theorems import SMALL, Bug, theorem
from tests.formal.windows import hold_commands

MARK_WORD = COMMAND.fields["remote_offset"].word
TOLD_WORD = COMMAND.fields["user_data"].word
OFFSET_OF_PACKET = REQUEST.fields["remote_offset"].word
MARK_OF_PACKET = REQUEST.fields["match_bits"].word
RESPONSE_MARK_WORD = RESPONSE.fields["remote_offset"].word
LIFE = ("epoch", "restarted")


def job_of(port: Any) -> Value:
    """What a JobPort offers."""
    return Cat(port.resume, port.context, *port.words, port.payload_bytes, port.address, port.inline, *port.data)


def told_of(port: Any) -> Value:
    """What an EventPort offers."""
    of_counter = (port.counter_valid, port.counter_set, port.counter, port.success, port.failure)
    return Cat(port.context, port.epoch, port.event, *port.words, *of_counter)


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
    every_width=True,
)
def fetched(parameters: NicParameters = SMALL) -> Bench:
    """What is shown as a command of a context was read for that context, and with `memory.fetch` from its ring. Rules:
    memory answers reads in their order, a command each."""
    bench = Bench(block := Fetch(parameters))
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
    bench.carries(read.data)
    for first_bit in range(0, parameters.datapath_bits, 64):
        bench.rule(~read.data_valid | (read.data[first_bit : first_bit + 8] == owner + 1))
    bench.rule(block.o_commands.select < parameters.contexts)

    for number, context in enumerate(asked):
        bench.always(bench.register(f"read_context_{number}") == context, "whose reads are under way")
        bench.always(context < parameters.contexts, "contexts that exist")
    waiting = bench.register("waiting")
    bench.always((waiting == level) & (level <= depth) & (behind == (first + level)[:3]), "how many")
    newest, oldest = bench.registers("oldest", 3)
    bench.always((newest == behind) & (oldest == first), "which are the next")
    bench.always(block.fetched_context < parameters.contexts, "who asks")
    for row in range(parameters.contexts * parameters.prefetch):
        words = bench.row(row, "words")
        context = Value.cast(row // parameters.prefetch)
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
        Bug(
            function="rtl.nic.initiator.aside:ListCommands._compose_report",
            old="report.payload.context.eq(command.context)",
            new="report.payload.context.eq(0)",
        ),
    ),
)
def issued() -> Bench:
    """A packet is sent, a command for the lists handed on, an entry made that waits for a response, and a report made
    as one of the context from whose commands it was made. Rule: commands are those of the context that was selected in
    the cycle before."""
    bench = Bench(block := Issue(SMALL))
    selected, _ = hold_commands(bench, block)
    for number in (MARK_WORD, TOLD_WORD):
        hold_mark(bench, C(1), block.i_commands.words[number], selected)
    job, handover = block.o_job, bench.part("handover")
    bench.always(~job.valid | bears(job.words[OFFSET_OF_PACKET], job.context), "a packet")
    ahead = data.View(PACKET, bench.register("ahead", "handover"))
    bench.always(~bench.register("waits", "handover") | bears(ahead.remote_offset, ahead.context), "the one behind it")
    bench.always(~handover.load | bears(handover.packet.remote_offset, handover.packet.context), "one that is made")
    idle, selects = bench.in_state("issue", "Await-Turn"), bench.in_state("issue", "Select-Command")
    bench.always(idle | selects | (selected == block._context), "commands are those of the turn's context")
    bench.always(idle | (block._context < SMALL.contexts), "which exists")
    stored = bench.part("segment", "messages")._read_ports[0].data
    for word in (MARK_WORD, TOLD_WORD):
        bench.always(idle | selects | bears(stored.words[word], block._context), "as is what goes on")
        for number in range(SMALL.contexts):
            kept = bench.row(number, "segment", "messages")
            bench.always(bears(kept[64 * word : 64 * word + 64], Value.cast(number)), "and is kept")
        _claim_list_commands(bench, block, word)
    lists = block.o_list
    bench.stays(lists.valid, lists.ready, Cat(lists.context, lists.epoch, *lists.words), "a command for the lists")
    entry = block.outstanding
    bench.always(~entry.valid | bears(entry.user_data, entry.context), "an entry that waits")
    _claim_reports(bench)
    return bench


def _claim_reports(bench: Bench) -> None:
    """What is entered of a packet that leaves, and the reports of commands that need none."""
    entered = bench.part("departures").departure
    bench.always(~bench.part("departures").push | bears(entered.user_data, entered.context), "a packet that is entered")
    for name in ("list_commands", "aside"):
        report = bench.part(name).o_report
        bench.always(~report.valid | bears(report.payload.user_data, report.payload.context), f"a report of {name}")


def _claim_list_commands(bench: Bench, block: Any, word: int) -> None:
    command, lists = block.o_list, bench.part("list_commands")
    bench.always(bears(command.words[word], command.context), "a command for the lists")
    bench.always(command.context < SMALL.contexts, "of a context that exists")
    bench.always(~lists.load | bears(lists.words[word], lists.context), "one that is handed on")
    first = len(bench.row(0, "list_commands", "commands")) - 64 * (COMMAND.length_words - word)
    for number in range(SMALL.contexts):
        kept = bench.row(number, "list_commands", "commands")
        bench.always(bears(kept[first : first + 64], Value.cast(number)), "one that waits")


@theorem(
    4,
    "Departures",
    bugs=(
        Bug(
            function="rtl.nic.initiator.departures:Departures._compose",
            old="report.context.eq(departed.context)",
            new="report.context.eq(0)",
        ),
    ),
)
def departed() -> Bench:
    """What is reported of a message that has left is reported for the context as whose it was entered."""
    bench = Bench(block := Departures(SMALL))
    entered, report = block.departure, block.o_report
    hold_mark(bench, block.push, entered.user_data, entered.context)
    packets = bench.part("packets")
    read = packets._read_ports[0].data
    bench.always(bears(read.user_data, read.context), "the packet that has left")
    for number in range(packets.depth):
        kept = type(read)(read.shape(), bench.row(number, "packets"))
        bench.always(bears(kept.user_data, kept.context), "packets that have not")
    bench.always(~report.valid | bears(report.payload.user_data, report.payload.context), "a report")
    return bench


@theorem(
    4,
    "Report",
    bugs=(
        Bug(
            function="rtl.nic.initiator.report:Report._compose_event",
            old="event.context.eq(report.context)",
            new="event.context.eq(0)",
        ),
    ),
)
def reported() -> Bench:
    """An event tells of a command for the context for which its end was reported, which alone has one command less."""
    bench = Bench(block := Report(SMALL, sources=3))
    for source in block.i_reports:
        hold_mark(bench, source.valid, source.payload.user_data, source.payload.context)
    report = data.View(REPORT, bench.register("report"))
    event, told = block.o_event, EVENT.fields["user_data"].word
    bench.always(bears(report.user_data, report.context), "the report that is told")
    bench.always(~event.valid | bears(event.words[told], event.context), "an event")
    bench.always(~event.valid | (event.epoch == report.epoch), "in its life")
    bench.stays(event.valid, event.ready, told_of(event), "an event")
    now = chosen((state.epoch for state in block.states), report.context)
    current = (block.retired_context == report.context) & (now == report.epoch)
    bench.always(~block.retired | current, "a command is over for its context")
    bench.always(~block.release_valid | (current & (block.release_context == report.context)), "as is its place")
    return bench


@theorem(
    1,
    "Issue",
    bugs=(
        Bug(
            function="rtl.nic.initiator.issue:Issue._proceed",
            old="stale.eq(was_stale | restarted)",
            new="stale.eq(restarted)",
        ),
    ),
)
def issued_in_its_life() -> Bench:
    """What begins for a command begins while the life lasts in which the command was selected, and is of that life.
    Rule: a restart, and nothing else, begins a new life."""
    bench = Bench(block := Issue(SMALL))
    hold_lives(bench, block)
    now, restarted = (chosen((getattr(one, name) for one in block.states), block._context) for name in LIFE)
    chosen_now = bench.in_state("issue", "Await-Turn") | bench.in_state("issue", "Select-Command")
    stale = bench.registers("was_stale", 1)
    bench.always(chosen_now | stale[0] | restarted | (block._epoch == now), "the turn's life")
    bench.always(block._context < SMALL.contexts, "of a context that exists")
    packet, handover = bench.part("handover").packet, bench.part("handover")
    begun = {
        "packet": (handover.load & ~packet.resume, packet.context, packet.epoch),
        "list command": (bench.part("list_commands").load, bench.part("list_commands").context, None),
        "entry": (block.outstanding.valid, block.outstanding.context, block.outstanding.epoch),
    }
    for name, (begins, context, epoch) in begun.items():
        epoch = bench.part("list_commands").epoch if epoch is None else epoch
        bench.always(~begins | is_live(block, context, epoch), f"a {name} is of the life that lasts")
    return bench


@theorem(
    1,
    "Handover",
    bugs=(
        Bug(
            function="rtl.nic.initiator.handover:Handover.elaborate",
            old="self.spoiled.eq(moves & (~active | (epoch != following.epoch)))",
            new="self.spoiled.eq(moves & ~active)",
        ),
        Bug(
            function="rtl.nic.initiator.handover:Handover.elaborate",
            old="self.dropped.eq(self.spoiled & ~following.resume)",
            new="self.dropped.eq(0)",
        ),
    ),
)
def handed_over() -> Bench:
    """A message's first packet is shown in the cycle after its context was found in the life in which the packet was
    made: with `trusted.send_takes_requests`, it carries the identity of that life. Of another packet no payload is read
    unless that is so. Packets are marked with context and life (see `marks`)."""
    bench = Bench(block := Handover(SMALL))
    packet, job = block.packet, block.o_job
    bench.rule(packet.context < SMALL.contexts)
    bench.carries(packet.match_bits)
    bench.rule(~block.load | (packet.match_bits[:24] == Cat((packet.context + 1)[:8], packet.epoch)))
    ahead = data.View(PACKET, bench.register("ahead"))
    marked = ahead.match_bits[:24] == Cat((ahead.context + 1)[:8], ahead.epoch)
    bench.always(~bench.register("waits") | (marked & (ahead.context < SMALL.contexts)), "the one behind it")
    mark = job.words[MARK_OF_PACKET]
    bench.always(~job.valid | (mark[:8] == (job.context + 1)[:8]), "a packet is of its context")
    bench.always(~job.valid | (job.context < SMALL.contexts), "which exists")
    bench.stays(job.valid, job.ready, job_of(job), "a packet")
    states = [bench.past(Cat(state.active, state.epoch)) for state in block.states]
    fresh = job.valid & ~bench.past(job.valid & ~job.ready)
    lived = chosen(states, job.context) == Cat(Value.cast(1), mark[8:24])
    bench.always(~(fresh & (~job.resume | job.payload_bytes.any())) | lived, "a fresh packet was found alive")
    bench.always(~bench.past(job.valid & ~job.ready) | job.valid, "it stays")
    return bench


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
    hold_mark(bench, answer.valid, answer.words[RESPONSE_MARK_WORD], answer.context)
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
    bench.stays(job.valid, job.ready, job_of(job), "a response")
    bench.always(~acknowledges | acks.r_rdy, "what is acknowledged is there")
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
