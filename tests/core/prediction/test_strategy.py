"""Both halves of an escalation follow from the two reports, and fit each other."""

from dataclasses import replace

import pytest

from natd.core.base.types import SURE, Allocation, Filtering
from natd.core.checks.limits import MOST_WAVE_PACKETS
from natd.core.prediction.birthday import RANDOM_HELPERS
from natd.core.prediction.blocks import EASY_HELPERS, SCOUTS
from natd.core.prediction.paced_sender import TICK_S
from natd.core.prediction.plan import Technique
from natd.core.prediction.sequences import (
    MOST_DRIFT,
    MOST_PREDICTED,
    PREDICTED_PORTS,
    newest,
)
from natd.core.prediction.strategy import Situation, relevant_part
from tests.core.prediction.plans import (
    ALL,
    ANCHORS,
    BLOCK,
    BY_ADDRESS,
    EASY,
    EVEN,
    RANDOM,
    SEEMS_EASY,
    SEQUENTIAL,
    UNKNOWN,
    plan_of,
    ports_of,
)


def test_two_easy_sides_need_no_plan():
    assert plan_of(EASY, EASY) is None


def test_an_easy_side_sends_to_the_next_ports_of_a_sequence_in_order():
    plan = plan_of(EASY, EVEN)
    assert plan.technique is Technique.PREDICTION
    assert ports_of(plan)[:3] == [30_002, 30_004, 30_006]
    assert plan_of(EVEN, EASY) is None


