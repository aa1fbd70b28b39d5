"""Whether, when and for how long an escalation spends its larger budget."""

from dataclasses import replace
from random import Random
from time import perf_counter
from typing import Any

import pytest

from natd.core.base.types import (
    MAIN_SOCKET,
    Address,
    Allocation,
    Datagram,
    Filtering,
    Mapping,
    NatReport,
    SocketId,
)
from natd.core.checks.checks import LOW_TTL, Checks
from natd.core.checks.limits import MOST_SHOTS
from natd.core.checks.turns import ALL_RATE, MOST_SOCKETS, RESERVED, SLICE_S, Turns
from natd.core.codec import stun
from natd.core.prediction.anchors import MOST_ANCHORS
from natd.core.prediction.blocks import meeting_ports
from natd.core.prediction.escalation import (
    LINGER_S,
    LOOK_S,
    MOST_WAVES,
    TELL_LADDER_S,
    Escalation,
)
from natd.core.prediction.paced_sender import AGAIN_S
from natd.core.prediction.samples import Way
from natd.core.prediction.strategy import RANDOM_HELPERS, Situation
from natd.core.punch.remote_candidates import anchors_in
from tests.core.world.lossy_link import pair_of_secrets

START = 1000.0
SEEN = (Address("198.51.100.7", 40001),)
SERVERS = frozenset(Address("203.0.113.1", 8080 + offset) for offset in range(4))
EASY = NatReport(Mapping.INDEPENDENT, allocation=Allocation.PRESERVING, confidence=0.95)
SEEMS_EASY = NatReport(Mapping.INDEPENDENT, confidence=0.8)
RANDOM = NatReport(Mapping.DEPENDENT, allocation=Allocation.RANDOM)
SEQUENTIAL = NatReport(Mapping.DEPENDENT, allocation=Allocation.SEQUENTIAL, stride=1)
BLOCK = NatReport(
    Mapping.DEPENDENT,
    allocation=Allocation.BLOCK,
    low=20_480,
    high=20_991,
    allocation_confidence=0.99,
)


def pair_of_secrets_checks():
    """The checks of both sides; the first is the one that opens."""
    both = []
    for secrets in pair_of_secrets():
        checks = Checks(b"abcd", Random(1))
        checks.use(secrets)
        both.append(checks)
    return sorted(both, key=lambda checks: not checks.we_open)


def _escalation(turns=None, *, allowed=True, lower=True):
    checks = pair_of_secrets_checks()[not lower]
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


def _run_all(escalations, since, until):
    """What each sends, with its instant, when all of their timers are kept."""
    sent: dict[Escalation, list[tuple[float, Datagram]]] = {e: [] for e in escalations}
    now = since
    while True:
        for escalation in escalations:
            sent[escalation] += [(now, d) for d in escalation.datagrams_to_send()]
        due = [(e.get_timer(), n) for n, e in enumerate(escalations) if e.get_timer() is not None]
        if not due or min(due)[0] > until:
            return sent
        now, number = min(due)
        escalations[number].handle_timer(now)


def test_one_that_waits_begins_by_itself_when_the_other_rests():
    turns = Turns()
    first, second = _escalation(turns), _escalation(turns)
    assert _begin(first, RANDOM, EASY)
    assert not _begin(second, RANDOM, EASY)
    assert second.technique is None
    sent = _run_all([first, second], START, START + 3.0)
    assert len(sent[first]) == len(sent[second]) == RANDOM_HELPERS
    assert sent[first][-1][0] < sent[second][0][0] < sent[first][-1][0] + 0.2
    assert second.technique == "birthday"


def test_a_newcomer_interrupts_one_that_has_guessed_for_a_while():
    turns = Turns()
    first, newcomer = _escalation(turns), _escalation(turns)
    _begin(first, EASY, RANDOM)
    _run_all([first], START, START + 0.8)
    _begin(newcomer, EASY, SEQUENTIAL, START + 0.8)
    sent = _run_all([first, newcomer], START + 0.8, START + 10.0)
    assert sent[newcomer][0][0] < START + SLICE_S + 0.2
    within = [at for at, _ in sent[first] if sent[newcomer][0][0] <= at <= sent[newcomer][-1][0]]
    assert within == []
    assert sent[first][-1][0] > sent[newcomer][-1][0]


