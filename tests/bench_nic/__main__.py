"""``python -m tests.bench_nic``: see the command beside this file."""

import sys

from tests.commands.ending import run

sys.exit(run("bench-nic", "tests.bench_nic.command"))
