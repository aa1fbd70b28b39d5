"""One network that we are a member of: whose cards count, what servers and peers are told."""

import pytest

from natd.core.base import events
from natd.core.base.routes import CHECK, RENDEZVOUS, TAG
from natd.core.base.types import MAIN_SOCKET, Address, NatReport, PeerState
from natd.core.codec import rendezvous_codec
from natd.core.codec.rendezvous import Bye, Register, Sample
from natd.core.keys.secrets import network_id, network_key
from natd.core.network.greeting import GREETING_MAGIC, Greeting, encode_greeting, network_tag
from natd.core.network.own_card import PREKEY_LIFETIME_S, SETTLES_S
from natd.core.network.roster import NetworkSettings
from natd.core.network.shared import PEERS_LIMIT
from tests.core.world.made_up import identity, membership_of_alice, sealed_card
from tests.core.world.village import Village
from tests.internet.nat import PORT_RESTRICTED

START = 1000.0
KEY = network_key("demo", b"0123456789abcdef")
SERVER = Address("203.0.113.1", 8080)
OTHER_SERVER = Address("203.0.113.2", 8080)
THERE = Address("198.51.100.7", 40001)


def test_every_server_is_registered_with_at_once_and_each_once():
    membership = membership_of_alice(KEY)
    membership.set_servers((SERVER, OTHER_SERVER, SERVER), START)
    registers = [a for a, message in _rendezvous(membership) if isinstance(message, Register)]
    assert registers == [SERVER, OTHER_SERVER]
    assert [report.state for report in membership.servers.reports()] == ["starting", "starting"]


def test_a_server_that_is_taken_off_the_list_has_no_route_and_no_timer_any_more():
    membership = membership_of_alice(KEY)
    membership.set_servers((SERVER, OTHER_SERVER), START)
    assert sum(key[:1] == RENDEZVOUS for key in _routes(membership)) == 2
    membership.set_servers((OTHER_SERVER,), START)
    assert sum(key[:1] == RENDEZVOUS for key in _routes(membership)) == 1
    membership.datagrams_to_send()
    _run(membership, 60.0)
    assert {address for address, _ in _rendezvous(membership)} <= {
        OTHER_SERVER._replace(port=port) for port in range(8080, 8084)
    }


def test_the_same_servers_again_change_nothing():
    membership = membership_of_alice(KEY)
    membership.set_servers((SERVER,), START)
    membership.datagrams_to_send()
    membership.set_servers((SERVER,), START)
    assert membership.datagrams_to_send() == []


def test_a_peer_of_an_earlier_run_is_known_by_its_tag_but_nothing_is_sent_to_it():
    membership = membership_of_alice(KEY)
    assert membership.remember_peer(sealed_card("bob", KEY), {}, START) == identity("bob").peer
    keys = {key[:1] for key in _routes(membership)}
    assert {CHECK, TAG} <= keys
    assert membership.datagrams_to_send() == []
    [view] = membership.roster.views(START)
    assert (view.nick, view.state) == ("bob", PeerState.OFFLINE)


@pytest.mark.parametrize("what", ["our own", "another network's", "junk", "known"])
def test_a_card_that_is_of_no_use_is_not_remembered(what):
    membership = membership_of_alice(KEY)
    sealed = {
        "our own": sealed_card("alice", KEY),
        "another network's": sealed_card("bob", network_key("demo", b"another")),
        "junk": b"junk",
        "known": sealed_card("bob", KEY),
    }[what]
    if what == "known":
        membership.remember_peer(sealed, {}, START)
    assert membership.remember_peer(sealed, {}, START) is None


def test_peers_are_bounded_and_the_known_are_never_put_out():
    membership = membership_of_alice(KEY)
    for number in range(PEERS_LIMIT):
        assert membership.remember_peer(sealed_card(f"peer {number}", KEY), {}, START)
    assert membership.remember_peer(sealed_card("one too many", KEY), {}, START) is None
    _greet(membership, "one too many")
    assert membership.dropped["network-is-full"] == 1
    assert len(membership.roster.views(START)) == PEERS_LIMIT


def test_a_first_card_is_met_a_newer_one_again_and_an_older_one_not():
    membership = membership_of_alice(KEY)
    _greet(membership, "bob", sequence=5)
    _greet(membership, "bob", sequence=5)
    _greet(membership, "bob", sequence=4)
    _greet(membership, "bob", sequence=6)
    met = [event for event in _events(membership) if isinstance(event, events.PeerMet)]
    assert [event.first_contact for event in met] == [True, False]
    assert membership.dropped["greeting-of-an-older-card"] == 1


