"""The instruction set: one table from which the assembler, the disassembler, the verifier and the engines are derived.

Ref: RFC 9669, sections 3 (encoding), 4 (arithmetic and jump), 5 (load and store). Supported are its groups base32,
base64, divmul32, divmul64, atomic32, atomic64, and LLVM's ``callx``, which the RFC leaves open. The group "packet" is
deprecated there and refused here, and so are calls by BTF ID and the map forms of ``lddw``: an object that has them is
resolved when it is loaded.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from functools import cached_property
from typing import TypeVar

SLOT_BYTES = 8
REGISTERS = 11
FRAME_POINTER = 10
ARGUMENTS = 5  # r1..r5
MASK64 = (1 << 64) - 1  # of what a register holds

_SLOT = struct.Struct("<BBhi")
_FIELD_RANGES = {
    "opcode": (0, 0xFF),
    "dst": (0, 15),
    "src": (0, 15),
    "offset": (-(1 << 15), (1 << 15) - 1),
    "imm": (-(1 << 31), (1 << 31) - 1),
}


class InstructionError(ValueError):
    """A slot that is no instruction of this table; the text names the field, its value and the remedy."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """One 64-bit slot. ``offset`` is signed 16 bits, ``imm`` signed 32 bits; ``lddw`` takes two slots.

    The second slot of ``lddw`` has zero in every field but ``imm``, which holds bits 63..32.
    """

    opcode: int
    dst: int = 0
    src: int = 0
    offset: int = 0
    imm: int = 0

    def __post_init__(self) -> None:
        for field, (low, high) in _FIELD_RANGES.items():
            value = getattr(self, field)
            if not low <= value <= high:
                raise InstructionError(f"{field}: {value} is out of range {low}..{high}; it would not fit its slot")

    def encode(self) -> bytes:
        """The eight bytes of the slot, little-endian."""
        return _SLOT.pack(self.opcode, self.src << 4 | self.dst, self.offset, self.imm)

    @classmethod
    def decode(cls, slot: bytes) -> Instruction:
        """The instruction in eight bytes; whether its opcode is known is asked of ``operation_of``."""
        if len(slot) != SLOT_BYTES:
            raise InstructionError(f"slot: {len(slot)} bytes; an instruction has {SLOT_BYTES}; give whole slots")
        opcode, registers, offset, imm = _SLOT.unpack(slot)
        return cls(opcode, registers & 15, registers >> 4, offset, imm)


def encode(instructions: Iterable[Instruction]) -> bytes:
    """The bytes of all slots, in order."""
    return b"".join(instruction.encode() for instruction in instructions)


def decode(data: bytes) -> tuple[Instruction, ...]:
    """All slots in ``data``. Raises InstructionError when the length is no multiple of a slot."""
    if len(data) % SLOT_BYTES:
        raise InstructionError(f"code: {len(data)} bytes is no multiple of {SLOT_BYTES}; the last slot is cut off")
    return tuple(Instruction.decode(data[at : at + SLOT_BYTES]) for at in range(0, len(data), SLOT_BYTES))


def wide_immediate(first: Instruction, second: Instruction) -> int:
    """The unsigned 64-bit constant of an ``lddw`` in two slots."""
    return (second.imm & 0xFFFF_FFFF) << 32 | first.imm & 0xFFFF_FFFF


class Operand(Enum):
    """What an operation takes, in the order of its text: the fields that it uses, and a word where two use the same."""

    DST = ("dst",)
    SRC = ("src",)
    IMMEDIATE = ("imm",)
    WIDE = ("imm", "second slot")
    AT_DST = ("dst", "offset")  # [dst + offset]
    AT_SRC = ("src", "offset")  # [src + offset]
    TARGET = ("offset",)  # slots from the next instruction
    FAR_TARGET = ("imm", "far")
    FUNCTION = ("imm", "function")
    SERVICE = ("imm", "service")


class Group(Enum):
    """Kinds of operations that engines treat alike."""

    ARITHMETIC = auto()
    SWAP = auto()
    WIDE = auto()
    LOAD = auto()
    STORE = auto()
    ATOMIC = auto()
    JUMP = auto()
    BRANCH = auto()
    CALL_SERVICE = auto()
    CALL_LOCAL = auto()
    CALL_REGISTER = auto()
    EXIT = auto()


MEMORY = (Group.LOAD, Group.STORE, Group.ATOMIC)
_FIELDS = ("dst", "src", "offset", "imm")
_TARGETS = (Operand.TARGET, Operand.FAR_TARGET, Operand.FUNCTION)
_WRITES_DST = (Group.ARITHMETIC, Group.SWAP, Group.WIDE, Group.LOAD)


@dataclass(frozen=True, eq=False)
class Operation:
    """One row of the table; rows are compared by identity.

    ``name`` is the operation without its width; ``bits`` the width of its operands (of the access, for loads and
    stores). ``fixed`` are the fields that tell it from others of the same opcode. Fields neither fixed nor used by
    an operand must be zero.
    """

    mnemonic: str
    opcode: int
    group: Group
    name: str
    bits: int
    operands: tuple[Operand, ...]
    fixed: tuple[tuple[str, int], ...] = ()

    @cached_property
    def slots(self) -> int:
        return 2 if self.group is Group.WIDE else 1

    @cached_property
    def uses(self) -> frozenset[str]:
        """The fields whose value is the programmer's choice."""
        return frozenset(field for operand in self.operands for field in operand.value if field in _FIELDS)

    @cached_property
    def target_field(self) -> str:
        """The field that says how many slots behind the next instruction control goes; empty for other operations."""
        found = [operand for operand in self.operands if operand in _TARGETS]
        return found[0].value[0] if found else ""

    @property
    def writes_dst(self) -> bool:
        return self.group in _WRITES_DST

    @property
    def writes_src(self) -> bool:
        return self.group is Group.ATOMIC and (self.name.startswith("fetch_") or self.name == "xchg")

    @property
    def continues(self) -> bool:
        """Whether the next instruction may follow it."""
        return self.group not in (Group.JUMP, Group.EXIT)


