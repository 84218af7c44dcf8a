"""``python -m tests.formal``: see the command beside this file."""

import sys

from tests.commands.ending import run

sys.exit(run("formal", "tests.formal.command"))
