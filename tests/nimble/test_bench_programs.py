"""The benchmark's programs compute the right thing: the same in C and in every engine, and what other words say."""

import hashlib
import shutil

import pytest

from nimble.bench import bounds
from nimble.bench.cases import (
    CHECKSUM_WORDS,
    DISK_BLOCKS,
    HOT_PAGES,
    MESSAGE,
    QUEUE,
    QUEUE_HEADS,
    SIEVE_SIZE,
    cases,
)
from nimble.bench.contenders import CHECKED, UNPROVED, VARIANTS, Engine, accesses
from nimble.bench.contenders import Reference as ReferenceInC
from nimble.bench.reference import CReference
from nimble.engine import ENGINES

CASES = {case.name: case for case in cases()}
MASK = (1 << 64) - 1
NEEDS_CC = pytest.mark.skipif(shutil.which("cc") is None, reason="compares with C, and there is no cc")


# ---- what the programs compute, in other words ----


def arithmetic(repetitions):
    x = 1
    for step in range(4096 * repetitions):
        x = (x * 0x9E3779B97F4A7C15 + step) % 2**64
        x ^= x // 2**29
    return x


def checksum(repetitions):
    """By 16-bit words, as RFC 1071 defines it; the order of the halves of a word does not matter to a sum."""
    data = CASES["checksum"].windows[0].content
    assert len(data) == 4 * CHECKSUM_WORDS
    halves = sum(int.from_bytes(data[at : at + 2], "little") for at in range(0, len(data), 2))
    result = 0
    for _ in range(repetitions):
        result = 0xFFFF - ((result + halves) % 0xFFFF or 0xFFFF)
    return result


def primes(repetitions):
    return 168 * repetitions  # pi(1000), as tables of primes have it; 1000 itself is none


def sieve(repetitions):
    return 1899 * repetitions  # what the program printed in BYTE, September 1981


def recursion(repetitions):
    return 20 * (8 + 13) * repetitions  # the 6th and the 7th Fibonacci number


def md5(repetitions):
    return int.from_bytes(hashlib.md5(MESSAGE).digest()[:8], "little")


def eviction(repetitions):
    chosen = (next(page for page in QUEUE[head:] if page not in set(HOT_PAGES)) for head in range(QUEUE_HEADS))
    return repetitions * sum(chosen)


def logical_disk(repetitions):
    random, disk, total = 88172645463325252, {}, 0

    def block():
        nonlocal random
        random ^= random << 13 & MASK
        random ^= random >> 7
        random ^= random << 17 & MASK
        size = DISK_BLOCKS // 5 if random % 2**32 < 0.8 * 2**32 - 1 else DISK_BLOCKS
        return size * (random // 2**32) // 2**32

    for physical in range(1, 1024 * repetitions + 1):
        disk[block()] = physical
        total += disk.get(block(), 0)
    return total


EXPECTED = (arithmetic, checksum, primes, sieve, recursion, md5, eviction, logical_disk)


def test_every_case_has_a_reference_and_five_are_simple():
    assert [expected.__name__ for expected in EXPECTED] == list(CASES)
    assert sum(case.simple for case in CASES.values()) == bounds.SIMPLE
    assert SIEVE_SIZE == 8190


@pytest.mark.parametrize("expected", EXPECTED, ids=lambda one: one.__name__)
@pytest.mark.parametrize("repetitions", [1, 3])
def test_programs_in_python_give_what_they_should(expected, repetitions):
    assert Engine(CASES[expected.__name__], "threaded", CHECKED).run(repetitions) == expected(repetitions)


@NEEDS_CC
@pytest.mark.parametrize("expected", EXPECTED, ids=lambda one: one.__name__)
def test_programs_in_c_give_what_they_should(expected):
    with CReference() as reference:
        for repetitions in (1, 3):
            assert ReferenceInC(reference, CASES[expected.__name__]).run(repetitions) == expected(repetitions)


def test_the_whole_digest_is_that_of_hashlib():
    engine = Engine(CASES["md5"], "threaded", UNPROVED)
    engine.run(1)
    assert engine.placed.memories[0] == hashlib.md5(MESSAGE).digest()


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda one: one.name)
@pytest.mark.parametrize("engine", ENGINES)
def test_variants_agree_on_an_example_with_checks_and_proofs(engine, variant):
    assert Engine(CASES["sieve"], engine, variant).run(1) == sieve(1)


def test_instructions_are_those_of_one_repetition():
    engine = Engine(CASES["sieve"], "threaded", CHECKED)
    engine.run(1)
    one = engine.instructions
    engine.run(4)
    assert one * 0.99 < engine.instructions < one


def test_accesses_are_checked_and_some_are_proved():
    counted = {name: accesses(case) for name, case in CASES.items()}
    assert counted["arithmetic"] == counted["primes"] == counted["recursion"] == (0, 0)
    assert counted["checksum"] == (1, 0)  # the pointer comes from outside
    total, proved = counted["md5"]
    assert 0 < proved < total
