"""What a port that the router maps is worth: two nodes in virtual time, NATs that are hopeless
without it."""

from random import Random

import pytest

from natd.core.base.types import Address, Candidate, CandidateKind
from natd.core.checks.candidates import targets
from natd.core.keys.card import Identity, open_card
from natd.core.network.own_card import OwnCard
from natd.core.network.roster import NetworkSettings
from tests.core.world.village import KEY, Village
from tests.internet.nat import PORT_RESTRICTED, SYMMETRIC_RANDOM

LIMIT_S = 0.150
"""Three accesses with 25 ms one way: (R_A + R_B + R_AB) / 2."""

ROUTER_S = 0.003
"""How long a real router took to answer in NAT-PMP and PCP."""

ELSEWHERE = Address("203.0.113.1", 8080)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(
    ("who", "limit_s"),
    [
        ("resident", LIMIT_S + 0.040),
        ("both", LIMIT_S + 0.040),
        # The resident's check has to come first: the newcomer, who dials, knows no way to it.
        ("newcomer", LIMIT_S + 0.200),
    ],
)
def test_two_random_nats_meet_at_a_mapped_port_almost_at_once(who, limit_s, seed):
    village = Village(seed)
    alice = village.member("alice", village.internet.add_nat(SYMMETRIC_RANDOM))
    bob = village.member("bob", village.internet.add_nat(SYMMETRIC_RANDOM))
    alice.start()
    if who != "newcomer":
        alice.map_port()
    village.internet.run(2.0)
    began = village.internet.now
    bob.start()
    bob.send("hello")
    village.internet.run(ROUTER_S)
    if who != "resident":
        bob.map_port()
    assert village.internet.run_until(lambda: alice.texts() == ["hello"], 5.0)
    assert village.internet.now - began <= limit_s
    assert village.internet.run_until(lambda: bob.is_online(alice) and alice.is_online(bob), 5.0)
    alice.send("hello yourself", to=bob)
    assert village.internet.run_until(lambda: bob.texts() == ["hello yourself"], 5.0)


@pytest.mark.parametrize("who", ["alice", "bob"])
@pytest.mark.parametrize(
    ("late_s", "limit_s"),
    [
        (0.08, 1.0),
        # Checks of ports that nobody can guess leave room for it in the second's budget.
        (2.0, 1.0),
        # By now the budget of an address that never answered is spent for a minute.
        (30.0, 70.0),
    ],
)
def test_a_mapping_that_is_granted_late_is_used_as_soon_as_it_is_known(who, late_s, limit_s):
    village = Village()
    alice, bob = _hopeless(village)
    village.internet.run(late_s)
    assert not alice.is_online(bob)
    (alice if who == "alice" else bob).map_port()
    assert village.internet.run_until(lambda: alice.texts() == ["hello"], limit_s)


def test_two_random_nats_without_a_mapping_do_not_meet():
    village = Village()
    alice, bob = _hopeless(village)
    village.internet.run(60.0)
    assert not alice.is_online(bob)
    assert alice.texts() == []


@pytest.mark.parametrize("told", ["46.7.7.7", "0.0.0.0"])
@pytest.mark.parametrize("seed", range(10))
def test_a_mapped_port_is_used_where_we_are_seen_whatever_the_router_says(told, seed):
    """It names the address that it had before, or none, and grants another port than ours."""
    village = Village(seed)
    alice = village.member("alice", village.internet.add_nat(SYMMETRIC_RANDOM))
    bob = village.member("bob", village.internet.add_nat(SYMMETRIC_RANDOM))
    alice.start()
    alice.map_port(told)
    village.internet.run(2.0)
    began = village.internet.now
    bob.start()
    bob.send("hello")
    assert village.internet.run_until(lambda: alice.texts() == ["hello"], 5.0)
    assert village.internet.now - began <= LIMIT_S + 0.040


@pytest.mark.parametrize("seed", range(10))
def test_two_homes_under_one_carrier_nat_meet_at_a_private_mapped_address(seed):
    alice, bob = _under_one_carrier(Village(seed), mapped=True)
    internet = alice.internet
    began = internet.now
    bob.start()
    bob.map_port()
    bob.send("hello")
    assert internet.run_until(lambda: alice.texts() == ["hello"], 5.0)
    assert internet.now - began <= 1.0
    assert internet.run_until(lambda: alice.is_online(bob), 5.0)


