"""Members who say that they see another one where it is not."""

from dataclasses import replace

import pytest

from natd.core.base.types import SURE, Mapping
from natd.core.base.verdict import VerdictCode
from natd.core.keys.secrets import network_key
from tests.core.world.village import Village
from tests.internet.nat import (
    ADDRESS_DEPENDENT,
    PORT_RESTRICTED,
    SYMMETRIC_BLOCK,
    SYMMETRIC_RANDOM,
    SYMMETRIC_SEQUENTIAL,
    Dependence,
    Ports,
)

KEY = network_key("demo", b"0123456789abcdef")
SEEDS = range(4)
ALLOWANCE_S = 15.0

RANDOM_CONE = replace(PORT_RESTRICTED, ports=Ports.RANDOM)
"""Easy, but what a single server sees of it a NAT would show, too, that maps by address."""

BY_ADDRESS = replace(ADDRESS_DEPENDENT, filtering=Dependence.ADDRESS_AND_PORT)

ASIDE = 7
"""By so many ports they see it elsewhere."""


class Liar:
    """A node before which somebody's packets seem to come from another port: whatever it says of
    that, in good faith and under its keys, is a lie."""

    def __init__(self, node, host):
        self._node = node
        self._host = host
        self._shown = set()

    def receive_datagram(self, data, address, now, *socket):
        if address.host == self._host:
            address = address._replace(port=address.port + ASIDE)
            self._shown.add(address)
        self._node.receive_datagram(data, address, now, *socket)

    def datagrams_to_send(self):
        return [
            sent._replace(address=sent.address._replace(port=sent.address.port - ASIDE))
            if sent.address in self._shown
            else sent
            for sent in self._node.datagrams_to_send()
        ]

    def __getattr__(self, name):
        return getattr(self._node, name)


class Slandered:
    """Alice is there, behind an easy NAT, and so are some who tell her otherwise."""

    def __init__(self, seed, policy, liars=(), honest=()):
        self.village = village = Village(seed)
        self.internet = internet = village.internet
        self.gateway = internet.add_nat(policy)
        self.alice = village.member("alice", self.gateway, key=KEY)
        self.alice.start()
        internet.run(2.0)
        for name in (*liars, *honest):
            member = village.member(name, key=KEY)
            member.start()
            if name in liars:
                member.attached.core = Liar(member.node, self.gateway.nat.addresses[0])
        internet.run(4.0)

    @property
    def report(self):
        return self.alice.nat

    def seconds_to_first_message(self, newcomer):
        began = self.internet.now
        newcomer.start()
        newcomer.send("hi")
        met = self.internet.run_until(lambda: "hi" in self.alice.texts(), ALLOWANCE_S)
        return self.internet.now - began if met else None


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "theirs",
    [SYMMETRIC_RANDOM, SYMMETRIC_BLOCK, SYMMETRIC_SEQUENTIAL],
    ids=["random", "block", "sequential"],
)
def test_two_liars_do_not_part_a_member_from_one_whose_port_must_be_guessed(theirs, seed):
    place = Slandered(seed, RANDOM_CONE, ("mallory", "trudy"))
    assert place.report.mapping is Mapping.ADDRESS_DEPENDENT
    assert place.report.confidence < SURE
    behind = place.internet.add_nat(theirs)
    bob = place.village.member("bob", behind, key=KEY, port=40001)
    assert place.seconds_to_first_message(bob) is not None


@pytest.mark.parametrize("seed", SEEDS)
def test_where_they_have_told_the_truth_the_newcomer_is_told_why_there_is_no_path(seed):
    place = Slandered(seed, BY_ADDRESS, honest=("carol", "dave"))
    assert place.report.mapping is Mapping.ADDRESS_DEPENDENT
    behind = place.internet.add_nat(SYMMETRIC_RANDOM)
    bob = place.village.member("bob", behind, key=KEY, port=40001)
    assert place.seconds_to_first_message(bob) is None
    assert bob.verdict_codes[place.alice.peer] is VerdictCode.BOTH_RANDOM
