"""Windows: every edge, width and right, whole and partial grants, and what no window holds."""

from __future__ import annotations

import mmap

import numpy
import pytest

from nimble.access import READ_WRITE, STACK_BASE, AccessFault, AddressSpace, Memory, Registers, Right, Window
from nimble.assembler import assemble
from nimble.engine.closures import translate
from nimble.engine.outcome import Outcome, Status, no_time
from nimble.services import Services

READ, WRITE = Right.READ, Right.WRITE
BASE, LENGTH = 0x1000, 0x20


def window(name: str = "ram", base: int = BASE, length: int = LENGTH, rights: Right = READ_WRITE) -> Window:
    return Window(name, base, length, rights, Memory(bytearray(length)))


def run(text: str, windows: list[Window], *args: int, checked: bool = True) -> Outcome:
    thread = translate(assemble(text), space=AddressSpace(windows), services=Services(), checked=checked)
    return thread.run("main", args, budget=100, spend=no_time)


LOADS = {1: "ldxb", 2: "ldxh", 4: "ldxw", 8: "ldxdw"}
STORES = {1: "stxb", 2: "stxh", 4: "stxw", 8: "stxdw"}


@pytest.mark.parametrize("checked", [True, False])
@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_each_edge_for_each_width(width: int, checked: bool) -> None:
    inside = [BASE, BASE + 1, BASE + LENGTH - width]
    outside = [BASE - 1, BASE - width, BASE + LENGTH - width + 1, BASE + LENGTH, 0, (1 << 64) - 1, (1 << 64) - width]
    for text in (f"{LOADS[width]} %r0, [%r1]\nexit", f"{STORES[width]} [%r1], %r2\nexit"):
        space = AddressSpace([window()])
        thread = translate(assemble(text), space=space, services=Services(), checked=checked)
        for address in (*inside, *outside, *inside):  # once more with the window remembered
            outcome = thread.run("main", (address,), budget=9, spend=no_time)
            expected = Status.RETURNED if address in inside else Status.FAULT
            assert outcome.status is expected, f"{text} at 0x{address:x}: {outcome.reason}"


def test_an_offset_wraps_into_the_highest_window() -> None:
    top = window(base=(1 << 64) - LENGTH)
    assert run("ldxdw %r0, [%r1-8]\nexit", [top]).status is Status.RETURNED
    assert run("ldxdw %r0, [%r1-7]\nexit", [top]).status is Status.FAULT


RIGHTS = [
    (READ, "ldxw %r0, [%r1]", None),
    (READ, "stxw [%r1], %r2", "4-byte write at 0x1000: ram 0x1000..0x1020 grants read; ask for the right"),
    (READ, "lock add32 [%r1], %r2", "4-byte read-write at 0x1000: ram 0x1000..0x1020 grants read; ask"),
    (WRITE, "ldxsb %r0, [%r1]", "1-byte read at 0x1000: ram 0x1000..0x1020 grants write; ask for the right"),
    (WRITE, "stw [%r1], 1", None),
    (WRITE, "lock xchg [%r1], %r2", "8-byte read-write at 0x1000: ram 0x1000..0x1020 grants write"),
    (READ_WRITE, "lock cmpxchg [%r1], %r2", None),
]


@pytest.mark.parametrize(("rights", "text", "reason"), RIGHTS)
def test_checked_code_needs_the_right(rights: Right, text: str, reason: str | None) -> None:
    text = f"mov %r0, 0\n{text}\nexit"
    outcome = run(text, [window(rights=rights)], BASE)
    assert (reason or "") in outcome.reason
    assert outcome.status is (Status.FAULT if reason else Status.RETURNED)
    assert run(text, [window(rights=rights)], BASE, checked=False).status is Status.RETURNED


def test_a_right_learnt_by_a_load_is_not_lent_to_a_store() -> None:
    text = "ldxw %r0, [%r1]\nldxw %r0, [%r1]\nstxw [%r1], %r0\nexit"
    assert run(text, [window(rights=READ)], BASE).pc == 2


