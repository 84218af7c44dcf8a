"""RandomAccess: the published stream, both handlers on 1 to 4 ranks, and that its checks can fail."""

from dataclasses import dataclass

import pytest
from fake_machine import FakeMachine

from nimble.extension import Manifest
from sw.apps import hpcc
from sw.apps.random_access import RandomAccess, RandomAccessParameters
from sw.apps.random_access_receiver import _Receiver
from sw.extensions import random_access as extension
from sw.machine import JobSpec, System

HANDLERS = ("process", "extension")


# ---- the stream ----


def test_starts_against_walking() -> None:
    value = 1
    for index in range(3000):
        assert hpcc.starts(index) == value
        value = value * 2 if value < 2**63 else (value * 2 - 2**64) ^ 7


@pytest.mark.parametrize(
    ("index", "value"),
    # Worked by hand: x**64 = x**2 + x + 1, so x**(64 + k) = (x**2 + x + 1) x**k while that has no x**64.
    [(0, 1), (1, 2), (63, 1 << 63), (64, 7), (65, 14), (125, 7 << 61), (126, (3 << 62) ^ 7), (127, (1 << 63) ^ 7 ^ 14)],
)
def test_starts_by_hand(index: int, value: int) -> None:
    assert hpcc.starts(index) == value
    assert hpcc.starts(index + hpcc.PERIOD) == value


def test_starts_far_away() -> None:
    """x**(a + b) = x**a x**b, multiplied here by shifting and reducing."""

    def times(one: int, other: int) -> int:
        product = 0
        for bit in range(64):
            product ^= (one << bit) if other >> bit & 1 else 0
        for bit in range(127, 63, -1):
            product ^= ((1 << 64 | 7) << bit - 64) if product >> bit & 1 else 0
        return product

    for a, b in ((10**15, 10**17), (hpcc.PERIOD - 5, 9), (2**59, 2**59 + 1)):
        assert hpcc.starts(a + b) == times(hpcc.starts(a), hpcc.starts(b))


def test_stream_and_reference_agree() -> None:
    whole = list(hpcc.stream(0, 256))
    assert whole[:3] == [2, 4, 8]
    assert [value for rank in range(4) for value in hpcc.stream(64 * rank, 64)] == whole
    table = list(range(64))
    for value in whole:
        table[value % 64] ^= value
    assert hpcc.reference(6).tolist() == table


# ---- the application ----


def run(
    places: tuple[tuple[int, int], ...],
    *,
    machine: FakeMachine | None = None,
    jobs: tuple[JobSpec, ...] = (),
    **more: object,
) -> tuple[System, dict[str, float]]:
    parameters = RandomAccessParameters(**{"log2_table_words": 8, **more})  # type: ignore[arg-type]
    spec = JobSpec(name="ra", jid=7, app="random_access", placement=places, parameters=parameters)
    system = (machine or FakeMachine(nodes=1 + max(nid for nid, _ in places))).run(spec, *jobs)
    results = system.results()
    assert results["jobs"]["ra"]["state"] == "finished", results["jobs"]
    return system, results["random_access"][parameters.handler]


def dropped(machine: FakeMachine) -> int:
    """Messages for which a context had no match entry or no room."""
    return sum(context.dropped for nic in machine.nics for context in nic.model.contexts)


PLACEMENTS = [
    ((0, 0),),
    ((0, 0), (1, 0)),
    ((0, 1), (1, 1)),  # not where interrupts are served
    ((0, 0), (0, 1)),
    ((0, 0), (0, 1), (1, 0), (1, 1)),
]


@pytest.mark.parametrize("places", PLACEMENTS)
@pytest.mark.parametrize("handler", HANDLERS)
def test_every_update_is_applied_once(handler: str, places: tuple[tuple[int, int], ...]) -> None:
    machine = FakeMachine(nodes=1 + max(nid for nid, _ in places))
    system, section = run(places, machine=machine, handler=handler)
    assert section["updates"] == 1024
    assert (section["errors"], section["reference_mismatches"], section["unexpected_messages"]) == (0, 0, 0)
    assert section["updates_per_s"] == pytest.approx(1e9 / section["ns_per_update"])
    counters = {name: row["total"] for name, row in system.results()["counters"].items()}
    assert dropped(machine) == 0
    assert counters["nic.packets_sent"] == counters["nic.messages_delivered"]
    assert system.results()["violations"] == []
    if len(places) == 1:
        assert section["messages"] == section["interrupts"] == 0
        return
    assert section["interrupts"] > 0
    if handler == "extension":
        assert section["context_switches"] == 0
        together = max([nid for nid, _ in places].count(nid) for nid, _ in places)
        assert 0 < section["extension_calls"] <= together * section["interrupts"]
        assert section["extension_instructions"] > 20 * section["messages"] // 2
    else:
        assert section["context_switches"] > 0
        assert section["extension_calls"] == section["extension_instructions"] == 0


