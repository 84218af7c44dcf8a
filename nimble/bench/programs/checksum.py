"""The Internet checksum of a block of memory.

Ref: RFC 1071, section 2: sums of wider words are folded to 16 bits at the end.
"""

from nimble.python import Pointer, entry, u32, u64


@entry
def run(repetitions: u64, data: Pointer[u32], words: u64) -> u64:
    """The checksum of ``words`` words, where each repetition starts with what the one before it gave."""
    total: u64 = 0
    for _ in range(repetitions):
        total = checksum(data, words, total)
    return total


def checksum(data: Pointer[u32], words: u64, start: u64) -> u64:
    total = start
    for index in range(words):
        total += data[index]
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF
