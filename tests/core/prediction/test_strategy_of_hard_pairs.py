"""Between two hard sides: sequences, blocks and random ports, and what each half does."""

from collections import Counter
from random import Random

import pytest

from natd.core.base.types import Allocation, Mapping, NatReport
from natd.core.checks.turns import REMEMBERED_S, Turns
from natd.core.prediction.blocks import meeting_ports
from natd.core.prediction.sequences import (
    GIANT_STEP,
    GIANT_WIDTH,
    SMALL_STEP,
    STEPS,
)
from natd.core.prediction.strategy import Situation
from tests.core.prediction.plans import (
    ANCHORS,
    BLOCK,
    EVEN,
    RANDOM,
    SEQUENTIAL,
    START,
    plan_of,
    ports_of,
)


@pytest.mark.parametrize("lower", [True, False])
def test_two_sequences_begin_where_each_has_come_to_by_now(lower):
    first = ports_of(plan_of(SEQUENTIAL, SEQUENTIAL, lower=lower, drift=100.0))[0]
    assert 30_001 < first <= 30_101


@pytest.mark.parametrize("lower", [True, False])
def test_between_two_sequences_one_side_makes_small_steps_and_the_other_giant_ones(lower):
    small, giant = plan_of(SEQUENTIAL, EVEN), plan_of(EVEN, SEQUENTIAL, lower=False)
    assert small.helpers == 0
    assert ports_of(small)[:3] == [30_002 + 2 * SMALL_STEP * n for n in range(3)]
    assert giant.helpers == GIANT_WIDTH
    assert ports_of(giant)[: GIANT_WIDTH + 1] == [30_001] * GIANT_WIDTH + [30_001 + GIANT_STEP]
    assert len(small.packets) == len(giant.packets) == STEPS


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("taken_share", [0.1, 0.2, 0.3])
@pytest.mark.parametrize("lost", [(0, 0), (6, 2), (2, 6), (6, 6)])
def test_two_sequences_meet_in_seven_of_ten_although_ports_are_taken_by_others(
    lost, taken_share, stride
):
    random = Random(7)

    def owned(plan, skipped):
        """(our port, their port) of each packet of a sequence that begins at 30,000."""
        port, pairs = 30_000 + skipped * stride, set()
        for packet in plan.packets:
            port += stride
            while random.random() < taken_share:
                port += stride
            pairs.add((port, packet.port))
        return pairs

    report = NatReport(Mapping.DEPENDENT, allocation=Allocation.SEQUENTIAL, stride=stride)
    small, giant = (
        plan_of(report, report, lower=lower, ports=(30_000,)) for lower in (True, False)
    )
    met = sum(
        not owned(small, lost[0]).isdisjoint((b, a) for a, b in owned(giant, lost[1]))
        for _ in range(100)
    )
    assert met >= 65


def test_between_two_blocks_all_openers_of_one_side_lead_to_one_port_of_the_other_block():
    theirs = NatReport(Mapping.DEPENDENT, allocation=Allocation.BLOCK, low=4096, high=4607)
    opens, sprays = plan_of(BLOCK, theirs), plan_of(theirs, BLOCK, lower=False)
    assert set(ports_of(opens)) == {4352}
    assert all(packet.is_opener for packet in opens.packets)
    assert opens.helpers == len(opens.packets) == 256
    assert set(ports_of(sprays)) <= set(range(20_480, 20_992))
    assert len(set(ports_of(sprays))) == 256
    assert sprays.helpers == 0
    assert not any(packet.is_opener for packet in sprays.packets)
    assert sprays.begins_after_s == pytest.approx(256 / 450 + 0.3), "when all of them have left"
    assert opens.rounds == sprays.rounds == 1, "a host that never answered gets eight waves of it"
    assert sprays.waves_s == opens.waves_s


def test_the_clearly_smaller_block_opens_and_the_larger_sprays():
    small = NatReport(Mapping.DEPENDENT, allocation=Allocation.BLOCK, low=4096, high=4351)
    for lower in (True, False):
        assert all(packet.is_opener for packet in plan_of(small, BLOCK, lower=lower).packets)
        assert not any(packet.is_opener for packet in plan_of(BLOCK, small, lower=lower).packets)


