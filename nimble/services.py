"""Services: the typed calls that reach out of an extension into the kernel, by number or by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from nimble.faults import Fault
from nimble.isa import ARGUMENTS, MASK64

SERVICE_ID_LIMIT = 1 << 31  # an ID stands in the 32-bit signed imm field of a call


class ServiceFault(Fault):
    """Raised by a service that refuses what it is given; a fault of the extension that called."""


@dataclass(frozen=True)
class Argument:
    """One argument of a service, by name; values are 0..``most``. The verifier refuses what is certain to be more."""

    name: str
    most: int = MASK64


@dataclass(frozen=True)
class Service:
    """``function`` gets r1..r5 as unsigned 64-bit integers; its result becomes r0 (modulo 2**64).

    It may switch to another greenlet, and raises ServiceFault to stop the extension. ``arguments`` are those of r1..r5
    that it looks at. A ``metered`` function gets one more argument before r1, the instructions that the caller may
    still execute, and returns its result and how many of them it used up.
    """

    id: int
    name: str
    function: Callable[..., int] | Callable[..., tuple[int, int]]
    doc: str
    arguments: tuple[Argument, ...] = ()
    metered: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.id < SERVICE_ID_LIMIT:
            raise ValueError(f"service {self.name}: id: {self.id} is out of range 0..{SERVICE_ID_LIMIT - 1}")
        if len(self.arguments) > ARGUMENTS:
            raise ValueError(f"service {self.name}: {len(self.arguments)} arguments; r1..r{ARGUMENTS} can be given")


class Services:
    """A table of services. Raises ValueError when an ID or a name stands in it twice."""

    def __init__(self, services: Iterable[Service] = ()) -> None:
        self._by_id: dict[int, Service] = {}
        self._by_name: dict[str, Service] = {}
        for service in services:
            twin = self._by_id.get(service.id) or self._by_name.get(service.name)
            if twin is not None:
                raise ValueError(f"service {service.name} ({service.id}): {twin.name} ({twin.id}) is there already")
            self._by_id[service.id] = service
            self._by_name[service.name] = service

    def __iter__(self) -> Iterator[Service]:
        return iter(self._by_id.values())

    def get(self, key: int | str) -> Service | None:
        """The service of that ID or name."""
        return self._by_id.get(key) if isinstance(key, int) else self._by_name.get(key)

    def symbols(self) -> dict[str, int]:
        """Names to IDs, as the assembler wants them: ``call NAME``."""
        return {name: service.id for name, service in self._by_name.items()}
