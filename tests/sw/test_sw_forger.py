"""The forger beside RandomAccess: nothing comes through a sound machine, and the holes of a broken one are found."""

from typing import Any

import pytest
from fake_machine import FakeMachine
from fake_nic import FakeNic

from rtl.packets import IDENTITY_WORD, crc32
from rtl.portals import Operation, Refusal
from sw.apps.forger import Forger, ForgerParameters
from sw.apps.random_access import RandomAccessParameters
from sw.machine import JobSpec

# What must refuse each attempt; a piece of the text that it gives.
REFUSED = {
    "put to a process of another job": "nic.packet_job of node 1 counted it",
    "put whose user words look like the trusted word": "nic.packet_job of node 1 counted it",
    "put of memory to a process of another job": "nic.packet_job of node 1 counted it",
    "put to a process that does not exist": "nic.packet_destination of node 1 counted it",
    "atomic on memory of another job": "nic.packet_job of node 1 counted it",
    "get from a process of another job": "nic.packet_job of node 1 counted it",
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
    "kernel page: own window's rights": "was refused by the hardware: SLVERR",
    "kernel page: own counting events' base": "was refused by the hardware: SLVERR",
    "kernel page: own moderation": "was refused by the hardware: SLVERR",
    "kernel page: interrupts": "write of 0xc0000020 was refused by the hardware: SLVERR",
    "kernel page: violation log": "write of 0xc0000058 was refused by the hardware: SLVERR",
    "kernel page: packet log": "write of 0xc0000098 was refused by the hardware: SLVERR",
    "kernel page: read another's identity": "read of 0xc000",
    "kernel page: read who sent what": "read of 0xc0000088",
    "another context's page": "page fault: write of 8 bytes",
    "doorbell far ahead": "was refused by the hardware: SLVERR",
    "event head beyond tail": "was refused by the hardware: SLVERR",
    "own identity, as shown on the own page": "was refused by the hardware: SLVERR",
    "command that names a source": "REFUSED event, COMMAND_MALFORMED",
    "command of unknown operation": "REFUSED event, COMMAND_MALFORMED",
    "command longer than a message may be": "REFUSED event, COMMAND_MALFORMED",
    "put to a node that does not exist": "REFUSED event, COMMAND_MALFORMED",
    "put with an acknowledgement of no kind": "REFUSED event, COMMAND_MALFORMED",
    "atomic that does not exist": "REFUSED event, COMMAND_MALFORMED",
    "atomic on data of no type": "REFUSED event, COMMAND_MALFORMED",
    "atomic longer than one may be": "REFUSED event, COMMAND_MALFORMED",
    "swap in the guise of a sum": "REFUSED event, COMMAND_MALFORMED",
    "counting event that does not exist": "REFUSED event, COMMAND_ENTRY",
    "DMA beyond the window": "REFUSED event, COMMAND_WINDOW",
    "DMA across the window's end": "REFUSED event, COMMAND_WINDOW",
    "DMA with an offset that wraps": "REFUSED event, COMMAND_WINDOW",
    "DMA across 2**48": "REFUSED event, COMMAND_WINDOW",
    "DMA from a window without the right": "REFUSED event, COMMAND_WINDOW",
    "DMA from a window that does not exist": "REFUSED event, COMMAND_WINDOW",
    "DMA into a window without the right": "REFUSED event, COMMAND_WINDOW",
    "DMA into memory beyond the window": "REFUSED event, COMMAND_WINDOW",
    "list command with bits that name nothing": "REFUSED event, COMMAND_MALFORMED",
    "portal table entry that does not exist": "REFUSED event, COMMAND_ENTRY",
    "match entry that does not exist": "REFUSED event, COMMAND_ENTRY",
    "match entry in a list that is not there": "REFUSED event, COMMAND_ENTRY",
    "counting event beside the own": "REFUSED event, COMMAND_ENTRY",
    "NIC window over what only the NIC writes": "open_context: page fault: write of 8 bytes",
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
    own = [row for row in violations if row["subject"] != "packet"]
    assert {(row["nid"], row["jid"], row["process"]) for row in own} == {(0, 8, "f.0")}
    packets = [row for row in violations if row["subject"] == "packet"]
    assert {row["reason"] for row in packets} == {"PACKET_JOB", "PACKET_DESTINATION"}
    assert {(row["nid"], row["jid"], row["process"], row["src_nid"]) for row in packets} == {(1, 8, None, 0)}
    assert all(row["detail"] == row["src_nid"] | row["src_pid"] << 16 | row["jid"] << 32 for row in packets)
    totals = {name: row["total"] for name, row in results["counters"].items()}
    assert totals["nic.access_unprivileged"] == 13
    assert totals["nic.access_refused"] == 3
    commands = [totals[f"nic.command_{name}"] for name in ("malformed", "window", "entry")]
    assert commands == [11, 8, 5]
    assert totals["nic.packet_job"] == 5
    assert totals["kernel.violations"] == len(violations)
    lost = totals["nic.violation_log_lost"] + totals["nic.packet_log_lost"]
    assert len(violations) + lost == sum(totals[f"nic.{reason.name.lower()}"] for reason in Refusal if reason)


def test_without_the_hole_the_kernel_page_is_not_even_reached() -> None:
    results = run(expose_kernel_page=False)
    assert not any("kernel page:" in row["name"] for row in results["forgery"]["detail"])
    assert results["counters"]["nic.access_unprivileged"]["total"] == 0


def test_without_a_victim_it_tries_what_it_can() -> None:
    forger = JobSpec(
        name="f", jid=8, app="forger", placement=((0, 0), (0, 1)), parameters=ForgerParameters(rounds=1, patience_us=5)
    )
    results = FakeMachine(nodes=1).run(forger).results()
    assert results["forgery"]["attempts"] == 2 * (len(REFUSED) - 10)
    assert results["forgery"]["delivered"] == 0


# ---- a broken machine is caught ----


def no_privilege(self: FakeNic, address: int, privileged: bool, write: bool) -> Any:
    return self._by_address[address]


def no_judgement(parameters: Any, context: Any, words: list[int]) -> Refusal:
    """Whatever it is, a put of nothing goes to whom the command names."""
    words[0], words[1] = Operation.PUT, words[1] & 0xFFFF_FFFF
    return Refusal.NONE


def any_job(self: FakeNic, flits: list[int], response: bool) -> None:
    pid = flits[0] >> 16 & 0xFFFF
    context = next((c for c in self.model.contexts if c.active and c.settings.pid == pid), None)
    if context is not None:
        flits = list(flits[:-1])
        flits[IDENTITY_WORD] = flits[IDENTITY_WORD] & 0xFFFF_FFFF | context.settings.jid << 32
        flits.append(crc32(flits))
    RECEIVE(self, flits, response)


RECEIVE = FakeNic.receive


@pytest.mark.parametrize(
    ("method", "broken", "expected"),
    [
        (
            "tests.golden.initiator.check",
            no_judgement,
            {"command that names a source", "DMA beyond the window", "DMA across 2**48", "atomic that does not exist"},
        ),
        (
            "fake_nic.FakeNic.receive",
            any_job,
            {
                "put to a process of another job",
                "put of memory to a process of another job",
                "atomic on memory of another job",
                "get from a process of another job",
            },
        ),
    ],
)
def test_a_broken_nic_is_found_out(
    monkeypatch: pytest.MonkeyPatch, method: str, broken: Any, expected: set[str]
) -> None:
    """The victim suffers, too; the machine goes on."""
    monkeypatch.setattr(method, broken)
    found = delivered(run())
    assert found >= expected
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
        "kernel page: own window's length", "kernel page: own window's rights",
        "kernel page: own counting events' base", "kernel page: own moderation", "kernel page: interrupts",
        "kernel page: read another's identity", "kernel page: read who sent what",
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
