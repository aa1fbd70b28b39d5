"""Both halves of an escalation follow from the two reports, and fit each other."""

from random import Random

import pytest

from natd.core.plans import (
    BLOCK_HELPERS,
    GIANT_STEP,
    GIANT_WIDTH,
    MOST_PROBES,
    RANDOM_HELPERS,
    SCOUTS,
    SMALL_STEP,
    STEPS,
    Technique,
    is_hopeless,
    make_plan,
    meeting_port,
    newest,
)
from natd.core.turns import Turns
from natd.core.types import Allocation, Mapping, NatReport

EASY = NatReport(Mapping.INDEPENDENT, allocation=Allocation.PRESERVING)
UNKNOWN = NatReport()
SEQUENTIAL = NatReport(Mapping.DEPENDENT, allocation=Allocation.SEQUENTIAL, stride=1)
EVEN = NatReport(Mapping.DEPENDENT, allocation=Allocation.SEQUENTIAL, stride=2)
BLOCK = NatReport(Mapping.DEPENDENT, allocation=Allocation.BLOCK, low=20_480, high=20_991)
RANDOM = NatReport(Mapping.DEPENDENT, allocation=Allocation.RANDOM)
ALL = (EASY, UNKNOWN, SEQUENTIAL, EVEN, BLOCK, RANDOM)
PORTS = (30_000, 29_998)


def _plan(ours, theirs, *, lower=True, ports=PORTS, **limits):
    turns = Turns()
    for name, value in limits.items():
        setattr(turns, name, value)
    return make_plan(
        ours, theirs, their_ports=ports, we_are_lower=lower, turns=turns, random=Random(1)
    )


def _ports(plan):
    return [shot.port for shot in plan.shots]


def test_two_easy_sides_need_no_plan():
    assert _plan(EASY, EASY) is None


def test_an_easy_side_sends_to_the_next_ports_of_a_sequence_in_order():
    plan = _plan(EASY, EVEN)
    assert plan.technique is Technique.PREDICTION
    assert _ports(plan)[:3] == [30_002, 30_004, 30_006]
    assert _plan(EVEN, EASY) is None


def test_an_easy_side_probes_all_of_a_block_once():
    plan = _plan(EASY, BLOCK)
    assert sorted(_ports(plan)) == list(range(20_480, 20_992))
    assert plan.helpers == 0


def test_an_easy_side_probes_random_ports_once_each_within_the_budget():
    ports = _ports(_plan(EASY, RANDOM))
    assert len(ports) == len(set(ports)) == MOST_PROBES


@pytest.mark.parametrize(
    ("ours", "theirs", "helpers"),
    [(RANDOM, EASY, RANDOM_HELPERS), (BLOCK, EASY, BLOCK_HELPERS), (BLOCK, UNKNOWN, SCOUTS)],
)
def test_the_hard_side_opens_from_helpers_with_packets_that_do_not_arrive(ours, theirs, helpers):
    plan = _plan(ours, theirs)
    assert plan.technique is Technique.BIRTHDAY
    assert [shot.helper for shot in plan.shots] == list(range(1, helpers + 1))
    assert all(shot.is_opener and shot.port is None for shot in plan.shots)


def test_the_user_limits_helper_sockets():
    assert _plan(RANDOM, EASY, helper_sockets=64).helpers == 64


@pytest.mark.parametrize("lower", [True, False])
def test_between_two_sequences_one_side_makes_small_steps_and_the_other_giant_ones(lower):
    small, giant = _plan(SEQUENTIAL, EVEN), _plan(EVEN, SEQUENTIAL, lower=False)
    assert small.helpers == 0
    assert _ports(small)[:3] == [30_002 + 2 * SMALL_STEP * n for n in range(3)]
    assert giant.helpers == GIANT_WIDTH
    assert _ports(giant)[: GIANT_WIDTH + 1] == [30_001] * GIANT_WIDTH + [30_001 + GIANT_STEP]
    assert len(small.shots) == len(giant.shots) == STEPS


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
        for shot in plan.shots:
            port += stride
            while random.random() < taken_share:
                port += stride
            pairs.add((port, shot.port))
        return pairs

    report = NatReport(Mapping.DEPENDENT, allocation=Allocation.SEQUENTIAL, stride=stride)
    small, giant = (_plan(report, report, lower=lower, ports=(30_000,)) for lower in (True, False))
    met = sum(
        not owned(small, lost[0]).isdisjoint((b, a) for a, b in owned(giant, lost[1]))
        for _ in range(100)
    )
    assert met >= 65


def test_between_two_blocks_all_openers_of_one_side_lead_to_one_port_of_the_other_block():
    theirs = NatReport(Mapping.DEPENDENT, allocation=Allocation.BLOCK, low=4096, high=4607)
    opens, sprays = _plan(BLOCK, theirs), _plan(theirs, BLOCK, lower=False)
    assert set(_ports(opens)) == {meeting_port(theirs)} == {4352}
    assert all(shot.is_opener for shot in opens.shots)
    assert opens.helpers == len(opens.shots) == 256
    assert set(_ports(sprays)) <= set(range(20_480, 20_992))
    assert len(set(_ports(sprays))) == 256
    assert sprays.helpers == 0
    assert not any(shot.is_opener for shot in sprays.shots)


def test_a_whole_block_is_filled_only_where_that_is_allowed():
    assert len(_plan(BLOCK, BLOCK, fills_whole_blocks=True).shots) == 512
    assert _plan(BLOCK, BLOCK, spares_blocks=True) is None


@pytest.mark.parametrize("lower", [True, False])
def test_a_block_opens_towards_a_sequence_that_sprays_it(lower):
    opens, sprays = _plan(BLOCK, SEQUENTIAL, lower=lower), _plan(SEQUENTIAL, BLOCK, lower=lower)
    assert len(set(_ports(opens))) == 1
    assert 30_000 < _ports(opens)[0] < 30_000 + len(sprays.shots)
    assert sorted(_ports(sprays)) == list(range(20_480, 20_992))


@pytest.mark.parametrize(
    ("ours", "theirs"), [(RANDOM, RANDOM), (RANDOM, BLOCK), (SEQUENTIAL, RANDOM)]
)
def test_random_ports_against_another_hard_side_are_hopeless_for_both(ours, theirs):
    for pair in ((ours, theirs), (theirs, ours)):
        assert is_hopeless(*pair)
        assert _plan(*pair) is None


@pytest.mark.parametrize("ours", ALL)
@pytest.mark.parametrize("theirs", ALL)
@pytest.mark.parametrize("lower", [True, False])
def test_no_plan_has_more_packets_than_the_budget_or_is_empty(ours, theirs, lower):
    plan = _plan(ours, theirs, lower=lower, fills_whole_blocks=True)
    assert plan is None or 0 < len(plan.shots) <= MOST_PROBES


def test_the_newest_port_of_a_sequence_is_found_past_a_wrap_around():
    assert newest((30_000, 29_998, 29_999)) == 30_000
    assert newest((65_535, 1024, 1025)) == 1025