# Classes, sources, modes and sizes: RFC 9669, tables 3, 5, 12 and 13.
_LD, _LDX, _ST, _STX, _ALU, _JMP, _JMP32, _ALU64 = range(8)
_X = 0x08
_MEM, _MEMSX, _ATOMIC = 0x60, 0x80, 0xC0
_SIZES = {"b": (0x10, 8), "h": (0x08, 16), "w": (0x00, 32), "dw": (0x18, 64)}

# RFC 9669, table 4: code and offset.
_ARITHMETIC = {
    "add": (0x0, 0),
    "sub": (0x1, 0),
    "mul": (0x2, 0),
    "div": (0x3, 0),
    "sdiv": (0x3, 1),
    "or": (0x4, 0),
    "and": (0x5, 0),
    "lsh": (0x6, 0),
    "rsh": (0x7, 0),
    "mod": (0x9, 0),
    "smod": (0x9, 1),
    "xor": (0xA, 0),
    "mov": (0xB, 0),
    "arsh": (0xC, 0),
}
_NEG, _MOV, _END = 0x80, 0xB0, 0xD0
_MOVSX = ((8, 32), (16, 32), (8, 64), (16, 64), (32, 64))  # from, to

# RFC 9669, table 8.
_BRANCHES = {
    "jeq": 0x1,
    "jgt": 0x2,
    "jge": 0x3,
    "jset": 0x4,
    "jne": 0x5,
    "jsgt": 0x6,
    "jsge": 0x7,
    "jlt": 0xA,
    "jle": 0xB,
    "jslt": 0xC,
    "jsle": 0xD,
}
_JA, _CALL, _EXIT = 0x00, 0x80, 0x90

