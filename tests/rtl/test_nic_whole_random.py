"""Random traffic between whole NICs is just what the golden model says, and it reaches what it ought to reach."""

from collections.abc import Iterator

import pytest

from rtl.packets import DATAPATH_BITS
from rtl.portals import EVENT, AckRequest, EventKind
from tests.golden.process import put
from tests.rtl.whole.board import Place, parameters_of
from tests.rtl.whole.campaign import Campaign
from tests.rtl.whole.compare import DifferenceError
from tests.rtl.whole.coverage import GROUPS, HOLES, Coverage
from tests.rtl.whole.scene import Scene, scene, to

SEEDS = (1, 2)
PHASES = 50
# Of each group at least this part; what is rare, or a matter of timing, is reached by longer runs.
LEAST = {
    "operations": 0.9,
    "atomics": 0.9,
    "acknowledgements": 0.9,
    "commands": 0.9,
    "events": 0.7,
    "taken": 0.7,
    "packets refused": 0.8,
    "waits": 0.25,
    "interleavings": 0.6,
    "alignments": 0.7,
    "flags": 0.9,
    "ways": 0.5,
    "back pressure": 0.8,
    "interrupts": 1.0,
    "silences": 0.8,
    "stalls": 1.0,
}
ALWAYS = {
    "interleavings": [
        "messages of two contexts leave packet by packet",
        "messages of two nodes arrive packet by packet",
        "messages of one lane to two nodes follow each other",
        "a response leaves beside a request",
        "a message to the own node",
    ],
    "events": [f"{kind.name} OK OVERFLOW" for kind in (EventKind.PUT, EventKind.PUT_OVERFLOW, EventKind.SEARCH)],
}


@pytest.mark.parametrize("bits", DATAPATH_BITS)
def test_random_traffic_is_what_the_model_says(bits: int) -> None:
    coverage = Coverage()
    for seed in SEEDS:
        campaign = Campaign(parameters_of(bits), seed, coverage)
        try:
            for _ in range(PHASES):
                campaign.phase()
        finally:
            campaign.close()
    for group, bins in GROUPS.items():
        assert coverage.unforeseen(group) == []
        hits = {" ".join(labels) for labels in coverage.hits[group]}
        assert len(hits) >= LEAST[group] * len(bins), (group, coverage.missing(group))
        assert set(ALWAYS.get(group, [])) <= hits, group


def test_holes_are_holes() -> None:
    assert LEAST.keys() == GROUPS.keys()
    for group, holes in HOLES.items():
        assert set(holes) <= GROUPS[group]


@pytest.fixture
def at() -> Iterator[Scene]:
    with scene(64) as made:
        made.open((1, 0), ct_comm=1, counter=0)
        made.post((0, 0), put(**to((1, 0)), length_bytes=200, ack_request=AckRequest.FULL))
        made.simulator.settle()
        yield made


def test_what_is_right_is_no_difference(at: Scene) -> None:
    at.compare()


def test_a_byte_is_noticed(at: Scene) -> None:
    at.simulator.memory[1][Place(0).window(1) + 77] ^= 1
    with pytest.raises(DifferenceError, match="1 bytes differ"):
        at.compare()


def test_a_counter_is_noticed(at: Scene) -> None:
    at.simulator.memory[1][Place(0).counters] += 1
    with pytest.raises(DifferenceError, match="1 bytes differ"):
        at.compare()


@pytest.mark.parametrize("field", ["manipulated_bytes", "src_pid", "fail", "user_data"])
def test_a_field_of_an_event_is_noticed(at: Scene, field: str) -> None:
    place = EVENT.fields[field]
    at.simulator.memory[1][Place(0).queue + 8 * place.word + place.lsb // 8] ^= 1
    with pytest.raises(DifferenceError, match="nothing explains"):
        at.compare()


def test_a_lost_event_is_noticed(at: Scene) -> None:
    at.simulator.memory[0][Place(0).queue + 64 + 56] ^= 1
    with pytest.raises(DifferenceError, match="missing"):
        at.compare()


def test_a_command_that_was_not_carried_out_is_noticed(at: Scene) -> None:
    at.write_ring((2, 0), put(**to((1, 0))))
    with pytest.raises(DifferenceError, match="COMMAND_HEAD is 0 instead of 1"):
        at.compare()


def test_a_packet_is_noticed(at: Scene) -> None:
    """Node 2 says something that it was not told to."""
    at.board.post((2, 0), put(**to((1, 0))))
    at.simulator.settle()
    with pytest.raises(DifferenceError, match="instead of None"):
        at.compare()
