"""What the operations mean, in LLVM IR: the same lines for the ``threaded`` and the ``native`` engine.

Ref: RFC 9669, sections 4 and 5. Values are unsigned 64-bit (``i64``); an operation of 32 bits cuts its operands first
and zero-extends its result.
"""

from __future__ import annotations

from collections.abc import Callable

from nimble.isa import Group, Operand, Operation

DECLARATIONS = """
declare i16 @llvm.bswap.i16(i16)
declare i32 @llvm.bswap.i32(i32)
declare i64 @llvm.bswap.i64(i64)
declare i64 @llvm.umin.i64(i64, i64)
declare i64 @llvm.fshr.i64(i64, i64, i64)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
"""


class Block:
    """The lines of a function, with names made on demand."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._last = 0

    def __call__(self, line: str) -> None:
        """Add a line that gives nothing."""
        self.lines.append(f"  {line}")

    def let(self, expression: str) -> str:
        """Add a line that gives a value; its name."""
        name = self.name("v")
        self.lines.append(f"  {name} = {expression}")
        return name

    def name(self, kind: str) -> str:
        self._last += 1
        return f"%{kind}{self._last}"

    def label(self, name: str) -> None:
        """Begin a basic block; ``name`` as it was made by ``name``."""
        self.lines.append(f"{name[1:]}:")

    def byte(self, pointer: str, offset: int | str) -> str:
        """A pointer so many bytes further."""
        return self.let(f"getelementptr i8, ptr {pointer}, i64 {offset}")

    def load(self, pointer: str, offset: int | str, kind: str = "i64") -> str:
        return self.let(f"load {kind}, ptr {self.byte(pointer, offset)}, align 1")

    def store(self, value: str, pointer: str, offset: int | str, kind: str = "i64") -> None:
        at = self.byte(pointer, offset)
        self(f"store {kind} {value}, ptr {at}, align 1")

    def text(self) -> str:
        return "\n".join(self.lines)


def cut(block: Block, value: str, bits: int) -> str:
    """The lower bits as a narrower integer."""
    return value if bits == 64 else block.let(f"trunc i64 {value} to i{bits}")


def widen(block: Block, value: str, bits: int, *, signed: bool = False) -> str:
    """A narrower integer as 64 bits."""
    return value if bits == 64 else block.let(f"{'sext' if signed else 'zext'} i{bits} {value} to i64")


def compute(block: Block, row: Operation, a: str, b: str) -> str:
    """The new destination of an arithmetic operation or swap on destination ``a`` and source ``b``."""
    if row.group is Group.SWAP:
        return _swap(block, row, a)
    if row.name.startswith("movsx"):
        narrow = int(row.name.removeprefix("movsx"))
        value = block.let(f"sext i{narrow} {cut(block, b, narrow)} to i{row.bits}")
        return widen(block, value, row.bits)
    a, b = (cut(block, value, row.bits) for value in (a, b))
    return widen(block, _ARITHMETIC[row.name](block, f"i{row.bits}", a, b, row.bits), row.bits)


def condition(block: Block, row: Operation, a: str, b: str) -> str:
    """Whether a branch is taken, as ``i1``."""
    a, b = (cut(block, value, row.bits) for value in (a, b))
    if row.name == "jset":
        both = block.let(f"and i{row.bits} {a}, {b}")
        return block.let(f"icmp ne i{row.bits} {both}, 0")
    return block.let(f"icmp {_CONDITIONS[row.name]} i{row.bits} {a}, {b}")


def changed(block: Block, row: Operation, old: str, source: str, r0: str) -> str:
    """The new value in memory of an atomic; all of the operation's own width."""
    kind, name = f"i{row.bits}", row.name.removeprefix("fetch_")
    if name == "xchg":
        return source
    if name == "cmpxchg":
        same = block.let(f"icmp eq {kind} {old}, {r0}")
        return block.let(f"select i1 {same}, {kind} {source}, {kind} {old}")
    return block.let(f"{name} {kind} {old}, {source}")


