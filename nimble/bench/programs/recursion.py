"""Fibonacci numbers by their definition: almost nothing but calls, as deep as an extension has frames."""

from nimble.python import entry, noinline, u64

CALLS = 40  # of fib, per repetition: fib(6) is 25 calls in all, fib(7) 41


@entry
def run(repetitions: u64) -> u64:
    """A sum of Fibonacci numbers: of 6 and 7 in turns, so that no call can be taken out of the loop."""
    total: u64 = 0
    for call in range(repetitions * CALLS):
        total += fib(6 + (call & 1))
    return total


@noinline
def fib(n: u64) -> u64:
    if n < 2:
        return n
    return fib(n - 1) + fib(n - 2)