def test_what_others_take_of_a_sequence_moves_the_guess_and_widens_it():
    for stride, theirs in ((1, SEQUENTIAL), (2, EVEN)):
        ports = ports_of(plan_of(EASY, theirs, drift=100.0))
        assert ports[0] == 30_000 + 101 * stride
        nearest = {30_000 + (101 + step) * stride for step in range(-10, 11)}
        assert set(ports[:21]) == nearest
        assert len(ports) > len(ports_of(plan_of(EASY, theirs, drift=25.0))) > PREDICTED_PORTS
        steps = [(port - 30_000) // stride for port in ports]
        assert min(steps) < 100 - 2 * 10
        assert max(steps) > 100 + 2 * 10


def test_a_card_that_lies_of_its_load_makes_no_endless_guess():
    for drift in (1e9, -5.0):
        ports = ports_of(plan_of(EASY, SEQUENTIAL, drift=drift))
        assert PREDICTED_PORTS <= len(ports) <= MOST_PREDICTED
        assert max(ports) - 30_000 <= 2 * MOST_DRIFT


def test_a_nat_that_keeps_parity_is_guessed_at_every_second_port():
    even = replace(SEQUENTIAL, keeps_parity=True)
    assert ports_of(plan_of(EASY, even))[:3] == [30_002, 30_004, 30_006]
    assert ports_of(plan_of(EASY, replace(EVEN, keeps_parity=True)))[:2] == [30_002, 30_004]
    small, giant = (ports_of(plan_of(EVEN, even, lower=lower)) for lower in (True, False))
    assert {port % 2 for port in small + giant} == {0}
    assert ports_of(plan_of(*_nats_of(relevant_part(Situation(EASY, even)))))[:2] == [
        30_002,
        30_004,
    ]


def _nats_of(situation):
    return situation.ours, situation.theirs


def test_an_easy_side_probes_all_of_a_block_once():
    plan = plan_of(EASY, BLOCK)
    assert sorted(ports_of(plan)) == list(range(20_480, 20_992))
    assert plan.helpers == 0


def test_an_easy_side_probes_random_ports_once_each_within_the_budget():
    ports = ports_of(plan_of(EASY, RANDOM))
    assert len(ports) == len(set(ports)) == MOST_WAVE_PACKETS


@pytest.mark.parametrize(
    ("ours", "theirs", "helpers"),
    [(RANDOM, EASY, RANDOM_HELPERS), (BLOCK, EASY, EASY_HELPERS), (BLOCK, UNKNOWN, SCOUTS)],
)
def test_the_hard_side_opens_from_helpers_with_packets_that_do_not_arrive(ours, theirs, helpers):
    plan = plan_of(ours, theirs)
    assert plan.technique is Technique.BIRTHDAY
    assert [packet.helper for packet in plan.packets] == list(range(1, helpers + 1))
    assert all(packet.is_opener and packet.port is None for packet in plan.packets)


def test_the_hard_side_opens_at_once_unless_its_block_may_be_needed_for_something_better():
    assert plan_of(RANDOM, EASY).opens_at_once
    assert plan_of(RANDOM, UNKNOWN).opens_at_once
    assert not plan_of(BLOCK, EASY).opens_at_once
    assert not plan_of(BLOCK, UNKNOWN).opens_at_once
    assert plan_of(SEEMS_EASY, SEEMS_EASY, failed=True).opens_at_once
    assert not plan_of(BLOCK, BLOCK).opens_at_once


def test_scouts_wait_for_the_report_that_mostly_follows_at_once():
    """While they did not, nine ports of the block were missing when it was to be filled."""
    assert plan_of(BLOCK, UNKNOWN).begins_after_s >= TICK_S
    assert plan_of(BLOCK, EASY).begins_after_s == plan_of(RANDOM, UNKNOWN).begins_after_s == 0.0


def test_the_user_limits_helper_sockets():
    assert plan_of(RANDOM, EASY, helper_sockets=64).helpers == 64


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


def test_who_only_seems_easy_is_random_once_checks_have_failed():
    assert plan_of(EASY, SEEMS_EASY) is None
    assert plan_of(SEEMS_EASY, EASY) is None
    probes, openers = plan_of(EASY, SEEMS_EASY, failed=True), plan_of(SEEMS_EASY, EASY, failed=True)
    assert len(probes.packets) == len(set(ports_of(probes))) == MOST_WAVE_PACKETS
    assert probes.helpers == 0
    assert openers.helpers == len(openers.packets) == RANDOM_HELPERS


@pytest.mark.parametrize("theirs", [RANDOM, BLOCK, SEQUENTIAL, BY_ADDRESS])
def test_who_only_seems_easy_counts_as_easy_against_a_hard_side(theirs):
    assert plan_of(SEEMS_EASY, theirs, failed=True) == plan_of(EASY, theirs)
    assert plan_of(theirs, SEEMS_EASY, failed=True) == plan_of(theirs, EASY)


@pytest.mark.parametrize("theirs", [RANDOM, BLOCK, SEQUENTIAL])
def test_who_maps_by_address_only_as_peers_say_counts_as_easy_before_two_are_given_up(theirs):
    slandered = replace(BY_ADDRESS, allocation=Allocation.RANDOM, confidence=SURE / 2)
    assert plan_of(slandered, theirs) is None
    assert plan_of(slandered, theirs, failed=True) == plan_of(EASY, theirs)
    assert plan_of(theirs, slandered, failed=True) == plan_of(theirs, EASY)


def test_two_that_map_by_address_only_as_peers_say_each_open_and_probe():
    slandered = replace(BY_ADDRESS, allocation=Allocation.RANDOM, confidence=SURE / 2)
    plan = plan_of(slandered, slandered, failed=True)
    assert plan == plan_of(SEEMS_EASY, SEEMS_EASY, failed=True)


@pytest.mark.parametrize("theirs", [RANDOM, BLOCK, SEQUENTIAL])
def test_who_maps_by_address_as_servers_say_is_hard_for_good(theirs):
    by_address = replace(BY_ADDRESS, allocation=Allocation.RANDOM, confidence=SURE)
    assert Situation(by_address, theirs, have_checks_failed=True).is_hopeless
    assert plan_of(by_address, theirs, failed=True) is None
    assert plan_of(theirs, by_address, failed=True) is None


def test_two_that_only_seem_easy_each_open_and_probe():
    assert plan_of(SEEMS_EASY, SEEMS_EASY) is None
    plan = plan_of(SEEMS_EASY, SEEMS_EASY, failed=True)
    assert sum(packet.is_opener for packet in plan.packets) == plan.helpers == RANDOM_HELPERS
    assert all(packet.helper == 0 for packet in plan.packets if not packet.is_opener)
    assert len(plan.packets) == MOST_WAVE_PACKETS


@pytest.mark.parametrize("ours", ALL)
@pytest.mark.parametrize("theirs", ALL)
@pytest.mark.parametrize("lower", [True, False])
def test_no_plan_has_more_packets_than_the_budget_or_is_empty(ours, theirs, lower):
    for helper_sockets in (0, 64, 256):
        plan = plan_of(
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
            planned = plan_of(ours, theirs, failed=failed)
            assert plan_of(*_nats_of(part), failed=failed_in_part) == planned, (ours, theirs)


@pytest.mark.parametrize("hard", [replace(RANDOM, allocation=Allocation.UNKNOWN), RANDOM])
@pytest.mark.parametrize("easy", [UNKNOWN, EASY, replace(EASY, allocation=Allocation.RANDOM)])
def test_news_that_change_no_plan_begin_no_other(hard, easy):
    """Another plan opens other sockets, and what met the first ones is lost."""
    assert relevant_part(Situation(hard, easy)) == relevant_part(Situation(RANDOM, EASY))
    assert relevant_part(Situation(easy, hard)) == relevant_part(Situation(EASY, RANDOM))
