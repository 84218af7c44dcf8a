"""Manifests: what is refused, and in which words; how an ended call is counted."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from nimble.access import Right
from nimble.engine.outcome import Outcome, Status
from nimble.extension import Attachment, Manifest, Trust, Usage, WindowWish


def manifest(**changes: object) -> Manifest:
    fields = {"name": "counter", "trust": Trust.UNTRUSTED, "attach": (), "budget": 100}
    return Manifest(**{**fields, **changes})  # type: ignore[arg-type]


X, Y = Attachment("x", "main"), Attachment("x", "other", 5)
READ, WRITE = WindowWish("ram", Right.READ), WindowWish("ram", Right.WRITE)
NAME_REMEDY = "is no name; write a letter or '_', then at most 199 letters, digits, '_', '.' or '-'"
BUDGET_REMEDY = "must be 1 or more, and at most 1152921504606846976; give instructions per call"

REFUSED: list[tuple[Callable[[], object], str]] = [
    (lambda: manifest(name=""), f"manifest: name: '' {NAME_REMEDY}"),
    (lambda: manifest(name="two words"), f"manifest: name: 'two words' {NAME_REMEDY}"),
    (lambda: manifest(name="9lives"), f"manifest: name: '9lives' {NAME_REMEDY}"),
    (lambda: manifest(name="n" * 201), f"manifest: name: '{'n' * 201}' {NAME_REMEDY}"),
    (lambda: manifest(name=7), f"manifest: name: 7 {NAME_REMEDY}"),
    (lambda: manifest(budget=0), f"counter: budget: 0; {BUDGET_REMEDY}"),
    (lambda: manifest(budget=-3), f"counter: budget: -3; {BUDGET_REMEDY}"),
    (lambda: manifest(budget=1 << 61), f"counter: budget: {1 << 61}; {BUDGET_REMEDY}"),
    (lambda: manifest(budget=True), f"counter: budget: True; {BUDGET_REMEDY}"),
    (lambda: manifest(budget="100"), f"counter: budget: '100'; {BUDGET_REMEDY}"),
    (lambda: manifest(trust="trusted"), "counter: trust: 'trusted'; write trusted or untrusted"),
    (lambda: manifest(attach=[X]), f"counter: attach: [{X!r}]; give a tuple of Attachment"),
    (lambda: manifest(attach=(("x", "y"),)), "counter: attach: (('x', 'y'),); give a tuple of Attachment"),
    (lambda: manifest(windows=("ram",)), "counter: windows: ('ram',); give a tuple of WindowWish"),
    (lambda: manifest(calls="inner"), "counter: calls: 'inner'; give a tuple of str"),
    (lambda: manifest(exports=(1,)), "counter: exports: (1,); give a tuple of str"),
    (lambda: manifest(attach=(X, Y)), "counter: attach: x is named twice; an event has one entry; remove one"),
    (lambda: manifest(windows=(READ, WRITE)), "counter: windows: ram is named twice; ask for all rights at once;"),
    (lambda: manifest(calls=("a", "b", "a")), "counter: calls: a is named twice; once is enough; remove one"),
    (lambda: manifest(exports=("go", "go")), "counter: exports: go is named twice; once is enough; remove one"),
    (
        lambda: manifest(calls=("counter",)),
        "counter: calls: counter is this extension; call its function with call local",
    ),
    (lambda: manifest(shared_state=1), "counter: shared_state: 1; write true or false"),
    (lambda: manifest(resumes="yes"), "counter: resumes: 'yes'; write true or false"),
    (lambda: Attachment("", "main"), "attach: event: '' is no name; write the event's name"),
    (lambda: Attachment("x", 5), "attach: entry: 5 is no name; write the entry's name"),  # type: ignore[arg-type]
    (lambda: Attachment("x", "main", 1001), "attach x: priority: 1001 is no integer in -1000..1000; write one"),
    (lambda: Attachment("x", "main", -1001), "attach x: priority: -1001 is no integer in -1000..1000; write one"),
    (lambda: Attachment("x", "main", True), "attach x: priority: True is no integer in -1000..1000; write one"),
    (lambda: WindowWish("", Right.READ), "windows: name: '' is no name; write the window's name"),
    (lambda: WindowWish("ram", Right(0)), "window ram: rights: <Right: 0>; ask for READ, WRITE or both"),
    (lambda: WindowWish("ram", "read"), "window ram: rights: 'read'; ask for READ, WRITE or both"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("make", "error"), REFUSED, ids=[error[:50] for _, error in REFUSED])
def test_a_manifest_that_is_wrong_says_what_and_how_to_mend_it(make: Callable[[], object], error: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        make()
    assert str(caught.value).startswith(error)


def test_bounds_are_allowed() -> None:
    assert manifest(budget=1).budget == 1
    assert manifest(budget=1 << 60, name="n" * 200).budget == 1 << 60
    assert Attachment("x", "main", -1000).priority == -1000


def test_usage_adds_up() -> None:
    usage = Usage()
    for took_ps in (30, 50, 20, 0):
        usage.add_time(took_ps)
    for status in (Status.FAULT, Status.BUDGET, Status.FAULT):
        usage.add_stop(Outcome(status, 0, 3, 0, "why"))
    assert usage == Usage(faults=2, budget_stops=1, time_ps=100, worst_ps=50)
