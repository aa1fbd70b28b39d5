"""Both halves of an escalation follow from the two reports, and fit each other."""

from collections import Counter
from dataclasses import replace
from random import Random

import pytest

from natd.core.base.types import SURE, Allocation, Filtering, Mapping, NatReport
from natd.core.checks.limits import MOST_WAVE_PACKETS
from natd.core.checks.turns import REMEMBERED_S, Turns
from natd.core.prediction.birthday import RANDOM_HELPERS
from natd.core.prediction.blocks import EASY_HELPERS, SCOUTS, meeting_ports
from natd.core.prediction.paced_sender import TICK_S
from natd.core.prediction.plan import Technique
from natd.core.prediction.sequences import (
    GIANT_STEP,
    GIANT_WIDTH,
    MOST_DRIFT,
    MOST_PREDICTED,
    PREDICTED_PORTS,
    SMALL_STEP,
    STEPS,
    newest,
)
from natd.core.prediction.strategy import Situation, make_plan, relevant_part

START = 1000.0
EASY = NatReport(Mapping.INDEPENDENT, allocation=Allocation.PRESERVING, confidence=0.95)
SEEMS_EASY = NatReport(Mapping.INDEPENDENT, confidence=0.8)
BY_ADDRESS = NatReport(Mapping.ADDRESS_DEPENDENT)
UNKNOWN = NatReport()
SEQUENTIAL = NatReport(Mapping.DEPENDENT, allocation=Allocation.SEQUENTIAL, stride=1)
EVEN = NatReport(Mapping.DEPENDENT, allocation=Allocation.SEQUENTIAL, stride=2)
BLOCK = NatReport(Mapping.DEPENDENT, allocation=Allocation.BLOCK, low=20_480, high=20_991)
RANDOM = NatReport(Mapping.DEPENDENT, allocation=Allocation.RANDOM)
ALL = (EASY, SEEMS_EASY, BY_ADDRESS, UNKNOWN, SEQUENTIAL, EVEN, BLOCK, RANDOM)
PORTS = (30_000, 29_998)


ANCHORS = (30_010, 30_012)


def _plan(
    ours, theirs, *, failed=False, lower=True, ports=PORTS, anchors=(), drift=0.0, taken=0, **limits
):
    turns = Turns()
    for name, value in limits.items():
        setattr(turns, name, value)
    turns.take_ports("another attempt", taken, START)
    return make_plan(
        Situation(ours, theirs, failed),
        their_ports=ports,
        known_ports=ports,
        anchors=anchors,
        drift=drift,
        we_are_lower=lower,
        turns=turns,
        random=Random(1),
        now=START,
    )


def _ports(plan):
    return [packet.port for packet in plan.packets]


def test_two_easy_sides_need_no_plan():
    assert _plan(EASY, EASY) is None


def test_an_easy_side_sends_to_the_next_ports_of_a_sequence_in_order():
    plan = _plan(EASY, EVEN)
    assert plan.technique is Technique.PREDICTION
    assert _ports(plan)[:3] == [30_002, 30_004, 30_006]
    assert _plan(EVEN, EASY) is None


