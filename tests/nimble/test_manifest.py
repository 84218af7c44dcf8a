"""Manifests from text and back, and what is said of each that is refused."""

from __future__ import annotations

import random

import pytest

from nimble.access import READ_WRITE, Right
from nimble.extension import Attachment, Manifest, Trust, WindowWish
from nimble.manifest import ManifestError, dump, parse

FULL = """
name: counter
trust: trusted
budget: 1000
attach:
  - {event: nic.interrupt, entry: interrupt, priority: -5}
  - event: trap.7
    entry: "on: trap"
windows:
  - {name: nic.context0, rights: read-write}
  - {name: table, rights: write}
calls: [logger, sums]
exports: [total]
shared_state: true
resumes: true
"""
MANIFEST = Manifest(
    name="counter",
    trust=Trust.TRUSTED,
    attach=(Attachment("nic.interrupt", "interrupt", -5), Attachment("trap.7", "on: trap")),
    budget=1000,
    windows=(WindowWish("nic.context0", READ_WRITE), WindowWish("table", Right.WRITE)),
    calls=("logger", "sums"),
    exports=("total",),
    shared_state=True,
    resumes=True,
)
LEAST = Manifest(name="least", trust=Trust.UNTRUSTED, attach=(), budget=1)


def test_everything_is_read() -> None:
    assert parse(FULL, source="x.yaml") == MANIFEST


def test_json_and_defaults() -> None:
    assert parse('{"name": "least", "budget": 1}', source="x.json") == LEAST


def test_dumped_text() -> None:
    assert parse(dump(MANIFEST), source="x") == MANIFEST
    assert dump(LEAST) == "name: least\ntrust: untrusted\nbudget: 1\n"


G = "name: x\nbudget: 5\n"
REFUSED = [
    ("", "x:1: is no mapping of keys to values; begin with name: and budget:"),
    ("- name", "x:1: is no mapping of keys to values; begin with name: and budget:"),
    ("name: x\nbudget: [", "x:2: is no YAML: expected the node content, but found '<stream end>'; mend it"),
    ("name: x\n\tbudget: 5", "x:2: is no YAML: found character '\\t' that cannot start any token; mend it"),
    ("name: \0", "x:1: is no YAML: unacceptable character #x0000: special characters are not allowed in "),
    ("name: x\nbudget: 5\nname: y", "x:3: name: stands twice; each key stands once; remove one"),
    ("? [a]\n: b", "x:1: a key is a list or a mapping; keys are words; write one"),
    (G + "calls: &a [b]\nexports: *a", "x:4: *a: aliases are not supported; write the value again"),
    (G + "calls: " + "[" * 50 + "]" * 50, "x:3: is nested deeper than 8; a manifest needs 3; simplify it"),
    (G + "calls: !system [y]", "x:3: !system: tags are not supported; remove it"),
    (G + "calls: [!!python/name:os.system x]", "x:3: 'x': is no value of a kind that is known; write text in quotes"),
    (G + "calls: [!thing x]", "x:3: 'x': is no value of a kind that is known; write text in quotes"),
    (G + "resumes: 2020-99-99", "x:3: '2020-99-99': is no value of a kind that is known; write text in quotes"),
    ("#" * 70000, "x:1: 70000 characters; a manifest has at most 65536; shorten it"),
    ("name: x", "x:1: budget: is missing; add it"),
    ("budget: 5", "x:1: name: is missing; add it"),
    (G + "buget: 5", "x:3: buget: unknown key; known are name, trust, budget, attach, windows, calls, exports, "),
    (G + "trusst: 5", "did you mean trust?"),
    (G + "zzz: 5", "resumes; remove it"),
    (G + "trust: kernel", "x:3: trust: 'kernel' is not one of trusted, untrusted; choose one of them"),
    ("name: x\nbudget: many", "x:2: budget: 'many' is not an integer; write an integer"),
    ("name: x\nbudget: 0", "x: x: budget: 0; must be 1 or more, and at most"),
    ("name: x\nbudget: true", "x:2: budget: True is not an integer; write an integer"),
    ("name: 7\nbudget: 5", "x:1: name: 7 is not text; write text"),
    ("name: a b\nbudget: 5", "x: manifest: name: 'a b' is no name; write a letter or '_', then at most "),
    (G + "attach: interrupt", "x:3: attach: 'interrupt' is not a list; write a list"),
    (G + "attach:\n- interrupt", "x:4: attach[0]: 'interrupt' is not a mapping; write a mapping"),
    (G + "attach:\n- {event: a}", "x:4: attach[0].entry: is missing; add it"),
    (G + "attach:\n- event: a\n  entri: b", "x:5: attach[0].entri: unknown key; known are event, entry, priority; did"),
    (G + "attach:\n- {event: a, entry: b, priority: high}", "x:4: attach[0].priority: 'high' is not an integer; "),
    (G + "attach: [{event: a, entry: b, priority: 2000}]", "x: attach a: priority: 2000 is no integer in -1000..1000"),
    (G + "attach: [{event: '', entry: b}]", "x: attach: event: '' is no name; write the event's name"),
    (G + "windows: [{name: a, rights: execute}]", "x:3: windows[0].rights: 'execute' is not one of read, write, read-"),
    (G + "windows: [{name: a}]", "x:3: windows[0].rights: is missing; add it"),
    (G + "windows: [{name: a, rights: read}, {name: a, rights: write}]", "x: x: windows: a"),
    (G + "calls: [x]", "x: x: calls: x is this extension; call its function with call local"),
    (G + "calls: [1]", "x:3: calls[0]: 1 is not text; write text"),
    (G + "shared_state: maybe", "x:3: shared_state: 'maybe' is not true or false; write true or false"),
    (G + f"calls: {'y' * 100}", f"x:3: calls: '{'y' * 56}... is not a list; write a list"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "error"), REFUSED)
def test_refused(text: str, error: str) -> None:
    with pytest.raises(ManifestError) as caught:
        parse(text, source="x")
    assert error in str(caught.value)
    assert str(caught.value).startswith("x:")
    assert "\n" not in str(caught.value)


def test_damaged_text_is_never_a_bare_error() -> None:
    generator = random.Random(5)
    refused = 0
    for _ in range(300):
        text = list(FULL)
        for _ in range(generator.randint(1, 4)):
            text[generator.randrange(len(text))] = generator.choice("{}[]:,-&*!#|>'\"%@`\n \t\0\x1f~9aé\u2028")
        try:
            parse("".join(text), source="x")
        except ManifestError as error:
            refused += 1
            assert str(error).startswith("x:")  # noqa: PT017 - both ends are allowed
    assert refused > 100
