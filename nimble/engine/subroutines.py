"""The subroutines of the ``threaded`` engine, in LLVM IR: one per operation and form.

A subroutine takes the context, its slot and the meter (``left``: instructions that the budget still allows; ``cost`` so
far) in machine registers, and ends with a tail call to the subroutine of the next slot.

A slot holds the subroutine's address in bytes 0..7 and then the operands. Registers are given as byte offsets in the
context.
"""

from __future__ import annotations

from collections.abc import Sequence

from nimble.access import FRAME_BYTES, RIGHTS, TEXT_BASE
from nimble.engine import context as layout
from nimble.engine import paths
from nimble.engine.context import SLOT_BYTES, limit_offset
from nimble.engine.lowering import (
    DECLARATIONS,
    Block,
    by_register,
    changed,
    compute,
    condition,
    cut,
    fetched_into,
    widen,
)
from nimble.engine.reach import LOWEST_FRAME, STACK_TOP
from nimble.isa import MEMORY, TABLE, Group, Operation
from nimble.isa import SLOT_BYTES as TEXT_SLOT_BYTES

# Operands in a slot.
DST, SRC, IMMEDIATE = 8, 12, 16
OFFSET, CELL_BASE, CELL_LIMIT, CELL_BIAS = 24, 32, 40, 48
TAKEN, TAKEN_LENGTH, TAKEN_COST, NEXT_LENGTH, NEXT_COST = 24, 32, 40, 48, 56

# Forms of an operation on memory: remembering a window, or proved to lie in plain memory or on the stack.
SITE, WINDOW, ON_STACK = "", "_window", "_stack"
LAND, STOP = "land", "stop"  # slots that are no instruction: where a function begins, where a budget ends
ENTER, RESUME = "enter", "resume"

_BY_IMMEDIATE, _BY_REGISTER = "immediate", "register"
_R1, _R5, _R6 = 8, 40, 48
_FOUR = range(0, 32, 8)  # registers one by one: a wide load of what was just stored in parts waits for it
_INDEX = {row: index for index, row in enumerate(TABLE)}


def name_of(rows: Sequence[Operation], forms: Sequence[str]) -> str:
    """The name of the subroutine for one operation, or for several in one."""
    return "op" + "".join(f"_{_INDEX[row]}{form}" for row, form in zip(rows, forms, strict=True))


def module(sequences: Sequence[tuple[Sequence[Operation], Sequence[str]]]) -> tuple[str, list[str]]:
    """The IR of all subroutines: of each operation in each form, and of ``sequences`` (rows and forms) that are one.

    Also the names of those that slots and Python use.
    """
    functions = {LAND: _land_slot(), STOP: _stop_slot()}
    for row in TABLE:
        for form in (SITE, WINDOW, ON_STACK) if row.group in MEMORY else (SITE,):
            functions[name_of((row,), (form,))] = _subroutine((row,), (form,))
    for rows, forms in sequences:
        functions[name_of(rows, forms)] = _subroutine(rows, forms)
    slow = [_slow(row) for row in TABLE if row.group in MEMORY]
    slow += [_function("serve", _serve(_BY_IMMEDIATE)), _function("serve_register", _serve(_BY_REGISTER))]
    slow.append(_function("too_deep", _too_deep()))
    text = [DECLARATIONS, paths.SEARCH, _SHORT, _ENTER, *slow]
    text += [_function(name, block) for name, block in functions.items()]
    return "\n".join(text), [ENTER, RESUME, *functions]


def _function(name: str, block: Block) -> str:
    parameters = "ptr noalias %context, ptr noalias %code, i64 %left, i64 %cost"
    # Wider vectors would cost the processor a change of mode on the way out of the subroutine.
    return f'define tailcc void @{name}({parameters}) nounwind "prefer-vector-width"="128" {{\n{block.text()}\n}}\n'


# ---- bodies ----


def _subroutine(rows: Sequence[Operation], forms: Sequence[str]) -> Block:
    """One operation, or several in one: operands are those of consecutive slots."""
    block, code = Block(), "%code"
    for row, form in zip(rows, forms, strict=True):
        if row.group in (Group.ARITHMETIC, Group.SWAP, Group.WIDE):
            _compute(block, row, code)
        elif row.group in MEMORY:
            _access(block, row, form, code)
        else:
            _CONTROL[row.group](block, row, code)
            return block
        code = block.byte(code, SLOT_BYTES * row.slots)
    _go(block, code, "%left", "%cost")
    return block


