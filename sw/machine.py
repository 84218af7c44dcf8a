"""The machine's software: boots a kernel on every node, runs the jobs, tells what came of it."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from nimble.engine import DEFAULT_ENGINE
from sw.apps import APPLICATIONS
from sw.drivers import DRIVERS
from sw.kernel.costs import CpuCosts
from sw.kernel.counters import COUNTERS
from sw.kernel.hardware import Core, Node
from sw.kernel.kernel import Kernel
from sw.launcher import ENDED, JobRecord, JobSpec, JobState, Launcher

__all__ = ["JobSpec", "System", "start"]


def start(
    nodes: Sequence[Node],
    *,
    core_mhz: int,
    costs: CpuCosts,
    jobs: Sequence[JobSpec],
    drivers: Sequence[str],
    engine: str = DEFAULT_ENGINE,
    response_timeout_us: int = 0,
    interrupt_interval_us: int = 0,
    seed: int,
    on_finished: Callable[[], None] = lambda: None,
) -> "System":
    """The software of a machine, ready for `System.core_main`. Nodes are given in the order of their IDs, from 0.

    `drivers` are names of `sw.drivers.DRIVERS`, `engine` one of `nimble.engine.ENGINES`. `response_timeout_us` and
    `interrupt_interval_us`: see `Kernel`. `on_finished` is called once, on some core, when all jobs have ended. Raises
    ValueError if the jobs cannot run on these nodes.
    """
    _check(nodes, jobs, drivers)
    launcher = Launcher(jobs, applications=APPLICATIONS, core_mhz=core_mhz, seed=seed, on_finished=on_finished)
    chosen = [DRIVERS[name] for name in drivers]
    launcher.kernels = [
        Kernel(
            node,
            costs=costs,
            drivers=chosen,
            manager=launcher,
            engine=engine,
            response_timeout_us=response_timeout_us,
            interrupt_interval_us=interrupt_interval_us,
        )
        for node in nodes
    ]
    return System(launcher)


class System:
    """All kernels and jobs of a machine."""

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher
        self.kernels = launcher.kernels

    def core_main(self, core: Core) -> None:
        """The life of a core; never returns. Called once for each core of each node, in a greenlet of its own."""
        self.kernels[core.node].run_core(core.index)

    @property
    def finished(self) -> bool:
        """Whether all jobs have ended, well or badly, and everything has been read."""
        return self._launcher.finished

    def job_states(self) -> dict[str, str]:
        """The state of every job: waiting, loading, running, ending, cleaning, finished or failed."""
        return {name: record.state.value for name, record in self._launcher.jobs.items()}

    def results(self) -> dict[str, Any]:
        """What came of it, also before everything has ended: `jobs`, `counters`, `extensions`, `violations`, and the
        applications' own sections. Plain numbers, texts, lists and dicts.

        A job has `state` and `jid`; `reason` if it failed; `started_ps`, `ended_ps` as far as known. A counter has
        `description`, `unit`, `total` and `nodes` (by node ID). The device's counters are known at the end.
        `extensions` are the fields of `nimble.extension.Usage`, by node ID and by name.
        """
        launcher = self._launcher
        violations = [violation for kernel in self.kernels for violation in kernel.violations.entries]
        sections: dict[str, Any] = {}
        for record in launcher.jobs.values():
            if record.state is JobState.FINISHED:
                results = [record.results[rank] for rank in range(len(record.spec.placement))]
                _merge(sections, record.application.report(record.spec.parameters, results), record.spec.name)
        return {
            "jobs": {name: _job_result(record) for name, record in launcher.jobs.items()},
            "counters": self._counters(),
            "extensions": [
                {name: asdict(usage) for name, usage in kernel.extensions.usage.items()} for kernel in self.kernels
            ],
            "violations": [asdict(violation) for violation in sorted(violations, key=lambda v: (v.time_ps, v.nid))],
            **sections,
        }

    def _counters(self) -> dict[str, Any]:
        known = self._launcher.counters
        values = [known.get(kernel.node.nid, kernel.counts.total) for kernel in self.kernels]
        declared = {counter.name: counter for counter in COUNTERS}
        declared |= {c.name: c for kernel in self.kernels if kernel.network for c in kernel.network.driver.counters}
        return {
            name: {
                "description": counter.description,
                "unit": counter.unit,
                "total": sum(of_node[name] for of_node in values),
                "nodes": [of_node[name] for of_node in values],
            }
            for name, counter in declared.items()
            if all(name in of_node for of_node in values)
        }


def _job_result(record: JobRecord) -> dict[str, Any]:
    result: dict[str, Any] = {"state": record.state.value, "jid": record.spec.jid, "app": record.spec.app}
    if record.failure is not None:
        result["reason"] = record.failure
    if record.started_ps is not None:
        result["started_ps"] = record.started_ps
    if record.state in ENDED and record.ended_ps is not None:
        result["ended_ps"] = record.ended_ps
    return result


def _merge(sections: dict[str, Any], new: dict[str, Any], job: str) -> None:
    """Join a job's sections with those of others; two jobs that report the same thing are told apart by name."""
    for key, value in new.items():
        present = sections.get(key)
        if isinstance(present, dict) and isinstance(value, dict) and not (_leaves(present) and _leaves(value)):
            _merge(present, value, job)
        else:
            sections[key if present is None else f"{key}@{job}"] = value


def _leaves(section: dict[str, Any]) -> bool:
    return any(not isinstance(value, dict) for value in section.values())


def _check(nodes: Sequence[Node], jobs: Sequence[JobSpec], drivers: Sequence[str]) -> None:
    for name in drivers:
        if name not in DRIVERS:
            raise ValueError(f"drivers: {name!r} is unknown; known are {', '.join(DRIVERS)}; name one of them")
    if not jobs:
        raise ValueError("jobs: there is none; a machine runs one or more")
    names = [job.name for job in jobs]
    jids = [job.jid for job in jobs]
    for job in jobs:
        if names.count(job.name) > 1 or jids.count(job.jid) > 1:
            raise ValueError(f"job {job.name}: name or JID {job.jid} is used twice; give each job its own")
        if job.app not in APPLICATIONS:
            raise ValueError(f"job {job.name}: app {job.app!r} is unknown; known are {', '.join(APPLICATIONS)}")
        for nid, core in job.placement:
            if not (0 <= nid < len(nodes) and 0 <= core < len(nodes[nid].cores)):
                raise ValueError(f"job {job.name}: node {nid} core {core} does not exist; choose another place")
        for name in job.after:
            if name not in names:
                raise ValueError(f"job {job.name}: after: {name!r} is no job; there are {', '.join(names)}")
