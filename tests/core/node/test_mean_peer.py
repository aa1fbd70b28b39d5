"""A peer that is let in, holds the pair's key, and says what no peer should say."""

from random import Random

import pytest

from natd.core.base import events
from natd.core.codec import frames
from natd.core.keys.card import Card, seal_card
from natd.core.keys.secrets import Prekey
from natd.core.peer.peer import CARDS_BURST
from tests.core.world.village import KEY, Village
from tests.internet.nat import PORT_RESTRICTED


def _chatting():
    village = Village(7)
    internet = village.internet
    alice = village.member("alice", internet.add_nat(PORT_RESTRICTED))
    bob = village.member("bob", internet.add_nat(PORT_RESTRICTED), port=40001)
    alice.start()
    internet.run(2.0)
    bob.start()
    assert internet.run_until(lambda: alice.is_online(bob) and bob.is_online(alice), 10.0)
    return internet, alice, bob


def _peer_of(member, other):
    return member.membership.peers.get(other.peer)


def _say(internet, speaker, listener, data):
    """Put bytes onto the session's stream, as it has room."""
    sessions = _peer_of(speaker, listener).dialogue.sessions
    at = 0
    while at < len(data) and sessions.is_open:
        piece = data[at : at + min(sessions.send_room, 32 * 1024)]
        sessions.send(piece, internet.now)
        speaker.membership.retry(listener.peer, internet.now)
        at += len(piece)
        internet.run(0.1)
    internet.run(1.0)


def test_newer_cards_in_a_row_are_not_all_taken():
    internet, alice, bob = _chatting()
    said = []
    for number in range(200):
        prekey = Prekey(Random(number).randbytes(32))
        identity = bob.identity
        card = Card(
            identity.peer, identity.static_public, prekey.public, 10**9 + number, f"bob{number}"
        )
        said.append(frames.encode_frame(frames.NewerCard(seal_card(card, identity, KEY))))
    began = internet.now
    _say(internet, bob, alice, b"".join(said))
    taken = _peer_of(alice, bob).card.sequence - 10**9
    assert 0 <= taken <= CARDS_BURST + (internet.now - began)


def test_a_peer_that_has_said_goodbye_is_ignored():
    internet, alice, bob = _chatting()
    bye = frames.encode_frame(frames.Bye("again"))
    _say(internet, bob, alice, bye * 20_000)
    peer = _peer_of(alice, bob)
    assert peer.dialogue.dropped["after-the-bye"] > 0
    assert len(alice.attached.events_of(events.PeerDisconnected)) == 1


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xff\xff\xff",
        b"\x00\x00\x00\x00",
        Random(1).randbytes(5_000),
        b"\x00\x00\x00\x08\x92\x02\xdb\xff\xff\xff\xff\x00",
    ],
    ids=["too long", "empty", "random", "a text that is not there"],
)
def test_what_is_no_frame_costs_the_session_and_no_message(data):
    internet, alice, bob = _chatting()
    _say(internet, bob, alice, data)
    assert _peer_of(alice, bob).dialogue.dropped["no-frame"] == 1
    alice.send("still here", to=bob)
    bob.send("so am I", to=alice)
    assert internet.run_until(lambda: bob.texts() and alice.texts(), 30.0)
