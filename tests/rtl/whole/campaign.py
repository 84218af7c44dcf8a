"""Random traffic in phases: in each one everything overlaps as the hardware likes, and at its end all is compared."""

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace

from rtl.nic.parameters import NicParameters
from rtl.portals import EventKind, Fail, List, Operation
from tests.golden.context import Right, Window
from tests.golden.context import Settings as ContextSettings
from tests.golden.lists import EntryState, Lists
from tests.rtl.whole.board import QUEUE_LOG2, WINDOW_BYTES, WINDOWS, Board, Place, Who, usual
from tests.rtl.whole.compare import Comparison, Order
from tests.rtl.whole.coverage import Coverage
from tests.rtl.whole.interrupts import Interrupts
from tests.rtl.whole.junk import Junk
from tests.rtl.whole.simulator import OKAY, Settings
from tests.rtl.whole.traffic import CHANGING_RIGHTS, CHANGING_WINDOW, Role, Traffic

JOBS = (7, 8)
TIGHT_LOG2 = 2
MOST_COMMANDS = 10
MOST_VICTIMS = 3
POLLED = ("COMMAND_HEAD", "EVENT_TAIL", "DROPPED")
RACES = Role.RACES.value[0]
LOSSES = (0, 16, 64)  # chances in 256 of each packet
# Longer than anything waits that comes, however much is under way before it.
PATIENCE_CYCLES, PATIENCE_CYCLES_PER_BYTE = 6_000, 20

Plan = dict[Who, list[list[int]]]


def _receiver_bits(who: Who) -> int:
    """What the match bits of messages that race at a context have in common."""
    return (who[0] << 8) + who[1]


