"""Calls from one extension to another: one budget, two sets of windows, two trusts; who is stopped by what."""

from __future__ import annotations

import greenlet
import pytest

from nimble.access import READ_WRITE, Memory, Registers, Right, Window
from nimble.assembler import assemble
from nimble.engine import ENGINES
from nimble.engine.outcome import Outcome, Status, no_time
from nimble.engine.runs import Costs
from nimble.extension import Extension, Manifest, Trust, Usage, WindowWish
from nimble.host import Host
from nimble.isa import TABLE
from nimble.linking import CALL_ID_BASE, CHAIN_LIMIT
from nimble.services import Service, Services
from nimble.verifier import InsertionRefused

# 6 instructions: the sum of its five arguments.
SUM = ".entry sum\nmov %r0, %r1\nadd %r0, %r2\nadd %r0, %r3\nadd %r0, %r4\nadd %r0, %r5\nexit"
SUM_INSTRUCTIONS = 6
ARGUMENTS = "mov %r1, 1\nmov %r2, 20\nmov %r3, 300\nmov %r4, 4000\nmov %r5, 50000\n"
UNTRUSTED, TRUSTED = Trust.UNTRUSTED, Trust.TRUSTED


def insert(
    host: Host,
    name: str,
    text: str,
    *,
    calls: tuple[str, ...] = (),
    exports: tuple[str, ...] = (),
    trust: Trust = UNTRUSTED,
    budget: int = 100,
    windows: tuple[Window, ...] = (),
    services: tuple[Service, ...] = (),
) -> Extension:
    asked = Manifest(
        name=name,
        trust=trust,
        attach=(),
        budget=budget,
        calls=calls,
        exports=exports,
        windows=tuple(WindowWish(window.name, window.rights) for window in windows),
    )
    known = host.services_for(asked, Services(services))
    program = assemble(text, symbols=known.symbols(), source=f"{name}.asm")
    return host.insert(program, asked, windows=windows, services=Services(services))


def call(host: Host, extension: Extension, *args: int) -> Outcome:
    return host.call(extension, "main", args, spend=no_time)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_call_passes_five_arguments_and_a_result(engine: str) -> None:
    host = Host(engine=engine)
    inner = insert(host, "inner", SUM, exports=("sum",), budget=20)
    outer = insert(host, "outer", f"{ARGUMENTS}call call_inner_sum\nadd %r0, 6\nexit", calls=("inner",))
    outcome = call(host, outer)
    assert (outcome.r0, outcome.instructions) == (54327, 8)
    assert inner.usage == Usage(calls=1, instructions=SUM_INSTRUCTIONS)
    assert outer.usage == Usage(calls=1, instructions=8)


def test_names_and_ids_follow_the_manifest() -> None:
    host = Host()
    exit_ = "mov %r0, 0\nexit\n"
    insert(
        host,
        "nic.driver-2",
        f".entry send\n{exit_}.entry hidden\n{exit_}.entry re-set\n{exit_}",
        exports=("re-set", "send"),
    )
    insert(host, "b", f".entry go\n{exit_}", exports=("go",))
    asked = Manifest(name="outer", trust=UNTRUSTED, attach=(), budget=9, calls=("b", "nic.driver-2"))
    log = Service(7, "log", lambda *_: 0, "")
    assert host.services_for(asked, Services([log])).symbols() == {
        "log": 7,
        "call_b_go": CALL_ID_BASE,
        "call_nic_driver_2_re_set": CALL_ID_BASE + 1,
        "call_nic_driver_2_send": CALL_ID_BASE + 2,
    }


# Budget of the caller, of the callee; whether the call happens. Before it 6 instructions, call included, behind it 1.
STARVED = [
    (27, 20, True),
    (26, 20, True),
    (25, 20, False),
    (7, 1, True),
    (6, 1, False),
    (100, 95, False),
    (101, 95, True),
]


@pytest.mark.parametrize(("outer_budget", "inner_budget", "happens"), STARVED)
def test_nobody_stops_a_callee_by_starving_it(outer_budget: int, inner_budget: int, happens: bool) -> None:
    """The caller faults instead, and the callee has not been touched."""
    host = Host()
    text = SUM if inner_budget > 1 else ".entry sum\nexit"
    inner = insert(host, "inner", text, exports=("sum",), budget=inner_budget)
    text = f"{ARGUMENTS}call call_inner_sum\nexit"
    outer = insert(host, "outer", text, calls=("inner",), budget=outer_budget)
    outcome = call(host, outer)
    assert inner.usable
    if happens:
        assert (inner.usage.calls, inner.usage.budget_stops) == (1, 0)
    else:
        assert outcome.reason == (
            f"outer.asm:6: pc 5: call {CALL_ID_BASE}: call of inner: {outer_budget - 6} instructions are left, it may "
            f"need {inner_budget}; raise the budget of its caller or call earlier"
        )
        assert (inner.usage, outer.stopped) == (Usage(), outcome)


