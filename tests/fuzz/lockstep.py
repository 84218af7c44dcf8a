"""Runs one case on the reference and on engines, in every form, and compares all that can be seen."""

from __future__ import annotations

import importlib
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

from nimble.access import AddressSpace, Window
from nimble.engine.runs import Costs
from nimble.isa import TABLE, InstructionError
from nimble.services import Services
from nimble.verifier import Facts, InsertionRefused, verify
from tests.fuzz.case import FLAT, Area, Case
from tests.fuzz.reference import Prices, Reference, Result
from tests.fuzz.world import World

ENGINES = ("closures", "threaded", "native")
Translate = Callable[..., Any]


class Form(NamedTuple):
    """One way to run a program: with access checks or without, told what the verifier proved or not."""

    checked: bool
    informed: bool

    def __str__(self) -> str:
        return f"{'checked' if self.checked else 'unchecked'}, {'with' if self.informed else 'without'} facts"


FORMS = tuple(Form(checked, informed) for checked in (True, False) for informed in (True, False))


@dataclass(frozen=True)
class Difference:
    """What an engine (or the verifier) did, and what it should have done."""

    engine: str
    form: Form | None
    what: str
    expected: Any
    found: Any

    @property
    def kind(self) -> str:
        """Who differs in what: the same for cases that are likely to show the same."""
        return f"{self.engine}: {self.what.split()[0]}"

    def __str__(self) -> str:
        where = f"{self.engine}, {self.form}" if self.form else self.engine
        return f"{where}: {self.what}: expected {self.expected}, found {self.found}"


@dataclass
class Tally:
    """What was seen so far. ``executed`` are rows of the table by index; ``statuses`` and the counts are of the
    reference's runs."""

    programs: int = 0
    refused: int = 0
    runs: int = 0
    instructions: int = 0
    proved: int = 0
    statuses: dict[str, int] = field(default_factory=dict)
    executed: set[int] = field(default_factory=set)

    def add(self, other: Tally) -> None:
        self.programs += other.programs
        self.refused += other.refused
        self.runs += other.runs
        self.instructions += other.instructions
        self.proved += other.proved
        self.executed |= other.executed
        for status, count in other.statuses.items():
            self.statuses[status] = self.statuses.get(status, 0) + count


@cache
def engine(name: str) -> Translate:
    """An engine's ``translate``; ``module:function`` names one from elsewhere. Raises ImportError if there is none."""
    module, _, function = name.partition(":")
    translate: Translate
    if function:
        translate = getattr(importlib.import_module(module), function)
    else:
        translate = importlib.import_module(f"nimble.engine.{name}").translate
    return translate


def price_list(case: Case) -> int:
    """The number of the price list that goes with a case."""
    return RANDOM_LISTS + case.seed % len(FLAT_PRICES) if case.seed & FLAT else case.seed % RANDOM_LISTS


@cache
def prices_of(number: int) -> Prices:
    """One of a few price lists: random ones, with free operations in some, and then flat ones."""
    if number >= RANDOM_LISTS:
        return Prices(*[[FLAT_PRICES[number - RANDOM_LISTS]] * 256] * 2)
    chance = random.Random(number)
    least = number % 2
    return Prices(*([chance.randint(least, 400) for _ in range(256)] for _ in range(2)))


@cache
def costs_of(number: int) -> Costs:
    """The same prices, as engines want them."""
    return Costs(*({row: prices[row.opcode] for row in TABLE} for prices in prices_of(number)))


RANDOM_LISTS = 32
FLAT_PRICES = (1, 1, 250, 0)  # each the price of all operations
_ROW_INDEX = {row: index for index, row in enumerate(TABLE)}


def examine(
    case: Case, engines: Mapping[str, Translate], tally: Tally, forms: Iterable[Form] = FORMS
) -> list[Difference]:
    """All differences of a case, the first of each engine and form only; none if the verifier refuses it."""
    tally.programs += 1
    world = World(case)
    services = world.services()
    try:
        space = AddressSpace(world.windows())
        facts = verify(case.program, services, space)
    except (InsertionRefused, InstructionError) as refusal:
        tally.refused += 1
        return [Difference("verifier", None, "refusal", "a text", "none")] if not str(refusal) else []
    except Exception as error:
        return [Difference("verifier", None, "verdict", "acceptance or refusal", repr(error))]
    tally.proved += bool(facts.proved)
    if facts == Facts():
        forms = {form._replace(informed=False): None for form in forms}  # the others would be the same again
    proved = {pc: _area(window) for pc, window in facts.proved.items()}
    return [
        difference
        for form in forms
        for difference in _Judge(case, world, space, services, facts, proved, form, tally).judge(engines)
    ]


