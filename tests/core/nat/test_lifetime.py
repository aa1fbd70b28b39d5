"""How long a NAT keeps mappings, learnt from those that ended and those that did not."""

import pytest

from natd.core.base.types import Address
from natd.core.nat.lifetime import FlowWatch, Lifetime, Lifetimes

HERE, THERE = Address("198.51.100.9", 5000), Address("198.51.100.9", 6000)


def test_nothing_is_known_before_a_mapping_was_watched():
    assert Lifetimes().learnt == Lifetime(None, None, None)


def test_the_longest_silence_survived_is_safe():
    lifetimes = Lifetimes()
    for idle_s in (15.0, 25.0, 20.0):
        lifetimes.mapping_lived(age_s=100.0, idle_s=idle_s)
    assert lifetimes.learnt == Lifetime(safe_idle_s=25.0)


def test_an_end_after_the_longest_silence_ever_is_one_of_idling():
    lifetimes = Lifetimes()
    lifetimes.mapping_lived(age_s=100.0, idle_s=20.0)
    lifetimes.mapping_ended(age_s=300.0, idle_s=60.0)
    lifetimes.mapping_ended(age_s=300.0, idle_s=40.0)
    lifetimes.mapping_ended(age_s=300.0, idle_s=90.0)
    assert lifetimes.learnt == Lifetime(idle_s=40.0, safe_idle_s=20.0)


def test_a_mapping_that_was_never_used_again_ended_by_idling_although_nothing_is_known():
    lifetimes = Lifetimes()
    lifetimes.mapping_ended(age_s=30.0, idle_s=30.0)
    assert lifetimes.learnt == Lifetime(idle_s=30.0)


def test_two_busy_mappings_that_end_at_one_age_tell_an_absolute_age_and_one_does_not():
    lifetimes = Lifetimes()
    lifetimes.mapping_lived(age_s=40.0, idle_s=20.0)
    lifetimes.mapping_ended(age_s=75.0, idle_s=15.0)
    assert lifetimes.learnt.age_s is None, "it may have been a reboot"
    lifetimes.mapping_ended(age_s=70.0, idle_s=20.0)
    assert lifetimes.learnt == Lifetime(safe_idle_s=20.0, age_s=50.0)


def test_two_ends_at_ages_far_apart_are_reboots():
    lifetimes = Lifetimes()
    lifetimes.mapping_lived(age_s=40.0, idle_s=20.0)
    lifetimes.mapping_ended(age_s=70.0, idle_s=20.0)
    lifetimes.mapping_ended(age_s=7000.0, idle_s=20.0)
    assert lifetimes.learnt.age_s is None


def test_what_is_survived_undoes_what_was_believed():
    lifetimes = Lifetimes()
    lifetimes.mapping_ended(age_s=30.0, idle_s=30.0)
    lifetimes.mapping_lived(age_s=40.0, idle_s=35.0)
    assert lifetimes.learnt == Lifetime(safe_idle_s=35.0)
    for _ in range(2):
        lifetimes.mapping_ended(age_s=80.0, idle_s=20.0)
    assert lifetimes.learnt.age_s == pytest.approx(60.0)
    lifetimes.mapping_lived(age_s=100.0, idle_s=20.0)
    assert lifetimes.learnt.age_s is None


# --- what is learned from watching a flow ---


def test_the_first_answer_begins_the_watch():
    assert learnt_by([(HERE, 1000.0)]) == Lifetime()


def test_a_flow_that_is_seen_where_it_was_has_lived_through_its_silences():
    seen = ((HERE, 1000.0), (HERE, 1020.0), (HERE, 1045.0))
    assert learnt_by(seen) == Lifetime(safe_idle_s=25.0)


def test_a_flow_that_is_seen_elsewhere_has_ended_and_begun_anew():
    busy = [(HERE, 1000.0), (HERE, 1020.0), (HERE, 1040.0), (THERE, 1060.0)]
    again = [(THERE, 1080.0), (THERE, 1100.0), (HERE, 1120.0)]
    assert learnt_by(busy) == Lifetime(safe_idle_s=20.0), "it may have been a reboot"
    assert learnt_by([*busy, *again]) == Lifetime(safe_idle_s=20.0, age_s=40.0)


def test_a_flow_that_was_silent_for_its_whole_life_has_ended_by_idling():
    assert learnt_by([(HERE, 1000.0), (THERE, 1060.0)]) == Lifetime(idle_s=60.0)


def test_what_was_not_watched_tells_nothing():
    lifetimes = Lifetimes()
    watch = FlowWatch(lifetimes)
    watch.heard(HERE, 1000.0)
    watch.forget()
    watch.heard(THERE, 1600.0)
    assert lifetimes.learnt == Lifetime()


def learnt_by(heard):
    """What is known of the NAT after a flow was seen at these addresses and instants."""
    lifetimes = Lifetimes()
    watch = FlowWatch(lifetimes)
    for observed, now in heard:
        watch.heard(observed, now)
    return lifetimes.learnt
