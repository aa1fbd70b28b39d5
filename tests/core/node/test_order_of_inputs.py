"""What depends on the order in which a membership hands things on, and on what it still holds."""

from random import Random

import pytest

from natd.core.base import events
from natd.core.base.types import MAIN_SOCKET, Datagram
from natd.core.base.verdict import VerdictCode
from natd.core.chat.dialogue import Dialogue
from natd.core.codec import rendezvous, rendezvous_codec
from natd.core.codec.frames import Introduce, encode_frame
from natd.core.keys.card import Card, Identity, seal_card
from natd.core.keys.secrets import Prekey, network_key
from tests.core.world.village import KEY, SERVER_PORT, Village
from tests.internet.nat import (
    PORT_RESTRICTED,
    SYMMETRIC_BLOCK,
    SYMMETRIC_RANDOM,
    SYMMETRIC_SEQUENTIAL,
)

SECRET = network_key("demo", b"0123456789abcdef")


def test_a_newcomer_that_introduces_another_in_its_first_flight_may_be_the_one_that_gives_way(
    monkeypatch,
):
    """It raised KeyError out of `receive_datagram`: the one who told was no member any more."""
    village = Village(1)
    alice, mallory = village.member("alice"), village.member("mallory", port=40001)
    stranger = Identity(Random(5).randbytes(32))
    card = Card(stranger.peer, stranger.static_public, Prekey.generate().public, 10_000, "q")
    frame = encode_frame(Introduce(stranger.peer, seal_card(card, stranger, KEY), None, False))
    settle = Dialogue.settle
    said: list[bytes] = []

    def settle_and_introduce(dialogue, now):
        settle(dialogue, now)
        peer = mallory.membership.peers.get(alice.peer) if begun else None
        is_mallorys = peer is not None and peer.dialogue is dialogue
        if is_mallorys and dialogue.sessions.is_open and not said:
            said.append(frame)
            dialogue.sessions.send(frame, now)

    monkeypatch.setattr(Dialogue, "settle", settle_and_introduce)
    begun = []
    alice.start()
    alice.node.set_limits(helper_sockets=256, fill_blocks="half", peers_per_network=1)
    village.internet.run(1.0)
    mallory.start()
    begun.append(True)
    village.internet.run(5.0)
    assert said
    assert stranger.peer in {met.peer for met in alice.attached.events_of(events.PeerMet)}


def test_what_a_peer_has_sent_leaves_before_the_sample_of_its_fresh_socket():
    """A NAT that counts its ports up would count the checks after the sample, which is stale then:
    of 60 pairs behind two such NATs with other users 52 met in 90 s for 58."""
    village = Village(2)
    internet = village.internet
    alice = village.member("alice", internet.add_nat(SYMMETRIC_SEQUENTIAL), SECRET)
    bob = village.member("bob", internet.add_nat(SYMMETRIC_SEQUENTIAL), SECRET, port=40001)
    alice.start()
    internet.run(8.0)
    internet.trace = []
    bob.start()
    assert internet.run_until(lambda: alice.is_online(bob), 60.0)
    server = village.servers[0].host
    sampled = [
        (number, sent)
        for number, sent in enumerate(internet.trace)
        if sent.socket != MAIN_SOCKET and sent.datagram.address.host == server
    ]
    assert sampled
    for number, sent in sampled[:2]:
        after = [
            later
            for later in internet.trace[number:]
            if (later.at, later.host) == (sent.at, sent.host)
            and later.datagram.address.host != server
            and later.socket == MAIN_SOCKET
        ]
        assert after == []


@pytest.mark.parametrize("policy", [SYMMETRIC_RANDOM, SYMMETRIC_SEQUENTIAL, SYMMETRIC_BLOCK])
@pytest.mark.parametrize("after_s", [0.4, 1.0, 1.6, 6.0, 30.0])
def test_who_leaves_its_last_network_has_no_socket_open_but_the_main_one(policy, after_s):
    village = Village(3)
    internet = village.internet
    alice = village.member("alice", internet.add_nat(policy))
    village.member("bob", internet.add_nat(PORT_RESTRICTED), port=40001).start()
    internet.run(1.0)
    alice.start()
    internet.run(after_s)
    alice.node.leave(alice.network, internet.now)
    internet.run(0.0)
    assert set(alice.attached.ports) == {MAIN_SOCKET}
    assert alice.node.get_timer() is None


def test_a_server_that_refuses_after_it_was_silent_is_not_said_to_be_silent():
    village = Village(1)
    alice = village.member("alice")
    village.kill_server()
    alice.start()
    village.internet.run(12.0)
    ports = [SERVER_PORT + offset for offset in range(4)]
    village.internet.attach(village.server_host, Refusing(), ports=ports)
    village.internet.move(alice.host, None)
    now = village.internet.now
    alice.node.set_local_addresses(alice.host.addresses, alice.port, now)
    village.internet.run(20.0)
    lost = alice.attached.events_of(events.ServerLost)
    assert "refused us" in lost[-1].reason
    assert "nothing answers" not in lost[-1].reason
    assert lost[-1].code is VerdictCode.SERVER_REFUSES


class Refusing:
    """A server whose network is full."""

    def __init__(self):
        self._datagrams = []

    def receive_datagram(self, data, address, now, socket=MAIN_SOCKET):
        message = rendezvous_codec.decode(data)
        if isinstance(message, rendezvous.Register):
            error = rendezvous.Error(message.transaction, 2, "the network is full")
            answer = rendezvous_codec.encode(error)
            self._datagrams.append(Datagram(answer, address, None, socket))

    def handle_timer(self, now):
        pass

    def datagrams_to_send(self):
        datagrams, self._datagrams = self._datagrams, []
        return datagrams

    def next_event(self):
        return None

    def get_timer(self):
        return None
