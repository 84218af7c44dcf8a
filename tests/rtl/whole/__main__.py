"""``python -m tests.rtl.whole``: see the command beside this file."""

import sys

from tests.commands.ending import run

sys.exit(run("fuzz-nic", "tests.rtl.whole.command"))
