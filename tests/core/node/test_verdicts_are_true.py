"""A verdict names what the laboratory really does: compared in every cell where no path can be.

What is true is read off the policies of the NATs and of the world, never off what natd believes.
"""

from dataclasses import replace
from random import Random

import pytest

from natd.core.base.events import ServerLost
from natd.core.base.types import Address
from natd.core.base.verdict import VerdictCode
from natd.core.keys.secrets import network_key
from tests.core.world.village import Member, Village
from tests.internet.nat import (
    ADDRESS_DEPENDENT,
    LINUX,
    LINUX_RANDOM,
    PORT_RESTRICTED,
    SYMMETRIC_BLOCK,
    SYMMETRIC_RANDOM,
    SYMMETRIC_SEQUENTIAL,
    Dependence,
    Nat,
    Ports,
)

SECRET = network_key("demo", b"0123456789abcdef")
SEEDS = range(10)

LIMIT_S = 15.0
BLOCKED_LIMIT_S = 10.0
HOPELESS_LIMIT_S = 6.0
"""Within these a user is told; the last, where the two NATs alone make it certain."""

COUNTING = replace(SYMMETRIC_SEQUENTIAL, taken_share=0.3)
RANDOM_32768 = replace(SYMMETRIC_RANDOM, port_range=(32768, 65535))
ADDRESS_PORT_RESTRICTED = replace(ADDRESS_DEPENDENT, filtering=Dependence.ADDRESS_AND_PORT)


def the_truth(left, right):
    """What keeps two sides apart, by their policies alone."""
    kinds = {policy.ports for policy in (left, right)}
    assert all(p.conntrack or p.mapping is not Dependence.INDEPENDENT for p in (left, right))
    assert Ports.RANDOM in kinds
    assert Ports.PRESERVING not in kinds
    if Ports.SEQUENTIAL in kinds:
        return VerdictCode.SEQUENTIAL_RANDOM
    return VerdictCode.BLOCK_RANDOM if Ports.BLOCK in kinds else VerdictCode.BOTH_RANDOM


class ServersOnly(Nat):
    """A firewall: what comes from anybody but the server goes no further."""

    def __init__(self, nat, server):
        super().__init__(nat.policy, nat.addresses, Random())
        self._nat = nat
        self._server = server

    def outbound(self, source, destination, now):
        return self._nat.outbound(source, destination, now)

    def inbound(self, source, destination, now):
        return self._nat.inbound(source, destination, now) if source.host == self._server else None


class Pair:
    """Alice is there, Bob comes 3 s later and writes to her."""

    def __init__(
        self, seed, left, right, *, key=SECRET, fill_blocks="half", firewalls=(False, False)
    ):
        self.village = Village(seed)
        self.internet = internet = self.village.internet
        self.gateways = [policy and internet.add_nat(policy) for policy in (left, right)]
        for gateway, is_closed in zip(self.gateways, firewalls, strict=True):
            if is_closed:
                gateway.nat = ServersOnly(gateway.nat, self.village.servers[0].host)
        self.alice = self.village.member("alice", self.gateways[0], key=key)
        self.bob = self.village.member("bob", self.gateways[1], key=key, port=40001)
        self.alice.start()
        self.alice.node.set_limits(helper_sockets=256, fill_blocks=fill_blocks)
        internet.run(3.0)
        self.bob.start()
        self.bob.node.set_limits(helper_sockets=256, fill_blocks=fill_blocks)
        self.bob.send("hi")
        self.began = internet.now

    def codes_in_time(self, limit_s=LIMIT_S):
        """What each was told of the other within the limit."""
        alice, bob = self.alice, self.bob
        self.internet.run(self.began + limit_s - self.internet.now)
        assert not alice.texts(), "they have met"
        return {alice.verdict_codes.get(bob.peer), bob.verdict_codes.get(alice.peer)}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("left", "right"),
    [
        pytest.param(SYMMETRIC_RANDOM, SYMMETRIC_RANDOM, id="random-random"),
        pytest.param(SYMMETRIC_RANDOM, RANDOM_32768, id="random-upper-half"),
        pytest.param(SYMMETRIC_RANDOM, LINUX_RANDOM, id="random-linux-random"),
        pytest.param(COUNTING, SYMMETRIC_RANDOM, id="sequential-random"),
        pytest.param(SYMMETRIC_RANDOM, SYMMETRIC_SEQUENTIAL, id="random-sequential"),
        pytest.param(SYMMETRIC_BLOCK, SYMMETRIC_RANDOM, id="block-random"),
    ],
)
def test_two_nats_that_nobody_can_connect_are_called_what_they_are(left, right, seed):
    assert Pair(seed, left, right).codes_in_time(HOPELESS_LIMIT_S) == {the_truth(left, right)}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("other", [SYMMETRIC_RANDOM, ADDRESS_PORT_RESTRICTED])