def test_atomics_are_aligned_by_address_not_by_place_in_the_window() -> None:
    space = AddressSpace([window(base=BASE + 4)])
    thread = translate(assemble("lock add [%r1], %r1\nexit"), space=space, services=Services(), checked=True)
    for address, status in ((8, Status.RETURNED), (4, Status.FAULT), (12, Status.FAULT), (16, Status.RETURNED)):
        assert thread.run("main", (BASE + address,), budget=9, spend=no_time).status is status


def test_neighbours_do_not_join() -> None:
    windows = [window("low", BASE, 8), window("high", BASE + 8, 8)]
    assert run("ldxdw %r0, [%r1]\nldxdw %r0, [%r1+8]\nexit", windows, BASE).status is Status.RETURNED
    outcome = run("ldxdw %r0, [%r1+4]\nexit", windows, BASE)
    assert "8-byte read at 0x1004: no window holds it; the nearest is" in outcome.reason


class Device:
    """Registers that remember what was asked of them."""

    def __init__(self) -> None:
        self.log: list[tuple[int, ...]] = []
        self.registers = Registers(self.read, self.write)

    def read(self, offset: int, width: int) -> int:
        self.log.append((offset, width))
        return -1

    def write(self, offset: int, width: int, value: int) -> None:
        if offset == 0x10:
            raise AccessFault(offset, width, WRITE, "the device answers with an error")
        self.log.append((offset, width, value))


REGISTER_CASES = [
    ("ldxw %r0, [%r1+8]", None),
    ("ldxdw %r0, [%r1+8]", "8-byte read at 0x1008: device 0x1000..0x1100 takes widths 4; use one of them"),
    ("ldxb %r0, [%r1+8]", "1-byte read at 0x1008: device 0x1000..0x1100 takes widths 4"),
    ("stxh [%r1+8], %r2", "2-byte write at 0x1008: device 0x1000..0x1100 takes widths 4"),
    ("ldxw %r0, [%r1+6]", "4-byte read at 0x1006: device 0x1000..0x1100: registers are naturally aligned; align"),
    ("lock add32 [%r1+8], %r2", "4-byte read-write at 0x1008: device 0x1000..0x1100: registers have no atomics"),
    ("stw [%r1+16], 1", "4-byte write at 0x10: the device answers with an error"),
]


@pytest.mark.parametrize("checked", [True, False])
@pytest.mark.parametrize(("text", "reason"), REGISTER_CASES)
def test_registers_take_what_a_device_can(text: str, reason: str | None, checked: bool) -> None:
    device = Device()
    grant = Window("device", BASE, 0x100, READ_WRITE, device.registers, (4,))
    outcome = run(f"{text}\nexit", [grant], BASE, checked=checked)
    if reason is None:
        assert (outcome.status, outcome.r0, device.log) == (Status.RETURNED, 0xFFFF_FFFF, [(8, 4)])
    else:
        assert reason in outcome.reason
        assert device.log == []


@pytest.mark.parametrize("checked", [True, False])
def test_a_device_granted_in_part(checked: bool) -> None:
    device = Device()
    whole = Window("device", BASE, 0x100, READ_WRITE, device.registers, (4,))
    parts = [whole.part(8, 4, name="status", rights=READ), whole.part(0x20, 8)]
    assert run("ldxw %r0, [%r1+8]\nstw [%r1+0x24], 5\nexit", parts, BASE, checked=checked).status is Status.RETURNED
    assert device.log == [(8, 4), (0x24, 4, 5)]  # offsets in the device, not in the part
    for text in ("ldxw %r0, [%r1+4]", "ldxw %r0, [%r1+12]", "ldxw %r0, [%r1]", "ldxw %r0, [%r1+0x28]"):
        assert run(f"{text}\nexit", parts, BASE, checked=checked).status is Status.FAULT
    denied = run("stw [%r1+8], 1\nexit", parts, BASE, checked=checked)
    assert denied.status is (Status.FAULT if checked else Status.RETURNED)


def test_a_part_has_the_bytes_of_the_whole() -> None:
    memory = bytearray(range(32))
    part = Window("ram", BASE, 32, READ_WRITE, Memory(memory)).part(9, 8)
    assert run("ldxdw %r0, [%r1+9]\nldxb %r0, [%r1+10]\nldxb %r0, [%r1+11]\nexit", [part], BASE).r0 == 11
    assert run("lock add [%r1+16], %r2\nexit", [part], BASE).status is Status.FAULT  # its last byte is 16
    assert run("stb [%r1+9], 0x77\nlock add32 [%r1+12], %r1\nexit", [part], BASE).status is Status.RETURNED
    assert memory[9:16].hex() == "770a0b0c1d0e0f"


