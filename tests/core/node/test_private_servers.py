"""Servers that see a private address, and peers who meet all the same: nodes in virtual time.

The home's router forwards the server's ports to a machine in the home's LAN, or the server runs on
a peer's own machine, or a second server or a STUN server tells what the first can't.
"""

import pytest

from natd.core.base.events import PeerConnected
from natd.core.base.types import MAIN_SOCKET, Address, CandidateKind
from natd.core.keys.card import open_card
from tests.core.world.village import KEY, SERVER_PORT, Village
from tests.internet.nat import PORT_RESTRICTED, SYMMETRIC_RANDOM, ForwardingNat

FIRST_PORT = 20000

MET_S = 0.5
"""A newcomer's three legs of 50 ms, and once more because one side does not know all at first."""


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("first", ["resident", "visitor"])
def test_a_server_in_a_peers_own_lan_needs_no_stun_server(first, seed):
    village, alice, bob, inside, outside = _home_server(seed)
    order = [(alice, inside), (bob, outside)]
    for member, server in order if first == "resident" else reversed(order):
        member.start([server])
        village.internet.run(2.0)
    began = village.internet.now - 2.0
    assert village.internet.run_until(lambda: alice.is_online(bob) and bob.is_online(alice), 5.0)
    connected = max(m.attached.first(PeerConnected) for m in (alice, bob))
    assert connected - began <= MET_S


@pytest.mark.parametrize("seed", range(5))
def test_a_server_in_a_peers_own_lan_and_a_stun_server_outside(seed):
    """What the STUN server sees is told in the card."""
    village, alice, bob, inside, outside = _home_server(seed)
    alice.start([inside])
    alice.node.stun.set_servers((village.servers[0],), village.internet.now)
    village.internet.run(2.0)
    public = alice.host.behind.addresses[0]
    assert [a.host for a in alice.node.nat.observed()] == [public]
    bob.start([outside])
    assert village.internet.run_until(lambda: bob.is_online(alice), MET_S)
    told = open_card(bob.disk.cards[alice.peer], KEY).candidates
    assert [c.address.host for c in told if c.kind is CandidateKind.SERVER_REFLEXIVE] == [public]


@pytest.mark.parametrize("seed", range(5))
def test_a_server_at_home_serves_the_home_and_a_peer_outside(seed):
    village, alice, bob, inside, outside = _home_server(seed)
    carol = village.member("carol", alice.host.behind, port=40002)
    for member, server in ((alice, inside), (carol, inside), (bob, outside)):
        member.start([server])
    everybody = (alice, bob, carol)
    assert village.internet.run_until(
        lambda: all(a.is_online(b) for a in everybody for b in everybody if a is not b), 3.0
    )


@pytest.mark.parametrize("seed", range(5))
def test_of_two_servers_one_sees_a_private_address(seed):
    village, alice, bob, inside, outside = _home_server(seed)
    alice.start([inside, village.servers[0]])
    village.internet.run(2.0)
    bob.start([outside])
    assert village.internet.run_until(lambda: bob.is_online(alice), MET_S)


def test_where_no_way_is_found_both_sides_are_told_of_the_server():
    """Alice's router draws a port for each destination, and only a STUN server could tell it."""
    village, alice, bob, inside, outside = _home_server(3, SYMMETRIC_RANDOM)
    alice.start([inside])
    bob.start([outside])
    village.internet.run(20.0)
    assert not bob.is_online(alice)
    assert alice.verdict_codes[bob.peer] == bob.verdict_codes[alice.peer] == "server-sees-private"
    assert f"sees you at {alice.host.address}" in alice.verdicts[bob.peer]
    assert f"sees the peer at {alice.host.address}" in bob.verdicts[alice.peer]


def test_a_home_with_its_own_server_is_told_of_nothing():
    """Everybody is there; one is switched off."""
    village, alice, _, inside, _ = _home_server(3)
    carol = village.member("carol", alice.host.behind, port=40002)
    for member in (alice, carol):
        member.start([inside])
    assert village.internet.run_until(lambda: alice.is_online(carol), 3.0)
    carol.kill()
    village.internet.run(60.0)
    assert "server-sees-private" not in alice.verdict_codes.values()


