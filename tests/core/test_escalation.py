"""Whether, when and for how long an escalation spends its larger budget."""

from random import Random

import pytest

from natd.core.checks import LOW_TTL, Checks
from natd.core.escalation import LINGER_S, Escalation
from natd.core.plans import RANDOM_HELPERS, Situation
from natd.core.shots import MOST_SHOTS
from natd.core.turns import Turns
from natd.core.types import MAIN_SOCKET, Address, Allocation, Mapping, NatReport
from natd.core.ways import Way
from tests.core.lossy_link import pair_of_secrets

START = 1000.0
SEEN = (Address("198.51.100.7", 40001),)
SERVERS = frozenset(Address("203.0.113.1", 8080 + offset) for offset in range(4))
EASY = NatReport(Mapping.INDEPENDENT, allocation=Allocation.PRESERVING, confidence=0.95)
SEEMS_EASY = NatReport(Mapping.INDEPENDENT, confidence=0.8)
RANDOM = NatReport(Mapping.DEPENDENT, allocation=Allocation.RANDOM)
SEQUENTIAL = NatReport(Mapping.DEPENDENT, allocation=Allocation.SEQUENTIAL, stride=1)


def _escalation(turns=None, *, allowed=True):
    checks = Checks(b"abcd", Random(1))
    checks.use(pair_of_secrets()[0])
    escalation = Escalation(checks, turns or Turns(), b"abcd", Random(2))
    escalation.allowed = allowed
    return escalation


def _begin(escalation, ours, theirs, now=START, *, seen=SEEN, socket=MAIN_SOCKET, **rest):
    way = Way(seen, rest.pop("anchors", ()), socket, SERVERS)
    return escalation.begin(Situation(ours, theirs, **rest), way, now)


def _run_out(escalation, until=START + 120.0):
    sent = escalation.datagrams_to_send()
    while (due := escalation.get_timer()) is not None and due <= until:
        escalation.handle_timer(due)
        sent += escalation.datagrams_to_send()
    return sent


def test_nothing_is_spent_on_a_stranger_under_an_open_network():
    escalation = _escalation(allowed=False)
    assert not _begin(escalation, EASY, RANDOM)
    assert escalation.get_timer() is None
    assert escalation.datagrams_to_send() == []


@pytest.mark.parametrize(
    "seen", [(), (Address("192.168.1.7", 40001),), (Address("2001:db8::7", 40001),)]
)
def test_nothing_is_spent_on_a_peer_that_no_nat_is_known_of(seen):
    assert not _begin(_escalation(), EASY, RANDOM, seen=seen)


def test_two_easy_nats_are_left_to_plain_checks():
    for failed in (False, True):
        assert not _begin(_escalation(), EASY, EASY, have_checks_failed=failed)


def test_openers_of_the_hard_side_are_low_ttl_and_each_comes_from_a_socket_of_its_own():
    escalation = _escalation()
    assert _begin(escalation, RANDOM, EASY)
    sent = _run_out(escalation, START + 5.0)
    assert {datagram.ttl for datagram in sent} == {LOW_TTL}
    assert {datagram.address for datagram in sent} == set(SEEN)
    assert len(sent) == len({datagram.socket for datagram in sent}) == RANDOM_HELPERS
    assert {datagram.socket for datagram in sent} == escalation.sockets - {MAIN_SOCKET}


def test_probes_of_the_easy_side_are_meant_to_arrive_and_come_from_its_one_socket():
    escalation = _escalation()
    _begin(escalation, EASY, RANDOM)
    sent = _run_out(escalation)
    assert len(sent) == MOST_SHOTS
    assert {(datagram.ttl, datagram.socket) for datagram in sent} == {(None, MAIN_SOCKET)}


def test_it_names_its_technique_until_the_last_answers_may_have_come():
    escalation = _escalation()
    _begin(escalation, EASY, SEQUENTIAL)
    while (due := escalation.get_timer()) is not None:
        assert escalation.technique == "prediction"
        last = due
        escalation.handle_timer(due)
    assert escalation.technique is None
    assert last >= START + LINGER_S


def test_only_one_of_a_daemon_runs_at_a_time():
    turns = Turns()
    first, second = _escalation(turns), _escalation(turns)
    assert _begin(first, EASY, RANDOM)
    assert not _begin(second, EASY, RANDOM)
    first.stop()
    assert _begin(second, EASY, RANDOM)


def test_one_that_has_run_out_gives_its_turn_back():
    turns = Turns()
    first, second = _escalation(turns), _escalation(turns)
    _begin(first, EASY, SEQUENTIAL)
    _run_out(first)
    assert _begin(second, EASY, RANDOM, START + 5.0)


def test_the_same_reports_do_not_begin_it_anew():
    escalation = _escalation()
    _begin(escalation, EASY, RANDOM)
    assert not _begin(escalation, EASY, RANDOM, START + 1.0)


def test_a_changed_report_replaces_the_plan():
    escalation = _escalation()
    _begin(escalation, EASY, RANDOM)
    escalation.datagrams_to_send()
    assert _begin(escalation, EASY, SEQUENTIAL, START + 0.1)
    assert escalation.technique == "prediction"
    assert _run_out(escalation)[0].address == Address(SEEN[0].host, 40_002)


def test_a_path_ends_it_at_once():
    escalation = _escalation()
    _begin(escalation, RANDOM, EASY)
    escalation.stop()
    assert escalation.get_timer() is None
    assert escalation.sockets == frozenset()


def test_a_host_that_never_answers_is_not_guessed_at_for_ever():
    escalation, now, sent = _escalation(), START, 0
    for _ in range(20):
        _begin(escalation, EASY, RANDOM, now)
        sent += len(_run_out(escalation, now + 30.0))
        now += 30.0
    assert 2 * MOST_SHOTS <= sent <= 2 * MOST_SHOTS + 600


def test_no_plan_is_made_for_who_has_not_got_the_turn():
    turns = Turns()
    first, second = _escalation(turns), _escalation(turns)
    _begin(first, EASY, RANDOM)
    drawn = second._random.getstate()
    _begin(second, EASY, RANDOM)
    assert second._random.getstate() == drawn