def test_one_that_may_not_send_any_more_keeps_nobody_waiting():
    turns = Turns()
    first, second = _escalation(turns), _escalation(turns)
    while turns.may_send(SEEN[0].host, START, is_signed=True):
        pass
    assert _begin(first, EASY, RANDOM)
    assert _begin(second, EASY, RANDOM, START + 0.1)


def test_a_sign_of_the_peer_begins_what_has_missed_anew_and_nothing_else_does():
    for gives_sign in (True, False):
        escalation = _escalation()
        _begin(escalation, EASY, RANDOM)
        first = _run_out(escalation, START + 2.0)
        if gives_sign:
            escalation.sign()
        rest = _run_out(escalation, START + 30.0)
        assert len(first) + len(rest) == MOST_SHOTS * (2 if gives_sign else 1)


def test_a_peer_that_has_vanished_is_guessed_at_within_its_half_of_the_budget():
    turns = Turns()
    escalation = _escalation(turns)
    turns.found(escalation._claim, SEEN[0].host)
    turns.answered(SEEN[0].host, START + 600.0, START)
    sent, now = 0, START
    for _ in range(20):
        _begin(escalation, EASY, RANDOM, now)
        sent += len(_run_out(escalation, now + 6.0))
        now += 6.0
    assert 2 * MOST_SHOTS < sent <= RESERVED + 120 * ALL_RATE
    escalation.sign()
    _begin(escalation, EASY, RANDOM, now)
    assert len(_run_out(escalation, now + 6.0)) == MOST_SHOTS


def test_what_has_opened_our_nat_a_while_ago_goes_out_again_when_both_are_introduced():
    escalation = _escalation()
    _begin(escalation, RANDOM, EASY)
    _run_out(escalation, START + 2.0)
    escalation.introduced(START + 2.0)
    assert _run_out(escalation, START + 3.0) == []
    escalation.introduced(START + AGAIN_S)
    again = _run_out(escalation, START + AGAIN_S + 1.0)
    assert len({datagram.socket for datagram in again}) == len(again) == RANDOM_HELPERS
    sent = RANDOM_HELPERS * 2
    for number in range(2, 20):
        escalation.introduced(START + AGAIN_S * number)
        sent += len(_run_out(escalation, START + AGAIN_S * number + 1.0))
    assert sent <= MOST_SHOTS


