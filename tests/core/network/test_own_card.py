"""Our own card: its prekeys rotate, its number grows, and only news make another one."""

from dataclasses import replace
from random import Random

from natd.core.base.types import (
    SURE,
    Address,
    Allocation,
    CandidateKind,
    Filtering,
    Mapping,
    NatReport,
)
from natd.core.keys.card import Identity, open_card
from natd.core.keys.secrets import network_key
from natd.core.network.own_card import PREKEY_GRACE_S, PREKEY_LIFETIME_S, Profile

START = 1000.0
KEY = network_key("demo", b"")


def test_a_card_says_who_we_are_and_under_which_prekey():
    profile = _profile()
    card = _card(profile)
    assert card.peer == _identity().peer
    assert card.nick == "alice"
    assert card.sequence == 7
    assert [prekey.public for prekey in profile.prekeys] == [card.prekey_public]


def test_each_change_makes_a_card_with_the_next_number_and_no_change_makes_none():
    profile = _profile()
    report = NatReport(Mapping.INDEPENDENT, Filtering.UNKNOWN, Allocation.PRESERVING, 0.5)
    changes = [
        lambda: profile.set_nick("alicia"),
        lambda: profile.set_addresses(("192.168.1.4",), 40000),
        lambda: profile.set_mapped((Address("203.0.113.9", 5000),)),
        lambda: profile.set_nat(report),
    ]
    for number, change in enumerate(changes, 8):
        assert change()
        assert _card(profile).sequence == number
        assert not change()
        assert _card(profile).sequence == number


def test_what_changed_stands_in_the_card():
    profile = _profile()
    profile.set_nick("alicia")
    profile.set_addresses(("192.168.1.4", "127.0.0.1", "2001:db8::4"), 40000)
    profile.set_mapped((Address("203.0.113.9", 5000),))
    profile.set_nat(NatReport(Mapping.DEPENDENT))
    card = _card(profile)
    assert card.nick == "alicia"
    assert {(c.kind, c.address) for c in card.candidates} == {
        (CandidateKind.LAN, Address("192.168.1.4", 40000)),
        (CandidateKind.IPV6, Address("2001:db8::4", 40000)),
        (CandidateKind.MAPPED, Address("203.0.113.9", 5000)),
    }
    assert card.nat.mapping is Mapping.DEPENDENT


def test_the_load_of_a_sequence_is_news_when_it_has_doubled_or_halved():
    profile = _profile()
    report = NatReport(Mapping.DEPENDENT, allocation=Allocation.SEQUENTIAL, stride=1)
    profile.set_nat(report)
    assert not profile.set_nat(replace(report, load_per_s=0.5))
    assert profile.set_nat(replace(report, load_per_s=20.0))
    assert _card(profile).nat.load_per_s == 20.0
    assert not profile.set_nat(replace(report, load_per_s=30.0))
    assert not profile.set_nat(replace(report, load_per_s=15.0))
    assert profile.set_nat(replace(report, load_per_s=60.0))
    assert profile.set_nat(replace(report, load_per_s=5.0))


def test_more_confidence_is_news_only_where_others_act_upon_it():
    profile = _profile()
    profile.set_nat(NatReport(Mapping.INDEPENDENT, confidence=0.75))
    assert not profile.set_nat(NatReport(Mapping.INDEPENDENT, confidence=0.8))
    assert profile.set_nat(NatReport(Mapping.INDEPENDENT, confidence=SURE))
    assert not profile.set_nat(NatReport(Mapping.INDEPENDENT, confidence=0.99))


def test_a_card_that_is_told_anyway_tells_what_was_no_news_by_itself():
    profile = _profile()
    report = NatReport(Mapping.DEPENDENT, Filtering.UNKNOWN, Allocation.BLOCK, 0.9)
    assert profile.set_nat(report)
    profile.refresh()
    sequence = profile.sequence
    assert not profile.set_nat(replace(report, taken_ports=(5000, 5001)))
    assert _card(profile).nat.taken_ports == ()
    profile.refresh()
    assert _card(profile).nat.taken_ports == (5000, 5001)
    assert profile.sequence == sequence + 1


def test_the_prekey_rotates_each_hour_and_the_one_before_it_lives_for_two():
    profile = _profile()
    first = profile.prekeys[-1]
    assert profile.due_at == START + PREKEY_LIFETIME_S
    assert not profile.handle_timer(START + PREKEY_LIFETIME_S - 1.0)
    assert profile.handle_timer(START + PREKEY_LIFETIME_S)
    assert len(profile.prekeys) == 2
    assert profile.prekeys[0] is first
    assert _card(profile).prekey_public == profile.prekeys[-1].public != first.public
    profile.handle_timer(START + PREKEY_GRACE_S - 1.0)
    assert first in profile.prekeys
    profile.handle_timer(START + PREKEY_GRACE_S)
    assert first not in profile.prekeys


def test_a_day_of_rotations_keeps_two_prekeys_and_24_numbers():
    profile = _profile()
    now, seen = START, set()
    while now < START + 24 * 3600.0:
        now = profile.due_at
        profile.handle_timer(now)
        assert len(profile.prekeys) <= 2
        seen.add(profile.prekeys[-1].public)
    assert len(seen) == 24
    assert profile.sequence == 7 + 24


def test_a_timer_that_fires_a_day_late_rotates_once_and_forgets_what_is_old():
    profile = _profile()
    first = profile.prekeys[-1]
    late = START + 24 * 3600.0
    assert profile.handle_timer(late)
    profile.handle_timer(profile.due_at or late)
    assert first not in profile.prekeys
    assert not profile.handle_timer(late)
    assert profile.due_at == late + PREKEY_LIFETIME_S


def test_prekeys_come_from_the_randomness_that_was_given():
    assert _profile(3).prekeys[0].public == _profile(3).prekeys[0].public
    assert _profile(3).prekeys[0].public != _profile(4).prekeys[0].public


def _identity():
    return Identity(Random("alice").randbytes(32))


def _profile(seed=1):
    return Profile(_identity(), KEY, "alice", Random(seed), sequence=7, now=START)


def _card(profile):
    return open_card(profile.sealed, KEY)
