"""A member that peers know by a newer card than it has made: as after a restored disk under a clock
set back, or with a copy that has gone, when no server remembers."""

from copy import deepcopy

import pytest

from natd.core.base.types import Address
from natd.core.network.greeting import Greeting, encode_greeting, network_tag
from tests.core.world.village import KEY, Member, Village
from tests.internet.nat import PORT_RESTRICTED, SYMMETRIC_SEQUENTIAL, NatPolicy

MEETS_WITHIN_S = 10.0

PLACES: dict[str, tuple[NatPolicy | None, NatPolicy | None]] = {
    "public": (None, None),
    "behind NATs": (PORT_RESTRICTED, PORT_RESTRICTED),
    "behind a hard one": (SYMMETRIC_SEQUENTIAL, PORT_RESTRICTED),
    "the other behind a hard one": (PORT_RESTRICTED, SYMMETRIC_SEQUENTIAL),
}


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("seed", range(3))
def test_who_comes_back_with_older_cards_meets_again_and_counts_on(seed: int, where: str) -> None:
    village, alice, bob = _known_by_a_newer_card(seed, *PLACES[where])
    bob.start()
    assert village.internet.run_until(lambda: _meet(alice, bob), MEETS_WITHIN_S)
    alice.send("from alice", to=bob)
    bob.send("from bob", to=alice)
    village.internet.run(5.0)
    assert bob.texts() == ["from alice"]
    assert alice.texts() == ["from bob"]
    assert [is_of_a_copy for _, is_of_a_copy in alice.own_cards] == [False], "told, and once"
    village.internet.run(60.0)
    carol = village.member("carol")
    carol.disk.cards[alice.peer] = bob.disk.cards[alice.peer]
    carol.start()
    assert village.internet.run_until(lambda: _meet(alice, carol), MEETS_WITHIN_S)
    assert len(alice.own_cards) == 1, "its cards are the newest again"


def test_without_a_server_its_greeting_from_where_it_was_is_enough() -> None:
    village, alice, bob = _known_by_a_newer_card(5, None, None)
    village.kill_server()
    bob.start()
    assert village.internet.run_until(lambda: _meet(alice, bob), MEETS_WITHIN_S)
    alice.send("from alice", to=bob)
    village.internet.run(2.0)
    assert bob.texts() == ["from alice"]


def test_an_older_greeting_recorded_and_sent_from_elsewhere_causes_no_packet() -> None:
    village, alice, bob = _known_by_a_newer_card(6, None, None)
    recorded = alice.membership.own_card.sealed
    alice.kill()
    village.kill_server()
    village.internet.run(300.0)
    bob.start()
    village.internet.run(5.0)
    elsewhere = village.internet.add_host()
    data = encode_greeting(Greeting(network_tag(KEY), recorded, True))
    place = Address(elsewhere.address, 40000)
    bob.node.receive_datagram(data, place, village.internet.now)
    sent = bob.node.datagrams_to_send()
    assert [datagram for datagram in sent if datagram.address.host == place.host] == []
    assert bob.membership.dropped["greeting-of-an-older-card"] == 1


def test_an_older_card_of_a_peer_that_is_connected_does_not_count() -> None:
    village, alice, bob = _pair(7, None, None)
    first = alice.membership.own_card.sealed
    alice.stop()
    alice.start()
    assert village.internet.run_until(lambda: _meet(alice, bob), MEETS_WITHIN_S)
    village.internet.run(100.0)
    known = bob.membership.roster.peers[alice.peer].card.sequence
    card = bob.membership.roster.open(first)
    assert card is not None
    assert card.sequence < known
    ours = bob.membership.own_card
    assert bob.membership.roster.take(card, first, ours, None, village.internet.now) is None
    assert bob.membership.dropped["card-is-older"] == 1
    assert bob.membership.roster.peers[alice.peer].card.sequence == known


def test_a_card_that_was_shown_just_now_keeps_older_ones_away() -> None:
    village, alice, bob = _known_by_a_newer_card(8, None, None)
    newest, older = bob.disk.cards[alice.peer], alice.membership.own_card.sealed
    alice.kill()
    village.kill_server()
    bob.start()
    roster, ours, now = bob.membership.roster, bob.membership.own_card, village.internet.now
    card, past = roster.open(newest), roster.open(older)
    assert card is not None
    assert past is not None
    assert roster.take(card, newest, ours, None, now) is not None
    assert roster.take(past, older, ours, None, now + 4.0) is None
    assert roster.take(past, older, ours, None, now + 6.0) is not None
    assert roster.take(card, newest, ours, None, now + 7.0) is not None, "the newer one, at once"


def _pair(
    seed: int, mine: NatPolicy | None, yours: NatPolicy | None
) -> tuple[Village, Member, Member]:
    village = Village(seed)
    gateways = [None if nat is None else village.internet.add_nat(nat) for nat in (mine, yours)]
    alice, bob = village.member("alice", gateways[0]), village.member("bob", gateways[1])
    alice.start()
    bob.start()
    assert village.internet.run_until(lambda: _meet(alice, bob), 30.0)
    return village, alice, bob


def _known_by_a_newer_card(
    seed: int, mine: NatPolicy | None, yours: NatPolicy | None
) -> tuple[Village, Member, Member]:
    """Alice is back with a disk of before, Bob's knows a later card of hers and is off; the server
    has forgotten all."""
    village, alice, bob = _pair(seed, mine, yours)
    village.internet.run(5.0)
    backup = deepcopy(alice.disk)
    alice.stop()
    alice.disk.card_sequence += 1_000_000
    alice.start()
    assert village.internet.run_until(lambda: _meet(alice, bob), 30.0)
    village.internet.run(5.0)
    alice.kill()
    bob.kill()
    village.kill_server()
    village.start_server()
    alice.disk = backup
    alice.runs += 7
    alice.start()
    village.internet.run(30.0)
    return village, alice, bob


def _meet(one: Member, other: Member) -> bool:
    return one.is_online(other) and other.is_online(one)
