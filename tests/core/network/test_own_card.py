"""Our own card: its prekeys rotate, its number grows, and only news make another one."""

from dataclasses import replace
from random import Random

import pytest

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
from natd.core.network.own_card import PREKEY_GRACE_S, PREKEY_LIFETIME_S, OwnCard
from natd.core.registration.events import OwnCardSeen
from tests.core.world.village import Village

START = 1000.0
KEY = network_key("demo", b"")


def test_a_card_says_who_we_are_and_under_which_prekey():
    own_card = _profile()
    card = _card(own_card)
    assert card.peer == _identity().peer
    assert card.nick == "alice"
    assert card.sequence == 7
    assert [prekey.public for prekey in own_card.prekeys] == [card.prekey_public]


def test_each_change_makes_a_card_with_the_next_number_and_no_change_makes_none():
    own_card = _profile()
    report = NatReport(Mapping.INDEPENDENT, Filtering.UNKNOWN, Allocation.PRESERVING, 0.5)
    changes = [
        lambda: own_card.set_nick("alicia"),
        lambda: own_card.set_addresses(("192.168.1.4",), 40000),
        lambda: own_card.set_mapped((Address("203.0.113.9", 5000),)),
        lambda: own_card.set_nat(report),
    ]
    for number, change in enumerate(changes, 8):
        assert change()
        assert _card(own_card).sequence == number
        assert not change()
        assert _card(own_card).sequence == number


def test_a_card_is_sealed_once_and_as_it_was_when_it_changed():
    own_card = _profile()
    own_card.set_nick("alicia")
    own_card.leap(900, START)  # before anybody has asked for the card with that nick
    sealed = own_card.sealed
    card = open_card(sealed, KEY)
    assert (card.nick, card.sequence) == ("alicia", 8)
    assert own_card.sealed is sealed


def test_what_changed_stands_in_the_card():
    own_card = _profile()
    own_card.set_nick("alicia")
    own_card.set_addresses(("192.168.1.4", "127.0.0.1", "2001:db8::4"), 40000)
    own_card.set_mapped((Address("203.0.113.9", 5000),))
    own_card.set_nat(NatReport(Mapping.DEPENDENT))
    card = _card(own_card)
    assert card.nick == "alicia"
    assert {(c.kind, c.address) for c in card.candidates} == {
        (CandidateKind.LAN, Address("192.168.1.4", 40000)),
        (CandidateKind.IPV6, Address("2001:db8::4", 40000)),
        (CandidateKind.MAPPED, Address("203.0.113.9", 5000)),
    }
    assert card.nat.mapping is Mapping.DEPENDENT


def test_the_load_of_a_sequence_is_news_when_it_has_doubled_or_halved():
    own_card = _profile()
    report = NatReport(Mapping.DEPENDENT, allocation=Allocation.SEQUENTIAL, stride=1)
    own_card.set_nat(report)
    assert not own_card.set_nat(replace(report, load_per_s=0.5))
    assert own_card.set_nat(replace(report, load_per_s=20.0))
    assert _card(own_card).nat.load_per_s == 20.0
    assert not own_card.set_nat(replace(report, load_per_s=30.0))
    assert not own_card.set_nat(replace(report, load_per_s=15.0))
    assert own_card.set_nat(replace(report, load_per_s=60.0))
    assert own_card.set_nat(replace(report, load_per_s=5.0))


def test_more_confidence_is_news_only_where_others_act_upon_it():
    own_card = _profile()
    own_card.set_nat(NatReport(Mapping.INDEPENDENT, confidence=0.75))
    assert not own_card.set_nat(NatReport(Mapping.INDEPENDENT, confidence=0.8))
    assert own_card.set_nat(NatReport(Mapping.INDEPENDENT, confidence=SURE))
    assert not own_card.set_nat(NatReport(Mapping.INDEPENDENT, confidence=0.99))


def test_a_card_that_is_told_anyway_tells_what_was_no_news_by_itself():
    own_card = _profile()
    report = NatReport(Mapping.DEPENDENT, Filtering.UNKNOWN, Allocation.BLOCK, 0.9)
    assert own_card.set_nat(report)
    own_card.refresh()
    sequence = own_card.sequence
    assert not own_card.set_nat(replace(report, taken_ports=(5000, 5001)))
    assert _card(own_card).nat.taken_ports == ()
    own_card.refresh()
    assert _card(own_card).nat.taken_ports == (5000, 5001)
    assert own_card.sequence == sequence + 1


