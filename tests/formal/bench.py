"""A block under proof: every input free in every cycle, its registers and memories open to the judge."""

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from amaranth import Cat, ClockDomain, Elaboratable, Fragment, Module, Mux, Signal, Value, ValueLike
from amaranth.back import rtlil
from amaranth.hdl import Assert, Assume
from amaranth.hdl._mem import MemoryInstance
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


class _Elaborated(Elaboratable):
    """What has been elaborated already, for those who elaborate."""

    def __init__(self, fragment: Any) -> None:
        self._fragment = fragment

    def elaborate(self, _platform: object) -> Any:
        return self._fragment


class _Hollow(Elaboratable):
    """Stands where `part` stood, and does nothing."""

    def __init__(self, part: Any) -> None:
        self.part = part

    def elaborate(self, _platform: object) -> Module:
        return Module()


def _hollowed(block: Any, keep: Collection[str], hollow: list[Any]) -> Module:
    """The wiring of `block` with the parts to `keep`; the others are entered into `hollow`."""
    module: Module = block.elaborate(None)
    for name, (part, location) in module._named_submodules.items():
        if name not in keep:
            hollow.append(part)
            module._named_submodules[name] = (_Hollow(part), location)
    return module


class Bench:
    """Holds one elaborated `block` and what is claimed of it.

    There is no reset: the first cycle is that after power-up, which is all that initialises the hardware. `m` is the
    judge's module; `free` makes an input that may be anything in each cycle, `past` the value that was in the cycle
    before. `always` is claimed in every cycle. `rule` is assumed in every cycle: a rule of an interface, or what
    another theorem claims. With `keep`, nothing is left of the block's parts but those; the others' outputs may be
    anything in each cycle.
    """

    def __init__(
        self, block: Any, *, inputs: Iterable[Value] | None = None, keep: Collection[str] | None = None
    ) -> None:
        hollow: list[Any] = []
        self.block = block
        self.carried: list[Value] = []
        self.fragment: Any = Fragment.get(block if keep is None else _hollowed(block, keep, hollow), None)
        self.m = Module()
        self.m.domains.sync = domain = ClockDomain("sync", reset_less=True)
        self.m.submodules.block = _Elaborated(self.fragment)
        self._ports = [domain.clk, *(inputs_of(block) if inputs is None else inputs)]
        self._made = 0
        for part in hollow:
            self._ports += _outputs_of(part)

        # A memory's read data are 0 at power-up, as registers are; Yosys knows no initial value of theirs.
        begun = Signal(name="begun")
        self.m.d.sync += begun.eq(1)
        for part in parts_of(self.fragment):
            if isinstance(part, MemoryInstance):
                for port in part._read_ports:
                    if port._domain == "sync":
                        self.rule(begun | (port._data == 0))

    # ---- what the judge adds ----

    def free(self, name: str, width: int = 1) -> Signal:
        signal = Signal(width, name=name)
        self._ports.append(signal)
        return signal

    def constant(self, name: str, width: int = 1) -> Signal:
        """Something that never changes: what holds for it holds for whatever it may be."""
        value = self.free(name, width)
        seen, before = Signal(name=f"{name}_seen"), Signal(width, name=f"{name}_before")
        self.m.d.sync += [seen.eq(1), before.eq(value)]
        self.rule(~seen | (value == before))
        return value

    def past(self, value: ValueLike) -> Signal:
        """What `value` was in the cycle before; 0 in the first cycle."""
        self._made += 1
        cast = Value.cast(value)
        before = Signal(len(cast), name=f"past_{self._made}")
        self.m.d.sync += before.eq(cast)
        return before

    def count(self, name: str, *, up: Value, down: Value) -> Signal:
        """A number of at most 16 bits that grows by `up` and shrinks by `down` with each edge."""
        number = Signal(16, name=name)
        self.m.d.sync += number.eq(number + up - down)
        return number

    def always(self, claim: Value, what: str) -> None:
        self.m.d.comb += Assert(claim, what.replace("{", "").replace("}", ""))

    def rule(self, rule: Value) -> None:
        self.m.d.comb += Assume(rule)

    def carries(self, word: Value) -> None:
        """Says that the block passes an input on and never looks at it, so that a rule may make a mark of it (see
        `carried`, by which this is judged)."""
        self.carried.append(word)

    def holds(self, valid: Value, ready: Value, payload: ValueLike) -> None:
        """The rule of a handshake: what is offered stays until it is taken."""
        waits = self.past(valid & ~ready)
        self.rule(~waits | (valid & (Value.cast(payload) == self.past(payload))))

    def stays(self, valid: Value, ready: Value, payload: ValueLike, what: str) -> None:
        """Claims the same rule of what the block offers."""
        waits = self.past(valid & ~ready)
        self.always(~waits | valid, f"{what}: offered until it is taken")
        self.always(~waits | (Value.cast(payload) == self.past(payload)), f"{what}: as it was offered")

    def joined(self, one: Any, other: Any, what: str, *, names: Collection[str] | None = None) -> None:
        """Claims that two interfaces say the same, whoever says it: of all their members, or of those with `names`."""
        for name in one.signature.members if names is None else names:
            pairs = zip(signals_of(getattr(one, name)), signals_of(getattr(other, name)), strict=True)
            for ours, theirs in pairs:
                self.always(ours == theirs, f"{what}: {name}")

    # ---- what the block has inside ----

    def part(self, *path: str) -> Any:
        """The elaboratable that became the part at `path`."""
        origin = self._find(path).origins[0]
        return origin.part if isinstance(origin, _Hollow) else origin

    def register(self, name: str, *path: str) -> Signal:
        """The register called `name` of the part at `path`."""
        registers = own_registers(self._find(path))
        found = [signal for signal in registers if signal.name == name]
        if len(found) != 1:
            known = ", ".join(sorted(signal.name for signal in registers))
            raise LookupError(f"{'.'.join(path)}: {len(found)} registers are called {name!r}; there are {known}")
        return found[0]

    def registers(self, name: str, width: int, *path: str) -> list[Signal]:
        """The registers of `width` bits of the part at `path` called `name`, or nothing at all, as they were made."""
        registers = own_registers(self._find(path))
        named = (signal for signal in registers if signal.name in (name, "$signal") and len(signal) == width)
        return sorted(named, key=lambda signal: signal.duid)

    def in_state(self, machine: str, state: str, *path: str) -> Value:
        """Whether the state machine called `machine` of the part at `path` is in `state`."""
        register = self.register(f"{machine}_state", *path)
        decode = register.decoder
        if decode is None:
            raise LookupError(f"{'.'.join(path)}.{machine}: no state machine")
        for number in range(1 << len(register)):
            try:
                name = decode(number)
            except KeyError:
                break
            if name == f"{state}/{number}":
                return register == number
        raise LookupError(f"{'.'.join(path)}.{machine}: no state {state!r}")

    def row(self, index: ValueLike, *path: str) -> Signal:
        """What the memory at `path` holds in row `index`."""
        instance = self._find(path)
        if not isinstance(instance, MemoryInstance):
            raise LookupError(f"{'.'.join(path)}: no memory")
        self._made += 1
        data = Signal(len(instance._write_ports[0]._data), name=f"row_{self._made}")
        address = Signal(len(instance._write_ports[0]._addr), name=f"row_index_{self._made}")
        self.m.d.comb += address.eq(index)
        instance.read_port(domain="comb", addr=address, data=data, en=Value.cast(1), transparent_for=())
        return data

    def _find(self, path: tuple[str, ...]) -> Any:
        fragment = self.fragment
        for name in path:
            fragment = fragment.find_subfragment(name)
        return fragment

    def rtlil(self) -> str:
        top = _Elaborated(Fragment.get(self.m, None))
        return str(rtlil.convert(top, ports=self._ports, name="top", emit_src=False))


