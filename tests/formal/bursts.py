"""Property 3, what the memory port does with a request: no bus word without a requested byte is touched, and no byte
beside the requested ones is strobed."""

from typing import Any

from amaranth import Cat, Mux, Signal, Value
from amaranth.lib import data

from rtl.nic.host.bursts import BURST_LOG2_WORDS, Bursts, transfer_layout
from rtl.nic.host.write import AlignWrite
from rtl.nic.parameters import NicParameters
from tests.formal.bench import Bench
from tests.formal.theorems import SMALL, Bug, theorem

REQUESTERS = 2
MOST_BYTES = 65_536


def _word_log2(parameters: NicParameters) -> int:
    return (parameters.datapath_bytes - 1).bit_length()


def _told_of_bytes(parameters: NicParameters, transfer: Any, first: Value, length_bytes: Value) -> Value:
    """Whether `transfer` has offset, words, tail and extra of a request for `length_bytes` from byte `first` on."""
    size, log2 = parameters.datapath_bytes, _word_log2(parameters)
    words = (first[:log2] + length_bytes + (size - 1)) >> log2
    told = (transfer.offset == first[:log2]) & (transfer.words == words) & (transfer.tail == length_bytes[:log2])
    return told & (transfer.extra == (words != (length_bytes + (size - 1)) >> log2))


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
    every_width=True,
)
def bursts(parameters: NicParameters = SMALL) -> Bench:
    """The bursts of a request are its bus words in their order, none before the first and none behind the last, and
    none crosses a block of 256 words; who aligns its data is told where they begin and end. Rule: a request has 1 to
    65,536 bytes and ends no later than memory does."""
    bench = Bench(block := Bursts(parameters, requesters=REQUESTERS, depth=2))
    m, burst, log2 = bench.m, block.o_burst, _word_log2(parameters)
    first, last = Signal(48 - log2), Signal(48 - log2)  # bus words of the request under way
    following = Signal(49 - log2)  # the next one to ask for
    transfers = bench.part("transfers")
    transfer = data.View(transfer_layout(parameters, REQUESTERS), transfers.w_data)
    taken = Cat(block.valid[number] & block.ready[number] for number in range(REQUESTERS))
    bench.always(~taken.any() | (transfers.w_en & transfers.w_rdy), "what is told of its data is queued")
    for number in range(REQUESTERS):
        address, length_bytes = block.address[number], block.bytes[number]
        end = address + length_bytes - 1
        bench.rule(~block.valid[number] | ((length_bytes != 0) & (length_bytes <= MOST_BYTES) & (end < 1 << 48)))
        told = (transfer.owner == number) & (transfer.position == address[log2 : log2 + BURST_LOG2_WORDS])
        bench.always(~taken[number] | (told & _told_of_bytes(parameters, transfer, address, length_bytes)), "as it is")
        with m.If(taken[number]):
            m.d.sync += [
                first.eq(address[log2:]),
                following.eq(address[log2:]),
                last.eq(end[log2:]),
            ]
    asked = burst.payload.length + 1
    with m.If(burst.valid & burst.ready):
        m.d.sync += following.eq(following + asked)
    address = burst.payload.address
    word = address[log2:]
    bench.always(~burst.valid | ((address[:log2] == 0) & (word == following)), "one word after the other")
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
    every_width=True,
)
def strobes(parameters: NicParameters = SMALL) -> Bench:
    """The bus words of a write strobe the bytes that were asked for and no others, from the first word to the last.
    Rule: offset, words and tail are those that `Bursts` makes of a request (see `bursts`), and hold until it is done
    (see `trusted.queue`)."""
    bench = Bench(block := AlignWrite(parameters, writers=REQUESTERS))
    m, transfer, size = bench.m, block.i_transfer.payload, parameters.datapath_bytes
    length_bytes = bench.free("length_bytes", 17)  # of the transfer, hidden from the block
    told = Cat(transfer.as_value(), length_bytes)
    waits = bench.past(block.i_transfer.valid & ~block.i_transfer.ready)
    bench.rule(~waits | (block.i_transfer.valid & (told == bench.past(told))))
    bench.rule((length_bytes != 0) & (length_bytes <= MOST_BYTES))
    words = (transfer.offset + length_bytes + (size - 1)) >> _word_log2(parameters)
    bench.rule(_told_of_bytes(parameters, transfer, transfer.offset, length_bytes))
    given = Signal(16)  # words of the transfer that have been seen before this one
    is_new = block.valid & ~bench.past(block.valid & ~block.ready)
    of_transfer = bench.past(block.i_transfer.valid & block.i_transfer.ready)  # the last one, if it is new
    following = Mux(of_transfer, 0, given + 1)
    with m.If(is_new):
        m.d.sync += given.eq(following)
    offset, end = bench.past(transfer.offset), bench.past(transfer.offset + length_bytes)
    wanted = Cat((size * given + byte >= offset) & (size * given + byte < end) for byte in range(size))
    bench.always(~is_new | (block.strobe == wanted), "the bytes that were asked for")
    is_last = given + 1 == bench.past(words)
    bench.always(~is_new | (of_transfer == is_last), "as many words as were asked for")
    in_block = (bench.past(transfer.position) + given)[:BURST_LOG2_WORDS]
    bench.always(~is_new | (block.last == (is_last | in_block.all())), "a burst ends with its block or its request")
    filled = bench.register("filled")
    bench.always(filled == Mux(is_new, following, given), "words are counted")
    bench.always(Mux(waits, filled < words, filled == 0), "no word too many")
    return bench
