"""The rules that memory ports and register buses are held to in every run: what breaks one ends it and is named."""

import subprocess
from pathlib import Path

import pytest

from cosim import build
from tests.cosim import harness

BENCH = Path(__file__).parent / "hdl" / "rules_bench.sv"
BROKEN = {
    "alignment": "memory.writes: AW of 000000000ff4 is not aligned",
    "page": "memory.writes: AW of 000000000ff8 crosses 4 KiB",
    "size": "memory.reads: AR does not increment by whole words",
    "burst": "memory.reads: AR does not increment by whole words",
    "address": "memory.ar: AR changed before it was taken",
    "withdrawn": "memory.ar: AR was withdrawn before it was taken",
    "strobe": "memory.w: W changed before it was taken",
    "word": "memory: a word was taken before its address",
    "early": "memory: WLAST is 1 in word 0 of a burst",
    "late": "memory: WLAST is 0 in word 1 of a burst",
    "writes": "memory: a write begins while 9 are under way",
    "answer": "memory.b: B changed before it was taken",
    "answer withdrawn": "memory.b: B was withdrawn before it was taken",
    "answered early": "memory: B answers no write that has ended",
    "answered twice": "memory: B answers no write that has ended",
    "exclusive write": "memory: B is EXOKAY",
    "data": "memory.r: R changed before it was taken",
    "response": "memory.r: R changed before it was taken",
    "data withdrawn": "memory.r: R was withdrawn before it was taken",
    "unasked": "memory: R answers no read",
    "read twice": "memory: R answers no read",
    "short": "memory: RLAST is 1 in word 0 of a burst",
    "long": "memory: RLAST is 0 in word 1 of a burst",
    "reads": "memory: a read begins while 9 are under way",
    "exclusive read": "memory: R is EXOKAY",
    "bus address": "bus.aw: AW changed before it was taken",
    "bus privilege": "bus.ar: AR changed before it was taken",
    "bus word": "bus.w: W changed before it was taken",
    "bus withdrawn": "bus.w: W was withdrawn before it was taken",
    "bus no address": "bus: B answers no write that has ended",
    "bus no word": "bus: B answers no write that has ended",
    "bus two addresses": "bus: AW was taken before the write before it was answered",
    "bus two words": "bus: W was taken before the write before it was answered",
    "bus answer": "bus.b: B changed before it was taken",
    "bus answer withdrawn": "bus.b: B was withdrawn before it was taken",
    "bus answered twice": "bus: B answers no write that has ended",
    "bus exclusive write": "bus: B is EXOKAY",
    "bus unasked": "bus: R answers no read",
    "bus two reads": "bus: AR was taken before the read before it was answered",
    "bus data": "bus.r: R changed before it was taken",
    "bus data withdrawn": "bus.r: R was withdrawn before it was taken",
    "bus read twice": "bus: R answers no read",
    "bus exclusive read": "bus: R is EXOKAY",
}


@pytest.fixture(scope="module")
def bench() -> Path:
    return build.verilate(
        "rules_bench", [build.HDL / "axi_rules.sv", BENCH], flags=("--timing", "--main"), cocotb=False, parameters={},
        cache=harness.CACHE, progress=lambda text: None, short=True,
    )  # fmt: skip


def run(bench: Path, fault: str) -> tuple[int, list[str]]:
    """Exit status, and what was said."""
    done = subprocess.run([bench, f"+fault={fault}"], capture_output=True, text=True, check=False)
    return done.returncode, (done.stdout + done.stderr).splitlines()


def test_what_keeps_the_rules_is_let_through(bench: Path) -> None:
    status, said = run(bench, "none")
    assert (status, said[0]) == (0, "no rule was broken")


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_rule_ends_the_simulation(bench: Path, fault: str) -> None:
    status, said = run(bench, fault)
    assert status != 0
    assert len([line for line in said if line.endswith(f"rules_bench.{BROKEN[fault]}")]) == 1, said
