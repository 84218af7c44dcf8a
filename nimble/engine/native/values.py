"""The registers of one function as it is written: allocas, which LLVM turns into values."""

from __future__ import annotations

from collections.abc import Mapping

from nimble.engine import context as layout
from nimble.engine.context import SLOT_BYTES
from nimble.engine.lowering import Block, by_register, immediate
from nimble.engine.native.meter import ARGUMENTS, Meter
from nimble.engine.runs import Placed
from nimble.isa import FRAME_POINTER


class Values:
    """Registers, the meter, and the way into Python. Arguments of the function are ``%a0`` to ``%a5`` and ``%a10``."""

    def __init__(self, placed: Mapping[int, Placed], meter: Meter) -> None:
        self._placed = placed
        self._meter = meter
        self._block = Block()

    def _get(self, name: str) -> str:
        return self._block.let(f"load i64, ptr %{name}")

    def _cost(self, left: str) -> str:
        return self._meter.cost(self._block, left, self._get("cost") if "cost" in self._meter.names else "")

    def _set(self, name: str, value: str) -> None:
        self._block(f"store i64 {value}, ptr %{name}")

    def _value(self, register: int) -> str:
        return f"%a{FRAME_POINTER}" if register == FRAME_POINTER else self._get(f"r{register}")

    def _source(self, placed: Placed) -> str:
        if by_register(placed.row):
            return self._value(placed.instruction.src)
        return str(immediate(placed.row, placed.instruction.imm))

    def _scratch(self) -> None:
        for register in ARGUMENTS[1:]:
            self._set(f"r{register}", "0")

    def _ask_python(self, placed: Placed, address: str, value: str, resume: str) -> None:
        place = str(placed.pc * SLOT_BYTES)
        over = self._meter.general(self._block, self._get, place, address, value)
        self._block(f"br i1 {over}, label %ending{layout.STOPPED}, label {resume}, !prof !0")
