"""What compiled code and Python share: the memory of one run, and how one calls the other.

A context is a block of memory that compiled code sees through its first argument: registers, meter, call frames, the
stack. Compiled code calls ``general`` for whatever it can't do by itself: device registers, shared memory, services,
faults. Everything there may switch to another greenlet: nothing of a run lives outside its context.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from nimble.access import CALL_DEPTH, READ_WRITE, STACK_BASE, STACK_BYTES, AddressSpace, Memory, Right, Window
from nimble.engine.outcome import Spend, no_time, nothing_to_call, too_deep
from nimble.engine.runs import Placed
from nimble.engine.semantics import ATOMICS
from nimble.isa import MASK64, Group
from nimble.services import Service

if TYPE_CHECKING:
    from nimble.engine.compiled import CompiledThread

WORD = 8

# Words of a context, by byte offset. r0..r10 come first.
R10 = 80
LEFT, COST, PC, RESULT, STATUS = 88, 96, 104, 112, 120
FRAME = 128  # the first free call frame
STACK_BIAS = 136  # host address = address on the stack + this
WINDOWS, WINDOW_COUNT = 144, 152
STACK_FROM_FRAME = 160  # 1: the stack may be touched from the present frame up; 0: all of it
DIRTY, ALWAYS_DIRTY = 168, 176  # whether the stack was written
TEXT, SLOTS = 184, 192  # where calls through a register lead
SELF, GENERAL = 200, 208  # this context as a Python object, and the way back into Python
CODE = 216  # slot 0 of threaded code
ENTERED, BUDGET = 224, 232  # where a run begins (threaded code only), and how much it may execute
OWN_BUDGET = 240  # what of that metered services did not use (native code only)
DONE = 248  # whether Python did what it was called for
FRAMES = 256
FRAME_RECORD = 40  # where to return to, r6..r9
STACK = 1024
CONTEXT_BYTES = STACK + STACK_BYTES
ALIGNMENT = 64
assert FRAMES + (CALL_DEPTH - 1) * FRAME_RECORD <= STACK

RETURNED, STOPPED, SHORT, EXHAUSTED = range(4)  # status of an entered run

# A window as compiled code sees it: base, bias, and a limit for each kind of access and width. An access at `address`
# is allowed if `address - base < limit`, unsigned. Windows that only Python can serve have limits of 0.
ENTRY_BYTES = 128
BASE, BIAS, LIMITS, HOST = 0, 8, 16, 112  # HOST: the host address of its first byte
_KINDS = {Right.READ: 0, Right.WRITE: 1, READ_WRITE: 2}
_WIDTHS = (1, 2, 4, 8)

# Slots of threaded code have this size, and a place in the code is given as slot address; see `Context.pc_of`.
SLOT_BYTES = 64


def limit_offset(right: Right, width: int) -> int:
    """Where in an entry the limit for accesses of this kind and width (in bytes) stands."""
    return LIMITS + WORD * (len(_WIDTHS) * _KINDS[right] + _WIDTHS.index(width))


def pinned(data: bytearray) -> tuple[int, ctypes.Array[ctypes.c_char]]:
    """The address of bytes, and what keeps them there."""
    array = (ctypes.c_char * len(data)).from_buffer(data)
    return ctypes.addressof(array), array


def aligned(size: int) -> tuple[int, memoryview]:
    """Zeroed memory at a multiple of ALIGNMENT: its address, and a view that keeps it there."""
    raw = bytearray(size + ALIGNMENT)
    address, keep = pinned(raw)
    skip = -address % ALIGNMENT
    return address + skip, memoryview(keep).cast("B")[skip : skip + size]


class WindowTable:
    """The windows of a space as compiled code reads them. Keeps their memory where it is."""

    def __init__(self, space: AddressSpace, *, checked: bool) -> None:
        self.address, view = aligned(max(len(space.windows), 1) * ENTRY_BYTES)
        words = view.cast("Q")
        self.count = len(space.windows)
        self._keep: list[Any] = [view]
        self._bias: dict[int, int] = {}
        for index, window in enumerate(space.windows):
            at = index * ENTRY_BYTES // WORD
            words[at] = window.base
            if not isinstance(window.backing, Memory) or window.backing.shared:
                continue
            pin = window.backing.pin()
            self._keep.append(pin)
            host = ctypes.addressof(pin) + window.origin
            words[at + HOST // WORD] = host
            words[at + BIAS // WORD] = self._bias[window.base] = host - window.base & MASK64
            for right in _KINDS:
                for width in _WIDTHS:
                    if not checked or (right in window.rights and width in window.widths):
                        place = at + limit_offset(right, width) // WORD
                        words[place] = max(window.length - width + 1, 0)

    def bias(self, window: Window) -> int:
        """What to add to an address in a window of plain memory to have the host's."""
        return self._bias[window.base]