def chosen(values: Iterable[ValueLike], index: Value) -> Value:
    """The one of `values` with number `index`, of which no bit is looked at that they do not need."""
    numbered = list(enumerate(values))
    found = Value.cast(numbered[0][1])
    needed = index[: (len(numbered) - 1).bit_length()]
    for number, value in numbered[1:]:
        found = Mux(needed == number, value, found)
    return found


def signals_of(member: Any) -> list[Value]:
    """Of a member of an interface: a signal, an array of such, or an interface."""
    if isinstance(member, list):
        return [signal for one in member for signal in signals_of(one)]
    if isinstance(member, wiring.PureInterface):
        return [Value.cast(value) for _path, _member, value in member.signature.flatten(member)]
    return [Value.cast(member)]


def inputs_of(component: wiring.Component) -> Iterator[Value]:
    for _path, member, value in component.signature.flatten(component):
        if member.flow is In:
            yield Value.cast(value)


def _outputs_of(part: Any) -> Iterator[Value]:
    for _path, member, value in part.signature.flatten(part):
        if member.flow is Out:
            yield Value.cast(value)


def parts_of(fragment: Any) -> Iterator[Any]:
    """`fragment` and everything below it."""
    yield fragment
    for child, *_ in fragment.subfragments:
        yield from parts_of(child)


def own_registers(fragment: Any) -> list[Any]:
    """What the clock changes in `fragment` itself; what a memory reads in one cycle and shows in the next, too."""
    found: dict[int, Any] = {}
    for statement in fragment.statements.get("sync", ()):
        found.update((id(signal), signal) for signal in statement._lhs_signals())
    if isinstance(fragment, MemoryInstance):
        found.update((id(port._data), port._data) for port in fragment._read_ports if port._domain == "sync")
    return list(found.values())


def writes_of(fragment: Any) -> Value:
    """High when a memory in `fragment` itself is written."""
    ports = fragment._write_ports if isinstance(fragment, MemoryInstance) else ()
    return Cat(*(port._en for port in ports)).any()
