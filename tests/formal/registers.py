"""Property 2: without privilege, no access changes a register of the kernel's or reads one."""

from amaranth import Signal, Value

from rtl.axi import PROT_PRIVILEGED, Response
from rtl.csr import RegisterBank
from rtl.nic.nic import Nic
from rtl.registers import RegisterMapError
from tests.formal.banks import register_bank
from tests.formal.bench import Bench
from tests.formal.theorems import SMALL, Bug, theorem

PAGES = 0x1_0000  # from here on every 64 KiB are one context's own


class _Accesses:
    """What the bus has seen, put down by the judge."""

    def __init__(self, bench: Bench, bank: RegisterBank) -> None:
        bus = bank.bus
        self.write_privileged = Signal()
        self.write_address = Signal.like(bus.awaddr)
        with bench.m.If(bus.awvalid & bus.awready):
            bench.m.d.sync += [
                self.write_privileged.eq(bus.awprot[PROT_PRIVILEGED]),
                self.write_address.eq(bus.awaddr),
            ]
        self.read_unprivileged = bus.arvalid & bus.arready & ~bus.arprot[PROT_PRIVILEGED]
        self.read_address = bus.araddr


def _judged_bank() -> tuple[Bench, RegisterBank, _Accesses]:
    bank, inputs = register_bank()
    bench = Bench(bank, inputs=inputs)
    accesses = _Accesses(bench, bank)
    for name, value in (("privileged", accesses.write_privileged), ("address", accesses.write_address)):
        kept = bench.register("write_prot" if name == "privileged" else "write_address")
        kept_value = kept[PROT_PRIVILEGED] if name == "privileged" else kept
        bench.always(kept_value == value, f"the bank keeps the {name} that it was given")
    return bench, bank, accesses


def _stored(bank: RegisterBank, path: str, name: str) -> Value | None:
    try:
        return bank.stored(path, name)
    except RegisterMapError:
        return None


@theorem(
    2,
    "RegisterBank",
    bugs=(
        Bug(
            function="rtl.csr:_permitted",
            old="m.If(prot[PROT_PRIVILEGED])",
            new="m.If(prot[PROT_PRIVILEGED] | register.checked)",
        ),
        Bug(
            function="rtl.csr:RegisterBank._elaborate_write",
            old="write_prot.eq(bus.awprot)",
            new="write_prot.eq(write_prot | bus.awprot)",
        ),
    ),
)
def writes() -> Bench:
    """A register of the kernel's changes only by the hardware's own doing, or by a write to its address with privilege;
    a write with a say of the block's is shown to the block under the same condition."""
    bench, bank, accesses = _judged_bank()
    for register in bank.register_map.registers:
        allowed = (accesses.write_address == register.address) & (
            accesses.write_privileged if register.privileged else Value.cast(1)
        )
        was_allowed = bench.past(allowed)
        if register.checked:
            bench.always(~bank.proposed(register.path) | allowed, f"{register.path} is proposed")
        for field in register.fields:
            storage = _stored(bank, register.path, field.name)
            if storage is None:
                continue
            if register.counter:
                expected = (storage + bank.increment(register.path))[: len(storage)]
            elif field.hwset:
                expected = storage | bank.field(register.path, field.name)
            else:
                expected = storage
            bench.always(was_allowed | (storage == bench.past(expected)), f"{register.path}.{field.name}")
            if register.counter:
                bench.always(storage == bench.past(expected), f"{register.path} only counts")
    return bench


@theorem(
    2,
    "RegisterBank",
    bugs=(
        Bug(
            function="rtl.csr:RegisterBank._elaborate_read",
            old="bus.rdata.eq(0)",
            new="bus.rdata.eq(bus.rdata)",
        ),
        Bug(
            function="rtl.csr:RegisterBank._elaborate_read",
            old="_permitted(m, register, bus.arprot)",
            new="_permitted(m, register, bus.awprot)",
        ),
    ),
)
def reads() -> Bench:
    """A read without privilege outside the context pages is answered SLVERR and 0."""
    bench, bank, accesses = _judged_bank()
    refused = bench.past(accesses.read_unprivileged & (accesses.read_address < PAGES))
    bus = bank.bus
    bench.always(~refused | (bus.rvalid & (bus.rresp == Response.SLVERR) & (bus.rdata == 0)), "refused")
    return bench


@theorem(
    2,
    "Nic",
    bugs=(
        Bug(
            function="rtl.nic.nic:Nic._expose_status",
            old='bank.accept("NODE_ID").eq(~bank.field("NODE_ID", "locked"))',
            new='bank.accept("NODE_ID").eq(1)',
        ),
    ),
)
def node_id() -> Bench:
    """Once NODE_ID is locked, it and the lock stay, whoever writes."""
    bench = Bench(Nic(SMALL), keep=("bank",))
    locked = bench.register("NODE_ID__locked", "bank")
    nid = bench.register("NODE_ID__nid", "bank")
    bench.always(~bench.past(locked) | (locked & (nid == bench.past(nid))), "the lock holds")
    return bench