@pytest.mark.parametrize("engine", ENGINES)
def test_what_callees_use_is_taken_off_the_budget(engine: str) -> None:
    """a calls b twice, b calls c once: 4 + 2 * (2 + 6) instructions are needed, and not one less."""
    for budget, status, executed in ((20, Status.RETURNED, 4), (19, Status.BUDGET, 3)):
        host = Host(engine=engine)
        c = insert(host, "c", SUM, exports=("sum",), budget=SUM_INSTRUCTIONS)
        b = insert(host, "b", ".entry go\ncall call_c_sum\nexit", calls=("c",), exports=("go",), budget=8)
        a = insert(host, "a", "mov %r0, 0\ncall call_b_go\ncall call_b_go\nexit", calls=("b",), budget=budget)
        outcome = call(host, a)
        assert (outcome.status, outcome.instructions) == (status, executed)
        assert (c.usage.instructions, b.usage.instructions, b.usage.calls) == (12, 4, 2)


def test_a_callee_sees_its_own_windows_and_nothing_of_its_caller() -> None:
    host = Host()
    secret, public = (
        Window(name, base, 8, READ_WRITE, Memory(bytearray(8))) for name, base in (("s", 0x1000), ("p", 0x2000))
    )
    text = ".entry go\nldxb %r0, [%r1]\nexit"
    inner = insert(host, "inner", text, exports=("go",), windows=(public,), budget=10)
    look = "mov %r1, {}\ncall call_inner_go\nexit"
    assert call(host, insert(host, "polite", look.format(0x2000), calls=("inner",), windows=(secret,))).r0 == 0
    outcome = call(host, insert(host, "curious", look.format(0x1000), calls=("inner",), windows=(secret,)))
    assert outcome.reason == (
        f"curious.asm:2: pc 1: call {CALL_ID_BASE}: call of inner: it was stopped: inner.asm:2: pc 0: ldxb %r0, [%r1]: "
        "1-byte read at 0x1000: no window holds it; the nearest is p 0x2000..0x2008; ask for a window or mend the "
        "address"
    )
    assert inner.stopped is not None
    assert (inner.usage.calls, inner.usage.faults) == (2, 1)


@pytest.mark.parametrize(
    ("ending", "why"),
    [("fault", "pc 0: ldxb %r0, [%r1]: 1-byte read at"), ("budget", "the budget of 30 instructions is exhausted")],
)
def test_the_fault_of_a_callee_stops_both(ending: str, why: str) -> None:
    host = Host()
    text = ".entry go\nldxb %r0, [%r1]\nexit" if ending == "fault" else ".entry go\nja -1"
    inner = insert(host, "inner", text, exports=("go",), budget=30)
    outer = insert(host, "outer", "mov %r1, 0\ncall call_inner_go\nexit", calls=("inner",))
    third = insert(host, "third", "mov %r1, 0\ncall call_inner_go\nexit", calls=("inner",))
    for extension in (outer, third):
        outcome = call(host, extension)
        assert outcome.status is Status.FAULT
        assert f"call {CALL_ID_BASE}: call of inner: it was stopped: " in outcome.reason
        assert why in outcome.reason
        assert (extension.stopped, outcome.instructions) == (outcome, 2)
    assert inner.usage.calls == 1
    assert (inner.usage.faults, inner.usage.budget_stops) == ((1, 0) if ending == "fault" else (0, 1))


def test_a_callee_that_was_removed_faults_its_caller() -> None:
    host = Host()
    inner = insert(host, "inner", SUM, exports=("sum",), budget=10)
    outer = insert(host, "outer", "call call_inner_sum\nexit", calls=("inner",))
    host.remove(inner)
    insert(host, "inner", SUM, exports=("sum",), budget=10)  # not the one that outer is bound to
    outcome = call(host, outer)
    assert outcome.reason.endswith("call of inner: it was removed; insert it and then its callers again")


def test_a_callee_removed_while_it_runs_returns_to_its_caller() -> None:
    main, host = greenlet.getcurrent(), Host()

    def wait(offset: int, width: int) -> int:
        main.switch()
        return 7

    device = Window("device", 0x1000, 4, Right.READ, Registers(wait, lambda *_: None), (4,))
    text = ".entry go\nmov %r1, 0x1000\nldxw %r0, [%r1]\nexit"
    inner = insert(host, "inner", text, exports=("go",), windows=(device,), budget=10)
    outer = insert(host, "outer", "call call_inner_go\nadd %r0, 1\nexit", calls=("inner",))
    core = greenlet.greenlet(lambda: call(host, outer))
    core.switch()
    host.remove(inner)
    host.remove(outer)
    assert (inner.running, outer.running) == (1, 1)
    outcome = core.switch()
    assert (outcome.status, outcome.r0) == (Status.RETURNED, 8)
    assert (inner.thread, outer.thread) == (None, None)


