"""Carries out commands: checks them, has their packets sent, and reports."""

from typing import Any

from amaranth import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.nic.expressions import FieldsOf, select
from rtl.nic.host.window import WindowCheck
from rtl.nic.initiator.aside import Aside, ListCommands
from rtl.nic.initiator.check import CheckCommand
from rtl.nic.initiator.compose import departure_fields, drive, entry_fields, header_fields
from rtl.nic.initiator.departures import Departures
from rtl.nic.initiator.handover import Handover
from rtl.nic.initiator.report import Report
from rtl.nic.initiator.segment import Segment
from rtl.nic.initiator.turns import Need, Turns
from rtl.nic.interfaces.context import context_ports
from rtl.nic.interfaces.initiator import CommandPort, LeftPort, ListPort, OutstandingPort
from rtl.nic.interfaces.reports import EventPort, RefusalPort, ReservePort
from rtl.nic.interfaces.widths import ADDRESS_WIDTH, CONTEXT_WIDTH, EPOCH_WIDTH
from rtl.nic.interfaces.wire import JobPort
from rtl.nic.parameters import NicParameters
from rtl.portals import COMMAND, COUNTER_COMMAND, Operation, Refusal


class Issue(wiring.Component):
    """Contexts in turn, one packet each turn. Commands of one context are begun in order and end in order.

    `room` has a bit for each context with a free place in its event queue: what waits for a place is tried again only
    then. `refusal` pulses when a command is refused (`detail` is its index), `retired` when one of `retired_context` is
    over, with `retired_refused`: in the context's present life only. What belongs to a life that has ended is brought
    to an end on the wire, and nowhere else.

    A command that sends nothing begins when all before it in its context are over; what follows waits for it. A
    command that waits, for whatever, holds up its own context alone.
    """

    def __init__(self, parameters: NicParameters) -> None:
        super().__init__(
            {
                **context_ports(parameters),
                "room": In(parameters.contexts),
                "i_commands": In(CommandPort(parameters.contexts)),
                "o_list": Out(ListPort(parameters.contexts)),
                "outstanding": Out(OutstandingPort(parameters.contexts)),
                "left": Out(LeftPort()),
                "reserve": Out(ReservePort()),
                "o_event": Out(EventPort()),
                "o_job": Out(JobPort()),
                "refusal": Out(RefusalPort()),
                "retired": Out(1),
                "retired_context": Out(CONTEXT_WIDTH),
                "retired_refused": Out(1),
                "quiescent": Out(1),
            }
        )
        self._turns = Turns(parameters)
        self._check = CheckCommand(parameters)
        self._segment = Segment(parameters)
        self._window = WindowCheck(parameters)
        self._handover = Handover(parameters)
        self._departures = Departures(parameters)
        self._lists = ListCommands(parameters)
        self._aside = Aside(parameters)
        self._report = Report(parameters, sources=3)
        # The command or message whose turn it is.
        self._context = Signal(CONTEXT_WIDTH)
        self._epoch = Signal(EPOCH_WIDTH)
        self._resumed = Signal()
        self._looking = Signal()  # it must not hand over a packet
        self._reason = Signal(8)
        self._address = Signal(ADDRESS_WIDTH)
        self._aborted = Signal()  # its packet ends the message before its time
        self._final = Signal()  # it is the message's last packet, or the message ends without one
        self._ended = Signal()  # it ends without one
        # By context: a message is begun; it ends without another packet; a place is held for the next command.
        self._begun = Signal(parameters.contexts)
        self._stopped = Signal(parameters.contexts)
        self._held = Signal(parameters.contexts)
        self._command = FieldsOf(COMMAND, list(self._segment.words))

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.turns = self._turns
        m.submodules.check = self._check
        m.submodules.segment = self._segment
        m.submodules.window = self._window
        m.submodules.handover = self._handover
        m.submodules.departures = self._departures
        m.submodules.list_commands = self._lists
        m.submodules.aside = self._aside
        m.submodules.report = self._report
        self._connect(m)
        self._offer(m)
        self._compose(m)
        self._stop_broken(m)
        resting = self._proceed(m)
        restarted = Cat(*(state.restarted for state in self.states))
        for number, state in enumerate(self.states):
            with m.If(state.restarted):
                m.d.sync += self._held[number].eq(0)
        parts: tuple[Any, ...] = (self._handover, self._departures, self._lists, self._aside, self._report)
        parts_quiescent = Cat(*(part.quiescent for part in parts)).all()
        m.d.comb += self.quiescent.eq(resting & ~restarted.any() & parts_quiescent)
        return m

    def _connect(self, m: Module) -> None:
        commands, segment, report = self.i_commands, self._segment, self._report
        for ours, theirs in zip(self.contexts, self._window.contexts, strict=True):
            wiring.connect(m, wiring.flipped(ours), theirs)
        for ours, *theirs in zip(self.states, self._handover.states, report.states, strict=True):
            wiring.connect(m, wiring.flipped(ours), *theirs)
        wiring.connect(m, wiring.flipped(self.o_job), self._handover.o_job)
        wiring.connect(m, wiring.flipped(self.o_list), self._lists.o_list)
        wiring.connect(m, wiring.flipped(self.left), self._departures.left)
        wiring.connect(m, wiring.flipped(self.o_event), report.o_event)
        wiring.connect(m, wiring.flipped(self.refusal), report.refusal)
        sources: tuple[Any, ...] = (self._departures, self._lists, self._aside)
        for source, sink in zip(sources, report.i_reports, strict=True):
            wiring.connect(m, source.o_report, sink)
        m.d.comb += [theirs.eq(word) for theirs, word in zip(segment.fresh_words, commands.words, strict=True)]
        for words in (self._check.words, self._lists.words):
            m.d.comb += [theirs.eq(word) for theirs, word in zip(words, segment.words, strict=True)]
        m.d.comb += [
            commands.select.eq(self._context),
            self._check.unreadable.eq(commands.unreadable),
            segment.context.eq(self._context),
            segment.resumed.eq(self._resumed),
            self._window.context.eq(self._context),
            self._turns.context.eq(self._context),
            self._departures.done.eq(self.o_job.done),
            self._departures.done_slot.eq(self.o_job.done_tag),
            self._departures.failed.eq(self.o_job.failed),
            self._departures.spoiled.eq(self._handover.spoiled),
            self._departures.spoiled_slot.eq(self._handover.spoiled_slot),
            self._departures.dropped.eq(self._handover.dropped),
            self.reserve.context.eq(self._context),
            self.reserve.release_valid.eq(report.release_valid),
            self.reserve.release_context.eq(report.release_context),
            self.reserve.release_epoch.eq(report.release_epoch),
            self.reserve.release_count.eq(1),
            self.retired.eq(report.retired),
            self.retired_context.eq(report.retired_context),
            self.retired_refused.eq(report.retired_refused),
        ]

    def _offer(self, m: Module) -> None:
        """Who may take a turn."""
        everyone = len(self._begun)
        occupied = self._lists.occupied | self._aside.occupied
        alive = Cat(*(state.active & ~state.restarted for state in self.states))
        offers = self._turns.offers
        m.d.comb += [
            self._turns.begun.eq(self._begun),
            self._turns.candidates.eq(self.i_commands.available & alive & ~self._begun & ~occupied),
            offers[Need.SENDER].eq(
                (self._handover.free & self._handover.lean & self._departures.room).replicate(everyone)
            ),
            offers[Need.ENTRY].eq(self.outstanding.free),
            offers[Need.PLACE].eq(self.room),
            offers[Need.ORDER].eq(self._departures.clear),
            offers[Need.ASIDE].eq(self._aside.free.replicate(everyone)),
        ]

    def _compose(self, m: Module) -> None:
        """What the turn would lead to: each of it is taken by its own strobe, or not."""
        command, segment, check, entry = self._command, self._segment, self._check, self.outstanding
        context = self._context
        epoch = Mux(self._resumed, segment.epoch, self._epoch)
        handle = Mux(self._resumed, segment.handle, Mux(check.answered, entry.handle, 0))
        generation = Mux(self._resumed, segment.generation, Mux(check.answered, entry.generation, 0))
        m.d.comb += [
            self._ended.eq(self._resumed & self._stopped.bit_select(context, 1)),
            self._final.eq(self._ended | self._aborted | segment.last),
            self._departures.over.eq(self._ended),
        ]
        m.d.comb += drive(
            self._handover.packet,
            **header_fields(command),
            resume=self._resumed,
            context=context,
            epoch=epoch,
            slot=self._departures.slot,
            address=self._address,
            payload_bytes=Mux(self._aborted, 0, segment.payload_bytes),
            segment_offset=segment.position,
            last=self._final,
            aborted=self._aborted,
            handle=handle,
            generation=generation,
        )
        m.d.comb += drive(segment, stored_handle=handle, stored_generation=generation, stored_epoch=epoch)
        m.d.comb += drive(
            self._departures.departure,
            **departure_fields(command),
            context=context,
            epoch=epoch,
            last=self._final,
            failed=self._ended | self._aborted,
            answered=check.answered,
            handle=handle,
            generation=generation,
        )
        m.d.comb += drive(
            entry,
            **entry_fields(command, check),
            context=context,
            epoch=self._epoch,
            command_word=segment.words[0],
        )
        m.d.comb += drive(self._lists, context=context, epoch=self._epoch, index=self.i_commands.index)
        self._compose_aside(m)

    def _compose_aside(self, m: Module) -> None:
        """The report of a command that is refused or changes a counter."""
        command = FieldsOf(COUNTER_COMMAND, list(self._segment.words))
        refused = self._reason != Refusal.NONE
        m.d.comb += drive(
            self._aside.report,
            context=self._context,
            epoch=self._epoch,
            index=self.i_commands.index,
            event=refused,
            refused=refused,
            fail=self._reason,
            user_data=command.user_data,
            counter_valid=~refused,
            counter_set=command.operation == Operation.COUNTER_SET,
            counter=command.counter,
            success=command.success,
            failure=command.failure,
        )

    def _stop_broken(self, m: Module) -> None:
        """A begun message one of whose packets has gone wrong is over for its receiver, too."""
        for happened, context in (
            (self._departures.broken, self._departures.broken_context),
            (self._handover.spoiled, self._handover.spoiled_context),
        ):
            with m.If(happened & self._begun.bit_select(context, 1)):
                m.d.sync += self._stopped.bit_select(context, 1).eq(1)

    # ---- one turn ----

    def _proceed(self, m: Module) -> Value:
        """From the choice of a context to what its turn leads to. Returns whether no turn is under way or due.

        Only a window is looked at here for a message that goes on; whether its context lives, when it is handed over.
        """
        turns, check, segment, window, command = self._turns, self._check, self._segment, self._window, self._command
        active = select([state.active for state in self.states], self._context)
        restarted = select([state.restarted for state in self.states], self._context)
        stale = Signal()
        was_stale = Signal()
        m.d.comb += stale.eq(was_stale | restarted)
        with m.FSM(name="issue") as turn:
            with m.State("Await-Turn"):
                m.d.comb += turns.take.eq(turns.any)
                with m.If(turns.any):
                    m.d.sync += [
                        self._context.eq(turns.choice),
                        self._resumed.eq(self._begun.bit_select(turns.choice, 1)),
                        self._looking.eq(turns.looking),
                        was_stale.eq(0),
                    ]
                    m.next = "Select-Command"
            with m.State("Select-Command"):
                m.d.comb += segment.read.eq(1)
                m.d.sync += self._epoch.eq(select([state.epoch for state in self.states], self._context))
                m.next = "Read-Command"
            with m.State("Read-Command"):
                m.d.comb += [check.start.eq(1), segment.measure.eq(1)]
                m.d.comb += [window.start.eq(1), window.window.eq(command.local_window)]
                m.next = "Check-Window"
            with m.State("Check-Window"):
                self._check_window(m)
            with m.State("Check-Reply-Window"):
                m.d.comb += [window.offset.eq(command.get_offset), window.bytes.eq(command.length_bytes)]
                m.d.sync += self._reason.eq(
                    Mux(window.inside & window.local_write, Refusal.NONE, Refusal.COMMAND_WINDOW)
                )
                m.next = "Claim-Resources"
            with m.State("Claim-Resources"):
                self._claim(m, stale)
            with m.State("Begin"):
                with m.If(~stale & (self._resumed | active)):
                    self._begin(m)
                m.next = "Await-Turn"
        with m.If(~turn.ongoing("Await-Turn")):
            m.d.sync += was_stale.eq(stale)
        return turn.ongoing("Await-Turn") & ~turns.any

    def _check_window(self, m: Module) -> None:
        check, segment, window, command = self._check, self._segment, self._window, self._command
        right = Mux(command.operation == Operation.GET, window.local_write, window.local_read)
        allowed = Signal()
        m.d.comb += [
            window.offset.eq(segment.offset),
            window.bytes.eq(segment.bytes),
            # Looked up whether or not there is a range of its own: which window it is must not wait for this verdict.
            window.start.eq(1),
            window.window.eq(command.get_window),
            allowed.eq((window.inside & right) | (command.length_bytes == 0)),
        ]
        m.d.sync += [
            self._address.eq(window.address),
            self._reason.eq(check.reason),
            self._aborted.eq(self._resumed & ~allowed),
        ]
        m.next = "Claim-Resources"
        with m.If(self._resumed):
            m.next = "Begin"
        with m.Elif((check.reason == Refusal.NONE) & check.sends):
            with m.If(~allowed):
                m.d.sync += self._reason.eq(Refusal.COMMAND_WINDOW)
            with m.Elif(check.fetches_apart):
                m.next = "Check-Reply-Window"

    def _claim(self, m: Module, stale: Signal) -> None:
        """All that a fresh command needs, places in the event queue last: nothing else can be lost again.

        Of two places one is taken first if there is only one, and kept: `room` says no more than whether there is any.
        """
        turns, check = self._turns, self._check
        accepted = Signal()
        sends, lists = Signal(), Signal()
        lacking = Signal()
        wanted = Signal(2)
        one = Signal()  # at a time
        m.d.comb += [
            accepted.eq(self._reason == Refusal.NONE),
            sends.eq(accepted & check.sends),
            lists.eq(accepted & check.lists),
            lacking.eq(1),
            wanted.eq(1 + (sends & check.answer_event) - self._held.bit_select(self._context, 1)),
        ]
        with m.If(sends & self._looking):
            m.d.comb += turns.need.eq(Need.SENDER)
        with m.Elif(sends & check.answered & ~self._offered(Need.ENTRY)):
            m.d.comb += turns.need.eq(Need.ENTRY)
        with m.Elif(~sends & ~self._offered(Need.ORDER)):
            m.d.comb += turns.need.eq(Need.ORDER)
        with m.Elif(~sends & ~lists & ~self._offered(Need.ASIDE)):
            m.d.comb += turns.need.eq(Need.ASIDE)
        with m.Else():
            m.d.comb += lacking.eq(0)

        with m.If(stale):
            m.d.sync += one.eq(0)
            m.next = "Await-Turn"
        with m.Elif(lacking):
            m.d.comb += turns.lacking.eq(1)
            m.next = "Await-Turn"
        with m.Elif(wanted == 0):
            m.next = "Begin"
        with m.Else():
            m.d.comb += [self.reserve.valid.eq(1), self.reserve.count.eq(Mux(one, 1, wanted))]
            with m.If(self.reserve.ready):
                m.d.sync += one.eq(~self.reserve.room & (self.reserve.count == 2))
                with m.If(self.reserve.room & (self.reserve.count == wanted)):
                    m.next = "Begin"
                with m.Elif(self.reserve.count == 1):
                    m.d.comb += [turns.lacking.eq(1), turns.need.eq(Need.PLACE)]
                    m.d.sync += self._held.bit_select(self._context, 1).eq(
                        self.reserve.room | self._held.bit_select(self._context, 1)
                    )
                    m.next = "Await-Turn"

    def _offered(self, need: Need) -> Value:
        return self._turns.offers[need].bit_select(self._context, 1)

    def _begin(self, m: Module) -> None:
        """Nothing can hinder it any more: a packet is made, or the command takes its way aside."""
        accepted = self._reason == Refusal.NONE
        sends = self._resumed | (accepted & self._check.sends)
        lists = ~sends & accepted & self._check.lists
        m.d.comb += [
            self._handover.load.eq(sends & ~self._ended),
            self._departures.push.eq(sends),
            self.outstanding.valid.eq(sends & ~self._resumed & self._check.answered),
            self._segment.store.eq(sends & ~self._final),
            self._lists.load.eq(lists),
            self._aside.load.eq(~sends & ~lists),
            self.i_commands.take.eq(~self._resumed),
        ]
        m.d.sync += self._begun.bit_select(self._context, 1).eq(sends & ~self._final)
        with m.If(sends & self._final):
            m.d.sync += self._stopped.bit_select(self._context, 1).eq(0)
        with m.If(~self._resumed):
            m.d.sync += self._held.bit_select(self._context, 1).eq(0)
