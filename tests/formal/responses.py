"""Property 4, responses and replies: what they end, they end for the context whose they are.

Entries and events are marked with the context or the life for which they were made (see `marks`).
"""

from amaranth import C, Cat, Mux, Signal, Value
from amaranth.lib import data

from rtl.nic.initiator.collect import Collect
from rtl.nic.initiator.complete import RECORD, Complete
from rtl.nic.initiator.outstanding import Outstanding
from rtl.nic.parameters import NicParameters
from rtl.nic.target.answers import Answers
from rtl.nic.target.finishes import PAYLOAD
from rtl.nic.target.reply_reports import REPORT, ReplyReports
from rtl.portals import EVENT
from tests.formal.bench import Bench, chosen
from tests.formal.marks import bears, bears_life, hold_mark, is_live
from tests.formal.origin import told_of
from tests.formal.theorems import SMALL, Bug, theorem

MARK_WORD = EVENT.fields["user_data"].word
SLOTS = 2


@theorem(
    4,
    "Outstanding",
    bugs=(
        Bug(
            function="rtl.nic.initiator.entries:entry_address",
            old="return Cat(slot[:slot_bits], context)",
            new="return Cat(slot[:slot_bits], 0 * context)",
        ),
        Bug(
            function="rtl.nic.initiator.outstanding:Outstanding._make",
            old="made.eq(allocate.valid & (select(self._epochs, allocate.context) == allocate.epoch))",
            new="made.eq(allocate.valid)",
        ),
    ),
)
def looked_up() -> Bench:
    """What is found for a context is an entry that was made for it, and none is made but in the life that lasts.
    Rules: contexts exist."""
    bench = Bench(block := Outstanding(SMALL))
    allocate, lookup = block.allocate, block.lookup
    hold_mark(bench, allocate.valid, allocate.user_data, allocate.context)
    bench.rule((allocate.context < SMALL.contexts) & (lookup.context < SMALL.contexts))
    looked = Signal(8)
    with bench.m.If(lookup.look):
        bench.m.d.sync += looked.eq(lookup.context)
    bench.always(bears(lookup.entry.user_data, looked), "what is found")
    expiry = block.expiry
    bench.stays(expiry.valid, expiry.ready, Cat(expiry.context, expiry.slot), "an entry whose time is over")
    write = bench.part("entries")._write_ports[0].en
    now = chosen((state.epoch for state in block.states), allocate.context)
    bench.always(~write | (allocate.valid & (now == allocate.epoch)), "what is made")
    for row in range(SMALL.contexts * SMALL.outstanding):
        kept = type(lookup.entry)(lookup.entry.shape(), bench.row(row, "entries"))
        bench.always(bears(kept.user_data, Value.cast(row // SMALL.outstanding)), "what is kept")
    return bench


@theorem(
    4,
    "Collect",
    bugs=(
        Bug(
            function="rtl.nic.initiator.collect:Collect._compose_record",
            old="record.context.eq(packet.context)",
            new="record.context.eq(0)",
        ),
        Bug(
            function="rtl.nic.initiator.collect:Collect.elaborate",
            old="lookup.context.eq(Mux(self._expires, expiry.context, packet.context))",
            new="lookup.context.eq(expiry.context)",
        ),
        Bug(
            function="rtl.nic.initiator.collect:Collect._compose_record",
            old="record.epoch.eq(packet.epoch)",
            new="record.epoch.eq(select([state.epoch for state in self.states], packet.context))",
        ),
    ),
    every_width=True,
)
def collected(parameters: NicParameters = SMALL) -> Bench:
    """A response ends, in the life in which it was admitted, an entry of the context to which it was admitted, and one
    whose time is over ends in the life that lasts. Rules: packets and offers hold; what was looked up is of the context
    that was looked for, and stays."""
    bench = Bench(block := Collect(parameters))
    packet, expiry, lookup, entry = block.i_packet, block.expiry, block.lookup, block.lookup.entry
    bench.holds(packet.valid, packet.ready, Cat(*packet.words, packet.context, packet.epoch, packet.poisoned))
    bench.holds(expiry.valid, expiry.ready, Cat(expiry.context, expiry.slot))
    bench.rule((packet.context < parameters.contexts) & (expiry.context < parameters.contexts))
    looked = Signal(8)
    with bench.m.If(lookup.look):
        bench.m.d.sync += looked.eq(lookup.context)
    hold_mark(bench, C(1), entry.user_data, looked)
    bench.rule(bench.past(lookup.look) | (entry.as_value() == bench.past(entry)))
    into = bench.part("complete").i_record
    record = into.payload
    bench.always(~into.valid | bears(record.user_data, record.context), "the entry is of the context that is told")
    of_packet = packet.valid & (record.context == packet.context) & (record.epoch == packet.epoch)
    overdue = expiry.valid & (record.context == expiry.context) & is_live(block, record.context, record.epoch)
    bench.always(~into.valid | Mux(record.expired, overdue, of_packet), "which is the packet's, or the offer's")
    closes = lookup.close | lookup.touch
    whose = Mux(bench.in_state("collect", "Judge-Expiry"), expiry.context, packet.context)
    live = bench.in_state("collect", "Judge-Expiry") | is_live(block, packet.context, packet.epoch)
    bench.always(~closes | ((lookup.context == whose) & live), "no other is closed")
    expires = bench.in_state("collect", "Judge-Expiry")
    others = Cat(bench.in_state("collect", name) for name in ("Judge-Sender", "Judge-Context", "Place-Data")).any()
    bench.always(~others | (packet.valid & (looked == packet.context)), "a packet's entry was looked for")
    bench.always(~expires | (expiry.valid & (looked == expiry.context)), "or an offer's")
    for name in ("free", "free_context", "free_slot", "free_epoch"):
        bench.always(getattr(lookup, name) == getattr(bench.part("complete"), name), "what is free")
    bench.joined(bench.part("complete").o_event, block.o_event, "events")
    bench.joined(bench.part("complete").reserve, block.reserve, "places")
    return bench


@theorem(
    4,
    "Complete",
    bugs=(
        Bug(
            function="rtl.nic.initiator.complete:Complete._compose_event",
            old="port.context.eq(record.context)",
            new="port.context.eq(0)",
        ),
        Bug(
            function="rtl.nic.initiator.complete:Complete._compose_event",
            old="self.free_context.eq(record.context)",
            new="self.free_context.eq(0)",
        ),
        Bug(
            function="rtl.nic.initiator.complete:Complete._compose_event",
            old="self.reserve.release_epoch.eq(record.epoch)",
            new="self.reserve.release_epoch.eq(0)",
        ),
    ),
)
def completed() -> Bench:
    """Events, counters, places and entries are told of for the context and life of the record that is being ended,
    which is the oldest of the queue of those that came."""
    bench = Bench(block := Complete(SMALL))
    records = bench.part("records")
    came = (records.w_en == block.i_record.valid) & (records.w_data == block.i_record.payload.as_value())
    bench.always(came & (block.i_record.ready == records.w_rdy), "records go into the queue")
    record = data.View(RECORD, records.r_data)
    event, reserve = block.o_event, block.reserve
    told = {
        "event": (event.valid, event.context, event.epoch),
        "place": (reserve.release_valid, reserve.release_context, reserve.release_epoch),
        "entry": (block.free, block.free_context, block.free_epoch),
    }
    for name, (valid, context, epoch) in told.items():
        own = records.r_rdy & (context == record.context) & (epoch == record.epoch)
        bench.always(~valid | own, f"{name}: of the record's context, in its life")
    bench.always(~event.valid | (event.words[MARK_WORD] == record.user_data), "what an event says")
    bench.always(~event.counter_valid | (event.counter == record.counter), "which counter")
    bench.always(~block.free | (block.free_slot == record.slot), "which entry")
    waits = bench.past(records.r_rdy & ~records.r_en)
    bench.rule(~waits | (records.r_rdy & (records.r_data == bench.past(records.r_data))))
    bench.stays(event.valid, event.ready, told_of(event), "an event")
    idle = bench.in_state("complete", "Await-Memory")
    bench.always(idle | records.r_rdy, "what is being ended is there")
    bench.always(records.level <= records.depth, "no more than there is room for")
    return bench


@theorem(
    4,
    "ReplyReports",
    bugs=(
        Bug(
            function="rtl.nic.target.reply_reports:ReplyReports._compose",
            old="self.o_event.context.eq(report.context)",
            new="self.o_event.context.eq(0)",
        ),
        Bug(
            function="rtl.nic.target.reply_reports:ReplyReports._compose",
            old="self.finish.finish_context.eq(report.context)",
            new="self.finish.finish_context.eq(0)",
        ),
        Bug(
            function="rtl.nic.target.reply_reports:ReplyReports._compose",
            old="self.reserve.release_epoch.eq(report.epoch)",
            new="self.reserve.release_epoch.eq(0)",
        ),
    ),
)
def replied() -> Bench:
    """What is told when a reply has left is told for the context and the life for which its report was kept."""
    bench = Bench(block := ReplyReports(SLOTS))
    words = ("event_words", "unlink_words")
    kept = bench.part("reports")._read_ports[0].data
    reports = [kept, *(type(kept)(kept.shape(), bench.row(slot, "reports")) for slot in range(SLOTS))]
    for name in words:
        mark = getattr(block.report, name)[MARK_WORD]
        hold_mark(bench, block.store, mark, block.report.context, block.report.epoch)
        for report in reports:
            bench.always(bears_life(getattr(report, name)[MARK_WORD], report.context, report.epoch), "what is kept")
    event, reserve, finish = block.o_event, block.reserve, block.finish
    bench.always(~event.valid | bears_life(event.words[MARK_WORD], event.context, event.epoch), "an event")
    ended = bench.part("ended")
    waits = bench.past(ended.r_rdy & ~ended.r_en)
    bench.rule(~waits | (ended.r_rdy & (ended.r_data == bench.past(ended.r_data))))
    bench.always(bench.in_state("reports", "Await-Reply") | ended.r_rdy, "what is told has ended")
    of_counter = (event.counter_valid, event.counter_set, event.counter, event.success, event.failure)
    a_word = chosen(event.words, bench.constant("a_word", 3))
    told = Cat(event.context, event.epoch, event.event, a_word, *of_counter)
    bench.stays(event.valid, event.ready, told, "an event")
    told_end = Cat(*(getattr(finish, f"finish_{name}") for name in PAYLOAD))
    bench.stays(finish.finish, finish.finish_ready, told_end, "the end of a header")
    for valid, context, epoch in (
        (event.valid, event.context, event.epoch),
        (reserve.release_valid, reserve.release_context, reserve.release_epoch),
        (finish.finish, finish.finish_context, finish.finish_epoch),
    ):
        bench.always(~valid | ((context == kept.context) & (epoch == kept.epoch)), "what is told")
    bench.always(~event.counter_valid | (event.counter == kept.counter), "which counter")
    bench.always(finish.finish_header == kept.header, "which header")
    return bench


@theorem(
    4,
    "Answers",
    bugs=(
        Bug(
            function="rtl.nic.target.answers:Answers._take_answers",
            old="m.d.comb += reports.report[name].eq(getattr(answer, name))",
            new='m.d.comb += reports.report[name].eq(0 if name == "context" else getattr(answer, name))',
        ),
    ),
)
def kept() -> Bench:
    """The report of a reply is kept as it was handed over, and what comes of it is told as it is."""
    bench = Bench(block := Answers(SMALL))
    answer, reports = block.i_answer, bench.part("reports")
    for name, _ in REPORT:
        said = getattr(answer, name)
        said = Cat(*said) if name.endswith("_words") else said
        bench.always(~reports.store | (answer.valid & (Value.cast(reports.report[name]) == said)), f"its {name}")
    for name in ("o_event", "reserve", "finish"):
        bench.joined(getattr(reports, name), getattr(block, name), name)
    return bench
