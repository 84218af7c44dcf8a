"""A logical disk: every write goes to the next physical block, so that random writes become sequential.

Ref: Small & Seltzer, "A Comparison of OS Extension Technologies", USENIX 1996, section 4 (logical disk): 80 % of the
accesses go to 20 % of the blocks.
"""

from nimble.python import Pointer, entry, u32, u64

REQUESTS = 1024
FOUR_FIFTHS = 0xCCCC_CCCC  # of 2**32


@entry
def run(repetitions: u64, blocks: Pointer[u32], size: u64) -> u64:
    """1024 writes and as many reads per repetition; a sum of the physical blocks that were read."""
    random: u64 = 88172645463325252
    total: u64 = 0
    for physical in range(1, repetitions * REQUESTS + 1):
        random = following(random)
        blocks[logical(random, size)] = u32(physical)
        random = following(random)
        total += blocks[logical(random, size)]
    return total


def following(random: u64) -> u64:
    """Marsaglia's xorshift (Journal of Statistical Software 8, 2003), of 64 bits."""
    random ^= random << 13
    random ^= random >> 7
    return random ^ random << 17


def logical(random: u64, size: u64) -> u64:
    """A block: four times of five, one of the first fifth."""
    part = size // 5 if (random & 0xFFFF_FFFF) < FOUR_FIFTHS else size
    return (random >> 32) * part >> 32
