"""The rules that memory ports are held to in every run: what keeps them passes, what breaks one is named."""

import shutil
import subprocess
from pathlib import Path

import pytest

from cosim import build

BENCH = Path(__file__).parent / "hdl" / "rules_bench.sv"
BROKEN = {
    "none": "no rule was broken",
    "alignment": "AW of 000000000ff4 is not aligned",
    "page": "AW of 000000000ff8 crosses 4 KiB",
    "size": "AR does not increment by whole words",
    "burst": "AR does not increment by whole words",
    "address": "AR changed before it was taken",
    "withdrawn": "AR was withdrawn before it was taken",
    "strobe": "W changed before it was taken",
    "early": "WLAST is 1 in word 0 of a burst",
    "late": "WLAST is 0 in word 1 of a burst",
}


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is missing (Debian: apt install iverilog)")
@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_rule_ends_the_simulation(fault: str, tmp_path: Path) -> None:
    model = tmp_path / "model.vvp"
    defines = ["-s", "rules_bench", f'-Prules_bench.FAULT="{fault}"']
    subprocess.run(["iverilog", "-g2012", *defines, "-o", model, build.HDL / "axi_rules.sv", BENCH], check=True)
    done = subprocess.run(["vvp", "-n", model], capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == (fault == "none")
    told = [line for line in done.stdout.splitlines() if line.endswith(BROKEN[fault])]
    assert len(told) == 1, done.stdout
