"""Whose something is, as the judge says it: lives of contexts, and marks for them.

Marks are put into words that a block passes on and never looks at (see `carried`). 0 marks what was never written,
which may be anybody's: memories begin with it.
"""

from typing import Any

from amaranth import Cat, Signal, Value

from rtl.nic.interfaces.widths import CONTEXT_WIDTH, EPOCH_WIDTH
from tests.formal.bench import Bench, chosen

MARK_WIDTH = CONTEXT_WIDTH + EPOCH_WIDTH


def bears(word: Value, context: Value) -> Value:
    """Whether `word` is marked as one of `context`, or not at all."""
    return (word[:CONTEXT_WIDTH] == 0) | (word[:CONTEXT_WIDTH] == (context + 1)[:CONTEXT_WIDTH])


def bears_life(word: Value, context: Value, epoch: Value) -> Value:
    """Whether `word` is marked as one of life `epoch` of `context`, or not at all."""
    return (word[:CONTEXT_WIDTH] == 0) | (word[:MARK_WIDTH] == Cat((context + 1)[:CONTEXT_WIDTH], epoch))


def hold_mark(bench: Bench, valid: Value, word: Value, context: Value, epoch: Value | None = None) -> None:
    """The rule that `word`, which the block only carries, is marked while `valid`: as one of `context`, or of its life
    `epoch`, or not at all."""
    bench.carries(word)
    bench.rule(~valid | (bears(word, context) if epoch is None else bears_life(word, context, epoch)))


def is_live(block: Any, context: Value, epoch: Value) -> Value:
    """Whether `context` is in its life `epoch`, as the block is told."""
    active = chosen([state.active for state in block.states], context)
    return active & (chosen([state.epoch for state in block.states], context) == epoch)


def hold_lives(bench: Bench, block: Any) -> None:
    """The rule of a ContextState: a life begins with a restart, in which the context is not active."""
    for state in block.states:
        lives = (bench.past(state.epoch) + state.restarted)[:EPOCH_WIDTH]
        bench.rule(~bench.past(1) | (state.epoch == lives))
        bench.rule(~(state.restarted & state.active))


def progress_of_life(bench: Bench, state: Any) -> tuple[Value, Value]:
    """Whether a context was active in its life, and whether it is not any more: that life is over then."""
    opened = Signal()
    bench.m.d.sync += opened.eq((opened | state.active) & ~state.restarted)
    return opened, opened & ~bench.past(state.active)
