"""A register map as hardware: an AXI4-Lite subordinate that keeps the registers and refuses what the map forbids.

Whole, aligned, 64-bit accesses only. A refused access is answered SLVERR, reads as 0 and changes nothing. One read and
one write may be outstanding; at most one access is decided per cycle, so that no refusal goes uncounted.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext

from amaranth.hdl import Cat, Const, Elaboratable, Module, Mux, Signal, Value

from rtl.axi import PROT_PRIVILEGED, AxiLite, Response
from rtl.registers import REGISTER_BYTES, Register, RegisterField, RegisterMap, RegisterMapError

_WORD_LSB = (REGISTER_BYTES - 1).bit_length()
# Addresses are decoded in two steps, since simulators make jump tables only of narrow `case` expressions.
_GROUP_LSB = 12


class RegisterBank(Elaboratable):
    """The registers of `register_map` behind `bus` (seen from the bank: an `In(AxiLite)`), in the `sync` domain.

    A field belongs to one of these, by its SystemRDL properties; anything else is a RegisterMapError:

    - `sw = rw; hw = r` or `na`: the bank stores it;
    - `sw = r; hw = w`: the block drives it, the bank stores nothing;
    - `sw = rw; hw = w` in a `checked` register: likewise; the block takes what it accepts from `write_data` itself;
    - `sw = rw; hw = w; onwrite = woclr; hwset`: the bank stores it, the block drives a mask of bits to set;
    - `sw = r; hw = na; counter`: the bank counts `increment`s;
    - `sw = r; hw = na`: a constant, its reset value.

    The signals of `field`, `stored`, `increment`, `written`, `proposed` and `accept` must be asked for before the bank
    is elaborated, which is after the elaboration of the block that contains it.

    Ports beside the bus:

    - `write_data`: the value being written, valid with `written` and `proposed`;
    - `refused`, `refused_unprivileged`: high for one cycle per refused access; the second for want of privilege, the
      first for every other reason; never both; `refused_address` (bytes, as on the bus) is valid with either;
    - `quiescent`: with the bus idle and the block's signals still, a clock edge would change nothing.
    """

    def __init__(self, register_map: RegisterMap, *, address_width: int = 32) -> None:
        if register_map.size_bytes > 1 << address_width:
            raise RegisterMapError(
                f"{register_map.name}: {register_map.size_bytes} bytes do not fit into {address_width} address bits"
            )
        self.register_map = register_map
        self.bus = AxiLite(address_width=address_width).flip().create()
        self.write_data = Signal(64)
        self.refused = Signal()
        self.refused_unprivileged = Signal()
        self.refused_address = Signal(address_width)
        self.quiescent = Signal()
        self._storage: dict[tuple[str, str], Signal] = {}
        self._driven: dict[tuple[str, str], Signal] = {}
        self._increments: dict[str, Signal] = {}
        self._written: dict[str, Signal] = {}
        self._proposed: dict[str, Signal] = {}
        self._accept: dict[str, Signal] = {}
        for register in register_map.registers:
            for field in register.fields:
                self._declare(register, field)

    def _declare(self, register: Register, field: RegisterField) -> None:
        name = f"{register.path.replace('[', '_').replace(']', '').replace('.', '__')}__{field.name}"
        key = (register.path, field.name)
        if _is_constant(register, field):
            return
        if _is_stored(register, field):
            self._storage[key] = Signal(field.width, init=field.reset, name=name)
        if field.hwset:
            self._driven[key] = Signal(field.width, name=f"{name}__set")
        elif field.hardware == "w":
            self._driven[key] = Signal(field.width, init=field.reset, name=name)
        if register.counter:
            self._increments[register.path] = Signal(name=f"{name}__increment")
        if register.checked:
            name = name.removesuffix(f"__{field.name}")
            self._proposed.setdefault(register.path, Signal(name=f"{name}__proposed"))
            self._accept.setdefault(register.path, Signal(name=f"{name}__accept"))

    def field(self, path: str, name: str) -> Signal:
        """hw=r: the stored value; hw=w: the value the block drives; hwset: the mask of bits to set it drives."""
        key = (path, name)
        field = self.register_map.register(path).field(name)
        signal = self._driven.get(key) if field.hardware == "w" else self._storage.get(key)
        if signal is None or field.hardware == "na":
            raise RegisterMapError(f"{path}.{name}: hw = {field.hardware}; the block neither reads nor drives it")
        return signal

    def stored(self, path: str, name: str) -> Signal:
        """The stored value of any field that the bank stores; for `hwset` fields and counters beside their inputs."""
        self.register_map.register(path).field(name)
        signal = self._storage.get((path, name))
        if signal is None:
            raise RegisterMapError(
                f"{path}.{name}: the bank stores nothing here; the block drives it or it is constant"
            )
        return signal

    def increment(self, path: str) -> Signal:
        """Driven by the block: the counter at `path` counts one for every cycle in which this is high."""
        return self._known(self._increments, path, "a counter")

    def proposed(self, path: str) -> Signal:
        """High in the one cycle in which a permitted write to the checked register at `path` is decided."""
        return self._known(self._proposed, path, "checked")

    def accept(self, path: str) -> Signal:
        """Driven by the block in the cycle of `proposed`: whether the write takes effect or is answered SLVERR."""
        return self._known(self._accept, path, "checked")

    def written(self, path: str) -> Signal:
        """High in the one cycle at whose end an accepted write takes effect, so that `field` has it in the next."""
        register = self.register_map.register(path)
        if not register.writable:
            raise RegisterMapError(f"{path}: no field is writable by software, so it is never written")
        return self._written.setdefault(path, Signal(name=f"{path}__written"))

    def _known(self, signals: dict[str, Signal], path: str, what: str) -> Signal:
        self.register_map.register(path)
        if path not in signals:
            raise RegisterMapError(f"{path}: this register is not {what}")
        return signals[path]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        decide = Signal()
        write_address = Signal.like(self.bus.awaddr)
        changes = self._elaborate_hardware_updates(m)
        taken = self._elaborate_write(m, decide, write_address)
        # Software's update comes later than the hardware's, so that it decides what becomes of both.
        self._elaborate_software_updates(m, taken)
        self._elaborate_read(m, decide)
        m.d.comb += self.refused_address.eq(Mux(decide, write_address, self.bus.araddr))
        bus = self.bus
        requests = [bus.awvalid, bus.wvalid, bus.arvalid, ~bus.awready, ~bus.wready]
        m.d.comb += self.quiescent.eq(~Cat(*requests, bus.bvalid, bus.rvalid, *changes).any())
        return m

    def _elaborate_hardware_updates(self, m: Module) -> list[Value]:
        """Returns conditions, one of which is high when the block's signals alone change something in this cycle."""
        changes: list[Value] = []
        for register in self.register_map.registers:
            for field in register.fields:
                storage = self._storage.get((register.path, field.name))
                if field.hwset and storage is not None:
                    bits_to_set = self._driven[register.path, field.name]
                    with m.If(bits_to_set.any()):
                        m.d.sync += storage.eq(storage | bits_to_set)
                    changes.append((bits_to_set & ~storage).any())
                elif register.counter and storage is not None:
                    with m.If(self._increments[register.path]):
                        m.d.sync += storage.eq(storage + 1)
                    changes.append(self._increments[register.path])
        return changes

    def _elaborate_read(self, m: Module, decide: Signal) -> None:
        """A read is decided in the cycle in which it is accepted; its answer is there in the next."""
        bus = self.bus
        m.d.comb += bus.arready.eq(~bus.rvalid & ~decide)
        with m.If(bus.rready):
            m.d.sync += bus.rvalid.eq(0)
        with m.If(bus.arvalid & bus.arready):
            m.d.sync += [bus.rvalid.eq(1), bus.rresp.eq(Response.SLVERR), bus.rdata.eq(0)]
            m.d.comb += self.refused.eq(1)
            for register in _decode(m, bus.araddr, self.register_map.registers):
                with _permitted(m, register, bus.arprot):
                    m.d.comb += self.refused.eq(0)
                    m.d.sync += [bus.rresp.eq(Response.OKAY), bus.rdata.eq(self._read_value(register))]
                if register.privileged:
                    with m.Else():
                        m.d.comb += [self.refused.eq(0), self.refused_unprivileged.eq(1)]

    def _elaborate_write(self, m: Module, decide: Signal, write_address: Signal) -> "_Bits":
        """Address and data are held as they come; a write is decided once both are there and no answer waits.

        Returns a bit for each writable register, high in the cycle in which a write to it takes effect.
        """
        bus = self.bus
        registers = self.register_map.registers
        write_prot = Signal.like(bus.awprot)
        whole = Signal()
        address_held = Signal()
        data_held = Signal()
        m.d.comb += [
            bus.awready.eq(~address_held),
            bus.wready.eq(~data_held),
            decide.eq(address_held & data_held & ~bus.bvalid),
        ]
        with m.If(bus.awvalid & bus.awready):
            m.d.sync += [address_held.eq(1), write_address.eq(bus.awaddr), write_prot.eq(bus.awprot)]
        with m.If(bus.wvalid & bus.wready):
            m.d.sync += [data_held.eq(1), self.write_data.eq(bus.wdata), whole.eq(bus.wstrb.all())]
        with m.If(bus.bready):
            m.d.sync += bus.bvalid.eq(0)
        # Vectors with a bit for each such register, and not a signal each, so that there is one decoder and not many.
        proposed = _Bits(register for register in registers if register.checked)
        taken = _Bits(register for register in registers if register.writable)
        with m.If(decide):
            m.d.sync += [bus.bvalid.eq(1), bus.bresp.eq(Response.SLVERR), address_held.eq(0), data_held.eq(0)]
            m.d.comb += self.refused.eq(1)
            for register in _decode(m, write_address, registers):
                with _permitted(m, register, write_prot):
                    if register.writable:
                        with m.If(whole), self._accepted(m, register, proposed):
                            m.d.comb += [taken[register.path].eq(1), self.refused.eq(0)]
                            m.d.sync += bus.bresp.eq(Response.OKAY)
                if register.privileged:
                    with m.Else():
                        m.d.comb += [self.refused.eq(0), self.refused_unprivileged.eq(1)]
        m.d.comb += [signal.eq(proposed[path]) for path, signal in self._proposed.items()]
        m.d.comb += [signal.eq(taken[path]) for path, signal in self._written.items()]
        return taken

    @contextmanager
    def _accepted(self, m: Module, register: Register, proposed: "_Bits") -> Iterator[None]:
        """The condition that the block accepts the write, if it was asked for its opinion."""
        if register.checked:
            m.d.comb += proposed[register.path].eq(1)
        with m.If(self._accept[register.path]) if register.checked else nullcontext():
            yield

    def _elaborate_software_updates(self, m: Module, taken: "_Bits") -> None:
        for register in self.register_map.registers:
            for field in register.fields:
                storage = self._storage.get((register.path, field.name))
                if storage is None or "w" not in field.software:
                    continue
                value = self.write_data[field.lsb : field.lsb + field.width]
                if field.hwset:
                    # What the hardware sets in the cycle in which software clears stays set: nothing is lost.
                    value = (storage & ~value) | self._driven[register.path, field.name]
                with m.If(taken[register.path]):
                    m.d.sync += storage.eq(value)

    def _read_value(self, register: Register) -> Value:
        parts: list[Value] = []
        position = 0
        for field in sorted(register.fields, key=lambda field: field.lsb):
            key = (register.path, field.name)
            parts.append(Const(0, field.lsb - position))
            if _is_constant(register, field):
                parts.append(Const(field.reset, field.width))
            else:
                parts.append(self._storage[key] if key in self._storage else self._driven[key])
            position = field.lsb + field.width
        return Cat(*parts)


