"""The extensions of a new user, and the command line as such a user types it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cosim.cli import main

ABOVE = """\
from nimble.python import Pointer, entry, manifest, state, u64

manifest(name="above", budget=10_000, attach={"message": "count"}, windows={"message": "read"})

LIMIT = 100
total = state(u64)


@entry
def count(words: Pointer[u64], length: u64) -> u64:
    global total
    above: u64 = 0
    for i in range(length // 8):
        if words[i] > LIMIT:
            above += 1
    total += above
    return above
"""
TICK = """\
from nimble.python import device, entry, manifest, service, state, u64

manifest(name="tick", budget=1000, attach={"nic.interrupt": "interrupt"}, windows={"nic": "read-write"})

nic = device("nic")
handled = state(u64)


@service
def wake(pid: u64) -> u64: ...


@entry
def interrupt(pid: u64) -> u64:
    global handled
    status = nic.INT_STATUS
    nic.INT_STATUS = status
    if status.VIOLATION:
        return 1
    handled += 1
    return wake(pid) + pid
"""
HISTOGRAM = """\
from nimble.python import Pointer, array, entry, state, struct, u32, u64

BINS = 16


@struct
class Event:
    kind: u32
    size: u32


@struct
class Sums:
    seen: u64
    bytes: u64


bins = state(array(u64, BINS))
sums = state(Sums)


@entry
def main(events: Pointer[Event], length: u64) -> u64:
    for i in range(length // 8):
        event = events[i]
        bins[event.kind % BINS] += 1
        sums.seen += 1
        sums.bytes += event.size
    return bins[1] * 1000 + sums.seen * 100 + sums.bytes
"""
FOREVER = """\
from nimble.python import entry, u64


@entry
def main(last: u64) -> u64:
    x: u64 = 1
    while x != last:
        x = x * 5 + 1
    return x
"""
C = """\
#include "nimble.h"

MANIFEST("name: largest\\nbudget: 5000\\nattach: [{event: message, entry: look}]\\n");

static u64 largest;

u64 look(u64 *words, u64 length) {
    for (u64 i = 0; i < length / 8; i++)
        if (words[i] > largest)
            largest = words[i];
    return largest;
}
"""
NIC = "nic:0xC0000000:4096:read-write:device"


def write_sources() -> None:
    """Each as NAME.py in the folder where the test is."""
    for name, text in (("above", ABOVE), ("tick", TICK), ("histogram", HISTOGRAM), ("forever", FOREVER)):
        Path(f"{name}.py").write_text(text)


def compile_sources(capsys: pytest.CaptureFixture[str]) -> None:
    """Each to NAME.o."""
    for name in ("above", "histogram", "forever"):
        ran(capsys, "compile", f"{name}.py", "-o", f"{name}.o")
    ran(capsys, "compile", "tick.py", "-o", "tick.o", "--device", "nic=0xC0000000")


def ran(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command prints that succeeds."""
    status = main(arguments)
    captured = capsys.readouterr()
    assert (status, captured.err) == (0, "")
    return captured.out


def refused(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 2) -> str:
    """The one line on stderr of a command that fails."""
    try:
        found = main(arguments)
    except SystemExit as error:  # of argparse
        found = int(str(error.code))
    captured = capsys.readouterr()
    assert (found, captured.out) == (status, "")
    (line,) = captured.err.splitlines()
    return line
