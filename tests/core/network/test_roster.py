"""Places in a network are few, and anybody can make up members of an open one."""

from random import Random

import pytest

from natd.core.base import events
from natd.core.base.routes import CHECK, CONNECTION_ID, TAG
from natd.core.base.types import MAIN_SOCKET, Address
from natd.core.keys.secrets import network_key
from natd.core.network.greeting import Greeting, encode_greeting, network_tag
from natd.core.network.places import GIVING_WAY_BURST
from natd.core.network.shared import PEERS_LIMIT
from natd.core.registration.events import Introduced
from tests.core.world.made_up import identity, membership_of_alice, sealed_card
from tests.core.world.village import Village

START = 1000.0
FULL_AT = START + PEERS_LIMIT
OPEN = network_key("demo", b"")
SERVER = Address("203.0.113.1", 8080)
THERE = Address("198.51.100.7", 40001)
EVERY_S = 1.0
"""As fast as strangers are met."""

STATE = events.ConversationState(7, 1, None, 0)


def test_in_a_full_network_the_oldest_that_was_never_reached_gives_way():
    membership = _full()
    membership.get_timer()  # An output: what was handed out is drained.
    routes = membership._shared.routes
    first = membership.peers[identity("member 0").peer]
    before = {key for key, route in routes.items() if route.peer is first}
    assert {key[:1] for key in before} == {TAG, CHECK, CONNECTION_ID}
    _greet(membership, "newcomer", FULL_AT)
    drained = _drain(membership)
    oldest, newcomer = identity("member 0").peer, identity("newcomer").peer
    assert [e.peer for e in drained if isinstance(e, events.PeerForgotten)] == [oldest]
    assert {view.peer for view in membership.roster.views(FULL_AT)} >= {newcomer}
    assert len(membership.roster.views(START)) == PEERS_LIMIT
    assert not before & set(routes)
    assert all(route.peer is not first for route in routes.values())


def test_nothing_is_sent_any_more_to_a_peer_that_was_replaced():
    membership = _full()
    membership.datagrams_to_send()
    _greet(membership, "newcomer", FULL_AT)
    forgotten = membership.peers.get(identity("member 0").peer)
    assert forgotten is None
    assert membership.get_timer() is not None
    membership.retry(None, FULL_AT + 0.1)
    assert all(view.nick != "member 0" for view in membership.roster.views(FULL_AT + 0.1))


@pytest.mark.parametrize("why", ["a message", "marked", "not opened"])
def test_a_member_for_whom_something_speaks_keeps_its_place(why):
    membership = membership_of_alice(OPEN)
    for number in range(PEERS_LIMIT):
        _greet(membership, f"member {number}", START + number)
        if number or why != "not opened":
            _open(membership, f"member {number}", START + number)
    first = identity("member 0").peer
    if why == "a message":
        membership.roster.want(first, is_addressed=True, now=FULL_AT)
    elif why == "marked":
        membership.roster.mark(first, is_marked=True, now=FULL_AT)
    for number in range(8):
        _greet(membership, f"newcomer {number}", FULL_AT + number)
    assert membership.peers.get(first) is not None
    assert membership.peers.get(identity("member 8").peer) is None


def test_who_was_connected_once_keeps_its_place():
    village = Village()
    alice, bob = village.member("alice"), village.member("bob", port=40001)
    alice.start()
    bob.start()
    assert village.internet.run_until(lambda: alice.is_online(bob), 5.0)
    bob.kill()
    village.internet.run(300.0)
    assert not alice.is_online(bob)
    membership = alice.membership
    for number in range(PEERS_LIMIT + 8):
        now = village.internet.now + number * EVERY_S
        _greet(membership, f"member {number}", now)
        _open(membership, f"member {number}", now)
    assert membership.peers.get(bob.peer) is not None
    assert membership.peers.get(identity("member 0").peer) is None


def test_places_do_not_change_hands_faster_than_their_owners_can_be_reached():
    membership = _full()
    for number in range(3 * int(GIVING_WAY_BURST)):
        _introduce(membership, f"newcomer {number}", FULL_AT)
    forgotten = [e for e in _drain(membership) if isinstance(e, events.PeerForgotten)]
    assert len(forgotten) == GIVING_WAY_BURST


def test_an_honest_newcomer_comes_into_an_open_network_full_of_made_up_members():
    village = Village()
    alice, bob = village.member("alice"), village.member("bob", port=40001)
    alice.start()
    village.internet.run(3.0)
    membership = alice.membership
    for number in range(PEERS_LIMIT):
        membership.remember_peer(sealed_card(f"member {number}", OPEN), {}, village.internet.now)
        _open(membership, f"member {number}", village.internet.now)
    bob.start()
    bob.send("room for me?")
    assert village.internet.run_until(lambda: alice.texts() == ["room for me?"], 10.0)


def test_a_card_that_comes_again_is_not_opened_again():
    """A hundred members are introduced twice, and a signature is the dearest part of it."""
    membership = membership_of_alice(OPEN)
    _introduce(membership, "bob", START)
    bob = membership.peers[identity("bob").peer]
    again = bytes(bytearray(bob.sealed_card))
    assert membership.roster.open(again) is bob.card


def _full():
    """A network of made-up members, with whom nothing was ever said."""
    membership = membership_of_alice(OPEN)
    for number in range(PEERS_LIMIT):
        _introduce(membership, f"member {number}", START + number)
    assert len(membership.roster.views(START)) == PEERS_LIMIT
    return membership


def _greet(membership, name, now):
    data = encode_greeting(Greeting(network_tag(OPEN), sealed_card(name, OPEN), False))
    membership.receive_greeting(data, _home(name), MAIN_SOCKET, now)


def _home(name):
    """Everybody has an address of their own."""
    chance = Random(f"{name} home")
    return Address(f"198.{chance.randrange(18, 20)}.{chance.randrange(256)}.7", 40001)


def _introduce(membership, name, now):
    """A server does, and the shell has nothing for this peer."""
    peer = identity(name).peer
    news = Introduced(SERVER, peer, sealed_card(name, OPEN), (_home(name),), True, 0.0)
    membership._introduce(news, now)
    _open(membership, name, now)


def _open(membership, name, now):
    """The shell has nothing for this peer."""
    peer = membership.peer(identity(name).peer, now)
    if peer is not None:
        peer.dialogue.open_conversation(STATE, now)


def _drain(membership):
    drained = []
    while (event := membership.next_event()) is not None:
        drained.append(event)
    return drained
