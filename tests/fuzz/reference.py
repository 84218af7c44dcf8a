"""An interpreter of eBPF that shares nothing with the engines: raw opcode bytes, one instruction at a time.

Ref: RFC 9669, sections 3 to 5. Frames, windows, metering and payment are those of Nimble's contract, written here a
second time and differently: what the engines do is judged by it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from nimble.access import STACK_BASE, TEXT_BASE
from nimble.faults import Fault
from tests.fuzz.case import READ, WRITE, Area, Case
from tests.fuzz.world import SERVICE_IDS, World

ALL = 0xFFFF_FFFF_FFFF_FFFF
LOW = 0xFFFF_FFFF
FRAME, DEPTH = 512, 8
STACK_SIZE = FRAME * DEPTH
STACK_END = STACK_BASE + STACK_SIZE

Slot = tuple[int, int, int, int, int]  # opcode, dst, src, offset, imm


class Result(NamedTuple):
    """How a run ended. ``hint`` stands somewhere in the reason that an engine gives; registers are empty if it
    returned, and pc is then -1."""

    status: str
    r0: int
    instructions: int
    pc: int
    registers: tuple[int, ...]
    hint: str


class Prices(NamedTuple):
    """What an instruction costs, by opcode byte: with its access check, and without."""

    checked: Sequence[int]
    unchecked: Sequence[int]


class Stop(Exception):  # noqa: N818 - how a run faults
    """A fault of the instruction at hand; its text is the hint."""


def slots_of(code: bytes) -> list[Slot]:
    """The fields of each slot."""
    return [(op, regs & 15, regs >> 4, off, imm) for op, regs, off, imm in struct.iter_unpack("<BBhi", code)]


def text_starts(slots: Sequence[Slot], entries: Collection[int]) -> frozenset[int]:
    """Where a call through a register may go: entries, targets of local calls, and text addresses in ``lddw``."""
    real, named, pc = set(), set(entries), 0
    while pc < len(slots):
        op, _, src, _, imm = slots[pc]
        real.add(pc)
        if op == 0x18:
            value = imm & LOW | (slots[pc + 1][4] & LOW) << 32
            if value >= TEXT_BASE and value % 8 == 0:
                named.add((value - TEXT_BASE) // 8)
            pc += 1
        elif op == 0x85 and src == 1:
            named.add(pc + 1 + imm)
        pc += 1
    return frozenset(real & named)


def signed(value: int, bits: int) -> int:
    """The two's complement reading of the low ``bits`` of a value."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def _divide(a: int, b: int, bits: int) -> tuple[int, int]:
    """Quotient and remainder of signed operands, truncated towards zero: Python's floor, corrected."""
    dividend, divisor = signed(a, bits), signed(b, bits)
    if divisor == 0:
        return 0, dividend
    quotient, rest = divmod(dividend, divisor)
    if rest and (dividend < 0) != (divisor < 0):
        quotient, rest = quotient + 1, rest - divisor
    return quotient, rest


def arithmetic(op: int, off: int, a: int, b: int) -> int:
    """The new destination, as the opcode byte and the offset field say. ``a`` and ``b`` are whole registers."""
    bits = 64 if op & 7 == 7 else 32
    most = ALL if bits == 64 else LOW
    a, b, code = a & most, b & most, op >> 4
    if code == 0x0:
        return a + b & most
    if code == 0xB:
        return signed(b, off) & most if off else b
    if code == 0x1:
        return a - b & most
    if code == 0x2:
        return a * b & most
    if code == 0x4:
        return a | b
    if code == 0x5:
        return a & b
    if code == 0xA:
        return a ^ b
    if code == 0x6:
        return a << b % bits & most
    if code == 0x7:
        return a >> b % bits
    if code == 0xC:
        return signed(a, bits) >> b % bits & most
    if code == 0x8:
        return -a & most
    if code == 0x3:
        if off:
            return _divide(a, b, bits)[0] & most
        return a // b if b else 0
    if off:
        return _divide(a, b, bits)[1] & most
    return a % b if b else a


