"""Records of 64-bit little-endian words: declared once, packed and unpacked by software, laid out by hardware.

Imports no Amaranth, because software uses it too.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

WORD_BYTES = 8


@dataclass(frozen=True, kw_only=True)
class Field:
    """`width` bits of word `word` of a record, from bit `lsb` up."""

    name: str
    word: int
    lsb: int
    width: int

    @property
    def mask(self) -> int:
        return (1 << self.width) - 1


class Record:
    """A sequence of 64-bit words with named fields; every bit that no field names is reserved and must be zero.

    `words` is one mapping per word, from field name to (least significant bit, width in bits).
    """

    def __init__(self, name: str, words: Sequence[Mapping[str, tuple[int, int]]]) -> None:
        self.name = name
        self.length_words = len(words)
        self.length_bytes = len(words) * WORD_BYTES
        self.fields: dict[str, Field] = {}
        for index, word in enumerate(words):
            used = 0
            for field_name, (lsb, width) in word.items():
                field = Field(name=field_name, word=index, lsb=lsb, width=width)
                if lsb < 0 or width < 1 or lsb + width > 64:
                    raise ValueError(f"{name}.{field_name}: bits {lsb}..{lsb + width - 1} are out of range 0..63")
                if field_name in self.fields or used & (field.mask << lsb):
                    raise ValueError(f"{name}.{field_name}: declared twice or overlapping in word {index}")
                used |= field.mask << lsb
                self.fields[field_name] = field

    def __iter__(self) -> Iterator[Field]:
        return iter(self.fields.values())

    def pack(self, **values: int) -> list[int]:
        """Words with the given field values; fields not given are zero. ValueError if a value does not fit."""
        words = [0] * self.length_words
        for name, value in values.items():
            field = self.fields.get(name)
            if field is None:
                raise ValueError(f"{self.name}: no field {name!r}; there are {', '.join(self.fields)}")
            if not 0 <= value <= field.mask:
                raise ValueError(f"{self.name}.{name}: {value:#x} is out of range 0..{field.mask:#x}")
            words[field.word] |= value << field.lsb
        return words

    def unpack(self, words: Sequence[int]) -> dict[str, int]:
        """Field values of `words`, which may be longer than the record."""
        if len(words) < self.length_words:
            raise ValueError(f"{self.name}: {len(words)} words; a record has {self.length_words}")
        return {field.name: (int(words[field.word]) >> field.lsb) & field.mask for field in self}

    def reserved_mask(self, word: int) -> int:
        """Bits of word `word` that no field names."""
        mask = (1 << 64) - 1
        for field in self:
            if field.word == word:
                mask &= ~(field.mask << field.lsb)
        return mask

    def symbols(self) -> dict[str, int]:
        """Assembler constants: byte offset of each field's word, its lowest bit, its width, and the record's size."""
        prefix = self.name.upper()
        symbols = {f"{prefix}.BYTES": self.length_bytes}
        for field in self:
            symbols[f"{prefix}.{field.name.upper()}"] = field.word * WORD_BYTES
            symbols[f"{prefix}.{field.name.upper()}_LSB"] = field.lsb
            symbols[f"{prefix}.{field.name.upper()}_WIDTH"] = field.width
        return symbols