def _go(block: Block, code: str, left: str, cost: str) -> None:
    _tail(block, block.let(f"load ptr, ptr {code}"), code, left, cost)


def _tail(block: Block, function: str, code: str, left: str, cost: str) -> None:
    """Rare ways, too, are left to functions by a tail call: a subroutine that returns from one would need a frame."""
    block(f"musttail call tailcc void {function}(ptr %context, ptr {code}, i64 {left}, i64 {cost})")
    block("ret void")


def _land(block: Block, target: str, length: str, price: str, left: str = "%left") -> None:
    """Charge the run that begins at ``target`` and go there; stop if the budget does not allow it."""
    after = block.let(f"sub i64 {left}, {length}")
    short, go = block.name("short"), block.name("go")
    block(f"br i1 {block.let(f'icmp slt i64 {after}, 0')}, label {short}, label {go}, !prof !0")
    block.label(go)
    _go(block, target, after, block.let(f"add i64 %cost, {price}"))
    block.label(short)
    _tail(block, "@short", target, left, "%cost")


def _take(block: Block, code: str, left: str = "%left") -> None:
    target = block.load(code, TAKEN, "ptr")
    _land(block, target, block.load(code, TAKEN_LENGTH), block.load(code, TAKEN_COST), left)


def _fall_through(block: Block, code: str, left: str = "%left") -> None:
    target = block.byte(code, SLOT_BYTES)
    _land(block, target, block.load(code, NEXT_LENGTH), block.load(code, NEXT_COST), left)


def _register(block: Block, code: str, operand: int) -> str:
    """Where the register of an operand lies."""
    offset = block.load(code, operand, "i32")
    return block.byte("%context", block.let(f"zext i32 {offset} to i64"))


def _value(block: Block, pointer: str) -> str:
    return block.let(f"load i64, ptr {pointer}")


def _source(block: Block, row: Operation, code: str) -> str:
    return _value(block, _register(block, code, SRC)) if by_register(row) else block.load(code, IMMEDIATE)


def _compute(block: Block, row: Operation, code: str) -> None:
    destination = _register(block, code, DST)
    if row.group is Group.WIDE or row.name == "mov" or row.name.startswith("movsx"):
        a = "0"
    else:
        a = _value(block, destination)
    b = "0" if row.name == "neg" or row.group is Group.SWAP else _source(block, row, code)
    result = b if row.group is Group.WIDE else compute(block, row, a, b)
    block(f"store i64 {result}, ptr {destination}")


def _branch(block: Block, row: Operation, code: str) -> None:
    taken, fall = block.name("taken"), block.name("fall")
    a = _value(block, _register(block, code, DST))
    block(f"br i1 {condition(block, row, a, _source(block, row, code))}, label {taken}, label {fall}")
    block.label(taken)
    _take(block, code)
    block.label(fall)
    _fall_through(block, code)


# ---- memory ----


def _address(block: Block, row: Operation, code: str) -> str:
    pointer = _value(block, _register(block, code, SRC if row.group is Group.LOAD else DST))
    return block.let(f"add i64 {pointer}, {block.load(code, OFFSET)}")


def _access(block: Block, row: Operation, form: str, code: str) -> None:
    address = _address(block, row, code)
    if form == WINDOW:
        bias = block.load(code, CELL_BIAS)
    elif form == ON_STACK:
        bias = block.load("%context", layout.STACK_BIAS)
    else:
        fast, slow = block.name("fast"), block.name("slow")
        at = block.let(f"sub i64 {address}, {block.load(code, CELL_BASE)}")
        inside = block.let(f"icmp ult i64 {at}, {block.load(code, CELL_LIMIT)}")
        if row.group is Group.ATOMIC:
            inside = block.let(f"and i1 {inside}, {_natural(block, row, address)}")
        block(f"br i1 {inside}, label {fast}, label {slow}, !prof !1")
        block.label(slow)
        _tail(block, f"@{_slow_name(row)}", code, "%left", "%cost")
        block.label(fast)
        bias = block.load(code, CELL_BIAS)
    _touch(block, row, code, block.let(f"add i64 {address}, {bias}"))


