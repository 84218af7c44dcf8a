"""Packets, as initiator and target give them to the wire and get them from it."""

from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.nic.interfaces.widths import ADDRESS_WIDTH, CONTEXT_WIDTH, EPOCH_WIDTH, INLINE_WORDS, TAG_WIDTH
from rtl.packets import HEADER_WORDS


class JobPort(wiring.Signature):
    """One packet to send. `words` are the header without its trusted words, which are ignored.

    `lean` says that little is left to be sent of what was taken: whoever has a choice makes it then, since what is
    chosen earlier would only hold up what comes after it.

    `context` is who speaks; the stamp samples the identity when the job is taken, or with `resume` uses the one that it
    sampled for this context's last request without `resume` (a message has one identity). Payload: `payload_bytes` from
    `address`, already checked; or with `inline` from `data`. In order of the jobs, `done` pulses when a packet has left
    for good, with its `tag`; with `failed`, memory answered with an error and the packet left poisoned: with an
    inverted CRC, which tells the receiver that the header is true and the payload is not.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "valid": Out(1),
                "ready": In(1),
                "lean": In(1),
                "resume": Out(1),
                "context": Out(CONTEXT_WIDTH),
                "words": Out(64).array(HEADER_WORDS),
                "payload_bytes": Out(16),
                "address": Out(ADDRESS_WIDTH),
                "inline": Out(1),
                "data": Out(64).array(INLINE_WORDS),
                "tag": Out(TAG_WIDTH),
                "done": In(1),
                "done_tag": In(TAG_WIDTH),
                "failed": In(1),
            }
        )


class PacketPort(wiring.Signature):
    """A packet that has arrived whole and undamaged, seen from the receiver: its header, then its payload as flits.

    Header words hold until `ready`. The payload's flits, as many as `payload_bytes` needs, come on `data` in the order
    of the packets, the first no earlier than its header; the taker takes all of them, wanted or not, without waiting
    for anything but memory. `poisoned`: the sender could not read the payload; it counts as an aborted packet without
    payload, but its flits come. `context`: whose packet it is, and `epoch`: the life in which it was admitted, which is
    the only one that it may do anything in; of an admitted packet only, before that 0.
    """

    def __init__(self, datapath_bits: int) -> None:
        super().__init__(
            {
                "valid": Out(1),
                "ready": In(1),
                "poisoned": Out(1),
                "context": Out(CONTEXT_WIDTH),
                "epoch": Out(EPOCH_WIDTH),
                "words": Out(64).array(HEADER_WORDS),
                "data_valid": Out(1),
                "data_ready": In(1),
                "data": Out(datapath_bits),
            }
        )
