"""The check of Portals: all of it holds on the golden model, and what is wrong in any layer is seen and named."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import fake_machine
import fake_nic
import pytest
from fake_machine import FakeMachine

from rtl.nic.parameters import NicParameters
from rtl.portals import AtomicType
from sw.apps.portals_check import PortalsCheck, application, side
from sw.apps.portals_check.application import NEEDED, STEPS, PortalsCheckParameters
from sw.machine import JobSpec
from sw.portals.endpoint import EndpointError
from tests.golden import atomics, context, lists, searches, target


def run(places: tuple[tuple[int, int], ...] = ((0, 0), (1, 0)), **parameters: int) -> dict:
    """The report's section; the job itself ends well, whatever is found wrong."""
    spec = JobSpec(
        name="check", jid=9, app="portals_check", placement=places, parameters=PortalsCheckParameters(**parameters)
    )
    results = FakeMachine(nodes=1 + max(nid for nid, _ in places)).run(spec).results()
    assert results["jobs"]["check"]["state"] == "finished", results["jobs"]
    section: dict = results["portals_check"]
    assert section["failed"] == len(section["failures"])
    assert section["checks"] == sum(section["steps"].values())
    return section


def test_all_of_it_holds() -> None:
    found = run()
    assert found["failures"] == []
    assert list(found["steps"]) == [step.name for step in STEPS]
    assert min(found["steps"].values()) > 6


def test_any_number_of_ranks_with_the_smallest_ring_and_queue() -> None:
    """Every rank is target once and initiator once."""
    found = run(((0, 1), (1, 0), (2, 1)), command_slots=1, event_slots=16)
    assert found["failures"] == []
    assert found["checks"] == run()["checks"] // 2 * 3


def test_the_smallest_nic_that_the_check_lets_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    small = partial(
        NicParameters, portal_entries=1, match_entries=4, unexpected_headers=4, counters=4, outstanding=1, prefetch=1,
        replies=1, mtu_bytes=64,
    )  # fmt: skip
    monkeypatch.setattr(fake_machine, "NicParameters", lambda **sizes: small(**sizes | {"windows": 2}))
    assert run()["failures"] == []
    assert all(2 * least > getattr(small(), name) for name, least in NEEDED.items() if name != "windows")


# ---- what goes wrong is seen ----


# Of four data, 3 come out differently, in all bytes, or (the smallest number and 1) in their first and last one: 10
# bytes of MIN and MAX with 32 bits each, 18 with 64.
def unsigned_min(operation: int, datum_type: int, memory: bytes, data: bytes, operand: int = 0) -> bytes:
    """Atomics that do not know signs."""
    unsigned = {AtomicType.INT32: AtomicType.UINT32, AtomicType.INT64: AtomicType.UINT64}
    return atomics.apply(operation, unsigned.get(AtomicType(datum_type), datum_type), memory, data, operand)


def no_atomic(operation: int, datum_type: int, memory: bytes, data: bytes, operand: int = 0) -> bytes:
    """Nothing comes of any."""
    return memory


@dataclass(frozen=True)
class Atomics:
    """In the place of `tests.golden.atomics`."""

    apply: Callable[..., bytes] = unsigned_min


def deaf_to_ignore_bits(entry: dict, packet: dict) -> bool:
    return entry["match_bits"] == packet["match_bits"] or entry["ignore_bits"] == (1 << 64) - 1


def room_for_all(entry: dict, offset: int) -> int:
    return entry["length_bytes"]


