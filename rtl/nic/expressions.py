"""Values made of values: fields of records, choices, addresses."""

from collections.abc import Mapping, Sequence
from typing import Any

from amaranth import Array, C, Cat, Value, ValueLike

from rtl.nic.interfaces.widths import ADDRESS_WIDTH, SLOT_LOG2_BYTES
from rtl.records import Record


class FieldsOf:
    """The fields of `record`, by name, as slices of `words`."""

    def __init__(self, record: Record, words: Sequence[Value]) -> None:
        self._record = record
        self._words = words

    def __getattr__(self, name: str) -> Value:
        field = self._record.fields[name]
        return self._words[field.word][field.lsb : field.lsb + field.width]


def assemble(record: Record, values: Mapping[str, ValueLike]) -> list[Value]:
    """The words of `record` with the given field values, each as wide as its field; all other bits are zero."""
    words = []
    for index in range(record.length_words):
        parts: list[Any] = []
        position = 0
        for field in sorted((f for f in record if f.word == index and f.name in values), key=lambda f: f.lsb):
            parts += [C(0, field.lsb - position), fit(values[field.name], field.width)]
            position = field.lsb + field.width
        words.append(Cat(*parts, C(0, 64 - position)))
    return words


def fit(value: ValueLike, width: int) -> Value:
    """`value`, cut or extended with zeros to `width` bits."""
    cast = Value.cast(value)
    return cast[:width] if len(cast) >= width else Cat(cast, C(0, width - len(cast)))


def select(values: Sequence[Value], index: Value) -> Value:
    """The value of `values` at `index`, which means something only if it is within: no bit above is looked at."""
    return values[0] if len(values) == 1 else Array(values)[index[: (len(values) - 1).bit_length()]]


def slot_address(base: Value, index: Value, log2_slots: Value) -> Value:
    """Address of the slot that `index` falls on, in a ring of 2**`log2_slots` slots from `base` (a multiple of 64)."""
    slot = (index & ((C(1) << log2_slots) - 1))[:15]
    return Cat(C(0, SLOT_LOG2_BYTES), (base[SLOT_LOG2_BYTES:] + slot)[: ADDRESS_WIDTH - SLOT_LOG2_BYTES])