def test_an_attempt_whose_sockets_others_need_ends_and_closes_them():
    turns = Turns()
    first, *others = [_escalation(turns) for _ in range(1 + MOST_SOCKETS // RANDOM_HELPERS)]
    _begin(first, RANDOM, EASY)
    turns.found(first._claim, SEEN[0].host)
    for number, other in enumerate(others):
        _run_all([first, *others], START + number, START + number + 1.0)
        assert first.sockets
        _begin(other, RANDOM, EASY, START + number + 1.0)
    _run_all([first, *others], START + len(others), START + len(others) + LOOK_S)
    assert first.sockets == frozenset()
    assert first.technique is None
    assert all(other.technique == "birthday" for other in others)


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


def test_a_fresher_sample_of_a_sequence_begins_the_guess_anew_and_the_same_does_not():
    escalation = _escalation()
    assert _begin(escalation, EASY, SEQUENTIAL)
    first = escalation.datagrams_to_send()[0].address.port
    assert not _begin(escalation, EASY, SEQUENTIAL, START + 0.1)
    fresher = (Address(SEEN[0].host, 45_000), *SEEN)
    assert _begin(escalation, EASY, SEQUENTIAL, START + 0.2, seen=fresher)
    assert first == 40_002
    assert escalation.datagrams_to_send()[0].address.port == 45_001


def test_between_two_sequences_all_our_sockets_have_the_parity_of_the_main_one():
    for our_port in (50_000, 50_001):
        escalation = _escalation(lower=False)
        way = Way(SEEN, (), SocketId(60_001), SERVERS, our_port=our_port)
        assert escalation.begin(Situation(SEQUENTIAL, SEQUENTIAL), way, START)
        helpers = escalation.sockets - {60_001}
        assert {socket % 2 for socket in helpers} == {our_port % 2}
        assert max(helpers) < 0x10000


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


def test_who_only_seems_easy_is_escalated_against_when_checks_have_failed():
    assert not _begin(_escalation(), EASY, SEEMS_EASY)
    escalation = _escalation()
    assert _begin(escalation, EASY, SEEMS_EASY, have_checks_failed=True)
    assert len(_run_out(escalation)) == MOST_SHOTS


def test_news_that_make_no_difference_to_the_plan_do_not_begin_it_anew():
    escalation = _escalation()
    _begin(escalation, EASY, RANDOM)
    escalation.datagrams_to_send()
    sockets = escalation.sockets
    surer = replace(EASY, confidence=0.99, filtering=Filtering.DEPENDENT)
    assert not _begin(escalation, surer, RANDOM, START + 0.1, have_checks_failed=True)
    assert escalation.sockets == sockets


# --- blocks


def test_no_port_of_a_block_is_spent_while_either_block_is_uncertain():
    guess = replace(BLOCK, allocation_confidence=0.7)
    assert not _begin(_escalation(), guess, BLOCK)
    assert not _begin(_escalation(), BLOCK, guess)
    assert _begin(_escalation(), BLOCK, guess, have_checks_failed=True)
    assert _begin(_escalation(), BLOCK, BLOCK)


def _waves(escalation, until):
    """(instant of its first packet, its packets) of each wave."""
    waves: list[list[Any]] = []
    now = START
    for _ in range(100_000):
        sent = [(d.socket, d.address, d.ttl) for d in escalation.datagrams_to_send()]
        if sent and (not waves or now - waves[-1][2] > 5.0):
            waves.append([now, [], now])
        if sent:
            waves[-1][1] += sent
            waves[-1][2] = now
        due = escalation.get_timer()
        if due is None or due > until:
            break
        now = due
        escalation.handle_timer(now)
    return [(began, packets, ended) for began, packets, ended in waves]


@pytest.mark.parametrize("lower", [True, False])
def test_waves_repeat_the_same_packets_once_our_nat_may_have_forgotten_them(lower):
    escalation = _escalation(lower=lower)
    assert _begin(escalation, BLOCK, BLOCK)
    first, *later = _waves(escalation, START + 600.0)
    assert len(later) == MOST_WAVES - 1
    assert len(first[1]) == 2 * 256
    ended = first[2]
    for began, packets, until in later:
        assert sorted(packets) == sorted(set(first[1]))
        assert 30.0 < began - ended < 36.0
        ended = until
    assert escalation.technique is None


def test_both_halves_have_their_waves_at_the_same_time():
    opens, sprays = _escalation(lower=True), _escalation(lower=False)
    _begin(opens, BLOCK, BLOCK)
    _begin(sprays, BLOCK, BLOCK)
    pairs = zip(_waves(opens, START + 600.0), _waves(sprays, START + 600.0), strict=True)
    for (_, _, opened), (sprayed, _, _) in list(pairs)[1:]:
        assert 0.0 < sprayed - opened < 1.0


def test_between_two_waves_the_turn_is_free_and_the_sockets_stay_open():
    turns = Turns()
    first, second = _escalation(turns), _escalation(turns)
    _begin(first, BLOCK, BLOCK)
    sockets = first.sockets
    _run_out(first, START + 10.0)
    assert first.sockets == sockets
    assert first.technique == "blocks"
    assert _begin(second, EASY, RANDOM, START + 10.0)


def test_a_wave_waits_for_its_turn():
    turns = Turns()
    first, second = _escalation(turns), _escalation(turns)
    _begin(first, BLOCK, BLOCK)
    _run_out(first, START + 10.0)
    wave_at = first.next_try_at
    _run_out(first, wave_at - 0.2)
    assert _begin(second, EASY, RANDOM, wave_at - 0.1)
    assert _run_out(first, wave_at + SLICE_S - 0.2) == []
    second.stop()
    assert len(_run_out(first, wave_at + 3.0)) == 256


def test_half_a_block_is_half_a_block_whatever_changes_meanwhile():
    escalation = _escalation()
    larger = replace(BLOCK, low=20_480, high=21_503)
    ports = set()
    for number in range(4):
        _begin(escalation, BLOCK, (BLOCK, larger)[number % 2], START + 10.0 * number)
        ports |= {(d.socket, d.address) for d in _run_out(escalation, START + 10.0 * number + 9.0)}
    assert len(ports) == 256


def test_every_port_that_was_ever_named_counts_as_taken():
    escalation = _escalation()
    uncertain = replace(BLOCK, allocation_confidence=0.7)
    middle = Address(SEEN[0].host, 20_736)
    assert not _begin(escalation, uncertain, BLOCK, seen=(middle,))
    assert _begin(escalation, BLOCK, BLOCK)
    assert {d.address.port for d in _run_out(escalation, START + 1.0)} == {20_737}


# --- anchors


@pytest.mark.parametrize("lower", [True, False])
def test_ports_that_the_peers_card_says_are_taken_are_neither_met_at_nor_sprayed(lower):
    middle = (BLOCK.low + BLOCK.high + 1) // 2
    taken = (middle, middle + 1, BLOCK.low + 7)
    escalation = _escalation(lower=lower)
    assert _begin(escalation, BLOCK, replace(BLOCK, taken_ports=taken))
    ports = {datagram.address.port for datagram in _run_out(escalation, START + 10.0)}
    assert ports
    assert ports.isdisjoint(taken)
    assert ports == {middle + 2} or len(ports) >= 200


def _answer_samples(escalation, port, skip=frozenset(), stride=1):
    """Let the burst through a NAT that counts up; gives the port of each opener."""
    ports = {}
    for datagram in escalation.datagrams_to_send():
        port += stride
        while port in skip:
            port += stride
        if datagram.address in SERVERS:
            data = stun.encode_binding_response(
                stun.decode(datagram.data).transaction, Address("198.51.100.1", port)
            )
            escalation.receive_answer(
                stun.decode(data), datagram.address, datagram.socket, START + 0.1
            )
        else:
            ports[port] = datagram
    return ports


def test_a_sequence_tells_a_block_which_ports_it_has_opened_to_one_of_its():
    escalation = _escalation()
    assert _begin(escalation, SEQUENTIAL, BLOCK)
    opened = _answer_samples(escalation, 40_000)
    told = escalation.new_anchors()
    assert told == escalation.anchors
    assert {anchor.port for anchor in told[:-1]} <= set(opened)
    assert {datagram.ttl for datagram in opened.values()} == {LOW_TTL}
    assert len({datagram.address for datagram in opened.values()}) == 1
    assert escalation.sockets - {MAIN_SOCKET} == {opened[a.port].socket for a in told[:-1]}
    mark = pair_of_secrets_checks()[1].their_mark
    assert anchors_in((*told, *SEEN), mark) == (tuple(a.port for a in told[:-1]), len(told))
    assert anchors_in(SEEN, mark) == ((), 0)


def test_anchors_are_told_more_than_once_and_kept_open_without_the_turn():
    turns = Turns()
    escalation, other = _escalation(turns), _escalation(turns)
    _begin(escalation, SEQUENTIAL, BLOCK)
    opened = _answer_samples(escalation, 40_000)
    told = [escalation.new_anchors()]
    assert _begin(other, EASY, RANDOM, START + 0.2)
    sent = []
    while (due := escalation.get_timer()) is not None and due < START + 60.0:
        escalation.handle_timer(due)
        told += [news for news in [escalation.new_anchors()] if news]
        sent += escalation.datagrams_to_send()
    assert len(told) == 1 + len(TELL_LADDER_S)
    assert len(set(told)) == 1
    assert len(sent) == 4 * MOST_ANCHORS
    kept = {opened[anchor.port].socket for anchor in told[0][:-1]}
    assert {(datagram.socket, datagram.ttl) for datagram in sent} == {(s, LOW_TTL) for s in kept}


def test_a_block_spends_nothing_on_a_sequence_that_has_told_no_anchors():
    escalation = _escalation()
    assert not _begin(escalation, BLOCK, SEQUENTIAL)
    assert _begin(escalation, BLOCK, SEQUENTIAL, anchors=(40_001, 40_003))
    sent = _run_out(escalation, START + 5.0)
    assert {datagram.address.port for datagram in sent} == {40_001, 40_003}


def test_anchors_are_opened_anew_when_the_port_that_they_lead_to_proves_to_be_taken():
    """A newcomer's survey takes nine ports of its block just when the sequence picks one."""
    escalation = _escalation()
    assert _begin(escalation, SEQUENTIAL, BLOCK)
    [met_at] = {d.address.port for d in _answer_samples(escalation, 40_000).values()}
    told = escalation.anchors
    assert not _begin(escalation, SEQUENTIAL, replace(BLOCK, taken_ports=(met_at + 1,)))
    assert escalation.anchors == told
    taken = replace(BLOCK, taken_ports=(met_at, met_at + 1))
    assert _begin(escalation, SEQUENTIAL, taken)
    [anew] = {d.address.port for d in _answer_samples(escalation, 40_100).values()}
    assert anew == met_at + 2
    assert not set(told[:-1]) & set(escalation.anchors[:-1])
    assert not _begin(escalation, SEQUENTIAL, taken)


def test_anchors_stay_where_no_port_of_the_block_is_free():
    escalation = _escalation()
    full = replace(BLOCK, taken_ports=tuple(range(BLOCK.low, BLOCK.high + 1)))
    assert _begin(escalation, SEQUENTIAL, full)
    _answer_samples(escalation, 40_000)
    told = escalation.anchors
    assert not _begin(escalation, SEQUENTIAL, full)
    assert escalation.anchors == told


def test_without_an_answer_from_a_server_there_are_no_anchors():
    escalation = _escalation()
    _begin(escalation, SEQUENTIAL, BLOCK)
    _run_out(escalation, START + 5.0)
    assert escalation.anchors == ()
    assert escalation.technique is None


@pytest.mark.parametrize("port", [20_600, 1024, 65_535])
def test_a_block_whose_every_port_is_in_use_is_no_way_to_stop_us(port):
    """What a card says of a block is its owner's word; the peer may be seen at its only port."""
    full = replace(BLOCK, low=port, high=port, taken_ports=(port,) * 16)
    seen = (Address("198.51.100.7", port),)
    for ours in (SEQUENTIAL, BLOCK):
        escalation = _escalation()
        for _ in range(2):
            _begin(escalation, ours, full, seen=seen, have_checks_failed=True)
        escalation.handle_timer(START + 5.0)


@pytest.mark.parametrize("allocation", list(Allocation))
def test_whatever_a_card_says_no_packet_goes_to_a_port_of_a_service(allocation):
    hostile = NatReport(
        Mapping.DEPENDENT, allocation=allocation, stride=1, low=0, high=1100, confidence=1.0
    )
    sent = []
    for ours in (EASY, SEQUENTIAL, BLOCK, RANDOM):
        escalation = _escalation()
        anchors = (22, 53, 1023, 1024)
        _begin(escalation, ours, hostile, anchors=anchors, have_checks_failed=True)
        for step in range(100):
            escalation.handle_timer(START + 0.1 * step)
            sent += escalation.datagrams_to_send()
    to_peer = [each.address.port for each in sent if each.address.host == SEEN[0].host]
    assert to_peer
    assert min(to_peer) >= 1024


def test_a_block_as_large_as_a_card_can_say_takes_no_time_to_think_about():
    huge = replace(BLOCK, low=0, high=65_535)
    known = tuple(range(32_768, 32_768 + 48))
    began = perf_counter()
    for _ in range(1000):
        assert meeting_ports(huge, known, 1) == (32_816,)
    assert perf_counter() - began < 0.5
