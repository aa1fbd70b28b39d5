"""Each rule of a NAT, one NAT by itself."""

from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest

from natd.core.base.types import Address
from tests.internet.conntrack import ConntrackNat
from tests.internet.nat import (
    ADDRESS_RESTRICTED,
    FULL_CONE,
    LINUX,
    LINUX_ACCEPTING,
    LINUX_RANDOM,
    PORT_RESTRICTED,
    SYMMETRIC_BLOCK,
    SYMMETRIC_RANDOM,
    SYMMETRIC_SEQUENTIAL,
    Dependence,
    NatPolicy,
    Ports,
    TableNat,
)

INSIDE = Address("192.168.1.2", 40000)
NEIGHBOUR = Address("192.168.1.3", 40000)
REMOTE = Address("45.1.9.10", 9000)
OTHER_PORT = Address("45.1.9.10", 9001)
OTHER_HOST = Address("45.1.8.10", 9000)
WAN = "45.1.1.10"


@pytest.mark.parametrize(
    ("mapping", "same_for_port", "same_for_host"),
    [
        (Dependence.INDEPENDENT, True, True),
        (Dependence.ADDRESS, True, False),
        (Dependence.ADDRESS_AND_PORT, False, False),
    ],
)
def test_a_mapping_depends_on_what_its_class_says(mapping, same_for_port, same_for_host):
    nat = table(mapping=mapping, ports=Ports.RANDOM)
    first = sent(nat, INSIDE, REMOTE, 0.0)
    assert (nat.outbound(INSIDE, OTHER_PORT, 0.0) == first) == same_for_port
    assert (nat.outbound(INSIDE, OTHER_HOST, 0.0) == first) == same_for_host
    assert nat.outbound(INSIDE, REMOTE, 0.0) == first


@pytest.mark.parametrize(
    ("policy", "other_port", "other_host"),
    [(FULL_CONE, True, True), (ADDRESS_RESTRICTED, True, False), (PORT_RESTRICTED, False, False)],
)
def test_a_filter_depends_on_what_its_class_says(policy, other_port, other_host):
    nat = TableNat(policy, (WAN,), Random(0))
    external = sent(nat, INSIDE, REMOTE, 0.0)
    assert nat.inbound(REMOTE, external, 0.0) == INSIDE
    assert (nat.inbound(OTHER_PORT, external, 0.0) == INSIDE) == other_port
    assert (nat.inbound(OTHER_HOST, external, 0.0) == INSIDE) == other_host


def test_a_preserving_nat_gives_a_taken_port_to_nobody_else_unless_it_overloads():
    nat = table()
    assert nat.outbound(INSIDE, REMOTE, 0.0) == Address(WAN, INSIDE.port)
    assert nat.outbound(NEIGHBOUR, REMOTE, 0.0) != Address(WAN, INSIDE.port)
    overloading = table(ports=Ports.OVERLOADING)
    external = sent(overloading, INSIDE, REMOTE, 0.0)
    assert overloading.outbound(NEIGHBOUR, OTHER_HOST, 0.0) == external
    assert overloading.inbound(REMOTE, external, 0.0) == INSIDE
    assert overloading.inbound(OTHER_HOST, external, 0.0) == NEIGHBOUR


@pytest.mark.parametrize("stride", [1, 2])
def test_a_sequential_nat_counts_up_by_its_stride(stride):
    nat = TableNat(replace(SYMMETRIC_SEQUENTIAL, stride=stride), (WAN,), Random(1))
    ports = [sent(nat, INSIDE, REMOTE._replace(port=p), 0.0).port for p in range(9000, 9008)]
    assert [b - a for a, b in pairwise(ports)] == [stride] * 7


def test_a_sequential_nat_moves_on_with_the_load_of_others():
    nat = TableNat(replace(SYMMETRIC_SEQUENTIAL, load_per_s=10.0), (WAN,), Random(1))
    first = sent(nat, INSIDE, REMOTE, 0.0).port
    assert 60 < sent(nat, INSIDE, OTHER_PORT, 10.0).port - first < 150