def test_a_blocked_peer_is_not_met_and_one_of_an_earlier_run_is_not_greeted():
    membership = membership_of_alice(KEY)
    bob = identity("bob").peer
    membership.block(bob, True, START)
    _greet(membership, "bob")
    assert membership.roster.views(START) == ()
    membership.remember_peer(sealed_card("bob", KEY), {THERE: 0.0}, START)
    _run(membership, 120.0)
    assert membership.datagrams_to_send() == []
    assert membership.roster.views(START)[0].state is PeerState.BLOCKED


def test_another_nick_is_told_at_once_and_another_nat_report_when_it_has_settled():
    membership = _registering()
    membership.set_nick("alicia", START)
    assert membership.get_timer() == START
    membership.handle_timer(START)
    first = _registered_sequence(membership)
    membership._nat.set_local_addresses(("192.168.1.4",), 40000)
    membership._nat.observe(MAIN_SOCKET, SERVER, Address("203.0.113.20", 40000), START)
    membership.observed_changed(START)
    membership.handle_timer(START + SETTLES_S - 0.1)
    assert _registered_sequence(membership) in (None, first)
    membership.handle_timer(START + SETTLES_S)
    assert _registered_sequence(membership) == first + 1


def test_another_network_below_us_is_registered_from_at_once():
    membership = _registering()
    membership.set_local_addresses(("10.0.0.4",), 40000, START + 1.0)
    sent = _rendezvous(membership)
    assert any(isinstance(message, Register) for _, message in sent)
    assert sum(isinstance(message, Sample) for _, message in sent) >= 3
    membership.set_local_addresses(("10.0.0.4",), 40000, START + 2.0)
    assert membership.datagrams_to_send() == []


def test_a_rotated_prekey_gives_peers_another_tag_beside_the_old_one():
    membership = _registering()
    membership.remember_peer(sealed_card("bob", KEY), {}, START)
    before = {key for key in _routes(membership) if key[:1] == TAG}
    _run(membership, PREKEY_LIFETIME_S - 1.0)
    assert {key for key in _routes(membership) if key[:1] == TAG} == before
    _run(membership, 2.0, since=START + PREKEY_LIFETIME_S - 1.0)
    after = {key for key in _routes(membership) if key[:1] == TAG}
    assert before < after
    assert len(after) == 2


def test_a_rotated_prekey_is_told_to_the_server_and_over_the_session():
    village = Village()
    alice, bob = village.member("alice"), village.member("bob", port=40001)
    alice.start()
    bob.start()
    assert village.internet.run_until(lambda: alice.is_online(bob), 5.0)
    village.internet.run(5.0)
    before = alice.disk.cards[bob.peer]
    village.kill_server()
    village.internet.run(PREKEY_LIFETIME_S)
    assert alice.disk.cards[bob.peer] != before
    village.start_server()
    village.internet.run(60.0)
    carol = village.member("carol", port=40002)
    carol.start()
    village.internet.run(2.0)
    assert carol.disk.cards[bob.peer] == alice.disk.cards[bob.peer]


def test_only_what_is_due_is_handled():
    membership = membership_of_alice(KEY)
    for number in range(50):
        membership.remember_peer(sealed_card(f"peer {number}", KEY), {}, START)
    _greet(membership, "bob")
    membership.datagrams_to_send()
    timer = membership.get_timer()
    assert timer is not None
    membership.handle_timer(timer)
    assert {d.address for d in membership.datagrams_to_send()} <= {THERE} | {
        THERE._replace(port=port) for port in range(65536)
    }


def test_leaving_says_goodbye_to_servers_that_knew_us():
    village = Village()
    alice = village.member("alice")
    alice.start()
    village.internet.run(2.0)
    assert village.coordinator.lease_count == 1
    village.internet.trace = []
    alice.node.leave(alice.network, village.internet.now)
    village.internet.run(0.5)
    [bye] = [sent for sent in village.internet.trace if sent.host is alice.host]
    assert isinstance(rendezvous_codec.decode(bye.datagram.data), Bye)
    assert village.coordinator.lease_count == 0
    assert alice.node.get_timer() is None


def test_two_servers_introduce_the_same_peer_and_one_conversation_comes_of_it():
    village = Village()
    second = Village(1)
    host = village.internet.add_host(name="second server")
    ports = [8080 + offset for offset in range(4)]
    village.internet.attach(host, second.coordinator, ports=ports)
    village.servers.append(Address(host.address, 8080))
    alice, bob = village.member("alice"), village.member("bob", port=40001)
    alice.start()
    village.internet.run(2.0)
    bob.start()
    bob.send("hello")
    assert village.internet.run_until(lambda: alice.texts() == ["hello"], 3.0)
    village.internet.run(5.0)
    assert alice.texts() == ["hello"]
    assert len(alice.attached.events_of(events.PeerConnected)) == 1
    assert len(bob.attached.events_of(events.MembersListed)) == 1
    village.kill_server()
    village.internet.run(60.0)
    carol = village.member("carol", port=40002)
    carol.start()
    assert village.internet.run_until(lambda: carol.is_online(alice), 5.0)