class Context:
    """The memory of one run at a time, and what Python knows of that run. It does not keep its thread alive."""

    def __init__(self, thread: CompiledThread) -> None:
        self._placed = thread.placed
        self._reach = thread.reach
        self._services = thread.services
        self._thread_code = thread.code_base
        self.address, view = aligned(CONTEXT_BYTES)
        self.words = view.cast("Q")
        self.stack_bytes = view[STACK:]
        self.stack = Memory(self.stack_bytes)
        self.reference = ctypes.c_void_p(self.address)  # converting a number at each call takes longer than the call
        self.entered = -1
        self.budget = -1
        self.used = 0  # instructions of the budget that metered services used
        self.asked = 0  # whether compiled code came to Python in this run
        self.spend: Spend = no_time
        self.settled = 0
        self.stopped: BaseException | None = None
        self.code_base = thread.code_base
        self._fill(thread)

    def _fill(self, thread: CompiledThread) -> None:
        words = self.words
        words[STACK_BIAS // WORD] = self.address + STACK - STACK_BASE & MASK64
        words[WINDOWS // WORD] = thread.windows.address
        words[WINDOW_COUNT // WORD] = thread.windows.count
        words[STACK_FROM_FRAME // WORD] = thread.reach.checked
        words[DIRTY // WORD] = words[ALWAYS_DIRTY // WORD] = thread.writes_stack
        words[TEXT // WORD], words[SLOTS // WORD] = thread.text_table
        words[SELF // WORD] = id(self)  # CPython: the object's address; it lives as long as its run
        words[GENERAL // WORD] = GENERAL_ADDRESS
        words[CODE // WORD] = thread.code_base

    def wipe(self) -> None:
        """After a run that did not return: no run sees what another left."""
        self.words[0:11] = _NO_REGISTERS
        self.stack_bytes[:] = _CLEAN_STACK
        self.stopped = None
        self.asked = self.settled = self.used = 0
        self.code_base = self._thread_code

    def registers(self) -> tuple[int, ...]:
        return tuple(self.words[0:11])

    def pc_of(self, place: int) -> int:
        return (place - self.code_base) // SLOT_BYTES

    def settle(self, placed: Placed, *, executed: bool = True) -> None:
        """Pay for everything up to an instruction of a run that was charged whole. May switch to another greenlet."""
        behind = placed.cost - placed.own if executed else placed.cost
        self.pay(self.words[COST // WORD] - behind)

    def pay(self, cost: int) -> None:
        """Pay what is due when the run has cost so much in all."""
        due = cost - self.settled
        self.settled = cost
        if due:
            self.spend(due)

    def executed(self, placed: Placed, *, itself: bool) -> int:
        """Instructions of the run up to one in a stretch that was charged whole."""
        left = self.words[LEFT // WORD]
        if left >> 63:  # charged for more than was left: it stops within this stretch
            left -= 1 << 64
        return self.budget - self.used - left - placed.length + itself

    def general(self, place: int, address: int, value: int) -> None:
        """Execute what compiled code can't. Raises Fault, or whatever a service or a device raises."""
        self.asked = 1
        pc = self.pc_of(place)
        self.words[PC // WORD] = pc
        placed = self._placed[pc]
        _GENERAL[placed.row.group](self, placed, address, value)

    def _load(self, placed: Placed, address: int, value: int) -> None:
        width = placed.row.bits // 8
        place = self._reach.resolve(address, width, Right.READ, self.words[R10 // WORD], self.stack)
        loaded = place.load(width, lambda: self.settle(placed))
        if placed.row.name == "load_signed":
            sign = 1 << placed.row.bits - 1
            loaded = (loaded ^ sign) - sign & MASK64
        self.words[RESULT // WORD] = loaded

    def _store(self, placed: Placed, address: int, value: int) -> None:
        width = placed.row.bits // 8
        place = self._reach.resolve(address, width, Right.WRITE, self.words[R10 // WORD], self.stack)
        self._mark(place.window is None)
        place.store(width, value & ((1 << placed.row.bits) - 1), lambda: self.settle(placed))

    def _atomic(self, placed: Placed, address: int, value: int) -> None:
        width, mask = placed.row.bits // 8, (1 << placed.row.bits) - 1
        change = ATOMICS[placed.row.name.removeprefix("fetch_")]
        r0 = self.words[0] & mask
        place = self._reach.resolve_atomic(address, width, self.words[R10 // WORD], self.stack)
        self._mark(place.window is None)
        self.words[RESULT // WORD] = place.change(
            width, lambda old: change(old, value & mask, r0), lambda: self.settle(placed)
        )

    def _mark(self, stack: bool) -> None:
        if stack:
            self.words[DIRTY // WORD] = 1

    def _serve(self, placed: Placed, service: int, value: int) -> None:
        """A call by a register that names no function comes here, too."""
        found = self._services.get(service)
        if found is None:
            raise nothing_to_call(service)
        self.settle(placed)
        self.words[0] = self._call(found) & MASK64

    def _call(self, service: Service) -> int:
        words = self.words
        function: Callable[..., Any] = service.function
        if not service.metered:
            return int(function(*words[1:6]))
        left = words[LEFT // WORD]
        result, used = function(left, *words[1:6])
        words[LEFT // WORD] = kept = max(left - used, 0)
        words[OWN_BUDGET // WORD] = words[OWN_BUDGET // WORD] - (left - kept) & MASK64
        self.used += left - kept
        return int(result)

    def _too_deep(self, placed: Placed, address: int, value: int) -> None:
        raise too_deep()

    def _call_register(self, placed: Placed, address: int, value: int) -> None:
        (self._too_deep if value else self._serve)(placed, address, value)


_GENERAL: Mapping[Group, Callable[[Context, Placed, int, int], None]] = {
    Group.LOAD: Context._load,
    Group.STORE: Context._store,
    Group.ATOMIC: Context._atomic,
    Group.CALL_SERVICE: Context._serve,
    Group.CALL_LOCAL: Context._too_deep,
    Group.CALL_REGISTER: Context._call_register,
}


def _general(context: Context, place: int, address: int, value: int) -> None:
    """Called by compiled code. No exception may pass through compiled code.

    It says that it is done by a word of the context: a signal's handler may raise before the first line, and then the
    interpreter returns at once, with any result.
    """
    try:
        context.general(place, address, value)
        context.words[DONE // WORD] = 1
    except BaseException as error:
        context.stopped = error


_WORD = ctypes.c_uint64
_GENERAL_THUNK = ctypes.PYFUNCTYPE(None, ctypes.py_object, _WORD, _WORD, _WORD)(_general)
GENERAL_ADDRESS = ctypes.cast(_GENERAL_THUNK, ctypes.c_void_p).value or 0

# A run from beginning to end: what is left of the budget if it returned, else the negative status.
ENTER = ctypes.PYFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)
RESUME = ctypes.PYFUNCTYPE(_WORD, _WORD, _WORD, _WORD, _WORD)  # context, code, left, cost -> status

_NO_REGISTERS = memoryview(bytes(11 * WORD)).cast("Q")
_CLEAN_STACK = bytes(STACK_BYTES)
