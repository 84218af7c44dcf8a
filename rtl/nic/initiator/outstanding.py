"""Requests that wait for a response: what is kept of each, and under which handle the response finds it."""

from amaranth import Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.nic.arbitration import next_in_turn
from rtl.nic.interfaces import (
    ADDRESS_WIDTH,
    CONTEXT_WIDTH,
    EPOCH_WIDTH,
    LENGTH_WIDTH,
    ContextState,
    FieldsOf,
    OutstandingPort,
    select,
)
from rtl.nic.parameters import NicParameters
from rtl.portals import COMMAND, FETCHING_OPERATIONS

GENERATION_WIDTH = 8
SLOT_WIDTH = 6  # of a context's entries

# What a response needs to know of its request. `fetching`: the response is a REPLY, else an ACK; the others are the
# command's.
ENTRY = data.StructLayout(
    {
        "dst_nid": 16,
        "dst_pid": 16,
        "window": 8,
        "offset": ADDRESS_WIDTH,
        "bytes": LENGTH_WIDTH,
        "user_data": 64,
        "fetching": 1,
        "counter": 8,
        "ack_request": 2,
        "event_success_disable": 1,
        "ct_ack": 1,
        "ct_reply": 1,
        "ct_bytes": 1,
    }
)
_OF_REQUEST = ("dst_nid", "dst_pid", "window", "offset", "bytes", "user_data")
_OF_COMMAND = ("counter", "ack_request", "event_success_disable", "ct_ack", "ct_reply", "ct_bytes")
_USE = data.StructLayout({"generation": GENERATION_WIDTH, "waiting": 1})


def entry_address(parameters: NicParameters, context: Value, slot: Value) -> Value:
    """Of a slot in a table of all entries; what a slot claims beyond its bits stays in its context's part."""
    slot_bits = (parameters.outstanding - 1).bit_length()
    return Cat(slot[:slot_bits], context)[: (parameters.handles - 1).bit_length()]


class EntryPort(wiring.Signature):
    """Looks up, closes and frees entries, seen from the block that collects responses.

    `look` at entry `slot` of `context` (a slot is a claim, a context is not), which both hold until the entry is done
    with, is answered from the next cycle on: `entry` and `generation` stay until the next look. `waiting` tells cycle
    by cycle whether the entry was made in this life of the context and had not been closed when it was looked at.
    `close` of a waiting entry holds until `close_ready`, and then it waits no more. `free` is a pulse, once after each
    `close`: `free_slot` of `free_context` may be used again, if it was made in life `free_epoch` and that still lasts.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "look": Out(1),
                "context": Out(CONTEXT_WIDTH),
                "slot": Out(SLOT_WIDTH),
                "entry": In(ENTRY),
                "generation": In(GENERATION_WIDTH),
                "waiting": In(1),
                "close": Out(1),
                "close_ready": In(1),
                "free": Out(1),
                "free_context": Out(CONTEXT_WIDTH),
                "free_slot": Out(SLOT_WIDTH),
                "free_epoch": Out(EPOCH_WIDTH),
            }
        )


class Outstanding(wiring.Component):
    """Entries in memory of the NIC; each context has one ready to be made, which is found again in four cycles.

    A handle is context * outstanding + slot. A slot's generation counts its uses modulo 256 through all lives of its
    context. A context's restart forgets its entries at once: slots that this life has not given out yet don't wait,
    and are given out in order before those that came back.
    """

    def __init__(self, parameters: NicParameters) -> None:
        self._parameters = parameters
        self._slot_bits = (parameters.outstanding - 1).bit_length()
        super().__init__(
            {
                "states": In(ContextState()).array(parameters.contexts),
                "allocate": In(OutstandingPort(parameters.contexts)),
                "lookup": In(EntryPort()),
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
        self._next_slots = [Signal(SLOT_WIDTH, name=f"next_slot_{index}") for index in contexts]
        self._next_generations = [Signal(GENERATION_WIDTH, name=f"next_generation_{index}") for index in contexts]

        handles = self._parameters.handles
        m.submodules.entries = self._entries = Memory(shape=ENTRY, depth=handles, init=[])
        m.submodules.uses = self._uses = Memory(shape=_USE, depth=handles, init=[])
        m.submodules.returns = self._returns = Memory(shape=unsigned(SLOT_WIDTH), depth=handles, init=[])
        self._make(m)
        self._look(m)
        self._free(m)
        choosing = self._choose_next(m)
        with m.If(self._restarted.any()):
            for index in contexts:
                with m.If(self._restarted[index]):
                    counters = (self._begun[index], self._returned[index], self._reused[index])
                    m.d.sync += [*(counter.eq(0) for counter in counters), self.allocate.free[index].eq(0)]
        lookup = self.lookup
        touched = lookup.look | lookup.close | lookup.free | self.allocate.valid
        m.d.comb += self.quiescent.eq(~(self._restarted.any() | touched | choosing))
        return m

    def _make(self, m: Module) -> None:
        """Makes the entry that is ready for the context that asks, unless a restart has outrun the request."""
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
            lookup.waiting.eq(
                use.data.waiting
                & (lookup.slot < select(self._begun, lookup.context))
                & ~select(list(self._restarted), lookup.context)
            ),
        ]

    def _free(self, m: Module) -> None:
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
