"""Recorded cards of a member, shown again by somebody who has none of its keys: what he gains.

Every recording was made on the way to a server or on a LAN; it was signed by the member itself.
"""

from dataclasses import replace

import pytest

from natd.core.base import events
from natd.core.base.types import Address, Candidate, CandidateKind
from natd.core.keys.card import Card, seal_card
from natd.core.network.greeting import Greeting, encode_greeting, network_tag
from tests.core.node.test_older_cards import _known_by_a_newer_card, _meet, _pair
from tests.core.world.village import KEY, Member


@pytest.mark.parametrize("every_s", [20.0, 1.0, 0.1])
@pytest.mark.parametrize("has_server", [True, False], ids=["server", "none"])
@pytest.mark.parametrize("is_spoofed", [True, False], ids=["from there", "from elsewhere"])
def test_the_newest_card_shown_again_and_again_keeps_nobody_apart(
    every_s: float, *, has_server: bool, is_spoofed: bool
) -> None:
    """The owner has only older cards; who shows its newest has not even a way to withhold."""
    village, alice, bob = _known_by_a_newer_card(3, None, None)
    if not has_server:
        village.kill_server()
    greeting = encode_greeting(Greeting(network_tag(KEY), bob.disk.cards[alice.peer], False))
    elsewhere = village.internet.add_host()
    place = Address((alice.host if is_spoofed else elsewhere).address, 40000)
    bob.start()
    began_at = village.internet.now
    while not _meet(alice, bob) and village.internet.now < began_at + 200.0:
        bob.node.receive_datagram(greeting, place, village.internet.now)
        village.internet.run(every_s)
    assert _meet(alice, bob)


def test_cards_of_the_past_change_no_nick_and_write_nothing_to_the_disk() -> None:
    """As somebody's former nick may be another's today, who would be taken for a stranger."""
    village, alice, bob = _pair(4, None, None)
    newest = bob.membership.roster.peers[alice.peer].card
    past = [_past(alice, newest, number, "anna") for number in range(1, 200)]
    alice.kill()
    village.internet.run(60.0)
    met: list[events.PeerMet] = []
    roster, ours = bob.membership.roster, bob.membership.own_card
    now = village.internet.now
    taken = 0
    roster.changes()
    for second in range(0, 3600, 5):
        card, sealed = past[second % len(past)]
        taken += roster.take(card, sealed, ours, None, now + second) is not None
        met += [change for change in roster.changes() if isinstance(change, events.PeerMet)]
    assert taken > 50, "they count, since the owner is not here"
    assert met == []
    assert roster.peers[alice.peer].card.nick == "alice"
    bob.send("for alice", to=alice)
    assert bob.membership.roster.peers[alice.peer].view(now).nick == "alice"


def test_recordings_change_the_keys_once_in_five_seconds_at_most() -> None:
    village, alice, bob = _pair(5, None, None)
    roster, ours = bob.membership.roster, bob.membership.own_card
    newest = roster.peers[alice.peer].card
    recordings = [_past(alice, newest, number, "alice") for number in range(1, 200)]
    recordings.append((newest, roster.peers[alice.peer].sealed_card))
    alice.kill()
    village.internet.run(60.0)
    now, keys, changes = village.internet.now, newest.prekey_public, 0
    for tenth in range(18_000):
        roster.take(*recordings[tenth % len(recordings)], ours, None, now + tenth / 10)
        changes += roster.peers[alice.peer].card.prekey_public != keys
        keys = roster.peers[alice.peer].card.prekey_public
    assert changes <= 1800 / 5 + 2 * 3, "and a card comes back at once in ten minutes"


@pytest.mark.parametrize("has_server", [True, False], ids=["server", "none"])
def test_nobody_who_has_a_members_former_address_is_sent_a_packet(*, has_server: bool) -> None:
    """The recording comes from where the member was last, as far as its source can be believed."""
    village, alice, bob = _pair(6, None, None)
    newest = bob.membership.roster.peers[alice.peer].card
    heir = Address(village.internet.add_host().address, 40000)
    alice.kill()
    village.internet.run(400.0)
    if not has_server:
        village.kill_server()
    trace = village.internet.trace = []
    for number in range(1, 11):
        _, sealed = _past(alice, newest, number, "alice", heir)
        data = encode_greeting(Greeting(network_tag(KEY), sealed, False))
        bob.node.receive_datagram(data, Address(alice.host.address, 40000), village.internet.now)
        village.internet.run(60.0)
    assert bob.membership.roster.peers[alice.peer].card.sequence <= 10, "they did count"
    assert [sent for sent in trace if sent.datagram.address.host == heir.host] == []


def _past(
    owner: Member, newest: Card, number: int, nick: str, place: Address | None = None
) -> tuple[Card, bytes]:
    """A card of an earlier run, with keys of that run, and perhaps from another place."""
    earlier = replace(
        newest, sequence=number, prekey_public=bytes([number % 251 + 1]) * 32, nick=nick
    )
    if place is not None:
        kinds = (CandidateKind.SERVER_REFLEXIVE, CandidateKind.MAPPED, CandidateKind.IPV6)
        earlier = replace(earlier, candidates=tuple(Candidate(kind, place) for kind in kinds))
    return earlier, seal_card(earlier, owner.identity, KEY)
