"""Which window every access at the addresses of a value is certain to be granted by.

What is asked here is what a run asks of ``access.AddressSpace.checked`` and ``engine.reach.Reach``, of all addresses
of a value at once.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import cache
from typing import NamedTuple

from nimble.access import FRAME_BYTES, RIGHTS, STACK, AddressSpace, Window
from nimble.isa import Group, Operation
from nimble.verifier.values import RING, Value, signed_bounds


class Access(NamedTuple):
    """What an instruction does to memory: ``width`` bytes, the rights it needs (a number), and whether it is atomic."""

    width: int
    rights: int
    atomic: bool


@cache
def access_of(row: Operation) -> Access:
    """The access of a load, store or atomic."""
    return Access(row.bits // 8, RIGHTS[row.group].value, row.group is Group.ATOMIC)


class Places:
    """The windows of a space, sorted out by what they allow."""

    def __init__(self, space: AddressSpace | None) -> None:
        self._windows = space.windows if space else ()
        self._allowing: dict[Access, tuple[list[int], list[Window]]] = {}

    def window(self, address: Value, access: Access, above: int) -> Window | None:
        """The window that grants the access at all those addresses. ``above``: how many bytes of callers' frames are
        certain to lie above the present frame."""
        if address[3]:
            return self._stack(address, access, above)
        low, high = address[0], address[1]
        bases, windows = self._allowing.get(access) or self._allow(access)
        at = bisect_right(bases, low) - 1
        if at < 0 or high + access.width > windows[at].end:
            return None
        window = windows[at]
        if access.width > 1 and (access.atomic or window.backing.aligned):
            start = low if access.atomic else low - window.base + window.origin
            if (start | address[2]) & access.width - 1:
                return None
        return window

    def _stack(self, address: Value, access: Access, above: int) -> Window | None:
        low, high = signed_bounds(address)
        if low < -FRAME_BYTES or high + access.width > above:
            return None
        # r10 is a multiple of every width.
        return None if access.atomic and (low | address[2]) & access.width - 1 else STACK

    def _allow(self, access: Access) -> tuple[list[int], list[Window]]:
        windows = [
            window
            for window in self._windows
            if not access.rights & ~window.rights.value
            and access.width in window.widths
            and (window.backing.atomic or not access.atomic)
        ]
        found = self._allowing[access] = [window.base for window in windows], windows
        return found


def may_hit_stack(address: Value, width: int) -> bool:
    """Whether some access at those addresses (which are not made of r10) may touch the stack."""
    low, high = address[0], address[1] + width
    return (low < STACK.end and high > STACK.base) or high > RING + STACK.base