def test_a_peer_outside_can_not_aim_at_the_lan_of_the_servers_home():
    village, alice, bob, inside, outside = _home_server(3)
    village.internet.trace = []
    bob.start([outside])
    bob.node.set_local_addresses(("192.168.1.77", "10.9.9.9"), 40000, village.internet.now)
    alice.start([inside])
    village.internet.run(30.0)
    sent = {sent.datagram.address.host for sent in village.internet.trace}
    assert not sent & {"192.168.1.77", "10.9.9.9"}
    assert alice.is_online(bob)


@pytest.mark.parametrize("seed", range(5))
def test_a_server_in_a_container_and_a_stun_server_outside(seed):
    village, alice, bob = _container_server(seed)
    stun = village.add_server()
    for member in (alice, bob):
        member.start(village.servers[:1])
        address = Address(stun.address, SERVER_PORT)
        member.node.stun.set_servers((address,), village.internet.now)
        village.internet.run(2.0)
    assert alice.is_online(bob)
    assert bob.is_online(alice)


@pytest.mark.parametrize("seed", range(5))
def test_two_whom_the_server_can_not_see_meet_by_a_third_that_both_reach(seed):
    """Carol has a public address of her own, which her card names, so both others reach her."""
    village, alice, bob = _container_server(seed)
    carol = village.member("carol", None, port=40002)
    for member in (carol, alice, bob):
        member.start()
        village.internet.run(2.0)
    assert alice.is_online(carol)
    assert village.internet.run_until(lambda: alice.is_online(bob) and bob.is_online(alice), 5.0)


def test_a_server_in_a_container_is_named_by_both():
    village, alice, bob = _container_server(1)
    for member in (alice, bob):
        member.start()
    village.internet.run(20.0)
    assert alice.verdict_codes[bob.peer] == bob.verdict_codes[alice.peer] == "server-sees-private"
    assert "sees you at 172.17.0.1" in alice.verdicts[bob.peer]


class HidingProxy:
    """A server behind a proxy that shows it 172.17.0.1 in place of everybody's address."""

    def __init__(self, server):
        self._server = server
        self._clients = []

    def __getattr__(self, name):
        return getattr(self._server, name)

    def receive_datagram(self, data, address, now, socket=MAIN_SOCKET):
        if address not in self._clients:
            self._clients.append(address)
        hidden = Address("172.17.0.1", FIRST_PORT + self._clients.index(address))
        self._server.receive_datagram(data, hidden, now, socket)

    def datagrams_to_send(self):
        return [
            sent._replace(address=self._clients[sent.address.port - FIRST_PORT])
            for sent in self._server.datagrams_to_send()
        ]


def _container_server(seed):
    village = Village(seed)
    proxy = HidingProxy(village.coordinator)
    ports = [SERVER_PORT + offset for offset in range(4)]
    village.internet.attach(village.server_host, proxy, ports=ports)
    alice = village.member("alice", village.internet.add_nat(PORT_RESTRICTED))
    bob = village.member("bob", village.internet.add_nat(PORT_RESTRICTED), port=40001)
    return village, alice, bob


def _home_server(seed, policy=PORT_RESTRICTED):
    """A village whose server is unused, and one more in alice's LAN, its ports forwarded."""
    village = Village(seed)
    home = village.internet.add_nat(policy)
    alice = village.member("alice", home, port=40000)
    bob = village.member("bob", village.internet.add_nat(PORT_RESTRICTED), port=40001)
    machine = village.internet.add_host(behind=home, name="home server")
    village.restart_server(machine)
    for port in range(SERVER_PORT, SERVER_PORT + 4):
        inner = Address(machine.address, port)
        home.nat = ForwardingNat(home.nat, inner, Address(home.addresses[0], port))
    inside = Address(machine.address, SERVER_PORT)
    return village, alice, bob, inside, Address(home.addresses[0], SERVER_PORT)
