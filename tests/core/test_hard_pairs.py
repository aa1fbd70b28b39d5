"""Pairs of NATs that plain checks can't connect: found by an escalation, within its budget."""

from dataclasses import replace

import pytest

from natd.core.secrets import network_key
from tests.core.village import Village
from tests.nat import (
    ADDRESS_DEPENDENT,
    LINUX,
    PORT_RESTRICTED,
    SYMMETRIC_BLOCK,
    SYMMETRIC_RANDOM,
    SYMMETRIC_SEQUENTIAL,
)

KEY = network_key("demo", b"0123456789abcdef")
SEEDS = 10
ALLOWANCE_S = 15.0
MOST_ENTRIES = 2_048
MOST_PACKETS = 500
"""What is promised: entries that one attempt makes in a NAT, and packets of any second."""

ORDINARY = 64
"""Packets of a second without an escalation: checks, sessions, server."""

SEQUENTIAL = replace(SYMMETRIC_SEQUENTIAL, taken_share=0.3)
EVEN = replace(SEQUENTIAL, stride=2)


class Pair:
    """Two members behind NATs of their own; Bob comes when Alice has settled."""

    def __init__(self, left, right, seed, key=KEY, fill_blocks="half"):
        village = Village(seed)
        self.internet = village.internet
        self.gateways = [self.internet.add_nat(policy) for policy in (left, right)]
        self.alice = village.member("alice", self.gateways[0], key=key)
        self.bob = village.member("bob", self.gateways[1], key=key, port=40001)
        self.internet.trace = []
        self.alice.start()
        self.alice.node.set_limits(helper_sockets=256, fill_blocks=fill_blocks)
        self.internet.run(3.0)
        self.bob.start()
        self.bob.node.set_limits(helper_sockets=256, fill_blocks=fill_blocks)
        self.bob.send("hi")

    def meet(self):
        """Seconds to the first message; None when there was none."""
        began = self.internet.now
        met = self.internet.run_until(lambda: self.alice.texts() == ["hi"], ALLOWANCE_S)
        return self.internet.now - began if met else None

    def packets_in_a_second(self, member):
        """The most that left one host in any second."""
        instants = [sent.at for sent in self.internet.trace if sent.host is member.host]
        most = first = 0
        for last, at in enumerate(instants):
            while instants[first] <= at - 1.0:
                first += 1
            most = max(most, last - first + 1)
        return most

    def assert_within_budget(self):
        for gateway in self.gateways:
            assert gateway.nat.entries_made <= MOST_ENTRIES
        for member in (self.alice, self.bob):
            assert self.packets_in_a_second(member) <= MOST_PACKETS


@pytest.mark.parametrize(
    ("hard", "easy"),
    [
        pytest.param(SYMMETRIC_RANDOM, PORT_RESTRICTED, id="random-port-restricted"),
        pytest.param(SYMMETRIC_RANDOM, LINUX, id="random-linux"),
        pytest.param(ADDRESS_DEPENDENT, PORT_RESTRICTED, id="address-dependent-port-restricted"),
        pytest.param(ADDRESS_DEPENDENT, LINUX, id="address-dependent-linux"),
        pytest.param(SEQUENTIAL, PORT_RESTRICTED, id="sequential-port-restricted"),
        pytest.param(EVEN, PORT_RESTRICTED, id="every-second-port-restricted"),
        pytest.param(SYMMETRIC_BLOCK, PORT_RESTRICTED, id="block-port-restricted"),
    ],
)
def test_a_hard_side_and_an_easy_one_always_meet(hard, easy):
    for seed in range(SEEDS):
        pair = Pair(*((hard, easy) if seed % 2 else (easy, hard)), seed)
        assert pair.meet() is not None, seed
        pair.assert_within_budget()


def test_two_sequences_with_other_users_meet():
    pairs = [Pair(SEQUENTIAL, (SEQUENTIAL, EVEN)[seed % 2], seed) for seed in range(SEEDS)]
    assert sum(pair.meet() is not None for pair in pairs) >= SEEDS - 1
    for pair in pairs:
        pair.assert_within_budget()


def test_a_block_and_a_sequence_meet_where_the_block_may_be_filled():
    pairs = [
        Pair(
            *((SYMMETRIC_BLOCK, SEQUENTIAL) if seed % 2 else (EVEN, SYMMETRIC_BLOCK)),
            seed,
            fill_blocks="full",
        )
        for seed in range(SEEDS)
    ]
    assert sum(pair.meet() is not None for pair in pairs) >= SEEDS - 1
    for pair in pairs:
        pair.assert_within_budget()


def test_two_blocks_mostly_meet_where_they_may_be_filled():
    pairs = [
        Pair(SYMMETRIC_BLOCK, SYMMETRIC_BLOCK, seed, fill_blocks="full") for seed in range(SEEDS)
    ]
    assert sum(pair.meet() is not None for pair in pairs) >= 7
    for pair in pairs:
        pair.assert_within_budget()


def test_two_random_sides_are_told_why_not_and_spend_nothing_on_it():
    for seed in range(3):
        pair = Pair(SYMMETRIC_RANDOM, SYMMETRIC_RANDOM, seed)
        assert pair.meet() is None
        assert "another port for every destination" in pair.alice.verdicts[pair.bob.peer]
        assert "another port for every destination" in pair.bob.verdicts[pair.alice.peer]
        assert all(gateway.nat.entries_made < 100 for gateway in pair.gateways)


def test_under_an_open_network_nothing_is_spent_on_a_stranger():
    pair = Pair(SYMMETRIC_RANDOM, PORT_RESTRICTED, 1, key=network_key("demo", b""))
    pair.meet()
    assert all(gateway.nat.entries_made < 100 for gateway in pair.gateways)
    assert pair.packets_in_a_second(pair.alice) <= ORDINARY
