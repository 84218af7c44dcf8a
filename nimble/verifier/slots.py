"""What is known of places besides whole registers: words of the own frame, and lower halves of registers.

By eight bytes of the frame (offset from r10, divided by 8, so always negative): the offset and width, in bytes, of the
last store there, and its value. Of what does not fit such a place nothing is kept. By number of a register: its lower
half, where a 32-bit comparison told more of that than is known of the whole.
"""

from __future__ import annotations

from nimble.verifier.arithmetic import MASK32, cut32
from nimble.verifier.values import Value, join

Slots = dict[int, tuple[int, int, Value]]


def store(slots: Slots, offset: int, width: int, value: Value) -> None:
    """Remember a value, as the ``width`` lowest bytes of it, and forget what it overwrites."""
    first, last = offset >> 3, offset + width - 1 >> 3
    if first != last:
        slots.pop(last, None)
        slots.pop(first, None)
    elif width == 8 or (not value[3] and value[1] < 1 << 8 * width):
        slots[first] = offset, width, value
    else:
        slots.pop(first, None)


def load(slots: Slots, offset: int, width: int) -> Value | None:
    """The value that was stored just there, if it is known."""
    slot = slots.get(offset >> 3)
    return slot[2] if slot is not None and slot[0] == offset and slot[1] == width else None


def forget(slots: Slots, low: int, high: int) -> None:
    """Something may have been stored in the bytes from ``low`` to ``high`` (exclusive)."""
    for place in [place for place in slots if place << 3 < high and (place << 3) + 8 > low]:
        del slots[place]


def meet(slots: Slots, other: Slots, *, closing: bool) -> bool:
    """Keep of ``slots`` what holds in both; whether that changed them. Where a loop closes nothing is joined."""
    changed = [place for place, slot in slots.items() if other.get(place) != slot]
    lost = False
    for place in changed:
        one, two = slots[place], other.get(place)
        if closing or two is None or two[:2] != one[:2]:
            del slots[place]
            lost = True
            continue
        both = join(one[2], two[2])
        lost |= both != one[2]
        slots[place] = one[0], one[1], both
    return lost


def is_wide(value: Value) -> bool:
    """Whether its lower half is not all of it."""
    return value[1] > MASK32 or value[3] == 1


def lower_half(registers: list[Value], slots: Slots, register: int) -> Value:
    """What is known of the lower half of a register."""
    slot = slots.get(register)
    return cut32(registers[register]) if slot is None else slot[2]


def keep_lower_half(slots: Slots, register: int, value: Value) -> None:
    """Remember what the lower half of a register is."""
    slots[register] = 0, 4, value
