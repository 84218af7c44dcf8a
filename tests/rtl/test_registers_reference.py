"""The register reference in Markdown: every register, its address, and who may touch it."""

import re
import subprocess
import sys
from pathlib import Path

from rtl.registers import load

PRIVILEGED = "Privileged: needs AxPROT[0] = 1."
CHECKED = "Checked: a write that the device does not accept"


def test_every_register_is_described_with_its_address_and_privilege(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "reference"
    result = subprocess.run(
        [sys.executable, "-W", "error", "-m", "rtl.reference", folder], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"{folder / 'nic.md'}\n"
    sections = re.split(r"^### (?=\w+ register$)", (folder / "nic.md").read_text(), flags=re.MULTILINE)[1:]
    described = {}
    for section in sections:
        address = re.search(r"^- Absolute Address: (0x[0-9A-F]+)$", section, flags=re.MULTILINE)
        assert address is not None
        described[int(address[1], 16)] = section
    registers = load("nic", CONTEXTS=2, WINDOWS=2, LINES=2).registers
    assert set(described) == {register.address for register in registers}
    for register in registers:
        section = described[register.address]
        assert section.startswith(f"{register.path.rpartition('.')[2]} register")
        assert (PRIVILEGED in section) == (register.address < 0x10000)
        assert (CHECKED in section) == register.checked
    assert "Unit: events." in described[0x120]
