"""One function of a program as a function of LLVM IR: its basic blocks, and how control gets from one to another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from nimble.access import FRAME_BYTES
from nimble.engine import context as layout
from nimble.engine.context import WORD
from nimble.engine.lowering import compute, condition
from nimble.engine.native.memory import Accesses, Windows
from nimble.engine.native.meter import ARGUMENTS, CONTEXT, CONVENTION, Meter
from nimble.engine.reach import LOWEST_FRAME
from nimble.engine.runs import Placed
from nimble.flow import address_of
from nimble.isa import FRAME_POINTER, REGISTERS, Group, wide_immediate
from nimble.program import Program
from nimble.verifier import InsertionRefused


class Function(Accesses):
    """The function that begins at a pc. ``begins``: all functions of the program, which a register may call."""

    def __init__(
        self,
        program: Program,
        placed: Mapping[int, Placed],
        windows: Windows,
        meter: Meter,
        begins: Iterable[int],
    ) -> None:
        super().__init__(placed, meter, windows)
        self._program = program
        self._begins = tuple(begins)
        self._labelled = {one.target for one in placed.values() if one.target is not None}
        self._landings: dict[int, None] = {}  # a set in the order in which code was found to land on them
        self._bodies: dict[int, None] = {}

    def text(self, pc: int, most: int) -> str:
        """The definition of the function that begins at ``pc``; to be called once.

        Raises InsertionRefused when it has more than ``most`` lines, about.
        """
        block = self._block
        for register in range(REGISTERS - 1):
            block(f"%r{register} = alloca i64")
            block(f"store i64 {f'%a{register}' if register in ARGUMENTS else 0}, ptr %r{register}")
        for name in self._meter.names:
            block(f"%{name} = alloca i64")
            block(f"store i64 %a_{name}, ptr %{name}")
        block(f"br label {self._land(pc)}")
        done: set[int] = set()
        while waiting := [begin for begin in self._bodies if begin not in done]:
            for begin in waiting:
                self._body(begin)
                if len(block.lines) > most:
                    text = "its functions and calls multiply to more than native compiles; use threaded"
                    raise InsertionRefused(f"{self._program.name}: {text}")
            done.update(waiting)
        for landing in self._landings:
            self._landing(landing)
        self._endings()
        registers = ", ".join(f"i64 %a{register}" for register in (*ARGUMENTS, FRAME_POINTER))
        meter = ", ".join(f"i64 %a_{name}" for name in self._meter.names)
        head = f"define internal {CONVENTION} {self._meter.result} @f{pc}"
        return f"{head}({CONTEXT}, {meter}, {registers}) {{\n{block.text()}\n}}\n"

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
        self._block.label(f"%land{pc}")
        self._pay(pc)

    def _pay(self, pc: int) -> None:
        """Charge the run that begins at ``pc`` and go there, or stop."""
        block, placed = self._block, self._placed[pc]
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
        lowest = block.let(f"icmp eq i64 {self._value(FRAME_POINTER)}, {LOWEST_FRAME}")
        block(f"br i1 {lowest}, label {too_deep}, label {deeper}, !prof !0")
        block.label(too_deep)
        self._ask_python(placed, "0", "1", deeper)
        block.label(deeper)
        frame = block.let(f"sub i64 {self._value(FRAME_POINTER)}, {FRAME_BYTES}")
        values = *map(self._get, self._meter.names), *map(self._value, ARGUMENTS), frame
        arguments = ", ".join(f"i64 {value}" for value in values)
        kind, names = self._meter.result, ("r0", *self._meter.names)
        result = block.let(f"call {CONVENTION} {kind} @f{target}(ptr %context, {arguments})")
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
        for register in ARGUMENTS[1:]:
            block.store(self._value(register), "%context", WORD * register)
        self._ask_python(placed, service, "0", resume)
        block.label(resume)
        self._set("r0", block.load("%context", 0))
        self._set("left", block.load("%context", layout.LEFT))  # a metered service used some
        self._scratch()
        block(f"br label {self._land(placed.pc + 1)}")
