"""The Python kernel holds no device register: neither the map, nor a name out of it, nor an address."""

import re
from pathlib import Path

import pytest

import sw.kernel
from rtl.devices import DEVICES
from rtl.registers import load

FILES = sorted(Path(sw.kernel.__file__).parent.glob("*.py"))
OFFSETS = {register.address for register in load("nic").registers if register.address >= 0x4000}


def complaints(text: str) -> list[str]:
    found = re.findall(r"rtl\.registers|rtl\.devices|rtl\.packet|NIC\.[A-Z]\w*", text)
    names = {register.path.rsplit(".")[-1] for register in load("nic").registers} - {"ID", "VIOLATIONS"}
    found += [name for name in sorted(names) if re.search(rf"\b{re.escape(name)}\b", text)]
    numbers = {int(number, 16) for number in re.findall(r"0x([0-9a-fA-F_]+)", text)}
    found += [hex(number) for number in sorted(numbers & (OFFSETS | {device.base for device in DEVICES}))]
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_kernel_file(path: Path) -> None:
    assert complaints(path.read_text(encoding="utf-8")) == []
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 260, "small enough to read in one sitting"


def test_the_search_finds_what_it_looks_for() -> None:
    assert complaints("from rtl.registers import load") == ["rtl.registers"]
    assert complaints("store(base + 0x10008, 1)") == ["0x10008"]
    assert complaints("INT_STATUS = 3") == ["INT_STATUS"]
    assert complaints("load(0xC0000000)") == ["0xc0000000"]
