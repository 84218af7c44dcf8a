"""The device table: where each device of a node lies in physical address space.

Imports no Amaranth, because the kernel's boot and the drivers use it too.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Device:
    """A device; it takes `length_bytes` (a power of two) from `base` on, a multiple of the length."""

    name: str
    base: int
    length_bytes: int

    def __post_init__(self) -> None:
        if self.length_bytes < 1 or self.length_bytes & (self.length_bytes - 1):
            raise ValueError(f"device {self.name}: length_bytes {self.length_bytes:#x} is no power of two")
        if self.base % self.length_bytes:
            raise ValueError(f"device {self.name}: base {self.base:#x} is no multiple of {self.length_bytes:#x}")


NIC_BASE = 0xC000_0000

# The NIC's length is its kernel page and the pages of 62 contexts, of 64 KiB each, rounded up to a power of two.
DEVICES = (Device(name="nic", base=NIC_BASE, length_bytes=0x40_0000),)


def symbols() -> dict[str, int]:
    """Constants for assembler and drivers: `NIC.BASE` and `NIC.LENGTH` (bytes); for every device."""
    constants: dict[str, int] = {}
    for device in DEVICES:
        prefix = device.name.upper()
        constants[f"{prefix}.BASE"] = device.base
        constants[f"{prefix}.LENGTH"] = device.length_bytes
    return constants
