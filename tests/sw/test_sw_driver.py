"""The NIC's driver against written-out sequences of register accesses."""

from collections.abc import Callable

import pytest

from nimble.access import READ_WRITE, Memory, Registers, Window
from nimble.engine.outcome import Status
from nimble.extension import Manifest, Trust, WindowWish
from nimble.host import Host
from nimble.services import Service, Services
from rtl.nic.parameters import NicParameters
from sw.drivers import DRIVERS
from sw.drivers.interface import CONTEXT_SETUP, CONTEXT_STATE, DEVICE_INFO, WINDOW_SETUP

BASE = 0xC000_0000
RECORDS = 0x8000
NIC = DRIVERS["nic"]

# Written out by hand from nic.rdl: the driver's own symbols come from the same file, so these must not.
CAPABILITIES, NODE_ID, INT_STATUS, INT_ENABLE, CAPABILITIES_MATCHING = 0x8, 0x10, 0x18, 0x20, 0x28
RESPONSE_TIMEOUT, LOG_INTERVAL, INTERRUPT_INTERVAL, PENDING = 0x30, 0x38, 0x68, 0x200
VIOLATION_LOG, PACKET_LOG = 0x40, 0x80
CAUSE, DETAIL, TIME, ACKNOWLEDGE, LOST = 0x00, 0x08, 0x10, 0x18, 0x20
COUNTERS = 20
LOGS = 0b11 << 62
CONTEXT2 = 0x4000 + 2 * 0x200
PAGE2 = 0x10000 + 2 * 0x10000
CAPABILITIES_4_3_4096 = 4 | 3 << 8 | 4096 << 16 | 8 << 32 | 16 << 40 | 7 << 48
MATCHING = 32 | 24 << 16 | 5 << 32 | 128 << 48


