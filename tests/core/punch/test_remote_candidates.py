"""What an attempt is told of the two NATs: how far a sequence has run, and several addresses."""

import pytest

from natd.core.base.surroundings import Surroundings
from natd.core.base.types import Address, Allocation, Mapping, NatReport
from natd.core.network.local_sockets import LocalSockets
from natd.core.punch.remote_candidates import TRAVEL_RTTS, RemoteCandidates

START = 1000.0
SERVER = Address("203.0.113.1", 8080)
SEEN = (Address("198.51.100.7", 40001),)
BUSY = NatReport(Mapping.DEPENDENT, allocation=Allocation.SEQUENTIAL, stride=1, load_per_s=20.0)


def test_the_drift_of_a_peer_grows_with_its_load_from_when_its_ports_were_told_first():
    known = RemoteCandidates()
    known.surroundings = Surroundings(rtt_s=0.1)
    known.describe_peer((), BUSY)
    assert known.drift(START) == 0.0
    known.introduce(SERVER, SEEN, (), START)
    on_its_way = 20.0 * TRAVEL_RTTS * 0.1
    assert abs(known.drift(START) - on_its_way) < 1e-9
    known.introduce(SERVER, SEEN, (), START + 2.0)
    assert abs(known.drift(START + 3.0) - 60.0 - on_its_way) < 1e-6
    known.introduce(SERVER, (Address(SEEN[0].host, 41_000), *SEEN), (), START + 3.0)
    assert abs(known.drift(START + 3.0) - on_its_way) < 1e-6


def test_a_sequence_of_ours_is_sampled_anew_once_nobody_finds_it_by_what_servers_tell():
    known = RemoteCandidates()
    known.surroundings = Surroundings(nat=BUSY, sampled_at=START)
    assert not known.is_far_off(START + 1.0)
    assert known.is_far_off(START + 2.0)
    known.surroundings = Surroundings(nat=NatReport(Mapping.INDEPENDENT), sampled_at=START)
    assert not known.is_far_off(START + 1e6)


def test_where_no_load_was_measured_a_little_is_assumed():
    idle = NatReport(Mapping.DEPENDENT, allocation=Allocation.SEQUENTIAL, stride=1)
    known = RemoteCandidates()
    known.surroundings = Surroundings(nat=idle, sampled_at=START)
    assert not known.is_far_off(START + 20.0)
    assert known.is_far_off(START + 60.0)


@pytest.mark.parametrize("confidence", [0.98, 0.6])
def test_a_nat_that_did_not_keep_the_port_it_was_seen_at_keeps_none(confidence):
    """So no packet that comes early spoils a port there: openers may arrive."""
    known = RemoteCandidates()
    for allocation, moved in (
        (Allocation.UNKNOWN, Allocation.RANDOM),
        (Allocation.PRESERVING, Allocation.PRESERVING),
    ):
        nat = NatReport(Mapping.INDEPENDENT, allocation=allocation, confidence=confidence)
        known.describe_peer((), nat)
        situation = known.situation(have_checks_failed=True, is_alone=True)
        assert situation.theirs.allocation is moved
    known.describe_peer((), NatReport())
    situation = known.situation(have_checks_failed=True, is_alone=True)
    assert situation.theirs.allocation is Allocation.UNKNOWN, "nothing is known of it"


def test_either_side_that_is_seen_at_two_addresses_is_behind_a_pool():
    known = RemoteCandidates()
    known.introduce(SERVER, (*SEEN, Address("2001:db8::7", 40001)), (), START)
    assert not known.situation(have_checks_failed=False).has_address_pool
    known.surroundings = Surroundings(has_address_pool=True)
    assert known.situation(have_checks_failed=False).has_address_pool
    known.surroundings = Surroundings()
    known.introduce(SERVER, (*SEEN, Address("198.51.100.8", 40001)), (), START + 1.0)
    assert known.situation(have_checks_failed=False).has_address_pool


def test_a_fresh_socket_may_have_the_parity_of_the_main_one_and_none_is_given_out_twice():
    for port in (40_000, 40_001):
        sockets = LocalSockets()
        sockets.local = ((), port)
        alike = [sockets.fresh(is_alike=True) for _ in range(400)]
        assert {socket % 2 for socket in alike} == {port % 2}
        assert len(set(alike)) == len(alike)
        assert len({sockets.fresh(is_alike=True) for _ in range(400)} - set(alike)) == 400
