"""Who goes next."""

from amaranth import Module, Mux, Signal, Value


def in_turn(m: Module, requests: Value, name: str) -> Signal:
    """One of `requests`, as the only bit set; in every cycle with requests one is served, in circular order.

    Nobody waits for more than one turn of each of the others.
    """
    served = Signal(len(requests), name=f"{name}_served")
    later = Signal(len(requests), name=f"{name}_later")  # those after the one that was served last
    waiting = Signal(len(requests), name=f"{name}_waiting")
    candidates = Signal(len(requests), name=f"{name}_candidates")
    m.d.comb += [
        waiting.eq(requests & later),
        candidates.eq(Mux(waiting.any(), waiting, requests)),
        served.eq(candidates & (~candidates + 1)),
    ]
    with m.If(requests.any()):
        m.d.sync += later.eq(~(served | (served - 1)))
    return served