class Campaign:
    """Nodes, their models, and one random generator that decides everything."""

    def __init__(self, parameters: NicParameters, seed: int, coverage: Coverage) -> None:
        self.chooser = random.Random(seed)
        self.board = Board(parameters, Settings(seed=seed))
        self.parameters = parameters
        self.comparison = Comparison(self.board)
        self.coverage = coverage
        self.phases: Counter[str] = Counter()
        self.name = ""  # of the phase under way
        self._stalls = Settings()
        self._traffic = Traffic(self.parameters, self.chooser)
        self._junk = Junk(self.parameters, self.chooser)
        self._interrupts = Interrupts(self.board, self.chooser)
        everybody = self.board.everybody
        self._jobs = {who: self.chooser.choice(JOBS) if who[1] >= 2 else JOBS[0] for who in everybody}
        # Only initiators, with hardly any room for events: what arrives for them finds no portal.
        self._tight = {who for who in everybody if who[1] == 1 and self.chooser.randrange(3) == 0}
        for who in everybody:
            self._fill(who)
            self._start(who)

    def _start(self, who: Who) -> None:
        """Begins a life of a context that is off."""
        self.comparison.start(who, self._settings_of(who), **self._interrupts.choose(who))
        self._interrupts.begin(who)

    def _settings_of(self, who: Who) -> ContextSettings:
        settings = usual(who[1], jid=self._jobs[who], event_log2=TIGHT_LOG2 if who in self._tight else QUEUE_LOG2)
        windows = [*settings.windows]
        windows[CHANGING_WINDOW] = self._changed_window(who)
        return replace(settings, windows=windows)

    def _changed_window(self, who: Who) -> Window:
        choose = self.chooser
        return Window(
            base=Place(who[1]).window(CHANGING_WINDOW),
            length=choose.choice([0, WINDOW_BYTES // 2, WINDOW_BYTES, WINDOW_BYTES]),
            rights=choose.choice(CHANGING_RIGHTS),
        )

    def _fill(self, who: Who) -> None:
        for window in range(WINDOWS):
            self.comparison.fill(who[0], Place(who[1]).window(window), self.chooser.randbytes(WINDOW_BYTES))

    def close(self) -> None:
        self.board.simulator.close()

    # ---- phases ----

    def phase(self) -> None:
        """One phase of random kind. DifferenceError if hardware and model disagree."""
        kinds: Mapping[str, tuple[int, Callable[[], None]]] = {
            "lists": (3, self._lists),
            "messages": (5, self._messages),
            "scarcity": (2, self._scarcity),
            "races": (3, self._races),
            "junk": (2, self._forgeries),
            "lives": (2, self._lives),
            "silence": (2, self._silence),
        }
        weights = [weight for weight, _ in kinds.values()]
        name = self.chooser.choices(list(kinds), weights)[0] if self.phases else "lists"
        self.phases[name] += 1
        self.name = name
        self._change_stalls()
        kinds[name][1]()
        self._renew()

    def _change_stalls(self) -> None:
        choose = self.chooser
        memory, fabric, bus = (choose.choice([0, 0, 60, 180, 230]) for _ in range(3))
        self.coverage.stalls(memory=memory > 0, fabric=fabric > 0)
        self._stalls = Settings(
            read_latency=choose.choice([1, 5, 20, 100]),
            write_latency=choose.choice([1, 5, 10, 100]),
            memory_stall=memory,
            fabric_stall=fabric,
            bus_stall=bus,
            transit=choose.choice([1, 10, 200]),
        )
        self.board.simulator.change(self._stalls)

    def _renew(self) -> None:
        """New lives for contexts that wait for what cannot come any more, and now and then for others."""
        for who in self.board.everybody:
            if self.comparison.is_stuck(who) or self.chooser.randrange(200) == 0:
                self.comparison.stop(who)
                self._start(who)

    def _run(
        self, plan: Plan, disturb: Callable[[], None] = lambda: None, times: int = 0, victims: Set[Who] = frozenset()
    ) -> dict[Who, list[dict[str, int]]]:
        """Rings all doorbells, at any time and in any order; disturbs so often; consumes events; until everything has
        come to rest. Doorbells of `victims` may be refused."""
        simulator, choose = self.board.simulator, self.chooser
        told: dict[Who, list[dict[str, int]]] = {who: [] for who in self.board.everybody}
        consumers = [who for who in self.board.everybody if who not in victims]
        doorbells = []
        for who, commands in plan.items():
            cuts = sorted(choose.randrange(len(commands) + 1) for _ in range(choose.randrange(3)))
            parts = [commands[a:b] for a, b in zip([0, *cuts], [*cuts, len(commands)], strict=True)]
            doorbells.append([(who, part) for part in parts if part])
        while doorbells := [left for left in doorbells if left]:
            who, part = choose.choice(doorbells).pop(0)
            self.comparison.write_ring(who, *part)
            assert self.board.ring(who, wait=choose.randrange(2) == 0) == OKAY or who in victims
            if choose.randrange(2):
                simulator.run(choose.choice([1, 10, 100, 500]))
            if times and choose.randrange(2):
                times -= 1
                disturb()
            if choose.randrange(8) == 0:
                for _ in range(4):
                    simulator.poll(who[0], f"PAGE[{who[1]}].{choose.choice(POLLED)}")
            if choose.randrange(4) == 0:
                consumer = choose.choice(consumers)
                told[consumer] += self.comparison.saw_events(consumer)
        for _ in range(times):
            disturb()
            simulator.run(choose.choice([1, 20, 200]))
        progress = True
        while progress:
            simulator.settle()
            progress = False
            for who in consumers:
                found = self.comparison.saw_events(who)
                told[who] += found
                if len(found) == 1 << self.board.settings[who].event_log2:
                    self.coverage.hit("waits", "an event queue is full")
                progress = progress or bool(found)
        return told

    def _compare(
        self,
        before: Order | None = None,
        early: Set[tuple[Who, int]] = frozenset(),
        victims: Set[Who] = frozenset(),
    ) -> None:
        self.board.simulator.change(Settings())  # nothing is under way: only registers are read
        happened = self.comparison.compare(before, early, victims)
        self._interrupts.compare(happened, victims, self.coverage)
        self.board.simulator.change(self._stalls)
        self.coverage.collect(happened, self.parameters)
        self.coverage.back_pressure(self.board.simulator.held())
        for seen in happened.seen:
            if seen.received:
                self._junk.remember(seen)
        if victims:
            self._junk.forget()

    # ---- lists and counters ----

    def _lists(self) -> None:
        plan = {who: self._list_commands(who) for who in self.board.everybody}
        for who in self.board.everybody:
            if self.chooser.randrange(3) == 0:
                self.comparison.window(who, CHANGING_WINDOW, self._changed_window(who))
        self._run(plan)
        self._compare()

    def _list_commands(self, who: Who) -> list[list[int]]:
        traffic, choose = self._traffic, self.chooser
        lists = self.comparison.nics[who[0]].lists(who[1])
        commands = []
        usable = [number for role in (Role.PUTS, Role.GETS, Role.ATOMICS) for number in role.value]
        if who not in self._tight:
            for number in usable:
                portal = lists.portals[number]
                if not portal.allocated:
                    commands.append(traffic.portal(Operation.PT_ALLOC, number))
                elif not portal.enabled and choose.randrange(8):
                    commands.append(traffic.portal(Operation.PT_ENABLE, number))
                if not any(portal.lists.values()):
                    commands.append(traffic.append(number, self._entry(lists, EntryState.FREE)))
        for _ in range(choose.randrange(4, MOST_COMMANDS)):
            commands.append(self._list_command(who, lists, usable))
        return commands

    def _list_command(self, who: Who, lists: Lists, usable: Sequence[int]) -> list[int]:
        """Portals of tight contexts stay unallocated: nothing else than commands gives them events."""
        traffic, choose = self._traffic, self.chooser
        pt_index = choose.choice([*usable, *usable, *usable, *Role.NOTHING.value])
        kind = choose.choices(["append", "unlink", "search", "portal", "counter", "unknown"], [9, 2, 3, 1, 2, 1])[0]
        if kind == "append":
            return traffic.append(pt_index, self._entry(lists, EntryState.FREE))
        if kind == "unlink":
            return traffic.unlink(self._entry(lists, EntryState.LINKED))
        if kind == "search":
            return traffic.search(pt_index)
        if kind == "counter":
            return traffic.counter()
        if kind == "unknown":
            return traffic.unknown()
        operations = [Operation.PT_FREE, *[Operation.PT_ENABLE] * 3, Operation.PT_DISABLE]
        if who not in self._tight and pt_index in usable:
            operations.append(Operation.PT_ALLOC)
        elif pt_index >= self.parameters.portal_entries:
            operations = [Operation.PT_ALLOC]
        return traffic.portal(choose.choice(operations), pt_index)

    def _entry(self, lists: Lists, state: EntryState) -> int:
        """A match entry in this state, mostly; otherwise any, or none that there is."""
        choose = self.chooser
        fitting = [entry.number for entry in lists.entries if entry.state is state]
        if fitting and choose.randrange(6):
            return choose.choice(fitting)
        return choose.randrange(len(lists.entries) + 2)

    # ---- messages ----

    def _messages(self) -> None:
        """Everything, with as many unexpected messages as there is room for, and memory that errs here and there."""
        plan = self._message_plan(plentiful=True)
        if self.chooser.randrange(3) == 0:
            self._spoil_memory()
        self._run(plan)
        self._compare()
        for nid in range(self.parameters.nodes):
            self.comparison.bad_words(nid, ())

    def _scarcity(self) -> None:
        """More unexpected messages than there is room for, where none can fail after its match."""
        self._run(self._message_plan(plentiful=False))
        self._compare()

    def _message_plan(self, *, plentiful: bool, reserve: int = 0, long_gets: bool = False) -> Plan:
        room = {who: self.comparison.nics[who[0]].lists(who[1]).free_headers - reserve for who in self.board.everybody}
        # Where headers may come free, there must be enough of them: nobody could tell who got one that came free.
        frees = {who for who in self.board.everybody if plentiful or self._may_free_headers(who)}
        few = self.chooser.randrange(1, MOST_COMMANDS)
        plan: Plan = {who: [] for who in self.board.everybody}
        for _ in range(few):
            for who in self.chooser.sample(self.board.everybody, len(self.board.everybody)):
                plan[who].append(self._message(who, room, frees, plentiful=plentiful, long_gets=long_gets))
        return {who: commands for who, commands in plan.items() if commands}

    def _may_free_headers(self, who: Who) -> bool:
        """Whether a message may fail after it was given an unexpected header, in memory that is not sure to be good."""
        lists = self.comparison.nics[who[0]].lists(who[1])
        entries = [entry for portal in lists.portals for entry in portal.lists[List.OVERFLOW]]
        return any(entry.fields["window"] >= CHANGING_WINDOW for entry in entries)

    def _message(
        self, who: Who, room: dict[Who, int], frees: Set[Who], *, plentiful: bool, long_gets: bool
    ) -> list[int]:
        traffic, choose = self._traffic, self.chooser
        to = choose.choice(self.board.everybody)
        if choose.randrange(12) == 0:
            return traffic.refused(to)
        if choose.randrange(16) == 0:
            return traffic.counter()
        stranger = self._jobs[to] != self._jobs[who] or choose.randrange(40) == 0
        if stranger:
            # There would be no response: only what waits for none.
            to = (to[0], to[1] if self._jobs[to] != self._jobs[who] else 9)
            return traffic.message(to, choose.choice(Role.PUTS.value), answered=False)
        roles = [Role.PUTS, Role.GETS, Role.ATOMICS] if plentiful else [Role.PUTS, Role.GETS]
        numbers = Role.GETS.value if long_gets else choose.choice(roles).value
        if choose.randrange(20) == 0 or (to in frees and room[to] <= 0):
            numbers = Role.NOTHING.value
        room[to] -= 1
        return traffic.message(to, choose.choice(numbers), long=long_gets)

    def _spoil_memory(self) -> None:
        """Some bus words of windows; rings, queues and counters stay good."""
        choose, size = self.chooser, self.parameters.datapath_bytes
        for nid in range(self.parameters.nodes):
            places = [
                Place(choose.randrange(self.parameters.contexts)).window(choose.randrange(WINDOWS))
                + choose.randrange(WINDOW_BYTES)
                for _ in range(choose.choice([10, 100, 500]))
            ]
            self.comparison.bad_words(nid, sorted({place // size for place in places}))

    # ---- messages that race with the entries that are for them, and with searches ----

    def _races(self) -> None:
        receivers = [who for who in self.board.everybody if who not in self._tight and self._jobs[who] == JOBS[0]]
        receivers = self.chooser.sample(receivers, min(3, len(receivers)))
        self._run({who: commands for who in receivers if (commands := self._ready_for_races(who))})
        self._compare()
        plan: Plan = {who: [] for who in self.board.everybody}
        for receiver in receivers:
            self._plan_races(receiver, plan)
        heads = {who: self.comparison.nics[who[0]].contexts[who[1]].command_head for who in plan}
        told = self._run({who: commands for who, commands in plan.items() if commands})
        before: dict[tuple[int, int, int], tuple[Who, int]] = {}
        early: set[tuple[Who, int]] = set()
        for who in receivers:
            counts = {kind: heads[who] + place for kind, place in self._places(plan[who]).items()}
            for sender, bits in self._racers(who, plan):
                message = (who[0], sender[0], bits)
                count, refused = self._how_it_ended(told[who], bits, counts)
                if count is not None:
                    before[message] = (who, count)
                if refused:
                    early.add((who, bits))
                    self.coverage.hit("interleavings", "an entry is not unlinked because its message is under way")
        self._compare(before, early)

    @staticmethod
    def _places(commands: Sequence[Sequence[int]]) -> dict[tuple[int, int], int]:
        """How many of the commands there are up to that of an operation for match bits, which unlinks have as user
        data."""
        places = {}
        for place, words in enumerate(commands):
            operation = words[0] & 0xFF
            places[operation, words[6 if operation == Operation.ME_UNLINK else 4]] = place + 1
        return places

    @staticmethod
    def _racers(receiver: Who, plan: Plan) -> list[tuple[Who, int]]:
        """Senders and match bits of the messages that race at a receiver."""
        return [
            (who, words[4])
            for who, commands in plan.items()
            for words in commands
            if words[0] & 0xFF == Operation.PUT and words[4] >> 16 & 0xFFFF == _receiver_bits(receiver)
        ]

    @staticmethod
    def _how_it_ended(
        told: Sequence[Mapping[str, int]], bits: int, counts: Mapping[tuple[int, int], int]
    ) -> tuple[int | None, bool]:
        """How many commands the message found carried out, if it matters; whether the unlinking was refused."""
        kinds = {
            (event["kind"], event["list"], event["fail"])
            for event in told
            if bits in (event["match_bits"], event["user_data"])
        }
        refused = any(kind == EventKind.REFUSED for kind, _, _ in kinds)
        if (EventKind.SEARCH, List.PRIORITY, Fail.NO_MATCH) in kinds:
            return counts[Operation.ME_SEARCH, bits], False
        if any(kind == EventKind.PUT and which == List.PRIORITY for kind, which, _ in kinds):
            return counts[Operation.ME_APPEND, bits], refused
        caught = any(kind == EventKind.PUT for kind, _, _ in kinds)
        claimed = any(kind == EventKind.PUT_OVERFLOW for kind, _, _ in kinds)
        return (counts.get((Operation.ME_UNLINK, bits)) if caught and not claimed else None), False

    def _ready_for_races(self, who: Who) -> list[list[int]]:
        """Commands that make the portal and its overflow entry, as far as they are not there."""
        lists = self.comparison.nics[who[0]].lists(who[1])
        portal = lists.portals[RACES]
        commands = []
        if not portal.allocated:
            commands.append(self._traffic.portal_in_order(RACES))
        free = [entry.number for entry in lists.entries if entry.state is EntryState.FREE]
        if not portal.lists[List.OVERFLOW] and free:
            commands.append(self._traffic.catching_entry(self.chooser.choice(free)))
        if portal.headers:
            commands.append(self._traffic.clearing_search())
        commands += [self._traffic.racing_unlink(entry.number, 0) for entry in portal.lists[List.PRIORITY]]
        return commands

    def _plan_races(self, receiver: Who, plan: Plan) -> None:
        """Messages and entries in any order, with match bits of their own."""
        choose = self.chooser
        lists = self.comparison.nics[receiver[0]].lists(receiver[1])
        if not lists.portals[RACES].lists[List.OVERFLOW]:
            return
        free = [entry.number for entry in lists.entries if entry.state is EntryState.FREE]
        count = min(lists.free_headers, len(free), choose.randrange(1, 7))
        senders = [who for who in self.board.everybody if self._jobs[who] == self._jobs[receiver]]
        unlinks: list[list[int]] = []
        for number, entry in zip(range(count), free, strict=False):
            # Never the same again: an entry may be left over whose message was lost.
            bits = (self.phases["races"] << 32) + (_receiver_bits(receiver) << 16) + number + 0x1000
            sender, kind = choose.choice(senders), choose.choice(["append", "append and unlink", "search"])
            length = self._traffic.length()
            if kind == "append and unlink":
                length = max(length, self.parameters.mtu_bytes + 1)
            words = self._traffic.race(receiver, bits, length)
            plan[sender].insert(choose.randrange(len(plan[sender]) + 1), words)
            if kind == "search":
                plan[receiver].append(self._traffic.racing_search(bits))
                continue
            plan[receiver].append(self._traffic.racing_entry(entry, bits, use_once=kind == "append"))
            if kind == "append and unlink":
                unlinks.append(self._traffic.racing_unlink(entry, bits))
            if unlinks and choose.randrange(2):
                plan[receiver].append(unlinks.pop(0))
        plan[receiver] += unlinks

    # ---- what no NIC would send ----

    def _forgeries(self) -> None:
        count = self.chooser.randrange(1, 8)
        self._run(self._message_plan(plentiful=True, reserve=count), self._inject, count)
        self._compare()

    def _inject(self) -> None:
        nid = self.chooser.randrange(self.parameters.nodes)
        made = self._junk.packet(nid)
        if made is not None:
            flits, response = made
            self.board.simulator.inject(nid, flits, response=response)

    # ---- lives that end in the middle ----

    def _lives(self) -> None:
        """Some contexts are switched off and on and lose their windows while everybody sends to everybody."""
        most = min(MOST_VICTIMS, len(self.board.everybody) - 1) + 1
        victims = frozenset(self.chooser.sample(self.board.everybody, self.chooser.randrange(1, most)))
        times = self.chooser.randrange(1, 8)
        plan = self._message_plan(plentiful=True)
        self._run(plan, lambda: self._strike(self.chooser.choice(sorted(victims))), times, victims)
        self._compare(victims=victims)
        for who in victims:
            self.comparison.stop(who)
            self._start(who)

    # ---- what never comes ----

    def _silence(self) -> None:
        """Packets are lost, a node falls silent, contexts are closed and not opened again, while everybody sends to
        everybody. Nothing that comes takes as long as the nodes wait."""
        choose, board = self.chooser, self.board
        self._stalls = Settings(memory_stall=choose.choice([0, 60]), transit=choose.choice([1, 200]))
        victims: Set[Who] = frozenset(choose.sample(board.everybody, choose.choice([0, 0, 1])))
        for nid in range(self.parameters.nodes):
            self.comparison.time_out(nid, PATIENCE_CYCLES + PATIENCE_CYCLES_PER_BYTE * self.parameters.mtu_bytes)
        self._stalls.loss = choose.choice(LOSSES)
        board.simulator.change(self._stalls)
        silent = choose.randrange(self.parameters.nodes) if choose.randrange(2) else None
        things = [lambda who=who: board.disable(who) for who in victims]
        if silent is not None:
            things.append(lambda: board.simulator.silence(silent))
        choose.shuffle(things)
        # Replies of several packets, so that some of them begin and do not end.
        plan = self._message_plan(plentiful=True, long_gets=choose.randrange(3) == 0)
        self._run(plan, lambda: things.pop()(), len(things), victims)
        if self._stalls.loss:
            self.coverage.hit("silences", "of single packets")
        self._stalls.loss = 0
        self._compare(victims=victims)
        if silent is not None:
            self.coverage.hit("silences", "of a node")
            board.simulator.silence(silent, False)
        for nid in range(self.parameters.nodes):
            self.comparison.time_out(nid, 0)
        for who in victims:
            self.coverage.hit("silences", "of a closed context")
            self.comparison.stop(who)
            self._start(who)

    def _strike(self, who: Who) -> None:
        """What a kernel may do at any time."""
        board, choose = self.board, self.chooser
        what = choose.randrange(4)
        if what == 0:
            board.disable(who)
        elif what == 1:
            number = choose.randrange(WINDOWS)
            rights = choose.choice([Right(0), Right.ALL])
            length = choose.choice([0, 0x1000, WINDOW_BYTES])
            board.window(who, number, Window(base=Place(who[1]).window(number), length=length, rights=rights))
        else:
            board.disable(who)
            board.simulator.run(choose.choice([0, 1, 5, 50]))
            jid = choose.choice(JOBS)
            board.configure(who, usual(who[1], jid=jid, event_log2=self._settings_of(who).event_log2))
            board.enable(who)
