"""Runs the instructions of a block on values: registers, and what is stored in the own frame."""

from __future__ import annotations

from typing import Any

from nimble.access import FRAME_BYTES
from nimble.services import Service
from nimble.verifier.places import may_hit_stack
from nimble.verifier.rows import ATOMIC, BY_IMMEDIATE, BY_REGISTER, CONSTANT, COPY, LOAD, STORE
from nimble.verifier.slots import Slots, forget, load, lower_half, store
from nimble.verifier.steps import HALF_BY_IMMEDIATE, NO_REGISTER, Step
from nimble.verifier.structure import outside_frame
from nimble.verifier.values import ANY, MASK, Value, shifted, signed_bounds

Registers = list[Value]


class Machine:
    """``addresses``: by pc, where the access went that was last run there. ``complaints``: by pc, what is certain to go
    wrong. The last run of a block is the one with all that it may find, so what it leaves there is final."""

    def __init__(self) -> None:
        self.addresses: dict[int, Value] = {}
        self.complaints: dict[int, str] = {}

    def run(self, steps: list[Step], registers: Registers, slots: Slots, above: int) -> bool:
        """Run in place. ``above``: bytes of callers' frames that are certain to follow the present one. Whether a store
        may have hit the stack outside of the present frame."""
        strays = False
        for kind, dst, src, what, given, pc in steps:
            if kind >= HALF_BY_IMMEDIATE:
                other = given if kind == HALF_BY_IMMEDIATE else lower_half(registers, slots, src)
                registers[dst] = what(lower_half(registers, slots, dst), other)
            elif kind == BY_IMMEDIATE:
                registers[dst] = what(registers[dst], given)
            elif kind == BY_REGISTER:
                registers[dst] = what(registers[dst], registers[src])
            elif kind == CONSTANT:
                registers[dst] = given
            elif kind == COPY:
                registers[dst] = registers[src]
                if src in slots:
                    slots[dst] = slots[src]
                    continue
            elif kind == LOAD:
                address = self._address(pc, registers[src], what, given[0], above)
                registers[dst] = _loaded(slots, address, given)
            elif kind == STORE:
                address = self._address(pc, registers[dst], what, given[0], above)
                value = registers[src] if given[1] is None else given[1]
                strays |= _stored(slots, address, given[0], value)
                continue
            elif kind == ATOMIC:
                address = self._address(pc, registers[dst], what, given[0], above)
                strays |= _stored(slots, address, given[0], None)
                if given[1] == NO_REGISTER:
                    continue
                dst = given[1]
                registers[dst] = given[2]
            else:
                self._serve(pc, what, registers)
                leave_arguments(registers, slots)
                continue
            if dst in slots:
                del slots[dst]
        return strays

    def _address(self, pc: int, base: Value, offset: int, width: int, above: int) -> Value:
        address = shifted(base, offset)
        self.addresses[pc] = address
        if address[3]:
            self._complain(pc, "" if address[2] else outside_frame(signed_bounds(address)[0], width, above))
        return address

    def _serve(self, pc: int, service: Service, registers: Registers) -> None:
        complaint = ""
        for number, argument in enumerate(service.arguments, start=1):
            value = registers[number]
            if value[0] > argument.most and value[1] <= MASK and not value[3]:
                least = f"is 0x{value[0]:x}" + (" or more" if value[2] else "")
                complaint = (
                    f"r{number}, {argument.name} of service {service.name}, {least}; "
                    f"at most 0x{argument.most:x} is allowed; give less"
                )
        self._complain(pc, complaint)

    def _complain(self, pc: int, complaint: str) -> None:
        if complaint:
            self.complaints[pc] = complaint
        else:
            self.complaints.pop(pc, None)


def leave_arguments(registers: Registers, slots: Slots) -> None:
    """What a call leaves behind: nothing is known of r0..r5."""
    registers[:6] = [ANY] * 6
    for register in range(6):
        slots.pop(register, None)


def _loaded(slots: Slots, address: Value, given: tuple[Any, ...]) -> Value:
    width, least, zero_extended = given
    known = None
    if address[3] and not address[2] and zero_extended:
        known = load(slots, signed_bounds(address)[0], width)
    return least if known is None else known


def _stored(slots: Slots, address: Value, width: int, value: Value | None) -> bool:
    """Whether the store may have hit the stack outside of the present frame. ``value`` None: not known."""
    if not address[3]:
        if may_hit_stack(address, width):
            slots.clear()
            return True
        return False
    low, high = signed_bounds(address)
    if low < -FRAME_BYTES or high + width > 0:
        slots.clear()
        return True
    if address[2] or value is None:
        forget(slots, low, high + width)
    else:
        store(slots, low, width, value)
    return False
