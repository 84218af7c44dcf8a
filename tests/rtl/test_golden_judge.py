"""The judge accepts every order that is allowed, and notices everything else."""

import random
from itertools import chain, pairwise

import pytest

from rtl.packets import RESPONSE, crc32
from rtl.portals import AckRequest, Refusal
from tests.golden.effects import Effects
from tests.golden.judge import Judge
from tests.golden.judging import TO_NODE_1, pair
from tests.golden.process import append, get, put


def transactions() -> tuple[Judge, list[Effects]]:
    """What node 1 does when it is asked and asks itself; each in a step of its own."""
    machine = pair(outstanding=8)
    judge, done = Judge(machine.parameters), []
    source, target = machine.nics

    def step(effects):
        done.append(effects)
        judge.expect(effects)
        return effects

    machine.do(1, 0, append(pt_index=2, entry=0, length_bytes=200))
    machine.do(1, 0, append(pt_index=2, entry=1, length_bytes=200, match_bits=1, use_once=1))
    words = [get(**TO_NODE_1, length_bytes=length, match_bits=bits) for length, bits in ((130, 0), (70, 1))]
    for asked in [source.command(0, text).packets[0] for text in words]:
        step(target.arrive(asked.flits, response=False))
    for index in (0, 1, 1, 0, 0):
        step(target.reply(index))
    for user_data in (1, 2):
        step(target.command(0, put(dst_nid=0, dst_pid=10, user_data=user_data, ack_request=AckRequest.FULL)))
        asked = source.command(0, put(**TO_NODE_1, length_bytes=100 * user_data))
        for packet in asked.packets:
            step(target.packet(packet.flits, response=False))
    step(target.packet([0], response=False))
    return judge, done


def resequenced(flits, sequence):
    """The packet with another sequence number and the CRC that belongs to it."""
    field = RESPONSE.fields["sequence"]
    words = list(flits[:-1])
    words[2] = words[2] & ~(field.mask << field.lsb) | sequence << field.lsb
    return [*words, crc32(words)]


def observe(judge, packets, events, refusals):
    """Lets the judge see what the hardware does, numbered in the order in which it does it."""
    lanes: dict[tuple[int, int], int] = {}
    for packet in packets:
        key = (packet.dst_nid, packet.lane)
        judge.saw_packet(resequenced(packet.flits, lanes.setdefault(key, 0)))
        lanes[key] += 1
    for number, event in enumerate(events, 1):
        judge.saw_event(0, [*event.words[:7], event.words[7] & ~0xFFFF_FFFF | number])
    judge.saw_refusals(refusals)


def shuffled(streams, seed):
    """One of the interleavings of several streams."""
    chooser, streams = random.Random(seed), [list(stream) for stream in streams]
    while streams := [stream for stream in streams if stream]:
        yield chooser.choice(streams).pop(0)


def all_of(done):
    """Packets by what keeps their order, events by source and reply, refusals."""
    packets, events = {}, {}
    for number, effects in enumerate(done):
        for packet in effects.packets:
            header = packet.fields(64)
            key = (packet.dst_nid, packet.lane, header["handle"] if packet.response else None)
            packets.setdefault(key, []).append(packet)
        for event in effects.events:
            key = (event.source, number if event.source.value == "replies" else None)
            events.setdefault(key, []).append(event)
    return packets, events, [reason for effects in done for reason in effects.reasons]


@pytest.mark.parametrize("seed", range(10))
def test_every_allowed_order_is_accepted(seed):
    judge, done = transactions()
    packets, events, refusals = all_of(done)
    assert (len(packets), len(events)) == (3, 4)
    observe(judge, shuffled(packets.values(), seed), shuffled(events.values(), seed), refusals)
    assert judge.differences() == []


def swap_neighbours(items, alike):
    """Exchanges two neighbours that `alike` says are of one stream, but are not equal."""
    for index, (one, other) in enumerate(pairwise(items)):
        if alike(one, other):
            return [*items[:index], other, one, *items[index + 2 :]]
    raise AssertionError("there are no such neighbours")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda p, e, r: (p[:-1], e, r), "packets are missing"),
        (lambda p, e, r: (p, e[:-1], r), "events are missing"),
        (lambda p, e, r: ([*p, p[0]], e, r), "instead of None"),
        (lambda p, e, r: (p, [*e, e[0]], r), "nothing explains"),
        (lambda p, e, r: (p, e, []), "refusals PACKET_MALFORMED: 0 instead of 1"),
        (lambda p, e, r: (p, e, [*r, Refusal.PACKET_JOB]), "refusals PACKET_JOB: 1 instead of 0"),
        (
            lambda p, e, r: (swap_neighbours(p, lambda a, b: a.fields(64)["handle"] == b.fields(64)["handle"]), e, r),
            "instead of {",
        ),
        (lambda p, e, r: (p, swap_neighbours(e, lambda a, b: a.source is b.source), r), "nothing explains"),
    ],
)
def test_everything_else_is_noticed(change, text):
    judge, done = transactions()
    packets, events, refusals = all_of(done)
    everything = (list(chain.from_iterable(packets.values())), list(chain.from_iterable(events.values())), refusals)
    observe(judge, *change(*everything))
    found = judge.differences()
    assert any(text in difference for difference in found), found


def test_sequence_numbers_and_damage_are_noticed():
    judge, done = transactions()
    packets, events, refusals = all_of(done)
    sent = list(chain.from_iterable(packets.values()))
    observe(judge, sent[1:], list(chain.from_iterable(events.values())), refusals)
    judge.saw_packet(sent[0].flits)
    assert any("sequence number" in difference for difference in judge.differences())
    judge, done = transactions()
    packet = next(packet for effects in done for packet in effects.packets)
    judge.saw_packet([*packet.flits[:-1], packet.flits[-1] ^ 1])
    assert any("packet 0" in difference for difference in judge.differences())


@pytest.mark.parametrize(("second", "fine"), [(1, True), (9, True), (0, False), (2**56 - 1, False), (2**55 + 1, False)])
def test_after_a_reset_numbers_may_be_left_out_but_never_come_again(second, fine):
    machine = pair()
    judge = Judge(machine.parameters)
    commands = [put(dst_nid=1, dst_pid=10, user_data=number) for number in range(2)]
    for sequence, command in zip((0, second), commands, strict=True):
        effects = machine.nics[0].command(0, command)
        judge.expect(effects)
        judge.saw_packet(resequenced(effects.packets[0].flits, sequence))
        judge.was_reset()
    assert any("sequence number" in difference for difference in judge.differences()) != fine


def test_packets_made_before_their_message_was_poisoned_are_ignored():
    machine = pair()
    judge = Judge(machine.parameters)
    nic = machine.nics[0]
    whole = nic.command(0, put(dst_nid=1, dst_pid=10, length_bytes=200)).packets
    nic.memory.faulty = [range(64, 65)]
    for effects in (nic.command(0, put(dst_nid=1, dst_pid=10, length_bytes=200)), nic.command(0, put(dst_nid=1))):
        judge.expect(effects)
        last = effects
    poisoned = [*whole[1].flits[:-1], whole[1].flits[-1]]
    seen = [whole[0].flits, poisoned, whole[2].flits, last.packets[0].flits]
    for sequence, flits in enumerate(seen):
        text = resequenced(flits, sequence)
        if sequence == 1:
            text[-1] ^= 0xFFFF_FFFF
        judge.saw_packet(text)
    assert [d for d in judge.differences() if "packet" in d] == []