def test_a_spray_of_a_whole_block_repeats_what_was_too_early_and_then_draws_from_fresh_sockets():
    packets = plan_of(BLOCK, BLOCK, lower=False, fills_whole_blocks=True).packets
    assert packets[512:768] == packets[:256]
    fresh = packets[768:]
    assert len(packets) == 1_920
    assert {packet.helper for packet in fresh}.isdisjoint({p.helper for p in packets[:768]})
    assert len({(packet.helper, packet.port) for packet in fresh}) == len(fresh)


def test_a_port_that_the_peer_is_seen_at_is_neither_met_at_nor_sprayed():
    known = (20_736, 20_737, 20_500)
    assert set(ports_of(plan_of(BLOCK, BLOCK, ports=known))) == {20_738}
    sprayed = ports_of(plan_of(BLOCK, BLOCK, lower=False, ports=known, fills_whole_blocks=True))
    assert set(sprayed[:509]) == set(range(20_480, 20_992)) - set(known)


def test_a_block_larger_than_the_peers_sprays_it_again_from_another_socket():
    small = NatReport(Mapping.DEPENDENT, allocation=Allocation.BLOCK, low=4096, high=4159)
    plan = plan_of(BLOCK, small, lower=False)
    assert (
        len(plan.packets) == len({(packet.helper, packet.port) for packet in plan.packets}) == 256
    )
    assert plan.helpers == 3


def test_a_whole_block_is_filled_only_where_that_is_allowed():
    assert len(plan_of(BLOCK, BLOCK).packets) == 256
    assert len(plan_of(BLOCK, BLOCK, fills_whole_blocks=True).packets) == 512
    assert plan_of(BLOCK, BLOCK, spares_blocks=True) is None
    assert plan_of(BLOCK, SEQUENTIAL, anchors=ANCHORS, spares_blocks=True) is None


def test_what_another_attempt_has_taken_of_our_block_is_not_taken_twice():
    assert len(plan_of(BLOCK, BLOCK, taken=200).packets) == 56
    assert plan_of(BLOCK, BLOCK, taken=256) is None
    turns = Turns()
    turns.take_ports("another attempt", 256, START)
    assert turns.ports_taken(START + REMEMBERED_S - 1.0) == 256
    assert turns.ports_taken(START + REMEMBERED_S) == 0


@pytest.mark.parametrize("lower", [True, False])
def test_fewer_sockets_than_ports_lead_to_more_meeting_ports(lower):
    plan = plan_of(BLOCK, BLOCK, helper_sockets=64)
    assert plan.helpers == 64
    assert Counter(ports_of(plan)) == dict.fromkeys(meeting_ports(BLOCK, (), 4), 64)
    plan = plan_of(BLOCK, SEQUENTIAL, anchors=ANCHORS, helper_sockets=64)
    assert plan.helpers == 64
    assert plan_of(BLOCK, BLOCK, helper_sockets=0).helpers == 0


@pytest.mark.parametrize("lower", [True, False])
def test_a_block_sends_all_that_it_may_to_the_anchors_of_a_sequence(lower):
    plan = plan_of(BLOCK, SEQUENTIAL, lower=lower, anchors=ANCHORS)
    assert len(plan.packets) == len(set(plan.packets)) == 256
    assert Counter(ports_of(plan)) == dict.fromkeys(ANCHORS, 128)
    assert not any(packet.is_opener for packet in plan.packets)


@pytest.mark.parametrize("lower", [True, False])
def test_without_anchors_no_port_of_a_block_is_spent_on_a_sequence(lower):
    assert plan_of(BLOCK, SEQUENTIAL, lower=lower) is None
    assert Situation(SEQUENTIAL, BLOCK).wants_anchors
    assert not Situation(BLOCK, SEQUENTIAL).wants_anchors


@pytest.mark.parametrize(
    ("ours", "theirs"), [(RANDOM, RANDOM), (RANDOM, BLOCK), (SEQUENTIAL, RANDOM)]
)
def test_random_ports_against_another_hard_side_are_hopeless_for_both(ours, theirs):
    for pair in ((ours, theirs), (theirs, ours)):
        assert Situation(*pair).is_hopeless
        assert plan_of(*pair) is None


def test_behind_a_nat_that_maps_by_address_each_port_takes_a_socket():
    by_address = NatReport(
        Mapping.ADDRESS_DEPENDENT, allocation=Allocation.BLOCK, low=20_480, high=20_991
    )
    plan = plan_of(by_address, BLOCK, lower=False)
    assert [packet.helper for packet in plan.packets] == list(range(1, 257))