def test_a_nat_that_maps_by_address_is_only_said_to_seem_so_by_one_server(other, seed):
    codes = Pair(seed, ADDRESS_PORT_RESTRICTED, other).codes_in_time()
    assert codes <= {VerdictCode.PERHAPS_BOTH_RANDOM, the_truth(ADDRESS_PORT_RESTRICTED, other)}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("other", [SYMMETRIC_BLOCK, COUNTING], ids=["block", "sequential"])
def test_a_block_that_may_not_be_filled_is_told_by_its_owner(other, seed):
    pair = Pair(seed, SYMMETRIC_BLOCK, other, fill_blocks="none")
    pair.codes_in_time()
    assert pair.alice.verdict_codes[pair.bob.peer] is VerdictCode.BLOCKS_SPARED


@pytest.mark.parametrize("seed", SEEDS)
def test_two_homes_under_one_carrier_nat_are_told_of_the_missing_hairpin(seed):
    village = Village(seed)
    carrier = village.internet.add_nat(PORT_RESTRICTED, lan="100.64.0")
    homes = [village.internet.add_nat(PORT_RESTRICTED, parent=carrier) for _ in range(2)]
    alice = village.member("alice", homes[0], key=SECRET)
    bob = village.member("bob", homes[1], key=SECRET, port=40001)
    alice.start()
    village.internet.run(3.0)
    bob.start()
    bob.send("hi")
    village.internet.run(LIMIT_S)
    assert not alice.texts()
    for one, other in ((alice, bob), (bob, alice)):
        assert one.verdict_codes[other.peer] is VerdictCode.NO_HAIRPIN
        assert carrier.nat.addresses[0] in one.verdicts[other.peer]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_firewall_that_lets_in_nobody_but_the_server_is_told_by_who_hears_the_peer(seed):
    pair = Pair(seed, None, PORT_RESTRICTED, firewalls=(False, True))
    pair.internet.run(LIMIT_S)
    assert not pair.bob.is_online(pair.alice)
    assert pair.alice.verdict_codes[pair.bob.peer] is VerdictCode.PEER_FIREWALL
    assert pair.bob.verdict_codes[pair.alice.peer] is VerdictCode.SILENT


@pytest.mark.parametrize("seed", SEEDS)
def test_two_easy_nats_behind_such_firewalls_are_silent_for_no_reason_that_a_nat_gives(seed):
    pair = Pair(seed, PORT_RESTRICTED, PORT_RESTRICTED, firewalls=(True, True))
    assert pair.codes_in_time() == {VerdictCode.SILENT}


@pytest.mark.parametrize("seed", SEEDS)
def test_where_udp_is_blocked_that_is_said_within_ten_seconds(seed):
    village = Village(seed)
    gateway = village.internet.add_nat(PORT_RESTRICTED)
    gateway.blocks_udp = True
    bob = village.member("bob", gateway, key=SECRET)
    bob.start()
    village.internet.run(BLOCKED_LIMIT_S)
    [lost] = bob.attached.events_of(ServerLost)
    assert lost.code is VerdictCode.UDP_BLOCKED