def test_a_block_nat_stays_within_one_aligned_block_of_the_inside_host():
    nat = TableNat(SYMMETRIC_BLOCK, (WAN,), Random(1))
    ports = {sent(nat, INSIDE, REMOTE._replace(port=p), 0.0).port for p in range(1, 401)}
    assert len(ports) == 400
    assert len({port // 512 for port in ports}) == 1
    assert sent(nat, NEIGHBOUR, REMOTE, 0.0).port // 512 not in {p // 512 for p in ports}


def test_a_mapping_ends_after_silence_and_at_its_absolute_age():
    nat = table(timeout_s=30.0, absolute_age_s=60.0, ports=Ports.RANDOM)
    first = sent(nat, INSIDE, REMOTE, 0.0)
    assert nat.outbound(INSIDE, REMOTE, 29.0) == first
    assert nat.inbound(REMOTE, first, 58.0) == INSIDE
    assert nat.inbound(REMOTE, first, 61.0) is None
    second = sent(nat, INSIDE, REMOTE, 61.0)
    assert second != first
    assert nat.inbound(REMOTE, second, 92.0) is None


def test_a_mapping_that_nothing_has_come_in_by_may_end_sooner():
    nat = table(timeout_s=120.0, unanswered_s=30.0, ports=Ports.RANDOM)
    first = sent(nat, INSIDE, REMOTE, 0.0)
    second = sent(nat, INSIDE, REMOTE, 31.0)
    assert second != first
    assert nat.inbound(REMOTE, second, 60.0) == INSIDE
    assert nat.outbound(INSIDE, REMOTE, 150.0) == second


def test_inbound_packets_keep_a_mapping_only_where_the_policy_says_so():
    nat = table(timeout_s=30.0, inbound_refreshes=False)
    external = sent(nat, INSIDE, REMOTE, 0.0)
    assert nat.inbound(REMOTE, external, 29.0) == INSIDE
    assert nat.inbound(REMOTE, external, 31.0) is None


def test_a_full_table_drops_the_new_and_keeps_the_live():
    for policy in (replace(SYMMETRIC_RANDOM, capacity=2), replace(LINUX, capacity=2)):
        kind = ConntrackNat if policy.conntrack else TableNat
        nat = kind(policy, (WAN,), Random(0))
        kept = nat.outbound(INSIDE, REMOTE, 0.0)
        nat.outbound(INSIDE, OTHER_PORT, 0.0)
        assert nat.outbound(INSIDE, OTHER_HOST, 0.0) is None
        assert nat.outbound(INSIDE, REMOTE, 1.0) == kept
        assert nat.outbound(INSIDE, OTHER_HOST, 200.0) is not None


# --- Linux -----------------------------------------------------------------------------


def test_linux_preserves_the_port_and_filters_by_address_and_port():
    nat = conntrack(LINUX)
    assert nat.outbound(INSIDE, REMOTE, 0.0) == Address(WAN, INSIDE.port)
    assert nat.outbound(INSIDE, OTHER_HOST, 0.0) == Address(WAN, INSIDE.port)
    assert nat.inbound(REMOTE, Address(WAN, INSIDE.port), 0.0) == INSIDE
    assert nat.inbound(OTHER_PORT, Address(WAN, INSIDE.port), 0.0) is None


def test_two_inside_hosts_with_the_same_port_differ_only_towards_the_same_remote():
    nat = conntrack(LINUX)
    nat.outbound(INSIDE, REMOTE, 0.0)
    assert nat.outbound(NEIGHBOUR, OTHER_HOST, 0.0) == Address(WAN, NEIGHBOUR.port)
    assert nat.outbound(NEIGHBOUR, REMOTE, 0.0) != Address(WAN, NEIGHBOUR.port)


def test_an_early_inbound_packet_poisons_the_punch_where_input_accepts():
    nat = conntrack(LINUX_ACCEPTING)
    preserved = sent(nat, INSIDE, OTHER_HOST, 0.0)
    assert nat.inbound(REMOTE, preserved, 0.0) is None
    poisoned = nat.outbound(INSIDE, REMOTE, 0.1)
    assert poisoned != preserved
    # Every new destination sees the poisoned port, the old flow still the old one.
    assert nat.outbound(INSIDE, OTHER_PORT, 0.2) == poisoned
    assert nat.outbound(INSIDE, OTHER_HOST, 0.2) == preserved
    # The peer, which knows only the preserved one, never gets through.
    assert nat.inbound(REMOTE, preserved, 0.3) is None


def test_poisoning_stays_while_the_peer_sends_and_heals_after_silence_or_on_a_fresh_port():
    nat = conntrack(LINUX_ACCEPTING)
    preserved = Address(WAN, INSIDE.port)
    for at in range(0, 100, 10):
        nat.inbound(REMOTE, preserved, float(at))
        assert nat.outbound(INSIDE, REMOTE, at + 0.1) != preserved
    fresh = INSIDE._replace(port=40001)
    assert nat.outbound(fresh, REMOTE, 95.0) == Address(WAN, 40001)
    assert nat.outbound(INSIDE, REMOTE, 95.0 + 36.0) == preserved


def test_an_early_inbound_packet_leaves_nothing_where_input_drops():
    nat = conntrack(LINUX)
    preserved = Address(WAN, INSIDE.port)
    assert nat.inbound(REMOTE, preserved, 0.0) is None
    assert nat.entries_made == 0
    assert nat.outbound(INSIDE, REMOTE, 0.1) == preserved


def test_masquerade_random_gives_each_destination_a_port_of_its_own():
    nat = conntrack(LINUX_RANDOM)
    ports = {sent(nat, INSIDE, REMOTE._replace(port=p), 0.0).port for p in range(9000, 9020)}
    assert len(ports) > 15


def test_a_flow_lives_longer_once_it_was_answered_and_still_active_after_two_seconds():
    nat = conntrack(LINUX)
    external = sent(nat, INSIDE, REMOTE, 0.0)
    assert nat.inbound(REMOTE, external, 1.0) == INSIDE
    assert nat.inbound(REMOTE, external, 32.0) is None
    nat.outbound(INSIDE, REMOTE, 100.0)
    nat.inbound(REMOTE, external, 100.1)
    nat.outbound(INSIDE, REMOTE, 103.0)
    assert nat.inbound(REMOTE, external, 222.0) == INSIDE


# --- helpers ---------------------------------------------------------------------------


def sent(
    nat: TableNat | ConntrackNat, source: Address, destination: Address, now: float
) -> Address:
    """Where a packet that the NAT lets out comes from, outside."""
    external = nat.outbound(source, destination, now)
    assert external is not None
    return external


def table(**policy) -> TableNat:
    return TableNat(NatPolicy(**policy), (WAN,), Random(0))


def conntrack(policy: NatPolicy) -> ConntrackNat:
    return ConntrackNat(policy, (WAN,), Random(0))
