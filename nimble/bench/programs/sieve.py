"""Prime numbers by Eratosthenes' sieve, odd numbers only: byte i stands for 2 i + 3."""

from nimble.python import Pointer, entry, u8, u64


@entry
def run(repetitions: u64, composite: Pointer[u8], size: u64) -> u64:
    """The sum over all repetitions of how many primes there are."""
    found: u64 = 0
    for _ in range(repetitions):
        found += sieve(composite, size)
    return found


def sieve(composite: Pointer[u8], size: u64) -> u64:
    for index in range(size):
        composite[index] = 0
    primes: u64 = 0
    for index in range(size):
        if composite[index] == 0:
            prime = 2 * index + 3
            multiple = index + prime
            while multiple < size:
                composite[multiple] = 1
                multiple += prime
            primes += 1
    return primes
