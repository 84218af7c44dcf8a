"""Compile and run sources of the Python subset: for the tests of the compiler."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from nimble.access import READ_WRITE, AddressSpace, Memory, Window, state_window
from nimble.engine.closures import Thread, translate
from nimble.engine.outcome import Outcome, Status, no_time
from nimble.isa import MASK64
from nimble.program import Program
from nimble.python import Device, compile_program
from nimble.services import Service, Services
from nimble.verifier import verify

MEMORY = 0x1000
IMPORT = (
    "from nimble.python import Pointer, address_of, array, atomic_add, atomic_and, atomic_compare_exchange\n"
    "from nimble.python import atomic_exchange, atomic_or, atomic_xor, barrier, byte_swap, device, entry, i8, i16\n"
    "from nimble.python import i32, i64, local, manifest, noinline, offset_of, parameter, service, size_of, state\n"
    "from nimble.python import struct, u8, u16, u32, u64\n"
)
IMPORT_LINES = IMPORT.count("\n")


@dataclass
class Runner:
    """A compiled source with its state, 256 bytes of memory at MEMORY, and services that keep a list of their calls."""

    program: Program
    services: Services
    windows: list[Window]
    state: bytearray
    memory: bytearray
    calls: list[tuple[object, ...]] = field(default_factory=list)

    @cached_property
    def thread(self) -> Thread:
        return translate(self.program, space=AddressSpace(self.windows), services=self.services, checked=True)

    def run(self, entry: str, *arguments: int, budget: int = 1_000_000) -> Outcome:
        return self.thread.run(entry, [value & MASK64 for value in arguments], budget=budget, spend=no_time)

    def value(self, entry: str, *arguments: int) -> int:
        outcome = self.run(entry, *arguments)
        assert outcome.status is Status.RETURNED, outcome.reason
        return outcome.r0


def build(
    text: str,
    *,
    constants: Mapping[str, int] = {},
    devices: Mapping[str, Device] = {},
    services: Mapping[str, Callable[..., int]] = {},
    windows: tuple[Window, ...] = (),
    cpu: str = "v4",
) -> Runner:
    """Compile ``text`` behind IMPORT, verify it, and make it ready to run."""
    calls: list[tuple[object, ...]] = []

    def logged(name: str, function: Callable[..., int]) -> Callable[..., int]:
        def call(*arguments: int) -> int:
            calls.append((name, *arguments[: function.__code__.co_argcount]))
            return function(*arguments[: function.__code__.co_argcount])

        return call

    table = Services(Service(100 + n, name, logged(name, one), "") for n, (name, one) in enumerate(services.items()))
    program = compile_program(
        "test.py", table.symbols(), text=IMPORT + text, constants=constants, devices=devices, cpu=cpu
    )
    state, memory = bytearray(program.state), bytearray(256)
    granted = [Window("memory", MEMORY, len(memory), READ_WRITE, Memory(memory)), *windows]
    own = state_window(state)
    if own:
        granted.append(own)
    verify(program, table, AddressSpace(granted))
    return Runner(program, table, granted, state, memory, calls)
