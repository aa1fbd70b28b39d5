"""Hosts where a peer is only said to be: what they get before it has proved it."""

import pytest

from natd.core.base.types import Address
from natd.core.checks.budget import TargetBudget
from natd.core.checks.host_proofs import HostProofs
from natd.core.checks.unproved_hosts import UnprovedHosts

HOST = "203.0.113.5"


def test_a_host_gets_ten_packets_and_no_more_while_more_is_wanted_there():
    hosts = UnprovedHosts()
    assert sum(hosts.take(HOST, 84, 1000.0 + n) for n in range(3600)) == 10
    assert hosts.take("203.0.113.6", 84, 1000.0), "others are not concerned"


def test_a_host_gets_1200_bytes_and_no_more():
    hosts = UnprovedHosts()
    assert sum(hosts.take(HOST, 400, 1000.0) for _ in range(10)) == 3
    assert not hosts.take(HOST, 1, 1000.0)


def test_five_minutes_after_the_last_was_wanted_there_is_as_much_again():
    hosts = UnprovedHosts()
    assert sum(hosts.take(HOST, 84, 1000.0) for _ in range(20)) == 10
    assert not hosts.take(HOST, 84, 1299.0)
    assert not hosts.take(HOST, 84, 1598.0)
    assert hosts.take(HOST, 84, 1898.0)


def test_a_full_table_refuses_the_new_until_old_ones_are_over():
    hosts = UnprovedHosts()
    assert sum(hosts.take(f"198.18.{n // 250}.{n % 250}", 84, 1000.0) for n in range(5000)) == 4096
    assert not hosts.take(HOST, 84, 1000.0)
    assert hosts.take(HOST, 84, 1300.0)


def test_a_check_of_the_peer_pays_for_one_more_and_an_answer_for_all():
    budget, place = TargetBudget(), Address(HOST, 4000)

    def checked(at: float) -> int:
        return sum(budget.allow(place, 84, at, is_unproved=True) for _ in range(20))

    assert checked(1000.0) + checked(1001.2) + checked(1003.0) == 10
    budget.called(place, 1004.0)
    assert checked(1004.0) == 1
    budget.answered(place, 1005.0)
    assert checked(1005.0) == 20


def test_what_is_proved_or_answered_is_no_longer_only_said():
    proofs = HostProofs()
    assert not proofs.are_wanting(HOST, 1000.0), "nobody has said anything of it"
    proofs.told((), {HOST}, 1000.0)
    assert proofs.are_wanting(HOST, 1000.0)
    proofs.told({HOST}, (), 1001.0)
    assert not proofs.are_wanting(HOST, 1001.0)
    proofs.told((), {HOST}, 1002.0)
    assert not proofs.are_wanting(HOST, 1002.0), "another server knows better"
    proofs.told((), {"203.0.113.6"}, 1003.0)
    proofs.answered("203.0.113.6", 1004.0)
    assert not proofs.are_wanting("203.0.113.6", 1004.0)


@pytest.mark.parametrize("count", [17, 300])
def test_a_peer_that_is_said_to_be_everywhere_takes_no_more_memory(count):
    proofs = HostProofs()
    for number in range(count):
        proofs.told((), {f"198.18.{number // 250}.{number % 250}"}, 1000.0)
    assert len(proofs._said) == 16