def test_two_homes_under_one_carrier_nat_do_not_meet_without_mappings():
    alice, bob = _under_one_carrier(Village(), mapped=False)
    bob.start()
    bob.send("hello")
    alice.internet.run(15.0)
    assert alice.texts() == []
    assert bob.verdicts


def test_a_private_mapped_address_is_tried_only_in_the_same_realm():
    mapped = Candidate(CandidateKind.MAPPED, Address("100.64.0.5", 40000))
    seen, near = Address("203.0.113.5", 5000), Address("203.0.113.5", 6000)
    far, inside = Address("198.51.100.9", 5000), Address("10.0.0.7", 5000)

    def tried(ours, server=ELSEWHERE, seen=seen):
        found = targets([mapped], seen=[seen], ours=[ours], servers=[server])
        return mapped in found

    assert tried(near), "both are seen from one public address: one carrier NAT"
    assert not tried(far)
    near_server = Address("10.0.0.1", 8080)
    assert tried(far, server=near_server, seen=inside), "the server is near both of us"
    assert tried(inside, seen=inside)
    assert not tried(far, server=near_server), "the server sees the peer elsewhere"
    assert not tried(inside)


def test_a_public_mapped_address_is_tried_from_everywhere():
    mapped = Candidate(CandidateKind.MAPPED, Address("203.0.113.5", 40000))
    ours = Address("198.51.100.9", 5000)
    assert mapped in targets([mapped], seen=[], ours=[ours], servers=[ELSEWHERE])


def test_a_card_names_mapped_addresses_as_long_as_they_are():
    identity = Identity(bytes(32))
    own_card = OwnCard(identity, KEY, "alice", Random(1), sequence=1, now=1000.0)
    own_card.set_addresses(("192.168.1.2",), 40000)
    lan = Candidate(CandidateKind.LAN, Address("192.168.1.2", 40000))
    mapped = Candidate(CandidateKind.MAPPED, Address("203.0.113.5", 40000))
    assert own_card.set_mapped((mapped.address,))
    assert open_card(own_card.sealed, KEY).candidates == (lan, mapped)
    assert not own_card.set_mapped((mapped.address,)), "no news is no new card"
    assert own_card.set_mapped(())
    card = open_card(own_card.sealed, KEY)
    assert card.candidates == (lan,)
    assert card.sequence == own_card.sequence == 4


def test_a_network_that_is_joined_later_is_told_of_the_mapping_in_its_first_card():
    village = Village()
    alice = village.member("alice", village.internet.add_nat(SYMMETRIC_RANDOM))
    bob = village.member("bob", village.internet.add_nat(PORT_RESTRICTED))
    bob.start()
    village.internet.run(2.0)
    alice.start()
    alice.node.leave(alice.network, village.internet.now)
    alice.map_port()
    _join(alice)
    assert village.internet.run_until(lambda: alice.peer in bob.disk.cards, 2.0)
    kinds = [c.kind for c in open_card(bob.disk.cards[alice.peer], KEY).candidates]
    assert CandidateKind.MAPPED in kinds


def _hopeless(village):
    alice = village.member("alice", village.internet.add_nat(SYMMETRIC_RANDOM))
    bob = village.member("bob", village.internet.add_nat(SYMMETRIC_RANDOM))
    alice.start()
    village.internet.run(2.0)
    bob.start()
    bob.send("hello")
    return alice, bob


def _under_one_carrier(village, *, mapped):
    """The carrier's NAT has no hairpin: what it maps can't be reached from within."""
    internet = village.internet
    carrier = internet.add_nat(PORT_RESTRICTED, lan="100.64.0")
    alice = village.member("alice", internet.add_nat(PORT_RESTRICTED, parent=carrier))
    bob = village.member("bob", internet.add_nat(PORT_RESTRICTED, parent=carrier), port=40001)
    alice.start()
    if mapped:
        alice.map_port()
    internet.run(2.0)
    return alice, bob


def _join(member):
    settings = NetworkSettings("demo", member.key, member.name)
    member.node.join(settings, tuple(member.village.servers), member.internet.now)