def swap(op: int, width: int, a: int) -> int:
    """``le`` keeps the low bits on this little-endian machine; ``be`` and ``bswap`` turn their bytes round."""
    low = a & (1 << width) - 1
    if op == 0xD4:
        return low
    turned = 0
    for _ in range(width // 8):
        turned, low = turned << 8 | low & 0xFF, low >> 8
    return turned


def taken(op: int, a: int, b: int) -> bool:
    """Whether a conditional jump jumps."""
    bits = 64 if op & 7 == 5 else 32
    most = ALL if bits == 64 else LOW
    a, b, code = a & most, b & most, op >> 4
    if code in (0x6, 0x7, 0xC, 0xD):
        a, b = signed(a, bits), signed(b, bits)
        code = {0x6: 0x2, 0x7: 0x3, 0xC: 0xA, 0xD: 0xB}[code]
    if code == 0x1:
        return a == b
    if code == 0x5:
        return a != b
    if code == 0x2:
        return a > b
    if code == 0x3:
        return a >= b
    if code == 0x4:
        return a & b != 0
    return a < b if code == 0xA else a <= b


def change(code: int, old: int, operand: int, r0: int) -> int:
    """What an atomic leaves in memory; operands are cut to its width, the result is not."""
    match code & 0xF0:
        case 0x00:
            return old + operand
        case 0x40:
            return old | operand
        case 0x50:
            return old & operand
        case 0xA0:
            return old ^ operand
        case 0xE0:
            return operand
        case _:
            return operand if old == r0 else old


class Reference:
    """Runs the program of one case in its world: ``run`` as an engine's thread has it, with a Result.

    ``proved`` are the windows that a verifier promises for the accesses at some pcs: (base, end, rights, widths);
    a promise that does not hold is put into ``broken``. ``executed`` collects the pcs that were executed.
    """

    def __init__(self, case: Case, world: World, *, checked: bool, prices: Prices, proved: Mapping[int, Area]) -> None:
        self.world = world
        self.areas = world.areas
        self.checked = checked
        self.slots = slots_of(case.code)
        self.entries = case.entries
        self.starts = text_starts(self.slots, case.entries.values())
        self.proved = proved
        self.prices = [
            (prices.checked if checked and pc not in proved else prices.unchecked)[slot[0]]
            for pc, slot in enumerate(self.slots)
        ]
        self.executed: set[int] = set()
        self.broken: list[str] = []

    def run(self, entry: str, args: Sequence[int], *, budget: int, spend: Callable[[int], None]) -> Result:
        return _Run(self, self.entries[entry], args, budget, spend).go()


class _Run:
    """The registers, stack, frames and meter of one run."""

    def __init__(
        self, reference: Reference, pc: int, args: Sequence[int], budget: int, spend: Callable[[int], None]
    ) -> None:
        self.of, self.pc, self.budget, self.spend = reference, pc, budget, spend
        self.regs = [0, *args, *[0] * (9 - len(args)), STACK_END]
        self.stack = bytearray(STACK_SIZE)
        self.frames: list[tuple[int, list[int]]] = []
        self.left, self.executed, self.owed = budget, 0, 0

    def go(self) -> Result:
        """Execute until something ends the run."""
        slots, prices, seen = self.of.slots, self.of.prices, self.of.executed
        while self.left:
            pc = self.pc
            self.left -= 1
            self.executed += 1
            self.owed += prices[pc]
            seen.add(pc)
            try:
                if self.step(*slots[pc]):
                    self.pay()
                    return Result("returned", self.regs[0], self.executed, -1, (), "")
            except (Stop, Fault) as fault:
                return self.stopped("fault", str(fault))
        return self.stopped("budget exhausted", f"the budget of {self.budget} instructions is exhausted")

    def stopped(self, status: str, hint: str) -> Result:
        self.pay()
        return Result(status, self.regs[0], self.executed, self.pc, tuple(self.regs), hint)

    def pay(self) -> None:
        owed, self.owed = self.owed, 0
        if owed:
            self.spend(owed)

    def step(self, op: int, dst: int, src: int, off: int, imm: int) -> bool:
        """Execute one instruction; whether it ended the run."""
        regs, kind = self.regs, op & 7
        following = self.pc + 1
        if kind in (4, 7):
            if op >> 4 == 0xD:
                regs[dst] = swap(op, imm, regs[dst])
            else:
                regs[dst] = arithmetic(op, off, regs[dst], regs[src] if op & 8 else imm)
        elif kind == 1:
            regs[dst] = self.load(op, regs[src] + off)
        elif kind == 2:
            self.store(op, regs[dst] + off, imm)
        elif kind == 3:
            if op >> 5 == 6:
                self.atomic(op, regs[dst] + off, src, imm)
            else:
                self.store(op, regs[dst] + off, regs[src])
        elif kind == 0:
            regs[dst] = imm & LOW | (self.of.slots[following][4] & LOW) << 32
            following += 1
        elif op == 0x95:
            if not self.frames:
                return True
            following = self.leave()
        elif op == 0x85:
            following = self.enter(following + imm) if src else self.serve(imm)
        elif op == 0x8D:
            following = self.call_through(regs[dst])
        elif op == 0x05:
            following += off
        elif op == 0x06:
            following += imm
        elif taken(op, regs[dst], regs[src] if op & 8 else imm):
            following += off
        self.pc = following
        return False

    def enter(self, function: int) -> int:
        if len(self.frames) + 1 == DEPTH:
            raise Stop("call depth")
        self.frames.append((self.pc + 1, self.regs[6:]))
        self.regs[6:] = [0, 0, 0, 0, self.regs[10] - FRAME]
        return function

    def leave(self) -> int:
        following, saved = self.frames.pop()
        self.regs[1:6], self.regs[6:] = [0] * 5, saved
        return following

    def call_through(self, value: int) -> int:
        slot, rest = divmod(value - TEXT_BASE, 8)
        if not rest and slot in self.of.starts:
            return self.enter(slot)
        if value in SERVICE_IDS:
            return self.serve(value)
        raise Stop(f"call of 0x{value:x}")

    def serve(self, number: int) -> int:
        self.pay()
        result, used = self.of.world.serve(number, self.left, *self.regs[1:6])
        self.left -= min(used, self.left)
        self.regs[0:6] = [result & ALL, 0, 0, 0, 0, 0]
        return self.pc + 1

    def load(self, op: int, address: int) -> int:
        width = _width(op)
        area, at = self.find(address & ALL, width, READ)
        value = self.fetch(area, at, width)
        return signed(value, 8 * width) & ALL if op >> 5 == 4 else value

    def store(self, op: int, address: int, value: int) -> None:
        width = _width(op)
        area, at = self.find(address & ALL, width, WRITE)
        self.put(area, at, width, value & (1 << 8 * width) - 1)

    def atomic(self, op: int, address: int, src: int, code: int) -> None:
        width, address, most = _width(op), address & ALL, ALL if op & 0x18 else LOW
        area, at = self.find(address, width, READ | WRITE)
        if area is not None and self.of.world.is_device(area):
            raise Stop(f"{width}-byte read-write at 0x{address:x}: ")
        if address % width:
            raise Stop(f"{width}-byte read-write at 0x{address:x}: atomics are naturally aligned")
        old = self.fetch(area, at, width)
        self.put(area, at, width, change(code, old, self.regs[src] & most, self.regs[0] & most) & most, paid=True)
        if code == 0xF1:
            self.regs[0] = old
        elif code & 1:
            self.regs[src] = old

    def find(self, address: int, width: int, rights: int) -> tuple[Area | None, int]:
        """The area (None: the stack) and the byte of its backing. Raises Stop."""
        checked, what = self.of.checked, f"{width}-byte {_RIGHTS[rights]} at 0x{address:x}: "
        self.promised(address, width, rights)
        if STACK_BASE <= address < STACK_END:
            if address + width > STACK_END or (checked and address < self.regs[10] - FRAME):
                raise Stop(what)
            return None, address - STACK_BASE
        for area in self.of.areas:
            if area.base <= address and address + width <= area.base + area.length:
                break
        else:
            raise Stop(what)
        at = address - area.base + area.origin
        device = self.of.world.is_device(area)
        if (checked and rights & ~area.rights) or ((checked or device) and width not in area.widths):
            raise Stop(what)
        if device and at % width:
            raise Stop(what)
        return area, at

    def promised(self, address: int, width: int, rights: int) -> None:
        """Hold the verifier to what it says of this pc."""
        area = self.of.proved.get(self.pc)
        if area is None:
            return
        low = max(area.base, self.regs[10] - FRAME) if area.base == STACK_BASE else area.base
        if not low <= address <= area.base + area.length - width or rights & ~area.rights or width not in area.widths:
            what = f"{width}-byte {_RIGHTS[rights]} at 0x{address:x}"
            self.of.broken.append(f"pc {self.pc}: {what} was proved to lie in {area.name}")

    def fetch(self, area: Area | None, at: int, width: int) -> int:
        if area is None:
            return int.from_bytes(self.stack[at : at + width], "little")
        world = self.of.world
        if world.is_visible(area):
            self.pay()
        if world.is_device(area):
            return world.read(area.backing, at, width) & (1 << 8 * width) - 1
        return int.from_bytes(world.buffers[area.backing][at : at + width], "little")

    def put(self, area: Area | None, at: int, width: int, value: int, *, paid: bool = False) -> None:
        data = value.to_bytes(width, "little")
        if area is None:
            self.stack[at : at + width] = data
            return
        world = self.of.world
        if world.is_visible(area) and not paid:
            self.pay()
        if world.is_device(area):
            world.write(area.backing, at, width, value)
        else:
            world.buffers[area.backing][at : at + width] = data


_RIGHTS = {READ: "read", WRITE: "write", READ | WRITE: "read-write"}


def _width(op: int) -> int:
    """Bytes of an access: bits 3 and 4 of the opcode."""
    return {0x00: 4, 0x08: 2, 0x10: 1, 0x18: 8}[op & 0x18]
