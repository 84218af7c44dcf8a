"""The NIC's driver against written-out sequences of register accesses."""

from collections.abc import Callable

import pytest

from nimble.access import READ_WRITE, Memory, Registers, Window
from nimble.engine.outcome import Status
from nimble.extension import Manifest, Trust, WindowWish
from nimble.host import Host
from nimble.services import Service, Services
from rtl.registers import load
from sw.drivers import DRIVERS
from sw.drivers.interface import CONTEXT_SETUP, CONTEXT_STATE, DEVICE_INFO, WINDOW_SETUP

BASE = 0xC000_0000
RECORDS = 0x8000
NIC = DRIVERS["nic"]

# Written out by hand from nic.rdl: the driver's own symbols come from the same file, so these must not.
ID, CAPABILITIES, NODE_ID, INT_STATUS, INT_ENABLE, VIOLATION = 0x0, 0x8, 0x10, 0x18, 0x20, 0x28
CONTEXT2 = 0x4000 + 2 * 0x200
PAGE2 = 0x10000 + 2 * 0x10000
CAPABILITIES_4_3_4096 = 4 | 3 << 8 | 4096 << 16


class Bench:
    """The driver in a host of its own, over registers that answer from a table and keep a list."""

    def __init__(self, registers: dict[int, int] | None = None) -> None:
        self.registers = {CAPABILITIES: CAPABILITIES_4_3_4096, **(registers or {})}
        self.log: list[tuple[str, int, int]] = []
        self.calls: list[tuple[object, ...]] = []
        self.records = bytearray(1024)
        services = Services(
            (
                Service(1, "context_event", self._service("event", 1), ""),
                Service(2, "violation", self._service("bad", 3), ""),
            )
        )
        windows = [
            Window("nic", BASE, 0x40_0000, READ_WRITE, Registers(self._read, self._write), (8,)),
            Window("records", RECORDS, 1024, READ_WRITE, Memory(self.records)),
        ]
        wishes = tuple(WindowWish(window.name, window.rights) for window in windows)
        manifest = Manifest(name="nic", trust=Trust.TRUSTED, attach=(), budget=NIC.budget, windows=wishes)
        self.host = Host()
        program = NIC.build(BASE, services.symbols())
        self.extension = self.host.insert(program, manifest, windows=windows, services=services)

    def _service(self, name: str, count: int) -> Callable[..., int]:
        def call(*arguments: int) -> int:
            self.calls.append((name, *arguments[:count]))
            self.log.append((name, arguments[0], 0))
            return 0

        return call

    def _read(self, offset: int, width: int) -> int:
        self.log.append(("load", offset, width))
        return self.registers.get(offset, 0)

    def _write(self, offset: int, width: int, value: int) -> None:
        self.log.append(("store", offset, value))
        self.registers[offset] = value

    def call(self, entry: str, *arguments: int) -> int:
        outcome = self.host.call(self.extension, entry, arguments, spend=lambda n: None)
        assert outcome.status is Status.RETURNED, outcome.reason
        return outcome.r0

    def put(self, *words: int) -> None:
        for index, word in enumerate(words):
            self.records[8 * index : 8 * index + 8] = word.to_bytes(8, "little")

    def get(self, count: int) -> list[int]:
        return [int.from_bytes(self.records[8 * i : 8 * i + 8], "little") for i in range(count)]


def test_init() -> None:
    bench = Bench()
    assert bench.call("init", 0x1234, RECORDS) == 0
    assert bench.log == [
        ("load", CAPABILITIES, 8),
        ("store", NODE_ID, 1 << 63 | 0x1234),
        ("store", INT_ENABLE, 1 << 63 | 0b1111),
    ]
    assert DEVICE_INFO.unpack(bench.get(5)) == {
        "contexts": 4, "windows": 3, "mtu_bytes": 4096, "page_offset": 0x10000, "page_stride": 0x10000
    }  # fmt: skip


