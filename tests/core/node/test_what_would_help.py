"""What a verdict says would help does help: two random NATs, which nothing else can connect."""

import pytest

from natd.core.base.types import MAIN_SOCKET, Address, Candidate, CandidateKind, Mapping, NatReport
from natd.core.base.verdict import Help
from natd.core.checks.candidates import targets
from natd.core.keys.secrets import network_key
from natd.core.peer.judgement import Findings, judge
from natd.core.punch.first_flight import flight_places, worth_checking
from tests.core.world.village import Village
from tests.internet.nat import PORT_RESTRICTED, SYMMETRIC_RANDOM, ForwardingNat

SECRET = network_key("demo", b"0123456789abcdef")
LIMIT_S = 1.0

ROUTER_FOUND_S = 4.0
"""After the newcomer's start: UPnP routers answer within three seconds, and then have to be
asked."""
HARD = NatReport(Mapping.DEPENDENT, confidence=1.0)
OWN_PORT = Candidate(CandidateKind.LAN, Address("192.168.1.2", 40000))
SEEN, OURS = Address("203.0.113.5", 5000), Address("198.51.100.9", 5000)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("who", ["resident", "newcomer"])
@pytest.mark.parametrize(
    "help_", [Help.PORT_MAPPING, Help.FORWARDED_PORT, Help.IPV6, Help.SAME_LAN]
)
def test_each_help_that_is_named_for_two_random_nats_connects_them(help_, who, seed):
    assert help_ in judge(Findings(ours=HARD, theirs=HARD)).helps
    alice, bob = members(
        Village(seed),
        SYMMETRIC_RANDOM,
        ipv6=help_ is Help.IPV6,
        is_one_lan=help_ is Help.SAME_LAN,
    )
    helped = alice if who == "resident" else bob
    if help_ is Help.FORWARDED_PORT:
        forward(helped)
    alice.start()
    if helped is alice and help_ is Help.PORT_MAPPING:
        alice.map_port()
    alice.internet.run(3.0)
    bob.start()
    if helped is bob and help_ is Help.PORT_MAPPING:
        bob.map_port()
    bob.send("hi")
    assert alice.internet.run_until(lambda: alice.texts() == ["hi"], LIMIT_S)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("who", ["resident", "newcomer"])
def test_a_router_that_is_found_late_is_waited_for_before_anybody_is_told_that_there_is_no_way(
    who, seed
):
    alice, bob = members(Village(seed), SYMMETRIC_RANDOM)
    alice.start()
    alice.internet.run(3.0)
    bob.start()
    bob.send("hi")
    alice.internet.run(ROUTER_FOUND_S)
    (alice if who == "resident" else bob).map_port()
    assert alice.internet.run_until(lambda: alice.texts() == ["hi"], LIMIT_S)
    assert not alice.verdicts
    assert not bob.verdicts


@pytest.mark.parametrize("seed", range(3))
def test_without_help_they_do_not_meet(seed):
    alice, bob = members(Village(seed), SYMMETRIC_RANDOM)
    alice.start()
    alice.internet.run(3.0)
    bob.start()
    bob.send("hi")
    assert not alice.internet.run_until(lambda: alice.texts() == ["hi"], 15.0)


def test_a_peers_own_port_is_tried_at_its_public_address_if_its_nat_is_a_hard_one():
    found = tried([OWN_PORT], SEEN)
    forwarded = Candidate(CandidateKind.FORWARDED, Address(SEEN.host, OWN_PORT.address.port))
    assert forwarded in worth_checking(found, HARD)
    assert forwarded not in worth_checking(found, NatReport(Mapping.INDEPENDENT))


def test_a_peers_own_port_is_not_tried_twice_nor_where_no_router_could_forward_it():
    own = Address(SEEN.host, OWN_PORT.address.port)
    assert [c.kind for c in tried([OWN_PORT], own)] == [CandidateKind.SERVER_REFLEXIVE]
    for seen in (Address("10.0.0.7", 5000), Address("2001:db8::1", 5000)):
        kinds = [c.kind for c in tried([OWN_PORT], seen)]
        assert CandidateKind.FORWARDED not in kinds
    assert [c.kind for c in tried([], SEEN)] == [CandidateKind.SERVER_REFLEXIVE]


def test_no_first_flight_goes_to_a_port_that_hardly_anybody_forwards():
    places = flight_places(tried([OWN_PORT], SEEN), MAIN_SOCKET, HARD)
    assert Address(SEEN.host, OWN_PORT.address.port) not in [address for address, _ in places]


def test_a_forwarded_port_behind_an_easy_nat_changes_nothing():
    alice, bob = members(Village(1), PORT_RESTRICTED)
    forward(alice)
    alice.start()
    alice.internet.run(3.0)
    bob.start()
    bob.send("hi")
    assert alice.internet.run_until(lambda: alice.texts() == ["hi"], LIMIT_S)


def members(village, policy, *, ipv6=False, is_one_lan=False):
    gateways = [village.internet.add_nat(policy) for _ in range(2)]
    if is_one_lan:
        gateways[1] = gateways[0]
    alice = village.member("alice", gateways[0], key=SECRET, ipv6=ipv6)
    bob = village.member("bob", gateways[1], key=SECRET, port=40001, ipv6=ipv6)
    return alice, bob


def forward(member):
    """Somebody has forwarded the member's port in its router, by hand: natd is not told."""
    gateway = member.host.behind
    external = Address(gateway.addresses[0], member.port)
    gateway.nat = ForwardingNat(gateway.nat, Address(member.host.address, member.port), external)


def tried(claimed, seen):
    return targets(claimed, seen=[seen], ours=[OURS], servers=[Address("203.0.113.1", 8080)])
