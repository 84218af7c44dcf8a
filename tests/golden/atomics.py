"""What an atomic operation does to memory, in plain Python: the reference that hardware and models are judged by.

Ref: The Portals 4 Network Programming Interface (Sandia National Laboratories), section 3.13, atomic operations.
"""

from collections.abc import Callable

from rtl.portals import MAX_ATOMIC_BYTES, AtomicOperation, AtomicType

_CONDITIONAL = (AtomicOperation.CSWAP, AtomicOperation.MSWAP)

_COMBINE: dict[AtomicOperation, Callable[[int, int, int], int]] = {
    AtomicOperation.SUM: lambda memory, datum, _: memory + datum,
    AtomicOperation.MIN: lambda memory, datum, _: min(memory, datum),
    AtomicOperation.MAX: lambda memory, datum, _: max(memory, datum),
    AtomicOperation.AND: lambda memory, datum, _: memory & datum,
    AtomicOperation.OR: lambda memory, datum, _: memory | datum,
    AtomicOperation.XOR: lambda memory, datum, _: memory ^ datum,
    AtomicOperation.SWAP: lambda _memory, datum, _: datum,
    AtomicOperation.CSWAP: lambda memory, datum, operand: datum if memory == operand else memory,
    AtomicOperation.MSWAP: lambda memory, datum, operand: memory & ~operand | datum & operand,
}


def apply(operation: int, datum_type: int, memory: bytes, data: bytes, operand: int = 0) -> bytes:
    """What `memory` becomes when `operation` is done on each of its data with the one in the same place of `data`.

    `operand`, 64 bits without sign, is that of CSWAP and MSWAP, which take one datum at most; of 4-byte types its low
    half counts. Sums wrap. No data give no data. ValueError if there is no such operation or type, if lengths disagree,
    are no multiple of the datum or more than an atomic may have, or if the operand has more than 64 bits.
    """
    operation, datum_type = AtomicOperation(operation), AtomicType(datum_type)
    size = datum_type.length_bytes
    most = size if operation in _CONDITIONAL else MAX_ATOMIC_BYTES
    if len(data) != len(memory):
        raise ValueError(f"atomic: {len(data)} bytes of data for {len(memory)} bytes of memory; they must be as many")
    if len(data) % size or len(data) > most:
        raise ValueError(
            f"atomic: {len(data)} bytes; {operation.name} on {datum_type.name} takes multiples of {size} up to {most}"
        )
    if not 0 <= operand < 1 << 64:
        raise ValueError(f"atomic: operand {operand:#x} is out of range 0..{(1 << 64) - 1:#x}")
    signed = datum_type in (AtomicType.INT32, AtomicType.INT64)
    low_half = int.from_bytes(operand.to_bytes(8, "little")[:size], "little", signed=signed)
    combine = _COMBINE[operation]
    result = bytearray()
    for start in range(0, len(data), size):
        old, datum = (int.from_bytes(text[start : start + size], "little", signed=signed) for text in (memory, data))
        new = combine(old, datum, low_half)
        result += (new % (1 << 8 * size)).to_bytes(size, "little")
    return bytes(result)
