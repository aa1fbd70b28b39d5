"""One remote peer: who is let in, under which secrets, and what is said of its presence."""

import pytest

from natd.core.base import events
from natd.core.base.types import PeerState
from tests.core.world.village import Village
from tests.internet.nat import FULL_CONE, PORT_RESTRICTED

HOUR_S = 3600.0

LESSONS_S = 1200.0
"""By then it is known how long the path may be silent, and the spare flow for that is closed: a
lesson that a restart cut short is given again ten minutes later."""


def _chatting(policy=PORT_RESTRICTED):
    village = Village()
    internet = village.internet
    alice = village.member("alice", internet.add_nat(policy))
    bob = village.member("bob", internet.add_nat(policy), port=40001)
    alice.start()
    internet.run(2.0)
    bob.start()
    assert internet.run_until(lambda: alice.is_online(bob) and bob.is_online(alice), 10.0)
    return village, alice, bob


def _state(member, other):
    views = member.views()
    return next(view.state for view in views if view.peer == other.peer)


def test_a_blocked_peer_gets_nothing_in_and_nothing_out():
    village, alice, bob = _chatting(FULL_CONE)
    internet = village.internet
    alice.membership.block(bob.peer, True, internet.now)
    internet.run(1.0)
    assert _state(alice, bob) is PeerState.BLOCKED
    internet.trace = []
    for number in range(5):
        bob.send(f"let me in {number}", to=alice)
        alice.send("not for you", to=bob)
        internet.run(30.0)
    assert alice.texts() == []
    assert bob.texts() == []
    to_bob = [
        sent
        for sent in internet.trace
        if sent.host is alice.host and sent.datagram.address.port == bob.port
    ]
    assert to_bob == []
    assert not bob.is_online(alice)


def test_a_peer_that_is_blocked_from_an_earlier_run_stays_out_after_a_restart():
    village, alice, bob = _chatting(FULL_CONE)
    alice.kill()
    alice.start()
    alice.membership.block(bob.peer, True, village.internet.now)
    bob.send("let me in", to=alice)
    village.internet.run(30.0)
    assert alice.texts() == []
    assert _state(alice, bob) is PeerState.BLOCKED


def test_a_peer_that_is_not_blocked_any_more_is_met_again():
    village, alice, bob = _chatting()
    internet = village.internet
    alice.membership.block(bob.peer, True, internet.now)
    internet.run(1.0)
    bob.send("one", to=alice)
    internet.run(100.0)
    alice.membership.block(bob.peer, False, internet.now)
    assert internet.run_until(lambda: alice.texts() == ["one"], 10.0)


@pytest.mark.parametrize("outage_h", [0.5, 1.5, 5.0])
def test_prekeys_that_rotate_while_the_two_can_not_hear_each_other_keep_them_apart_no_longer(
    outage_h,
):
    """Neither gets the other's newer card: checks are made under the session's secrets, too."""
    village, alice, bob = _chatting()
    internet = village.internet
    village.kill_server()
    internet.run(0.8 * HOUR_S)
    bob.host.connected = False
    internet.run(outage_h * HOUR_S)
    assert not alice.is_online(bob)
    bob.send("back", to=alice)
    bob.host.connected = True
    assert internet.run_until(lambda: alice.texts() == ["back"], 150.0)
    alice.send("welcome", to=bob)
    assert internet.run_until(lambda: bob.texts() == ["welcome"], 5.0)


def test_a_reconnection_is_timed_from_when_the_peer_was_missed_not_from_an_old_introduction():
    village, alice, bob = _chatting()
    internet = village.internet
    internet.run(200.0)
    alice.membership.retry(None, internet.now)
    internet.run(500.0)
    bob.kill()
    internet.run(300.0)
    bob.start()
    assert internet.run_until(lambda: alice.is_online(bob), 10.0)
    connected = alice.attached.events_of(events.PeerConnected)
    assert len(connected) == 2
    assert connected[-1].connect_s < 5.0


def test_a_ping_is_answered_by_the_first_answer_to_a_check_and_survives_a_loss():
    village, alice, bob = _chatting(FULL_CONE)
    internet = village.internet
    internet.run(12.0)
    answered = _answered_pings(alice)
    internet.detach(bob.host)
    peer = alice.membership.peers[bob.peer]
    peer.ping(7, internet.now)
    alice.membership.drain_peer(peer, internet.now)
    internet.run(0.1)
    assert answered == []
    internet.attach(bob.host, bob.node, ports=[bob.port], on_event=bob._on_event)
    internet.run(2.0)
    [pong] = answered
    assert (pong.network, pong.peer, pong.token) == (alice.network, bob.peer, 7)
    assert 0.0 < pong.rtt_s < 0.5


def test_pings_that_nobody_answers_are_bounded():
    village, alice, bob = _chatting(FULL_CONE)
    internet = village.internet
    internet.run(12.0)
    answered = _answered_pings(alice)
    internet.detach(bob.host)
    for token in range(1000):
        alice.membership.peers[bob.peer].ping(token, internet.now)
    alice.membership.drain_peer(alice.membership.peers[bob.peer], internet.now)
    internet.attach(bob.host, bob.node, ports=[bob.port], on_event=bob._on_event)
    internet.run(2.0)
    assert [pong.token for pong in answered] == list(range(1000 - 64, 1000))


def _answered_pings(member):
    """Those that are answered from here on."""
    answered = []
    plain = member.attached.on_event

    def notice(event, now):
        if isinstance(event, events.PingAnswered):
            answered.append(event)
        plain(event, now)

    member.attached.on_event = notice
    return answered


def test_a_hundred_restarts_of_a_peer_leave_nothing_behind():
    village, alice, bob = _chatting()
    internet = village.internet
    internet.run(20.0)
    before = len(alice.node.shared.routes)
    for number in range(100):
        bob.kill()
        bob.start()
        bob.send(str(number), to=alice)
        assert internet.run_until(lambda n=number: len(alice.texts()) == n + 1, 40.0)
    internet.run(LESSONS_S)
    assert len(alice.node.shared.routes) <= before + 8
    assert len(alice.node.shared.sockets.live) == 0
    assert len(alice.attached.ports) == 1
