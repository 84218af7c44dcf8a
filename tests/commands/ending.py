"""How a command ends: with its status, in one line when it is interrupted, and with no process left behind."""

import ctypes
import importlib
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType

from cosim.cli import INTERRUPTED_STATUS
from cosim.errors import USAGE_STATUS, UserError

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SET_CHILD_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of prctl(2)


def run(name: str, module: str) -> int:
    """The status of the `main` of a module, which is imported here so that imports can be interrupted, too.

    2 after a UserError, which is printed behind the command's name; 130 after Ctrl-C, SIGTERM or SIGHUP.
    """
    ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for number in _SIGNALS:
        signal.signal(number, _interrupt)
    try:
        return int(importlib.import_module(module).main())
    except UserError as error:
        print(f"{name}: {error.message}", file=sys.stderr)
        return USAGE_STATUS
    except KeyboardInterrupt:
        for number in _SIGNALS:  # once is enough: what follows takes no time
            signal.signal(number, signal.SIG_IGN)
        print(f"{name}: interrupted", file=sys.stderr)
        return INTERRUPTED_STATUS
    finally:
        end_descendants()


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def end_descendants() -> None:
    """Kills all processes that come from this one, in whatever group or session they are.

    Whose parent has ended becomes a child of this process (`run` asks for that), so in the end all are children.
    """
    while children := list(_children()):
        for child in children:
            with suppress(ProcessLookupError, ChildProcessError):  # somebody else waits for it, too
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)


def _children() -> Iterator[int]:
    """Of all threads of this process."""
    for thread in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # the thread has ended
            yield from map(int, (thread / "children").read_text().split())
