"""A program as LLVM IR, for the ``native`` engine."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping

from nimble.access import CALL_DEPTH, FRAME_BYTES, STACK, AddressSpace, Memory, Right, Window
from nimble.engine import context as layout
from nimble.engine import paths
from nimble.engine.context import SLOT_BYTES, WORD, limit_offset
from nimble.engine.loops import Loop, Moving, loop_at
from nimble.engine.lowering import (
    DECLARATIONS,
    Block,
    by_register,
    changed,
    compute,
    condition,
    cut,
    fetched_into,
    immediate,
    widen,
)
from nimble.engine.reach import BOTH, STACK_TOP
from nimble.engine.runs import Placed
from nimble.flow import address_of, functions
from nimble.isa import FRAME_POINTER, REGISTERS, Group, wide_immediate
from nimble.program import Program

ENTER = "enter"  # and the pc: functions of the context; see `context.ENTER`

# Of functions among themselves: more arguments in registers, none to be kept for the caller, where LLVM knows how.
_CONVENTION = "preserve_nonecc" if platform.machine() in ("x86_64", "AMD64", "aarch64", "arm64") else "fastcc"
_ARGUMENTS = range(6)  # r0..r5
_LOWEST_FRAME = STACK_TOP - FRAME_BYTES * (CALL_DEPTH - 1)
_RIGHTS = {Group.LOAD: Right.READ, Group.STORE: Right.WRITE, Group.ATOMIC: BOTH}
_WORTH = 4  # turns of a loop below which it is not entered without checks
_TRIED = 4  # windows that an access is compared with before it calls for a search
_FOREVER = "!invariant.load !2"  # written before the run began
_TABLE = "!nonnull !2, !dereferenceable !3, !align !4"  # as much is known of it that loads of it can leave loops
_CONTEXT = f"ptr noalias align {layout.ALIGNMENT} dereferenceable({layout.STACK}) %context"


def module(
    program: Program,
    placed: Mapping[int, Placed],
    space: AddressSpace,
    *,
    checked: bool,
    seen: Mapping[int, int],
    flat: int | None = None,
) -> str:
    """The IR of all functions of a program and of the functions that enter them.

    ``seen``: see ``native.translate``. ``flat``: the price of every operation, if they all have the same.
    """
    begins = sorted(functions(program))
    windows = _Windows(space, checked=checked, seen=seen)
    meter = _Meter(flat)
    parts = [DECLARATIONS, paths.SEARCH, meter.definitions()]
    for pc in begins:
        parts.append(_Function(program, placed, windows, begins, pc, meter).text())
    parts += [_enter(pc, meter) for pc in sorted(set(program.entries.values()))]
    parts.append('!0 = !{!"branch_weights", i32 1, i32 2000}\n!1 = !{!"branch_weights", i32 2000, i32 1}\n!2 = !{}\n')
    table_bytes = max(len(space.windows), 1) * layout.ENTRY_BYTES
    parts.append(f"!3 = !{{i64 {table_bytes}}}\n!4 = !{{i64 {layout.ALIGNMENT}}}\n")
    return "\n".join(parts)


class _Meter:
    """What functions hand to each other besides registers: what is left of the budget and, unless every operation has
    the same price, so that instructions tell it, what the run has cost."""

    def __init__(self, flat: int | None) -> None:
        self._flat = flat
        self.names = ("left", "cost") if flat is None else ("left",)
        self.result = f"{{ {', '.join(['i64'] * (1 + len(self.names)))} }}"  # r0 and the meter; left < 0: it is over
        values = ", ".join(["i64 0", "i64 -1", "i64 0"][: 1 + len(self.names)])
        self.over = f"ret {self.result} {{ {values} }}"

    def cost(self, block: Block, left: str, cost: str) -> str:
        """What the run has cost, with what is left of its budget; ``cost`` if it was counted."""
        if self._flat is None:
            return cost
        used = block.let(f"sub i64 {block.load('%context', layout.OWN_BUDGET)}, {left}")
        return block.let(f"mul i64 {used}, {self._flat}")

    def general(self, block: Block, get: Callable[[str], str], place: str, address: str, value: str) -> str:
        """Call Python; whether the run is over."""
        arguments = (*map(get, self.names), place, address, value)
        values = ", ".join(f"i64 {argument}" for argument in arguments)
        over = block.let(f"call i64 @{'ask' if self._flat is not None else 'general'}(ptr %context, {values})")
        return block.let(f"icmp ne i64 {over}, 0")

    def definitions(self) -> str:
        """A way into Python that computes the cost there, not beside every access."""
        if self._flat is None:
            return ""
        block = Block()
        cost = self.cost(block, "%left", "")
        arguments = f"i64 %left, i64 {cost}, i64 %place, i64 %address, i64 %value"
        block(f"ret i64 {block.let(f'call i64 @general(ptr %context, {arguments})')}")
        parameters = "ptr %context, i64 %left, i64 %place, i64 %address, i64 %value"
        return f"define internal i64 @ask({parameters}) noinline cold {{\n{block.text()}\n}}\n"


def _enter(pc: int, meter: _Meter) -> str:
    """From C's calling convention into a function. Arguments are in the context, and are cleaned behind the run."""
    block = Block()
    budget = block.load("%context", layout.BUDGET)
    block.store(budget, "%context", layout.OWN_BUDGET)
    registers = ["0", *(block.load("%context", WORD * register) for register in _ARGUMENTS[1:]), str(STACK_TOP)]
    arguments = ", ".join(f"i64 {value}" for value in (*[budget, "0"][: len(meter.names)], *registers))
    result = block.let(f"call {_CONVENTION} {meter.result} @f{pc}(ptr %context, {arguments})")
    left = block.let(f"extractvalue {meter.result} {result}, 1")
    over, returned = block.name("over"), block.name("returned")
    block(f"br i1 {block.let(f'icmp slt i64 {left}, 0')}, label {over}, label {returned}, !prof !0")
    block.label(over)
    status = block.load("%context", layout.STATUS)
    block(f"ret i64 {block.let(f'sub i64 0, {status}')}")
    block.label(returned)
    counted = block.let(f"extractvalue {meter.result} {result}, 2") if "cost" in meter.names else ""
    block.store(block.let(f"extractvalue {meter.result} {result}, 0"), "%context", 0)
    block.store(left, "%context", layout.LEFT)
    block.store(meter.cost(block, left, counted), "%context", layout.COST)
    block("call void @clean(ptr %context)")
    block(f"ret i64 {left}")
    return f"define i64 @{ENTER}{pc}({_CONTEXT}) {{\n{block.text()}\n}}\n"


