"""Structs, state, pointers, registers, services and atomics of compiled sources, against hand-worked answers."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

import nimble.python
from nimble.access import READ_WRITE, STATE_BASE, Registers, Window
from nimble.elf import manifest_text
from nimble.engine.outcome import Status
from nimble.manifest import parse
from nimble.python import Device, compile_source
from tests.nimble.python_sources import IMPORT, IMPORT_LINES, MEMORY, build

BASE = 0xC000_0000
SYMBOLS = {
    "NIC.ID": 0, "NIC.STATUS": 8, "NIC.STATUS.READY_LSB": 63, "NIC.STATUS.READY_WIDTH": 1,
    "NIC.STATUS.READY_MASK": 1 << 63, "NIC.STATUS.LEVEL_LSB": 4, "NIC.STATUS.LEVEL_WIDTH": 12,
    "NIC.STATUS.LEVEL_MASK": 0xFFF0, "NIC.CONTEXT": 0x100, "NIC.CONTEXT_STRIDE": 0x40, "NIC.CONTEXT_COUNT": 4,
    "NIC.CONTEXT.CONTROL": 0, "NIC.CONTEXT.CONTROL.ENABLE_LSB": 0, "NIC.CONTEXT.CONTROL.ENABLE_WIDTH": 1,
    "NIC.CONTEXT.BASE": 8, "NIC.CONTEXT.WINDOW": 0x10, "NIC.CONTEXT.WINDOW_STRIDE": 8, "NIC.CONTEXT.WINDOW_COUNT": 3,
}  # fmt: skip
NIC = {"nic": Device(BASE, SYMBOLS)}


class Bank:
    """Registers that answer with their offset times a thousand and keep a list of accesses."""

    def __init__(self) -> None:
        self.log: list[tuple[object, ...]] = []
        self.values: dict[int, int] = {}

    def window(self, base: int = BASE) -> Window:
        return Window("nic", base, 0x400, READ_WRITE, Registers(self._read, self._write), (8,))

    def _read(self, offset: int, width: int) -> int:
        self.log.append(("read", offset, width))
        return self.values.get(offset, offset * 1000)

    def _write(self, offset: int, width: int, value: int) -> None:
        self.log.append(("write", offset, width, value))


def test_registers_are_accessed_once_for_each_mention_and_in_order() -> None:
    bank = Bank()
    runner = build(
        'nic = device("nic")\n@entry\ndef f(i: u64, j: u32) -> u64:\n    nic.ID\n'
        if False
        else 'nic = device("nic")\n'
        "@entry\ndef f(i: u64, j: u32) -> u64:\n"
        "    first = nic.ID\n"
        "    again = nic.ID + nic.ID\n"
        "    nic.STATUS = 5\n"
        "    nic.STATUS = 5\n"
        "    nic.CONTEXT[i].CONTROL = 1\n"
        "    nic.CONTEXT[2].WINDOW[j] = nic.CONTEXT[i + 1].BASE\n"
        "    nic[0x3F8] = 7\n"
        "    unused = nic[8 * i]\n"
        "    nic.ID |= 6\n"
        "    return first + again\n",
        devices=NIC,
        windows=(bank.window(),),
    )
    bank.values[0] = 4
    assert runner.value("f", 1, 2) == 12
    assert bank.log == [
        ("read", 0, 8), ("read", 0, 8), ("read", 0, 8), ("write", 8, 8, 5), ("write", 8, 8, 5),
        ("write", 0x140, 8, 1), ("read", 0x188, 8), ("write", 0x1A0, 8, 0x188 * 1000), ("write", 0x3F8, 8, 7),
        ("read", 8, 8), ("read", 0, 8), ("write", 0, 8, 6),
    ]  # fmt: skip


def test_fields_of_registers() -> None:
    bank = Bank()
    runner = build(
        'nic = device("nic")\n'
        "@entry\ndef level() -> u64:\n"
        "    status = nic.STATUS\n"
        "    if not status.READY:\n        return 9999\n"
        "    return status.LEVEL * 2 + nic.STATUS.LEVEL\n"
        "@entry\ndef write(level: u64) -> None:\n"
        "    nic.STATUS.write(LEVEL=level, READY=1)\n"
        "    nic.STATUS = level << nic.STATUS.LEVEL_LSB | nic.STATUS.READY_MASK\n"
        "@entry\ndef places(i: u64) -> u64:\n"
        "    bytes = offset_of(nic.CONTEXT) + offset_of(nic.CONTEXT[i].BASE) + nic.CONTEXT_STRIDE\n"
        "    return bytes + u64(address_of(nic.ID))\n",
        devices=NIC,
        windows=(bank.window(),),
    )
    bank.values[8] = 0x7F
    assert runner.value("level") == 9999
    bank.values[8] = 1 << 63 | 0xA123F
    assert runner.value("level") == 0x123 * 3
    assert bank.log == [("read", 8, 8)] * 3
    bank.log.clear()
    runner.value("write", 0x1FFF)
    assert bank.log == [("write", 8, 8, 1 << 63 | 0xFFF0), ("write", 8, 8, 1 << 63 | 0x1FFF0)]
    assert runner.value("places", 3) == 0x100 + (0x100 + 3 * 0x40 + 8) + 0x40 + BASE


def test_memory_is_written_before_a_register_that_starts_its_use() -> None:
    """A ring's entry, then the doorbell: also where the compiler could keep the store for later."""
    seen: list[int] = []
    runner = build(
        'nic = device("nic")\n'
        "@entry\ndef f(p: Pointer[u64]) -> None:\n"
        "    for i in range(3):\n"
        "        p[0] = i + 10\n"
        "        nic.STATUS = i\n",
        devices=NIC,
        windows=(Window("nic", BASE, 0x400, READ_WRITE, Registers(lambda o, w: 0, lambda o, w, v: note()), (8,)),),
    )

    def note() -> None:
        seen.append(runner.memory[0])

    runner.value("f", MEMORY)
    assert seen == [10, 11, 12]


