"""Where the sections of an object come to lie: code one after the other, everything else that is allocated as state.

``.text`` is the first code. An array map that BTF defines becomes as many cells of state as it has entries, each
rounded up to 8 bytes; the address of the map is that of its first cell.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from elftools.elf.sections import Section

from nimble.access import STATE_BASE, TEXT_BASE
from nimble.elf_btf import ARRAY_MAP, BtfError, MapDefinition, map_definitions
from nimble.elf_file import ElfFile, Symbol
from nimble.isa import SLOT_BYTES
from nimble.program import INSTRUCTION_LIMIT, STATE_LIMIT_BYTES

_SHF_ALLOC, _SHF_EXECINSTR = 2, 4
_STATE_ALIGNMENT = 16
_MAPS = ".maps"
MANIFEST = ".nimble"
# Allocated, but meant for loaders and debuggers.
_NOT_STATE = ("license", "version", ".eh_frame", MANIFEST)
_GOTOX = 0x0D


@dataclass(frozen=True)
class Layout:
    """The bytes of code and state, and where in them each section begins, by its index.

    ``maps``: where in the state a map begins, by section and value of its symbol.
    """

    code: bytearray = field(default_factory=bytearray)
    state: bytearray = field(default_factory=bytearray)
    code_at: dict[int, int] = field(default_factory=dict)
    state_at: dict[int, int] = field(default_factory=dict)
    maps: dict[tuple[int, int], int] = field(default_factory=dict)

    def address(self, symbol: Symbol, addend: int) -> int | None:
        """What an extension sees at ``addend`` bytes behind a symbol, which may lie outside; None if it is in none of
        the sections that were placed."""
        section = symbol.section
        if not isinstance(section, int):
            return None
        if section in self.code_at:
            return TEXT_BASE + self.code_at[section] + symbol.value + addend
        if section in self.state_at:
            return STATE_BASE + self.state_at[section] + symbol.value + addend
        if (section, symbol.value) in self.maps:
            return STATE_BASE + self.maps[section, symbol.value] + addend
        return None

    def holds(self, address: int) -> bool:
        """Whether an address is in the state, just behind it, or a slot of the code."""
        if STATE_BASE <= address <= STATE_BASE + len(self.state):
            return True
        return TEXT_BASE <= address < TEXT_BASE + len(self.code) and (address - TEXT_BASE) % SLOT_BYTES == 0


def place(elf: ElfFile) -> Layout:
    """Place every section that the program needs. Raises ObjectError."""
    layout = Layout()
    by_text_first = sorted(enumerate(elf.sections), key=lambda item: item[1].name != ".text")
    for index, section in by_text_first:
        if section.header.sh_type not in ("SHT_PROGBITS", "SHT_NOBITS") or not section.header.sh_size:
            continue
        if section.header.sh_flags & _SHF_EXECINSTR:
            _place_code(elf, layout, index, section)
        elif section.header.sh_flags & _SHF_ALLOC and section.name not in _NOT_STATE:
            definitions = _definitions(elf) if section.name == _MAPS else {}
            if definitions:
                _place_maps(elf, layout, index, definitions)
            else:
                _place_state(elf, layout, index, section)
    if not layout.code:
        raise elf.error(0, "code: no executable section has any; compile a function into the object")
    return layout


def _place_code(elf: ElfFile, layout: Layout, index: int, section: Section) -> None:
    content = elf.content(section)
    if len(content) % SLOT_BYTES or len(layout.code) + len(content) > INSTRUCTION_LIMIT * SLOT_BYTES:
        text = f"{len(content)} bytes; code is whole slots of {SLOT_BYTES}, {INSTRUCTION_LIMIT} at most; rebuild"
        raise elf.error(section.header.sh_offset, f"section {section.name}: {text}")
    if _GOTOX in content[::SLOT_BYTES]:
        at = content[::SLOT_BYTES].index(_GOTOX) * SLOT_BYTES
        text = "gotox: jumps through a register are not RFC 9669's; build with -fno-jump-tables or an older -mcpu"
        raise elf.error(section.header.sh_offset + at, text)
    layout.code_at[index] = len(layout.code)
    layout.code.extend(content)


def _place_state(elf: ElfFile, layout: Layout, index: int, section: Section) -> None:
    size, alignment = section.header.sh_size, section.header.sh_addralign
    if alignment > _STATE_ALIGNMENT:
        text = f"section {section.name}: alignment {alignment}; {_STATE_ALIGNMENT} at most; lower it"
        raise elf.error(section.header.sh_offset, text)
    layout.state_at[index] = _grow(elf, layout, f"section {section.name}", size, section.header.sh_offset)
    if section.header.sh_type != "SHT_NOBITS":
        layout.state[layout.state_at[index] :] = elf.content(section)


def _grow(elf: ElfFile, layout: Layout, what: str, size: int, offset: int) -> int:
    """Append zeros to the state; where they begin."""
    padding = -len(layout.state) % _STATE_ALIGNMENT
    if len(layout.state) + padding + size > STATE_LIMIT_BYTES:
        raise elf.error(offset, f"{what}: {size} bytes; state has {STATE_LIMIT_BYTES} at most; ask for a window")
    layout.state.extend(bytes(padding + size))
    return len(layout.state) - size


def _definitions(elf: ElfFile) -> dict[str, MapDefinition]:
    index = elf.find(".BTF")
    if index is None:
        return {}
    try:
        return map_definitions(elf.content(elf.sections[index]), _MAPS)
    except BtfError as error:
        raise elf.error(elf.sections[index].header.sh_offset + error.offset, f"section .BTF: {error}") from None


def _place_maps(elf: ElfFile, layout: Layout, index: int, definitions: dict[str, MapDefinition]) -> None:
    offset = elf.sections[index].header.sh_offset
    for symbol in elf.symbols:
        if symbol.section != index or symbol.kind == "STT_SECTION":
            continue
        where, definition = offset + symbol.value, definitions.get(symbol.name)
        if definition is None:
            raise elf.error(where, f"{symbol.name}: is no map definition; put it in another section than {_MAPS}")
        if definition.kind != ARRAY_MAP:
            text = f"map {symbol.name}: type {definition.kind}; only arrays ({ARRAY_MAP}) are supported, as state that "
            raise elf.error(where, text + "the program indexes; there are no map helpers; keep the rest in state")
        if not definition.cell_bytes or not definition.cells:
            text = f"map {symbol.name}: {definition.cells} entries of {definition.cell_bytes} bytes; give both"
            raise elf.error(where, text)
        stride = -(-definition.cell_bytes // 8) * 8
        at = _grow(elf, layout, f"map {symbol.name}", stride * definition.cells, where)
        layout.maps[index, symbol.value] = at
