"""Choice among several requests in turn."""

from amaranth import C, Module, Signal, Value

from rtl.nic.expressions import select


def next_in_turn(m: Module, requests: Value, last: Value) -> Signal:
    """Index of the request that follows `last` in circular order; meaningless unless some request is there.

    Nobody waits for more than one turn of each of the others.
    """
    count = len(requests)
    after_last = [C((1 << count) - (2 << index), count) if index + 1 < count else C(0, count) for index in range(count)]
    later = Signal(count)
    index = Signal(range(max(count, 2)))
    m.d.comb += later.eq(requests & select(after_last, last))
    for candidates in (requests, later):
        for candidate in reversed(range(count)):
            with m.If(candidates[candidate]):
                m.d.comb += index.eq(candidate)
    return index