def fetched_into(row: Operation, source: int) -> int | None:
    """The register that gets what an atomic found in memory."""
    if row.name == "cmpxchg":
        return 0
    return source if row.writes_src else None


def by_register(row: Operation) -> bool:
    """Whether the second operand is a register; else it is the immediate."""
    return Operand.SRC in row.operands


def immediate(row: Operation, imm: int) -> int:
    """The immediate as the operation sees it: sign-extended to its width, as an unsigned number."""
    return imm & ((1 << row.bits) - 1)


def _swap(block: Block, row: Operation, a: str) -> str:
    value = cut(block, a, row.bits)
    if row.name != "le":  # the machine is little-endian: `le` only cuts
        value = block.let(f"call i{row.bits} @llvm.bswap.i{row.bits}(i{row.bits} {value})")
    return widen(block, value, row.bits)


def _plain(operation: str) -> Callable[[Block, str, str, str, int], str]:
    return lambda block, kind, a, b, bits: block.let(f"{operation} {kind} {a}, {b}")


def _shift(operation: str) -> Callable[[Block, str, str, str, int], str]:
    def emit(block: Block, kind: str, a: str, b: str, bits: int) -> str:
        count = block.let(f"and {kind} {b}, {bits - 1}")
        return block.let(f"{operation} {kind} {a}, {count}")

    return emit


def _unsigned(operation: str, by_zero: str) -> Callable[[Block, str, str, str, int], str]:
    """Division; by zero it gives 0, the remainder of it the dividend."""

    def emit(block: Block, kind: str, a: str, b: str, bits: int) -> str:
        zero = block.let(f"icmp eq {kind} {b}, 0")
        divisor = block.let(f"select i1 {zero}, {kind} 1, {kind} {b}")
        result = block.let(f"{operation} {kind} {a}, {divisor}")
        other = a if by_zero == "a" else "0"
        return block.let(f"select i1 {zero}, {kind} {other}, {kind} {result}")

    return emit


def _signed(operation: str) -> Callable[[Block, str, str, str, int], str]:
    """As ``_unsigned``; and MIN / -1, which the machine's own instruction would trap, wraps to MIN."""

    def emit(block: Block, kind: str, a: str, b: str, bits: int) -> str:
        zero = block.let(f"icmp eq {kind} {b}, 0")
        minus = block.let(f"icmp eq {kind} {b}, -1")
        special = block.let(f"or i1 {zero}, {minus}")
        divisor = block.let(f"select i1 {special}, {kind} 1, {kind} {b}")
        result = block.let(f"{operation} {kind} {a}, {divisor}")
        if operation == "sdiv":
            by_minus, by_zero = block.let(f"sub {kind} 0, {a}"), "0"
        else:
            by_minus, by_zero = "0", a
        result = block.let(f"select i1 {minus}, {kind} {by_minus}, {kind} {result}")
        return block.let(f"select i1 {zero}, {kind} {by_zero}, {kind} {result}")

    return emit


_ARITHMETIC: dict[str, Callable[[Block, str, str, str, int], str]] = {
    "add": _plain("add"),
    "sub": _plain("sub"),
    "mul": _plain("mul"),
    "or": _plain("or"),
    "and": _plain("and"),
    "xor": _plain("xor"),
    "lsh": _shift("shl"),
    "rsh": _shift("lshr"),
    "arsh": _shift("ashr"),
    "div": _unsigned("udiv", "0"),
    "mod": _unsigned("urem", "a"),
    "sdiv": _signed("sdiv"),
    "smod": _signed("srem"),
    "neg": lambda block, kind, a, b, bits: block.let(f"sub {kind} 0, {a}"),
    "mov": lambda block, kind, a, b, bits: b,
}

_CONDITIONS = {
    "jeq": "eq",
    "jne": "ne",
    "jgt": "ugt",
    "jge": "uge",
    "jlt": "ult",
    "jle": "ule",
    "jsgt": "sgt",
    "jsge": "sge",
    "jslt": "slt",
    "jsle": "sle",
}