@pytest.mark.parametrize("handler", HANDLERS)
@pytest.mark.parametrize("window", [2, 4, 512])
def test_windows(handler: str, window: int) -> None:
    machine = FakeMachine()
    _, section = run(((0, 0), (1, 0)), machine=machine, handler=handler, window=window)
    assert (section["errors"], section["reference_mismatches"]) == (0, 0)
    assert dropped(machine) == 0


@pytest.mark.parametrize("handler", HANDLERS)
@pytest.mark.parametrize(("commands", "events"), [(1, 256), (2, 1024), (4096, 0)])
def test_rings_and_queues_of_any_size(handler: str, commands: int, events: int) -> None:
    _, section = run(((0, 0), (1, 0)), handler=handler, command_slots=commands, event_slots=events)
    assert (section["errors"], section["reference_mismatches"]) == (0, 0)


@pytest.mark.parametrize("handler", HANDLERS)
def test_moderation_saves_interrupts(handler: str) -> None:
    sections = [
        run(((0, 0), (1, 0)), handler=handler, **moderation)[1]
        for moderation in ({"moderation_count": 0}, {"moderation_count": 16, "moderation_us": 50})
    ]
    assert all((section["errors"], section["reference_mismatches"]) == (0, 0) for section in sections)
    assert sections[1]["interrupts"] < sections[0]["interrupts"]


