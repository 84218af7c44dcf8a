"""Starts and ends jobs over the machine's management network: load everywhere, start everywhere, clean up everywhere.

The launcher itself is no part of any node; what it does on a node runs there, on the core that it concerns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from typing import Any

from sw.apps.application import Application, Job, Needs
from sw.apps.witness import Witness
from sw.kernel.errors import RequestRefused
from sw.kernel.kernel import Kernel
from sw.kernel.process import Process
from sw.kernel.processor import Processor


@dataclass(frozen=True, kw_only=True)
class JobSpec:
    """A job to run. `placement`: (node, core) of each rank; `after`: names of jobs that must have ended before."""

    name: str
    jid: int
    app: str
    placement: tuple[tuple[int, int], ...]
    parameters: Any
    after: tuple[str, ...] = ()


class JobState(Enum):
    """What a job is doing."""

    WAITING = "waiting"
    LOADING = "loading"
    RUNNING = "running"
    ENDING = "ending"
    CLEANING = "cleaning"
    FINISHED = "finished"
    FAILED = "failed"


ENDED = (JobState.FINISHED, JobState.FAILED)


@dataclass(kw_only=True)
class JobRecord:
    """A job and what has become of it; `results` are by rank."""

    spec: JobSpec
    application: type[Application]
    state: JobState = JobState.WAITING
    failure: str | None = None
    started_ps: int | None = None
    ended_ps: int | None = None
    results: dict[int, object] = field(default_factory=dict)
    processes: dict[int, Process] = field(default_factory=dict)  # the ranks that live
    unloaded: int = 0  # ranks that have not been loaded yet
    busy: set[int] = field(default_factory=set)  # nodes that still have to be cleaned up
    fence: dict[int, object] = field(default_factory=dict)
    fenced: tuple[object, ...] = ()

    @property
    def nodes(self) -> list[int]:
        """The job's nodes, each once, in the order of placement."""
        return list(dict.fromkeys(nid for nid, _ in self.spec.placement))


