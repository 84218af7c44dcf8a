"""What `quiescent` claims: while a block says it, a clock edge changes none of its registers and writes no memory.

The claim is about one edge, from any state that the invariants beside it allow; so nothing need be said of how long the
inputs have been still. What a block is told in that cycle counts as its input, whatever it will be told later.
"""

from typing import Any

from amaranth.lib.fifo import SyncFIFOBuffered

from tests.formal.bench import Bench, own_registers, parts_of, writes_of


def claim_stillness(bench: Bench, quiescent: Any) -> None:
    was_quiescent = bench.past(quiescent)
    for part in parts_of(bench.fragment):
        for register in own_registers(part):
            name = getattr(register, "name", "what a memory has read")
            bench.always(~was_quiescent | (bench.past(register) == register), f"{name} stays")
        bench.always(~quiescent | ~writes_of(part), "no memory is written")


def still(block: Any) -> Bench:
    bench = Bench(block)
    claim_stillness(bench, block.quiescent)
    return bench


def claim_queue_is_bounded(bench: Bench, *path: str) -> None:
    """A queue holds no more than its depth."""
    queue = bench.part(*path)
    stored = bench.register("inner_level", *path) + 1 if isinstance(queue, SyncFIFOBuffered) else queue.level
    bench.always(stored <= queue.depth, f"{path[-1]} holds no more than its depth")


def claim_queue_settles(bench: Bench, *path: str) -> None:
    """A buffered queue shows an entry as soon as it can: it stirs by itself only in the cycle after a write."""
    queue = bench.part(*path)
    inside = bench.register("inner_level", *path)
    written = bench.past(queue.w_en & queue.w_rdy)
    bench.always(~inside.any() | queue.r_rdy | written, f"{path[-1]} shows what it has")
