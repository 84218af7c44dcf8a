"""Accesses of memory in machine code: proved, compared with windows, searched for, or left to Python."""

from __future__ import annotations

from collections.abc import Mapping

from nimble.access import RIGHTS, STACK, AddressSpace, Memory, Right, Window
from nimble.engine import context as layout
from nimble.engine.context import limit_offset
from nimble.engine.lowering import changed, cut, fetched_into, widen
from nimble.engine.native.meter import Meter
from nimble.engine.native.values import Values
from nimble.engine.runs import Placed
from nimble.isa import FRAME_POINTER, Group

_TRIED = 3  # windows that an access is compared with before it calls for a search
_FOREVER = "!invariant.load !2"  # written before the run began
_TABLE = "!nonnull !2, !dereferenceable !3, !align !4"  # as much is known of it that loads of it can leave loops


class Windows:
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
        width, right = placed.row.bits // 8, RIGHTS[placed.row.group]
        fitting = [window for window in self._windows if self._allows(window, right, width)]
        base = self._seen.get(placed.pc)
        return sorted(fitting, key=lambda window: window.base != base)[:_TRIED]

    def _allows(self, window: Window, right: Right, width: int) -> bool:
        allowed = not self._checked or (right in window.rights and width in window.widths)
        return self.plain(window) and allowed and window.length >= width


class Accesses(Values):
    """Loads, stores and atomics of one function."""

    def __init__(self, placed: Mapping[int, Placed], meter: Meter, windows: Windows) -> None:
        super().__init__(placed, meter)
        self._windows = windows
        self._origins: dict[int, tuple[str, str]] = {}  # memory and base of windows that accesses are known to be in

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
        limit = limit_offset(RIGHTS[row.group], width)
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