def test_a_service_finds_the_window_of_a_whole_range() -> None:
    space = AddressSpace([window("a"), window("b", BASE + LENGTH, rights=READ)])
    assert space.find(BASE, LENGTH, READ_WRITE).name == "a"
    assert space.find(BASE + LENGTH, LENGTH, READ).name == "b"
    for address, length, right in ((BASE, LENGTH + 1, READ), (BASE - 1, 2, READ), (BASE + LENGTH, 3, WRITE)):
        with pytest.raises(AccessFault):
            space.find(address, length, right)


def test_checked_code_keeps_to_the_widths_of_memory() -> None:
    words = Window("words", BASE, 8, READ_WRITE, Memory(bytearray(8)), (4,))
    assert run("ldxw %r0, [%r1]\nexit", [words], BASE).status is Status.RETURNED
    assert "takes widths 4" in run("ldxb %r0, [%r1]\nexit", [words], BASE).reason


def test_checked_code_does_not_see_frames_that_are_not_live() -> None:
    text = "mov %r3, %r10\nsub %r3, %r1\nldxdw %r0, [%r3]\nexit"
    outcome = run(text, [], 520)
    assert "the stack is 0x100000000000e00..0x100000000001000; a frame has 512 bytes; use less" in outcome.reason
    assert run(text, [], 520, checked=False).status is Status.RETURNED


def test_mmap_is_memory() -> None:
    with mmap.mmap(-1, 4096) as pages:
        grant = Window("pages", BASE, 4096, READ_WRITE, Memory(pages))
        assert run("stxdw [%r1+4088], %r1\nexit", [grant], BASE).status is Status.RETURNED
        assert pages[4088:] == BASE.to_bytes(8, "little")
        del grant


REFUSED = [
    (lambda: AddressSpace([window("a"), window("b", BASE + LENGTH - 1)]),
     "windows a 0x1000..0x1020 and b 0x101f..0x103f overlap; choose another base or length"),
    (lambda: AddressSpace([window("a", STACK_BASE - 1)]), "overlap; choose another base"),
    (lambda: Window("a", BASE, 0, READ_WRITE, Device().registers), "must have a byte or more and lie in 0..2**64"),
    (lambda: Window("a", (1 << 64) - 1, 2, READ_WRITE, Device().registers), "must have a byte or more and lie in"),
    (lambda: Window("a", -1, 2, READ_WRITE, Device().registers), "must have a byte or more and lie in 0..2**64"),
    (lambda: Window("a", BASE, 2, Right(0), Device().registers), "no rights; grant READ, WRITE or both"),
    (lambda: Window("a", BASE, 2, READ_WRITE, Device().registers, (3,)), "widths: (3,); allowed are (1, 2, 4, 8)"),
    (lambda: Window("a", BASE, 2, READ_WRITE, Device().registers, ()), "widths: (); allowed are (1, 2, 4, 8)"),
    (lambda: Window("a", BASE, 3, READ_WRITE, Memory(bytearray(2))), "its memory has 2 bytes; shorten the window"),
    (lambda: Window("a", BASE, 2, READ_WRITE, Memory(bytearray(2)), origin=-1), "origin: -1 is negative"),
    (lambda: window(rights=READ).part(0, 4, rights=WRITE), "part asks write; it has read; ask no more than that"),
    (lambda: window().part(30, 4), "part 0x1e+0x4 does not lie in it; shorten the part"),
    (lambda: Memory(b"fixed"), "Memory: the buffer is read-only or has gaps"),
    (lambda: Memory(memoryview(bytearray(8))[::2]), "Memory: the buffer is read-only or has gaps"),
    (lambda: Memory(numpy.zeros((2, 2), order="F")), "give a writable one, whole in C's order"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "text"), REFUSED)
def test_refused(make: object, text: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is compared below
        make()  # type: ignore[operator]
    assert text in str(caught.value)
