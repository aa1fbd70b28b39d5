"""Nodes and a coordinator together on the virtual internet: the main job, in virtual time."""

import pytest

from natd.core.base import events
from natd.core.keys.secrets import network_key
from natd.core.network.roster import NetworkSettings
from tests.core.world.village import Village
from tests.internet.fabric import Weather
from tests.internet.nat import (
    ADDRESS_RESTRICTED,
    FULL_CONE,
    LINUX,
    LINUX_ACCEPTING,
    PORT_RESTRICTED,
)

EASY = {
    "open": None,
    "full-cone": FULL_CONE,
    "address-restricted": ADDRESS_RESTRICTED,
    "port-restricted": PORT_RESTRICTED,
    "linux": LINUX,
}

LIMIT_S = 0.150
"""Three accesses with 25 ms one way: (R_A + R_B + R_AB) / 2."""


def test_the_first_message_arrives_in_one_and_a_half_round_trips():
    village = Village()
    resident = village.member("alice", village.internet.add_nat(PORT_RESTRICTED))
    newcomer = village.member("bob", village.internet.add_nat(PORT_RESTRICTED))
    resident.start()
    village.internet.run(3.0)
    began = village.internet.now
    newcomer.start()
    newcomer.send("hello")
    assert village.internet.run_until(lambda: resident.texts() == ["hello"], 3.0)
    assert village.internet.now - began <= LIMIT_S + 0.015


@pytest.mark.parametrize("theirs", EASY)
@pytest.mark.parametrize("ours", EASY)
def test_every_pair_of_easy_nats_chats_both_ways(ours, theirs):
    for seed in range(4):
        _meet_and_chat(Village(seed, Weather(loss=0.05 * (seed % 2))), EASY[ours], EASY[theirs])


def test_both_behind_one_nat_use_their_lan():
    village = Village()
    nat = village.internet.add_nat(PORT_RESTRICTED)
    alice, bob = village.member("alice", nat), village.member("bob", nat, port=40001)
    alice.start()
    village.internet.run(2.0)
    bob.start()
    bob.send("hello")
    assert village.internet.run_until(lambda: alice.texts() == ["hello"], 3.0)
    village.internet.run(2.0)
    assert bob.connected[alice.peer].path.kind == "lan"


@pytest.mark.parametrize("policy", [PORT_RESTRICTED, LINUX])
def test_two_layers_of_nat_are_traversed(policy):
    village = Village()
    internet = village.internet
    carrier = internet.add_nat(policy)
    home = internet.add_nat(policy, parent=carrier)
    alice = village.member("alice", home)
    bob = village.member("bob", internet.add_nat(policy))
    alice.start()
    internet.run(2.0)
    bob.start()
    bob.send("hello")
    assert internet.run_until(lambda: alice.texts() == ["hello"], 3.0)


def _meet_and_chat(village, ours, theirs):
    internet = village.internet
    alice = village.member("alice", ours and internet.add_nat(ours))
    bob = village.member("bob", theirs and internet.add_nat(theirs))
    alice.start()
    internet.run(2.0)
    bob.start()
    bob.send("hello")
    assert internet.run_until(lambda: alice.texts() == ["hello"], 10.0)
    alice.send("hello yourself")
    assert internet.run_until(lambda: bob.texts() == ["hello yourself"], 10.0)
    assert internet.run_until(lambda: bob.is_online(alice) and alice.is_online(bob), 5.0)


def _chatting(seed=0, ours=PORT_RESTRICTED, theirs=PORT_RESTRICTED, weather=None):
    """Two members who are online for each other."""
    village = Village(seed, weather)
    internet = village.internet
    alice = village.member("alice", internet.add_nat(ours, name="alices"))
    bob = village.member("bob", internet.add_nat(theirs, name="bobs"))
    alice.start()
    internet.run(2.0)
    bob.start()
    assert internet.run_until(lambda: alice.is_online(bob) and bob.is_online(alice), 10.0)
    return village, alice, bob


def test_the_chat_goes_on_after_the_server_is_killed():
    village, alice, bob = _chatting()
    village.kill_server()
    for number in range(60):
        alice.send(f"a{number}", to=bob)
        bob.send(f"b{number}", to=alice)
        village.internet.run(10.0)
    assert bob.texts() == [f"a{n}" for n in range(60)]
    assert alice.texts() == [f"b{n}" for n in range(60)]
    assert alice.is_online(bob)


def test_an_idle_pair_sends_one_packet_each_way_in_15_seconds():
    village, alice, bob = _chatting()
    village.kill_server()
    village.internet.run(60.0)  # its silence is noticed, and they tell each other
    village.internet.trace = []
    village.internet.run(600.0)
    between = [s for s in village.internet.trace if s.datagram.address.port == 40000]
    assert len(between) <= 2 * (600 / 15) * 1.2
    assert alice.is_online(bob)
    assert bob.is_online(alice)