def test_each_core_pays_for_the_calls_that_it_makes() -> None:
    """Two greenlets are inside the same callee; each spends with its own function, at the callee's own prices."""
    main, host = greenlet.getcurrent(), Host(costs=Costs(dict.fromkeys(TABLE, 10), dict.fromkeys(TABLE, 1)))
    switch = Service(1, "switch", lambda *_: main.switch() or 0, "")
    text = ".entry go\nmov %r0, 0\ncall switch\nmov %r0, 0\nexit"
    insert(host, "inner", text, exports=("go",), trust=TRUSTED, services=(switch,), budget=10)
    outer = insert(host, "outer", "call call_inner_go\nexit", calls=("inner",))
    spent: list[list[int]] = [[], []]
    cores = [greenlet.greenlet(lambda own=own: host.call(outer, "main", (), spend=own.append)) for own in spent]
    for core in (*cores, *reversed(cores)):
        core.switch()
    assert all(core.dead for core in cores)
    assert spent == [[10, 2, 2, 10]] * 2


def test_a_chain_is_as_long_as_the_limit() -> None:
    host = Host()
    insert(host, "e0", ".entry go\nmov %r0, 1\nexit", exports=("go",), budget=2)
    for level in range(1, CHAIN_LIMIT):
        text = f".entry go\ncall call_e{level - 1}_go\nadd %r0, 1\nexit"
        insert(host, f"e{level}", text, calls=(f"e{level - 1}",), exports=("go",), budget=2 + 3 * level)
    last = host.extensions[f"e{CHAIN_LIMIT - 1}"]
    assert host.call(last, "go", (), spend=no_time).r0 == CHAIN_LIMIT
    with pytest.raises(InsertionRefused) as caught:
        insert(host, "over", "exit", calls=(last.name,))
    assert str(caught.value) == (
        f"over: calls: e7 heads a chain of {CHAIN_LIMIT} extensions; at most {CHAIN_LIMIT} call one another; make it "
        "shorter"
    )


def test_what_cannot_be_called_is_refused() -> None:
    host = Host()
    insert(host, "shy", SUM)
    insert(host, "plain", SUM, exports=("sum",))
    broken = insert(host, "broken", "ldxb %r0, [%r1]\nexit", exports=("main",))
    call(host, broken)
    missing = "is not inserted; inserted are: shy, plain; insert it first; extensions that would call each other in a"
    table: list[tuple[dict[str, object], str]] = [
        ({"calls": ("gone",)}, f"new: calls: gone {missing} circle cannot be inserted"),
        ({"calls": ("broken",)}, f"new: calls: broken {missing} circle cannot be inserted"),
        (
            {"calls": ("shy",)},
            "new: calls: shy exports no entry; name those that others may call in its exports",
        ),
        (
            {"calls": ("plain",), "trust": TRUSTED},
            "new: calls: plain is untrusted, and its fault would stop this trusted extension; call trusted ones only",
        ),
        (
            {"calls": ("plain",), "services": (Service(9, "call_plain_sum", lambda *_: 0, ""),)},
            f"new: calls: service call_plain_sum ({CALL_ID_BASE}): call_plain_sum (9) is there already; rename one",
        ),
        (
            {"calls": ("plain",), "services": (Service(CALL_ID_BASE, "log", lambda *_: 0, ""),)},
            f"new: calls: service call_plain_sum ({CALL_ID_BASE}): log ({CALL_ID_BASE}) is there already; rename one",
        ),
    ]
    for changes, error in table:
        with pytest.raises(InsertionRefused) as caught:
            insert(host, "new", "mov %r0, 0\nexit", **changes)  # type: ignore[arg-type]
        assert str(caught.value).startswith(error)
    assert set(host.extensions) == {"shy", "plain", "broken"}


@pytest.mark.parametrize(("outer", "inner"), [(UNTRUSTED, UNTRUSTED), (UNTRUSTED, TRUSTED), (TRUSTED, TRUSTED)])
def test_each_runs_with_its_own_trust(outer: Trust, inner: Trust) -> None:
    """Of a window that may only be read, unchecked code writes none the less: the callee's trust decides."""
    host = Host()
    window = Window("ram", 0x1000, 8, Right.READ, Memory(bytearray(8)))
    text = ".entry go\nmov %r1, 0x1000\nstb [%r1], 5\nldxb %r0, [%r1]\nexit"
    try:
        insert(host, "inner", text, exports=("go",), trust=inner, windows=(window,), budget=10)
    except InsertionRefused:
        assert inner is UNTRUSTED  # what is certain to fault may be refused before it runs
        return
    caller = insert(host, "outer", "call call_inner_go\nexit", calls=("inner",), trust=outer)
    outcome = call(host, caller)
    assert (outcome.status, outcome.r0) == ((Status.RETURNED, 5) if inner is TRUSTED else (Status.FAULT, 0))
