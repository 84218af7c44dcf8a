"""Register maps: a SystemRDL file elaborated into plain values that hardware, drivers and documentation share.

Ref: SystemRDL 2.0 (Accellera), of which a map may use whole 64-bit registers, register files and arrays of one
dimension.

Imports no Amaranth, because software uses it too; `rtl.csr` makes the hardware.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from systemrdl import RDLCompileError, RDLCompiler
from systemrdl.messages import MessagePrinter, Severity
from systemrdl.node import AddressableNode, AddrmapNode, FieldNode, Node, RegfileNode, RegNode
from systemrdl.rdltypes import OnWriteType

REGISTER_BYTES = 8


class RegisterMapError(ValueError):
    """A SystemRDL file is missing, wrong, or uses what a register bank cannot do; or a map has no such register."""


@dataclass(frozen=True, kw_only=True)
class RegisterField:
    """`width` bits of a register from bit `lsb` up; `software` and `hardware` are SystemRDL accesses (rw, r, w, na)."""

    name: str
    lsb: int
    width: int
    reset: int
    software: str
    hardware: str
    hwset: bool
    woclr: bool
    description: str

    @property
    def mask(self) -> int:
        """The field's bits in place."""
        return ((1 << self.width) - 1) << self.lsb


@dataclass(frozen=True, kw_only=True)
class Register:
    """One 64-bit register; `address` is in bytes from the block's base, `path` is like `CONTEXT[0].WINDOW[1].BASE`.

    `privileged`: refuses accesses without AxPROT[0]; `checked`: the block decides about every write; `counter`: counts
    events, in `unit`s.
    """

    path: str
    address: int
    name: str
    description: str
    privileged: bool
    checked: bool
    counter: bool
    unit: str
    fields: tuple[RegisterField, ...]

    @property
    def writable(self) -> bool:
        """Whether software may write any of it."""
        return any("w" in field.software for field in self.fields)

    def field(self, name: str) -> RegisterField:
        """The field `name`. RegisterMapError if there is none."""
        for field in self.fields:
            if field.name == name:
                return field
        raise RegisterMapError(f"{self.path}: no field {name!r}; there are {', '.join(f.name for f in self.fields)}")


@dataclass(frozen=True, kw_only=True)
class Counter:
    """A 64-bit counter for the report: dotted name, byte address from the block's base, what it counts."""

    name: str
    address: int
    description: str
    unit: str


@dataclass(frozen=True, kw_only=True, eq=False)
class RegisterMap:
    """All registers of a block in order of address; `size_bytes` is the address space it takes."""

    name: str
    size_bytes: int
    registers: tuple[Register, ...]
    constants: Mapping[str, int]

    def register(self, path: str) -> Register:
        """The register at `path`. RegisterMapError if there is none."""
        for register in self.registers:
            if register.path == path:
                return register
        raise RegisterMapError(f"{self.name}: no register {path!r}; a path is like {self.registers[-1].path!r}")

    def address(self, path: str) -> int:
        """Bytes from the block's base to the register at `path`. RegisterMapError if there is none."""
        return self.register(path).address

    def symbols(self) -> dict[str, int]:
        """Constants for assembler and drivers, prefixed with the block's name in upper case.

        `NIC.R` is a register's byte address; of an array `NIC.A` is element 0, `NIC.A_STRIDE` bytes lie between
        elements, there are `NIC.A_COUNT`, and `NIC.A.R` is a byte offset inside an element. `R.F_LSB`, `R.F_WIDTH` and
        `R.F_MASK` (in place) describe a field.
        """
        return dict(self.constants)

    def counters(self) -> tuple[Counter, ...]:
        """The counters, in order of address."""
        return tuple(
            Counter(
                name=f"{self.name}.{register.path.lower()}",
                address=register.address,
                description=register.description,
                unit=register.unit,
            )
            for register in self.registers
            if register.counter
        )


def source_path(block: str) -> Path:
    """The SystemRDL file of a block: `rtl/BLOCK/BLOCK.rdl`. RegisterMapError if there is none."""
    path = Path(__file__).parent / block / f"{block}.rdl"
    if not path.is_file():
        raise RegisterMapError(f"register map {block!r}: no file {path}; a block's map lies beside it")
    return path


def load(block: str, **parameters: int) -> RegisterMap:
    """The map of `block` elaborated with `parameters`; the same object for the same arguments. RegisterMapError."""
    return load_file(source_path(block), **parameters)


