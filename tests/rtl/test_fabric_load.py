# amaranth: UnusedElaboratable=no
"""Fabrics under a random load that saturates them: every packet arrives, and would not without what breaks circles.

Some thousand packets of 1 to 40 flits, of both classes. Sinks wait at random, then are all shut until the fabric stands
still, later those of requests alone until no response is under way. The nodes judge, and know no routes.
"""

from dataclasses import replace

import pytest

from tests.rtl.load.model import FABRICS, Load, bound, rate, run

RING, TORUS = FABRICS["ring of 8"], FABRICS["torus 4x4"]
ALONE = Load(packets=150, stall=128, pauses=True)
ANSWERED = replace(ALONE, answers=True)


@pytest.mark.parametrize("name", FABRICS)
def test_every_packet_arrives_once_whole_in_order_where_it_should(name: str) -> None:
    fabric = FABRICS[name]
    result = run(fabric, ALONE)
    assert (result["outcome"], result["packets"]) == ("arrived", 2 * ALONE.packets * fabric.nodes)
    assert result["stood_still"]
    # Half of the packets were still to come, half of them responses: requests that nobody takes hold none of them up.
    assert result["responses_alone"] > ALONE.packets * fabric.nodes / 3


@pytest.mark.parametrize("name", FABRICS)
def test_requests_that_wait_until_responses_have_left_are_all_answered(name: str) -> None:
    result = run(FABRICS[name], ANSWERED)
    assert (result["outcome"], result["packets"]) == ("arrived", 2 * ANSWERED.packets * FABRICS[name].nodes)
    assert result["stood_still"]


@pytest.mark.parametrize("load", [ALONE, ANSWERED])
def test_without_a_second_group_of_channels_a_ring_locks_up(load: Load) -> None:
    result = run(RING, replace(load, one_group=True))
    assert result["outcome"] == "locked"
    assert result["quiescent"]  # no clock edge will ever change anything
    assert result["packets"] < 2 * load.packets * RING.nodes / 4


def test_a_torus_of_four_needs_the_second_group_if_all_nodes_go_round_the_same_way() -> None:
    """Half way round a dimension of four is two links, and nodes take turns at who goes up: already that leaves no
    circle. With all of them going up, only the second group does."""
    outcomes = {
        (upwards, one_group): run(TORUS, replace(ALONE, upwards=upwards, one_group=one_group))["outcome"]
        for upwards in (False, True)
        for one_group in (False, True)
    }
    assert outcomes == {
        (False, False): "arrived",
        (False, True): "arrived",
        (True, False): "arrived",
        (True, True): "locked",
    }


def test_gates_of_the_clocks_change_nothing() -> None:
    assert run(RING, ANSWERED) == run(RING, replace(ANSWERED, gated=False))


@pytest.mark.parametrize("name", FABRICS)
def test_it_carries_much_of_what_its_middle_could(name: str) -> None:
    fabric = FABRICS[name]
    assert 0.45 < rate(fabric, Load(packets=150)) / bound(fabric) < 1
