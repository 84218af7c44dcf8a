"""Exact counts and budgets, when time is paid, and runs that are suspended inside one another."""

from __future__ import annotations

from collections.abc import Callable

import greenlet
import pytest

from nimble.access import READ_WRITE, Memory, Registers, Right, Window
from nimble.engine.outcome import Outcome, Status, no_time
from nimble.services import Service, Services
from tests.nimble.engines import each_engine, each_form, thread_of

DEVICE, SHARED, PRIVATE = 0x1000, 0x2000, 0x3000

LOOP = """
    mov %r6, 3          # 0
again:
    add %r0, %r6        # 1
    call local f        # 2
    sub %r6, 1          # 3
    jne %r6, 0, again   # 4
    lddw %r3, 7         # 5, 6
    exit                # 7
f:  stxdw [%r10-8], %r1 # 8
    exit                # 9
"""
# Worked by hand: one turn is 1, 2, 8, 9, 3, 4; the second slot of lddw counts for nothing.
TRACE = [0, *[1, 2, 8, 9, 3, 4] * 3, 5, 7]


@each_engine
@each_form
def test_every_budget_stops_after_exactly_that_many(checked: bool, engine: str) -> None:
    thread = thread_of(LOOP, engine, checked=checked)
    for budget in range(len(TRACE) + 3):
        spent: list[int] = []
        outcome = thread.run("main", (), budget=budget, spend=spent.append)
        assert sum(spent) == outcome.instructions == min(budget, len(TRACE))
        if budget < len(TRACE):
            assert (outcome.status, outcome.pc) == (Status.BUDGET, TRACE[budget])
            assert f"pc {TRACE[budget]}: " in outcome.reason
            assert f"the budget of {budget} instructions is exhausted; raise it or do less per call" in outcome.reason
        else:
            assert outcome == Outcome(Status.RETURNED, 6, len(TRACE), -1, "")


@each_engine
def test_a_budget_stop_may_be_anywhere_and_the_next_run_is_clean(engine: str) -> None:
    thread = thread_of("ldxdw %r0, [%r10-8]\nstdw [%r10-8], 5\nmov %r6, 1\nja -2", engine)
    for _ in range(2):
        assert thread.run("main", (), budget=50, spend=no_time).r0 == 0


@each_engine
@each_form
def test_a_faulting_instruction_is_counted(checked: bool, engine: str) -> None:
    thread = thread_of("mov %r0, 1\nldxb %r0, [%r0]\nexit", engine, checked=checked)
    outcome = thread.run("main", (), budget=9, spend=no_time)
    assert (outcome.status, outcome.instructions, outcome.pc, outcome.r0) == (Status.FAULT, 2, 1, 1)
    assert outcome.reason == "<text>:2: pc 1: ldxb %r0, [%r0]: 1-byte read at 0x1: no window is granted; ask for one"


@each_engine
@each_form
def test_a_fault_on_the_last_instruction_of_the_budget_is_a_fault(checked: bool, engine: str) -> None:
    outcome = thread_of("ldxb %r0, [%r0]\nexit", engine, checked=checked).run("main", (), budget=1, spend=no_time)
    assert (outcome.status, outcome.instructions) == (Status.FAULT, 1)


PAID = """
    mov %r0, 1                  # 1
    ldxw %r3, [%r1]             # 2: pays 2
    ldxb %r4, [%r5]             #    private
    stxw [%r1+4], %r3           # 4: pays 2
    stb [%r2], 1                # 5: shared, pays 1 (first touch)
    stb [%r2+1], 1              # 6: shared, pays 1
    mov %r6, 0
    ldxb %r7, [%r2]             # 8: pays 2
    ldxsb %r7, [%r2]            # 9: pays 1
    lock add32 [%r2+4], %r0     # 10: pays 1
    lock xor32 [%r5+4], %r0     #    private
    stxdw [%r10-8], %r1         #    stack
    mov %r8, %r2
    call 1                      # 14: pays 4
    ldxh %r7, [%r8+1]           # 15: not aligned, pays 1
    exit                        # 16: the end pays 1
"""


@each_engine
@each_form
def test_time_is_paid_before_what_others_can_see(checked: bool, engine: str) -> None:
    log: list[object] = []

    def read(offset: int, width: int) -> int:
        log.append(("read", offset, width))
        return 0xAB_1122_3344

    def write(offset: int, width: int, value: int) -> None:
        log.append(("write", offset, width, value))

    def serve(*args: int) -> int:
        log.append(("service", args[0]))
        return 0

    shared = bytearray(16)

    def spend(instructions: int) -> None:
        log.append((instructions, shared.hex()[:4]))

    windows = [
        Window("device", DEVICE, 8, READ_WRITE, Registers(read, write), (4,)),
        Window("shared", SHARED, 16, READ_WRITE, Memory(shared, shared=True)),
        Window("private", PRIVATE, 16, READ_WRITE, Memory(bytearray(16))),
    ]
    services = Services([Service(1, "serve", serve, "logs its call")])
    thread = thread_of(PAID, engine, checked=checked, windows=windows, services=services)
    for _ in range(2):  # again with every window remembered
        log.clear()
        shared[:] = bytes(16)
        outcome = thread.run("main", (DEVICE, SHARED, 0, 0, PRIVATE), budget=100, spend=spend)
        assert outcome.reason == ""
        assert log == [
            (2, "0000"),
            ("read", 0, 4),
            (2, "0000"),
            ("write", 4, 4, 0x1122_3344),
            (1, "0000"),
            (1, "0100"),
            (2, "0101"),
            (1, "0101"),
            (1, "0101"),
            (4, "0101"),
            ("service", DEVICE),
            (1, "0101"),
            (1, "0101"),
        ]