def load_file(path: Path, **parameters: int) -> RegisterMap:
    """Like `load`, from any SystemRDL file; parameters not given keep the file's defaults."""
    return _load(path, tuple(sorted(parameters.items())))


@cache
def _load(path: Path, parameters: tuple[tuple[str, int], ...]) -> RegisterMap:
    top = elaborate(path, **dict(parameters))
    registers = [_register(node) for node in top.descendants(unroll=True) if isinstance(node, RegNode)]
    constants: dict[str, int] = {}
    _add_symbols(constants, top.inst_name.upper(), top)
    return RegisterMap(
        name=top.inst_name,
        size_bytes=top.size,
        registers=tuple(sorted(registers, key=lambda register: register.address)),
        constants=MappingProxyType(constants),
    )


def elaborate(path: Path, **parameters: int) -> AddrmapNode:
    """The compiler's own view of a SystemRDL file, for exporters. RegisterMapError tells every complaint with line."""
    messages = _Messages()
    compiler = RDLCompiler(message_printer=messages)
    try:
        compiler.compile_file(str(path))
        top = compiler.elaborate(parameters=dict(parameters)).top
    except (RDLCompileError, OSError, TypeError, ValueError) as error:
        complaints = "; ".join(messages.complaints) or str(error)
        raise RegisterMapError(f"{path}: {complaints}") from error
    return top


class _Messages(MessagePrinter):
    """Keeps what the compiler complains about, instead of printing it; warnings are complaints only when it fails."""

    def __init__(self) -> None:
        self.complaints: list[str] = []

    def print_message(self, severity: Severity, text: str, src_ref: Any) -> None:
        place = f"line {src_ref.line}: " if hasattr(src_ref, "line") else ""
        self.complaints.append(f"{place}{text}")


def _register(node: RegNode) -> Register:
    path = node.get_path().split(".", 1)[1]
    if node.size != REGISTER_BYTES or node.raw_absolute_address % REGISTER_BYTES:
        raise RegisterMapError(
            f"{path}: {node.size} bytes at {node.raw_absolute_address:#x}; "
            f"a register has {REGISTER_BYTES} bytes at a multiple of {REGISTER_BYTES}"
        )
    return Register(
        path=path,
        address=node.absolute_address,
        name=node.get_property("name"),
        description=node.get_property("desc") or "",
        privileged=_inherited(node, "privileged"),
        checked=_flag(node, "checked"),
        counter=any(field.get_property("counter") for field in node.fields()),
        unit=node.get_property("unit", default="") or "",
        fields=tuple(_field(field) for field in node.fields()),
    )


def _field(node: FieldNode) -> RegisterField:
    reset = node.get_property("reset")
    if not isinstance(reset, int):
        raise RegisterMapError(f"{node.get_path()}: reset {reset!r} is not a number; every field needs one")
    return RegisterField(
        name=node.inst_name,
        lsb=node.lsb,
        width=node.width,
        reset=reset,
        software=node.get_property("sw").name,
        hardware=node.get_property("hw").name,
        hwset=bool(node.get_property("hwset")),
        woclr=node.get_property("onwrite") is OnWriteType.woclr,
        description=node.get_property("desc") or "",
    )


def _flag(node: Node, name: str) -> bool:
    """Whether a user-defined boolean is set; one named without a value is set, and its value is not a bool."""
    return node.get_property(name, default=False) not in (None, False)


def _inherited(node: Node | None, name: str) -> bool:
    """Whether the property is set on the node or on anything around it."""
    while isinstance(node, AddressableNode):
        if _flag(node, name):
            return True
        node = node.parent
    return False


def _add_symbols(constants: dict[str, int], prefix: str, parent: AddrmapNode | RegfileNode) -> None:
    for node in parent.children(unroll=False):
        if not isinstance(node, AddressableNode):
            continue
        name = f"{prefix}.{node.inst_name.upper()}"
        constants[name] = node.raw_address_offset
        if node.is_array:
            if len(node.array_dimensions) != 1:
                raise RegisterMapError(f"{name}: {len(node.array_dimensions)} dimensions; an array has one")
            constants[f"{name}_STRIDE"] = node.array_stride
            constants[f"{name}_COUNT"] = node.array_dimensions[0]
        if isinstance(node, RegNode):
            for field in node.fields():
                constants[f"{name}.{field.inst_name.upper()}_LSB"] = field.lsb
                constants[f"{name}.{field.inst_name.upper()}_WIDTH"] = field.width
                constants[f"{name}.{field.inst_name.upper()}_MASK"] = ((1 << field.width) - 1) << field.lsb
        else:
            _add_symbols(constants, name, node)
