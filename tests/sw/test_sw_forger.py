"""The forger beside RandomAccess: nothing comes through a sound machine, and the holes of a broken one are found."""

from typing import Any

import pytest
from fake_machine import FakeMachine
from fake_nic import FakeNic

from rtl.descriptors import Refusal
from rtl.packet import crc32
from sw.apps.forger import Forger, ForgerParameters
from sw.apps.random_access import RandomAccessParameters
from sw.machine import JobSpec

# What must refuse each attempt; a piece of the text that it gives.
REFUSED = {
    "put to a process of another job": "nic.packet_job of node 1 counted it",
    "put whose user words look like the trusted word": "nic.packet_job of node 1 counted it",
    "put of memory to a process of another job": "nic.packet_job of node 1 counted it",
    "put to a process that does not exist": "nic.packet_destination of node 1 counted it",
    "put to a node that does not exist": "no NIC received it",
    "another job's memory by SMARTMAP": "page fault: read of 8 bytes at 0x8000001000: slot 0 holds no process",
    "NIC context over another job's memory": "open_context: page fault",
    "waiting for another job's events": "is not one of job 8; open it first",
    "extension on another job's event": "is not one of job 8",
    "kernel page, not mapped": "page fault: write of 8 bytes",
    "kernel page: node ID": "write of 0xc0000010 was refused by the hardware: SLVERR",
    "kernel page: own identity": "was refused by the hardware: SLVERR",
    "kernel page: another context's identity": "was refused by the hardware: SLVERR",
    "kernel page: own window's base": "was refused by the hardware: SLVERR",
    "kernel page: own window's length": "was refused by the hardware: SLVERR",
    "kernel page: read another's identity": "read of 0xc000",
    "another context's page": "page fault: write of 8 bytes",
    "doorbell far ahead": "was refused by the hardware: SLVERR",
    "event head beyond tail": "was refused by the hardware: SLVERR",
    "own identity, as shown on the own page": "was refused by the hardware: SLVERR",
    "command that names a source": "REFUSED event, COMMAND_MALFORMED",
    "command of unknown operation": "REFUSED event, COMMAND_MALFORMED",
    "command longer than a packet": "REFUSED event, COMMAND_MALFORMED",
    "DMA beyond the window": "REFUSED event, COMMAND_WINDOW",
    "DMA across the window's end": "REFUSED event, COMMAND_WINDOW",
    "DMA with an offset that wraps": "REFUSED event, COMMAND_WINDOW",
    "DMA across 2**64": "REFUSED event, COMMAND_WINDOW",
    "DMA from a window without the right": "REFUSED event, COMMAND_WINDOW",
    "DMA from a window that does not exist": "REFUSED event, COMMAND_WINDOW",
    "trusted extension": "insert_extension: forger: trust: trusted; applications insert untrusted ones",
    "extension with another context's page": "insert_extension: page fault",
    "extension that stores outside its windows": "the extension was stopped: forger:2: pc 2",
}


def run(handler: str = "process", rounds: int = 1, **more: object) -> dict[str, Any]:
    victim = JobSpec(
        name="ra", jid=7, app="random_access", placement=((0, 0), (1, 0)),
        parameters=RandomAccessParameters(handler=handler, log2_table_words=9),  # type: ignore[arg-type]
    )  # fmt: skip
    forger = JobSpec(
        name="f", jid=8, app="forger", placement=((0, 1),),
        parameters=ForgerParameters(rounds=rounds, **more),  # type: ignore[arg-type]
    )  # fmt: skip
    return FakeMachine().run(victim, forger).results()


def delivered(results: dict[str, Any]) -> set[str]:
    return {row["name"] for row in results["forgery"]["detail"] if row["delivered"]}


@pytest.mark.parametrize("handler", ["process", "extension"])
def test_nothing_is_delivered_and_the_victim_does_not_notice(handler: str) -> None:
    results = run(handler, rounds=2)
    assert {name: job["state"] for name, job in results["jobs"].items()} == {"ra": "finished", "f": "finished"}
    forgery = results["forgery"]
    assert (forgery["delivered"], delivered(results)) == (0, set())
    assert forgery["attempts"] == sum(row["attempts"] for row in forgery["detail"])
    assert {row["name"] for row in forgery["detail"]} == set(REFUSED)
    for row in forgery["detail"]:
        assert REFUSED[row["name"]] in row["refused"][0], row
        assert row["tried"]
    section = results["random_access"][handler]
    assert (section["errors"], section["reference_mismatches"], section["unexpected_messages"]) == (0, 0, 0)


