"""What proves that a peer is at a host, and for how long."""

import pytest

from natd.core.checks.host_proofs import HostProofs

NOW = 1000.0
DAY_S = 86_400.0
HOST, ELSEWHERE = "198.51.100.7", "198.51.100.8"


def test_nothing_holds_where_nothing_was_proved() -> None:
    proofs = HostProofs()
    proofs.proved({HOST}, NOW)
    assert proofs.holds(HOST, NOW)
    assert not proofs.holds(ELSEWHERE, NOW)


def test_what_a_server_has_proved_is_believed_for_ten_minutes() -> None:
    proofs = HostProofs()
    proofs.proved({HOST}, NOW)
    assert proofs.holds(HOST, NOW + 599.0)
    assert not proofs.holds(HOST, NOW + 601.0)


@pytest.mark.parametrize("s_ago", [0.0, 3 * DAY_S])
def test_an_answer_is_believed_for_seven_days(s_ago: float) -> None:
    proofs = HostProofs()
    proofs.answered(HOST, NOW, s_ago=s_ago)
    ends_at = NOW - s_ago + 7 * DAY_S
    assert proofs.holds(HOST, ends_at - 1.0)
    assert not proofs.holds(HOST, ends_at + 1.0)


def test_an_answer_of_last_week_proves_nothing() -> None:
    proofs = HostProofs()
    proofs.answered(HOST, NOW, s_ago=7 * DAY_S)
    assert not proofs.holds(HOST, NOW)


def test_a_proof_that_lasts_is_not_shortened_by_another() -> None:
    proofs = HostProofs()
    proofs.answered(HOST, NOW)
    proofs.proved({HOST}, NOW)
    assert proofs.holds(HOST, NOW + DAY_S)


def test_proofs_of_more_hosts_than_a_peer_can_have_take_the_place_of_the_shortest() -> None:
    proofs = HostProofs()
    proofs.answered(HOST, NOW)
    proofs.proved([f"203.0.113.{number}" for number in range(200)], NOW)
    assert proofs.holds(HOST, NOW)
    assert sum(proofs.holds(f"203.0.113.{number}", NOW) for number in range(200)) == 15
