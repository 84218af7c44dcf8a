"""Work on several processors, and how far it is."""

import multiprocessing
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Self, TypeVar

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, TextColumn
from rich.table import Column

from cosim.errors import UserError

WORKERS = 2

Job = TypeVar("Job")
Outcome = TypeVar("Outcome")


def in_parallel(work: Callable[[Job], Outcome], jobs: Sequence[Job]) -> Iterator[tuple[Job, Outcome]]:
    """Each job with what `work` made of it in another process, as they end; they begin in the order given.

    The processes are there when this returns: have no other threads before. They end with the iterator. UserError if
    one is killed.
    """
    return _handed_out([_worker(work) for _ in range(min(WORKERS, len(jobs)))], jobs)


def _worker(work: Callable[[Job], Outcome]) -> Connection:
    """The way to a new process that makes outcomes of jobs."""
    ours, theirs = multiprocessing.Pipe()
    # Forked: it has the theorems and blocks that this process has.
    multiprocessing.get_context("fork").Process(target=_serve, args=(work, ours, theirs), daemon=True).start()
    theirs.close()
    return ours


def _serve(work: Callable[[Job], Outcome], front: Connection, back: Connection) -> None:
    """Ctrl-C reaches all processes of a terminal; the one that started the others ends them."""
    front.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    try:
        while True:
            back.send(work(back.recv()))
    except EOFError:  # there are no more
        pass


def _handed_out(workers: list[Connection], jobs: Sequence[Job]) -> Iterator[tuple[Job, Outcome]]:
    rest = iter(jobs)
    busy: dict[Connection, Job] = {}
    try:
        for worker, job in zip(workers, rest, strict=False):
            worker.send(job)
            busy[worker] = job
        while busy:
            for worker in wait([*busy]):
                job = busy.pop(worker)
                outcome = worker.recv()
                if (following := next(rest, None)) is not None:
                    worker.send(following)
                    busy[worker] = following
                yield job, outcome
    except (EOFError, ConnectionError) as error:
        raise UserError(f"{job}: its process was killed; see that there is enough memory, and call again") from error
    finally:
        for worker in workers:
            worker.close()


class Ended:
    """Counts on stderr what has ended: on a terminal in a line that changes, elsewhere in a line for each. Enter it."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._count = 0
        console = Console(stderr=True, highlight=False)
        # One column, so that of a long line its end is cut and not its count.
        line = "{task.completed}/{task.total} {task.elapsed:.0f} s {task.description}"
        column = TextColumn(line, table_column=Column(no_wrap=True, overflow="ellipsis"))
        interactive = console.is_interactive
        self._progress = Progress(column, console=console, transient=True) if interactive else None

    def __enter__(self) -> Self:
        if self._progress:
            self._progress.start()
            self._task = self._progress.add_task("", total=self._total)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress:
            self._progress.stop()

    def show(self, what: str) -> None:
        """One more has ended, with what `what` says."""
        self._count += 1
        if self._progress:
            self._progress.update(self._task, advance=1, description=escape(what))
        else:
            print(f"{self._count}/{self._total} {what}", file=sys.stderr, flush=True)
