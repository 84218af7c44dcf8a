"""Cores over the harness: times worked out by hand, the same on both simulators, and with a clock that never stops.

Worked example: the clock's edges are at multiples of 4000 ps. A store that is due at 64000 appears on the bus at the
next edge, 68000; the stub accepts it at 72000 and answers; the port sees the answer at 76000.
"""

import shutil
from pathlib import Path
from typing import Any

import pytest

from cosim.build import Model
from tests.cosim import harness, harness_programs

NO_ICARUS = pytest.mark.skipif(
    shutil.which("iverilog") is None, reason="Icarus Verilog is not installed (Debian: apt install iverilog)"
)
MACHINES = [
    pytest.param(("verilator", False, False), id="verilator"),
    pytest.param(("verilator", False, True), id="verilator-hierarchical"),
    pytest.param(("verilator", True, False), id="verilator-clock-always-on"),
    pytest.param(("icarus", False, False), id="icarus", marks=NO_ICARUS),
]

INTERRUPTED = [
    76_000,
    # Raised 5 cycles after the store was accepted at 72000; 500 ns were owed since 76000.
    ["device", 92_000, False],
    # 100 cycles, a store from 142000 to 152000, 10 cycles: the handler takes 65 ns, so 576000 becomes 641000.
    [641_000, True],
    702_000,
    # Pending when interrupts were enabled: taken as soon as the core asks for anything.
    ["device", 702_002, False],
    769_998,
    ["device", 804_000, False],
    869_000,
]
EXPECTED: dict[str, Any] = {
    "round_trips": [76_000, [92_000, 0xFEDCBA9876543210], 116_000, 132_000, 1_000_132_000, 1_000_144_000],
    "refusals": [
        "write of 0x78 was refused by the hardware: SLVERR",
        "read of 0x100 was refused by the hardware: SLVERR",
        7,
    ],
    "interrupt_in_computation": INTERRUPTED,
    "interrupts_of_all_cores": [["device", 92_000]],
    "signals_between_cores": [
        ["signal", 10_064_006],
        ["idle ended", 10_089_006],
        ["signal", 20_065_004],
        ["computed", 25_114_006],
        ["masked", 32_614_006],
        ["signal", 32_614_006],
        ["unmasked", 32_639_006],
        ["signal", 40_076_000],
        ["accessed", 40_124_500],
    ],
    "long_idle": [1_000_000_064_000],
}
# The core whose log is looked at.
CORE = {"signals_between_cores": 1}


@pytest.fixture(scope="module", params=MACHINES)
def machine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Path, str, bool]:
    simulator, always_on, hierarchical = request.param
    folder = tmp_path_factory.mktemp(f"{simulator}{always_on}")
    model = harness.model(folder, simulator=simulator, always_on=always_on, hierarchical=hierarchical)
    return model, folder, simulator, always_on


@pytest.mark.parametrize("program", harness_programs.PROGRAMS)
def test_times_are_those_worked_out_by_hand(machine: tuple[Model, Path, str, bool], program: str) -> None:
    model, folder, simulator, always_on = machine
    if always_on and program == "long_idle":
        return  # a second of a clock that never stops takes minutes
    result = harness.run(model, folder, program, simulator=simulator)
    assert result["status"] == "finished"
    assert result["logs"][CORE.get(program, 0)] == EXPECTED[program]
    if program == "interrupts_of_all_cores":
        # 5, 15, 25, 35 cycles after the store was accepted at 72000.
        assert result["logs"] == [[["device", 72_000 + 4000 * cycles]] for cycles in (5, 15, 25, 35)]


def test_idle_time_needs_no_clock(machine: tuple[Model, Path, str, bool]) -> None:
    model, folder, simulator, always_on = machine
    program = "round_trips" if always_on else "long_idle"
    result = harness.run(model, folder, program, simulator=simulator)
    if always_on:
        assert result["cycles"] > 250_000  # a millisecond's
    else:
        assert result["end_ps"] > 10**12
        assert result["cycles"] == 9  # the reset's, and the one with which it ends at the tiles
