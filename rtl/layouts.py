"""The hardware's view of the records that `rtl.packet` and `rtl.descriptors` declare, and the packet stream."""

from amaranth import unsigned
from amaranth.lib import data, stream

from rtl.records import Record


def layout(record: Record) -> data.FlexibleLayout:
    """All words of `record` side by side, word 0 lowest; reserved bits are reachable only as raw bits."""
    fields = {field.name: data.Field(unsigned(field.width), field.word * 64 + field.lsb) for field in record}
    return data.FlexibleLayout(record.length_words * 64, fields)


# One word of a packet. `last` marks the CRC word. `valid` and `payload` hold until `ready`.
PACKET_WORD = data.StructLayout({"word": 64, "last": 1})
PacketStream = stream.Signature(PACKET_WORD)
