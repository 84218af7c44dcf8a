"""Writes the register reference: `python -m rtl.reference OUTDIR` makes OUTDIR/BLOCK.md for every block with a map.

Arrays that a parameter sizes are shown with two elements, so that the distance between elements can be seen.
"""

import argparse
from pathlib import Path

from peakrdl_markdown import MarkdownExporter  # type: ignore[import-untyped]
from systemrdl.node import AddrmapNode, RegNode

from rtl.registers import elaborate, load_file, source_path

_SHOWN = {"nic": {"CONTEXTS": 2, "WINDOWS": 2, "LINES": 2}}


def write(block: str, folder: Path) -> Path:
    """Writes the reference of `block` into `folder`, which it makes if need be; returns the file. RegisterMapError."""
    top = elaborate(source_path(block), **_SHOWN[block])
    _describe_access(top, block)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{block}.md"
    MarkdownExporter().export(top, str(path))
    return path


def _describe_access(top: AddrmapNode, block: str) -> None:
    """Says in each register's description what the exporter does not know: the properties that our maps define."""
    registers = load_file(source_path(block), **_SHOWN[block])
    for node in top.descendants(unroll=True):
        if not isinstance(node, RegNode):
            continue
        register = registers.register(node.get_path().split(".", 1)[1])
        notes = [register.description] if register.description else []
        if register.privileged:
            notes.append("Privileged: needs AxPROT[0] = 1.")
        if register.checked:
            notes.append("Checked: a write that the device does not accept is answered SLVERR and changes nothing.")
        if register.unit:
            notes.append(f"Unit: {register.unit}.")
        node.inst.properties["desc"] = "\n\n".join(notes)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m rtl.reference", description="Writes the register reference.")
    parser.add_argument("outdir", type=Path, help="folder for the Markdown files")
    folder = parser.parse_args().outdir
    for block in _SHOWN:
        print(write(block, folder))


if __name__ == "__main__":
    main()