WRONG = [  # step, what is put in whose place, the failures' first words and their number
    (
        "atomic", (target, "atomics", Atomics()),
        "rank 0: atomic, target: remote memory: 56 bytes differ; 0x01 at offset 68, expected 0xff", 2,
    ),
    (
        "order", (target, "atomics", Atomics(no_atomic)),
        "rank 0: order, target: remote memory: 1 bytes differ; 0xb8 at offset 0, expected 0xc8", 6,
    ),
    (
        "neighbours", (target, "atomics", Atomics(no_atomic)),
        "rank 0: neighbours, target: remote memory: 1 bytes differ; 0x00 at offset 4, expected 0x0c", 6,
    ),
    (
        "barrier of atomics", (target, "atomics", Atomics(no_atomic)),
        "rank 0: barrier of atomics, target: barrier number 0 before patience was over: False; expected True", 32,
    ),
    (
        "counted searches", (context.Context, "count_outcome", lambda *_, **__: None),
        "rank 0: counted searches, target: search number 0: Count(success=0, failure=0); expected "
        "Count(success=2, failure=1)", 16,
    ),
    (
        "ignore_bits", (lists, "accepts", deaf_to_ignore_bits),
        "rank 0: ignore_bits, target: PUT to 0xabcd: entry 2, expected 0", 4,
    ),
    (
        "truncate", (lists, "room", room_for_all),
        "rank 0: truncate, target: PUT of 10 bytes at 60: manipulated_bytes 10, expected 4", 16,
    ),
    (
        "overflow and search", (searches, "OVERFLOW_EVENTS", searches.OVERFLOW_EVENTS | {1: 16}),
        "rank 0: overflow and search, target: append that is used up: kind SEARCH, expected PUT_OVERFLOW", 6,
    ),
    (
        "counting events", (context.Context, "count_outcome", lambda *_, **__: None),
        "rank 0: counting events, target: threshold, polled: Count(success=0, failure=0); expected "
        "Count(success=3, failure=0)", 12,
    ),
    (
        "interrupts", (fake_nic.FakeNic, "_signal", lambda *_: None),
        "rank 0: interrupts, target: interrupts of a context that has them: 0; expected 8", 6,
    ),
    (
        "moderation", (fake_nic.FakeNic, "_signal", fake_nic.FakeNic._raise),
        "rank 0: moderation, target: interrupts by count: 8; expected 2", 4,
    ),
    (
        "get", (side.Side, "data", lambda self, number, length: bytes([self.polled.handle.nid] * length)),
        "rank 0: get, initiator: local memory: 1007 bytes differ; 0x01 at offset 5, expected 0x00", 2,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("step", "change", "first", "count"), WRONG, ids=[row[0] for row in WRONG])
def test_what_is_wrong_is_named(
    monkeypatch: pytest.MonkeyPatch, step: str, change: tuple[object, str, object], first: str, count: int
) -> None:
    monkeypatch.setattr(application, "STEPS", tuple(known for known in STEPS if known.name == step))
    assert run()["failures"] == []
    monkeypatch.setattr(*change)
    failures = run()["failures"]
    assert failures[0].startswith(first)
    assert len(failures) == count


def test_a_step_that_cannot_go_on_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise EndpointError("context 0: no")

    monkeypatch.setattr(side.Side, "append", refuse)
    found = run()
    cannot = [line for line in found["failures"] if line.startswith("rank 0: ") and "cannot go on" in line]
    assert cannot[0] == "rank 0: put, target: cannot go on: EndpointError: context 0: no"
    assert {line.partition(", ")[0].removeprefix("rank 0: ") for line in cannot} >= {"put", "atomic", "moderation"}
    assert all(checks > 0 for checks in found["steps"].values())


# ---- where it can run ----


@dataclass(frozen=True)
class Nic:
    contexts: int = 4
    windows: int = 2
    match_entries: int = 4
    unexpected_headers: int = 4
    counters: int = 4
    mtu_bytes: int = 64


@dataclass(frozen=True)
class Shape:
    cores: int = 4
    memory_mib: int = 1
    nic: Nic = Nic()


@pytest.mark.parametrize(
    ("change", "nic", "nodes", "text"),
    [
        ({"command_slots": 3}, Nic(), [0, 1], "command_slots: 3 is no power of two; write 2 or 4"),
        ({"event_slots": 17}, Nic(), [0, 1], "event_slots: 17 is no power of two; write 16 or 32"),
        ({}, Nic(), [0], "placement: one rank; the check sends from node to node; add one on another node"),
        (
            {}, Nic(), [0, 1, 0],
            "placement: ranks 2 and 0 are both on node 0; each rank sends to the one before it; place neighbours apart",
        ),
        (
            {}, Nic(), [0, 1, 0, 1, 0, 1],
            "placement: the ranks of a node need 6 NIC contexts; machine.node.nic.contexts is 4; raise it or spread "
            "the ranks",
        ),
        (
            {}, Nic(unexpected_headers=2), [0, 1],
            "placement: the check needs 4 unexpected headers; machine.node.nic.unexpected_headers is 2; raise it",
        ),
    ],
)  # fmt: skip
def test_where_it_cannot_run(change: dict[str, int], nic: Nic, nodes: list[int], text: str) -> None:
    placement = [(nid, 0) for nid in nodes]
    PortalsCheck.check(PortalsCheckParameters(), [(0, 0), (1, 0), (0, 1), (1, 1)], Shape())
    with pytest.raises(ValueError, match=text.split(":")[0]) as caught:
        PortalsCheck.check(PortalsCheckParameters(**change), placement, Shape(nic=nic))
    assert str(caught.value) == text