@pytest.mark.parametrize("seed", SEEDS)
def test_servers_that_are_down_are_told_apart_from_udp_that_is_blocked(seed):
    """Who still hears another member needs no look at the firewall."""
    village = Village(seed)
    bob = village.member("bob", village.internet.add_nat(PORT_RESTRICTED), key=SECRET)
    carol = village.member("carol", village.internet.add_nat(PORT_RESTRICTED), key=SECRET)
    bob.start()
    carol.start()
    assert village.internet.run_until(lambda: bob.is_online(carol), 5.0)
    village.kill_server()
    village.internet.run(60.0)
    [lost] = bob.attached.events_of(ServerLost)
    assert lost.code is VerdictCode.NO_SERVER


@pytest.mark.parametrize("seed", SEEDS)
def test_a_wrong_address_of_a_server_is_told_apart_from_blocked_udp_by_a_stun_server(seed):
    village = Village(seed)
    stun_server, village.servers = village.servers[0], [Address("45.1.250.250", 8080)]
    bob = village.member("bob", village.internet.add_nat(PORT_RESTRICTED), key=SECRET)
    bob.start()
    bob.node.stun.set_servers((stun_server,), village.internet.now)
    village.internet.run(BLOCKED_LIMIT_S)
    [lost] = bob.attached.events_of(ServerLost)
    assert lost.code is VerdictCode.NO_SERVER


@pytest.mark.parametrize("seed", SEEDS)
def test_a_peer_whose_udp_is_blocked_is_said_not_to_be_registered(seed):
    pair = Pair(seed, PORT_RESTRICTED, PORT_RESTRICTED)
    alice, bob = pair.alice, pair.bob
    assert pair.internet.run_until(lambda: alice.texts() == ["hi"], 5.0)
    pair.internet.run(1.0)
    bob.stop()
    alice.stop()
    pair.internet.run(1.0)
    pair.gateways[1].blocks_udp = True
    alice.start()
    bob.start()
    pair.internet.run(BLOCKED_LIMIT_S)
    assert told_code(alice, bob) is VerdictCode.NOT_REGISTERED
    assert told_code(bob, alice) is VerdictCode.UDP_BLOCKED


@pytest.mark.parametrize("seed", SEEDS)
def test_a_better_verdict_replaces_the_first_when_the_server_has_noticed_that_a_peer_is_gone(seed):
    pair = Pair(seed, PORT_RESTRICTED, PORT_RESTRICTED)
    alice, bob = pair.alice, pair.bob
    assert pair.internet.run_until(lambda: alice.texts() == ["hi"], 5.0)
    bob.kill()
    pair.internet.run(300.0)
    assert alice.verdict_codes[bob.peer] is VerdictCode.NOT_REGISTERED


@pytest.mark.parametrize("seed", SEEDS)
def test_nobody_who_says_nothing_any_more_is_said_to_be_heard(seed):
    """Answers that the peer had asked to have later are still under way when it falls silent."""
    village = Village(seed)
    gateways = [village.internet.add_nat(nat) for nat in (LINUX, PORT_RESTRICTED)]
    alice, bob = village.member("alice", gateways[0]), village.member("bob", gateways[1])
    alice.start()
    bob.start()
    assert village.internet.run_until(lambda: alice.is_online(bob) and bob.is_online(alice), 30.0)
    village.internet.run(100.0)
    bob.kill()
    told = set()
    for _ in range(90):
        village.internet.run(1.0)
        told.add(alice.verdict_codes.get(bob.peer))
    assert VerdictCode.SILENT in told
    assert VerdictCode.PEER_FIREWALL not in told


@pytest.mark.parametrize("seed", SEEDS)
def test_who_said_goodbye_is_said_to_have_left(seed):
    pair = Pair(seed, PORT_RESTRICTED, PORT_RESTRICTED)
    alice, bob = pair.alice, pair.bob
    assert pair.internet.run_until(lambda: alice.texts() == ["hi"], 5.0)
    pair.internet.run(1.0)
    bob.stop()
    pair.internet.run(1.0)
    assert told_code(alice, bob) is VerdictCode.LEFT


def told_code(member: Member, about: Member) -> VerdictCode:
    """The code of what one member has been told of another."""
    told = member.membership.peers[about.peer].diagnose(member.internet.now)
    assert told.verdict is not None
    return told.verdict.code
