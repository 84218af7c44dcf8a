"""Small jobs for tests of the kernel: an application made of a function."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sw.apps import APPLICATIONS
from sw.apps.application import Application, Job
from sw.kernel.contexts import ContextRequest
from sw.kernel.process import Process
from sw.machine import JobSpec
from sw.portals.endpoint import Endpoint
from sw.portals.operations import Target, put
from sw.portals.portal_table import take_messages


@dataclass(frozen=True, kw_only=True)
class NoParameters:
    pass


def job(
    monkeypatch: Any,
    main: Callable[[Process, Job], object],
    *,
    name: str = "job",
    jid: int = 1,
    placement: Sequence[tuple[int, int]] = ((0, 0),),
    after: tuple[str, ...] = (),
) -> JobSpec:
    """A job whose ranks run `main`; what they return is `results()[name]`."""

    class Ad(Application):
        Parameters = NoParameters

        @staticmethod
        def main(process: Process, job: Job, parameters: NoParameters) -> object:
            return main(process, job)

        @staticmethod
        def report(parameters: NoParameters, results: Sequence[Any]) -> dict[str, Any]:
            return {name: list(results)}

    monkeypatch.setitem(APPLICATIONS, f"test_{name}", Ad)
    return JobSpec(
        name=name, jid=jid, app=f"test_{name}", placement=tuple(placement), parameters=NoParameters(), after=after
    )


def listening(process: Process, request: ContextRequest) -> Endpoint:
    """A context whose portal table takes messages of no memory."""
    endpoint = Endpoint.open(process, request)
    take_messages(endpoint)
    return endpoint


def send(endpoint: Endpoint, nid: int, pid: int, header_data: int = 0) -> None:
    """A message of no memory, of which the sender hears nothing if all goes well."""
    put(endpoint, Target(nid=nid, pid=pid), header_data=header_data, event_send_disable=True)
