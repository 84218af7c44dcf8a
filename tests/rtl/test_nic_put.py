"""The whole NIC: puts out and in, judged by the packet layout and by hand-worked bytes."""

import pytest
from nic_bench import DATA, OKAY, QUEUE, Bench

from rtl.descriptors import EventKind
from rtl.packet import Operation, pack, unpack


def test_put_without_payload() -> None:
    bench = Bench()

    async def test() -> None:
        await bench.boot()
        bench.post(dst_nid=2, dst_pid=0x55, match_bits=0x1122334455667788, header_data=99, notify=1, user_data=7)
        assert await bench.ring() == OKAY
        await bench.settle()
        header, payload = unpack(bench.fabric.sent[0])
        assert payload == b""
        assert (header["src_nid"], header["src_pid"], header["jid"]) == (1, 0x100, 0x7000)
        assert (header["dst_nid"], header["dst_pid"], header["match_bits"]) == (2, 0x55, 0x1122334455667788)
        event = bench.event(0)
        assert (event["kind"], event["user_data"]) == (EventKind.SENT, 7)

    bench.run(test)
