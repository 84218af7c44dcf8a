"""Text to code, in the syntax of uBPF and of the public conformance tests, with names for numbers.

    mov %r0, 1            ldxdw %r1, [%r2+8]       jeq %r1, 0, done       call 5
    lddw %r1, NIC.BASE    stxw [%r1-4], %r2        lock add [%r1], %r2    call local f
    lddw %r1, f           callx %r1

One instruction, directive or ``label:`` a line; ``#`` and ``;`` begin a comment; registers with or without ``%``.
Directives: ``.entry NAME`` makes the next instruction an entry point (without any, ``main`` is the first; a name that
is no plain word is written as a JSON string); ``.equ NAME, value``; ``.state N`` reserves N zero bytes of state,
``.byte`` and ``.quad`` values add initialised ones; ``STATE`` is the address of the first. In ``lddw`` and ``.quad`` a
label, also one that follows, is the address of its instruction, which ``callx`` takes. Without a label ``exit``, a jump
to ``exit`` goes to the first exit instruction.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import NoReturn

from nimble.access import STATE_BASE
from nimble.disassembler import disassemble
from nimble.expressions import ExpressionError, evaluate
from nimble.flow import address_of
from nimble.isa import ALIASES, BY_MNEMONIC, MASK64, REFUSED, REGISTERS, Group, Instruction, Operand, Operation
from nimble.program import STATE_LIMIT_BYTES, Program, SourceLine

__all__ = ["AssemblyError", "assemble", "disassemble"]

_COMMENT = re.compile(r'("(?:[^"\\]|\\.)*")|[#;].*')
_LABEL = re.compile(r"\s*([A-Za-z_.][\w.]*)\s*:")
_NAME = re.compile(r"[A-Za-z_][\w.]*\Z")
_REGISTER = re.compile(r"%?r(\d+)\Z")
_PERCENT = re.compile(r"%\w*\Z")
_ADDRESS = re.compile(r"\[\s*(%?\w+)\s*(?:([+-].*?))?\s*\]\Z")
_RELATIVE = re.compile(r"[+-]\s*\w+\Z")
_LOCK = re.compile(r"lock\s+(fetch)[\s_]+(\w+)\s*(.*)|lock\s+(\w+)\s*(.*)")
_CALL_LOCAL = re.compile(r"call\s+local\b\s*(.*)")
_NAMES = re.compile(r"(?<![\w.])[A-Za-z_.][\w.]*")
_STATE = "STATE"


class AssemblyError(ValueError):
    """``file:line: thing: value; bound; remedy``."""


def assemble(text: str, *, symbols: Mapping[str, int] = {}, source: str = "<text>") -> Program:
    """The program written in ``text``. ``symbols`` are names for numbers: registers' addresses, services' IDs.

    ``source`` is the file's name for errors and for ``Program.name``. Raises AssemblyError.
    """
    return _Assembly(symbols, source).run(text)


@dataclass(frozen=True)
class _Statement:
    """An instruction of the text whose operands are still text."""

    pc: int
    line: int
    operation: Operation
    operands: tuple[str, ...]


class _Assembly:
    """One text: the first pass places labels and directives, the second encodes instructions."""

    def __init__(self, symbols: Mapping[str, int], source: str) -> None:
        self._source = source
        self._line = 0
        self._symbols = {**symbols, _STATE: STATE_BASE}
        self._given = set(self._symbols)
        self._labels: dict[str, int] = {}
        self._addresses: dict[str, int] = {}  # symbols and the addresses of labels, once all are known
        self._entries: dict[str, int] = {}
        self._open_entries: list[str] = []
        self._statements: list[_Statement] = []
        self._pc = 0
        self._state = bytearray()
        self._data_texts: list[tuple[int, int, int, str]] = []  # line, offset and width in bytes, expression

    def run(self, text: str) -> Program:
        for self._line, line in enumerate(text.splitlines(), start=1):
            self._read_line(_COMMENT.sub(lambda match: match.group(1) or "", line).strip())
        if self._open_entries:
            self._fail(f".entry {self._open_entries[0]}: no instruction follows; put it before one")
        if not self._statements:
            self._fail("the text has no instruction; a program needs one or more; end it with exit")
        self._add_exit_label()
        self._addresses = {**self._symbols, **{name: address_of(pc) for name, pc in self._labels.items()}}
        self._fill_data()
        slots, lines = [], {}
        for statement in self._statements:
            self._line = statement.line
            slots += self._encode(statement)
            lines[statement.pc] = SourceLine(self._source, statement.line)
        entries = self._entries or {"main": 0}
        name = PurePath(self._source).stem
        try:
            return Program(instructions=tuple(slots), entries=entries, state=bytes(self._state), lines=lines, name=name)
        except ValueError as error:
            self._fail(str(error))

    def _fail(self, text: str) -> NoReturn:
        raise AssemblyError(f"{self._source}:{max(self._line, 1)}: {text}")

    # First pass

    def _read_line(self, line: str) -> None:
        while match := _LABEL.match(line):
            self._define(self._labels, match.group(1), self._pc, "label")
            line = line[match.end() :].strip()
        if line.startswith("."):
            self._directive(line)
        elif line:
            self._instruction(line)

    def _define(self, table: dict[str, int], name: str, value: int, kind: str) -> None:
        if name in table:
            self._fail(f"{kind} {name}: is defined twice; each name stands once; rename one")
        table[name] = value

    def _directive(self, line: str) -> None:
        directives: dict[str, Callable[[str], None]] = {
            ".entry": self._entry,
            ".equ": self._equ,
            ".state": self._reserve,
            ".byte": lambda rest: self._data(rest, 1),
            ".quad": lambda rest: self._data(rest, 8),
        }
        word, _, rest = line.partition(" ")
        if word not in directives:
            self._fail(f"{word}: unknown directive; known are {', '.join(directives)}; use one of them")
        directives[word](rest.strip())

    def _entry(self, name: str) -> None:
        if name.startswith('"'):
            name = self._quoted(name)
        elif len(name.split()) != 1:
            self._fail(f".entry: {name or 'nothing'!r} is not one name; write .entry NAME")
        self._define(self._entries, name, self._pc, "entry")
        self._open_entries.append(name)

    def _quoted(self, text: str) -> str:
        try:
            name = json.loads(text)
        except ValueError:
            name = ""
        if not name:
            self._fail(f'.entry: {text} is no JSON string; write .entry NAME or .entry "NAME"')
        return str(name)

    def _equ(self, rest: str) -> None:
        name, _, expression = (part.strip() for part in rest.partition(","))
        if not _NAME.match(name) or not expression:
            self._fail(f".equ: {rest!r} is not a name and a value; write .equ NAME, value")
        if _REGISTER.match(name) or name in self._given:
            self._fail(f".equ: {name} is taken; registers and given symbols keep their meaning; choose another name")
        self._define(self._symbols, name, self._number(expression), "name")

    def _reserve(self, rest: str) -> None:
        self._grow(bytes(self._bounded(".state", self._number(rest), 0, STATE_LIMIT_BYTES)))

    def _data(self, rest: str, width: int) -> None:
        for text in rest.split(","):
            self._data_texts.append((self._line, len(self._state), width, text))
            self._grow(bytes(width))

    def _grow(self, image: bytes) -> None:
        self._bounded("state", len(self._state) + len(image), 0, STATE_LIMIT_BYTES)
        self._state += image

    def _instruction(self, line: str) -> None:
        mnemonic, rest = self._mnemonic(line)
        operands = tuple(part.strip() for part in rest.split(",")) if rest else ()
        operation = self._select(mnemonic, operands)
        self._statements.append(_Statement(self._pc, self._line, operation, operands))
        self._open_entries.clear()
        self._pc += operation.slots

    def _mnemonic(self, line: str) -> tuple[str, str]:
        """The table's mnemonic, which may be two words, and the text of the operands."""
        if match := _LOCK.match(line):
            _, fetched, fetch_rest, plain, plain_rest = match.groups()
            return (f"lock fetch_{fetched}", fetch_rest) if fetched else (f"lock {plain}", plain_rest)
        if match := _CALL_LOCAL.match(line):
            return "call local", match.group(1)
        word, *rest = line.split(None, 1)
        return ALIASES.get(word, word), rest[0] if rest else ""

    def _select(self, mnemonic: str, operands: tuple[str, ...]) -> Operation:
        if mnemonic in REFUSED:
            self._fail(f"{mnemonic}: {REFUSED[mnemonic]}")
        rows = BY_MNEMONIC.get(mnemonic)
        if rows is None:
            close = difflib.get_close_matches(mnemonic, BY_MNEMONIC, n=1)
            hint = f"did you mean {close[0]}?" if close else "see nimble/isa.py for the table"
            self._fail(f"{mnemonic}: unknown instruction; {len(BY_MNEMONIC)} are known; {hint}")
        wanted = len(rows[0].operands)
        if len(operands) != wanted:
            self._fail(f"{mnemonic}: {len(operands)} operands; it takes {wanted}; write {_shape(rows[0])}")
        if len(rows) == 1:
            return rows[0]
        by_register = bool(_REGISTER.match(operands[1]) or _PERCENT.match(operands[1]))
        return next(row for row in rows if (Operand.SRC in row.operands) == by_register)

    def _add_exit_label(self) -> None:
        for statement in self._statements:
            if statement.operation.group is Group.EXIT:
                self._labels.setdefault("exit", statement.pc)
                return

    # Second pass

    def _fill_data(self) -> None:
        for line, at, width, text in self._data_texts:
            self._line = line
            low, high = -(1 << 8 * width - 1), (1 << 8 * width) - 1
            value = self._bounded("value", self._address_or_number(text), low, high)
            self._state[at : at + width] = (value & high).to_bytes(width, "little")

    def _encode(self, statement: _Statement) -> list[Instruction]:
        fields = dict(statement.operation.fixed)
        second: list[Instruction] = []
        for operand, text in zip(statement.operation.operands, statement.operands, strict=True):
            if operand is Operand.DST:
                fields["dst"] = self._register(text)
            elif operand is Operand.SRC:
                fields["src"] = self._register(text)
            elif operand in (Operand.AT_DST, Operand.AT_SRC):
                register, fields["offset"] = self._address(text)
                fields["dst" if operand is Operand.AT_DST else "src"] = register
            elif operand is Operand.WIDE:
                value = self._bounded("immediate", self._address_or_number(text), -(1 << 63), MASK64)
                fields["imm"] = _signed(value, 32)
                second.append(Instruction(0, imm=_signed(value >> 32, 32)))
            elif operand is Operand.IMMEDIATE:
                value = self._bounded("immediate", self._number(text), -(1 << 31), (1 << 32) - 1)
                fields["imm"] = _signed(value, 32)
            elif operand is Operand.SERVICE:
                fields["imm"] = self._service(text)
            elif operand is Operand.TARGET:
                fields["offset"] = self._target(text, statement.pc, 16)
            else:
                fields["imm"] = self._target(text, statement.pc, 32)
        return [Instruction(statement.operation.opcode, **fields), *second]

    def _register(self, text: str) -> int:
        match = _REGISTER.match(text)
        if match is None or len(match.group(1)) > 2 or int(match.group(1)) >= REGISTERS:
            self._fail(f"register: {text or 'nothing'}; registers are %r0..%r{REGISTERS - 1}; name one of them")
        return int(match.group(1))

    def _address(self, text: str) -> tuple[int, int]:
        match = _ADDRESS.match(text)
        if match is None:
            self._fail(f"address: {text or 'nothing'}; an address is a register and an offset; write [%r1+8]")
        offset = self._number(match.group(2)) if match.group(2) else 0
        return self._register(match.group(1)), self._bounded("offset", offset, -(1 << 15), (1 << 15) - 1)

    def _service(self, text: str) -> int:
        if text in self._labels and text not in self._symbols:
            self._fail(f"call {text}: is a label, not a service; write call local {text}")
        return self._bounded("service", self._number(text), 0, (1 << 31) - 1)

    def _target(self, text: str, pc: int, bits: int) -> int:
        if _RELATIVE.match(text):
            distance = self._number(text)
        elif text in self._labels:
            distance = self._labels[text] - pc - 1
        else:
            close = difflib.get_close_matches(text, self._labels, n=1)
            hint = f"did you mean {close[0]}?" if close else f"write {text or 'it'}: before an instruction"
            self._fail(f"label: {text or 'nothing'}: is not defined; {hint}")
        low, high = -(1 << bits - 1), (1 << bits - 1) - 1
        if not low <= distance <= high:
            self._fail(f"jump to {text}: {distance} slots; {low}..{high} fit; use gotol, which reaches further")
        return distance

    def _address_or_number(self, text: str) -> int:
        """Labels are addresses here; one that is named like a number would be a trap."""
        for name in _NAMES.findall(text):
            if name in self._labels and name in self._symbols:
                self._fail(f"{name}: is a label and a number; here it could be either; rename the label")
        return self._evaluate(text, self._addresses)

    def _number(self, text: str) -> int:
        return self._evaluate(text, self._symbols)

    def _evaluate(self, text: str, symbols: Mapping[str, int]) -> int:
        try:
            return evaluate(text, symbols)
        except ExpressionError as error:
            self._fail(str(error))

    def _bounded(self, what: str, value: int, low: int, high: int) -> int:
        if not low <= value <= high:
            self._fail(f"{what}: {value} is out of range {low}..{high}; use a value that fits")
        return value


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> bits - 1 else value


_SHAPES = {
    Operand.DST: "%r1",
    Operand.SRC: "%r2",
    Operand.IMMEDIATE: "1",
    Operand.WIDE: "0x1122334455667788",
    Operand.AT_DST: "[%r1+8]",
    Operand.AT_SRC: "[%r2+8]",
    Operand.TARGET: "label",
    Operand.FAR_TARGET: "label",
    Operand.FUNCTION: "label",
    Operand.SERVICE: "5",
}


def _shape(operation: Operation) -> str:
    """An example of the operation, to show how it is written."""
    return f"{operation.mnemonic} {', '.join(_SHAPES[operand] for operand in operation.operands)}".rstrip()