@pytest.mark.parametrize("server_alive", [True, False])
@pytest.mark.parametrize("policy", [PORT_RESTRICTED, LINUX])
def test_a_rebooted_router_costs_seconds_and_no_message(policy, server_alive):
    village, alice, bob = _chatting(ours=policy, theirs=policy)
    internet = village.internet
    if not server_alive:
        village.kill_server()
    internet.run(40.0)
    next(g for g in internet.gateways() if g.name == "bobs").reboot()
    alice.send("are you there?", to=bob)
    bob.send("I am", to=alice)
    assert internet.run_until(
        lambda: bob.texts() == ["are you there?"] and alice.texts() == ["I am"], 10.0
    )


@pytest.mark.parametrize("server_alive", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_a_poisoned_nat_is_left_by_a_fresh_port_that_both_sides_know(seed, server_alive):
    """The message that comes first after the reboot clashes with what bob's router would map;
    bob's own next packet, 15 s later at most, shows him that something is wrong."""
    village, alice, bob = _chatting(seed, ours=LINUX_ACCEPTING, theirs=LINUX_ACCEPTING)
    internet = village.internet
    if not server_alive:
        village.kill_server()
    internet.run(40.0)
    next(g for g in internet.gateways() if g.name == "bobs").reboot()
    alice.send("are you there?", to=bob)
    assert internet.run_until(lambda: bob.texts() == ["are you there?"], 20.0)
    internet.run(60.0)
    alice.send("still?", to=bob)
    assert internet.run_until(lambda: len(bob.texts()) == 2, 1.0)


def test_a_peer_killed_and_started_again_gets_what_waits_for_it():
    village, alice, bob = _chatting()
    bob.kill()
    alice.send("one", to=bob)
    village.internet.run(60.0)
    assert not alice.is_online(bob)
    alice.send("two", to=bob)
    bob.start()
    assert village.internet.run_until(lambda: bob.texts() == ["one", "two"], 5.0)
    bob.send("thanks", to=alice)
    assert village.internet.run_until(lambda: alice.texts() == ["thanks"], 5.0)


@pytest.mark.parametrize("gone_s", [1.0, 20.0, 100.0])
@pytest.mark.parametrize("policy", [PORT_RESTRICTED, LINUX, LINUX_ACCEPTING])
def test_a_peer_restarted_while_the_server_is_dead_finds_the_others(policy, gone_s):
    village, alice, bob = _chatting(ours=policy, theirs=policy)
    village.kill_server()
    village.internet.run(30.0)
    bob.kill()
    village.internet.run(gone_s)
    alice.send("are you back?", to=bob)
    bob.start()
    limit_s = 5.0 if gone_s < 60.0 else 60.0
    assert village.internet.run_until(lambda: bob.texts() == ["are you back?"], limit_s)
    bob.send("yes", to=alice)
    assert village.internet.run_until(lambda: alice.texts() == ["yes"], 2.0)


def test_two_restarted_while_the_server_is_dead_find_each_other_where_packets_are_lost():
    """Once a word lost each way was all there was to say for a minute."""
    for seed in range(40):
        village = Village(seed, Weather(loss=0.15, jitter_s=0.002))
        alice = village.member("alice", village.internet.add_nat(PORT_RESTRICTED))
        bob = village.member("bob", village.internet.add_nat(PORT_RESTRICTED), port=40001)
        for member in (alice, bob):
            member.start()
        assert village.internet.run_until(lambda: _are_online(alice, bob), 20.0), seed  # noqa: B023
        village.kill_server()
        for member in (alice, bob):
            member.kill()
        village.internet.run(5.0)
        for member in (alice, bob):
            member.start()
            village.internet.run(0.5)
        assert village.internet.run_until(lambda: _are_online(alice, bob), 10.0), seed  # noqa: B023


def test_a_network_left_and_joined_again_in_one_run_is_a_newer_card():
    """Its sequence number once began again at the run's first, and nobody believed the card."""
    village, alice, bob = _chatting()
    alice.node.leave(alice.network, village.internet.now)
    village.internet.run(2.0)
    assert not bob.is_online(alice)
    settings = NetworkSettings("demo", alice.key, alice.name)
    alice.node.join(settings, tuple(village.servers), village.internet.now)
    assert village.internet.run_until(lambda: bob.is_online(alice), 5.0)


def test_a_peer_that_stops_says_so():
    village, alice, bob = _chatting()
    bob.stop()
    village.internet.run(1.0)
    assert not alice.is_online(bob)


def test_a_server_that_was_restarted_empty_breaks_nothing():
    village, alice, bob = _chatting()
    village.kill_server()
    village.internet.run(20.0)
    village.start_server()
    assert village.internet.run_until(lambda: village.coordinator.lease_count == 2, 40.0)
    alice.send("still here", to=bob)
    assert village.internet.run_until(lambda: bob.texts() == ["still here"], 1.0)


def test_a_wrong_network_secret_meets_nobody():
    village = Village()
    right = village.member("alice", key=network_key("demo", b"right"))
    wrong = village.member("mallory", key=network_key("demo", b"wrong"), port=40001)
    right.start()
    wrong.start()
    village.internet.run(20.0)
    assert not right.disk.cards
    assert not wrong.disk.cards


def test_a_day_of_idling_keeps_the_path_and_rotates_the_prekeys():
    village, alice, bob = _chatting()
    village.internet.run(24 * 3600.0)
    assert alice.is_online(bob)
    assert len(alice.attached.events_of(events.PeerConnected)) == 1
    bob.kill()
    village.internet.run(60.0)
    alice.send("a new session under new prekeys", to=bob)
    bob.start()
    assert village.internet.run_until(lambda: len(bob.texts()) == 1, 5.0)


def test_both_dial_at_once_and_one_session_stays():
    village = Village()
    internet = village.internet
    alice = village.member("alice", internet.add_nat(PORT_RESTRICTED))
    bob = village.member("bob", internet.add_nat(PORT_RESTRICTED))
    alice.start()
    bob.start()
    alice.send("a")
    bob.send("b")
    assert internet.run_until(lambda: alice.texts() == ["b"] and bob.texts() == ["a"], 5.0)
    internet.run(10.0)
    assert alice.is_online(bob)
    assert bob.is_online(alice)
    assert alice.texts() == ["b"]


def test_a_burst_of_messages_at_heavy_loss_arrives_once_and_in_order():
    weather = Weather(loss=0.1, reordering=0.1, duplication=0.05)
    village, alice, bob = _chatting(seed=5, weather=weather)
    for number in range(400):
        alice.send(f"a{number}", to=bob)
        bob.send(f"b{number}", to=alice)
        if number % 20 == 0:
            village.internet.run(0.1)
    done = village.internet.run_until(
        lambda: len(alice.texts()) == 400 and len(bob.texts()) == 400, 120.0
    )
    assert done
    village.internet.run(10.0)
    assert alice.texts() == [f"b{number}" for number in range(400)]
    assert bob.texts() == [f"a{number}" for number in range(400)]


def test_a_moved_host_is_found_again():
    village, alice, bob = _chatting()
    internet = village.internet
    internet.run(20.0)
    internet.move(bob.host, internet.add_nat(PORT_RESTRICTED))
    bob.node.set_local_addresses(bob.host.addresses, bob.port, internet.now)
    bob.send("from elsewhere", to=alice)
    assert internet.run_until(lambda: alice.texts() == ["from elsewhere"], 5.0)
    alice.send("found", to=bob)
    assert internet.run_until(lambda: bob.texts() == ["found"], 5.0)


def test_ten_members_meet_and_a_broadcast_reaches_all():
    village = Village()
    internet = village.internet
    members = [
        village.member(f"m{number}", internet.add_nat(PORT_RESTRICTED)) for number in range(10)
    ]
    for member in members:
        member.start()
        internet.run(0.5)
    internet.run(5.0)
    members[0].send("all of you")
    assert internet.run_until(
        lambda: all(member.texts() == ["all of you"] for member in members[1:]), 10.0
    )


def test_a_network_without_an_answering_server_keeps_a_message_for_its_members():
    village = Village()
    village.kill_server()
    alice = village.member("alice")
    alice.start()
    alice.send("early")
    village.internet.run(60.0)
    assert alice.attached.first(events.ServerLost) is not None
    bob = village.member("bob", port=40001)
    village.start_server()
    bob.start()
    assert village.internet.run_until(lambda: bob.texts() == ["early"], 40.0)


def test_a_receiver_that_is_killed_before_its_commit_gets_the_message_again():
    village, alice, bob = _chatting()
    alice.send("once", to=bob)
    arrived = bob.attached.events
    before = len(arrived)
    village.internet.run_until(
        lambda: any(isinstance(e, events.MessageArrived) for _, e in arrived[before:]), 2.0
    )
    bob.kill()
    village.internet.run(1.0)
    assert bob.texts() == []
    bob.start()
    assert village.internet.run_until(lambda: bob.texts() == ["once"], 5.0)
    village.internet.run(5.0)
    assert bob.texts() == ["once"]
    assert alice.disk.outbox[bob.peer] == []


def _are_online(alice, bob):
    return alice.is_online(bob) and bob.is_online(alice)


def test_what_a_peer_or_network_that_was_handed_out_wants_next_moves_the_timer_of_the_node():
    village = Village()
    alice, bob = village.member("alice"), village.member("bob", port=40001)
    alice.start()
    bob.start()
    village.internet.run(60.0)
    now = village.internet.now
    before = alice.node.get_timer()
    assert before is not None
    assert before > now + 0.1
    peer = alice.membership.peer(bob.peer, now)
    assert peer is not None
    peer.ping(1, now)
    after = alice.node.get_timer()
    assert after is not None
    assert after < before, "an answer is waited for"
    assert alice.node.datagrams_to_send() != []
    village.internet.run(5.0)
    now = village.internet.now
    alice.membership.set_nick("alicia", now)
    assert alice.node.get_timer() == now