@pytest.mark.parametrize(
    ("status", "violation", "accesses", "calls"),
    [
        (0, 0, [("load", INT_STATUS, 8)], []),
        (0b1, 0, [("load", INT_STATUS, 8), ("store", INT_STATUS, 0b1)], [("event", 0)]),
        (0b1010, 0, [("load", INT_STATUS, 8), ("store", INT_STATUS, 0b1010)], [("event", 1), ("event", 3)]),
        (
            1 << 63,
            3 | 2 << 8 | 0x77 << 32,
            [("load", INT_STATUS, 8), ("load", VIOLATION, 8), ("store", INT_STATUS, 1 << 63)],
            [("bad", 3, 2, 0x77)],
        ),
        (
            1 << 63 | 1 << 62 | 1,
            4 | 9 << 8 | 0xFFFF_FFFF << 32,
            [("load", INT_STATUS, 8), ("load", VIOLATION, 8), ("store", INT_STATUS, 1 << 63 | 1 << 62 | 1)],
            [("bad", 4, 9, 0xFFFF_FFFF), ("event", 0), ("event", 62)],
        ),
        # Accesses: to the kernel's page they concern no context, to a context's page that one.
        (1 << 63, 1 | 0x10 << 32, None, [("bad", 1, 2**64 - 1, 0x10)]),
        (1 << 63, 2 | 0xFFF8 << 32, None, [("bad", 2, 2**64 - 1, 0xFFF8)]),
        (1 << 63, 2 | 1 << 8 | 0x20000 << 32, None, [("bad", 2, 1, 0x20000)]),
    ],
)
def test_interrupt(
    status: int, violation: int, accesses: list[tuple[str, int, int]] | None, calls: list[tuple[int, ...]]
) -> None:
    bench = Bench({INT_STATUS: status, VIOLATION: violation})
    assert bench.call("interrupt") == 0
    assert bench.calls == calls
    registers = [entry for entry in bench.log if entry[0] in ("load", "store")]
    assert accesses is None or registers == accesses
    if calls:
        first = next(index for index, entry in enumerate(bench.log) if entry[0] not in ("load", "store"))
        assert ("store", INT_STATUS, status) in bench.log[:first], (
            "what is cleared later could be an event not yet seen"
        )


def test_open_enables_last_and_close_disables_first() -> None:
    bench = Bench()
    setup = CONTEXT_SETUP.pack(
        pid=0x55,
        jid=0x99,
        command_base=0x10000,
        command_log2=6,
        event_base=0x20000,
        event_log2=7,
        interrupt=1,
        windows=2,
    )
    first = WINDOW_SETUP.pack(base=0x30000, length_bytes=0x1000, local_read=1, remote_write=0)
    second = WINDOW_SETUP.pack(base=0x40000, length_bytes=0x2000, local_read=1, remote_write=1)
    bench.put(*setup, *first, *second)
    assert bench.call("open", 2, RECORDS) == 0
    assert bench.log == [
        ("store", CONTEXT2 + 0x08, 0x99 << 32 | 0x55),
        ("store", CONTEXT2 + 0x10, 0x10000),
        ("store", CONTEXT2 + 0x18, 6),
        ("store", CONTEXT2 + 0x20, 0x20000),
        ("store", CONTEXT2 + 0x28, 7),
        ("store", CONTEXT2 + 0x40, 0x30000),
        ("store", CONTEXT2 + 0x48, 0x1000),
        ("store", CONTEXT2 + 0x50, 0b01),
        ("store", CONTEXT2 + 0x60, 0x40000),
        ("store", CONTEXT2 + 0x68, 0x2000),
        ("store", CONTEXT2 + 0x70, 0b11),
        ("store", CONTEXT2 + 0x00, 0b11),
    ]
    bench.log.clear()
    assert bench.call("close", 2) == 0
    assert bench.log == [("store", CONTEXT2 + 0x00, 0), ("store", CONTEXT2 + 0x08, 0)]


def test_counters_and_inspect() -> None:
    bench = Bench({0x100 + 8 * index: 1000 + index for index in range(14)})
    assert bench.call("counters", RECORDS) == 0
    assert bench.get(15) == [*range(1000, 1014), 0]
    assert [counter.name for counter in NIC.counters][:2] == ["nic.packets_sent", "nic.packets_delivered"]
    assert len(NIC.counters) == 14
    offsets = {
        "node_id": NODE_ID, "control": CONTEXT2, "identity": CONTEXT2 + 8, "command_base": CONTEXT2 + 0x10,
        "event_base": CONTEXT2 + 0x20, "window_base": CONTEXT2 + 0x40, "window_length": CONTEXT2 + 0x48,
        "window_rights": CONTEXT2 + 0x50, "command_tail": PAGE2, "event_head": PAGE2 + 0x10,
    }  # fmt: skip
    bench = Bench({offset: 77 + index for index, offset in enumerate(offsets.values())})
    assert bench.call("inspect", 2, RECORDS) == 0
    assert CONTEXT_STATE.unpack(bench.get(10)) == {name: 77 + index for index, name in enumerate(offsets)}


def test_the_driver_does_not_depend_on_the_number_of_contexts() -> None:
    small, large = load("nic", CONTEXTS=1, WINDOWS=1).symbols(), load("nic", CONTEXTS=63, WINDOWS=14).symbols()
    differing = {name for name in small if small[name] != large[name]}
    assert differing == {
        "NIC.CONTEXT_COUNT", "NIC.PAGE_COUNT", "NIC.CONTEXT.WINDOW_COUNT",
        "NIC.INT_STATUS.CONTEXT_WIDTH", "NIC.INT_STATUS.CONTEXT_MASK",
        "NIC.INT_ENABLE.CONTEXT_WIDTH", "NIC.INT_ENABLE.CONTEXT_MASK",
    }  # fmt: skip
