"""What the parts of a scenario must have in common: clock and links, placement, jobs' names and order, shared cores."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from cosim.yaml_source import Path_, Problem, Source, dotted
from rtl.fabric.parameters import MAX_LATENCY_CYCLES, FabricParameters, Topology
from sw.apps import APPLICATIONS

if TYPE_CHECKING:
    from cosim.scenario import Job, Machine

PS_PER_NS = 1_000

Finding = tuple[Path_, str]  # the path of the value that it concerns, and what is wrong with it


def problems(machine: Machine, jobs: tuple[Job, ...], source: Source) -> list[Problem]:
    """Everything that does not fit together, with its position in the file."""
    findings = [*_fabric(machine), *_placement(machine, jobs), *_unique(jobs), *_order(jobs)]
    if not findings:
        findings = [*_cores(jobs), *_applications(machine, jobs)]
    return [Problem(source.position(path), f"{dotted(path)}: {text}") for path, text in findings]


def _fabric(machine: Machine) -> Iterator[Finding]:
    yield from _network(machine)
    yield from _latency(machine)


# What FabricParameters leaves unsaid: where in the file the remedy is to be applied.
_REMEDIES = {
    "nodes": " as machine.fabric.topology",
    "link_width_bits": "; write {machine.node.nic.datapath_bits}, or a wider machine.node.nic.datapath_bits",
}


def _network(machine: Machine) -> Iterator[Finding]:
    """What the fabric itself finds wrong; its latency is judged in the file's units instead."""
    fabric, path = machine.fabric, ("machine", "fabric")
    if fabric.topology in (Topology.MESH, Topology.TORUS) and not fabric.dimensions:
        example = f"dimensions: {_dimensions(machine.nodes)}"
        yield (*path, "dimensions"), f"missing; add nodes along each dimension of the {fabric.topology}: '{example}'"
        return
    try:
        FabricParameters(**{**machine.fabric_parameters, "link_latency_cycles": 1})
    except ValueError as error:
        thing, _, text = str(error).removeprefix("fabric.").partition(": ")
        where = ("machine", "nodes") if thing == "nodes" else (*path, thing)
        yield where, text + _REMEDIES.get(thing, "").format(machine=machine)


def _dimensions(nodes: int) -> list[int]:
    """The squarest grid of that many nodes."""
    height = max(size for size in range(1, nodes + 1) if nodes % size == 0 and size * size <= nodes)
    return [nodes // height, height]


def _latency(machine: Machine) -> Iterator[Finding]:
    latency_ns, period_ps = machine.fabric.link_latency_ns, machine.clock_period_ps
    latency_ps, path = latency_ns * PS_PER_NS, ("machine", "fabric", "link_latency_ns")
    if latency_ps % period_ps:
        fitting = [ps for ps in range(period_ps, latency_ps + 2000 * period_ps, period_ps) if ps % PS_PER_NS == 0]
        below = [ps // PS_PER_NS for ps in fitting if ps < latency_ps][-1:]
        above = [ps // PS_PER_NS for ps in fitting if ps > latency_ps][:1]
        text = f"{latency_ns} ns is no whole number of clock cycles of {period_ps} ps"
        yield path, f"{text}; write {' or '.join(map(str, below + above))}"
    elif machine.link_latency_cycles > MAX_LATENCY_CYCLES:
        most_ns = MAX_LATENCY_CYCLES * period_ps // PS_PER_NS
        text = f"{latency_ns} ns are {machine.link_latency_cycles} clock cycles"
        yield path, f"{text}; a link holds at most {MAX_LATENCY_CYCLES}, {most_ns} ns"


def _placement(machine: Machine, jobs: tuple[Job, ...]) -> Iterator[Finding]:
    """Places outside the machine, and places that a job uses twice."""
    for index, job in enumerate(jobs):
        seen = set()
        for rank, place in enumerate(job.placement):
            path = ("jobs", index, "placement", rank)
            if place.node >= machine.nodes:
                text = f"{place.node} is out of range 0..{machine.nodes - 1}"
                yield (*path, "node"), f"{text}; choose a node of the machine or raise machine.nodes"
            if place.core >= machine.node.cores:
                text = f"{place.core} is out of range 0..{machine.node.cores - 1}"
                yield (*path, "core"), f"{text}; choose a core of the node or raise machine.node.cores"
            if place in seen:
                yield path, f"node {place.node}, core {place.core} is listed twice in this job; give each rank its own"
            seen.add(place)


def _unique(jobs: tuple[Job, ...]) -> Iterator[Finding]:
    names: dict[str, int] = {}
    jids: dict[int, str] = {}
    for index, job in enumerate(jobs):
        if job.name in names:
            yield ("jobs", index, "name"), f"{job.name!r} is already the name of jobs[{names[job.name]}]; rename one"
        names.setdefault(job.name, index)
        if job.jid in jids:
            yield ("jobs", index, "jid"), f"{job.jid} is already the job ID of {jids[job.jid]!r}; give each job its own"
        jids.setdefault(job.jid, job.name)


def _order(jobs: tuple[Job, ...]) -> Iterator[Finding]:
    """Unknown names in `after`, and circles."""
    known = {job.name for job in jobs}
    for index, job in enumerate(jobs):
        for position, name in enumerate(job.after):
            path = ("jobs", index, "after", position)
            if name not in known:
                yield path, f"{name!r} is not the name of a job; the jobs are {', '.join(sorted(known))}"
            elif job.name in _predecessors(jobs, name):
                yield path, f"{job.name!r} would wait for itself; take it out of the circle"


def _predecessors(jobs: tuple[Job, ...], name: str) -> set[str]:
    """Names of `name` and of all jobs that must have ended before it starts."""
    after = {job.name: job.after for job in jobs}
    found: set[str] = set()
    waiting = [name]
    while waiting:
        current = waiting.pop()
        if current not in found:
            found.add(current)
            waiting += after.get(current, ())
    return found


def _cores(jobs: tuple[Job, ...]) -> Iterator[Finding]:
    """Cores that two jobs use which nothing orders."""
    before = {job.name: _predecessors(jobs, job.name) for job in jobs}
    for index, job in enumerate(jobs):
        for rank, place in enumerate(job.placement):
            for other in jobs[:index]:
                ordered = other.name in before[job.name] or job.name in before[other.name]
                if place in other.placement and not ordered:
                    text = f"node {place.node}, core {place.core} is used by {other.name!r} at the same time"
                    remedy = f"choose another place, or write 'after: {other.name}'"
                    yield ("jobs", index, "placement", rank), f"{text}; {remedy}"


def _applications(machine: Machine, jobs: tuple[Job, ...]) -> Iterator[Finding]:
    """What the applications themselves find wrong with their parameters and places."""
    for index, job in enumerate(jobs):
        placement = tuple((place.node, place.core) for place in job.placement)
        try:
            APPLICATIONS[job.app].check(job.parameters, placement, machine.node)
        except ValueError as error:
            thing, _, rest = str(error).partition(": ")
            path = ("jobs", index)
            if hasattr(job.parameters, thing):
                yield (*path, "parameters", thing), rest
            else:
                yield ((*path, thing), rest) if hasattr(job, thing) else ((*path, "parameters"), str(error))