EVENT = {
    "EVENT.BYTES": 24, "EVENT.SEQUENCE": 0, "EVENT.SEQUENCE_LSB": 0, "EVENT.SEQUENCE_WIDTH": 32,
    "EVENT.KIND": 0, "EVENT.KIND_LSB": 32, "EVENT.KIND_WIDTH": 8, "EVENT.ACK": 8, "EVENT.ACK_LSB": 63,
    "EVENT.ACK_WIDTH": 1, "EVENT.RANK": 8, "EVENT.RANK_LSB": 5, "EVENT.RANK_WIDTH": 12, "EVENT.DATA": 16,
}  # fmt: skip
STRUCTS = """
@struct("EVENT")
class Event:
    sequence: u32
    kind: u8
    ack: u8
    rank: u16
    data: u64

@struct
class Inner:
    a: u8
    b: i32

@struct
class Node:
    flag: bool
    next: Pointer["Node"]
    inner: Inner
    small: i16
    tail: array(u16, 3)
"""


def test_structs_lie_where_they_should() -> None:
    runner = build(
        STRUCTS
        + "@entry\ndef sizes() -> u64:\n    return size_of(Event) * 10000 + size_of(Inner) * 100 + size_of(Node)\n"
        "@entry\ndef write(p: Pointer[Node], v: i64) -> None:\n"
        "    n = p[1]\n    n.flag = v < 0\n    n.next = p + 2\n    n.inner.a = u8(v)\n    n.inner.b = i32(v)\n"
        "    n.small = -2\n    n.tail[2] = 7\n"
        "@entry\ndef walk(n: Pointer[Node]) -> i64:\n"
        "    s: i64 = 0\n    while n:\n        s = s * 100 + n.inner.b\n        n = n.next\n    return s\n"
        "@entry\ndef read(n: Node) -> i64:\n"
        "    return i64(n.flag) + n.small + n.inner.b + i64(n.inner.a) + i64(n.tail[2])\n",
        constants=EVENT,
    )
    assert runner.value("sizes") == 24 * 10000 + 8 * 100 + 32
    runner.value("write", MEMORY, -3)
    node = struct.pack("<B7xQB3xihHHH", 1, MEMORY + 64, 0xFD, -3, -2, 0, 0, 7)
    assert bytes(runner.memory) == bytes(32) + node + bytes(256 - 64)
    assert runner.value("read", MEMORY + 32) == 1 - 2 - 3 + 0xFD + 7
    runner.memory[64 + 8 : 64 + 16] = bytes(8)
    runner.memory[64 + 20 : 64 + 24] = struct.pack("<i", 42)
    assert runner.value("walk", MEMORY + 32) == (-3 * 100 + 42) % (1 << 64)


