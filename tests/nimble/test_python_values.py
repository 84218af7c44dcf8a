"""What compiled sources compute, against CPython running the same text on integers that wrap."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from nimble.engine.outcome import Status
from tests.nimble.python_sources import build

TYPES = {f"{'i' if signed else 'u'}{bits}": (bits, signed) for bits in (8, 16, 32, 64) for signed in (False, True)}


class Wrapped:
    """An integer of a width: every result wraps; two widths give the wider."""

    def __init__(self, value: int | Wrapped | bool, bits: int, signed: bool) -> None:
        value = int(value) % (1 << bits)
        self.bits, self.signed = bits, signed
        self.value = value - (1 << bits) if signed and value >> bits - 1 else value

    def __index__(self) -> int:
        return self.value

    __int__ = __index__

    def __bool__(self) -> bool:
        return self.value != 0

    def __hash__(self) -> int:
        return hash(self.value)

    def _with(self, other: int | Wrapped, compute: Callable[[int, int], int]) -> Wrapped:
        bits = max(self.bits, other.bits) if isinstance(other, Wrapped) else self.bits
        return Wrapped(compute(self.value, int(other)), bits, self.signed)

    def __neg__(self) -> Wrapped:
        return Wrapped(-self.value, self.bits, self.signed)

    def __invert__(self) -> Wrapped:
        return Wrapped(~self.value, self.bits, self.signed)

    def __pos__(self) -> Wrapped:
        return self

    def __lshift__(self, other: int | Wrapped) -> Wrapped:
        return Wrapped(self.value << min(int(other), 100), self.bits, self.signed)

    def __rshift__(self, other: int | Wrapped) -> Wrapped:
        return Wrapped(self.value >> min(int(other), 100), self.bits, self.signed)

    def __rlshift__(self, other: int) -> Wrapped:
        return Wrapped(other << min(self.value, 100), self.bits, self.signed)

    def __eq__(self, other: object) -> bool:
        return self.value == int(other)  # type: ignore[call-overload]


def _operator(compute: Callable[[int, int], int]) -> tuple[Any, Any]:
    def forward(self: Wrapped, other: int | Wrapped) -> Wrapped:
        return self._with(other, compute)

    def backward(self: Wrapped, other: int) -> Wrapped:
        return self._with(other, lambda a, b: compute(b, a))

    return forward, backward


OPERATORS: dict[str, Callable[[int, int], int]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
    "floordiv": lambda a, b: a // b if b else 0,  # RFC 9669: no fault
    "mod": lambda a, b: a % b if b else a,
}
for _name, _compute in OPERATORS.items():
    _forward, _backward = _operator(_compute)
    setattr(Wrapped, f"__{_name}__", _forward)
    setattr(Wrapped, f"__r{_name}__", _backward)
COMPARISONS: dict[str, Callable[[int, int], bool]] = {
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
}
for _name, _compare in COMPARISONS.items():
    setattr(Wrapped, f"__{_name}__", lambda self, other, compare=_compare: compare(self.value, int(other)))


def cast(name: str) -> Callable[[int | Wrapped], Wrapped]:
    bits, signed = TYPES[name]
    return lambda value: Wrapped(value, bits, signed)


PYTHON: dict[str, Any] = {name: cast(name) for name in TYPES}


def operands(rng: random.Random, name: str, count: int) -> list[int]:
    """Values of a type: its ends, small ones, and any."""
    bits, signed = TYPES[name]
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    edges = [low, low + 1, high, high - 1, 0, 1, 2, 3, 7, -1 if signed else high // 2, bits - 1, bits]
    some = [*rng.sample(edges, min(len(edges), count)), *(rng.randint(low, high) for _ in range(count))]
    return [min(max(value, low), high) for value in some]


EXPRESSIONS = [
    "a + b", "a - b", "a * b", "a & b", "a | b", "a ^ b", "a // b", "a % b", "-a", "~a", "+a - 1", "7 - a",
    "a // 3", "a % 10", "a * b // b", "100 // b", "100 % b", "(a // 7) * 7 + a % 7",
    "a << 3", "a >> 3", "a << 0", "a << 7 >> 7", "a << 70", "a >> 70",
    "a << u8(b)", "a >> u8(b)", "a >> (u8(b) & 7)", "a << u64(b)", "a >> u64(b)",
    "min(a, b)", "max(a, 5)", "a if a < b else b", "1 if a == b else a", "a if not a else b",
    "a + 1 if 1 < a <= b else a - 1", "(a ^ b) + (a & b) * 2",
]  # fmt: skip
CONDITIONS = [
    "a < b", "a <= b", "a > b", "a >= b", "a == b", "a != b", "a < 5", "3 >= a", "0 < a < b", "a < b < 100 < a + b",
    "a == b or a < 3 and not b == 1", "(a < b) == (b < a)", "(a < b) & (a != 3)", "(a < b) ^ (b > 9)", "not a",
    "a * b // b != a", "bool(a) or b == 2", "a < b if a != 0 else b == 0",
]  # fmt: skip


def source_of(name: str) -> str:
    texts = []
    for number, text in enumerate(EXPRESSIONS):
        texts.append(f"@entry\ndef e{number}(a: {name}, b: {name}) -> {name}:\n    return {text}\n")
    for number, text in enumerate(CONDITIONS):
        texts.append(f"@entry\ndef c{number}(a: {name}, b: {name}) -> bool:\n    return {text}\n")
    return "\n".join(texts)


@pytest.mark.parametrize("name", TYPES)
def test_expressions(name: str) -> None:
    runner = build(source_of(name))
    rng = random.Random(name)
    for prefix, texts in (("e", EXPRESSIONS), ("c", CONDITIONS)):
        for number, text in enumerate(texts):
            code = compile(text, text, "eval")
            for a, b in zip(operands(rng, name, 6), operands(rng, name, 6), strict=True):
                given = {**PYTHON, "a": PYTHON[name](a), "b": PYTHON[name](b)}
                expected = int(eval(code, given)) % (1 << 64)
                if prefix == "e":
                    expected = int(PYTHON[name](int(eval(code, given)))) % (1 << 64)
                assert runner.value(f"{prefix}{number}", a, b) == expected, f"{text} with {a}, {b} of {name}"


@pytest.mark.parametrize("cpu", ["v1", "v2", "v3"])
@pytest.mark.parametrize("name", ["u8", "u32", "i16", "i64"])
def test_expressions_without_newer_instructions(name: str, cpu: str) -> None:
    texts = [text for text in EXPRESSIONS if name[0] == "u" or not {"//", "%"} & set(text.split())]
    assert len(texts) > 20
    entries = "\n".join(
        f"@entry\ndef e{n}(a: {name}, b: {name}) -> {name}:\n    return {t}\n" for n, t in enumerate(texts)
    )
    runner = build(entries, cpu=cpu)
    rng = random.Random(name)
    for number, text in enumerate(texts):
        for a, b in zip(operands(rng, name, 3), operands(rng, name, 3), strict=True):
            result = eval(text, {**PYTHON, "a": PYTHON[name](a), "b": PYTHON[name](b)})
            assert runner.value(f"e{number}", a, b) == int(PYTHON[name](int(result))) % (1 << 64), text


@pytest.mark.parametrize("source", TYPES)
def test_conversions(source: str) -> None:
    """From every type to every other, and both ways through a register: an argument and a result."""
    entries = [f"@entry\ndef to_{t}(a: {source}) -> {t}:\n    return {t}(a)\n" for t in TYPES]
    wide = [t for t in TYPES if t[0] == source[0] and TYPES[t][0] >= TYPES[source][0]]
    entries += [f"@entry\ndef sum_{t}(a: {source}, b: {t}) -> {t}:\n    return a + b\n" for t in wide]
    runner = build("\n".join(entries))
    rng = random.Random(source)
    for value in operands(rng, source, 8):
        a = PYTHON[source](value)
        for target in TYPES:
            assert runner.value(f"to_{target}", value) == int(PYTHON[target](a)) % (1 << 64), (value, target)
        for target in wide:
            assert runner.value(f"sum_{target}", value, 77) == int(PYTHON[target](a.value + 77)) % (1 << 64)


STATEMENTS = {
    "while": "s = u64(0)\nwhile a:\n    s += a\n    a = a // 3\nreturn s",
    "sum of a range": "s = u64(0)\nfor i in range(a & 63):\n    s += i\nreturn s",
    "range with steps": "s = u64(1)\nfor i in range(a & 31, 90, 7):\n    s = s * 31 + i\nreturn s",
    "range down": "s = u64(1)\nfor i in range(a & 31, 3, -2):\n    s = s * 31 + i\nreturn s",
    "last value of a range": "last = u64(9)\nfor i in range(a & 7):\n    last = u64(i)\n    i = u64(100)\nreturn last",
    "break": "i = u64(0)\nwhile True:\n    i += 1\n    if i * i > (a & 1023):\n        break\nreturn i",
    "continue": "s = u64(0)\nfor i in range(20):\n    if (a >> i) & 1:\n        continue\n    s ^= u64(i)\nreturn s",
    "nested": (
        "s = u64(0)\nfor i in range(a & 7):\n    for j in range(b & 7):\n        if j == i:\n            break\n"
        "        s += u64(i * 10 + j)\nreturn s"
    ),
    "elif": "if a < b:\n    return a\nelif a == b:\n    return u64(7)\nelse:\n    a -= b\nreturn a * 2",
    "swap": "a, b = b, a\nreturn a - b",
    "same value": "x = y = a + 1\nx += 1\nreturn x * y",
    "collatz": (
        "steps = u64(0)\nn = (a & 255) + 1\nwhile n != 1 and steps < 500:\n"
        "    n = n // 2 if n % 2 == 0 else n * 3 + 1\n    steps += 1\nreturn steps"
    ),
    "gcd": "while b:\n    a, b = b, a % b\nreturn a",
    "shifts": "s = u64(0)\nfor i in range(70):\n    s ^= (a << i) + (b >> i)\nreturn s",
    "many branches": (
        "x = a & 15\n" + "".join(f"if x == {n}:\n    return u64({n * n + 3})\n" for n in range(12)) + "return x"
    ),
    "pressure": (
        "".join(f"v{n} = (a ^ {n * 77}) * (b + {n})\n" for n in range(20))
        + "for i in range(3):\n"
        + "".join(f"    v{n} += v{(n + 1) % 20} ^ u64(i)\n" for n in range(20))
        + "return "
        + " ^ ".join(f"v{n}" for n in range(20))
    ),
    "overflow test": "m = a * b\nif b != 0 and m // b != a:\n    return u64(1)\nreturn m",
    "bits": "n = u64(0)\nwhile a:\n    a &= a - 1\n    n += 1\nreturn n",
    "leading zeros": "n = u64(0)\nwhile a:\n    a >>= 1\n    n += 1\nreturn n",
}


def indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())


def test_statements() -> None:
    texts = {name: f"def f(a: u64, b: u64) -> u64:\n{indented(body)}" for name, body in STATEMENTS.items()}
    entries = [f"@entry\n{text.replace('def f', f'def f{n}')}" for n, text in enumerate(texts.values())]
    runner = build("\n".join(entries))
    rng = random.Random(1)
    for number, (name, text) in enumerate(texts.items()):
        space = dict(PYTHON)
        exec(text, space)
        for a, b in zip(operands(rng, "u64", 5), operands(rng, "u64", 5), strict=True):
            expected = int(PYTHON["u64"](space["f"](PYTHON["u64"](a), PYTHON["u64"](b))))
            assert runner.value(f"f{number}", a, b) == expected, f"{name} with {a}, {b}"


def test_a_range_reaches_the_end_of_its_type() -> None:
    """The counter neither overflows at the type's end nor runs on; Python's own range is the reference."""
    cases = [("u8", 250, 255, 1), ("u8", 250, 255, 10), ("u8", 5, 0, -3), ("i8", 120, 127, 5), ("i8", -120, -128, -5)]
    cases += [("u64", 0, 0, 1), ("u64", 9, 3, 1), ("i32", -3, 3, 2), ("u16", 65535, 0, -30000), ("i8", -128, 127, 100)]
    entries = []
    for number, (name, _, _, step) in enumerate(cases):
        entries.append(
            f"@entry\ndef f{number}(a: {name}, b: {name}) -> u64:\n    s: u64 = 1\n"
            f"    for i in range(a, b, {step}):\n        s = s * 257 + u64(u8(i))\n    return s\n"
        )
    runner = build("\n".join(entries))
    for number, (_, start, stop, step) in enumerate(cases):
        expected = 1
        for i in range(start, stop, step):
            expected = (expected * 257 + i % 256) % (1 << 64)
        assert runner.value(f"f{number}", start, stop) == expected, cases[number]


def test_functions_call_each_other_and_themselves() -> None:
    runner = build(
        "def power(base: u64, n: u32) -> u64:\n"
        "    if n == 0:\n        return 1\n"
        "    half = power(base * base, n // 2)\n"
        "    return half * base if n % 2 else half\n"
        "@noinline\ndef five(a: u8, b: i16, c: bool, d: u64, e: i64) -> i64:\n"
        "    return i64(a) + i64(b) * 2 + (100 if c else 0) + i64(d) - e\n"
        "@noinline\ndef nothing(a: u64) -> None:\n    return\n"
        "@entry\ndef main(base: u64, n: u32) -> u64:\n    nothing(base)\n    return power(base, n)\n"
        "@entry\ndef mix(a: u64, b: i64) -> i64:\n    return five(u8(a), i16(b), a < 3, a, b)\n"
        "@entry\ndef count(n: u64) -> u64:\n    return n if n == 0 else count(n - 1) + 1\n"
        "@entry\ndef quiet() -> None:\n    pass\n"
    )
    assert [runner.value("main", 3, n) for n in (0, 1, 5, 40, 100)] == [pow(3, n, 1 << 64) for n in (0, 1, 5, 40, 100)]
    assert runner.value("mix", 2, -5) == (2 + 2 * -5 + 100 + 2 + 5) % (1 << 64)
    assert runner.value("mix", 0x1_0005, 0x1_8000) == (5 + 2 * -0x8000 + 0x1_0005 - 0x1_8000) % (1 << 64)
    assert [runner.value("count", n) for n in (0, 6)] == [0, 6]
    assert runner.value("quiet") == 0


def test_constants_fold_as_python_folds() -> None:
    runner = build(
        "import enum\n"
        "A = 7 // -2\nB: u8 = (1 << 70) // (1 << 63)\nC = A * -3 % 5 if B > 100 else ~A\n"
        "class Kind(enum.IntEnum):\n    PUT = 1\n    GET = 1 << 4\n"
        "TABLE: tuple[u16, ...] = (3, A + 10, 0xFFFF)\nPLAIN = (5, 6)\n"
        "SIZE = parameter()\nSPARE = parameter(9)\n"
        "@entry\ndef f(i: u64) -> i64:\n"
        "    return A + B + C + Kind.GET + TABLE[-1] + PLAIN[1] + SIZE + SPARE + len(TABLE) + i64(TABLE[i])\n"
        "@entry\ndef total() -> u64:\n    s: u64 = 0\n    for x in TABLE:\n        s += x\n    return s\n"
        "@entry\ndef most() -> u64:\n    return 0xFFFF_FFFF_FFFF_FFFF\n"
        "@entry\ndef wrapped() -> u8:\n    return u8(-1) + u8(300)\n",
        constants={"SIZE": 1000},
    )
    a, b = 7 // -2, (1 << 70) // (1 << 63)
    c = a * -3 % 5 if b > 100 else ~a
    table = (3, a + 10, 0xFFFF)
    for i in range(3):
        assert runner.value("f", i) == a + b + c + 16 + 0xFFFF + 6 + 1000 + 9 + 3 + table[i]
    assert runner.value("total") == sum(table)
    assert runner.value("most") == (1 << 64) - 1
    assert runner.value("wrapped") == (255 + 300) % 256


def test_a_loop_without_end_runs_until_its_budget_ends() -> None:
    runner = build("@entry\ndef f() -> u64:\n    while True:\n        pass\n")
    outcome = runner.run("f", budget=50)
    assert (outcome.status, outcome.instructions) == (Status.BUDGET, 50)
