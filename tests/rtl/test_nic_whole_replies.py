"""Small messages to a whole NIC that is sending large replies: each goes in between, as soon as it is its turn."""

from collections.abc import Sequence

import pytest

from rtl.nic.wire.send import PACKETS_AHEAD
from rtl.packets import DATAPATH_BITS, RESPONSE, PacketKind
from rtl.portals import AckRequest
from tests.golden.process import get, put
from tests.rtl.whole.board import Who
from tests.rtl.whole.compare import header_words
from tests.rtl.whole.scene import scene, source, to
from tests.rtl.whole.simulator import Seen

B = (1, 0)  # who is asked
LARGE = 0x2000
LARGE_GETS = [who for who in ((0, 0), (0, 1), (0, 2), (2, 0), (2, 1)) for _ in range(4)]
SMALL = (2, 2)
# Packets that were made before: those that the sender has, and one that is offered to it.
MADE_BEFORE = PACKETS_AHEAD + 2


class Sent:
    """The responses that left node 1, in their order, and where each message's stand among them."""

    def __init__(self, seen: Sequence[Seen], bits: int) -> None:
        self._packets = [one for one in seen if one.node == B[0] and one.response and not one.received]
        self._headers = [RESPONSE.unpack(header_words(one.flits, bits)) for one in self._packets]

    def packets_to(self, who: Who, kind: PacketKind) -> list[int]:
        wanted = {"kind": kind, "dst_nid": who[0], "dst_pid": source(who)["src_pid"]}
        return [at for at, header in enumerate(self._headers) if wanted.items() <= header.items()]

    def replies_under_way(self, at: int) -> int:
        """How many have begun and not ended when packet `at` leaves."""
        before = [header for header in self._headers[:at] if header["kind"] == PacketKind.REPLY]
        return sum(header["segment_offset"] == 0 for header in before) - sum(header["last"] for header in before)

    def left_between(self, cycle: int, at: int) -> int:
        """Packets that left after `cycle`, before packet `at`."""
        return sum(packet.last_cycle > cycle for packet in self._packets[:at])


@pytest.mark.parametrize("bits", DATAPATH_BITS)
def test_a_small_put_and_a_small_get_wait_for_at_most_one_packet_of_each_large_reply(bits: int) -> None:
    with scene(bits) as at:
        at.open(B)
        for who in sorted(set(LARGE_GETS)):
            at.post(who, *[get(**to(B), length_bytes=LARGE, local_window=2)] * LARGE_GETS.count(who))
        at.simulator.run(6000)
        at.post(
            SMALL,
            put(**to(B), length_bytes=8, remote_offset=LARGE, ack_request=AckRequest.FULL),
            get(**to(B), length_bytes=8, local_window=2, remote_offset=LARGE + 8),
        )
        at.simulator.settle()
        for who in at.board.everybody:
            at.saw_events(who)
        seen = at.compare().seen
    asked = [one for one in seen if one.node == B[0] and one.received and not one.response]
    assert len(asked) == 1 + len(LARGE_GETS) + 1
    put_came, get_came = asked[-2].last_cycle, asked[-1].last_cycle
    sent = Sent(seen, bits)
    [acknowledged] = sent.packets_to(SMALL, PacketKind.ACK)
    [replied] = sent.packets_to(SMALL, PacketKind.REPLY)
    for place in (acknowledged, replied):
        assert sent.replies_under_way(place) >= len(LARGE_GETS) > 16
    assert sent.left_between(put_came, acknowledged) <= MADE_BEFORE + 1
    assert sent.left_between(get_came, replied) <= MADE_BEFORE + len(LARGE_GETS) + 1