def _natural(block: Block, row: Operation, address: str) -> str:
    low = block.let(f"and i64 {address}, {row.bits // 8 - 1}")
    return block.let(f"icmp eq i64 {low}, 0")


def _touch(block: Block, row: Operation, code: str, host: str) -> None:
    """The access itself, at a host address."""
    kind, at = f"i{row.bits}", block.let(f"inttoptr i64 {host} to ptr")
    if row.group is Group.STORE:
        block(f"store {kind} {cut(block, _source(block, row, code), row.bits)}, ptr {at}, align 1")
        return
    old = block.let(f"load {kind}, ptr {at}, align 1")
    if row.group is Group.ATOMIC:
        source = cut(block, _source(block, row, code), row.bits)
        r0 = cut(block, block.load("%context", 0), row.bits)
        block(f"store {kind} {changed(block, row, old, source, r0)}, ptr {at}, align 1")
    _deliver(block, row, code, widen(block, old, row.bits, signed=row.name == "load_signed"))


def _deliver(block: Block, row: Operation, code: str, found: str) -> None:
    """What was found in memory, into its register."""
    if row.group is Group.LOAD:
        block(f"store i64 {found}, ptr {_register(block, code, DST)}")
    elif fetched_into(row, 1) == 0:
        block.store(found, "%context", 0)
    elif fetched_into(row, 1) is not None:
        block(f"store i64 {found}, ptr {_register(block, code, SRC)}")


def _slow_name(row: Operation) -> str:
    return f"slow_{_INDEX[row]}"


def _slow(row: Operation) -> str:
    """Where an access goes that its slot's window does not hold: another window, the stack, or Python."""
    block = Block()
    stack, search, refill, python, resume, over = (
        block.name(name) for name in ("stack", "search", "refill", "python", "resume", "over")
    )
    address, width = _address(block, row, "%code"), row.bits // 8
    if row.group is Group.ATOMIC:
        aligned = block.name("aligned")
        block(f"br i1 {_natural(block, row, address)}, label {aligned}, label {python}")
        block.label(aligned)
    r10 = block.load("%context", layout.R10)
    on_stack = block.let(f"call i64 @stack(ptr %context, i64 {address}, i64 {width}, i64 {r10})")
    block(f"br i1 {block.let(f'icmp ne i64 {on_stack}, 0')}, label {stack}, label {search}")
    block.label(stack)
    _touch(block, row, "%code", on_stack)
    _go(block, block.byte("%code", SLOT_BYTES), "%left", "%cost")
    block.label(search)
    limit = limit_offset(RIGHTS[row.group], width)
    window = block.let(f"call ptr @window(ptr %context, i64 {address}, i64 {limit})")
    block(f"br i1 {block.let(f'icmp ne ptr {window}, null')}, label {refill}, label {python}")
    block.label(refill)
    bias = block.load(window, layout.BIAS)
    block.store(block.load(window, layout.BASE), "%code", CELL_BASE)
    block.store(block.load(window, limit), "%code", CELL_LIMIT)
    block.store(bias, "%code", CELL_BIAS)
    _touch(block, row, "%code", block.let(f"add i64 {address}, {bias}"))
    _go(block, block.byte("%code", SLOT_BYTES), "%left", "%cost")
    block.label(python)
    value = "0" if row.group is Group.LOAD else _source(block, row, "%code")
    _ask_python(block, address, value, resume, over)
    block.label(resume)
    if row.group is not Group.STORE:
        _deliver(block, row, "%code", block.load("%context", layout.RESULT))
    _go(block, block.byte("%code", SLOT_BYTES), "%left", "%cost")
    block.label(over)
    _stop(block, layout.STOPPED)
    return _function(_slow_name(row), block)


def _ask_python(block: Block, address: str, value: str, resume: str, over: str) -> None:
    place = block.let("ptrtoint ptr %code to i64")
    stopped = paths.general(block, "%left", "%cost", place, address, value)
    block(f"br i1 {stopped}, label {over}, label {resume}, !prof !0")


def _stop(block: Block, status: int) -> None:
    block.store(str(status), "%context", layout.STATUS)
    block("ret void")


# ---- control ----