# RFC 9669, tables 14 and 15: the imm field.
_ATOMICS = {
    "add": 0x00,
    "or": 0x40,
    "and": 0x50,
    "xor": 0xA0,
    "fetch_add": 0x01,
    "fetch_or": 0x41,
    "fetch_and": 0x51,
    "fetch_xor": 0xA1,
    "xchg": 0xE1,
    "cmpxchg": 0xF1,
}


def _arithmetic() -> Iterator[Operation]:
    for bits, group, suffix in ((64, _ALU64, ""), (32, _ALU, "32")):
        for name, (code, offset) in _ARITHMETIC.items():
            fixed = (("offset", offset),)
            for source, operand in ((0, Operand.IMMEDIATE), (_X, Operand.SRC)):
                opcode = code << 4 | source | group
                yield Operation(
                    name + suffix, opcode, Group.ARITHMETIC, name, bits, (Operand.DST, operand), fixed=fixed
                )
        yield Operation("neg" + suffix, _NEG | group, Group.ARITHMETIC, "neg", bits, (Operand.DST,))
    for narrow, bits in _MOVSX:
        opcode = _MOV | _X | (_ALU64 if bits == 64 else _ALU)
        operands = (Operand.DST, Operand.SRC)
        fixed = (("offset", narrow),)
        yield Operation(f"movsx{narrow}{bits}", opcode, Group.ARITHMETIC, f"movsx{narrow}", bits, operands, fixed=fixed)
    for name, opcode in (("le", _END | _ALU), ("be", _END | _X | _ALU), ("bswap", _END | _ALU64)):
        for bits in (16, 32, 64):
            yield Operation(f"{name}{bits}", opcode, Group.SWAP, name, bits, (Operand.DST,), fixed=(("imm", bits),))


def _memory() -> Iterator[Operation]:
    yield Operation("lddw", 0x18 | _LD, Group.WIDE, "lddw", 64, (Operand.DST, Operand.WIDE), fixed=(("src", 0),))
    for suffix, (size, bits) in _SIZES.items():
        load = (Operand.DST, Operand.AT_SRC)
        yield Operation("ldx" + suffix, _MEM | size | _LDX, Group.LOAD, "load", bits, load)
        if bits < 64:
            yield Operation("ldxs" + suffix, _MEMSX | size | _LDX, Group.LOAD, "load_signed", bits, load)
        store = (Operand.AT_DST, Operand.IMMEDIATE)
        yield Operation("st" + suffix, _MEM | size | _ST, Group.STORE, "store", bits, store)
        store = (Operand.AT_DST, Operand.SRC)
        yield Operation("stx" + suffix, _MEM | size | _STX, Group.STORE, "store", bits, store)
    for suffix, bits, size in (("", 64, 0x18), ("32", 32, 0x00)):
        for name, imm in _ATOMICS.items():
            mnemonic, opcode = f"lock {name}{suffix}", _ATOMIC | size | _STX
            operands = (Operand.AT_DST, Operand.SRC)
            yield Operation(mnemonic, opcode, Group.ATOMIC, name, bits, operands, fixed=(("imm", imm),))


def _jumps() -> Iterator[Operation]:
    yield Operation("ja", _JA | _JMP, Group.JUMP, "ja", 64, (Operand.TARGET,))
    yield Operation("gotol", _JA | _JMP32, Group.JUMP, "ja", 32, (Operand.FAR_TARGET,))
    for bits, group, suffix in ((64, _JMP, ""), (32, _JMP32, "32")):
        for name, code in _BRANCHES.items():
            for source, operand in ((0, Operand.IMMEDIATE), (_X, Operand.SRC)):
                operands = (Operand.DST, operand, Operand.TARGET)
                yield Operation(name + suffix, code << 4 | source | group, Group.BRANCH, name, bits, operands)
    yield Operation("call", _CALL | _JMP, Group.CALL_SERVICE, "call", 64, (Operand.SERVICE,), fixed=(("src", 0),))
    yield Operation("call local", _CALL | _JMP, Group.CALL_LOCAL, "call", 64, (Operand.FUNCTION,), fixed=(("src", 1),))
    # The register holds a service's ID or the address of a function (``access.TEXT_BASE``); LLVM puts it in dst.
    yield Operation("callx", _CALL | _X | _JMP, Group.CALL_REGISTER, "callx", 64, (Operand.DST,))
    yield Operation("exit", _EXIT | _JMP, Group.EXIT, "exit", 64, ())


