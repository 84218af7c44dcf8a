"""What a scenario selects: ranks that take turns as target and initiator of every step."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Ge, Le

from sw.apps.application import Application, Job, NodeShape, check_slots, log2_of
from sw.apps.portals_check import atomics, lists, messages, order, telling
from sw.apps.portals_check.side import Peer, Side
from sw.kernel.contexts import MAX_SLOTS
from sw.kernel.process import Process
from sw.kernel.traps import TrapError
from sw.portals.endpoint import EndpointError

STEPS = (*messages.STEPS, *atomics.STEPS, *order.STEPS, *lists.STEPS, *telling.STEPS)
CONTEXTS_PER_RANK = 2
AREA_BYTES = 1 << 17  # of each half of a rank's memory: three packets of the largest MTU, and more
NEEDED = {"windows": 2, "match_entries": 4, "unexpected_headers": 4, "counters": 3}  # of each NIC context


@dataclass(frozen=True, kw_only=True)
class PortalsCheckParameters:
    """What a scenario can set."""

    patience_us: Annotated[int, Ge(50), Le(1_000_000)] = 200
    """Microseconds after which an event or a count that has not come counts as failed."""

    command_slots: Annotated[int, Ge(1), Le(MAX_SLOTS)] = 16
    """Commands that fit into the ring of a context; a power of two."""

    event_slots: Annotated[int, Ge(16), Le(MAX_SLOTS)] = 64
    """Events that fit into the queue of a rank's first context, a power of two; its second one has 8."""


@dataclass(frozen=True, kw_only=True)
class RankResult:
    """What a rank returns: comparisons made, by step, and a line for each that failed."""

    checks: dict[str, int]
    failures: list[str]


class PortalsCheck(Application):
    """The application `portals_check`."""

    Parameters = PortalsCheckParameters

    @staticmethod
    def main(process: Process, job: Job, parameters: PortalsCheckParameters) -> RankResult:
        return _Rank(process, job, parameters).run()

    @staticmethod
    def report(parameters: PortalsCheckParameters, results: Sequence[RankResult]) -> dict[str, Any]:
        """`checks` and `failed` of all ranks; `steps`: checks of each; `failures`: a line for each that failed."""
        steps = {step.name: sum(result.checks.get(step.name, 0) for result in results) for step in STEPS}
        failures = [f"rank {rank}: {line}" for rank, result in enumerate(results) for line in result.failures]
        section = {"checks": sum(steps.values()), "failed": len(failures), "steps": steps, "failures": failures}
        return {"portals_check": section}

    @staticmethod
    def check(parameters: PortalsCheckParameters, placement: Sequence[tuple[int, int]], node: NodeShape) -> None:
        check_slots("command_slots", parameters.command_slots)
        check_slots("event_slots", parameters.event_slots)
        _check_places([nid for nid, _ in placement], node)
        for name, least in NEEDED.items():
            if getattr(node.nic, name) < least:
                raise ValueError(
                    f"placement: the check needs {least} {name.replace('_', ' ')}; machine.node.nic.{name} is "
                    f"{getattr(node.nic, name)}; raise it"
                )


def _check_places(nids: Sequence[int], node: NodeShape) -> None:
    if len(nids) < 2:
        raise ValueError("placement: one rank; the check sends from node to node; add one on another node")
    for rank, nid in enumerate(nids):
        after = (rank + 1) % len(nids)
        if nids[after] == nid:
            raise ValueError(
                f"placement: ranks {rank} and {after} are both on node {nid}; each rank sends to the one before it; "
                "place neighbours apart"
            )
    together = max(nids.count(nid) for nid in nids) * CONTEXTS_PER_RANK
    if together > node.nic.contexts:
        raise ValueError(
            f"placement: the ranks of a node need {together} NIC contexts; machine.node.nic.contexts is "
            f"{node.nic.contexts}; raise it or spread the ranks"
        )


class _Rank:
    """One rank: target of the rank behind it in one round, initiator to the one before it in another, else present."""

    def __init__(self, process: Process, job: Job, parameters: PortalsCheckParameters) -> None:
        self._process = process
        self._job = job
        self._side = Side(
            process,
            job,
            commands_log2=log2_of(parameters.command_slots),
            events_log2=log2_of(parameters.event_slots),
            area_bytes=AREA_BYTES,
            patience_us=parameters.patience_us,
        )

    def run(self) -> RankResult:
        side = self._side
        own = Peer(
            nid=side.polled.handle.nid, pid=side.polled.handle.pid, interrupting_pid=side.interrupting.handle.pid
        )
        peers: tuple[Peer, ...] = self._process.calls.fence(own)
        for target in range(self._job.ranks):
            initiator = (target + 1) % self._job.ranks
            for number in range(len(STEPS)):
                self._take_part(number, target, initiator, peers)
        return RankResult(checks=side.checks.made, failures=side.checks.failures)

    def _take_part(self, number: int, target: int, initiator: int, peers: Sequence[Peer]) -> None:
        """A step, from the first meeting to the last one."""
        side, step, rank = self._side, STEPS[number], self._job.rank
        if rank not in (target, initiator):
            self._perform(iter(()))
            return
        pt_index = number % side.polled.handle.limits.portal_entries
        if rank == target:
            side.begin(step.name, "target", peers[initiator], pt_index)
            self._perform(step.target(side))
        else:
            side.begin(step.name, "initiator", peers[target], pt_index)
            self._perform(step.initiator(side))
        self._act(self._ending())

    def _ending(self) -> Iterator[None]:
        """Behind the last meeting; it can fail like any other part."""
        self._side.end()
        yield

    def _perform(self, acts: Iterator[None]) -> None:
        """One part of a step, which meets the others at each of its pauses, and further until all have done."""
        done = False
        while True:
            done = done or self._act(acts)
            if all(self._process.calls.fence(done)):
                return

    def _act(self, acts: Iterator[None]) -> bool:
        """Go on to the next pause; whether it is over, be it because it cannot go on."""
        try:
            next(acts)
        except StopIteration:
            return True
        except (EndpointError, TrapError, ValueError) as error:
            self._side.checks.fail("cannot go on", f"{type(error).__name__}: {error}")
            return True
        return False