def _jump(block: Block, row: Operation, code: str) -> None:
    _take(block, code)


def _call_local(block: Block, row: Operation, code: str) -> None:
    _push(block, code)
    _take(block, code)


def _call_service(block: Block, row: Operation, code: str) -> None:
    _tail(block, "@serve", code, "%left", "%cost")


def _serve(service: str) -> Block:
    """A call of a service, given by the immediate or by the destination register."""
    block = Block()
    resume, over = block.name("resume"), block.name("over")
    if service == _BY_IMMEDIATE:
        number = block.load("%code", IMMEDIATE)
    else:
        number = _value(block, _register(block, "%code", DST))
    _ask_python(block, number, "0", resume, over)
    block.label(over)
    _stop(block, layout.STOPPED)
    block.label(resume)
    _scratch(block)
    _fall_through(block, "%code", block.load("%context", layout.LEFT))  # a metered service used some
    return block


def _too_deep() -> Block:
    """A call that would need one frame too many: Python words the fault."""
    block, over = Block(), "%over"
    _ask_python(block, "0", "1", over, over)
    block.label(over)
    _stop(block, layout.STOPPED)
    return block


def _call_register(block: Block, row: Operation, code: str) -> None:
    """Where the text has a function at the register's value, call it; else it may be a service."""
    function, service, begins = (block.name(name) for name in ("function", "service", "begins"))
    value = _value(block, _register(block, code, DST))
    at = block.let(f"sub i64 {value}, {TEXT_BASE}")
    # Rotated, an address that is no multiple of a slot becomes a huge number.
    slot = block.let(f"call i64 @llvm.fshr.i64(i64 {at}, i64 {at}, i64 {TEXT_SLOT_BYTES.bit_length() - 1})")
    inside = block.let(f"icmp ult i64 {slot}, {block.load('%context', layout.SLOTS)}")
    block(f"br i1 {inside}, label {begins}, label {service}")
    block.label(begins)
    text = block.load("%context", layout.TEXT, "ptr")
    target = block.load(text, block.let(f"shl i64 {slot}, 3"), "ptr")
    block(f"br i1 {block.let(f'icmp ne ptr {target}, null')}, label {function}, label {service}")
    block.label(function)
    _push(block, code)
    _go(block, target, "%left", "%cost")
    block.label(service)
    _tail(block, "@serve_register", code, "%left", "%cost")


def _push(block: Block, code: str) -> None:
    """A new frame: keep where to return to and r6..r9; the callee's are 0."""
    deeper, too_deep = block.name("deeper"), block.name("too_deep")
    r10 = block.load("%context", layout.R10)
    block(f"br i1 {block.let(f'icmp eq i64 {r10}, {LOWEST_FRAME}')}, label {too_deep}, label {deeper}, !prof !0")
    block.label(too_deep)
    _tail(block, "@too_deep", code, "%left", "%cost")
    block.label(deeper)
    frame = block.load("%context", layout.FRAME, "ptr")
    block(f"store ptr {code}, ptr {frame}")
    for saved in _FOUR:
        block.store(block.load("%context", _R6 + saved), frame, 8 + saved)
    _zero(block, _R6)
    block.store(block.byte(frame, layout.FRAME_RECORD), "%context", layout.FRAME, "ptr")
    block.store(block.let(f"sub i64 {r10}, {FRAME_BYTES}"), "%context", layout.R10)


def _exit(block: Block, row: Operation, code: str) -> None:
    done, pop = block.name("done"), block.name("pop")
    r10 = block.load("%context", layout.R10)
    block(f"br i1 {block.let(f'icmp eq i64 {r10}, {STACK_TOP}')}, label {done}, label {pop}")
    block.label(done)
    block.store("%left", "%context", layout.LEFT)
    block.store("%cost", "%context", layout.COST)
    _stop(block, layout.RETURNED)
    block.label(pop)
    frame = block.byte(block.load("%context", layout.FRAME, "ptr"), -layout.FRAME_RECORD)
    caller = block.let(f"load ptr, ptr {frame}")
    for saved in _FOUR:
        block.store(block.load(frame, 8 + saved), "%context", _R6 + saved)
    block.store(frame, "%context", layout.FRAME, "ptr")
    block.store(block.let(f"add i64 {r10}, {FRAME_BYTES}"), "%context", layout.R10)
    _scratch(block)
    _fall_through(block, caller)


