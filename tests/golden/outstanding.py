"""Requests of one context that wait for a response."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from rtl.nic.parameters import NicParameters
from rtl.portals import Fail
from tests.golden.context import Context

GENERATION_MODULUS = 1 << 8


@dataclass(kw_only=True)
class Waiting:
    """A request; `fields` are its command's. The response's bytes go to [offset, offset + length) of `window`.

    `received` is where its next segment begins; `fail` the first thing that went wrong with it."""

    handle: int
    generation: int
    fields: Mapping[str, int]
    window: int
    offset: int
    length: int
    received: int = 0
    fail: int = Fail.OK


class Outstanding:
    """The entries of one context.

    If nobody says otherwise, the lowest free handle is taken, and generations count its uses."""

    def __init__(self, parameters: NicParameters, context: Context) -> None:
        first = context.number * parameters.outstanding
        self._generations = dict.fromkeys(range(first, first + parameters.outstanding), 0)
        self._waiting: dict[int, Waiting] = {}
        self._names: deque[tuple[int, int]] = deque()

    @property
    def has_free(self) -> bool:
        """Whether the next request can be called as it is to be, or something if nothing was said."""
        if self._names:
            return self._names[0][0] not in self._waiting
        return len(self._waiting) < len(self._generations)

    @property
    def any_waiting(self) -> bool:
        return bool(self._waiting)

    def name(self, handle: int, generation: int) -> None:
        """Says what the next request that has no such name yet is to be called, when other hardware has chosen.

        It waits until the name is free."""
        self._names.append((handle, generation))

    @property
    def next_handle(self) -> int | None:
        return self._names[0][0] if self._names else None

    def take(self, fields: Mapping[str, int], window: int, offset: int, length: int) -> Waiting:
        """Makes an entry. ValueError if the name that it was given is not the context's, or is in use."""
        if self._names:
            handle, generation = self._names.popleft()
        else:
            handle = min(handle for handle in self._generations if handle not in self._waiting)
            generation = self._generations[handle]
        if handle not in self._generations or handle in self._waiting:
            raise ValueError(f"outstanding: handle {handle} is in use, or not of this context")
        entry = Waiting(
            handle=handle, generation=generation, fields=fields, window=window, offset=offset, length=length
        )
        self._waiting[handle] = entry
        return entry

    def find(self, handle: int, generation: int) -> Waiting | None:
        entry = self._waiting.get(handle)
        return entry if entry is not None and entry.generation == generation else None

    def waits(self, handle: int) -> Waiting | None:
        return self._waiting.get(handle)

    @property
    def uses(self) -> list[tuple[int, int]]:
        """Handle and generation of all that wait, the oldest one first."""
        return [(entry.handle, entry.generation) for entry in self._waiting.values()]

    def free(self, entry: Waiting) -> None:
        del self._waiting[entry.handle]
        self._generations[entry.handle] = (entry.generation + 1) % GENERATION_MODULUS

    def forget(self) -> None:
        """A restart: nothing waits any more, and responses that still come are for nobody."""
        for entry in list(self._waiting.values()):
            self.free(entry)
