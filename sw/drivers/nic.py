"""The NIC's driver: nic_driver.py compiled with the NIC's registers and the records of the interface."""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

from nimble.program import Program
from nimble.python import Device, compile_program
from rtl.portals import Refusal
from rtl.records import WORD_BYTES
from rtl.registers import RegisterMap, load
from sw.drivers.interface import CONTEXT_SETUP, CONTEXT_STATE, DEVICE_INFO, WINDOW_SETUP, Driver, Subject
from sw.kernel.counters import Counter

SOURCE = Path(__file__).with_name("nic_driver.py")
BUDGET = 20_000  # of one call; `interrupt` with 62 contexts and two full logs takes under 5000 instructions of its own
LOGS = ("VIOLATION_LOG", "PACKET_LOG")


def registers() -> RegisterMap:
    """The NIC's map. Its symbols do not depend on how many contexts and windows a NIC has; the driver asks the
    device."""
    return load("nic")


def build(base: int, services: Mapping[str, int]) -> Program:
    """The driver's program for a NIC at physical address `base`. PythonError, ObjectError, RegisterMapError."""
    nic = registers()
    counters = nic.counters()
    if any(second.address - first.address != WORD_BYTES for first, second in pairwise(counters)):
        raise ValueError("nic.rdl: the counters do not stand side by side; the driver reads them in one sweep")
    constants = {
        **DEVICE_INFO.symbols(),
        **CONTEXT_SETUP.symbols(),
        **WINDOW_SETUP.symbols(),
        **CONTEXT_STATE.symbols(),
        **{f"SUBJECT_{subject.name}": subject.value for subject in Subject},
        "ACCESS_REFUSED": Refusal.ACCESS_REFUSED,
        "COUNTERS_FIRST": counters[0].address,
        "COUNTERS": len(counters),
    }
    devices = {"nic": Device(base, nic.symbols())}
    text = SOURCE.read_text(encoding="utf-8")
    return compile_program(SOURCE.name, services, text=text, constants=constants, devices=devices)


def _counters(nic: RegisterMap) -> tuple[Counter, ...]:
    """In the order in which the driver writes them: the NIC's own, then what its logs lost."""
    own = [Counter(name=counter.name, description=counter.description, unit=counter.unit) for counter in nic.counters()]
    lost = [
        Counter(
            name=f"{nic.name}.{log.lower()}_lost", description=nic.register(f"{log}.LOST").description, unit="refusals"
        )
        for log in LOGS
    ]
    return (*own, *lost)


def _driver() -> Driver:
    nic = registers()
    return Driver(
        name="nic",
        device_id=nic.register("ID").field("device").reset,
        counters=_counters(nic),
        reasons={refusal.value: refusal.name for refusal in Refusal},
        build=build,
        budget=BUDGET,
    )


NIC_DRIVER = _driver()
