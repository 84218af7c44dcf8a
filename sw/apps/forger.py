"""The forger: a job that tries whatever a process could to speak in another's name or to touch what is another's.

Each attempt says what was tried and how it was refused, in the refusal's own words. Whether it came through is judged
from the other side: registers read back by the kernel, event queues of all other jobs, memory beside the own windows.
What nobody visibly refused counts as delivered.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Ge, Le

from sw.apps.application import Application, Job, Needs, NodeShape
from sw.apps.forger_attempts import Attempt, Attempts
from sw.kernel.process import Process


@dataclass(frozen=True, kw_only=True)
class ForgerParameters:
    """What a scenario can set."""

    rounds: Annotated[int, Ge(1), Le(10_000)] = 4
    """How often everything is tried."""

    pause_us: Annotated[int, Ge(0), Le(1_000_000)] = 10
    """Microseconds of rest after each round."""

    patience_us: Annotated[int, Ge(0), Le(1_000_000)] = 2_000
    """Microseconds to wait at most for another job's first NIC context; attempts on one are left out without."""

    expose_kernel_page: bool = True
    """Map the NIC's kernel page into the forger, on purpose, so that the hardware itself must refuse."""


class Forger(Application):
    """The application `forger`."""

    Parameters = ForgerParameters

    @staticmethod
    def main(process: Process, job: Job, parameters: ForgerParameters) -> list[Attempt]:
        assert job.witness is not None
        cycles_per_us = job.core_mhz
        attempts = Attempts(process, job.witness, cycles_per_us)
        waited_us = 0
        while not job.witness.targets() and waited_us < parameters.patience_us:
            process.compute(cycles_per_us)
            process.settle()
            waited_us += 1
        made: list[Attempt] = []
        for _ in range(parameters.rounds):
            made += attempts.round()
            process.compute(parameters.pause_us * cycles_per_us)
            process.settle()
        return made

    @staticmethod
    def report(parameters: ForgerParameters, results: Sequence[list[Attempt]]) -> dict[str, Any]:
        """`detail`: a row for each kind of attempt; `refused` lists the different ways in which it was."""
        attempts = [attempt for result in results for attempt in result]
        rows: dict[str, dict[str, Any]] = {}
        for attempt in attempts:
            row = rows.setdefault(
                attempt.name,
                {"name": attempt.name, "tried": attempt.tried, "refused": [], "attempts": 0, "delivered": 0},
            )
            row["attempts"] += 1
            row["delivered"] += attempt.delivered
            if attempt.refused not in row["refused"]:
                row["refused"].append(attempt.refused)
        delivered = sum(attempt.delivered for attempt in attempts)
        return {"forgery": {"attempts": len(attempts), "delivered": delivered, "detail": list(rows.values())}}

    @staticmethod
    def check(parameters: ForgerParameters, placement: Sequence[tuple[int, int]], node: NodeShape) -> None:
        if node.nic.windows < 2:
            raise ValueError(
                f"placement: the forger needs 2 windows; machine.node.nic.windows is {node.nic.windows}; raise it"
            )

    @staticmethod
    def needs(parameters: ForgerParameters) -> Needs:
        return Needs(kernel_page=parameters.expose_kernel_page, witness=True)
