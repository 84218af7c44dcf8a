"""What operations cost: each kind by hand, and that no row of the table is left out."""

from __future__ import annotations

import pytest

from nimble import timing
from nimble.access import READ_WRITE, STATE_BASE, AddressSpace, Memory, Window
from nimble.assembler import assemble
from nimble.bench import dispatch
from nimble.engine import ENGINES, load_engine
from nimble.isa import BY_MNEMONIC, TABLE, Operation
from nimble.services import Service, Services
from nimble.timing import OperationCosts, Timing
from nimble.verifier import Facts

# No two parts, and no two sums of two parts, are equal.
PARTS = OperationCosts(
    alu=1_000, multiply=2_000, divide=3_000, load=4_000, store=5_000, atomic=6_000, branch=7_000, call=8_000,
    service=9_000, exit=10_000, check=11, direct=100, subroutine=200,
)  # fmt: skip

# Mnemonics, the work, and whether there is a check.
ROWS = [
    ("add sub32 or and32 xor neg lsh rsh32 arsh mov movsx832 movsx3264 mov32 lddw le16 be64 bswap32", 1_000, False),
    ("mul mul32", 2_000, False),
    ("div div32 mod mod32 sdiv sdiv32 smod smod32", 3_000, False),
    ("ldxb ldxh ldxw ldxdw ldxsb ldxsw", 4_000, True),
    ("stb stdw stxh stxdw", 5_000, True),
    ("lock add|lock fetch_add32|lock xchg|lock cmpxchg", 6_000, True),
    ("ja gotol jeq jset32 jsle", 7_000, False),
    ("call local|callx", 8_000, False),
    ("call|", 9_000, False),
    ("exit", 10_000, False),
]


def rows_of(mnemonics: str) -> list[Operation]:
    names = mnemonics.split("|") if "|" in mnemonics else mnemonics.split()
    return [row for name in names if name for row in BY_MNEMONIC[name]]


@pytest.mark.parametrize(("threading", "dispatch"), [("direct", 100), ("subroutine", 200)])
@pytest.mark.parametrize(("mnemonics", "work", "check"), ROWS, ids=[row[0] for row in ROWS])
def test_work_dispatch_and_check_add_up(mnemonics: str, work: int, check: bool, threading: str, dispatch: int) -> None:
    costs = Timing(threading=threading, operations=PARTS).costs()  # type: ignore[arg-type]
    for row in rows_of(mnemonics):
        assert (costs.unchecked[row], costs.checked[row]) == (work + dispatch, work + dispatch + 11 * check)


def test_every_operation_has_a_cost_in_both_forms() -> None:
    for threading in ("direct", "subroutine"):
        costs = Timing(threading=threading).costs()  # type: ignore[arg-type]
        assert set(costs.checked) == set(costs.unchecked) == set(TABLE)
        assert all(costs.checked[row] >= costs.unchecked[row] > 0 for row in TABLE)


TEXT = """
    mov   %r6, 3
    lddw  %r1, STATE
    ldxdw %r2, [%r1]
    add   %r2, 5
    stxdw [%r1], %r2
    call  tick
again:
    lddw  %r1, STATE
    lock  add [%r1 + 8], %r6
    mul   %r6, 7
    div   %r6, 9
    sub   %r6, 1
    jne   %r6, 0, again
    mov   %r0, 0
    exit
    .state 16
"""
BEFORE = 1_000 + 1_000 + 4_000 + 1_000 + 5_000 + 9_000 + 6 * 100
CHECKED = 2 * 11


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("checked", [False, True])
def test_engines_spend_these_costs(engine: str, checked: bool) -> None:
    """Once before the service, once at the end; the budget ends after two rounds of six."""
    spent: list[int] = []
    tick = Services([Service(1, "tick", lambda *_: 0, "")])
    program = assemble(TEXT, symbols=tick.symbols(), source="t.asm")
    space = AddressSpace([Window("state", STATE_BASE, 16, READ_WRITE, Memory(bytearray(16)))])
    costs = Timing(operations=PARTS).costs()
    thread = load_engine(engine)(program, space=space, services=tick, checked=checked, costs=costs, facts=Facts())
    outcome = thread.run("main", (), budget=6 + 2 * 6, spend=spent.append)
    rounds = 2 * (1_000 + 6_000 + 2_000 + 3_000 + 1_000 + 7_000 + 6 * 100)
    assert outcome.instructions == 18
    assert spent == [BEFORE + checked * CHECKED, rounds + checked * 2 * 11]


def test_the_dispatch_that_is_priced_is_the_one_that_is_made() -> None:
    counts = dispatch.count()
    if not counts:
        pytest.skip("machine instructions are counted on x86-64; run this test there")
    assert dispatch.dispatch(counts) == timing.DISPATCH_INSTRUCTIONS