TABLE: tuple[Operation, ...] = (*_arithmetic(), *_memory(), *_jumps())

# Other names in use for the same operation.
ALIASES = {"ja32": "gotol", "swap16": "bswap16", "swap32": "bswap32", "swap64": "bswap64"}

# Names that a reader may try, and why they are refused.
REFUSED = {
    "ldabs": "legacy packet access is deprecated by RFC 9669; load from a window with ldx",
    "ldind": "legacy packet access is deprecated by RFC 9669; load from a window with ldx",
}


_Key = TypeVar("_Key")


def _by(key: Callable[[Operation], _Key]) -> dict[_Key, tuple[Operation, ...]]:
    rows: dict[_Key, tuple[Operation, ...]] = {}
    for row in TABLE:
        rows[key(row)] = (*rows.get(key(row), ()), row)
    return rows


_BY_OPCODE = _by(lambda row: row.opcode)
BY_MNEMONIC = _by(lambda row: row.mnemonic)


def _bits(dst: int, src: int, offset: int, imm: int) -> int:
    """The fields behind the opcode as one number."""
    return dst | src << 4 | (offset & 0xFFFF) << 8 | (imm & 0xFFFF_FFFF) << 24


def _matches() -> dict[int, tuple[tuple[int, int, Operation], ...]]:
    """By opcode: of each row the bits that are not the programmer's choice, what they must be, and the row."""
    found: dict[int, tuple[tuple[int, int, Operation], ...]] = {}
    for row in TABLE:
        mask = _bits(*(0 if field in row.uses else 15 if field in ("dst", "src") else -1 for field in _FIELDS))
        wanted = _bits(*(dict(row.fixed).get(field, 0) for field in _FIELDS))
        found[row.opcode] = (*found.get(row.opcode, ()), (mask, wanted, row))
    return found


_MATCHES = _matches()


def operation_of(instruction: Instruction) -> Operation:
    """The table's row for an instruction. Raises InstructionError with the field, its value and the remedy."""
    bits = _bits(instruction.dst, instruction.src, instruction.offset, instruction.imm)
    for mask, wanted, row in _MATCHES.get(instruction.opcode, ()):
        if bits & mask == wanted:
            return row
    raise InstructionError(_complaint(instruction))


def _complaint(instruction: Instruction) -> str:
    rows = _BY_OPCODE.get(instruction.opcode)
    if rows is None:
        return _unknown(instruction.opcode)
    for row in rows:
        if all(getattr(instruction, field) == value for field, value in row.fixed):
            break
    else:
        return _unknown_variant(instruction, rows)
    taken = {*row.uses, *(field for field, _ in row.fixed)}
    field = next(field for field in _FIELDS if getattr(instruction, field) and field not in taken)
    return f"{row.mnemonic}: {field}: {getattr(instruction, field)}; the field is unused and must be 0; clear it"


def _unknown(opcode: int) -> str:
    group, mode = opcode & 7, opcode & 0xE0
    if group == _LD and mode in (0x20, 0x40):
        return f"opcode 0x{opcode:02x}: {REFUSED['ldabs' if mode == 0x20 else 'ldind']}"
    return f"opcode 0x{opcode:02x}: is none of RFC 9669's; {len(_BY_OPCODE)} opcodes are known; rebuild the program"


def _unknown_variant(instruction: Instruction, rows: Sequence[Operation]) -> str:
    field = rows[0].fixed[0][0]
    known = ", ".join(str(row.fixed[0][1]) for row in rows)
    what = rows[0].mnemonic.split()[0]
    return f"{what}: {field}: {getattr(instruction, field)} is not one of {known}; that form is not supported"
