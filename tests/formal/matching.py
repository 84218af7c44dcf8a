"""Property 4, the match unit: what is looked up and changed for a context are its own tables, in its own life.

A restart marks a context's tables as dirty, in the cycle in which its new life begins, and what is written into them
until they are swept is swept with them.
"""

from typing import Any

from amaranth import Cat, Signal, Value
from amaranth.lib.memory import Memory

from rtl.nic.target.match import Match
from rtl.nic.target.matching.tables import Tables
from rtl.portals import EVENT, LIST_COMMAND, Fail
from tests.formal.bench import Bench, chosen
from tests.formal.marks import bears, hold_lives, hold_mark
from tests.formal.theorems import SMALL, Bug, theorem

MARK_WORD = LIST_COMMAND.fields["user_data"].word
EVENT_MARK_WORD = EVENT.fields["user_data"].word
TABLES = ("portals", "entries", "positions", "entry_next", "headers", "complete", "header_next", "pools", "dues")


@theorem(
    4,
    "Tables",
    bugs=(
        Bug(
            function="rtl.nic.target.matching.tables:Tables._address",
            old="self.port.context)",
            new="0 * self.port.context)",
        ),
        Bug(
            function="rtl.nic.target.matching.tables:Tables.elaborate",
            old="read.addr.eq(self._address(port.index, entries))",
            new="read.addr.eq(port.index)",
        ),
    ),
)
def tables() -> Bench:
    """What is read of a context's tables are its own rows, and no row changes but by a write for its context. Rule:
    the context exists."""
    bench = Bench(block := Tables(SMALL))
    bench.rule(block.port.context < SMALL.contexts)
    for name in TABLES:
        table: Memory = bench.part(name)
        port = getattr(block.port, name)
        entries = table.depth // SMALL.contexts
        own = [Value.cast(block.port.context == row // entries) for row in range(table.depth)]
        shown = Value.cast(table._read_ports[0].data)
        asked = port.index if entries > 1 else 0
        for row in range(table.depth):
            kept = bench.row(row, name)
            bench.always((kept == bench.past(kept)) | bench.past(port.write & own[row]), f"{name}: whose row changes")
            looked = port.read & own[row] & (asked == row % entries)
            bench.always(~bench.past(looked) | (shown == bench.past(kept)), f"{name}: whose row is shown")
    return bench


class _Users:
    """Those who have the tables in turn; of each: whether it uses them, and writes them, in this cycle."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def uses(self, name: str) -> Value:
        tables = self._bench.part(name).tables
        return Cat(*(getattr(tables, table).read | getattr(tables, table).write for table in TABLES)).any()

    def writes(self, name: str) -> Value:
        tables = self._bench.part(name).tables
        return Cat(*(getattr(tables, table).write for table in TABLES)).any()


def _hold(bench: Bench, block: Match) -> None:
    """The rules of MatchPort, ListPort and ContextState."""
    match, command = block.i_match, block.i_list
    bench.holds(match.valid, match.done, Cat(match.context, match.epoch, *match.words))
    ending = Cat(match.finish_context, match.finish_epoch, match.finish_header, match.finish_failed)
    bench.holds(match.finish, match.finish_ready, ending)
    bench.holds(command.valid, command.ready, Cat(command.context, command.epoch, *command.words))
    for context in (match.context, match.finish_context, command.context):
        bench.rule(context < SMALL.contexts)
    hold_lives(bench, block)


@theorem(
    4,
    "Match",
    bugs=(
        Bug(
            function="rtl.nic.target.matching.messages:Messages.elaborate",
            old="tables.context.eq(self.context)",
            new="tables.context.eq(0)",
        ),
        Bug(
            function="rtl.nic.target.match:Match._obsolete",
            old="~active | (request.epoch != self._epoch(request.context))",
            new="~active",
        ),
        Bug(
            function="rtl.nic.target.match:Match._connect_messages",
            old="messages.stale.eq(self._stale | self._restarted)",
            new="messages.stale.eq(self._stale)",
        ),
        Bug(
            function="rtl.nic.target.match:Match._connect_finishing",
            old="(finishing.finish_epoch != self._epoch(context)) | self._bit(dirty, context)",
            new="self._bit(dirty, context)",
        ),
        Bug(
            function="rtl.nic.target.matching.commands:Commands.elaborate",
            old="tables.context.eq(incoming.context)",
            new="tables.context.eq(self.i_list.words[0])",
        ),
        Bug(
            function="rtl.nic.target.matching.finishing:Finishing.elaborate",
            old="tables.context.eq(self.finish_context)",
            new="tables.context.eq(0)",
        ),
        Bug(
            function="rtl.nic.target.matching.reports:Reports.elaborate",
            old="event.context.eq(self.context)",
            new="event.context.eq(0)",
        ),
        Bug(
            function="rtl.nic.target.match:Match._connect_messages",
            old="self.counted_context.eq(self.i_match.context)",
            new="self.counted_context.eq(0)",
        ),
    ),
)
def turns() -> Bench:
    """Who has the tables has those of the context that the message, the end of a message or the command is of, and the
    same of places and events. They are changed only in the life that the message, the end or the command belongs to, or
    while they are dirty; and a match is found in that life alone. Rules: MatchPort and ListPort hold; contexts exist; a
    restart, and nothing else, begins a new life."""
    bench = Bench(block := Match(SMALL))
    _hold(bench, block)
    match, command, users = block.i_match, block.i_list, _Users(bench)
    shared, dirty = bench.part("tables").port, bench.part("sweep").dirty
    pending_context = bench.register("context", "pending")
    pending_epoch = bench.register("epoch", "pending")
    turns = {
        "messages": (match.valid, match.context, match.epoch),
        "finishing": (match.finish, match.finish_context, match.finish_epoch),
        "commands": (command.valid, command.context, command.epoch),
        "pending": (None, pending_context, pending_epoch),
    }
    _claim_turns(bench, block)
    for name, (wants, context, epoch) in turns.items():
        user = bench.part(name)
        has_turn = user.begin | user.busy
        bench.always(~users.uses(name) | has_turn, f"{name}: in its turn")
        bench.always(~users.uses(name) | (shared.context == context), f"{name}: its context's tables")
        now, restarted = _life(block, context)
        soiled = chosen(dirty, context)
        bench.always(~users.writes(name) | (now == epoch) | soiled, f"{name}: in its life")
        if name == "messages":
            bench.always(~users.writes(name) | ((now == epoch) & ~restarted), "no message is of another life")
            counts = block.dropped | block.violated
            counted = (block.counted_context == context) & (now == epoch)
            bench.always(~counts | counted, "messages sent in vain are counted for their context")
            bench.always(~match.done | wants, "only who asks is answered")
            bench.always(~(match.done & (match.fail == Fail.OK)) | (now == epoch), "a match is found in its life")
        if hasattr(user, "places"):
            asks = user.places.request
            bench.always(~asks | (user.busy & (block.reserve.context == context)), f"{name}: its context's places")
        if hasattr(user, "o_event"):
            own = (block.o_event.context == context) & (block.o_event.epoch == epoch)
            bench.always(~user.o_event.valid | (user.busy & own), f"{name}: its context's events")
    sweeps = bench.register("context", "sweep")
    bench.always(~users.uses("sweep") | (shared.context == sweeps), "who is swept")
    busy = Cat(*(bench.part(name).busy for name in turns))
    bench.always(~(users.uses("sweep") & busy.any()), "and nobody while tables are swept")
    telling = Cat(bench.part(name).o_event.valid for name in ("commands", "pending"))
    bench.always(block.o_event.valid == telling.any(), "nobody else has events")
    _claim_lives(bench, block, turns)
    return bench


def _life(block: Match, context: Value) -> tuple[Value, Value]:
    """Which life of `context` it is, and whether it begins in this cycle."""
    epoch, restarted = (
        chosen((getattr(one, name) for one in block.states), context) for name in ("epoch", "restarted")
    )
    return epoch, restarted


def _claim_lives(bench: Bench, block: Match, turns: Any) -> None:
    """What is known, while somebody has the turn, of the life that it belongs to."""
    marked, stale = bench.register("marked", "sweep"), block._stale
    for name, (_, context, epoch) in turns.items():
        now, restarted = _life(block, context)
        lasts = now == epoch
        busy = bench.part(name).busy
        if name == "messages":
            overtaken = bench.register("_overtaken", name)
            bench.always(~(busy & ~overtaken) | lasts | stale | restarted, "messages: who is overtaken is stale")
        else:
            begins = {"commands": ("commands", "Answer"), "pending": ("pending", "Read-Pool")}.get(name)
            free = bench.in_state(*begins, name) if begins else Value.cast(0)
            bench.always(~(busy & ~free) | lasts | chosen(marked, context) | restarted, f"{name}: or dirty")


@theorem(
    4,
    "Match",
    bugs=(
        Bug(
            function="rtl.nic.target.matching.sweep:Sweep.elaborate",
            old="marked.eq((marked & ~finished) | self.restarted)",
            new="marked.eq(marked & ~finished)",
        ),
        Bug(
            function="rtl.nic.target.matching.sweep:Sweep.elaborate",
            old="with m.If(index == self._steps - 1):",
            new="with m.If(1):",
        ),
        Bug(
            function="rtl.nic.target.match:Match.elaborate",
            old="begins = self.i_match.valid & (messages.obsolete | ~self._bit(sweep.dirty, self.i_match.context))",
            new="begins = self.i_match.valid",
        ),
    ),
)
def sweep() -> Bench:
    """A restart makes a context's tables dirty at once, and when they are not dirty any more its portal table and match
    entries are as those of a new context. Rules: as above."""
    bench = Bench(block := Match(SMALL))
    _hold(bench, block)
    dirty, marked = bench.part("sweep").dirty, bench.register("marked", "sweep")
    context, index = bench.register("context", "sweep"), bench.register("index", "sweep")
    sweeping = bench.registers("sweeping", 1, "sweep")[0]
    bench.always(context < SMALL.contexts, "who is swept exists")
    bench.always(~sweeping | chosen(marked, context), "and is dirty")
    own = {
        "messages": (block.i_match.context, bench.register("_overtaken", "messages")),
        "finishing": (block.i_match.finish_context, Value.cast(0)),
        "commands": (block.i_list.context, bench.in_state("commands", "Answer", "commands")),
        "pending": (bench.register("context", "pending"), Value.cast(0)),
    }
    for name, (whose, idle) in own.items():
        clashes = sweeping & bench.part(name).busy & (whose == context)
        bench.always(~clashes | idle, f"{name}: nothing is done in tables that are being swept")
    _claim_turns(bench, block)
    for number, state in enumerate(block.states):
        bench.always(~state.restarted | dirty[number], f"context {number} is dirty when it restarts")
        swept = bench.past(dirty[number]) & ~dirty[number]
        for name in ("portals", "positions", "pools"):
            entries = bench.part("tables", name).depth // SMALL.contexts
            for row in range(entries):
                kept = bench.row(number * entries + row, "tables", name)
                bench.always(~swept | (kept == 0), f"context {number}: {name} are empty")
                done = sweeping & (context == number) & (index > row)
                bench.always(~done | (kept == 0), f"context {number}: {name} are emptied one by one")
    return bench


@theorem(
    4,
    "Match",
    bugs=(
        Bug(
            function="rtl.nic.target.matching.messages:Messages._look_at",
            old="for table in (self.tables.entries, self.tables.positions,",
            new="for table in (self.tables.positions,",
        ),
        Bug(
            function="rtl.nic.target.matching.commands:Commands.elaborate",
            old="tables.context.eq(incoming.context)",
            new="tables.context.eq(0)",
        ),
        Bug(
            function="rtl.nic.target.matching.pending:PendingEvents.elaborate",
            old="tables.context.eq(context)",
            new="tables.context.eq(0)",
        ),
    ),
)
def entries() -> Bench:
    """The match entry that is found for a message, and every one that an event tells of, was made by a command of its
    context: commands are marked with their context (see `marks`). Rules: as above."""
    bench = Bench(block := Match(SMALL))
    _hold(bench, block)
    match, command, event = block.i_match, block.i_list, block.o_event
    shared = bench.part("tables").port
    hold_mark(bench, command.valid, command.words[MARK_WORD], command.context)
    for row in range(bench.part("tables", "entries").depth):
        owner = Value.cast(row // SMALL.match_entries)
        kept = bench.part("tables", "entries")._read_ports[0].data
        entry = type(kept)(kept.shape(), bench.row(row, "tables", "entries"))
        bench.always(bears(entry.user_data, owner), "entries of a context are its own")
    whose = Signal(8)  # the entry is that was read last
    with bench.m.If(shared.entries.read):
        bench.m.d.sync += whose.eq(shared.context)
    bench.always(bears(shared.entries.data.user_data, whose), "what was read is of the context that it was read for")
    bench.always(~match.done | bears(match.user_data, match.context), "what is found is the message's context's")
    bench.always(~event.valid | bears(event.words[EVENT_MARK_WORD], event.context), "what is told is the context's")

    judges = bench.in_state("messages", "Judge-Entry", "messages")
    bench.always(~judges | (whose == match.context), "what is judged is the context's")
    found = bench.register("found_user_data", "messages")
    decided = Cat(bench.in_state("messages", name, "messages") for name in ("Decide", "Reserve-Places")).any()
    decided = decided | bench.register("_matched", "messages")
    bench.always(~(bench.part("messages").busy & decided) | bears(found, match.context), "and what was")
    bench.always(~bench.part("commands").busy | (whose == command.context), "a command's entries are its context's")
    context = bench.register("context", "pending")
    tells = Cat(bench.in_state("pending", name, "pending") for name in ("Reserve-Place", "Report")).any()
    of_entry = shared.dues.data.is_entry
    bench.always(~(tells & of_entry) | (whose == context), "an event that waited is its context's")
    _claim_turns(bench, block)
    return bench


def _claim_turns(bench: Bench, block: Match) -> None:
    """One has the turn, of whom there is something to work on."""
    wants = {
        "messages": block.i_match.valid,
        "finishing": block.i_match.finish,
        "commands": block.i_list.valid,
        "pending": Value.cast(1),
    }
    busy = Cat(*(bench.part(name).busy for name in wants))
    bench.always((busy & (busy - 1)[: len(busy)]) == 0, "one has the turn")
    for bit, (name, wanted) in zip(busy, wants.items(), strict=True):
        bench.always(~bit | wanted, f"{name}: what is worked on is still there")
    bench.always(bench.register("context", "pending") < SMALL.contexts, "a context that exists")
    reporting = bench.in_state("commands", "Report", "commands")
    bench.always(~bench.register("left", "commands", "reports").any() | reporting, "only what reports has reports left")
