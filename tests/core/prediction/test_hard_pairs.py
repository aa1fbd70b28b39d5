"""Pairs of NATs that plain checks can't connect: found by an escalation, within its budget."""

from collections import Counter
from dataclasses import replace

import pytest

from natd.core.base.types import MAIN_SOCKET, Address, SocketId
from natd.core.keys.secrets import network_key
from tests.core.world.village import Village
from tests.internet.nat import (
    ADDRESS_DEPENDENT,
    LINUX,
    LINUX_ACCEPTING,
    PORT_RESTRICTED,
    SYMMETRIC_BLOCK,
    SYMMETRIC_RANDOM,
    SYMMETRIC_SEQUENTIAL,
    Ports,
)

KEY = network_key("demo", b"0123456789abcdef")
OPEN_KEY = network_key("demo", b"")
SEEDS = 10
ALLOWANCE_S = 15.0
MOST_ENTRIES = 2_048
MOST_PACKETS = 500
"""What is promised: entries that one attempt makes in a NAT, and packets of any second."""

ORDINARY = 64
"""Packets of a second without an escalation: checks, sessions, server."""

BLOCK_SIZE = SYMMETRIC_BLOCK.block_size
WAVES_S = 34.5
"""From wave to wave of an escalation between two blocks."""

SEQUENTIAL = replace(SYMMETRIC_SEQUENTIAL, taken_share=0.3)
EVEN = replace(SEQUENTIAL, stride=2)
RANDOM_CONE = replace(PORT_RESTRICTED, ports=Ports.RANDOM)
"""Easy, but a single server can't tell it from one that maps by address."""


class Pair:
    """Two members behind NATs of their own; Bob comes when Alice has settled."""

    def __init__(self, left, right, seed, key=KEY, fill_blocks="half", settled_s=3.0):
        village = Village(seed)
        self.internet = village.internet
        self.gateways = [self.internet.add_nat(policy) for policy in (left, right)]
        self.alice = village.member("alice", self.gateways[0], key=key)
        self.bob = village.member("bob", self.gateways[1], key=key, port=40001)
        self.internet.trace = self.trace = []
        self.alice.start()
        self.alice.node.set_limits(helper_sockets=256, fill_blocks=fill_blocks)
        self.internet.run(settled_s)
        self.began = self.internet.now
        self.bob.start()
        self.bob.node.set_limits(helper_sockets=256, fill_blocks=fill_blocks)
        self.bob.send("hi")

    def meet(self, allowance_s=ALLOWANCE_S):
        """Seconds to the first message; None when there was none."""
        met = self.internet.run_until(lambda: self.alice.texts() == ["hi"], allowance_s)
        return self.internet.now - self.began if met else None

    def guessed_at(self, member):
        """When it began to guess: checks go to one port of the other's NAT from one socket, and
        from a second one if the first seems spoilt."""
        other = self.gateways[member is self.alice]
        flows: dict[tuple[SocketId, Address], float] = {}
        for sent in self.trace:
            address = sent.datagram.address
            if sent.host is member.host and address.host == other.addresses[0]:
                flows.setdefault((sent.socket, address), sent.at)
        return sorted(flows.values())[4] - self.began

    def sent(self, member):
        """What left for the other's NAT: when, and from which socket to which address."""
        host = self.gateways[member is self.alice].addresses[0]
        return [
            (sent.at, (sent.socket, sent.datagram.address))
            for sent in self.trace
            if sent.host is member.host and sent.datagram.address.host == host
        ]

    def shown_first_s(self, member):
        """How long a server had known the last socket from which it sent to the other's NAT."""
        theirs = self.gateways[member is self.alice].addresses[0]
        first: dict[tuple[SocketId, bool], float] = {}
        for sent in self.trace:
            if sent.host is member.host:
                first.setdefault((sent.socket, sent.datagram.address.host == theirs), sent.at)
        both = [socket for socket, is_theirs in first if is_theirs and (socket, False) in first]
        last = max(both, key=lambda socket: first[socket, True])
        assert last != MAIN_SOCKET
        return first[last, True] - first[last, False]

    def packets_in_a_second(self, member):
        """The most that left one host in any second."""
        instants = [sent.at for sent in self.trace if sent.host is member.host]
        most = first = 0
        for last, at in enumerate(instants):
            while instants[first] <= at - 1.0:
                first += 1
            most = max(most, last - first + 1)
        return most

    def packets_since(self, since_s, member):
        """That left one host later than so long after Bob's start."""
        since = self.began + since_s
        return sum(sent.at > since and sent.host is member.host for sent in self.trace)

    def assert_half_a_block_at_most(self):
        """Of what a side sends to the other's host, in any half minute."""
        for member in (self.alice, self.bob):
            ours = member.host.behind
            assert ours is not None
            if ours.nat.policy.ports is not Ports.BLOCK:
                continue
            flows = self.sent(member)
            timeout_s = ours.nat.policy.unanswered_s or 300.0
            for first, (began, _) in enumerate(flows[::50]):
                alive = {flow for at, flow in flows[50 * first :] if at <= began + timeout_s}
                assert len(alive) <= BLOCK_SIZE // 2 + ORDINARY

    def assert_within_budget(self):
        for gateway in self.gateways:
            assert gateway.nat.entries_made <= MOST_ENTRIES
        self.assert_packets_within_budget()

    def assert_packets_within_budget(self):
        for member in (self.alice, self.bob):
            assert self.packets_in_a_second(member) <= MOST_PACKETS


