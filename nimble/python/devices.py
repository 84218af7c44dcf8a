"""Devices by name: from a register map's symbols to what ``nic.CONTEXT[i].CONTROL`` means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from nimble.python.types import Bits

_FIELD_SUFFIXES = ("_LSB", "_WIDTH", "_MASK")
_ARRAY_SUFFIXES = ("_STRIDE", "_COUNT")


class DeviceError(ValueError):
    """A device map that says too little or contradicts itself."""


@dataclass(frozen=True)
class Device:
    """Where a device is and what its registers are called.

    ``base`` is the address of its first register as the extension sees it. In ``symbols`` each name begins with the
    block's: ``NIC.R`` is the byte offset of a register; of an array ``NIC.A`` is that of element 0, ``NIC.A_STRIDE``
    bytes lie between elements and ``NIC.A.R`` is an offset inside one; ``NIC.R.F_LSB`` and ``NIC.R.F_WIDTH`` describe a
    field. Registers have ``bits`` bits. Raises DeviceError.
    """

    base: int
    symbols: Mapping[str, int]
    bits: int = 64
    plain: Mapping[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.base < 1 << 64:
            raise DeviceError(f"base: {self.base} is out of range 0..2**64-1; give the address")
        if self.bits not in (8, 16, 32, 64):
            raise DeviceError(f"bits: {self.bits} is not one of 8, 16, 32, 64; give the registers' width")
        prefixes = sorted({name.partition(".")[0] for name in self.symbols})
        if len(prefixes) != 1:
            raise DeviceError(
                f"symbols: begin with {', '.join(prefixes) or 'nothing'}; one block's name is needed; split them"
            )
        object.__setattr__(self, "plain", {name.partition(".")[2]: value for name, value in self.symbols.items()})

    def constants(self) -> Iterator[tuple[str, int]]:
        """The symbols that are numbers, not registers: strides, counts and the places of fields."""
        for name, value in self.plain.items():
            if self._is_number(name):
                yield name, value

    def _is_number(self, name: str) -> bool:
        for suffix in (*_FIELD_SUFFIXES, *_ARRAY_SUFFIXES):
            if name.endswith(suffix) and (suffix in _FIELD_SUFFIXES or name.removesuffix(suffix) in self.plain):
                return True
        return False

    def members(self, path: str) -> list[str]:
        """The registers and groups right below a path, by name."""
        start = f"{path}." if path else ""
        names = [name[len(start) :] for name in self.plain if name.startswith(start)]
        return [name for name in names if name and "." not in name and not self._is_number(start + name)]

    def stride(self, path: str) -> int | None:
        """Bytes between the elements of an array; None if it is no array."""
        return self.plain.get(f"{path}_STRIDE")

    def fields(self, path: str) -> dict[str, Bits]:
        """The fields of a register."""
        found = {}
        start = f"{path}."
        for name, lsb in self.plain.items():
            inner = name[len(start) :].removesuffix("_LSB")
            if name.startswith(start) and name.endswith("_LSB") and "." not in inner:
                found[inner] = Bits(lsb, self.plain.get(f"{start}{inner}_WIDTH", 1))
        return found
