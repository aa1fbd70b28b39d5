"""Every kind of NAT in the laboratory, told from what one server's four ports see of it.

The model is fed as a registration feeds it, from the NAT's own tables, in hundreds of seeds a
kind; whole nodes do the same in a few.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from random import Random

import pytest

from natd.core.base.types import (
    LOWEST_ANY_PORT_SOCKET,
    MAIN_SOCKET,
    SURE,
    Address,
    Allocation,
    Mapping,
    NatReport,
    SocketId,
)
from natd.core.nat.allocation_survey import SURVEY_S, survey_places
from natd.core.nat.model import NatModel
from tests.core.world.village import Village
from tests.internet.conntrack import ConntrackNat
from tests.internet.nat import (
    ADDRESS_DEPENDENT,
    ADDRESS_RESTRICTED,
    FULL_CONE,
    LINUX,
    LINUX_ACCEPTING,
    LINUX_RANDOM,
    PORT_RESTRICTED,
    SYMMETRIC_BLOCK,
    SYMMETRIC_RANDOM,
    SYMMETRIC_SEQUENTIAL,
    NatPolicy,
    Ports,
    TableNat,
)

SEEDS = 200
UNALIGNED_SEEDS = 100
FEW_SEEDS = 3
RIGHT = 0.99
START = 1000.0
ROUND_TRIP_S = 0.1
SETTLED_S = 5.0
CONNECTED_PEERS_S = 25.0
"""So much later at most peers that are connected get a card."""

SERVER, SECOND = "203.0.113.1", "203.0.113.2"
SERVER_PORT = 8080
OUTSIDE, INSIDE = "198.51.100.9", "192.168.1.4"
MOST_SURVEYED = 9

OVERLOADING = replace(PORT_RESTRICTED, ports=Ports.OVERLOADING)
RANDOM_CONE = replace(FULL_CONE, ports=Ports.RANDOM)
TAKEN = replace(SYMMETRIC_SEQUENTIAL, taken_share=0.3)
TAKEN_BY_TWO = replace(TAKEN, stride=2)
BY_TWO = replace(SYMMETRIC_SEQUENTIAL, stride=2)
BUSY = replace(SYMMETRIC_SEQUENTIAL, load_per_s=20.0)
WITH_PARITY = replace(SYMMETRIC_SEQUENTIAL, keeps_parity=True)
HIGH_HALF = replace(SYMMETRIC_RANDOM, port_range=(32_768, 65_535))
DYNAMIC = replace(SYMMETRIC_RANDOM, port_range=(49_152, 65_535))
KEEPING_ONE = replace(SYMMETRIC_RANDOM, ports=Ports.PRESERVING)
BLOCKS = {size: replace(SYMMETRIC_BLOCK, block_size=size) for size in (64, 256, 512, 2048, 4096)}
UNALIGNED = replace(SYMMETRIC_BLOCK, block_aligned=False)
ADDRESS_SEQUENCE = replace(ADDRESS_DEPENDENT, ports=Ports.SEQUENTIAL)


@pytest.mark.parametrize(
    ("policy", "mapping", "allocation", "stride"),
    [
        (FULL_CONE, Mapping.INDEPENDENT, Allocation.PRESERVING, 0),
        (ADDRESS_RESTRICTED, Mapping.INDEPENDENT, Allocation.PRESERVING, 0),
        (PORT_RESTRICTED, Mapping.INDEPENDENT, Allocation.PRESERVING, 0),
        (OVERLOADING, Mapping.INDEPENDENT, Allocation.PRESERVING, 0),
        (LINUX, Mapping.INDEPENDENT, Allocation.PRESERVING, 0),
        (LINUX_ACCEPTING, Mapping.INDEPENDENT, Allocation.PRESERVING, 0),
        (LINUX_RANDOM, Mapping.DEPENDENT, Allocation.RANDOM, 0),
        (SYMMETRIC_RANDOM, Mapping.DEPENDENT, Allocation.RANDOM, 0),
        (HIGH_HALF, Mapping.DEPENDENT, Allocation.RANDOM, 0),
        (DYNAMIC, Mapping.DEPENDENT, Allocation.RANDOM, 0),
        (KEEPING_ONE, Mapping.DEPENDENT, Allocation.RANDOM, 0),
        (SYMMETRIC_SEQUENTIAL, Mapping.DEPENDENT, Allocation.SEQUENTIAL, 1),
        (BY_TWO, Mapping.DEPENDENT, Allocation.SEQUENTIAL, 2),
        (TAKEN, Mapping.DEPENDENT, Allocation.SEQUENTIAL, 1),
        (TAKEN_BY_TWO, Mapping.DEPENDENT, Allocation.SEQUENTIAL, 2),
        (BUSY, Mapping.DEPENDENT, Allocation.SEQUENTIAL, 1),
        *((policy, Mapping.DEPENDENT, Allocation.BLOCK, 0) for policy in BLOCKS.values()),
        (UNALIGNED, Mapping.DEPENDENT, Allocation.BLOCK, 0),
    ],
)
def test_class_allocation_and_stride_are_told_right_after_registration(
    policy: NatPolicy, mapping: Mapping, allocation: Allocation, stride: int
) -> None:
    def is_right(report: NatReport, _: "Behind") -> bool:
        told = (report.mapping, report.allocation, report.stride)
        return told == (mapping, allocation, stride) and report.confidence >= SURE

    assert share_right(policy, is_right) >= RIGHT


@pytest.mark.parametrize("size", BLOCKS)
def test_an_aligned_block_is_learnt_whole(size: int) -> None:
    def is_right(report: NatReport, behind: "Behind") -> bool:
        return (report.low, report.high) == behind.block

    assert share_right(BLOCKS[size], is_right) >= RIGHT


def test_a_block_that_begins_anywhere_is_covered_by_nine_tenths() -> None:
    def covered(report: NatReport, behind: "Behind") -> float:
        low, high = behind.block
        return (min(report.high, high) - max(report.low, low) + 1) / (high - low + 1)

    shares = [covered(behind.report, behind) for behind in learnt(UNALIGNED)]
    assert sum(shares) / len(shares) >= 0.9


def test_four_samples_are_less_sure_of_a_block_than_all_that_are_taken() -> None:
    first = [Behind(SYMMETRIC_BLOCK, seed).register().allocation_confidence for seed in range(50)]
    after = [behind.report.allocation_confidence for behind in learnt(SYMMETRIC_BLOCK)]
    assert max(first) < SURE
    assert sum(sure >= SURE for sure in after) >= 0.95 * len(after)


@pytest.mark.parametrize(
    ("policy", "low"), [(SYMMETRIC_RANDOM, 1024), (HIGH_HALF, 1024), (DYNAMIC, 49_152)]
)
def test_the_range_of_random_ports_is_hardly_ever_told_too_narrow(
    policy: NatPolicy, low: int
) -> None:
    actual = policy.port_range[0]
    narrow = [behind.report.low > actual for behind in learnt(policy)]
    assert sum(narrow) <= 0.1 * len(narrow)
    lows = [behind.report.low for behind in learnt(policy)]
    assert lows.count(low) >= 0.9 * len(lows)


def test_a_sequence_that_keeps_parity_is_told_from_one_with_a_stride_of_two() -> None:
    assert share_right(WITH_PARITY, lambda report, _: report.keeps_parity) >= RIGHT
    assert share_right(TAKEN_BY_TWO, lambda report, _: not report.keeps_parity) >= RIGHT


@pytest.mark.parametrize("policy", [RANDOM_CONE, ADDRESS_DEPENDENT, ADDRESS_SEQUENCE])
def test_one_host_can_not_tell_mapping_by_address_and_says_so(policy: NatPolicy) -> None:
    def is_in_doubt(report: NatReport, _: "Behind") -> bool:
        return report.mapping is Mapping.INDEPENDENT and report.may_be_hard

    assert share_right(policy, is_in_doubt) == 1.0


@pytest.mark.parametrize(
    ("policy", "mapping"),
    [
        (RANDOM_CONE, Mapping.INDEPENDENT),
        (PORT_RESTRICTED, Mapping.INDEPENDENT),
        (ADDRESS_DEPENDENT, Mapping.ADDRESS_DEPENDENT),
        (ADDRESS_SEQUENCE, Mapping.ADDRESS_DEPENDENT),
        (SYMMETRIC_RANDOM, Mapping.DEPENDENT),
        (TAKEN, Mapping.DEPENDENT),
        (SYMMETRIC_BLOCK, Mapping.DEPENDENT),
    ],
)
def test_two_hosts_tell_all_three_classes(policy: NatPolicy, mapping: Mapping) -> None:
    def is_right(report: NatReport, _: "Behind") -> bool:
        return report.mapping is mapping and report.confidence >= SURE

    assert share_right(policy, is_right, hosts=(SERVER, SECOND)) >= RIGHT


def test_further_samples_are_taken_only_where_they_tell_more() -> None:
    for policy in (PORT_RESTRICTED, LINUX, RANDOM_CONE, ADDRESS_DEPENDENT):
        assert all(behind.surveyed == 0 for behind in learnt(policy))
    surveyed = [behind.surveyed for behind in learnt(SYMMETRIC_BLOCK)]
    assert max(surveyed) <= MOST_SURVEYED
    assert sum(behind.surveyed > 0 for behind in learnt(SYMMETRIC_RANDOM)) <= 0.05 * SEEDS


@pytest.mark.parametrize("load", [1.0, 20.0])
@pytest.mark.parametrize("stride", [1, 2])
def test_the_load_of_others_is_measured_by_the_samples_of_later_minutes(
    load: float, stride: int
) -> None:
    policy = replace(SYMMETRIC_SEQUENTIAL, stride=stride, load_per_s=load)
    measured = []
    for seed in range(20):
        behind = Behind(policy, seed)
        behind.settle()
        for minute in range(1, 11):
            behind.ask(MAIN_SOCKET, SERVER, SERVER_PORT + 1 + minute % 3, 60.0 * minute)
        assert behind.report.stride == stride
        measured.append(behind.report.load_per_s)
    assert sum(measured) / len(measured) == pytest.approx(load, rel=0.15)


@pytest.mark.parametrize(
    ("policy", "mapping", "allocation", "stride"),
    [
        (PORT_RESTRICTED, Mapping.INDEPENDENT, Allocation.PRESERVING, 0),
        (SYMMETRIC_RANDOM, Mapping.DEPENDENT, Allocation.RANDOM, 0),
        (TAKEN, Mapping.DEPENDENT, Allocation.SEQUENTIAL, 1),
        (TAKEN_BY_TWO, Mapping.DEPENDENT, Allocation.SEQUENTIAL, 2),
        (SYMMETRIC_BLOCK, Mapping.DEPENDENT, Allocation.BLOCK, 0),
    ],
)
def test_whole_nodes_tell_the_same_in_their_cards(
    policy: NatPolicy, mapping: Mapping, allocation: Allocation, stride: int
) -> None:
    for seed in range(FEW_SEEDS):
        village = Village(seed)
        alice = village.member("alice", village.internet.add_nat(policy))
        bob = village.member("bob", village.internet.add_nat(PORT_RESTRICTED))
        bob.start()
        alice.start()
        village.internet.run(SETTLED_S + CONNECTED_PEERS_S)
        told = bob.views()[0].nat
        assert (told.mapping, told.allocation, told.stride) == (mapping, allocation, stride)
        report = alice.nat
        assert (told.low, told.high) == (report.low, report.high)
        assert told.allocation_confidence == pytest.approx(report.allocation_confidence, abs=0.1)


def test_the_sockets_of_a_survey_are_closed_after_it() -> None:
    village = Village(4)
    alice = village.member("alice", village.internet.add_nat(SYMMETRIC_BLOCK))
    village.internet.trace = []
    alice.start()
    village.internet.run(SURVEY_S + 1.0)
    used = {sent.socket for sent in village.internet.trace if sent.host is alice.host}
    assert len(used) == 4
    assert all(socket < LOWEST_ANY_PORT_SOCKET for socket in used)
    assert set(alice.attached.ports) == {MAIN_SOCKET}


class Behind:
    """A model behind a NAT, asked and answered as a registration does it."""

    def __init__(self, policy: NatPolicy, seed: int, hosts: tuple[str, ...] = (SERVER,)) -> None:
        kind = ConntrackNat if policy.conntrack else TableNat
        self.nat = kind(policy, (OUTSIDE,), Random(seed))
        self.model = NatModel()
        self.surveyed = 0
        self._port = 40_000 + seed % 2
        self._hosts = hosts
        self.model.set_local_addresses((INSIDE,), self._port)

    @property
    def report(self) -> NatReport:
        return self.model.report()

    @property
    def block(self) -> tuple[int, int]:
        assert isinstance(self.nat, TableNat)
        low = self.nat._block(INSIDE)
        return low, low + self.nat.policy.block_size - 1

    def register(self) -> NatReport:
        """The first breath: the sampling ports, then the server's own."""
        for host in self._hosts:
            for port in (1, 2, 3, 0):
                self.ask(MAIN_SOCKET, host, SERVER_PORT + port, 0.0)
        return self.report

    def settle(self) -> None:
        """What follows of it in a few seconds."""
        self.register()
        after_s = ROUND_TRIP_S
        while self.model.ports.survey_at is not None and after_s < SETTLED_S:
            places = survey_places(self.report)
            for socket in self.model.take_survey(START + after_s):
                for port in range(1, places + 1):
                    self.ask(socket, SERVER, SERVER_PORT + port, after_s)
                    self.surveyed += 1
            after_s += ROUND_TRIP_S

    def ask(self, socket: SocketId, host: str, port: int, after_s: float) -> None:
        source = Address(INSIDE, int(socket) or self._port)
        observed = self.nat.outbound(source, Address(host, port), START + after_s)
        assert observed is not None
        at = START + after_s + ROUND_TRIP_S
        self.model.observe(socket, Address(host, port), observed, at)


@cache
def learnt(policy: NatPolicy, hosts: tuple[str, ...] = (SERVER,)) -> tuple[Behind, ...]:
    """One for each seed; a NAT that draws a block from all places there are takes its time."""
    seeds = SEEDS if policy.block_aligned else UNALIGNED_SEEDS
    rows = tuple(Behind(policy, seed, hosts) for seed in range(seeds))
    for behind in rows:
        behind.settle()
    return rows


def share_right(
    policy: NatPolicy,
    is_right: Callable[[NatReport, Behind], bool],
    hosts: tuple[str, ...] = (SERVER,),
) -> float:
    rows = learnt(policy, hosts)
    return sum(is_right(behind.report, behind) for behind in rows) / len(rows)