class Launcher:
    """The manager of all kernels. `on_finished` is called once, when all jobs have ended and the counters are read."""

    def __init__(
        self,
        jobs: Sequence[JobSpec],
        *,
        applications: Mapping[str, type[Application]],
        core_mhz: int,
        seed: int,
        on_finished: Callable[[], None],
    ) -> None:
        self.kernels: Sequence[Kernel] = ()
        self.jobs = {spec.name: JobRecord(spec=spec, application=applications[spec.app]) for spec in jobs}
        self.counters: dict[int, dict[str, int]] = {}  # by node, once all jobs have ended
        self.finished = False
        self._by_jid = {record.spec.jid: record for record in self.jobs.values()}
        self._core_mhz = core_mhz
        self._seed = seed
        self._booted = 0
        self._collecting = False
        self._on_finished = on_finished

    # ---- starting ----

    def booted(self, processor: Processor) -> None:
        """A node is ready; with the last one the first jobs start."""
        self._booted += 1
        if self._booted == len(self.kernels):
            self._advance(processor)

    def _advance(self, origin: Processor) -> None:
        """Load the jobs whose time has come; after the last one, read the counters."""
        for record in self.jobs.values():
            if record.state is JobState.WAITING and all(self.jobs[name].state in ENDED for name in record.spec.after):
                self._load(record, origin)
        if all(record.state in ENDED for record in self.jobs.values()) and not self._collecting:
            self._collecting = True
            for kernel in self.kernels:
                kernel.processors[0].post(origin, self._collect)

    def _load(self, record: JobRecord, origin: Processor) -> None:
        record.state = JobState.LOADING
        record.unloaded = len(record.spec.placement)
        for rank, (nid, core) in enumerate(record.spec.placement):
            self.kernels[nid].processors[core].post(origin, partial(self._load_rank, record, rank))

    def _load_rank(self, record: JobRecord, rank: int, processor: Processor) -> None:
        """On the core of the rank: make its process. With the last one the job starts."""
        spec, application = record.spec, record.application
        needs = application.needs(spec.parameters)
        main = partial(_main, application, self._job(record, rank, needs), spec.parameters)
        try:
            record.processes[rank] = processor.kernel.make_process(
                processor, name=f"{spec.name}.{rank}", jid=spec.jid, rank=rank, main=main, kernel_page=needs.kernel_page
            )
        except RequestRefused as error:
            record.failure = record.failure or f"rank {rank}: cannot be loaded: {error}"
        record.unloaded -= 1
        if record.unloaded:
            return
        record.state = JobState.RUNNING
        record.started_ps = processor.core.now_ps
        if record.failure is not None:
            self._end(record, processor)
            return
        for process in list(record.processes.values()):
            process.processor.post(processor, partial(_start, process))

    def _job(self, record: JobRecord, rank: int, needs: Needs) -> Job:
        return Job(
            name=record.spec.name,
            jid=record.spec.jid,
            rank=rank,
            placement=record.spec.placement,
            core_mhz=self._core_mhz,
            seed=self._seed,
            witness=Witness(self.kernels, self.ask, record.spec.jid) if needs.witness else None,
        )

    # ---- while jobs run ----

    def fence(self, process: Process, value: object) -> tuple[object, ...]:
        """See `Manager.fence`."""
        record = self._by_jid[process.jid]
        if process.rank is None:
            raise RequestRefused(f"{process.name}: is no rank of its job; let the rank's own process call it")
        record.fence[process.rank] = value
        if len(record.fence) == len(record.spec.placement):
            record.fenced = tuple(value for _, value in sorted(record.fence.items(), key=lambda item: item[0]))
            record.fence = {}
            for member in list(record.processes.values()):
                member.processor.post(process.processor, partial(_wake, member))
        process.processor.sleep()
        return record.fenced

    def ask(self, process: Process, nid: int, question: Callable[[Kernel], Any]) -> Any:
        """Have `question` answered by the kernel of a node: here if it is the process's own, else on its last core,
        which is the least likely to be busy; the process sleeps until then."""
        if nid == process.processor.core.node:
            return question(process.kernel)
        answers = []

        def answer(there: Processor) -> None:
            answers.append(question(there.kernel))
            process.processor.post(there, partial(_wake, process))

        self.kernels[nid].processors[-1].post(process.processor, answer)
        process.processor.sleep()
        return answers[0]

    # ---- ending ----

    def process_ended(self, processor: Processor, process: Process) -> None:
        """See `Manager.process_ended`. The job ends with its last rank, or with the first failure of any process."""
        record = self._by_jid[process.jid]
        if process.failure is not None and record.failure is None:
            record.failure = f"{process.name} (node {processor.core.node}, PID {process.pid}): {process.failure}"
        if (
            process.rank is not None
            and record.processes.pop(process.rank, None) is not None
            and process.failure is None
        ):
            record.results[process.rank] = process.result
        if record.state is JobState.RUNNING and (record.failure is not None or not record.processes):
            self._end(record, processor)
        elif record.state is JobState.ENDING:
            self._release_if_empty(record, processor)

    def _end(self, record: JobRecord, origin: Processor) -> None:
        """Kill what lives of the job; then clean up each node."""
        record.state = JobState.ENDING
        record.busy = set(record.nodes)
        for nid in record.nodes:
            living = self.kernels[nid].processes_of(record.spec.jid)
            for processor in dict.fromkeys(process.processor for process in living):
                processor.post(origin, partial(_kill, record.spec.jid))
        self._release_if_empty(record, origin)

    def _release_if_empty(self, record: JobRecord, origin: Processor) -> None:
        living = any(self.kernels[nid].processes_of(record.spec.jid) for nid in record.nodes)
        if not living and record.state is JobState.ENDING:  # posting lets time pass: another core may have been here
            record.state = JobState.CLEANING
            for nid in record.nodes:
                self.kernels[nid].processors[0].post(origin, partial(self._release, record))

    def _release(self, record: JobRecord, processor: Processor) -> None:
        """On each of the job's nodes: give back what it had. With the last one the job has ended."""
        processor.kernel.release(record.spec.jid)
        record.busy.discard(processor.core.node)
        if record.busy:
            return
        record.state = JobState.FINISHED if record.failure is None else JobState.FAILED
        record.ended_ps = processor.core.now_ps
        self._advance(processor)

    def _collect(self, processor: Processor) -> None:
        """On each node: read what was refused, and the counters. With the last one everything has ended."""
        processor.kernel.read_refusals()
        self.counters[processor.core.node] = processor.kernel.counters()
        if len(self.counters) == len(self.kernels):
            self.finished = True
            processor.core.settle()
            self._on_finished()


def _main(application: type[Application], job: Job, parameters: Any, process: Process) -> object:
    return application.main(process, job, parameters)


def _start(process: Process, processor: Processor) -> None:
    processor.add(process)


def _wake(process: Process, processor: Processor) -> None:
    processor.wake(process)


def _kill(jid: int, processor: Processor) -> None:
    processor.kill(processor.kernel.processes_of(jid))
