"""What an application is to the machine."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from sw.apps.witness import Witness
from sw.kernel.process import Process


class NicShape(Protocol):
    """What a scenario says of the NIC."""

    @property
    def contexts(self) -> int: ...

    @property
    def windows(self) -> int: ...

    @property
    def match_entries(self) -> int: ...

    @property
    def unexpected_headers(self) -> int: ...

    @property
    def counters(self) -> int: ...

    @property
    def mtu_bytes(self) -> int: ...


class NodeShape(Protocol):
    """What a scenario says of a node."""

    @property
    def cores(self) -> int: ...

    @property
    def memory_mib(self) -> int: ...

    @property
    def nic(self) -> NicShape: ...


def check_slots(name: str, slots: int) -> None:
    """ValueError if a command ring or an event queue cannot have so many entries: `slots` of the parameter `name`."""
    if slots & (slots - 1):
        below = 1 << (slots.bit_length() - 1)
        raise ValueError(f"{name}: {slots} is no power of two; write {below} or {2 * below}")


def log2_of(slots: int) -> int:
    """Of a number of slots that `check_slots` took."""
    return slots.bit_length() - 1


@dataclass(frozen=True, kw_only=True)
class Job:
    """A rank's view of its job. `placement`: (node, core) of every rank. `witness`: only if the application needs
    one."""

    name: str
    jid: int
    rank: int
    placement: tuple[tuple[int, int], ...]
    core_mhz: int
    seed: int
    witness: Witness | None

    @property
    def ranks(self) -> int:
        return len(self.placement)


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What an application has from the machine beyond an ordinary process, for tests of the machine itself.

    `kernel_page`: the NIC's kernel page is mapped into its processes; `witness`: it may look at other jobs' side.
    """

    kernel_page: bool = False
    witness: bool = False


class Application:
    """Base of all applications; a subclass is never instantiated.

    `Parameters` is a frozen, keyword-only dataclass with a default for everything; the scenario validates it.
    """

    Parameters: ClassVar[type[Any]]

    @staticmethod
    def main(process: Process, job: Job, parameters: Any) -> object:
        """What each rank runs. What it returns goes to `report`."""
        raise NotImplementedError

    @staticmethod
    def report(parameters: Any, results: Sequence[Any]) -> dict[str, Any]:
        """Nested sections for the report, from what the ranks returned, by rank. Plain numbers, texts, lists, dicts."""
        raise NotImplementedError

    @staticmethod
    def check(parameters: Any, placement: Sequence[tuple[int, int]], node: NodeShape) -> None:
        """ValueError `parameter: value; bound; remedy` if it cannot run there with these parameters."""

    @staticmethod
    def needs(parameters: Any) -> Needs:
        """What it needs beyond an ordinary process."""
        return Needs()