def test_layouts_come_from_a_table() -> None:
    runner = build(
        STRUCTS + "@entry\ndef read(p: Pointer[u64]) -> u64:\n"
        "    e = Pointer[Event](p)[0]\n"
        "    return u64(e.sequence) + u64(e.kind) * 10 + u64(e.ack) * 1000 + u64(e.rank) * 10_000 + e.data\n"
        "@entry\ndef write(e: Event, rank: u16) -> None:\n"
        "    e.rank = rank\n    e.ack = 0\n    e.kind += 1\n",
        constants=EVENT,
    )
    words = (0x99 << 40 | 3 << 32 | 5, 1 << 63 | 0x7FF << 17 | 77 << 5 | 31, 1 << 40)
    runner.memory[:24] = struct.pack("<QQQ", *words)
    assert runner.value("read", MEMORY) == 5 + 30 + 1000 + 770_000 + (1 << 40)
    runner.value("write", MEMORY, 0xFFFF)
    expected = (words[0] + (1 << 32), words[1] & ~(1 << 63) | 0xFFF << 5, words[2])
    assert struct.unpack_from("<QQQ", runner.memory) == expected


def test_state_is_laid_out_in_order_and_keeps_its_values() -> None:
    runner = build(
        STRUCTS + "count = state(u8, 3)\nwide = state(i32, -1)\ntable = state(array(u16, 3), (1, 2, 0xFFFF))\n"
        "filled = state(array(u8, 4), 9)\nnode = state(Node, small=-5)\nlast = state(bool, True)\n"
        "@entry\ndef f(i: u64) -> u64:\n"
        "    global count, wide\n"
        "    count += 1\n    wide -= 1\n    table[i] += 2\n    node.inner.b = i32(len(table))\n"
        "    return u64(address_of(table)) + u64(address_of(node.inner.b)) * 0 + u64(filled[3]) + u64(last)\n",
        constants=EVENT,
    )
    start = struct.pack("<B3xiHHH4s6xB7xQB3xihHHHB", 3, -1, 1, 2, 0xFFFF, b"\x09" * 4, 0, 0, 0, 0, -5, 0, 0, 0, 1)
    assert bytes(runner.state) == start
    assert runner.value("f", 2) == STATE_BASE + 8 + 9 + 1
    after = struct.pack("<B3xiHHH4s6xB7xQB3xihHHHB", 4, -2, 1, 2, 1, b"\x09" * 4, 0, 0, 0, 3, -5, 0, 0, 0, 1)
    assert bytes(runner.state) == after


def test_arrays_on_the_stack_are_zero_and_of_their_function() -> None:
    runner = build(
        "def fill(n: u64) -> u64:\n"
        "    buffer = local(array(u32, 60))\n    before = u64(buffer[n])\n    buffer[n] = 5\n"
        "    return before + (fill(n - 1) if n else 0) + u64(buffer[n])\n"
        "@entry\ndef main(n: u64) -> u64:\n    other = local(array(u32, 60))\n    other[0] = 3\n"
        "    return fill(n) + u64(other[0])\n"
    )
    assert runner.value("main", 5) == 6 * 5 + 3