def test_the_prekey_rotates_each_hour_and_the_one_before_it_lives_for_two():
    own_card = _profile()
    first = own_card.prekeys[-1]
    assert own_card.due_at == START + PREKEY_LIFETIME_S
    assert not own_card.handle_timer(START + PREKEY_LIFETIME_S - 1.0)
    assert own_card.handle_timer(START + PREKEY_LIFETIME_S)
    assert len(own_card.prekeys) == 2
    assert own_card.prekeys[0] is first
    assert _card(own_card).prekey_public == own_card.prekeys[-1].public != first.public
    own_card.handle_timer(START + PREKEY_GRACE_S - 1.0)
    assert first in own_card.prekeys
    own_card.handle_timer(START + PREKEY_GRACE_S)
    assert first not in own_card.prekeys


def test_a_day_of_rotations_keeps_two_prekeys_and_24_numbers():
    own_card = _profile()
    now, seen = START, set()
    while now < START + 24 * 3600.0:
        now = own_card.due_at
        own_card.handle_timer(now)
        assert len(own_card.prekeys) <= 2
        seen.add(own_card.prekeys[-1].public)
    assert len(seen) == 24
    assert own_card.sequence == 7 + 24


def test_a_timer_that_fires_a_day_late_rotates_once_and_forgets_what_is_old():
    own_card = _profile()
    first = own_card.prekeys[-1]
    late = START + 24 * 3600.0
    assert own_card.handle_timer(late)
    own_card.handle_timer(own_card.due_at or late)
    assert first not in own_card.prekeys
    assert not own_card.handle_timer(late)
    assert own_card.due_at == late + PREKEY_LIFETIME_S


def test_prekeys_come_from_the_randomness_that_was_given():
    assert _profile(3).prekeys[0].public == _profile(3).prekeys[0].public
    assert _profile(3).prekeys[0].public != _profile(4).prekeys[0].public


def _identity():
    return Identity(Random("alice").randbytes(32))


def test_a_peer_that_is_connected_is_told_of_several_changes_by_one_card_later():
    """Two cards in the first ten seconds were eight packets to each of a hundred peers."""
    village = Village(3)
    alice, bob = village.member("alice"), village.member("bob", port=40001)
    for member in (alice, bob):
        member.start()
    assert village.internet.run_until(lambda: alice.is_online(bob), 10.0)
    met_at = village.internet.now
    bobs = alice.membership.peers[bob.peer]
    told_at = []
    while village.internet.now < met_at + 60.0:
        before = bobs.card.sequence
        village.internet.run(0.5)
        if bobs.card.sequence != before:
            told_at.append(village.internet.now - met_at)
    assert len(told_at) == 1
    assert 15.0 <= told_at[0] <= 30.0


def test_a_new_nick_is_told_at_once():
    village = Village(3)
    alice, bob = village.member("alice"), village.member("bob", port=40001)
    for member in (alice, bob):
        member.start()
    assert village.internet.run_until(lambda: alice.is_online(bob), 10.0)
    bob.membership.set_nick("robert", village.internet.now)
    village.internet.run(1.0)
    assert alice.membership.peers[bob.peer].card.nick == "robert"


def _profile(seed=1):
    return OwnCard(_identity(), KEY, "alice", Random(seed), sequence=7, now=START)


def _card(own_card):
    return open_card(own_card.sealed, KEY)


@pytest.mark.parametrize("number", [2**63, 2**64 - 1])
def test_a_thief_of_our_key_who_counts_to_the_end_of_the_numbers_is_noticed_and_stops_nobody(
    number: int,
):
    own_card = _profile()
    thief = OwnCard(_identity(), KEY, "alice", Random(9), sequence=number, now=START)
    seen = OwnCardSeen(Address("203.0.113.1", 8080), thief.sealed, (), was_accepted=True)
    [noticed] = own_card.copies.see(seen, own_card, START + 1.0)
    assert noticed.is_of_a_copy
    own_card.handle_timer(START + 1.0)
    own_card.set_nick("alicia")
    assert _card(own_card).nick == "alicia"