def test_what_others_take_of_a_sequence_moves_the_guess_and_widens_it():
    for stride, theirs in ((1, SEQUENTIAL), (2, EVEN)):
        ports = _ports(_plan(EASY, theirs, drift=100.0))
        assert ports[0] == 30_000 + 101 * stride
        nearest = {30_000 + (101 + step) * stride for step in range(-10, 11)}
        assert set(ports[:21]) == nearest
        assert len(ports) > len(_ports(_plan(EASY, theirs, drift=25.0))) > PREDICTED_PORTS
        steps = [(port - 30_000) // stride for port in ports]
        assert min(steps) < 100 - 2 * 10
        assert max(steps) > 100 + 2 * 10


def test_a_card_that_lies_of_its_load_makes_no_endless_guess():
    for drift in (1e9, -5.0):
        ports = _ports(_plan(EASY, SEQUENTIAL, drift=drift))
        assert PREDICTED_PORTS <= len(ports) <= MOST_PREDICTED
        assert max(ports) - 30_000 <= 2 * MOST_DRIFT


@pytest.mark.parametrize("lower", [True, False])
def test_two_sequences_begin_where_each_has_come_to_by_now(lower):
    first = _ports(_plan(SEQUENTIAL, SEQUENTIAL, lower=lower, drift=100.0))[0]
    assert 30_001 < first <= 30_101


def test_a_nat_that_keeps_parity_is_guessed_at_every_second_port():
    even = replace(SEQUENTIAL, keeps_parity=True)
    assert _ports(_plan(EASY, even))[:3] == [30_002, 30_004, 30_006]
    assert _ports(_plan(EASY, replace(EVEN, keeps_parity=True)))[:2] == [30_002, 30_004]
    small, giant = (_ports(_plan(EVEN, even, lower=lower)) for lower in (True, False))
    assert {port % 2 for port in small + giant} == {0}
    assert _ports(_plan(*_nats_of(relevant_part(Situation(EASY, even)))))[:2] == [30_002, 30_004]


def _nats_of(situation):
    return situation.ours, situation.theirs


def test_an_easy_side_probes_all_of_a_block_once():
    plan = _plan(EASY, BLOCK)
    assert sorted(_ports(plan)) == list(range(20_480, 20_992))
    assert plan.helpers == 0


def test_an_easy_side_probes_random_ports_once_each_within_the_budget():
    ports = _ports(_plan(EASY, RANDOM))
    assert len(ports) == len(set(ports)) == MOST_WAVE_PACKETS


@pytest.mark.parametrize(
    ("ours", "theirs", "helpers"),
    [(RANDOM, EASY, RANDOM_HELPERS), (BLOCK, EASY, EASY_HELPERS), (BLOCK, UNKNOWN, SCOUTS)],
)
def test_the_hard_side_opens_from_helpers_with_packets_that_do_not_arrive(ours, theirs, helpers):
    plan = _plan(ours, theirs)
    assert plan.technique is Technique.BIRTHDAY
    assert [packet.helper for packet in plan.packets] == list(range(1, helpers + 1))
    assert all(packet.is_opener and packet.port is None for packet in plan.packets)


def test_the_hard_side_opens_at_once_unless_its_block_may_be_needed_for_something_better():
    assert _plan(RANDOM, EASY).opens_at_once
    assert _plan(RANDOM, UNKNOWN).opens_at_once
    assert not _plan(BLOCK, EASY).opens_at_once
    assert not _plan(BLOCK, UNKNOWN).opens_at_once
    assert _plan(SEEMS_EASY, SEEMS_EASY, failed=True).opens_at_once
    assert not _plan(BLOCK, BLOCK).opens_at_once


def test_scouts_wait_for_the_report_that_mostly_follows_at_once():
    """While they did not, nine ports of the block were missing when it was to be filled."""
    assert _plan(BLOCK, UNKNOWN).begins_after_s >= TICK_S
    assert _plan(BLOCK, EASY).begins_after_s == _plan(RANDOM, UNKNOWN).begins_after_s == 0.0


def test_the_user_limits_helper_sockets():
    assert _plan(RANDOM, EASY, helper_sockets=64).helpers == 64


@pytest.mark.parametrize("hard", [BY_ADDRESS, SEQUENTIAL, BLOCK, RANDOM])
@pytest.mark.parametrize(
    ("filtering", "guesses"),
    [
        (Filtering.UNKNOWN, True),
        (Filtering.DEPENDENT, True),
        (Filtering.ADDRESS_DEPENDENT, False),
        (Filtering.INDEPENDENT, False),
    ],
)
def test_nothing_is_guessed_where_the_easy_side_lets_any_port_in_until_checks_have_failed(
    hard, filtering, guesses
):
    easy = replace(EASY, filtering=filtering)
    for ours, theirs in ((easy, hard), (hard, easy)):
        assert Situation(ours, theirs).wants_plan is guesses
        assert Situation(ours, theirs, have_checks_failed=True).wants_plan


def test_a_filter_by_address_may_not_know_which_of_several_addresses_the_hard_side_comes_from():
    by_address = replace(EASY, filtering=Filtering.ADDRESS_DEPENDENT)
    assert Situation(by_address, RANDOM, has_address_pool=True).wants_plan
    assert Situation(RANDOM, by_address, has_address_pool=True).wants_plan
    open_to_all = replace(EASY, filtering=Filtering.INDEPENDENT)
    assert not Situation(open_to_all, RANDOM, has_address_pool=True).wants_plan


@pytest.mark.parametrize("easy", [SEEMS_EASY, UNKNOWN, RANDOM])
def test_a_side_not_known_to_be_easy_is_guessed_at_whatever_its_filtering(easy):
    open_to_all = replace(easy, filtering=Filtering.INDEPENDENT)
    assert Situation(open_to_all, BLOCK).wants_plan
    assert Situation(BLOCK, open_to_all).wants_plan


@pytest.mark.parametrize("lower", [True, False])
def test_between_two_sequences_one_side_makes_small_steps_and_the_other_giant_ones(lower):
    small, giant = _plan(SEQUENTIAL, EVEN), _plan(EVEN, SEQUENTIAL, lower=False)
    assert small.helpers == 0
    assert _ports(small)[:3] == [30_002 + 2 * SMALL_STEP * n for n in range(3)]
    assert giant.helpers == GIANT_WIDTH
    assert _ports(giant)[: GIANT_WIDTH + 1] == [30_001] * GIANT_WIDTH + [30_001 + GIANT_STEP]
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
    small, giant = (_plan(report, report, lower=lower, ports=(30_000,)) for lower in (True, False))
    met = sum(
        not owned(small, lost[0]).isdisjoint((b, a) for a, b in owned(giant, lost[1]))
        for _ in range(100)
    )
    assert met >= 65


def test_between_two_blocks_all_openers_of_one_side_lead_to_one_port_of_the_other_block():
    theirs = NatReport(Mapping.DEPENDENT, allocation=Allocation.BLOCK, low=4096, high=4607)
    opens, sprays = _plan(BLOCK, theirs), _plan(theirs, BLOCK, lower=False)
    assert set(_ports(opens)) == {4352}
    assert all(packet.is_opener for packet in opens.packets)
    assert opens.helpers == len(opens.packets) == 256
    assert set(_ports(sprays)) <= set(range(20_480, 20_992))
    assert len(set(_ports(sprays))) == 256
    assert sprays.helpers == 0
    assert not any(packet.is_opener for packet in sprays.packets)
    assert sprays.begins_after_s == pytest.approx(256 / 450 + 0.3), "when all of them have left"
    assert opens.rounds == sprays.rounds == 1, "a host that never answered gets eight waves of it"
    assert sprays.waves_s == opens.waves_s


def test_the_clearly_smaller_block_opens_and_the_larger_sprays():
    small = NatReport(Mapping.DEPENDENT, allocation=Allocation.BLOCK, low=4096, high=4351)
    for lower in (True, False):
        assert all(packet.is_opener for packet in _plan(small, BLOCK, lower=lower).packets)
        assert not any(packet.is_opener for packet in _plan(BLOCK, small, lower=lower).packets)


def test_a_spray_of_a_whole_block_repeats_what_was_too_early_and_then_draws_from_fresh_sockets():
    packets = _plan(BLOCK, BLOCK, lower=False, fills_whole_blocks=True).packets
    assert packets[512:768] == packets[:256]
    fresh = packets[768:]
    assert len(packets) == 1_920
    assert {packet.helper for packet in fresh}.isdisjoint({p.helper for p in packets[:768]})
    assert len({(packet.helper, packet.port) for packet in fresh}) == len(fresh)


def test_a_port_that_the_peer_is_seen_at_is_neither_met_at_nor_sprayed():
    known = (20_736, 20_737, 20_500)
    assert set(_ports(_plan(BLOCK, BLOCK, ports=known))) == {20_738}
    sprayed = _ports(_plan(BLOCK, BLOCK, lower=False, ports=known, fills_whole_blocks=True))
    assert set(sprayed[:509]) == set(range(20_480, 20_992)) - set(known)


def test_a_block_larger_than_the_peers_sprays_it_again_from_another_socket():
    small = NatReport(Mapping.DEPENDENT, allocation=Allocation.BLOCK, low=4096, high=4159)
    plan = _plan(BLOCK, small, lower=False)
    assert (
        len(plan.packets) == len({(packet.helper, packet.port) for packet in plan.packets}) == 256
    )
    assert plan.helpers == 3


def test_a_whole_block_is_filled_only_where_that_is_allowed():
    assert len(_plan(BLOCK, BLOCK).packets) == 256
    assert len(_plan(BLOCK, BLOCK, fills_whole_blocks=True).packets) == 512
    assert _plan(BLOCK, BLOCK, spares_blocks=True) is None
    assert _plan(BLOCK, SEQUENTIAL, anchors=ANCHORS, spares_blocks=True) is None


def test_what_another_attempt_has_taken_of_our_block_is_not_taken_twice():
    assert len(_plan(BLOCK, BLOCK, taken=200).packets) == 56
    assert _plan(BLOCK, BLOCK, taken=256) is None
    turns = Turns()
    turns.take_ports("another attempt", 256, START)
    assert turns.ports_taken(START + REMEMBERED_S - 1.0) == 256
    assert turns.ports_taken(START + REMEMBERED_S) == 0


@pytest.mark.parametrize("lower", [True, False])
def test_fewer_sockets_than_ports_lead_to_more_meeting_ports(lower):
    plan = _plan(BLOCK, BLOCK, helper_sockets=64)
    assert plan.helpers == 64
    assert Counter(_ports(plan)) == dict.fromkeys(meeting_ports(BLOCK, (), 4), 64)
    plan = _plan(BLOCK, SEQUENTIAL, anchors=ANCHORS, helper_sockets=64)
    assert plan.helpers == 64
    assert _plan(BLOCK, BLOCK, helper_sockets=0).helpers == 0


@pytest.mark.parametrize("lower", [True, False])
def test_a_block_sends_all_that_it_may_to_the_anchors_of_a_sequence(lower):
    plan = _plan(BLOCK, SEQUENTIAL, lower=lower, anchors=ANCHORS)
    assert len(plan.packets) == len(set(plan.packets)) == 256
    assert Counter(_ports(plan)) == dict.fromkeys(ANCHORS, 128)
    assert not any(packet.is_opener for packet in plan.packets)


@pytest.mark.parametrize("lower", [True, False])
def test_without_anchors_no_port_of_a_block_is_spent_on_a_sequence(lower):
    assert _plan(BLOCK, SEQUENTIAL, lower=lower) is None
    assert Situation(SEQUENTIAL, BLOCK).wants_anchors
    assert not Situation(BLOCK, SEQUENTIAL).wants_anchors


@pytest.mark.parametrize(
    ("ours", "theirs"), [(RANDOM, RANDOM), (RANDOM, BLOCK), (SEQUENTIAL, RANDOM)]
)
def test_random_ports_against_another_hard_side_are_hopeless_for_both(ours, theirs):
    for pair in ((ours, theirs), (theirs, ours)):
        assert Situation(*pair).is_hopeless
        assert _plan(*pair) is None


def test_who_only_seems_easy_is_random_once_checks_have_failed():
    assert _plan(EASY, SEEMS_EASY) is None
    assert _plan(SEEMS_EASY, EASY) is None
    probes, openers = _plan(EASY, SEEMS_EASY, failed=True), _plan(SEEMS_EASY, EASY, failed=True)
    assert len(probes.packets) == len(set(_ports(probes))) == MOST_WAVE_PACKETS
    assert probes.helpers == 0
    assert openers.helpers == len(openers.packets) == RANDOM_HELPERS


@pytest.mark.parametrize("theirs", [RANDOM, BLOCK, SEQUENTIAL, BY_ADDRESS])
def test_who_only_seems_easy_counts_as_easy_against_a_hard_side(theirs):
    assert _plan(SEEMS_EASY, theirs, failed=True) == _plan(EASY, theirs)
    assert _plan(theirs, SEEMS_EASY, failed=True) == _plan(theirs, EASY)


@pytest.mark.parametrize("theirs", [RANDOM, BLOCK, SEQUENTIAL])
def test_who_maps_by_address_only_as_peers_say_counts_as_easy_before_two_are_given_up(theirs):
    slandered = replace(BY_ADDRESS, allocation=Allocation.RANDOM, confidence=SURE / 2)
    assert _plan(slandered, theirs) is None
    assert _plan(slandered, theirs, failed=True) == _plan(EASY, theirs)
    assert _plan(theirs, slandered, failed=True) == _plan(theirs, EASY)


def test_two_that_map_by_address_only_as_peers_say_each_open_and_probe():
    slandered = replace(BY_ADDRESS, allocation=Allocation.RANDOM, confidence=SURE / 2)
    plan = _plan(slandered, slandered, failed=True)
    assert plan == _plan(SEEMS_EASY, SEEMS_EASY, failed=True)


@pytest.mark.parametrize("theirs", [RANDOM, BLOCK, SEQUENTIAL])
def test_who_maps_by_address_as_servers_say_is_hard_for_good(theirs):
    by_address = replace(BY_ADDRESS, allocation=Allocation.RANDOM, confidence=SURE)
    assert Situation(by_address, theirs, have_checks_failed=True).is_hopeless
    assert _plan(by_address, theirs, failed=True) is None
    assert _plan(theirs, by_address, failed=True) is None


def test_two_that_only_seem_easy_each_open_and_probe():
    assert _plan(SEEMS_EASY, SEEMS_EASY) is None
    plan = _plan(SEEMS_EASY, SEEMS_EASY, failed=True)
    assert sum(packet.is_opener for packet in plan.packets) == plan.helpers == RANDOM_HELPERS
    assert all(packet.helper == 0 for packet in plan.packets if not packet.is_opener)
    assert len(plan.packets) == MOST_WAVE_PACKETS


def test_behind_a_nat_that_maps_by_address_each_port_takes_a_socket():
    by_address = NatReport(
        Mapping.ADDRESS_DEPENDENT, allocation=Allocation.BLOCK, low=20_480, high=20_991
    )
    plan = _plan(by_address, BLOCK, lower=False)
    assert [packet.helper for packet in plan.packets] == list(range(1, 257))


@pytest.mark.parametrize("ours", ALL)
@pytest.mark.parametrize("theirs", ALL)
@pytest.mark.parametrize("lower", [True, False])
def test_no_plan_has_more_packets_than_the_budget_or_is_empty(ours, theirs, lower):
    for helper_sockets in (0, 64, 256):
        plan = _plan(
            ours,
            theirs,
            failed=True,
            lower=lower,
            anchors=ANCHORS,
            fills_whole_blocks=True,
            helper_sockets=helper_sockets,
        )
        if plan is not None:
            assert 0 < len(plan.packets) * plan.rounds <= MOST_WAVE_PACKETS
            assert plan.helpers <= 2 * helper_sockets


def test_the_newest_port_of_a_sequence_is_found_past_a_wrap_around():
    assert newest((30_000, 29_998, 29_999)) == 30_000
    assert newest((65_535, 1024, 1025)) == 1025


def test_a_port_far_from_the_freshest_is_older_even_if_it_is_higher():
    assert newest((34_163, 38_573)) == 34_163
    assert newest((1202, 38_571, 38_570)) == 1202


@pytest.mark.parametrize("failed", [False, True])
def test_what_is_irrelevant_to_a_plan_does_not_change_it(failed):
    for ours in ALL:
        for theirs in ALL:
            part = relevant_part(Situation(ours, theirs, failed))
            failed_in_part = part.have_checks_failed
            planned = _plan(ours, theirs, failed=failed)
            assert _plan(*_nats_of(part), failed=failed_in_part) == planned, (ours, theirs)


@pytest.mark.parametrize("hard", [replace(RANDOM, allocation=Allocation.UNKNOWN), RANDOM])
@pytest.mark.parametrize("easy", [UNKNOWN, EASY, replace(EASY, allocation=Allocation.RANDOM)])
def test_news_that_change_no_plan_begin_no_other(hard, easy):
    """Another plan opens other sockets, and what met the first ones is lost."""
    assert relevant_part(Situation(hard, easy)) == relevant_part(Situation(RANDOM, EASY))
    assert relevant_part(Situation(easy, hard)) == relevant_part(Situation(EASY, RANDOM))
