"""Fetches the commands that processes have put into the rings of their contexts, ahead of their being carried out."""

from amaranth import Array, C, Cat, Module, Mux, Signal, Value
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from rtl.nic.arbitration import next_in_turn
from rtl.nic.expressions import select, slot_address
from rtl.nic.interfaces.context import context_ports
from rtl.nic.interfaces.host import ReadPort
from rtl.nic.interfaces.initiator import CommandPort
from rtl.nic.interfaces.widths import COMMAND_WORDS, CONTEXT_WIDTH, EPOCH_WIDTH
from rtl.nic.parameters import NicParameters
from rtl.portals import COMMAND
from rtl.records import WORD_BYTES

READS = 8  # asked for and not yet answered, of all contexts together


class Fetch(wiring.Component):
    """Keeps up to `prefetch` commands of each context; contexts in turn.

    `pending` has a bit for each context that is active and has commands that were not fetched. `fetched` (with
    `fetched_context`) pulses once per command, when its place in the ring has been looked up; `pending` and the
    context's `command_fetched` show it in the next cycle. The words are read from memory once; everybody downstream
    sees the same copy. A command is available in the cycle in which the last of it comes, so its words can be selected
    from the next cycle on. A restart empties the context's buffer, and what memory still owes to its former life is
    dropped.
    """

    def __init__(self, parameters: NicParameters) -> None:
        self._parameters = parameters
        super().__init__(
            {
                **context_ports(parameters),
                "pending": In(parameters.contexts),
                "fetched": Out(1),
                "fetched_context": Out(CONTEXT_WIDTH),
                "read": Out(ReadPort(parameters.datapath_bits)),
                "o_commands": Out(CommandPort(parameters.contexts)),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        contexts, prefetch = self._parameters.contexts, self._parameters.prefetch
        # Of each context: commands asked for and not taken, those of them that have come, where the oldest one lies.
        ordered = [Signal(range(prefetch + 1), name=f"ordered_{number}") for number in range(contexts)]
        stored = [Signal(range(prefetch + 1), name=f"stored_{number}") for number in range(contexts)]
        oldest = [Signal(range(prefetch), name=f"oldest_{number}") for number in range(contexts)]
        arriving = Signal(CONTEXT_WIDTH)
        arrived = Signal()
        kept = Signal()

        asking, waiting = self._request(m, ordered)
        self._follow(m, waiting, arriving, arrived, kept)
        settled = self._number(m, ordered) & self._keep(m, stored, oldest, arriving, arrived & kept)
        for number, state in enumerate(self.states):
            orders = self.fetched & (self.fetched_context == number)
            stores = arrived & kept & (arriving == number)
            takes = self.o_commands.take & (self.o_commands.select == number)
            m.d.comb += self.o_commands.available[number].eq(stored[number].any() | stores)
            with m.If(state.restarted):
                m.d.sync += [count.eq(0) for count in (ordered[number], stored[number], oldest[number])]
            with m.Else():
                m.d.sync += [
                    ordered[number].eq(ordered[number] + orders - takes),
                    stored[number].eq(stored[number] + stores - takes),
                    oldest[number].eq(oldest[number] + takes),
                ]
        restarting = Cat(*(state.restarted for state in self.states)).any()
        m.d.comb += self.quiescent.eq(~(asking | waiting.any() | restarting | self.o_commands.take) & settled)
        return m

    def _request(self, m: Module, ordered: list[Signal]) -> tuple[Value, Signal]:
        """Asks memory for commands. Returns whether it is about to, and the number of reads under way."""
        read = self.read
        context = Signal(range(max(self._parameters.contexts, 2)))
        waiting = Signal(range(READS + 1))
        wanted = Signal(self._parameters.contexts)
        asking = Signal()
        for number, (count, state) in enumerate(zip(ordered, self.states, strict=True)):
            room = count != self._parameters.prefetch
            m.d.comb += wanted[number].eq(self.pending[number] & room & ~state.restarted)
        following = next_in_turn(m, wanted, context)
        m.d.comb += [
            read.bytes.eq(COMMAND.length_bytes),
            self.fetched_context.eq(following),
        ]
        with m.FSM(name="request"):
            with m.State("Await-Doorbell"):
                m.d.comb += [asking.eq(wanted.any() & (waiting != READS)), self.fetched.eq(asking)]
                with m.If(asking):
                    m.d.sync += [context.eq(following), read.address.eq(self._locate(following))]
                    m.next = "Request-Command"
            with m.State("Request-Command"):
                m.d.comb += [asking.eq(1), read.valid.eq(1)]
                with m.If(read.ready):
                    m.next = "Await-Doorbell"
        return asking, waiting

    def _locate(self, context: Value) -> Value:
        return slot_address(
            select([registers.command_base for registers in self.contexts], context),
            select([state.command_fetched for state in self.states], context),
            select([registers.command_log2 for registers in self.contexts], context),
        )

    def _number(self, m: Module, ordered: list[Signal]) -> Value:
        """The index of the oldest command of the context that was selected in the last cycle. Returns whether it is
        still selected."""
        commands = self.o_commands
        selected = Signal(CONTEXT_WIDTH)
        m.d.sync += selected.eq(commands.select)
        fetched = select([state.command_fetched for state in self.states], selected)
        m.d.comb += commands.index.eq(fetched - select(list(ordered), selected))
        return selected == commands.select

    def _follow(self, m: Module, waiting: Signal, arriving: Signal, arrived: Signal, kept: Signal) -> None:
        """Whose read is the next that memory answers, and whether it belongs to the context's present life."""
        contexts = Array(Signal(CONTEXT_WIDTH, name=f"read_context_{number}") for number in range(READS))
        epochs = Array(Signal(EPOCH_WIDTH, name=f"read_epoch_{number}") for number in range(READS))
        newest, oldest = Signal(range(READS)), Signal(range(READS))
        state_epochs = [state.epoch for state in self.states]
        restarted = select([state.restarted for state in self.states], arriving)
        m.d.comb += [
            arrived.eq(self.read.data_valid & self.read.data_last),
            arriving.eq(contexts[oldest]),
            kept.eq((epochs[oldest] == select(state_epochs, arriving)) & ~restarted),
        ]
        m.d.sync += waiting.eq(waiting + self.fetched - arrived)
        with m.If(self.fetched):
            m.d.sync += [
                contexts[newest].eq(self.fetched_context),
                epochs[newest].eq(select(state_epochs, self.fetched_context)),
                newest.eq(newest + 1),
            ]
        with m.If(arrived):
            m.d.sync += oldest.eq(oldest + 1)

    def _keep(self, m: Module, stored: list[Signal], oldest: list[Signal], arriving: Signal, complete: Value) -> Value:
        """Commands in memory of the NIC. Returns whether what is read from it stays as it is."""
        width, prefetch = self._parameters.datapath_bits, self._parameters.prefetch
        flits = COMMAND_WORDS * WORD_BYTES * 8 // width
        depth = self._parameters.contexts * prefetch
        m.submodules.words = words = memory.Memory(shape=COMMAND_WORDS * 64, depth=depth, init=[])
        m.submodules.errors = errors = memory.Memory(shape=1, depth=depth, init=[])
        words_write, words_read = words.write_port(granularity=width), words.read_port()
        errors_write, errors_read = errors.write_port(), errors.read_port()

        data = self.read
        flit = Signal(range(flits))
        failed = Signal()
        slot = Signal(range(prefetch))
        with m.If(data.data_valid):
            m.d.sync += [flit.eq(flit + 1), failed.eq((failed | data.data_error) & ~data.data_last)]
        m.d.comb += [
            slot.eq(select(oldest, arriving) + select(stored, arriving)),
            words_write.addr.eq(Cat(slot, arriving)),
            words_write.data.eq(Cat(*[data.data] * flits)),
            words_write.en.eq(Mux(data.data_valid, C(1, flits) << flit, 0)),
            errors_write.addr.eq(Cat(slot, arriving)),
            errors_write.data.eq(failed | data.data_error),
            errors_write.en.eq(complete),
        ]

        commands = self.o_commands
        shown = Signal.like(words_read.addr)
        written = Signal()
        m.d.comb += [
            words_read.addr.eq(Cat(select(oldest, commands.select), commands.select)),
            errors_read.addr.eq(words_read.addr),
            commands.unreadable.eq(errors_read.data),
        ]
        m.d.comb += [
            word.eq(Mux(errors_read.data, 0, words_read.data.word_select(number, 64)))
            for number, word in enumerate(commands.words)
        ]
        m.d.sync += [shown.eq(words_read.addr), written.eq(data.data_valid)]
        return (shown == words_read.addr) & ~written & ~data.data_valid
