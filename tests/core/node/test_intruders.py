"""Who is not let in: lying servers, replays, strangers, also with the server in their hands."""

from dataclasses import replace
from random import Random

import pytest

from natd.core.base import events
from natd.core.base.types import Address, Datagram, DecodeError, PeerId
from natd.core.codec import rendezvous, rendezvous_codec
from natd.core.keys.card import Card, Identity, open_card, seal_card
from natd.core.keys.secrets import Prekey, network_key
from natd.core.network import greeting
from tests.core.world.village import KEY, Village
from tests.internet.nat import FULL_CONE, PORT_RESTRICTED, SYMMETRIC_RANDOM

SECRET_KEY = network_key("demo", b"0123456789abcdef")


class LyingServer:
    """A coordinator whose introductions pass through `lie` on their way out."""

    def __init__(self, village, lie):
        self._core = village.coordinator
        self._lie = lie
        village.internet._attached[village.server_host].core = self

    def datagrams_to_send(self):
        return [self._changed(datagram) for datagram in self._core.datagrams_to_send()]

    def _changed(self, datagram):
        try:
            message = rendezvous_codec.decode(datagram.data)
        except (DecodeError, rendezvous_codec.ForeignVersionError):
            return datagram
        if not isinstance(message, rendezvous.Introduce):
            return datagram
        changed = self._lie(message)
        return Datagram(rendezvous_codec.encode(changed), datagram.address, None, datagram.socket)

    def __getattr__(self, name):
        return getattr(self._core, name)


def _pair(key, lie=None):
    village = Village(3)
    if lie is not None:
        LyingServer(village, lie)
    internet = village.internet
    alice = village.member("alice", internet.add_nat(PORT_RESTRICTED), key=key)
    bob = village.member("bob", internet.add_nat(PORT_RESTRICTED), key=key, port=40001)
    alice.start()
    internet.run(2.0)
    bob.start()
    bob.send("hello")
    return village, alice, bob


def _to_peers(village, member):
    """Datagrams of a member that went anywhere but to the server."""
    return [
        sent
        for sent in village.internet.trace
        if sent.host is member.host and sent.datagram.address.host != village.server_host.address
    ]


def _card_of(identity, sequence=10_000):
    return Card(identity.peer, identity.static_public, Prekey.generate().public, sequence, "bob")


def test_a_server_that_swaps_cards_of_a_secret_network_causes_no_packet_and_a_warning():
    mallory = Identity(Random("mallory").randbytes(32))
    forged = seal_card(_card_of(mallory), mallory, network_key("demo", b"a guess"))

    def swap(message):
        return replace(message, peer=mallory.peer, card=forged)

    village, alice, bob = _pair(SECRET_KEY, swap)
    village.internet.trace = []
    village.internet.run(20.0)
    assert _to_peers(village, alice) == []
    assert _to_peers(village, bob) == []
    assert not alice.disk.cards
    warned = bob.attached.first(events.ServerSuspected)
    assert warned is not None
    assert warned - 1002.0 <= 1.0


def test_a_server_that_alters_a_card_gets_no_session():
    def alter(message):
        return replace(message, card=message.card[:-1] + bytes([message.card[-1] ^ 1]))

    village, alice, bob = _pair(SECRET_KEY, alter)
    village.internet.run(20.0)
    assert not bob.connected
    assert not alice.disk.received


def test_a_server_that_puts_another_member_in_place_of_the_named_gets_no_session_in_his_name():
    """In an open network anybody can make a card, but only of himself."""
    mallory = Identity(Random("mallory").randbytes(32))
    sealed = seal_card(_card_of(mallory), mallory, KEY)
    assert open_card(sealed, KEY).peer == mallory.peer

    def pose(message):
        return replace(message, card=sealed)

    village, alice, bob = _pair(KEY, pose)
    village.internet.run(20.0)
    assert not bob.connected
    assert not bob.disk.cards
    assert not alice.disk.received


def test_a_server_that_hands_out_an_old_card_is_seen_by_its_sequence():
    first_cards: dict[PeerId, bytes] = {}

    def keep(message):
        first_cards.setdefault(message.peer, message.card)
        return replace(message, card=first_cards[message.peer])

    village, alice, bob = _pair(KEY, keep)
    assert village.internet.run_until(lambda: alice.texts() == ["hello"], 5.0)
    bob.kill()
    village.internet.run(1.0)
    bob.start()
    village.internet.run(5.0)
    bob.send("again", to=alice)
    village.internet.run(20.0)
    assert alice.texts() == ["hello"], "with a card of yesterday there is no session"


