"""A chain of multiplications, additions and exclusive ors, each of which waits for the one before it."""

from nimble.python import entry, u64

STEPS = 4096


@entry
def run(repetitions: u64) -> u64:
    """The end of the chain after so many times 4096 steps."""
    x: u64 = 1
    for step in range(repetitions * STEPS):
        x = x * 0x9E3779B97F4A7C15 + step
        x ^= x >> 29
    return x
