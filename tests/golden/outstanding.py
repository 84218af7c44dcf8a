"""Requests of one context that wait for a response."""

from collections.abc import Mapping
from dataclasses import dataclass

from rtl.nic.parameters import NicParameters
from tests.golden.context import Context

GENERATION_MODULUS = 1 << 8


@dataclass(kw_only=True)
class Waiting:
    """A request; `fields` are its command's. The response's bytes go to [offset, offset + length) of `window`."""

    handle: int
    generation: int
    fields: Mapping[str, int]
    window: int
    offset: int
    length: int
    segment_failed: bool = False


class Outstanding:
    """The entries of one context. A free entry is taken with the lowest handle; generations count its uses."""

    def __init__(self, parameters: NicParameters, context: Context) -> None:
        first = context.number * parameters.outstanding
        self._generations = dict.fromkeys(range(first, first + parameters.outstanding), 0)
        self._waiting: dict[int, Waiting] = {}

    @property
    def has_free(self) -> bool:
        return len(self._waiting) < len(self._generations)

    def take(self, fields: Mapping[str, int], window: int, offset: int, length: int) -> Waiting:
        handle = min(handle for handle in self._generations if handle not in self._waiting)
        entry = Waiting(
            handle=handle,
            generation=self._generations[handle],
            fields=fields,
            window=window,
            offset=offset,
            length=length,
        )
        self._waiting[handle] = entry
        return entry

    def rename(self, old: tuple[int, int], new: tuple[int, int]) -> None:
        """Gives the request that has handle and generation `old` the ones that other hardware gave it. ValueError if
        no request has them, or the new ones are no free entry of this context's."""
        entry = self.find(*old)
        if entry is None or new[0] not in self._generations or (new[0] != old[0] and new[0] in self._waiting):
            raise ValueError(f"outstanding: {old} cannot be renamed to {new}")
        del self._waiting[entry.handle]
        entry.handle, entry.generation = new
        self._waiting[entry.handle] = entry

    def find(self, handle: int, generation: int) -> Waiting | None:
        entry = self._waiting.get(handle)
        return entry if entry is not None and entry.generation == generation else None

    def free(self, entry: Waiting) -> None:
        del self._waiting[entry.handle]
        self._generations[entry.handle] = (entry.generation + 1) % GENERATION_MODULUS

    def forget(self) -> None:
        """A restart: nothing waits any more, and responses that still come are for nobody."""
        for entry in list(self._waiting.values()):
            self.free(entry)
