"""Members on one link find each other with no server at all: real nodes, virtual time."""

from random import Random

import pytest

from natd.core.base import events
from natd.core.base.types import MAIN_SOCKET, Address, PathKind, PeerId
from natd.core.keys.secrets import network_key
from natd.core.network.greeting import GREETING_MAGIC, PADDED_GREETING_BYTES
from natd.core.network.multicast import (
    ANSWER_AGAIN_S,
    ANSWERS_WITHIN_S,
    CALL_EVERY_S,
    GROUP,
    GROUP_TTL,
    LINK_SOCKET,
    QUIET_EVERY_S,
    MulticastCalls,
)
from tests.core.world.village import KEY, Village
from tests.internet.nat import PORT_RESTRICTED, SYMMETRIC_RANDOM

START = 1000.0
SOURCE = Address("192.168.1.5", 40000)
PEER = PeerId(b"a member")


def test_two_on_one_link_meet_and_chat_while_no_server_answers():
    village, alice, bob = link_of_two()
    alice.start()
    village.internet.run(5.0)
    bob.start()
    bob.send("hello")
    began = village.internet.now
    assert village.internet.run_until(lambda: alice.texts() == ["hello"], 3.0)
    assert village.internet.now - began < 0.05
    alice.send("welcome")
    assert village.internet.run_until(lambda: bob.texts() == ["welcome"], 1.0)
    [connected] = bob.attached.events_of(events.PeerConnected)
    assert connected.path.kind is PathKind.LAN


def test_two_who_start_at_the_same_instant_meet_on_their_link():
    for seed in range(10):
        village, alice, bob = link_of_two(seed)
        alice.start()
        bob.start()
        meet = village.internet.run_until(lambda: alice.is_online(bob) and bob.is_online(alice), 3)  # noqa: B023
        assert meet, f"seed {seed}"


def test_where_the_link_is_not_listened_to_nobody_is_found_there():
    village, alice, bob = link_of_two()
    bob.hears_link = False
    alice.start()
    bob.start()
    assert not village.internet.run_until(lambda: bool(alice.disk.cards), 30.0)
    assert not calls_of(village, bob)


def test_members_of_another_network_on_the_link_learn_nothing_and_answer_nothing():
    village, alice, stranger = link_of_two(other_key=network_key("other", b"secret"))
    alice.start()
    stranger.start()
    village.internet.run(10.0)
    assert not alice.disk.cards
    assert not stranger.disk.cards
    sent = [each.datagram.address for each in village.internet.trace]
    assert {address for address in sent if address.host != village.server_host.address} == {GROUP}


def test_a_member_who_missed_every_call_is_found_by_a_later_one():
    village, alice, bob = link_of_two()
    alice.host.connected = False
    alice.start()
    village.internet.run(10.0)
    bob.start()
    village.internet.run(10.0)
    assert not alice.disk.cards
    alice.host.connected = True
    assert village.internet.run_until(lambda: alice.is_online(bob), CALL_EVERY_S * 1.3)


def test_who_changes_to_the_link_of_another_is_found_there_at_once():
    village, alice, bob = link_of_two()
    elsewhere = village.internet.add_nat(PORT_RESTRICTED)
    link = bob.host.behind
    village.internet.move(bob.host, elsewhere)
    alice.start()
    bob.start()
    village.internet.run(10.0)
    assert not alice.disk.cards
    village.internet.move(bob.host, link)
    bob.node.set_local_addresses(bob.host.addresses, bob.port, village.internet.now)
    assert village.internet.run_until(lambda: alice.is_online(bob), 0.1)


def test_a_server_that_introduces_the_two_as_well_does_no_harm():
    for seed in range(10):
        village, alice, bob = link_of_two(seed)
        village.start_server()
        alice.start()
        village.internet.run(3.0)
        bob.start()
        bob.send("hello")
        assert village.internet.run_until(lambda: alice.texts() == ["hello"], 0.05), seed  # noqa: B023
        village.internet.run(10.0)
        assert alice.texts() == ["hello"]
        assert len(bob.attached.events_of(events.PeerConnected)) == 1, seed