def test_services_take_and_give_typed_values() -> None:
    runner = build(
        "@service\ndef first(a: u8, b: i16, c: bool) -> i8: ...\n"
        '@service\ndef second() -> None:\n    """Nothing."""\n'
        "@service\ndef third(p: Pointer[u64]) -> Pointer[u64]: ...\n"
        "@entry\ndef f(a: u64) -> i64:\n"
        "    second()\n    p = third(Pointer[u64](a))\n    p[1] = 3\n    return i64(first(u8(a), -2, a > 5))\n",
        services={
            "first": lambda a, b, c: 0x1FE,
            "second": lambda: 1 << 40,
            "third": lambda p: p + 8,
        },
    )
    assert runner.value("f", MEMORY + 7 * 8 + 256 * 0) == (1 << 64) - 2
    assert runner.calls == [("second",), ("third", MEMORY + 56), ("first", 56, (1 << 64) - 2, 1)]
    assert runner.memory[72] == 3


ATOMICS: list[tuple[str, Callable[[int, int], int]]] = [
    ("add", lambda a, b: a + b),
    ("and", lambda a, b: a & b),
    ("or", lambda a, b: a | b),
    ("xor", lambda a, b: a ^ b),
    ("exchange", lambda a, b: b),
]


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("cpu", ["v3", "v4"])
def test_atomics(bits: int, cpu: str) -> None:
    mask = (1 << bits) - 1
    text = f"table = state(array(u{bits}, 4))\n"
    for name, _ in ATOMICS:
        text += f"@entry\ndef old_{name}(v: u{bits}) -> u{bits}:\n    return atomic_{name}(table + 2, v)\n"
        text += f"@entry\ndef only_{name}(v: u{bits}) -> None:\n    atomic_{name}(address_of(table[2]), v)\n"
    text += (
        f"@entry\ndef swap(e: u{bits}, v: u{bits}) -> u{bits}:\n    return atomic_compare_exchange(table + 2, e, v)\n"
    )
    runner = build(text, cpu=cpu)
    here = slice(2 * bits // 8, 3 * bits // 8)
    value = 0xF0F0_1234_5678_9ABC & mask
    for name, compute in ATOMICS:
        for form in ("old", "only"):
            runner.state[here] = value.to_bytes(bits // 8, "little")
            result = runner.value(f"{form}_{name}", 0x8000_0001_8000_00FF & mask)
            assert result == (value if form == "old" else 0)
            expected = compute(value, 0x8000_0001_8000_00FF & mask) & mask
            assert int.from_bytes(runner.state[here], "little") == expected, name
    now = int.from_bytes(runner.state[here], "little")
    assert runner.value("swap", now ^ 1, 5) == now
    assert runner.value("swap", now, 5) == now
    assert int.from_bytes(runner.state[here], "little") == 5


@pytest.mark.parametrize("cpu", ["v1", "v4"])
def test_bytes_are_swapped(cpu: str) -> None:
    runner = build(
        "".join(f"@entry\ndef f{b}(x: u{b}) -> u{b}:\n    return byte_swap(x)\n" for b in (16, 32, 64)), cpu=cpu
    )
    for bits in (16, 32, 64):
        value = 0x0123_4567_89AB_CDEF & (1 << bits) - 1
        assert runner.value(f"f{bits}", value) == int.from_bytes(value.to_bytes(bits // 8, "little"), "big")


def test_a_barrier_keeps_stores_that_are_repeated_and_their_order() -> None:
    """Stopped at any instruction, the journal is written before what it is for, and cleared after it."""
    runner = build(
        "journal = state(u64)\nvalue = state(u64)\n"
        "@entry\ndef f() -> None:\n"
        "    global journal, value\n"
        "    for i in range(3):\n"
        "        journal = 1\n        barrier()\n        value += 1\n"
        "        barrier()\n        journal = 0\n        barrier()\n"
    )
    seen = []
    for budget in range(200):
        runner.state[:] = bytes(16)
        outcome = runner.run("f", budget=budget)
        state = struct.unpack("<QQ", runner.state)
        if not seen or seen[-1] != state:
            seen.append(state)
        if outcome.status is Status.RETURNED:
            break
    assert seen == [(0, 0), (1, 0), (1, 1), (0, 1), (1, 1), (1, 2), (0, 2), (1, 2), (1, 3), (0, 3)]


# ---- what the object says besides its code ----


def test_a_fault_names_its_line() -> None:
    text = (
        "@entry\ndef f(p: Pointer[u64], n: u64) -> u64:\n"
        "    s: u64 = 0\n"
        "    for i in range(n):\n"
        "        s += p[i]\n"
        "    p[0] = s\n"
        "    return s\n"
    )
    runner = build(text)
    outcome = runner.run("f", 0x5000, 3)
    assert outcome.status is Status.FAULT
    assert outcome.reason.startswith(f"test.py:{IMPORT_LINES + 5}: pc ")
    outcome = runner.run("f", 0x5000, 0)
    assert outcome.reason.startswith(f"test.py:{IMPORT_LINES + 6}: pc ")


def test_a_called_function_keeps_its_own_lines() -> None:
    runner = build(
        "def get(p: Pointer[u64]) -> u64:\n    return p[0]\n"
        "@entry\ndef f(p: Pointer[u64]) -> u64:\n    x = get(p)\n    return x + 1\n"
    )
    assert runner.run("f", 8).reason.startswith(f"test.py:{IMPORT_LINES + 2}: pc ")


def test_the_manifest_travels_in_the_object() -> None:
    text = (
        "SIZE = 64\n@entry\ndef message(x: u64) -> u64:\n    return x\n"
        'manifest(name="counter", trust="trusted", budget=SIZE * 2,\n'
        '    attach={"nic.event": message, "timer": (message, -3)}, calls=("logger",), exports=(message,),\n'
        '    windows={"table": "read-write", "events": "read"}, shared_state=True)\n'
    )
    found = manifest_text(compile_source(IMPORT + text, source="test.py"))
    assert found is not None
    manifest = parse(found, source="test.py")
    assert (manifest.name, manifest.trust.value, manifest.budget) == ("counter", "trusted", 128)
    assert [(one.event, one.entry, one.priority) for one in manifest.attach] == [
        ("nic.event", "message", 0),
        ("timer", "message", -3),
    ]
    assert [(one.name, str(one.rights)) for one in manifest.windows] == [("table", "read-write"), ("events", "read")]
    assert (manifest.calls, manifest.exports, manifest.shared_state) == (("logger",), ("message",), True)


def test_the_same_source_gives_the_same_bytes() -> None:
    text = IMPORT + STRUCTS + "n = state(Node)\n@entry\ndef f(e: Event) -> u64:\n    n.small = 3\n    return e.data\n"
    first = compile_source(text, source="a.py", constants=EVENT)
    assert compile_source(text, source="a.py", constants=EVENT) is first, "from the cache"
    assert compile_source(text + "\n", source="a.py", constants=EVENT) == first, "made anew"
    assert compile_source(text, source="b.py", constants=EVENT) != first
    assert compile_source(text, source="a.py", constants={**EVENT, "EVENT.DATA": 8}) != first
    assert compile_source(text, source="a.py", constants=EVENT, cpu="v3")[:4] == b"\x7fELF"


def test_the_example_of_the_documentation_is_a_source() -> None:
    text = "\n".join(line[4:] for line in (nimble.python.__doc__ or "").splitlines() if line[:4] in ("    ", ""))
    symbols = {"NIC.INT_STATUS": 24, "NIC.INT_STATUS.VIOLATION_LSB": 63, "NIC.INT_STATUS.VIOLATION_WIDTH": 1}
    bank = Bank()
    runner = build(
        text.replace("from nimble.python import device, entry, service, state, u64\n", ""),
        devices={"nic": Device(BASE, symbols)},
        services={"wake": lambda pid: pid + 1},
        windows=(bank.window(),),
    )
    assert runner.value("interrupt", 7) == 8
    assert bank.log == [("read", 24, 8), ("write", 24, 8, 24000)]
    bank.values[24] = 1 << 63
    assert runner.value("interrupt", 7) == 1
    assert (runner.calls, runner.state[0]) == ([("wake", 7)], 1)