def test_a_replayed_first_flight_and_a_whole_replayed_session_change_nothing():
    village, alice, bob = _pair(KEY)
    internet = village.internet
    internet.trace = []
    assert internet.run_until(lambda: alice.texts() == ["hello"], 5.0)
    for number in range(5):
        bob.send(f"text {number}", to=alice)
        internet.run(1.0)
    captured = [sent.datagram.data for sent in _to_peers(village, bob)]
    assert len(captured) > 10
    before = alice.texts()
    elsewhere = Address("198.51.100.99", 5555)
    for data in captured:
        alice.node.receive_datagram(data, elsewhere, internet.now)
    internet.run(5.0)
    assert alice.texts() == before
    assert alice.is_online(bob)
    path = alice.views()[0].path
    assert path is not None
    assert path.address != elsewhere
    bob.send("after the replay", to=alice)
    assert internet.run_until(lambda: alice.texts()[-1] == "after the replay", 1.0)


def test_a_first_flight_replayed_to_a_restarted_peer_opens_nothing():
    """Its prekey is a new one, so the old flight's tag is nobody's."""
    village, alice, bob = _pair(KEY)
    internet = village.internet
    internet.trace = []
    assert internet.run_until(lambda: alice.texts() == ["hello"], 5.0)
    captured = [sent.datagram.data for sent in _to_peers(village, bob)]
    bob.kill()
    alice.kill()
    village.kill_server()
    alice.start()
    for data in captured:
        alice.node.receive_datagram(data, Address("198.51.100.99", 5555), internet.now)
    internet.run(5.0)
    assert alice.texts() == ["hello"]
    assert not alice.connected


def test_an_outsider_without_the_secret_makes_nobody_send_a_packet():
    village, alice, _ = _pair(SECRET_KEY)
    internet = village.internet
    internet.run(3.0)
    village.kill_server()
    internet.trace = []
    random = Random(9)
    for first in (0x00, 0x01, 0x05, 0x40, 0xC0, 0xE0):
        for _ in range(200):
            data = bytes([first]) + random.randbytes(random.choice((19, 27, 60, 1199)))
            alice.node.receive_datagram(data, Address("198.51.100.99", 5555), internet.now)
    internet.run(0.5)
    assert [s for s in _to_peers(village, alice) if s.datagram.address.port == 5555] == []


def test_a_recorded_greeting_of_a_peer_that_is_here_makes_nobody_send_a_packet():
    village, alice, bob = _pair(KEY)
    internet = village.internet
    assert internet.run_until(lambda: alice.is_online(bob), 5.0)
    internet.run(20.0)
    card = alice.disk.cards[bob.peer]
    recorded = greeting.Greeting(greeting.network_tag(KEY), card, wants_answer=True)
    internet.trace = []
    for number in range(20):
        victim = Address(f"198.51.100.{number + 1}", 5555)
        data = greeting.encode_greeting(recorded)
        alice.node.receive_datagram(data, victim, internet.now)
    internet.run(5.0)
    towards = {sent.datagram.address.host for sent in _to_peers(village, alice)}
    assert not any(host.startswith("198.51.100.") for host in towards)
    bob.send("as before", to=alice)
    assert internet.run_until(lambda: alice.texts()[-1] == "as before", 1.0)


def test_a_check_that_seems_to_come_from_a_service_is_not_answered():
    """Made by the peer, so everything is right about it but where it says that it is from."""
    village, alice, bob = _pair(KEY)
    internet = village.internet
    assert internet.run_until(lambda: alice.is_online(bob), 5.0)
    checks = bob.membership.peers[alice.peer].reach.checks
    internet.trace = []
    for port in (7, 19, 53, 123, 1023):
        victim = Address("198.51.100.9", port)
        check = checks.request(victim, 0, internet.now)
        alice.node.receive_datagram(check.data, victim, internet.now)
    internet.run(1.0)
    assert alice.node.dropped["source-of-a-service"] == 5
    assert not [s for s in _to_peers(village, alice) if s.datagram.address.host == victim.host]


@pytest.mark.parametrize(
    "victim", ["127.0.0.1", "224.0.0.251", "255.255.255.255", "0.0.0.7", "203.0.113.99"]
)
def test_a_server_that_puts_a_hard_nat_elsewhere_aims_nobody(victim):
    """Not at what can be no peer, and at a stranger with two attempts at most."""

    def elsewhere(message):
        places = tuple(Address(victim, seen.port) for seen in message.observed)
        return replace(message, observed=places, samples=())

    village = Village(5)
    LyingServer(village, elsewhere)
    internet = village.internet
    alice = village.member("alice", internet.add_nat(FULL_CONE), key=SECRET_KEY)
    bob = village.member("bob", internet.add_nat(SYMMETRIC_RANDOM), key=SECRET_KEY, port=40001)
    alice.start()
    internet.run(2.0)
    internet.trace = []
    bob.start()
    internet.run(300.0)
    aimed = [s for s in _to_peers(village, alice) if s.datagram.address.host == victim]
    assert len(aimed) <= (5_000 if victim == "203.0.113.99" else 0)
