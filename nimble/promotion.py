"""Compiles extensions that have become hot, while they go on running, and swaps the compiled thread in.

One worker thread compiles one extension at a time, so that a process that ends waits for at most one of them. Engines
agree on every result, so nobody can tell when the swap happens, but by the clock on the wall.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, partial
from typing import TYPE_CHECKING, Any, cast

from nimble.engine import ENGINES, NATIVE_SLOTS, Thread
from nimble.engine.runs import Costs
from nimble.extension import NEVER, Extension, Trust

if TYPE_CHECKING:
    from nimble.engine.threaded import ThreadedThread

# Executed instructions per slot of the program, about what compiled code needs to win back the time of its compilation:
# 1.3 ms per slot at 0.6 ns per instruction (`make bench-nimble`).
HOT_INSTRUCTIONS = 1 << 21
PROMOTED_FROM, PROMOTED_TO = "threaded", "native"


class Promotion:
    """From ``threaded`` to ``native``, for one host."""

    def __init__(self, costs: Costs) -> None:
        self._costs = costs
        self._compiling: dict[Extension, Future[Thread]] = {}

    def threshold(self, extension: Extension) -> int:
        """How many instructions the extension's name must have executed for ``consider`` to be called."""
        if len(extension.program.instructions) > NATIVE_SLOTS:
            return NEVER
        return extension.usage.instructions + HOT_INSTRUCTIONS * len(extension.program.instructions)

    def consider(self, extension: Extension) -> bool:
        """Start to compile a hot extension, or swap it in when that is done; whether there is no more to do."""
        compiled = self._compiling.get(extension)
        if compiled is None:
            self._start(extension)
            return False
        if not compiled.done():
            return False
        del self._compiling[extension]
        error = compiled.exception()
        if error is None:
            extension.thread = compiled.result()
        else:
            text = f"{extension.name}: {PROMOTED_TO} cannot compile it ({error}); it stays in {PROMOTED_FROM}"
            warnings.warn(text, RuntimeWarning, stacklevel=2)
        return True

    def forget(self, extension: Extension) -> None:
        """The extension is gone."""
        self._compiling.pop(extension, None)

    def _start(self, extension: Extension) -> None:
        translate: Any = ENGINES[PROMOTED_TO]()  # unlike the other engines it takes hints
        compiled = _worker().submit(
            partial(
                translate,
                extension.program,
                space=extension.space,
                services=extension.services,
                checked=extension.manifest.trust is Trust.UNTRUSTED,
                costs=self._costs,
                facts=extension.facts,
                seen=cast("ThreadedThread", extension.thread).seen(),
            )
        )
        if compiled is not None:
            self._compiling[extension] = compiled


class _Worker:
    """One thread that takes one task at a time."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "nimble-compile")
        self._latest: Future[Thread] | None = None

    def submit(self, task: Callable[[], Thread]) -> Future[Thread] | None:
        """Begin a task; None if another still runs."""
        if self._latest is not None and not self._latest.done():
            return None
        self._latest = self._pool.submit(task)
        return self._latest


@cache
def _worker() -> _Worker:
    return _Worker()
