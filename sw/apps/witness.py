"""A test's eyes: sees the other jobs' side of the machine, to say whether an attack on them came through.

Not a part of the modeled system: an application has one only if it says so in `needs`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from sw.kernel.contexts import ContextHandle
    from sw.kernel.kernel import Kernel
    from sw.kernel.process import Process

Ask = Callable[["Process", int, Callable[["Kernel"], Any]], Any]


@dataclass(frozen=True, kw_only=True)
class Target:
    """A context of another job, its owner's SMARTMAP slot, and the physical place of its event queue."""

    handle: ContextHandle
    slot: int
    events_base: int
    events_bytes: int


class Witness:
    """What is to be seen of the jobs that are not `jid`."""

    def __init__(self, kernels: Sequence[Kernel], ask: Ask, jid: int) -> None:
        self._kernels = kernels
        self._ask = ask
        self._jid = jid

    def targets(self) -> list[Target]:
        """The open contexts of other jobs, by node and index."""
        return list(self._targets())

    def _targets(self) -> Iterator[Target]:
        for kernel in self._kernels:
            for context in kernel.network.contexts if kernel.network else ():
                if context is not None and context.process.jid != self._jid:
                    yield Target(
                        handle=context.handle,
                        slot=context.process.slot,
                        events_base=context.events.base,
                        events_bytes=context.events.length_bytes,
                    )

    def nodes(self) -> list[int]:
        """All node IDs."""
        return [kernel.node.nid for kernel in self._kernels]

    def device_base(self, nid: int) -> int:
        """Physical address of a node's NIC."""
        return self._kernels[nid].require_network().device.base

    def events(self, target: Target) -> npt.NDArray[np.uint64]:
        """The words of a target's event queue, looked at without disturbing anybody."""
        memory = self._kernels[target.handle.nid].memory
        return memory.view(target.events_base, target.events_bytes).view(np.uint64)

    def counters(self, process: Process, nid: int) -> dict[str, int]:
        """All counters of a node; its kernel reads them."""
        return self._managed(process, nid, lambda kernel: kernel.counters())

    def registers(self, process: Process, nid: int) -> dict[ContextHandle, dict[str, int]]:
        """The registers of a node's contexts (`sw.drivers.interface.CONTEXT_STATE`); its kernel reads them."""
        return self._managed(process, nid, lambda kernel: kernel.require_network().registers())

    def _managed(self, process: Process, nid: int, question: Callable[[Kernel], Any]) -> Any:
        return process.calls.managed("witness", partial(self._ask, process, nid, question))
