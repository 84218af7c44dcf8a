"""What an engine is given to translate: declared once for all of them."""

from __future__ import annotations

from typing import NotRequired, TypedDict, Unpack

from nimble.access import AddressSpace
from nimble.engine.runs import ONE_EACH, Costs, place
from nimble.program import Program
from nimble.services import Services
from nimble.verifier import Facts, verify


class Given(TypedDict):
    """What every ``translate`` takes beside a program.

    ``space``: all windows that it sees, its own state included. ``checked``: whether accesses are held to the rights
    and widths of windows. ``costs`` of operations; without them each costs 1. ``facts`` are those that ``verify`` found
    with the same services and space; without them it is called.
    """

    space: AddressSpace
    services: Services
    checked: bool
    costs: NotRequired[Costs]
    facts: NotRequired[Facts | None]


class Task:
    """A program with what it was given, and each of its instructions in its place. Raises InsertionRefused."""

    def __init__(self, program: Program, **given: Unpack[Given]) -> None:
        self.program = program
        self.space = given["space"]
        self.services = given["services"]
        self.checked = given["checked"]
        self.costs = given.get("costs", ONE_EACH)
        facts = given.get("facts")
        self.facts = verify(program, self.services, self.space) if facts is None else facts
        self.placed = place(program, self.facts, self.costs, checked=self.checked)
