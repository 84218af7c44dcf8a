"""Property 3, what the memory port does with a request: no bus word without a requested byte is touched, and no byte
beside the requested ones is strobed."""

from amaranth import Cat, Mux, Signal

from rtl.nic.host.bursts import BURST_LOG2_WORDS, Bursts
from rtl.nic.host.write import AlignWrite
from tests.formal.bench import Bench
from tests.formal.theorems import SMALL, Bug, theorem

REQUESTERS = 2
WORD_LOG2 = 3
MOST_BYTES = 65_536


@theorem(
    3,
    "MemoryPort",
    bugs=(
        Bug(
            function="rtl.nic.host.bursts:Bursts.elaborate",
            old="transfer.words.eq((transfer.offset + size_bytes + rounding) >> self._log2)",
            new="transfer.words.eq((size_bytes + rounding + 8) >> self._log2)",
        ),
        Bug(
            function="rtl.nic.host.bursts:Bursts._offer",
            old="burst.length.eq(Mux(burst.last, left, to_boundary) - 1)",
            new="burst.length.eq(Mux(burst.last, left, to_boundary))",
        ),
    ),
)
def bursts() -> Bench:
    """The bursts of a request are its bus words in their order, none before the first and none behind the last, and
    none crosses a block of 256 words. Rule: a request has 1 to 65,536 bytes and ends no later than memory does."""
    bench = Bench(block := Bursts(SMALL, requesters=REQUESTERS, depth=2))
    m, burst = bench.m, block.o_burst
    first, last = Signal(45), Signal(45)  # bus words of the request under way
    following = Signal(46)  # the next one to ask for
    for number in range(REQUESTERS):
        address, length_bytes = block.address[number], block.bytes[number]
        end = address + length_bytes - 1
        bench.rule(~block.valid[number] | ((length_bytes != 0) & (length_bytes <= MOST_BYTES) & (end < 1 << 48)))
        with m.If(block.valid[number] & block.ready[number]):
            m.d.sync += [
                first.eq(address[WORD_LOG2:]),
                following.eq(address[WORD_LOG2:]),
                last.eq(end[WORD_LOG2:]),
            ]
    asked = burst.payload.length + 1
    with m.If(burst.valid & burst.ready):
        m.d.sync += following.eq(following + asked)
    address = burst.payload.address
    word = address[WORD_LOG2:]
    bench.always(~burst.valid | ((address[:WORD_LOG2] == 0) & (word == following)), "one word after the other")
    bench.always(~burst.valid | (word >= first), "no word before the first")
    bench.always(~burst.valid | (word + burst.payload.length <= last), "no word behind the last")
    in_block = word[:BURST_LOG2_WORDS] + burst.payload.length
    bench.always(~burst.valid | ~in_block[BURST_LOG2_WORDS], "no burst leaves its block")
    bench.always(~burst.valid | (burst.payload.last == (word + burst.payload.length == last)), "the last one is marked")
    left, position = bench.register("left"), bench.register("position")
    bench.always(~left.any() | (position == following), "where the request is")
    bench.always(~left.any() | ((following <= last) & (left == last - following + 1)), "how much is left")
    bench.always(~left.any() | (following >= first), "how much was asked for")
    return bench


@theorem(
    3,
    "MemoryPort",
    bugs=(
        Bug(
            function="rtl.nic.host.write:AlignWrite._strobe",
            old="(end == 0) | (end > byte)",
            new="(end == 0) | (end >= byte)",
        ),
        Bug(
            function="rtl.nic.host.write:AlignWrite.elaborate",
            old="self._strobe(transfer, filled == 0, last_word)",
            new="self._strobe(transfer, filled == 1, last_word)",
        ),
    ),
)
def strobes() -> Bench:
    """The bus words of a write strobe the bytes that were asked for and no others, from the first word to the last.
    Rule: offset, words and tail are those that `Bursts` makes of a request, and hold until it is done."""
    bench = Bench(block := AlignWrite(SMALL, writers=REQUESTERS))
    m, transfer = bench.m, block.i_transfer.payload
    length_bytes = bench.free("length_bytes", 17)  # of the transfer, hidden from the block
    told = Cat(transfer.as_value(), length_bytes)
    waits = bench.past(block.i_transfer.valid & ~block.i_transfer.ready)
    bench.rule(~waits | (block.i_transfer.valid & (told == bench.past(told))))
    bench.rule((length_bytes != 0) & (length_bytes <= MOST_BYTES))
    words = (transfer.offset + length_bytes + 7) >> WORD_LOG2
    bench.rule((transfer.words == words) & (transfer.tail == length_bytes[:WORD_LOG2]))
    bench.rule(transfer.extra == (words != (length_bytes + 7) >> WORD_LOG2))
    given = Signal(16)  # words of the transfer that have been seen before this one
    is_new = block.valid & ~bench.past(block.valid & ~block.ready)
    of_transfer = bench.past(block.i_transfer.valid & block.i_transfer.ready)  # the last one, if it is new
    following = Mux(of_transfer, 0, given + 1)
    with m.If(is_new):
        m.d.sync += given.eq(following)
    offset, end = bench.past(transfer.offset), bench.past(transfer.offset + length_bytes)
    wanted = Cat((8 * given + byte >= offset) & (8 * given + byte < end) for byte in range(8))
    bench.always(~is_new | (block.strobe == wanted), "the bytes that were asked for")
    is_last = given + 1 == bench.past(words)
    bench.always(~is_new | (of_transfer == is_last), "as many words as were asked for")
    in_block = (bench.past(transfer.position) + given)[:BURST_LOG2_WORDS]
    bench.always(~is_new | (block.last == (is_last | in_block.all())), "a burst ends with its block or its request")
    filled = bench.register("filled")
    bench.always(filled == Mux(is_new, following, given), "words are counted")
    bench.always(Mux(waits, filled < words, filled == 0), "no word too many")
    return bench