def test_one_that_was_started_again_is_found_by_whom_it_knows_at_an_old_address_alone():
    """Our checks are under its old prekey, and its greetings go where we are not any more."""
    village = Village(5)
    nat = village.internet.add_nat(PORT_RESTRICTED)
    alice, bob = village.member("alice", nat), village.member("bob", port=40001)
    alice.start()
    bob.start()
    assert village.internet.run_until(lambda: bob.is_online(alice), 5.0)
    village.internet.run(3.0)
    village.kill_server()
    village.internet.run(60.0)
    bob.kill()
    village.internet.renumber(nat)
    village.internet.run(1.0)
    bob.start()
    assert village.internet.run_until(lambda: alice.is_online(bob) and bob.is_online(alice), 60.0)


def test_one_that_has_left_is_not_greeted():
    village = Village(5)
    alice, bob = village.member("alice"), village.member("bob", port=40001)
    alice.start()
    bob.start()
    assert village.internet.run_until(lambda: bob.is_online(alice), 5.0)
    village.kill_server()
    bob.stop()
    village.internet.run(60.0)
    village.internet.trace = []
    village.internet.run(120.0)
    sent = [each.datagram for each in village.internet.trace]
    assert not [each for each in sent if each.data[0] == GREETING_MAGIC]


def test_two_networks_of_one_node_know_nothing_of_each_other_and_share_its_nat():
    village = Village()
    alice, bob = village.member("alice"), village.member("bob", port=40001)
    alice.start()
    bob.start()
    other = network_key("other", b"secret")
    for member in (alice, bob):
        settings = NetworkSettings("other", other, member.name)
        member.node.join(settings, tuple(village.servers), village.internet.now)
    village.internet.run(5.0)
    for member in (alice, bob):
        networks = member.node._memberships
        assert [len(each.peers) for each in networks.values()] == [1, 1]
        assert member.nat != NatReport()


def test_a_network_that_is_joined_later_is_told_at_once_what_is_known_of_our_nat():
    village = Village()
    nat = village.internet.add_nat(PORT_RESTRICTED)
    alice, bob = village.member("alice", nat), village.member("bob", port=40001)
    other = network_key("other", b"secret")
    alice.start()
    village.internet.run(10.0)
    assert alice.nat != NatReport()
    bob.start()
    for member in (alice, bob):
        settings = NetworkSettings("other", other, member.name)
        member.node.join(settings, tuple(village.servers), village.internet.now)
    village.internet.run(5.0)
    others = bob.node.membership(network_id(other))
    assert others is not None
    (seen,) = others.roster.views(village.internet.now)
    assert seen.nat.mapping is alice.nat.mapping


def test_with_somebody_here_a_lost_server_needs_no_explanation():
    village = Village()
    alice, bob = village.member("alice"), village.member("bob", port=40001)
    alice.start()
    bob.start()
    village.internet.run(5.0)
    village.kill_server()
    village.internet.run(60.0)
    (lost,) = alice.attached.events_of(events.ServerLost)
    assert lost.reason.endswith("has stopped answering")


def _registering():
    membership = membership_of_alice(KEY)
    membership.set_servers((SERVER,), START)
    membership.datagrams_to_send()
    return membership


def _greet(membership, name, sequence=1):
    data = encode_greeting(Greeting(network_tag(KEY), sealed_card(name, KEY, sequence), False))
    membership.receive_greeting(data, THERE, MAIN_SOCKET, START)


def _events(membership):
    drained = []
    while (event := membership.next_event()) is not None:
        drained.append(event)
    return drained


def _routes(membership):
    """The routing keys that the node would know."""
    membership.get_timer()  # An output: what was handed out is drained.
    return set(membership._shared.routes)


def _rendezvous(membership):
    """What was sent to servers, decoded."""
    sent = [
        d for d in membership.datagrams_to_send() if d.data[0] == rendezvous_codec.RENDEZVOUS_MAGIC
    ]
    return [(datagram.address, rendezvous_codec.decode(datagram.data)) for datagram in sent]


def _registered_sequence(membership):
    """That of the newest card in what was just sent; None when there was none."""
    messages = [message for _, message in _rendezvous(membership)]
    return max((m.sequence for m in messages if isinstance(m, Register)), default=None)


def _run(membership, duration_s, since=START):
    """Let time pass, with nobody answering."""
    until, now = since + duration_s, since
    while (timer := membership.get_timer()) is not None and timer <= until:
        now = max(now, timer)
        membership.handle_timer(now)
