"""What was proved when all theorems were tried last, and of which sources: build/formal/report.json."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
_PLACE = Path("build") / "formal" / "report.json"
# What a verdict depends on: the hardware, the theorems, and the pinned tools.
_SOURCES = ("rtl/**/*.py", "rtl/**/*.rdl", "tests/formal/*.py", "requirements.txt", "requirements-formal.txt")


def sources(root: Path = ROOT) -> str:
    """A number for the contents of all that verdicts depend on."""
    digest = hashlib.sha256()
    for pattern in _SOURCES:
        for path in sorted(root.glob(pattern)):
            for part in (path.relative_to(root).as_posix().encode(), path.read_bytes()):
                digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()


def proved(root: Path = ROOT) -> frozenset[str] | None:
    """The theorems that were proved of the sources as they are; None if that was never tried."""
    verdicts = _read(root, sources(root))
    return None if verdicts is None else frozenset(name for name, holds in verdicts.items() if holds)


def write(of: str, verdicts: Mapping[str, bool], root: Path = ROOT, *, whole: bool) -> None:
    """Keeps whether theorems hold of the sources `of`. Unless they are the `whole` catalogue, they only correct what is
    known of the same sources."""
    path = root / _PLACE
    known = _read(root, of)
    if known is None and not whole:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    holds = dict(verdicts) if whole else {**(known or {}), **verdicts}
    path.write_text(json.dumps({"sources": of, "holds": holds}, indent=1, sort_keys=True) + "\n")


def _read(root: Path, of: str) -> Mapping[str, bool] | None:
    try:
        report = json.loads((root / _PLACE).read_text())
    except FileNotFoundError:
        return None
    return report["holds"] if report["sources"] == of else None