class _Windows:
    """What the code may take for granted of a space: which window an access is likely to hit."""

    def __init__(self, space: AddressSpace, *, checked: bool, seen: Mapping[int, int]) -> None:
        self._windows = space.windows
        self._checked = checked
        self._seen = seen

    def plain(self, window: Window | None) -> bool:
        """Whether compiled code may touch its memory itself."""
        return window is not None and isinstance(window.backing, Memory) and not window.backing.shared

    def index(self, window: Window) -> int:
        return self._windows.index(window)

    def likely(self, placed: Placed) -> list[Window]:
        """Where an access may fall: first the window where it was seen to, then others that allow it."""
        width, right = placed.row.bits // 8, _RIGHTS[placed.row.group]
        fitting = [window for window in self._windows if self._allows(window, right, width)]
        base = self._seen.get(placed.pc)
        return sorted(fitting, key=lambda window: window.base != base)[:_TRIED]

    def _allows(self, window: Window, right: Right, width: int) -> bool:
        allowed = not self._checked or (right in window.rights and width in window.widths)
        return self.plain(window) and allowed and window.length >= width


class _Function:
    """One function of the program: registers in allocas, which LLVM turns into values."""

    def __init__(
        self,
        program: Program,
        placed: Mapping[int, Placed],
        windows: _Windows,
        begins: list[int],
        pc: int,
        meter: _Meter,
    ) -> None:
        self._program = program
        self._placed = placed
        self._windows = windows
        self._begins = begins
        self._labelled = {one.target for one in placed.values() if one.target is not None}
        self._pc = pc
        self._meter = meter
        self._block = Block()
        self._landings: dict[int, None] = {}  # a set in the order in which code was found to land on them
        self._bodies: dict[int, None] = {}
        self._origins: dict[int, tuple[str, str]] = {}  # by pc of an access that needs no question: see `_turns`

    def text(self) -> str:
        block = self._block
        for register in range(REGISTERS - 1):
            block(f"%r{register} = alloca i64")
            block(f"store i64 {f'%a{register}' if register in _ARGUMENTS else 0}, ptr %r{register}")
        for name in self._meter.names:
            block(f"%{name} = alloca i64")
            block(f"store i64 %a_{name}, ptr %{name}")
        block(f"br label {self._land(self._pc)}")
        done: set[int] = set()
        while waiting := [pc for pc in self._bodies if pc not in done]:
            for pc in waiting:
                self._body(pc)
            done.update(waiting)
        for pc in self._landings:
            self._landing(pc)
        self._endings()
        registers = ", ".join(f"i64 %a{register}" for register in (*_ARGUMENTS, FRAME_POINTER))
        meter = ", ".join(f"i64 %a_{name}" for name in self._meter.names)
        head = f"define internal {_CONVENTION} {self._meter.result} @f{self._pc}"
        return f"{head}({_CONTEXT}, {meter}, {registers}) {{\n{block.text()}\n}}\n"

    # ---- places ----

    def _land(self, pc: int) -> str:
        """The label by which a transfer of control gets to ``pc``."""
        self._landings[pc] = None
        self._reach(pc)
        return f"%land{pc}"

    def _reach(self, pc: int) -> str:
        """The label by which straight code gets there, already charged."""
        self._bodies[pc] = None
        return f"%at{pc}"

    def _landing(self, pc: int) -> None:
        block, placed = self._block, self._placed[pc]
        block.label(f"%land{pc}")
        loop = loop_at(self._placed, pc, self._labelled - {pc})
        if loop is not None:
            self._turns(loop)
        left = block.let(f"sub i64 {self._get('left')}, {placed.length}")
        self._set("left", left)  # before the question, so that nobody needs the old ones any more
        if "cost" in self._meter.names:
            self._set("cost", block.let(f"add i64 {self._get('cost')}, {placed.cost}"))
        block(f"br i1 {block.let(f'icmp slt i64 {left}, 0')}, label %short{pc}, label %paid{pc}, !prof !0")
        block.label(f"%short{pc}")
        block.store(str(pc), "%context", layout.PC)
        block(f"br label %ending{layout.SHORT}")
        block.label(f"%paid{pc}")
        block(f"br label {self._reach(pc)}")

    def _endings(self) -> None:
        """Ways out before ``exit``: the registers go back into the context, and all callers return at once."""
        block = self._block
        for status in (layout.SHORT, layout.STOPPED):
            block.label(f"%ending{status}")
            block.store(str(status), "%context", layout.STATUS)
            block("br label %spill")
        block.label("%spill")
        for register in range(REGISTERS):
            block.store(self._value(register), "%context", WORD * register)
        left = self._get("left")
        block.store(left, "%context", layout.LEFT)
        block.store(self._cost(left), "%context", layout.COST)
        block("br label %over")
        block.label("%over")
        block(self._meter.over)

    # ---- values ----

    def _get(self, name: str) -> str:
        return self._block.let(f"load i64, ptr %{name}")

    def _cost(self, left: str) -> str:
        return self._meter.cost(self._block, left, self._get("cost") if "cost" in self._meter.names else "")

    def _set(self, name: str, value: str) -> None:
        self._block(f"store i64 {value}, ptr %{name}")

    def _value(self, register: int) -> str:
        return f"%a{FRAME_POINTER}" if register == FRAME_POINTER else self._get(f"r{register}")

    def _source(self, placed: Placed) -> str:
        if by_register(placed.row):
            return self._value(placed.instruction.src)
        return str(immediate(placed.row, placed.instruction.imm))

    def _scratch(self) -> None:
        for register in _ARGUMENTS[1:]:
            self._set(f"r{register}", "0")

    # ---- code ----

    def _body(self, pc: int) -> None:
        """Straight code from a place to the end of its run, or to the next place that has a label."""
        block = self._block
        block.label(f"%at{pc}")
        while True:
            placed = self._placed[pc]
            pc += placed.row.slots
            if not self._straight(placed):
                self._control(placed)
                return
            if pc in self._labelled:
                block(f"br label {self._reach(pc)}")
                return

    def _straight(self, placed: Placed) -> bool:
        """One instruction, unless it moves control."""
        match placed.row.group:
            case Group.ARITHMETIC | Group.SWAP | Group.WIDE:
                self._compute(placed)
            case Group.LOAD | Group.STORE | Group.ATOMIC:
                self._access(placed)
            case _:
                return False
        return True

    def _compute(self, placed: Placed) -> None:
        row, instruction = placed.row, placed.instruction
        if row.group is Group.WIDE:
            result = str(wide_immediate(instruction, self._program.instructions[placed.pc + 1]))
        else:
            b = "0" if row.name == "neg" or row.group is Group.SWAP else self._source(placed)
            result = compute(self._block, row, self._value(instruction.dst), b)
        self._set(f"r{instruction.dst}", result)

    def _control(self, placed: Placed) -> None:
        block = self._block
        match placed.row.group:
            case Group.JUMP:
                block(f"br label {self._land(self._target(placed))}")
            case Group.BRANCH:
                test = condition(block, placed.row, self._value(placed.instruction.dst), self._source(placed))
                taken, following = self._land(self._target(placed)), self._land(placed.pc + 1)
                block(f"br i1 {test}, label {taken}, label {following}")
            case Group.CALL_LOCAL:
                self._call(placed, self._target(placed))
            case Group.CALL_REGISTER:
                self._call_register(placed)
            case Group.CALL_SERVICE:
                self._serve(placed, str(placed.instruction.imm))
            case _:
                kind, result = self._meter.result, "poison"
                for index, value in enumerate([self._value(0), *map(self._get, self._meter.names)]):
                    result = block.let(f"insertvalue {kind} {result}, i64 {value}, {index}")
                block(f"ret {kind} {result}")

    def _target(self, placed: Placed) -> int:
        assert placed.target is not None
        return placed.target

    def _call(self, placed: Placed, target: int) -> None:
        block = self._block
        deeper, too_deep, returned = (block.name(name) for name in ("deeper", "too_deep", "returned"))
        lowest = block.let(f"icmp eq i64 {self._value(FRAME_POINTER)}, {_LOWEST_FRAME}")
        block(f"br i1 {lowest}, label {too_deep}, label {deeper}, !prof !0")
        block.label(too_deep)
        self._ask_python(placed, "0", "1", deeper)
        block.label(deeper)
        frame = block.let(f"sub i64 {self._value(FRAME_POINTER)}, {FRAME_BYTES}")
        values = *map(self._get, self._meter.names), *map(self._value, _ARGUMENTS), frame
        arguments = ", ".join(f"i64 {value}" for value in values)
        kind, names = self._meter.result, ("r0", *self._meter.names)
        result = block.let(f"call {_CONVENTION} {kind} @f{target}(ptr %context, {arguments})")
        returned_values = [block.let(f"extractvalue {kind} {result}, {index}") for index in range(len(names))]
        left = returned_values[1]
        block(f"br i1 {block.let(f'icmp slt i64 {left}, 0')}, label %over, label {returned}, !prof !0")
        block.label(returned)
        for name, value in zip(names, returned_values, strict=True):
            self._set(name, value)
        self._scratch()
        block(f"br label {self._land(placed.pc + 1)}")

    def _call_register(self, placed: Placed) -> None:
        block, value = self._block, self._value(placed.instruction.dst)
        service = block.name("service")
        labels = {pc: block.name("function") for pc in self._begins}
        cases = " ".join(f"i64 {address_of(pc)}, label {label}" for pc, label in labels.items())
        block(f"switch i64 {value}, label {service} [ {cases} ]")
        for pc, label in labels.items():
            block.label(label)
            self._call(placed, pc)
        block.label(service)
        self._serve(placed, value)

    def _serve(self, placed: Placed, service: str) -> None:
        block, resume = self._block, self._block.name("resume")
        for register in _ARGUMENTS[1:]:
            block.store(self._value(register), "%context", WORD * register)
        self._ask_python(placed, service, "0", resume)
        block.label(resume)
        self._set("r0", block.load("%context", 0))
        self._set("left", block.load("%context", layout.LEFT))  # a metered service used some
        self._scratch()
        block(f"br label {self._land(placed.pc + 1)}")

    def _ask_python(self, placed: Placed, address: str, value: str, resume: str) -> None:
        place = str(placed.pc * SLOT_BYTES)
        over = self._meter.general(self._block, self._get, place, address, value)
        self._block(f"br i1 {over}, label %ending{layout.STOPPED}, label {resume}, !prof !0")

    # ---- loops ----

    def _turns(self, loop: Loop) -> None:
        """Run the turns of a loop in which nothing can happen; fall through to the ordinary landing for few of them."""
        block, first, branch = self._block, loop.body[0], loop.body[-1]
        pc = first.pc
        count = block.let(f"udiv i64 {self._get('left')}, {first.length}")
        for access in loop.accesses:
            turns, *origin = self._reachable(access)
            self._origins[access.placed.pc] = origin[0], origin[1]
            count = block.let(f"call i64 @llvm.umin.i64(i64 {count}, i64 {turns})")
        block.lines.insert(0, f"  %turns{pc} = alloca i64")
        block(f"store i64 {count}, ptr %turns{pc}")
        worth = block.let(f"icmp uge i64 {count}, {_WORTH}")
        block(f"br i1 {worth}, label %turn{pc}, label %checked{pc}")
        block.label(f"%turn{pc}")
        for placed in loop.body[:-1]:
            self._straight(placed)
        test = condition(block, branch.row, self._value(branch.instruction.dst), self._source(branch))
        turns = block.let(f"sub i64 {self._get(f'turns{pc}')}, 1")
        block(f"store i64 {turns}, ptr %turns{pc}")
        block(f"br i1 {test}, label %again{pc}, label %through{pc}")
        block.label(f"%again{pc}")
        block(f"br i1 {block.let(f'icmp ne i64 {turns}, 0')}, label %turn{pc}, label %ended{pc}")
        block.label(f"%ended{pc}")
        self._charge(first, count)
        block(f"br label %checked{pc}")
        block.label(f"%through{pc}")
        self._charge(first, block.let(f"sub i64 {count}, {turns}"))
        block(f"br label {self._land(branch.pc + 1)}")
        block.label(f"%checked{pc}")
        self._origins.clear()

    def _charge(self, first: Placed, turns: str) -> None:
        block = self._block
        used = block.let(f"mul i64 {turns}, {first.length}")
        self._set("left", block.let(f"sub i64 {self._get('left')}, {used}"))
        if "cost" in self._meter.names:
            price = block.let(f"mul i64 {turns}, {first.cost}")
            self._set("cost", block.let(f"add i64 {self._get('cost')}, {price}"))

    def _reachable(self, access: Moving) -> tuple[str, str, str]:
        """For how many turns an access stays in the window that it begins in, that window's memory and its base."""
        block = self._block
        turns, host, base = "0", "null", "0"
        address = self._address(access.placed, access.before)
        for window in self._windows.likely(access.placed):
            limit = window.length - access.placed.row.bits // 8 + 1
            at = block.let(f"sub i64 {address}, {window.base}")
            inside = block.let(f"icmp ult i64 {at}, {limit}")
            if access.step == 0:
                here = "-1"
            else:
                room = at if access.step < 0 else block.let(f"sub i64 {limit - 1}, {at}")
                here = block.let(f"add i64 {block.let(f'udiv i64 {room}, {abs(access.step)}')}, 1")
            turns = block.let(f"select i1 {inside}, i64 {here}, i64 {turns}")
            host = block.let(f"select i1 {inside}, ptr {self._host(window)}, ptr {host}")
            base = block.let(f"select i1 {inside}, i64 {window.base}, i64 {base}")
        return turns, host, base

    # ---- memory ----

    def _access(self, placed: Placed) -> None:
        block, address, proved = self._block, self._address(placed), placed.proved
        if placed.pc in self._origins:
            self._touch(placed, self._within(*self._origins[placed.pc], address))
        elif proved is STACK:
            host = block.let(f"add i64 {address}, {self._forever(layout.STACK_BIAS)}")
            self._touch(placed, block.let(f"inttoptr i64 {host} to ptr"))
        elif self._windows.plain(proved):
            assert proved is not None
            self._touch(placed, self._within(self._host(proved), str(proved.base), address))
        else:
            self._search(placed, address)

    def _address(self, placed: Placed, more: int = 0) -> str:
        instruction = placed.instruction
        base = instruction.src if placed.row.group is Group.LOAD else instruction.dst
        return self._block.let(f"add i64 {self._value(base)}, {instruction.offset + more}")

    def _forever(self, offset: int) -> str:
        """A word of the context that never changes."""
        at = self._block.byte("%context", offset)
        return self._block.let(f"load i64, ptr {at}, {_FOREVER}")

    def _host(self, window: Window) -> str:
        """A pointer to the first byte of a window of plain memory."""
        block = self._block
        place = block.byte("%context", layout.WINDOWS)
        table = block.let(f"load ptr, ptr {place}, {_FOREVER}, {_TABLE}")
        at = block.byte(table, self._windows.index(window) * layout.ENTRY_BYTES + layout.HOST)
        return block.let(f"load ptr, ptr {at}, {_FOREVER}")

    def _within(self, host: str, base: str, address: str) -> str:
        """A pointer to an address in a window: by its distance from the first byte, so that LLVM sees arrays."""
        return self._block.byte(host, self._block.let(f"sub i64 {address}, {base}"))

    def _search(self, placed: Placed, address: str) -> None:
        """First the likely windows, then all, then Python."""
        block, row = self._block, placed.row
        width, hits = row.bits // 8, []
        found, python, resume, done = (block.name(name) for name in ("found", "python", "resume", "done"))
        if row.group is Group.ATOMIC and width > 1:
            low, natural = block.let(f"and i64 {address}, {width - 1}"), block.name("natural")
            block(f"br i1 {block.let(f'icmp eq i64 {low}, 0')}, label {natural}, label {python}, !prof !1")
            block.label(natural)
        for window in self._windows.likely(placed):
            hit, elsewhere = block.name("hit"), block.name("elsewhere")
            at = block.let(f"sub i64 {address}, {window.base}")
            inside = block.let(f"icmp ult i64 {at}, {window.length - width + 1}")
            block(f"br i1 {inside}, label {hit}, label {elsewhere}, !prof !1")
            block.label(hit)
            hits.append(f"[ {block.byte(self._host(window), at)}, {hit} ]")
            block(f"br label {found}")
            block.label(elsewhere)
        searched = block.name("searched")
        block(f"br label {searched}")
        block.label(searched)
        limit = limit_offset(_RIGHTS[row.group], width)
        arguments = f"i64 {address}, i64 {width}, i64 {limit}, i64 {self._value(FRAME_POINTER)}"
        other = block.let(f"call i64 @host(ptr %context, {arguments})")
        pointer = block.let(f"inttoptr i64 {other} to ptr")
        block(f"br i1 {block.let(f'icmp eq i64 {other}, 0')}, label {python}, label {found}")
        block.label(found)
        self._touch(placed, block.let(f"phi ptr {', '.join((*hits, f'[ {pointer}, {searched} ]'))}"))
        block(f"br label {done}")
        block.label(python)
        block.store(self._value(FRAME_POINTER), "%context", layout.R10)
        block.store(self._value(0), "%context", 0)
        value = "0" if row.group is Group.LOAD else self._source(placed)
        self._ask_python(placed, address, value, resume)
        block.label(resume)
        self._deliver(placed, block.load("%context", layout.RESULT))
        block(f"br label {done}")
        block.label(done)

    def _touch(self, placed: Placed, at: str) -> None:
        """The access itself, at a pointer."""
        block, row, kind = self._block, placed.row, f"i{placed.row.bits}"
        if row.group is Group.STORE:
            block(f"store {kind} {cut(block, self._source(placed), row.bits)}, ptr {at}, align 1")
            return
        old = block.let(f"load {kind}, ptr {at}, align 1")
        if row.group is Group.ATOMIC:
            source, r0 = cut(block, self._source(placed), row.bits), cut(block, self._value(0), row.bits)
            block(f"store {kind} {changed(block, row, old, source, r0)}, ptr {at}, align 1")
        self._deliver(placed, widen(block, old, row.bits, signed=row.name == "load_signed"))

    def _deliver(self, placed: Placed, found: str) -> None:
        """What was found in memory, into its register."""
        row, instruction = placed.row, placed.instruction
        register = instruction.dst if row.group is Group.LOAD else None
        if row.group is Group.ATOMIC:
            register = fetched_into(row, instruction.src)
        if register is not None:
            self._set(f"r{register}", found)
