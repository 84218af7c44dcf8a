"""Interrupts under random traffic: of everything that has come to rest it is known which contexts must have called, and
which core."""

import random
from collections import Counter
from collections.abc import Set
from dataclasses import dataclass

from tests.rtl.whole.board import Board, Who
from tests.rtl.whole.compare import DifferenceError, Happened
from tests.rtl.whole.coverage import Coverage

INTERVALS = (0, 100, 700)  # cycles; nodes of one campaign have different ones


@dataclass(frozen=True, kw_only=True)
class Moderation:
    """What a context's interrupt tells of, and when: after `count` of those or `cycles` after the first, if not 0."""

    events: bool
    counters: bool
    count: int
    cycles: int

    @property
    def name(self) -> str:
        if not (self.events or self.counters):
            return "of nothing"
        if self.cycles:
            return "after a time"
        return "after some" if self.count > 1 else "of every one"


@dataclass(frozen=True, kw_only=True)
class Untold:
    """How much has happened that no interrupt has told of: what INTERRUPT_INTERVAL held back is told of at once."""

    least: int = 0
    most: int = 0

    def after(self, told: int, count: int, *, called: bool, apart: bool) -> "Untold":
        """When `told` more have happened, of which each `count` are worth an interrupt. Everything was at rest before,
        so the first one comes at once; later ones tell of as many as they find if they are to be `apart`."""
        least, most = self.least + told, self.most + told
        if not apart:
            return Untold(least=least % count, most=most % count)
        if not called:
            return Untold(least=least, most=min(most, count - 1))
        least, most = max(least - count, 0), most - count
        return Untold(least=least, most=most) if most < count else Untold(least=0, most=count - 1)


class Interrupts:
    """Chooses how nodes and each life of a context interrupt, and compares what INT_STATUS says with what happened."""

    def __init__(self, board: Board, chooser: random.Random) -> None:
        self._board = board
        self._chooser = chooser
        self._wanted: dict[Who, Moderation] = {}
        self._untold: dict[Who, Untold] = {}
        nodes, contexts = range(board.parameters.nodes), board.parameters.contexts
        self._enabled = [chooser.getrandbits(contexts) for _ in nodes]
        self._intervals = [INTERVALS[(board.simulator.settings.seed + nid) % len(INTERVALS)] for nid in nodes]
        for nid in nodes:
            board.simulator.configure(nid, "INT_ENABLE", context=self._enabled[nid])
            board.simulator.configure(nid, "INTERRUPT_INTERVAL", cycles=self._intervals[nid])

    def choose(self, who: Who) -> dict[str, int]:
        """For a life that is about to begin: what is written to CONTROL beside `enable`."""
        choose = self._chooser
        wanted = Moderation(
            events=choose.randrange(3) > 0,
            counters=choose.randrange(3) == 0,
            count=choose.choice([0, 1, 2, 3, 7, 100]),
            cycles=choose.choice([0, 0, 1, 50, 1000]),
        )
        self._wanted[who] = wanted
        path = f"CONTEXT[{who[1]}].MODERATION"
        self._board.simulator.configure(who[0], path, count=wanted.count, cycles=wanted.cycles)
        line = choose.randrange(self._board.parameters.interrupt_lines)
        return {"interrupt": wanted.events, "counter_interrupt": wanted.counters, "line": line}

    def begin(self, who: Who) -> None:
        """A life has begun, and nothing has happened in it."""
        self._untold[who] = Untold()
        self._board.simulator.configure(who[0], "INT_STATUS", context=1 << who[1])

    def compare(self, happened: Happened, victims: Set[Who], coverage: Coverage) -> None:
        """Everything has come to rest. DifferenceError if an interrupt is missing, or one too many."""
        told = self._told(happened)
        for nid, enabled in enumerate(self._enabled):
            status = self._board.simulator.value(nid, "INT_STATUS") & ((1 << self._board.parameters.contexts) - 1)
            self._compare_lines(nid, status & enabled)
            for who in self._board.everybody:
                if who[0] == nid and who not in victims:
                    self._compare_context(who, told[who], bool(status >> who[1] & 1), coverage)
            self._board.simulator.configure(nid, "INT_STATUS", context=status)

    def _compare_lines(self, nid: int, raising: int) -> None:
        """Each context that raises an interrupt raises that of its own line, and no other is raised."""
        simulator, lines = self._board.simulator, range(self._board.parameters.interrupt_lines)
        pending = dict.fromkeys(lines, 0)
        for context in range(self._board.parameters.contexts):
            pending[simulator.value(nid, f"CONTEXT[{context}].CONTROL") >> 8] |= raising & 1 << context
        raised = sum(1 << line for line in lines if pending[line])
        said = {line: simulator.value(nid, f"INTERRUPT_LINE[{line}].PENDING") for line in lines}
        if (simulator.interrupts(nid), said) != (raised, pending):
            raise DifferenceError(f"node {nid}: interrupts {simulator.interrupts(nid):#x} for {said}, not {pending}")

    def _told(self, happened: Happened) -> Counter[Who]:
        told: Counter[Who] = Counter()
        for nid, effects in happened.effects:
            told.update((nid, event.context) for event in effects.events if self._wanted[nid, event.context].events)
            told.update((nid, c.context) for c in effects.counters if self._wanted[nid, c.context].counters)
        return told

    def _compare_context(self, who: Who, told: int, called: bool, coverage: Coverage) -> None:
        wanted = self._wanted[who]
        untold, count, interval = self._untold[who], max(1, wanted.count), self._intervals[who[0]]
        must = told > 0 if wanted.cycles else untold.least + told >= count
        may = told > 0 if wanted.cycles else untold.most + told >= count
        if (must and not called) or (called and not may):
            raise DifferenceError(
                f"node {who[0]}: context {who[1]}: {'an' if called else 'no'} interrupt after {told} and {untold} "
                f"before them, {interval} cycles apart: {wanted}"
            )
        self._untold[who] = Untold() if wanted.cycles else untold.after(told, count, called=called, apart=interval > 0)
        if interval and called:
            coverage.hit("interrupts", wanted.name, "at intervals")
        if told or wanted.name == "of nothing":
            coverage.hit("interrupts", wanted.name, "called" if called else "quiet")
