"""Makes the fuzz case of a number: a random program with what it touches, or one damaged at random."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from nimble.isa import SLOT_BYTES
from tests.fuzz.case import FLAT, NEVER, Call, Case
from tests.fuzz.layout import Layout
from tests.fuzz.loops import loops_of
from tests.fuzz.writer import Writer

DAMAGED = 0.2  # of all cases
LONG = 1 << 15  # instructions; a greater budget is only for programs that end


KINDS = ("any", "loops")
ALIKE = 50  # cases in a row with random prices, then as many with flat ones


def case_of(seed: int, number: int, kind: str = "any") -> Case:
    """Always the same for a seed, a number and a kind of KINDS."""
    random = Random(seed << 40 | number)
    if kind == "loops":
        return loops_of(random)
    case = _written(random)
    if number // ALIKE % 2:
        case = replace(case, seed=case.seed | FLAT)
    if random.random() >= DAMAGED or case.calls[0].budget > LONG:
        return case
    return _damaged(random, case, _written(random))


def _written(random: Random) -> Case:
    layout = Layout(random)
    first = _arguments(random, layout)
    writer = Writer(random, layout, dict(enumerate(first, 1)))
    entries = {"main": 0}
    if len(writer.functions) > 1 and random.random() < 0.3:
        entries["other"] = writer.functions[1]
    budget = _endless if random.random() < 0.15 and _ends(writer.slots) else _budget
    calls = [Call("main", first, budget(random))]
    for _ in range(random.choice((1, 1, 2, 3))):
        entry = random.choice([*entries])
        calls.append(Call(entry, first if random.random() < 0.75 else _arguments(random, layout), budget(random)))
    return Case(
        code=writer.code(),
        entries=entries,
        calls=tuple(calls),
        backings=tuple(layout.backings),
        areas=tuple(layout.areas),
        state=layout.state,
        state_shared=random.random() < 0.2,
        seed=random.getrandbits(16),
        trouble=random.randrange(1, 12) if random.random() < 0.08 else NEVER,
        interleave=random.random() < 0.12,
    )


def _arguments(random: Random, layout: Layout) -> tuple[int, ...]:
    return tuple(
        layout.base() if random.random() < 0.5 else layout.value() for _ in range(random.choice((5, 5, 5, 2, 0)))
    )


def _budget(random: Random) -> int:
    chance = random.random()
    if chance < 0.2:
        return random.randrange(8)
    if chance < 0.65:
        return random.randrange(60)
    if chance < 0.97:
        return random.randrange(40, 200)
    return random.randrange(200, 2500)


def _ends(slots: list[tuple[int, int, int, int, int]]) -> bool:
    """Whether a program ends, and asks nobody how much it may still do: it has no calls and jumps forward only."""
    return all(
        op & 7 not in (5, 6) or (op not in (0x85, 0x8D) and off >= 0 and (op != 0x06 or imm >= 0))
        for op, _, _, off, imm in slots
    )


def _endless(random: Random) -> int:
    """A budget that cannot be used up."""
    return random.choice((1 << 16, (1 << 31) - 1, 1 << 31, (1 << 32) + 3, 1 << 62, (1 << 63) - 1, 1 << 64, 10**30))


def _damaged(random: Random, case: Case, other: Case) -> Case:
    """The case with its code changed in a few places: bits, fields, slots moved, a splice of another program."""
    code = bytearray(case.code)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        count = len(code) // SLOT_BYTES
        at, chance = random.randrange(count) * SLOT_BYTES, random.random()
        if chance < 0.45:
            # Which byte of the slot: damage of the opcode or of the registers is mostly refused.
            byte = random.choice((0, 1, 2, 3, 4, 4, 5, 6, 7))
            code[at + byte] ^= 1 << random.randrange(8)
        elif chance < 0.6:
            code[at + random.randrange(SLOT_BYTES)] = random.choice((0, 1, 0x7F, 0x80, 0xFF, random.getrandbits(8)))
        elif chance < 0.75:
            to = random.randrange(count) * SLOT_BYTES
            code[at : at + 8], code[to : to + 8] = code[to : to + 8], code[at : at + 8]
        elif chance < 0.85:
            del code[at : at + 8]
            code = code or bytearray(case.code)
        else:
            start = random.randrange(len(other.code) // SLOT_BYTES) * SLOT_BYTES
            code[at:at] = other.code[start : start + SLOT_BYTES * random.randrange(1, 6)]
    return replace(case, code=bytes(code))