def test_a_link_that_carries_calls_and_nothing_else_leaves_the_other_ways_open():
    """As where an access point keeps its stations apart: the server's introduction still counts."""
    village, alice, bob = link_of_two()
    village.start_server()
    other = village.internet.add_nat(PORT_RESTRICTED)
    alice.start()
    village.internet.run(3.0)
    call = calls_of(village, alice)[-1]
    village.internet.move(bob.host, other)
    bob.start()
    village.internet.run(0.2)
    bob.node.receive_datagram(
        call.data, Address("192.168.1.77", 40000), village.internet.now, LINK_SOCKET
    )
    assert village.internet.run_until(lambda: bob.is_online(alice), 3.0)


def test_to_the_group_nothing_but_greetings_is_answered():
    village, alice, bob = link_of_two()
    village.start_server()
    alice.start()
    bob.start()
    assert village.internet.run_until(lambda: alice.is_online(bob), 3.0)
    village.internet.run(1.0)
    now = village.internet.now
    alice.attached.core.datagrams_to_send()
    to_alice = [
        sent.datagram.data
        for sent in village.internet.trace
        if sent.host is not alice.host and sent.datagram.data[0] != GREETING_MAGIC
    ]
    for data in to_alice:
        alice.node.receive_datagram(data, Address(bob.host.address, bob.port), now, LINK_SOCKET)
    assert alice.node.datagrams_to_send() == []
    assert alice.node.dropped["no-greeting-to-the-group"] == len(to_alice)


def test_a_call_leaves_from_the_main_socket_and_no_router_passes_it_on():
    village, alice, _ = link_of_two()
    alice.start()
    village.internet.run(3.0)
    called = calls_of(village, alice)
    assert [(d.socket, d.ttl, len(d.data)) for d in called] == [
        (MAIN_SOCKET, GROUP_TTL, PADDED_GREETING_BYTES)
    ] * 3


def test_our_own_call_that_comes_back_is_not_even_opened():
    village, alice, _ = link_of_two()
    alice.start()
    village.internet.run(3.0)
    own = Address(alice.host.address, alice.port)
    for call in calls_of(village, alice):
        alice.node.receive_datagram(call.data, own, village.internet.now, LINK_SOCKET)
    membership = alice.membership
    assert membership.dropped["greeting-of-our-own"] == 3
    assert membership.dropped["card-is-our-own"] == 0


def test_an_answer_from_a_private_address_counts_only_after_a_call_of_ours():
    """A card that was recorded elsewhere does not make us look into our own LAN."""
    village, alice, bob = link_of_two()
    village.internet.move(bob.host, village.internet.add_nat(SYMMETRIC_RANDOM))
    bob.start()
    village.internet.run(1.0)
    membership = bob.membership
    membership.discovery.answer(
        membership.own_card.sealed, SOURCE, MAIN_SOCKET, village.internet.now
    )
    [recorded] = membership.discovery.datagrams_to_send()
    alice.start()
    victim = Address("192.168.1.66", 40000)
    village.internet.run(2.0 + 2 * ANSWERS_WITHIN_S)
    alice.node.receive_datagram(recorded.data, victim, village.internet.now)
    village.internet.run(5.0)
    assert all(sent.datagram.address != victim for sent in village.internet.trace)


def test_an_answer_from_the_internet_right_after_a_call_is_not_taken_for_one_on_our_link():
    village, alice, bob = link_of_two()
    village.internet.move(bob.host, village.internet.add_nat(SYMMETRIC_RANDOM))
    bob.start()
    village.internet.run(1.0)
    theirs = bob.membership
    theirs.discovery.answer(theirs.own_card.sealed, SOURCE, MAIN_SOCKET, village.internet.now)
    [answer] = theirs.discovery.datagrams_to_send()
    alice.start()
    village.internet.run(0.1)
    ours = alice.membership
    for host, is_on_link in (("198.51.100.9", False), ("192.168.1.9", True)):
        greeted = ours.discovery.open(
            answer.data,
            Address(host, 40000),
            MAIN_SOCKET,
            ours.roster,
            ours.own_card.sealed,
            village.internet.now,
        )
        assert greeted.is_on_link is is_on_link


