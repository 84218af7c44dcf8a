"""``python -m tests.synth``: see the command beside this file."""

import sys

from tests.commands.ending import run

sys.exit(run("synth", "tests.synth.command"))