@pytest.mark.parametrize("is_resident", [True, False])
def test_guesses_begin_0_3_s_after_the_first_packet_where_a_nat_only_seems_easy(is_resident):
    """One server can't tell that a NAT maps by address; a round trip of silence does."""
    policies = (ADDRESS_DEPENDENT, PORT_RESTRICTED)
    pair = Pair(*(policies if is_resident else policies[::-1]), 1)
    assert pair.meet() is not None
    for member in (pair.alice, pair.bob):
        assert 0.25 <= pair.guessed_at(member) <= 0.35


def test_one_side_dials_however_often_the_two_are_introduced():
    """Of two dials one loses, and with it the messages of its first flight."""
    for seed in range(SEEDS):
        pair = Pair(SYMMETRIC_RANDOM, PORT_RESTRICTED, seed)
        assert pair.meet() is not None
        for member, other in ((pair.alice, pair.bob), (pair.bob, pair.alice)):
            peer = member.membership.peer(other.peer, pair.internet.now)
            assert peer is not None
            assert peer.all_dropped["first-flight-lost-the-tie"] == 0, seed


@pytest.mark.parametrize(
    ("hard", "easy"),
    [
        pytest.param(SYMMETRIC_RANDOM, PORT_RESTRICTED, id="random-port-restricted"),
        pytest.param(SYMMETRIC_RANDOM, LINUX, id="random-linux"),
        pytest.param(ADDRESS_DEPENDENT, PORT_RESTRICTED, id="address-dependent-port-restricted"),
        pytest.param(ADDRESS_DEPENDENT, LINUX, id="address-dependent-linux"),
        pytest.param(ADDRESS_DEPENDENT, RANDOM_CONE, id="address-dependent-random-port-restricted"),
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


def test_of_a_path_it_is_told_that_a_helper_socket_has_won_it():
    pair = Pair(SYMMETRIC_RANDOM, PORT_RESTRICTED, 1)
    assert pair.meet() is not None
    [alices], [bobs] = (m.views() for m in (pair.alice, pair.bob))
    assert alices.path is not None
    assert bobs.path is not None
    assert alices.path.technique == "birthday"
    assert alices.path.socket != MAIN_SOCKET
    assert bobs.path.socket == MAIN_SOCKET


def test_two_sequences_with_other_users_meet():
    pairs = [Pair(SEQUENTIAL, (SEQUENTIAL, EVEN)[seed % 2], seed) for seed in range(SEEDS)]
    assert sum(pair.meet() is not None for pair in pairs) >= SEEDS - 1
    for pair in pairs:
        pair.assert_within_budget()


def test_two_sequences_meet_although_others_take_twenty_ports_a_second():
    busy = replace(SEQUENTIAL, load_per_s=20.0)
    pairs = [Pair(busy, (busy, EVEN)[seed % 2], seed) for seed in range(SEEDS)]
    assert sum(pair.meet() is not None for pair in pairs) >= SEEDS - 2


@pytest.mark.parametrize("load_per_s", [5.0, 20.0, 60.0, 200.0])
@pytest.mark.parametrize("settled_s", [3.0, 100.0, 300.0])
def test_a_newcomer_finds_a_sequence_that_has_run_on_for_long_as_soon_as_any(load_per_s, settled_s):
    busy = replace(SYMMETRIC_SEQUENTIAL, load_per_s=load_per_s)
    pairs = [Pair(busy, PORT_RESTRICTED, seed, settled_s=settled_s) for seed in range(5)]
    times = sorted(pair.meet() or ALLOWANCE_S for pair in pairs)
    assert times[2] <= (1.0 if settled_s < 10.0 else 0.65)


def test_two_sequences_that_keep_parity_meet_like_any_two():
    even = replace(SEQUENTIAL, keeps_parity=True)
    pairs = [Pair(even, (even, SEQUENTIAL)[seed % 2], seed) for seed in range(SEEDS)]
    times = sorted(pair.meet() or ALLOWANCE_S for pair in pairs)
    assert times[SEEDS // 2] <= 1.0
    assert times[-2] < ALLOWANCE_S
    for pair in pairs:
        pair.assert_within_budget()


def test_a_block_and_a_sequence_meet_where_the_block_may_be_filled():
    kinds = [(SYMMETRIC_BLOCK, SEQUENTIAL), (EVEN, SYMMETRIC_BLOCK)]
    pairs = [Pair(*kinds[seed % 2], seed, fill_blocks="full") for seed in range(SEEDS)]
    assert sum(pair.meet() is not None for pair in pairs) >= SEEDS - 2
    for pair in pairs:
        pair.assert_within_budget()


SPOILT = [
    pytest.param(LINUX_ACCEPTING, SEQUENTIAL, (0, 1, 2), id="accepting-sequential"),
    pytest.param(LINUX_ACCEPTING, EVEN, (0, 1, 2), id="accepting-every-second"),
    pytest.param(SYMMETRIC_BLOCK, LINUX_ACCEPTING, (35, 95), id="block-accepting"),
    pytest.param(LINUX_ACCEPTING, SYMMETRIC_BLOCK, (89,), id="accepting-block"),
]
"""A check of the hard side comes before the guess of the port that it comes from, and spoils the
socket for all further guesses.  With a block that is one meeting of fifty."""


@pytest.mark.parametrize(("resident", "newcomer", "seeds"), SPOILT)
def test_a_guess_that_should_have_met_is_made_again_from_a_fresh_socket(resident, newcomer, seeds):
    for seed in seeds:
        pair = Pair(resident, newcomer, seed, OPEN_KEY)
        time_s = pair.meet()
        assert time_s is not None
        assert time_s < 3.0
        pair.assert_within_budget()
        easy = pair.alice if resident is LINUX_ACCEPTING else pair.bob
        assert pair.shown_first_s(easy) >= 0.15, "a sample, and the introduction that tells of it"


def test_two_blocks_mostly_meet_where_they_may_be_filled():
    pairs = [
        Pair(SYMMETRIC_BLOCK, SYMMETRIC_BLOCK, seed, fill_blocks="full") for seed in range(SEEDS)
    ]
    assert sum(pair.meet() is not None for pair in pairs) >= SEEDS - 2
    for pair in pairs:
        pair.assert_within_budget()


def test_with_half_of_its_block_a_side_meets_a_sequence_within_three_minutes():
    kinds = [(SYMMETRIC_BLOCK, SEQUENTIAL), (EVEN, SYMMETRIC_BLOCK)]
    pairs = [Pair(*kinds[seed % 2], seed) for seed in range(SEEDS)]
    times = [pair.meet(180.0) for pair in pairs]
    assert sum(time_s is not None for time_s in times) >= SEEDS - 3
    assert sum(time_s is not None and time_s < ALLOWANCE_S for time_s in times) >= 3
    for pair in pairs:
        pair.assert_half_a_block_at_most()
        pair.assert_packets_within_budget()


def test_with_half_of_their_blocks_two_sides_meet_within_six_minutes():
    pairs = [Pair(SYMMETRIC_BLOCK, SYMMETRIC_BLOCK, seed) for seed in range(SEEDS)]
    times = [pair.meet(360.0) for pair in pairs]
    assert sum(time_s is not None for time_s in times) >= SEEDS - 2
    assert any(time_s is not None and time_s < ALLOWANCE_S for time_s in times)
    for pair in pairs:
        pair.assert_half_a_block_at_most()
        pair.assert_packets_within_budget()


def test_a_resident_opens_all_of_its_half_though_nothing_was_known_of_the_newcomer():
    for seed in range(4):
        pair = Pair(SYMMETRIC_BLOCK, SYMMETRIC_BLOCK, seed)
        pair.meet(2.0)
        opened = [
            Counter(address for _, address in {flow for _, flow in pair.sent(member)})
            for member in (pair.alice, pair.bob)
        ]
        assert max(max(count.values()) for count in opened) == BLOCK_SIZE // 2


def test_in_an_open_network_two_halves_are_tried_more_than_eight_times_in_six_minutes():
    """A host that has never answered gets so many packets, and no second copy of the same."""
    pairs = (Pair(SYMMETRIC_BLOCK, SYMMETRIC_BLOCK, seed, OPEN_KEY) for seed in range(40))
    unmet = next(pair for pair in pairs if pair.meet(360.0) is None)
    for member in (unmet.alice, unmet.bob):
        packets = Counter(int((at - unmet.began) / WAVES_S) for at, _ in unmet.sent(member))
        waves = [count for count in packets.values() if count > ORDINARY]
        assert len(waves) > 8
        assert min(waves[:8]) >= BLOCK_SIZE // 2, "with what checks have left of their share"
        assert sum(packets.values()) <= 1024 + 1024 + 5 * 60


def test_a_block_whose_nat_remembers_for_long_is_not_filled_by_repetitions_either():
    patient = replace(SYMMETRIC_BLOCK, unanswered_s=None, timeout_s=300.0)
    for seed in range(4):
        pair = Pair(patient, SYMMETRIC_BLOCK, seed)
        pair.meet(150.0)
        pair.assert_half_a_block_at_most()


HOPELESS = [
    pytest.param(SYMMETRIC_RANDOM, SYMMETRIC_RANDOM, id="random-random"),
    pytest.param(SEQUENTIAL, SYMMETRIC_RANDOM, id="sequential-random"),
    pytest.param(SYMMETRIC_RANDOM, EVEN, id="random-every-second"),
    pytest.param(SYMMETRIC_BLOCK, SYMMETRIC_RANDOM, id="block-random"),
]


@pytest.mark.parametrize(("left", "right"), HOPELESS)
def test_a_hopeless_pair_is_told_so_soon_and_spends_little_on_it(left, right):
    for seed in range(3):
        pair = Pair(left, right, seed)
        assert pair.meet() is None
        assert pair.bob.peer in pair.alice.verdicts
        assert pair.alice.peer in pair.bob.verdicts
        assert all(gateway.nat.entries_made < 100 for gateway in pair.gateways)


@pytest.mark.parametrize(("left", "right"), HOPELESS)
def test_attempts_go_on_quietly_and_at_once_when_the_user_asks(left, right):
    pair = Pair(left, right, 1)
    pair.meet(600.0)
    for member in (pair.alice, pair.bob):
        assert pair.packets_since(600.0 - 180.0, member) < 180
    now = pair.internet.now
    pair.alice.membership.retry(None, now)
    pair.internet.run(1.0)
    assert 3 <= pair.packets_since(now - pair.began, pair.alice) <= ORDINARY