def _scratch(block: Block) -> None:
    """After a call r1..r5 are nothing."""
    _zero(block, _R1)
    block.store("0", "%context", _R5)


def _zero(block: Block, first: int) -> None:
    """Four registers."""
    for offset in _FOUR:
        block.store("0", "%context", first + offset)


_CONTROL = {
    Group.JUMP: _jump,
    Group.BRANCH: _branch,
    Group.CALL_LOCAL: _call_local,
    Group.CALL_REGISTER: _call_register,
    Group.CALL_SERVICE: _call_service,
    Group.EXIT: _exit,
}


def _land_slot() -> Block:
    """The slot before a function's first: charges its run, and takes no time itself."""
    block = Block()
    _take(block, "%code")
    return block


def _stop_slot() -> Block:
    """The slot behind the last instruction that a budget allowed; its immediate is the pc of the next."""
    block = Block()
    block.store("%left", "%context", layout.LEFT)
    block.store("%cost", "%context", layout.COST)
    block.store(block.load("%code", IMMEDIATE), "%context", layout.PC)
    _stop(block, layout.EXHAUSTED)
    return block


_SHORT = f"""
define internal tailcc void @short(ptr %context, ptr %code, i64 %left, i64 %cost) noinline cold {{
  %lp = getelementptr i8, ptr %context, i64 {layout.LEFT}
  store i64 %left, ptr %lp
  %cp = getelementptr i8, ptr %context, i64 {layout.COST}
  store i64 %cost, ptr %cp
  %bp = getelementptr i8, ptr %context, i64 {layout.CODE}
  %base = load i64, ptr %bp
  %place = ptrtoint ptr %code to i64
  %bytes = sub i64 %place, %base
  %pc = udiv i64 %bytes, {SLOT_BYTES}
  %pp = getelementptr i8, ptr %context, i64 {layout.PC}
  store i64 %pc, ptr %pp
  %sp = getelementptr i8, ptr %context, i64 {layout.STATUS}
  store i64 {layout.SHORT}, ptr %sp
  ret void
}}
"""

# From C's calling convention into the thread; registers are clean before, arguments and stack after.
_ENTER = f"""
define i64 @{ENTER}(ptr noalias %context) {{
  %ep = getelementptr i8, ptr %context, i64 {layout.ENTERED}
  %code = load ptr, ptr %ep
  %bp = getelementptr i8, ptr %context, i64 {layout.BUDGET}
  %budget = load i64, ptr %bp
  store i64 0, ptr %context
  %r6 = getelementptr i8, ptr %context, i64 {_R6}
  store <4 x i64> zeroinitializer, ptr %r6, align 8
  %r10 = getelementptr i8, ptr %context, i64 {layout.R10}
  store i64 {STACK_TOP}, ptr %r10
  %frames = getelementptr i8, ptr %context, i64 {layout.FRAMES}
  %fp = getelementptr i8, ptr %context, i64 {layout.FRAME}
  store ptr %frames, ptr %fp
  %first = load ptr, ptr %code
  call tailcc void %first(ptr %context, ptr %code, i64 %budget, i64 0)
  %sp = getelementptr i8, ptr %context, i64 {layout.STATUS}
  %status = load i64, ptr %sp
  %returned = icmp eq i64 %status, {layout.RETURNED}
  br i1 %returned, label %clean, label %stopped
clean:
  call void @clean(ptr %context)
  %lp = getelementptr i8, ptr %context, i64 {layout.LEFT}
  %left = load i64, ptr %lp
  ret i64 %left
stopped:
  %negative = sub i64 0, %status
  ret i64 %negative
}}

; Registers and frames stay as they are.
define i64 @{RESUME}(ptr noalias %context, ptr noalias %code, i64 %left, i64 %cost) {{
  %first = load ptr, ptr %code
  call tailcc void %first(ptr %context, ptr %code, i64 %left, i64 %cost)
  %sp = getelementptr i8, ptr %context, i64 {layout.STATUS}
  %status = load i64, ptr %sp
  ret i64 %status
}}
!0 = !{{!"branch_weights", i32 1, i32 2000}}
!1 = !{{!"branch_weights", i32 2000, i32 1}}
"""