def _area(window: Window) -> Area:
    return Area(window.name, -1, window.base, window.length, window.rights.value, window.widths)


class _Judge:
    """One form of one case."""

    def __init__(
        self,
        case: Case,
        world: World,
        space: AddressSpace,
        services: Services,
        facts: Facts,
        proved: Mapping[int, Area],
        form: Form,
        tally: Tally,
    ) -> None:
        self.case, self.world, self.space, self.services, self.form = case, world, space, services, form
        self.facts = facts if form.informed else Facts()
        self.proved = proved if form.informed else {}
        self.tally = tally

    def judge(self, engines: Mapping[str, Translate]) -> Iterator[Difference]:
        """Differences between the reference and each engine, and between the reasons that the engines give."""
        list_number = price_list(self.case)
        reference = Reference(
            self.case, self.world, checked=self.form.checked, prices=prices_of(list_number), proved=self.proved
        )
        expected = self.world.perform(reference)
        log, buffers = self.world.log, [bytes(data) for data in self.world.buffers]
        self._count(expected, reference)
        if reference.broken:
            yield Difference("verifier", self.form, "proof", "to hold", reference.broken[0])
        first_reasons: list[str] | None = None
        for name, translate in engines.items():
            try:
                thread = translate(
                    self.case.program,
                    space=self.space,
                    services=self.services,
                    checked=self.form.checked,
                    costs=costs_of(list_number),
                    facts=self.facts,
                )
                outcomes = self.world.perform(thread)
            except Exception as error:
                yield Difference(name, self.form, "run", "an outcome", repr(error))
                continue
            difference = self._outcomes(name, expected, outcomes) or self._log(name, log) or self._memory(name, buffers)
            reasons = [outcome.reason if outcome else "" for outcome in outcomes]
            if difference is None and reasons != (first_reasons := first_reasons or reasons):
                difference = Difference(name, self.form, "reasons", first_reasons, reasons)
            if difference is not None:
                yield difference

    def _count(self, results: list[Result | None], reference: Reference) -> None:
        tally = self.tally
        for result in results:
            status = result.status if result else "trouble"
            tally.runs += 1
            tally.instructions += result.instructions if result else 0
            tally.statuses[status] = tally.statuses.get(status, 0) + 1
        for pc, _, row in self.case.program.starts:
            if pc in reference.executed:
                tally.executed.add(_ROW_INDEX[row])

    def _outcomes(self, name: str, expected: list[Result | None], outcomes: list[Any]) -> Difference | None:
        for index, (result, outcome) in enumerate(zip(expected, outcomes, strict=True)):
            found = outcome and (
                outcome.status.value, outcome.r0, outcome.instructions, outcome.pc, outcome.registers,
            )  # fmt: skip
            if found != (result and result[:5]):
                return Difference(name, self.form, f"outcome of call {index}", result and result[:5], found)
            if outcome and result and (result.hint not in outcome.reason or bool(result.hint) != bool(outcome.reason)):
                return Difference(name, self.form, f"reason of call {index}", result.hint, outcome.reason)
        return None

    def _log(self, name: str, expected: list[Any]) -> Difference | None:
        found = self.world.log
        if found == expected:
            return None
        at = next((i for i, pair in enumerate(zip(expected, found, strict=False)) if pair[0] != pair[1]), -1)
        at = min(len(expected), len(found)) if at < 0 else at
        return Difference(name, self.form, f"event {at}", _at(expected, at), _at(found, at))

    def _memory(self, name: str, expected: list[bytes]) -> Difference | None:
        for index, (data, should) in enumerate(zip(self.world.buffers, expected, strict=True)):
            if data != should:
                return Difference(name, self.form, f"memory {index}", should.hex(), data.hex())
        return None


def _at(log: list[Any], index: int) -> Any:
    return log[index] if index < len(log) else "nothing"


def expectations(case: Case) -> list[Any]:
    """What the reference gives for a case, by form, with nothing proved: to be kept in the corpus."""
    kept = []
    for checked in (True, False):
        world = World(case)
        reference = Reference(case, world, checked=checked, prices=prices_of(price_list(case)), proved={})
        results = world.perform(reference)
        kept.append([result and [*result[:4], list(result.registers)] for result in results])
    return kept