class Bench:
    """The driver in a host of its own, over registers that answer from a table and keep a list.

    `logs`: entries (cause, detail, time) of each log, by its address, which an acknowledgement removes.
    """

    def __init__(
        self, registers: dict[int, int] | None = None, logs: dict[int, list[tuple[int, int, int]]] | None = None
    ) -> None:
        self.registers = {CAPABILITIES: CAPABILITIES_4_3_4096, CAPABILITIES_MATCHING: MATCHING, **(registers or {})}
        self.logs = {VIOLATION_LOG: [], PACKET_LOG: [], **(logs or {})}
        self.log: list[tuple[str, int, int]] = []
        self.calls: list[tuple[object, ...]] = []
        self.records = bytearray(1024)
        services = Services(
            (
                Service(1, "context_event", self._service("event", 1), ""),
                Service(2, "violation", self._service("bad", 5), ""),
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
        for base, entries in self.logs.items():
            if base <= offset < base + LOST:
                return entries[0][(offset - base) // 8] if entries else 0
        return self.registers.get(offset, 0)

    def _write(self, offset: int, width: int, value: int) -> None:
        self.log.append(("store", offset, value))
        self.registers[offset] = value
        for base, entries in self.logs.items():
            if offset == base + ACKNOWLEDGE:
                entries.pop(0)

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
    assert bench.call("init", 0x1234, RECORDS, 2_500_000, 5000, 2500) == 0
    assert bench.log == [
        ("load", CAPABILITIES, 8),
        ("load", CAPABILITIES_MATCHING, 8),
        ("store", NODE_ID, 1 << 63 | 0x1234),
        ("store", RESPONSE_TIMEOUT, 2_500_000),
        ("store", LOG_INTERVAL, 5000),
        ("store", INTERRUPT_INTERVAL, 2500),
        ("store", INT_ENABLE, LOGS | 0b1111),
    ]
    assert DEVICE_INFO.unpack(bench.get(12)) == {
        "contexts": 4, "windows": 3, "mtu_bytes": 4096, "portal_entries": 8, "counters": 16, "outstanding": 7,
        "match_entries": 32, "unexpected_headers": 24, "nodes": 5, "datapath_bits": 128, "page_offset": 0x10000,
        "page_stride": 0x10000,
    }  # fmt: skip


@pytest.mark.parametrize("core", [0, 1, 63])
@pytest.mark.parametrize(
    ("pending", "calls"),
    [
        (0, []),
        (0b1, [("event", 0)]),
        (0b1010, [("event", 1), ("event", 3)]),
        (1 << 61 | 1, [("event", 0), ("event", 61)]),
    ],
)
def test_interrupts_of_contexts(pending: int, calls: list[tuple[int, ...]], core: int) -> None:
    """What is pending at another core is not touched."""
    line = PENDING + 8 * core
    bench = Bench({line: pending, line + 8: 0b100, line - 8: 0b100, INT_STATUS: pending | 0b100})
    assert bench.call("interrupt", core) == 0
    assert bench.calls == calls
    cleared = [("store", INT_STATUS, pending)] if pending else []
    assert bench.log == [("load", line, 8), *cleared, *(("event", index, 0) for _, index in calls)], (
        "what is cleared later could be an event not yet seen"
    )


def reading(log: int, *entries: tuple[str, int, int]) -> list[tuple[str, int, int]]:
    """The accesses that read a log's oldest entry, then what is told."""
    loads = [("load", log + register, 8) for register in (CAUSE, DETAIL, TIME)]
    return [*loads, ("store", log + ACKNOWLEDGE, 1), *entries]


def test_both_logs_are_read_until_they_are_empty() -> None:
    processes = [(1 | 255 << 8, 0x10, 100), (2 | 1 << 8, 0x20008, 101), (3 | 2 << 8, 77, 102), (13, 0x8000, 103)]
    packets = [(9 | 3 << 8, 7 << 32 | 5 << 16 | 6, 2**63)]
    bench = Bench({PENDING: LOGS | 1}, {VIOLATION_LOG: processes, PACKET_LOG: packets})
    assert bench.call("interrupt", 0) == 0
    assert bench.calls == [
        ("bad", 0, 1, 255, 0x10, 100),
        ("bad", 0, 2, 1, 0x20008, 101),
        ("bad", 1, 3, 2, 77, 102),
        ("bad", 1, 13, 0, 0x8000, 103),
        ("bad", 2, 9, 3, 7 << 32 | 5 << 16 | 6, 2**63),
        ("event", 0),
    ]
    assert bench.log == [
        ("load", PENDING, 8),
        ("store", INT_STATUS, 1),
        *reading(VIOLATION_LOG, ("bad", 0, 0)),
        *reading(VIOLATION_LOG, ("bad", 0, 0)),
        *reading(VIOLATION_LOG, ("bad", 1, 0)),
        *reading(VIOLATION_LOG, ("bad", 1, 0)),
        ("load", VIOLATION_LOG + CAUSE, 8),
        *reading(PACKET_LOG, ("bad", 2, 0)),
        ("load", PACKET_LOG + CAUSE, 8),
        ("event", 0, 0),
    ]


@pytest.mark.parametrize(("flooded", "bit"), [(VIOLATION_LOG, 63), (PACKET_LOG, 62)])
def test_a_flood_does_not_hold_the_core(flooded: int, bit: int) -> None:
    """One interrupt reads 16 entries, and the other log only if its own bit is set."""
    entries = [(10, number, number) for number in range(20)]
    other = VIOLATION_LOG + PACKET_LOG - flooded
    bench = Bench({PENDING: 1 << bit}, {flooded: entries, other: [(10, 1, 99)]})
    assert bench.call("interrupt", 0) == 0
    assert [detail for _, _, _, _, detail, _ in bench.calls] == list(range(16))
    assert bench.call("interrupt", 0) == 0
    assert [detail for _, _, _, _, detail, _ in bench.calls] == list(range(20))


def test_the_end_of_a_log_is_read_without_an_interrupt() -> None:
    entries = [(10, number, number) for number in range(18)]
    bench = Bench({}, {VIOLATION_LOG: list(entries), PACKET_LOG: entries[:5]})
    assert [bench.call("refusals") for _ in range(3)] == [16 + 5, 2, 0]
    assert [detail for _, _, _, _, detail, _ in bench.calls] == [*range(16), *range(5), 16, 17]
    assert all(offset not in (PENDING, INT_STATUS) for _, offset, _ in bench.log)


def test_the_budget_suffices_for_two_floods_and_all_contexts() -> None:
    entries = [(1 | 255 << 8, 0, 0)] * 17
    bench = Bench({PENDING: 2**64 - 1}, {VIOLATION_LOG: list(entries), PACKET_LOG: list(entries)})
    assert bench.call("interrupt", 0) == 0
    assert len(bench.calls) == 16 + 16 + 62


def test_open_enables_last_and_close_disables_first() -> None:
    bench = Bench()
    setup = CONTEXT_SETUP.pack(
        pid=0x55,
        jid=0x99,
        command_base=0x10000,
        command_log2=6,
        event_base=0x20000,
        event_log2=7,
        counter_base=0x50000,
        moderation_count=12,
        moderation_cycles=3456,
        interrupt=1,
        counter_interrupt=1,
        core=63,
        windows=2,
    )
    first = WINDOW_SETUP.pack(base=0x30000, length_bytes=0x1000, local_read=1, remote_read=1)
    second = WINDOW_SETUP.pack(base=0x40000, length_bytes=0x2000, local_write=1, remote_write=1)
    bench.put(*setup, *first, *second)
    assert bench.call("open", 2, RECORDS) == 0
    assert bench.log == [
        ("store", CONTEXT2 + 0x08, 0x99 << 32 | 0x55),
        ("store", CONTEXT2 + 0x10, 0x10000),
        ("store", CONTEXT2 + 0x18, 6),
        ("store", CONTEXT2 + 0x20, 0x20000),
        ("store", CONTEXT2 + 0x28, 7),
        ("store", CONTEXT2 + 0x30, 0x50000),
        ("store", CONTEXT2 + 0x38, 12 | 3456 << 32),
        ("store", CONTEXT2 + 0x40, 0x30000),
        ("store", CONTEXT2 + 0x48, 0x1000),
        ("store", CONTEXT2 + 0x50, 0b0101),
        ("store", CONTEXT2 + 0x60, 0x40000),
        ("store", CONTEXT2 + 0x68, 0x2000),
        ("store", CONTEXT2 + 0x70, 0b1010),
        ("store", CONTEXT2 + 0x00, 63 << 8 | 0b111),
    ]
    bench.log.clear()
    assert bench.call("close", 2) == 0
    assert bench.log == [("store", CONTEXT2 + 0x00, 0), ("store", CONTEXT2 + 0x08, 0)]


def test_moderate() -> None:
    bench = Bench()
    assert bench.call("moderate", 2, 0xFFFF, 0xFFFF_FFFF) == 0
    assert bench.log == [("store", CONTEXT2 + 0x38, 0xFFFF_FFFF_0000_FFFF)]


@pytest.mark.parametrize(("control", "busy"), [(0b0000, 0), (0b1000, 1), (0b0111, 0)])
def test_a_closed_context_is_busy_as_long_as_the_device_says_so(control: int, busy: int) -> None:
    bench = Bench({CONTEXT2: control})
    assert bench.call("busy", 2) == busy
    assert bench.log == [("load", CONTEXT2, 8)]


def test_counters_and_inspect() -> None:
    values = {0x100 + 8 * index: 1000 + index for index in range(COUNTERS)}
    bench = Bench({**values, VIOLATION_LOG + LOST: 5, PACKET_LOG + LOST: 6})
    assert bench.call("counters", RECORDS) == 0
    assert bench.get(COUNTERS + 3) == [*range(1000, 1000 + COUNTERS), 5, 6, 0]
    names = [counter.name for counter in NIC.counters]
    assert names[:2] == ["nic.packets_sent", "nic.responses_sent"]
    assert names[COUNTERS:] == ["nic.violation_log_lost", "nic.packet_log_lost"]
    offsets = {
        "node_id": NODE_ID, "control": CONTEXT2, "identity": CONTEXT2 + 8, "command_base": CONTEXT2 + 0x10,
        "event_base": CONTEXT2 + 0x20, "counter_base": CONTEXT2 + 0x30, "moderation": CONTEXT2 + 0x38,
        "window_base": CONTEXT2 + 0x40, "window_length": CONTEXT2 + 0x48, "window_rights": CONTEXT2 + 0x50,
        "command_tail": PAGE2, "event_head": PAGE2 + 0x10,
    }  # fmt: skip
    bench = Bench({offset: 77 + index for index, offset in enumerate(offsets.values())})
    assert bench.call("inspect", 2, RECORDS) == 0
    assert CONTEXT_STATE.unpack(bench.get(12)) == {name: 77 + index for index, name in enumerate(offsets)}


def test_the_driver_does_not_depend_on_the_size_of_the_nic() -> None:
    small = NicParameters(contexts=1, windows=1).registers.symbols()
    large = NicParameters(contexts=62, windows=14, interrupt_lines=64).registers.symbols()
    differing = {name for name in small if small[name] != large[name]}
    assert differing == {
        "NIC.CONTEXT_COUNT", "NIC.PAGE_COUNT", "NIC.CONTEXT.WINDOW_COUNT",
        "NIC.INT_STATUS.CONTEXT_WIDTH", "NIC.INT_STATUS.CONTEXT_MASK",
        "NIC.INT_ENABLE.CONTEXT_WIDTH", "NIC.INT_ENABLE.CONTEXT_MASK", "NIC.INTERRUPT_LINE_COUNT",
        "NIC.INTERRUPT_LINE.PENDING.CONTEXT_WIDTH", "NIC.INTERRUPT_LINE.PENDING.CONTEXT_MASK",
    }  # fmt: skip