@each_engine
def test_nothing_is_paid_twice_or_for_nothing(engine: str) -> None:
    spent: list[int] = []
    window = Window("device", DEVICE, 4, READ_WRITE, Registers(lambda offset, width: 0, lambda *_: None), (4,))
    thread = thread_of("ldxw %r0, [%r1]\nexit", engine, windows=[window])
    thread.run("main", (DEVICE,), budget=1, spend=spent.append)
    assert spent == [1]
    assert thread.run("main", (DEVICE,), budget=0, spend=spent.append).status is Status.BUDGET
    assert spent == [1]


@each_engine
def test_two_runs_interleave_inside_one_thread(engine: str) -> None:
    """Each run waits inside a register read while the other goes on, at different places and call depths."""
    text = """
        mov %r6, %r1
        stxdw [%r10-8], %r1
        call local twice
        ldxdw %r3, [%r10-8]
        add %r0, %r3            # + the argument, from the run's own stack
        add %r0, %r6
        exit
    twice:
        mov %r6, 0
        mov %r7, %r2
    again:
        ldxw %r3, [%r7]         # suspends; r7 is another register for each run
        add %r6, %r3
        ldxw %r3, [%r7]
        add %r6, %r3
        mov %r0, %r6
        exit
    """
    order: list[str] = []
    main = greenlet.getcurrent()

    def reader(name: str) -> Callable[[int, int], int]:
        values = iter({"a": (0x10, 0x20), "b": (0x100, 0x200)}[name])

        def read(offset: int, width: int) -> int:
            order.append(name)
            main.switch()
            return next(values)

        return read

    windows = [
        Window(name, base, 4, Right.READ, Registers(reader(name), lambda *_: None), (4,))
        for name, base in (("a", 0x1000), ("b", 0x2000))
    ]
    thread = thread_of(text, engine, windows=windows)
    spent: dict[str, list[int]] = {"a": [], "b": []}
    outcomes: dict[str, Outcome] = {}

    def core(name: str, argument: int, base: int) -> None:
        outcomes[name] = thread.run("main", (argument, base), budget=100, spend=spent[name].append)

    cores = [greenlet.greenlet(core) for _ in range(2)]
    cores[0].switch("a", 1, 0x1000)
    cores[1].switch("b", 2, 0x2000)
    while not all(core.dead for core in cores):
        for waiting in cores:
            if not waiting.dead:
                waiting.switch()
    assert order == ["a", "b", "a", "b"]
    assert (outcomes["a"].r0, outcomes["b"].r0) == (0x30 + 2, 0x300 + 4)
    assert outcomes["a"].instructions == outcomes["b"].instructions == 15
    assert spent == {"a": [6, 2, 7], "b": [6, 2, 7]}


@each_engine
@pytest.mark.parametrize("access", ["ldxw %r0, [%r1]", "stxw [%r1], %r2", "lock fetch_add32 [%r1], %r2"])
def test_a_step_that_waits_while_paying_is_not_misled_by_another_run(access: str, engine: str) -> None:
    """The other run makes the same step remember another window meanwhile."""
    first, second = bytearray(b"\1\0\0\0"), bytearray(b"\2\0\0\0")
    windows = [
        Window("first", 0x1000, 4, READ_WRITE, Memory(first, shared=True)),
        Window("second", 0x2000, 4, READ_WRITE, Memory(second, shared=True)),
    ]
    thread = thread_of(f"{access}\nexit", engine, windows=windows)
    main = greenlet.getcurrent()
    outcomes: list[Outcome] = []

    def pay_and_wait(instructions: int) -> None:
        main.switch()

    def core() -> None:
        outcomes.append(thread.run("main", (0x1000, 0x70), budget=9, spend=pay_and_wait))

    thread.run("main", (0x1000, 0), budget=9, spend=no_time)  # remembers the first window
    first[:] = b"\1\0\0\0"
    waiting = greenlet.greenlet(core)
    waiting.switch()
    thread.run("main", (0x2000, 0), budget=9, spend=no_time)  # now the second
    second[:] = b"\2\0\0\0"
    while not waiting.dead:
        waiting.switch()
    expected = {"ldxw": (1, 1), "stxw": (0x70, 0), "lock": (0x71, 0)}[access.split()[0]]
    assert (first[0], outcomes[0].r0) == expected
    assert second[0] == 2


@each_engine
def test_a_run_wants_a_known_entry_and_five_arguments_at_most(engine: str) -> None:
    thread = thread_of(".entry go\nexit", engine)
    assert thread.run("go", (), budget=1, spend=no_time).status is Status.RETURNED
    with pytest.raises(ValueError, match="entry: main is unknown; known are go; name one of them"):
        thread.run("main", (), budget=1, spend=no_time)
    with pytest.raises(ValueError, match="6 arguments, budget 1; at most 5, 0 or more are allowed"):
        thread.run("go", (0,) * 6, budget=1, spend=no_time)
    with pytest.raises(ValueError, match="0 arguments, budget -1"):
        thread.run("go", (), budget=-1, spend=no_time)


@each_engine
def test_arguments_are_cut_to_64_bits(engine: str) -> None:
    assert (
        thread_of("mov %r0, %r5\nexit", engine).run("main", (0, 0, 0, 0, -1), budget=2, spend=no_time).r0
        == (1 << 64) - 1
    )