# --- the pace ----------------------------------------------------------------------------------


def test_three_calls_in_two_seconds_then_one_a_minute_and_fewer_while_all_are_here():
    for seed in range(20):
        assert sum(at < 2.0 * 1.25 for at in instants(seed, is_complete=False, until_s=60.0)) == 3
    lonely = instants(1, is_complete=False, until_s=3600.0)
    complete = instants(1, is_complete=True, until_s=3600.0)
    assert len(lonely) == pytest.approx(3 + 3600 / CALL_EVERY_S, abs=6)
    assert len(complete) == pytest.approx(3 + 3600 / QUIET_EVERY_S, abs=3)


def test_a_source_is_answered_four_times_a_second():
    calls = MulticastCalls(Random(1))
    assert calls.may_answer(PEER, SOURCE, START)
    assert not calls.may_answer(PEER, SOURCE._replace(port=1024), START + 0.9 * ANSWER_AGAIN_S)
    assert calls.may_answer(PEER, SOURCE, START + ANSWER_AGAIN_S)


def test_one_member_is_answered_at_four_addresses_at_once_and_at_two_a_second():
    calls = MulticastCalls(Random(1))
    answered = 0
    for number in range(10_000):
        source = Address(f"192.168.{number // 250}.{number % 250}", 40000)
        answered += calls.may_answer(PEER, source, START + number / 1000)
    assert answered <= 4 + 2 * 10


def test_all_together_are_answered_32_times_a_second_and_no_number_of_them_fills_the_memory():
    calls = MulticastCalls(Random(1))
    answered = 0
    for number in range(10_000):
        source = Address(f"192.168.{number // 250}.{number % 250}", 40000)
        answered += calls.may_answer(PeerId(b"%d" % number), source, START + number / 1000)
    assert 300 <= answered <= 64 + 32 * 10
    assert len(calls._answered) <= 72
    assert len(calls._answers_of._of) <= 256


def test_in_a_flood_we_call_every_second_and_after_it_as_before():
    calls = MulticastCalls(Random(1))
    calls.start(START)
    called = []
    for hundredth in range(60_000):
        now = START + hundredth / 100
        if 20_000 <= hundredth < 26_000:
            calls.flooded(now)
        if calls.is_due(now):
            calls.call(now, is_complete=True)
            called.append(now - START)
    assert len([at for at in called if at < 200]) == 3
    assert 45 <= len([at for at in called if 200 <= at < 260]) <= 80
    assert len([at for at in called if 260 <= at < 270]) <= 8
    assert len([at for at in called if at >= 270]) <= 2


def test_without_a_link_no_flood_makes_us_call():
    calls = MulticastCalls(Random(1))
    calls.flooded(START)
    assert calls.due_at is None


# --- helpers -----------------------------------------------------------------------------------


def link_of_two(seed=0, other_key=None):
    """A LAN behind one NAT, two members on it, and a server that is dead."""
    village = Village(seed)
    village.kill_server()
    village.internet.trace = []
    nat = village.internet.add_nat(PORT_RESTRICTED)
    alice = village.member("alice", nat)
    bob = village.member("bob", nat, other_key or KEY, port=40001)
    alice.hears_link = bob.hears_link = True
    return village, alice, bob


def calls_of(village, member):
    return [
        sent.datagram
        for sent in village.internet.trace
        if sent.host is member.host and sent.datagram.address == GROUP
    ]


def instants(seed, *, is_complete, until_s):
    calls, at = MulticastCalls(Random(seed)), []
    calls.start(START)
    while calls.due_at is not None and calls.due_at < START + until_s:
        now = calls.due_at
        calls.call(now, is_complete=is_complete)
        at.append(now - START)
    return at