def test_what_the_hardware_refused_is_logged_with_the_culprit() -> None:
    results = run()
    violations = results["violations"]
    assert {row["reason"] for row in violations} >= {"ACCESS_UNPRIVILEGED", "ACCESS_REFUSED", "COMMAND_MALFORMED"}
    assert {(row["nid"], row["jid"], row["process"]) for row in violations} == {(0, 8, "f.0")}
    totals = {name: row["total"] for name, row in results["counters"].items()}
    assert totals["nic.access_unprivileged"] == 6
    assert totals["nic.access_refused"] == 3
    assert (totals["nic.command_malformed"], totals["nic.command_window"]) == (4, 6)
    assert totals["nic.packet_job"] == 3
    assert totals["kernel.violations"] == len(violations)


def test_without_the_hole_the_kernel_page_is_not_even_reached() -> None:
    results = run(expose_kernel_page=False)
    assert not any("kernel page:" in row["name"] for row in results["forgery"]["detail"])
    assert results["counters"]["nic.access_unprivileged"]["total"] == 0


def test_without_a_victim_it_tries_what_it_can() -> None:
    forger = JobSpec(
        name="f", jid=8, app="forger", placement=((0, 0), (0, 1)), parameters=ForgerParameters(rounds=1, patience_us=5)
    )
    results = FakeMachine(nodes=1).run(forger).results()
    assert results["forgery"]["attempts"] == 2 * (len(REFUSED) - 9)
    assert results["forgery"]["delivered"] == 0


# ---- a broken machine is caught ----


def no_privilege(self: FakeNic, address: int, privileged: bool, write: bool) -> Any:
    return self._by_address[address]


def no_judgement(self: FakeNic, context: int, command: dict[str, int], words: list[int]) -> Refusal:
    command["length_bytes"] = 0
    return Refusal.NONE


def any_job(original: Any) -> Any:
    def receive(self: FakeNic, words: list[int]) -> None:
        found = self._addressed({"dst_nid": words[0] & 0xFFFF, "dst_pid": words[0] >> 16 & 0xFFFF})
        if found is not None:
            words = [*words[:-1]]
            words[1] = words[1] & 0xFFFF_FFFF | self.get(f"CONTEXT[{found}].IDENTITY", "jid") << 32
            words.append(crc32(words))
        original(self, words)

    return receive


@pytest.mark.parametrize(
    ("method", "broken", "expected"),
    [
        ("_judge", no_judgement, ("command that names a source", "DMA beyond the window", "DMA across 2**64")),
        ("receive", any_job(FakeNic.receive), ("put to a process of another job",)),
        ("receive", any_job(FakeNic.receive), ("put whose user words look like the trusted word",)),
    ],
)
def test_a_broken_nic_is_found_out(
    monkeypatch: pytest.MonkeyPatch, method: str, broken: Any, expected: tuple[str, ...]
) -> None:
    """The victim suffers, too; the machine goes on."""
    monkeypatch.setattr(FakeNic, method, broken)
    found = delivered(run())
    assert found >= set(expected)
    assert found < set(REFUSED)


def test_a_nic_without_privilege_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The forger alone: a victim whose identity is changed would wait for ever."""
    monkeypatch.setattr(FakeNic, "_reach", no_privilege)
    forger = JobSpec(
        name="f", jid=8, app="forger", placement=((0, 1),), parameters=ForgerParameters(rounds=1, patience_us=5)
    )
    found = delivered(FakeMachine(nodes=1).run(forger).results())
    assert {name for name in found if name.startswith("kernel page:")} == {
        "kernel page: own identity", "kernel page: another context's identity", "kernel page: own window's base",
        "kernel page: own window's length", "kernel page: read another's identity",
    }  # fmt: skip


def test_a_broken_kernel_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """SMARTMAP that does not ask for the job."""

    def any_space(self: Any, slot: int, jid: int) -> Any:
        return next((process.space for process in self._processes if process.slot == slot), None)

    monkeypatch.setattr("sw.kernel.kernel.Kernel.shared_space", any_space)
    assert delivered(run()) == {"another job's memory by SMARTMAP", "NIC context over another job's memory"}


def test_where_it_cannot_run() -> None:
    class Nic:
        contexts, windows, mtu_bytes = 4, 1, 4096

    class Shape:
        cores, memory_mib, nic = 2, 64, Nic

    with pytest.raises(ValueError, match="placement: the forger needs 2 windows") as caught:
        Forger.check(ForgerParameters(), ((0, 0),), Shape())
    assert str(caught.value) == "placement: the forger needs 2 windows; machine.node.nic.windows is 1; raise it"
