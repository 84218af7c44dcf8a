"""Requests that wait for a response: what is kept of each, and under which handle the response finds it."""

from amaranth import Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.nic.arbitration import next_in_turn
from rtl.nic.expressions import FieldsOf, select
from rtl.nic.initiator.deadlines import Deadlines
from rtl.nic.initiator.entries import ENTRY, SLOT_WIDTH, EntryPort, ExpiryPort, entry_address
from rtl.nic.interfaces.context import ContextState
from rtl.nic.interfaces.initiator import LeftPort, OutstandingPort
from rtl.nic.interfaces.widths import GENERATION_WIDTH, TIMEOUT_WIDTH
from rtl.nic.parameters import NicParameters
from rtl.portals import COMMAND, FETCHING_OPERATIONS

_OF_REQUEST = ("dst_nid", "dst_pid", "window", "offset", "bytes", "user_data")
_OF_COMMAND = ("counter", "ack_request", "event_success_disable", "ct_ack", "ct_reply", "ct_bytes")
_USE = data.StructLayout({"generation": GENERATION_WIDTH, "waiting": 1})


class Outstanding(wiring.Component):
    """Entries in memory of the NIC; each context has one ready to be made, which is found again in four cycles.

    A handle is context * outstanding + slot. A slot's generation counts its uses modulo 256 through all lives of its
    context. A context's restart forgets its entries at once: slots that this life has not given out yet don't wait,
    and are given out in order before those that came back.

    With a `timeout`, and while an active context has an entry, those that have waited for so many cycles after their
    request has `left`, or after a packet of their reply has come, are offered as `expiry` before they have waited for
    twice as many.
    """

    def __init__(self, parameters: NicParameters) -> None:
        self._parameters = parameters
        self._slot_bits = (parameters.outstanding - 1).bit_length()
        super().__init__(
            {
                "states": In(ContextState()).array(parameters.contexts),
                "allocate": In(OutstandingPort(parameters.contexts)),
                "left": In(LeftPort()),
                "timeout": In(TIMEOUT_WIDTH),
                "lookup": In(EntryPort()),
                "expiry": Out(ExpiryPort()),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        contexts = range(self._parameters.contexts)
        self._restarted = Cat(state.restarted for state in self.states)
        self._epochs = [state.epoch for state in self.states]
        # Of each context: slots given out for the first time in this life; slots that came back, and how many of them
        # were given out again, modulo twice their number.
        self._begun = [Signal(self._slot_bits + 1, name=f"begun_{index}") for index in contexts]
        self._returned = [Signal(self._slot_bits + 1, name=f"returned_{index}") for index in contexts]
        self._reused = [Signal(self._slot_bits + 1, name=f"reused_{index}") for index in contexts]
        # Of each context: entries made and not freed.
        self._in_use = [Signal(self._slot_bits + 1, name=f"in_use_{index}") for index in contexts]
        self._next_slots = [Signal(SLOT_WIDTH, name=f"next_slot_{index}") for index in contexts]
        self._next_generations = [Signal(GENERATION_WIDTH, name=f"next_generation_{index}") for index in contexts]

        handles = self._parameters.handles
        m.submodules.entries = self._entries = Memory(shape=ENTRY, depth=handles, init=[])
        m.submodules.uses = self._uses = Memory(shape=_USE, depth=handles, init=[])
        m.submodules.returns = self._returns = Memory(shape=unsigned(SLOT_WIDTH), depth=handles, init=[])
        m.submodules.deadlines = self._deadlines = Deadlines(self._parameters)
        made, freed = self._make(m), self._free(m)
        for index in contexts:
            up = made & (self.allocate.context == index)
            down = freed & (self.lookup.free_context == index)
            m.d.sync += self._in_use[index].eq(self._in_use[index] + up - down)
        self._look(m)
        self._watch(m)
        choosing = self._choose_next(m)
        with m.If(self._restarted.any()):
            for index in contexts:
                with m.If(self._restarted[index]):
                    counters = (self._begun[index], self._returned[index], self._reused[index], self._in_use[index])
                    m.d.sync += [*(counter.eq(0) for counter in counters), self.allocate.free[index].eq(0)]
        lookup = self.lookup
        touched = lookup.look | lookup.close | lookup.touch | lookup.free | self.allocate.valid | self.left.valid
        m.d.comb += self.quiescent.eq(~(self._restarted.any() | touched | choosing) & self._deadlines.quiescent)
        return m

    def _make(self, m: Module) -> Signal:
        """Makes the entry that is ready for the context that asks, unless a restart has outrun the request: returns
        whether it does."""
        allocate = self.allocate
        slot = select(self._next_slots, allocate.context)
        generation = select(self._next_generations, allocate.context)
        made = Signal()
        m.d.comb += [
            allocate.handle.eq(Cat(slot[: self._slot_bits], allocate.context)),
            allocate.generation.eq(generation),
            made.eq(allocate.valid & (select(self._epochs, allocate.context) == allocate.epoch)),
        ]
        for index in range(self._parameters.contexts):
            with m.If(made & (allocate.context == index)):
                m.d.sync += allocate.free[index].eq(0)
                with m.If(slot == self._begun[index]):
                    m.d.sync += self._begun[index].eq(self._begun[index] + 1)

        command = FieldsOf(COMMAND, [allocate.command_word])
        write = self._entries.write_port()
        entry = data.View(ENTRY, write.data.as_value())
        m.d.comb += [
            write.en.eq(made),
            write.addr.eq(entry_address(self._parameters, allocate.context, slot)),
            *(entry[name].eq(getattr(allocate, name)) for name in _OF_REQUEST),
            *(entry[name].eq(getattr(command, name)) for name in _OF_COMMAND),
            entry.fetching.eq(command.operation.matches(*FETCHING_OPERATIONS)),
        ]
        # One write port serves both ends of a use: making goes first, closing can wait.
        lookup = self.lookup
        use = self._uses.write_port()
        m.d.comb += [
            lookup.close_ready.eq(~allocate.valid),
            use.en.eq(made | (lookup.close & lookup.close_ready)),
            use.addr.eq(Mux(allocate.valid, write.addr, entry_address(self._parameters, lookup.context, lookup.slot))),
            use.data.generation.eq(Mux(allocate.valid, generation, lookup.generation)),
            use.data.waiting.eq(allocate.valid),
        ]
        return made

    def _look(self, m: Module) -> None:
        lookup = self.lookup
        entry = self._entries.read_port()
        use = self._uses.read_port()
        for port in (entry, use):
            m.d.comb += [
                port.en.eq(lookup.look),
                port.addr.eq(entry_address(self._parameters, lookup.context, lookup.slot)),
            ]
        m.d.comb += [
            lookup.entry.eq(entry.data),
            lookup.generation.eq(use.data.generation),
            lookup.waiting.eq(self._is_waiting(use.data, lookup.context, lookup.slot)),
        ]

    def _is_waiting(self, use: data.View, context: Value, slot: Value) -> Value:
        """Whether a use that was read is one of this life."""
        in_life = (slot < select(self._begun, context)) & ~select(list(self._restarted), context)
        return use.waiting & in_life

    def _watch(self, m: Module) -> None:
        """Stamps what has left or what is touched, in this order, and lets the walk see who waits."""
        lookup, left, deadlines = self.lookup, self.left, self._deadlines
        use = self._uses.read_port()
        active = [state.active for state in self.states]
        present = select(self._epochs, left.context) == left.epoch
        wiring.connect(m, deadlines.expiry, wiring.flipped(self.expiry))
        m.d.comb += [
            lookup.touch_ready.eq(~left.valid),
            deadlines.timeout.eq(self.timeout),
            deadlines.awaited.eq(Cat(used.any() & on for used, on in zip(self._in_use, active, strict=True)).any()),
            deadlines.stamp.eq(Mux(left.valid, present, lookup.touch)),
            deadlines.stamp_context.eq(Mux(left.valid, left.context, lookup.context)),
            deadlines.stamp_slot.eq(Mux(left.valid, left.handle[: self._slot_bits], lookup.slot)),
            deadlines.stamp_generation.eq(Mux(left.valid, left.generation, lookup.generation)),
            deadlines.look.eq(lookup.look),
            deadlines.context.eq(lookup.context),
            deadlines.slot.eq(lookup.slot),
            deadlines.generation.eq(lookup.generation),
            lookup.overdue.eq(deadlines.overdue),
            use.en.eq(deadlines.walk),
            use.addr.eq(entry_address(self._parameters, deadlines.walk_context, deadlines.walk_slot)),
            deadlines.walked_generation.eq(use.data.generation),
            deadlines.walked_waiting.eq(self._is_waiting(use.data, deadlines.walk_context, deadlines.walk_slot)),
        ]

    def _free(self, m: Module) -> Value:
        """Takes back what is freed, unless its life is over: returns whether it is taken."""
        lookup = self.lookup
        write = self._returns.write_port()
        place = select(self._returned, lookup.free_context)
        alive = select(self._epochs, lookup.free_context) == lookup.free_epoch
        m.d.comb += [
            write.en.eq(lookup.free & alive),
            write.addr.eq(entry_address(self._parameters, lookup.free_context, place)),
            write.data.eq(lookup.free_slot),
        ]
        for index, returned in enumerate(self._returned):
            with m.If(write.en & (lookup.free_context == index)):
                m.d.sync += returned.eq(returned + 1)
        return write.en

    def _choose_next(self, m: Module) -> Signal:
        """Finds each context's next entry, context after context; returns high while there is something to do."""
        contexts = range(self._parameters.contexts)
        needs = Signal(len(contexts))
        chosen = Signal(range(max(len(contexts), 2)))
        following = next_in_turn(m, needs, chosen)
        slot = Signal(SLOT_WIDTH)
        fresh = Signal()
        returned = self._returns.read_port()
        use = self._uses.read_port()
        busy = Signal(init=1)  # in all states but one
        for index in contexts:
            unused = self._begun[index] != self._parameters.outstanding
            m.d.comb += needs[index].eq(
                ~self.allocate.free[index] & (unused | (self._returned[index] != self._reused[index]))
            )
        begun = select(self._begun, chosen)
        m.d.comb += [
            returned.addr.eq(entry_address(self._parameters, following, select(self._reused, following))),
            use.addr.eq(
                entry_address(
                    self._parameters, chosen, Mux(begun != self._parameters.outstanding, begun, returned.data)
                )
            ),
            returned.en.eq(0),
            use.en.eq(0),
        ]
        with m.FSM(name="next_entry"):
            with m.State("Await-Need"):
                m.d.comb += [busy.eq(needs.any()), returned.en.eq(needs.any())]
                with m.If(needs.any()):
                    m.d.sync += chosen.eq(following)
                    m.next = "Read-Generation"
            with m.State("Read-Generation"):
                m.d.comb += use.en.eq(1)
                m.d.sync += fresh.eq(begun != self._parameters.outstanding)
                m.d.sync += slot.eq(Mux(begun != self._parameters.outstanding, begun, returned.data))
                m.next = "Offer-Entry"
                with m.If(select(list(self._restarted), chosen)):
                    m.next = "Await-Need"
            with m.State("Offer-Entry"):
                for index in contexts:
                    with m.If(chosen == index):
                        m.d.sync += [
                            self._next_slots[index].eq(slot),
                            self._next_generations[index].eq(use.data.generation + 1),
                            self._reused[index].eq(Mux(fresh, self._reused[index], self._reused[index] + 1)),
                            self.allocate.free[index].eq(1),
                        ]
                m.next = "Await-Need"
        return busy
