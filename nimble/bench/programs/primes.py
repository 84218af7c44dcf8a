"""Prime numbers by trial division."""

from nimble.python import entry, u64

NUMBERS = 1000


@entry
def run(repetitions: u64) -> u64:
    """A sum of how many primes there are below 1000 or, in turns, 1001."""
    found: u64 = 0
    for repetition in range(repetitions):
        found += primes_below(NUMBERS + (repetition & 1))
    return found


def primes_below(limit: u64) -> u64:
    found: u64 = 0
    for number in range(2, limit):
        if is_prime(number):
            found += 1
    return found


def is_prime(number: u64) -> bool:
    divisor: u64 = 2
    while divisor * divisor <= number:
        if number % divisor == 0:
            return False
        divisor += 1
    return True