class _Bits:
    """One signal with a bit for each of `registers`, by path."""

    def __init__(self, registers: Iterable[Register]) -> None:
        self._index = {register.path: index for index, register in enumerate(registers)}
        self._signal = Signal(len(self._index))

    def __getitem__(self, path: str) -> Value:
        return self._signal[self._index[path]]


def _is_constant(register: Register, field: RegisterField) -> bool:
    return (field.software, field.hardware) == ("r", "na") and not register.counter


def _is_stored(register: Register, field: RegisterField) -> bool:
    """Whether the bank keeps the field; RegisterMapError if it is of none of the kinds that `RegisterBank` lists."""
    access = (field.software, field.hardware)
    special = (field.hwset, field.woclr, register.counter)
    if (access, special) == (("rw", "w"), (True, True, False)):
        return True
    if access in (("rw", "r"), ("rw", "na")) and special == (False, False, False):
        return True
    if access == ("r", "na") and special == (False, False, True):
        return True
    if special == (False, False, False) and (access == ("r", "w") or (access == ("rw", "w") and register.checked)):
        return False
    raise RegisterMapError(
        f"{register.path}.{field.name}: sw = {field.software}, hw = {field.hardware}, hwset = {field.hwset}, "
        f"woclr = {field.woclr} is no kind of field that a register bank has; rtl.csr lists them"
    )


def _decode(m: Module, address: Value, registers: tuple[Register, ...]) -> Iterator[Register]:
    """Yields each register inside the condition that `address`, in bytes, is exactly its address."""
    groups: dict[int, list[Register]] = {}
    for register in registers:
        groups.setdefault(register.address >> _GROUP_LSB, []).append(register)
    used_bits = max(_GROUP_LSB, registers[-1].address.bit_length())
    with m.If(~address[used_bits:].any() & ~address[:_WORD_LSB].any()), m.Switch(address[_GROUP_LSB:used_bits]):
        for group, members in groups.items():
            with m.Case(group), m.Switch(address[_WORD_LSB:_GROUP_LSB]):
                for register in members:
                    with m.Case((register.address & ((1 << _GROUP_LSB) - 1)) >> _WORD_LSB):
                        yield register


@contextmanager
def _permitted(m: Module, register: Register, prot: Value) -> Iterator[None]:
    """The condition that an access with `prot` may touch the register; followed by `Else` only if it is privileged."""
    with m.If(prot[PROT_PRIVILEGED]) if register.privileged else nullcontext():
        yield