def test_messages_are_counted_by_hand() -> None:
    """Updates that another rank owns, one acknowledgement for every half window and for the last, one barrier each."""
    _, section = run(((0, 0), (1, 0)), handler="process", window=16)
    remote = [0, 0]
    for index, value in enumerate(hpcc.stream(0, 1024)):
        rank, owner = index // 512, (value & 255) // 128
        remote[rank] += rank != owner
    acknowledgements = sum(-(-count // 8) for count in remote)
    assert section["messages"] == sum(remote) + acknowledgements + 2


def test_the_extension_is_faster_than_a_context_switch() -> None:
    times = {handler: run(((0, 0), (1, 0)), handler=handler)[1]["ns_per_update"] for handler in HANDLERS}
    assert times["extension"] < times["process"]


def test_the_same_run_gives_the_same_bytes() -> None:
    traces = []
    for _ in range(2):
        machine = FakeMachine()
        system, _ = run(((0, 0), (1, 1)), machine=machine, handler="extension")
        traces.append((machine.trace.spans, system.results(), machine.fabric.packets))
    assert traces[0] == traces[1]


# ---- what goes wrong is seen ----


def test_a_process_that_drops_an_update(monkeypatch: pytest.MonkeyPatch) -> None:
    dropped = []
    handle = _Receiver.handle

    def broken(self: _Receiver, event: object) -> None:
        if not dropped and not event.match_bits >> 63:  # type: ignore[attr-defined]
            dropped.append(event)
            return
        handle(self, event)  # type: ignore[arg-type]

    monkeypatch.setattr(_Receiver, "handle", broken)
    _, section = run(((0, 0), (1, 0)), handler="process")
    assert (section["errors"], section["reference_mismatches"]) == (1, 1)


def test_an_extension_that_applies_a_wrong_value(monkeypatch: pytest.MonkeyPatch) -> None:
    text = extension.SOURCE.read_text().replace("atomic_xor", "atomic_add")
    assert_changed(monkeypatch, text)
    _, section = run(((0, 0), (1, 0)), handler="extension")
    assert section["errors"] > 0
    assert section["reference_mismatches"] > 0


@dataclass(frozen=True)
class Text:
    text: str
    name: str = "random_access_updater.py"

    def read_text(self, encoding: str = "utf-8") -> str:
        return self.text


def assert_changed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    assert text != extension.SOURCE.read_text()
    monkeypatch.setattr(extension, "SOURCE", Text(text))


@pytest.mark.parametrize("handler", HANDLERS)
def test_a_stranger_in_the_queue_is_counted(monkeypatch: pytest.MonkeyPatch, handler: str) -> None:
    monkeypatch.setattr("sw.apps.random_access._Rank._apply_all", one_strange_message)
    _, section = run(((0, 0), (1, 0)), handler=handler)
    assert section["unexpected_messages"] == 2 * 2


def one_strange_message(self: object) -> None:
    """Instead of a pass: a message that is no update to the other rank's receiver, and time to take it in."""
    nid, pid = self._receivers[1 - self._job.rank]  # type: ignore[attr-defined]
    self._put(nid, pid, extension.Message.BARRIER << 48, 1)  # type: ignore[attr-defined]
    self._process.compute(100_000)  # type: ignore[attr-defined]
    self._process.settle()  # type: ignore[attr-defined]


# ---- an extension that is stopped ----


def manifest_with(budget: int) -> object:
    original = extension.Updater.manifest

    def manifest(self: extension.Updater) -> Manifest:
        made = original(self)
        return Manifest(name=made.name, trust=made.trust, attach=made.attach, budget=budget, windows=made.windows)

    return manifest


@pytest.mark.parametrize("budget", range(1, 160, 3))
def test_stopped_at_any_instruction_nothing_is_lost_or_done_twice(monkeypatch: pytest.MonkeyPatch, budget: int) -> None:
    """The budget ends at every place of the loop, inside an acknowledgement too (window 2: each update has one)."""
    monkeypatch.setattr(extension.Updater, "manifest", manifest_with(budget))
    system, section = run(((0, 0), (1, 0)), handler="extension", log2_table_words=5, window=2)
    assert (section["errors"], section["reference_mismatches"], section["unexpected_messages"]) == (0, 0, 0)
    stops = system.results()["counters"]["extension.stops"]["total"]
    assert stops == 2 or budget > 45


def test_stopped_by_a_fault_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    text = extension.SOURCE.read_text().replace(
        "    atomic_xor(word, value)",
        "    if number > 9:\n        word = Pointer[u64](0x123456780000)\n    atomic_xor(word, value)",
    )
    assert_changed(monkeypatch, text)
    system, section = run(((0, 0), (1, 0)), handler="extension")
    assert (section["errors"], section["reference_mismatches"]) == (0, 0)
    assert system.results()["counters"]["extension.stops"]["total"] == 2


# ---- what it is granted, and where it can run ----


def test_source_of_an_event_and_destination_of_a_command_have_the_same_layout() -> None:
    """The extension copies one into the other."""
    event, command = extension.EVENT.fields, extension.COMMAND.fields
    for source, destination in (("src_nid", "dst_nid"), ("src_pid", "dst_pid")):
        assert (event[source].lsb, event[source].width) == (command[destination].lsb, command[destination].width)
    assert extension.MATCH.fields["sequence"].lsb == 0
    assert extension.MATCH.fields["sequence"].width == 32


@dataclass(frozen=True)
class Nic:
    contexts: int = 4
    windows: int = 4
    mtu_bytes: int = 4096


@dataclass(frozen=True)
class Shape:
    cores: int = 4
    memory_mib: int = 1
    nic: Nic = Nic()


@pytest.mark.parametrize(
    ("change", "places", "text"),
    [
        ({}, 3, "placement: 3 ranks; RandomAccess needs a power of two; add or remove some"),
        ({"log2_table_words": 4}, 32, "log2_table_words: 4 is less than a word per rank; raise it"),
        ({"window": 7}, 2, "window: 7 is odd; acknowledgements come every half of it; make it even"),
        ({"window": 4096}, 8, "window: 4096 is more than 2336, which 8 ranks can have; lower it"),
        ({"command_slots": 48}, 2, "command_slots: 48 is no power of two; write 32 or 64"),
        ({"event_slots": 1000}, 2, "event_slots: 1000 is no power of two; write 512 or 1024"),
        (
            {"event_slots": 128}, 2,
            "event_slots: 128 is less than 256, which 2 ranks with a window of 64 need; raise it or lower the window",
        ),
        (
            {"moderation_count": 2}, 2,
            "moderation_us: 0 with a moderation_count of 2; the last messages would interrupt nobody; give a time",
        ),
        (
            {}, 4,
            "placement: 4 ranks on a node need 8 NIC contexts; machine.node.nic.contexts is 4; "
            "raise it or spread the ranks",
        ),
        (
            {"log2_table_words": 17}, 2,
            "log2_table_words: 17 takes 1048576 bytes of a node; machine.node.memory_mib is 1, half of it for tables; "
            "lower it or give the nodes more",
        ),
    ],
)  # fmt: skip
def test_where_it_cannot_run(change: dict[str, int], places: int, text: str) -> None:
    with pytest.raises(ValueError, match=text.split(":")[0]) as caught:
        RandomAccess.check(RandomAccessParameters(**change), [(0, core) for core in range(places)], Shape())
    assert str(caught.value) == text


def test_where_it_can_run() -> None:
    RandomAccess.check(RandomAccessParameters(), [(0, 0)], Shape(nic=Nic(contexts=1)))
    RandomAccess.check(
        RandomAccessParameters(window=2336, log2_table_words=10), [(nid, 0) for nid in range(8)], Shape()
    )
