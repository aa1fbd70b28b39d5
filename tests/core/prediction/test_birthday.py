"""The plan by which two that were connected look for each other without a server."""

from random import Random

import pytest

from natd.core.base.types import Allocation, NatReport
from natd.core.checks.pace import MOST_WITH_A_GUESS
from natd.core.prediction.birthday import (
    FIRST_HELPERS,
    FIRST_PROBES,
    FURTHER_WAVES,
    LONGEST_PAUSE_S,
    PARTS,
    PARTS_EVERY,
    SPARING_WAVES,
    find_again,
)

HELPERS = 256
TWO_RENEWALS = 2


def plan_towards(allocation):
    return find_again(NatReport(allocation=allocation), HELPERS, Random(1))


@pytest.mark.parametrize("allocation", [Allocation.UNKNOWN, Allocation.RANDOM])
def test_openers_with_a_low_ttl_are_for_the_time_in_which_the_peer_may_not_have_begun(allocation):
    waves = plan_towards(allocation).further
    may_spoil = allocation is not Allocation.RANDOM
    for number, wave in enumerate(waves):
        openers = [packet for packet in wave.packets if packet.helper]
        spared = sum(packet.is_opener for packet in openers)
        assert spared == (len(openers) // 2 if may_spoil and number < SPARING_WAVES else 0)


def test_each_helper_is_renewed_by_two_waves_and_each_probe_is_repeated():
    plan = plan_towards(Allocation.UNKNOWN)
    everything = {(packet.helper, packet.port) for packet in plan.packets}
    for first in range(FURTHER_WAVES - TWO_RENEWALS):
        two = [packet for wave in plan.further[first:][:TWO_RENEWALS] for packet in wave.packets]
        assert {packet.helper for packet in two if packet.helper} == set(range(1, HELPERS + 1))
    repeated = [packet for wave in plan.further[: PARTS * PARTS_EVERY] for packet in wave.packets]
    assert {(packet.helper, packet.port) for packet in repeated} == everything


def test_the_first_second_opens_at_once_and_has_more_probes_than_openers():
    """Who notices later meets helpers that are open by then."""
    plan = plan_towards(Allocation.RANDOM)
    first_second = plan.packets[:MOST_WITH_A_GUESS]
    assert plan.opens_at_once
    assert sum(packet.helper > 0 for packet in first_second) == FIRST_HELPERS
    assert sum(packet.helper == 0 for packet in first_second) == FIRST_PROBES
    assert {packet.helper for packet in plan.packets if packet.helper} == set(range(1, HELPERS + 1))
    assert len(set(plan.packets)) == len(plan.packets)
    assert not plan.of_wave(1).opens_at_once


def test_after_minutes_the_pauses_grow_to_a_minute():
    pauses_s = [wave.after_s for wave in plan_towards(Allocation.UNKNOWN).further[FURTHER_WAVES:]]
    assert pauses_s == sorted(pauses_s)
    assert set(pauses_s[4:]) == {LONGEST_PAUSE_S}
