"""Whether, when and for how long an escalation spends its larger budget."""

from dataclasses import replace

import pytest

from natd.core.base.types import (
    MAIN_SOCKET,
    Address,
    Filtering,
    SocketId,
)
from natd.core.checks.checks import LOW_TTL
from natd.core.checks.limits import MOST_WAVE_PACKETS
from natd.core.checks.turns import ALL_RATE, MOST_SOCKETS, RESERVED, SLICE_S, Turns
from natd.core.prediction.birthday import RANDOM_HELPERS
from natd.core.prediction.escalation import (
    LINGER_S,
    LOOK_S,
)
from natd.core.prediction.paced_sender import AGAIN_S
from natd.core.prediction.samples import Endpoints
from natd.core.prediction.strategy import Situation
from tests.core.world.escalation_lab import (
    BLOCK,
    EASY,
    RANDOM,
    SEEMS_EASY,
    SEEN,
    SEQUENTIAL,
    SERVERS,
    START,
    begin,
    make_escalation,
    run_all,
    run_out,
)


@pytest.mark.parametrize(
    "seen", [(), (Address("192.168.1.7", 40001),), (Address("2001:db8::7", 40001),)]
)
def test_nothing_is_spent_on_a_peer_that_no_nat_is_known_of(seen):
    assert not begin(make_escalation(), EASY, RANDOM, seen=seen)


def test_two_easy_nats_are_left_to_plain_checks():
    for failed in (False, True):
        assert not begin(make_escalation(), EASY, EASY, have_checks_failed=failed)


def test_openers_of_the_hard_side_are_low_ttl_and_each_comes_from_a_socket_of_its_own():
    escalation = make_escalation()
    assert begin(escalation, RANDOM, EASY)
    sent = run_out(escalation, START + 5.0)
    assert {datagram.ttl for datagram in sent} == {LOW_TTL}
    assert {datagram.address for datagram in sent} == set(SEEN)
    assert len(sent) == len({datagram.socket for datagram in sent}) == RANDOM_HELPERS
    assert {datagram.socket for datagram in sent} == escalation.sockets - {MAIN_SOCKET}


def test_probes_of_the_easy_side_are_meant_to_arrive_and_come_from_its_one_socket():
    escalation = make_escalation()
    begin(escalation, EASY, RANDOM)
    sent = run_out(escalation)
    assert len(sent) == MOST_WAVE_PACKETS
    assert {(datagram.ttl, datagram.socket) for datagram in sent} == {(None, MAIN_SOCKET)}


def test_it_names_its_technique_until_the_last_answers_may_have_come():
    escalation = make_escalation()
    begin(escalation, EASY, SEQUENTIAL)
    while (due := escalation.get_timer()) is not None:
        assert escalation.technique == "prediction"
        last = due
        escalation.handle_timer(due)
    assert escalation.technique is None
    assert last >= START + LINGER_S


def test_only_one_of_a_daemon_runs_at_a_time():
    turns = Turns()
    first, second = make_escalation(turns), make_escalation(turns)
    assert begin(first, EASY, RANDOM)
    assert not begin(second, EASY, RANDOM)
    first.stop()
    assert begin(second, EASY, RANDOM)


def test_one_that_waits_begins_by_itself_when_the_other_rests():
    turns = Turns()
    first, second = make_escalation(turns), make_escalation(turns)
    assert begin(first, RANDOM, EASY)
    assert not begin(second, RANDOM, EASY)
    assert second.technique is None
    sent = run_all([first, second], START, START + 3.0)
    assert len(sent[first]) == len(sent[second]) == RANDOM_HELPERS
    assert sent[first][-1][0] < sent[second][0][0] < sent[first][-1][0] + 0.2
    assert second.technique == "birthday"


def test_a_newcomer_interrupts_one_that_has_guessed_for_a_while():
    turns = Turns()
    first, newcomer = make_escalation(turns), make_escalation(turns)
    begin(first, EASY, RANDOM)
    run_all([first], START, START + 0.8)
    begin(newcomer, EASY, SEQUENTIAL, START + 0.8)
    sent = run_all([first, newcomer], START + 0.8, START + 10.0)
    assert sent[newcomer][0][0] < START + SLICE_S + 0.2
    within = [at for at, _ in sent[first] if sent[newcomer][0][0] <= at <= sent[newcomer][-1][0]]
    assert within == []
    assert sent[first][-1][0] > sent[newcomer][-1][0]


def test_one_that_may_not_send_any_more_keeps_nobody_waiting():
    turns = Turns()
    first, second = make_escalation(turns), make_escalation(turns)
    while turns.may_send(SEEN[0].host, START, is_signed=True):
        pass
    assert begin(first, EASY, RANDOM)
    assert begin(second, EASY, RANDOM, START + 0.1)


def test_a_sign_of_the_peer_begins_what_has_missed_anew_and_nothing_else_does():
    for gives_sign in (True, False):
        escalation = make_escalation()
        begin(escalation, EASY, RANDOM)
        first = run_out(escalation, START + 2.0)
        if gives_sign:
            escalation.sign()
        rest = run_out(escalation, START + 30.0)
        assert len(first) + len(rest) == MOST_WAVE_PACKETS * (2 if gives_sign else 1)


def test_a_peer_that_has_vanished_is_guessed_at_within_its_half_of_the_budget():
    turns = Turns()
    escalation = make_escalation(turns)
    turns.found(escalation._claim, SEEN[0].host)
    turns.answered(SEEN[0].host, START + 600.0, START)
    sent, now = 0, START
    for _ in range(20):
        begin(escalation, EASY, RANDOM, now)
        sent += len(run_out(escalation, now + 6.0))
        now += 6.0
    assert 2 * MOST_WAVE_PACKETS < sent <= RESERVED + 120 * ALL_RATE
    escalation.sign()
    begin(escalation, EASY, RANDOM, now)
    assert len(run_out(escalation, now + 6.0)) == MOST_WAVE_PACKETS


def test_what_has_opened_our_nat_a_while_ago_goes_out_again_when_both_are_introduced():
    escalation = make_escalation()
    begin(escalation, RANDOM, EASY)
    run_out(escalation, START + 2.0)
    escalation.introduced(START + 2.0)
    assert run_out(escalation, START + 3.0) == []
    escalation.introduced(START + AGAIN_S)
    again = run_out(escalation, START + AGAIN_S + 1.0)
    assert len({datagram.socket for datagram in again}) == len(again) == RANDOM_HELPERS
    sent = RANDOM_HELPERS * 2
    for number in range(2, 20):
        escalation.introduced(START + AGAIN_S * number)
        sent += len(run_out(escalation, START + AGAIN_S * number + 1.0))
    assert sent <= MOST_WAVE_PACKETS


def test_an_attempt_whose_sockets_others_need_ends_and_closes_them():
    turns = Turns()
    first, *others = [make_escalation(turns) for _ in range(1 + MOST_SOCKETS // RANDOM_HELPERS)]
    begin(first, RANDOM, EASY)
    turns.found(first._claim, SEEN[0].host)
    for number, other in enumerate(others):
        run_all([first, *others], START + number, START + number + 1.0)
        assert first.sockets
        begin(other, RANDOM, EASY, START + number + 1.0)
    run_all([first, *others], START + len(others), START + len(others) + LOOK_S)
    assert first.sockets == frozenset()
    assert first.technique is None
    assert all(other.technique == "birthday" for other in others)


def test_one_that_has_run_out_gives_its_turn_back():
    turns = Turns()
    first, second = make_escalation(turns), make_escalation(turns)
    begin(first, EASY, SEQUENTIAL)
    run_out(first)
    assert begin(second, EASY, RANDOM, START + 5.0)


def test_the_same_reports_do_not_begin_it_anew():
    escalation = make_escalation()
    begin(escalation, EASY, RANDOM)
    assert not begin(escalation, EASY, RANDOM, START + 1.0)


def test_a_changed_report_replaces_the_plan():
    escalation = make_escalation()
    begin(escalation, EASY, RANDOM)
    escalation.datagrams_to_send()
    assert begin(escalation, EASY, SEQUENTIAL, START + 0.1)
    assert escalation.technique == "prediction"
    assert run_out(escalation)[0].address == Address(SEEN[0].host, 40_002)


def test_a_fresher_sample_of_a_sequence_begins_the_guess_anew_and_the_same_does_not():
    escalation = make_escalation()
    assert begin(escalation, EASY, SEQUENTIAL)
    first = escalation.datagrams_to_send()[0].address.port
    assert not begin(escalation, EASY, SEQUENTIAL, START + 0.1)
    fresher = (Address(SEEN[0].host, 45_000), *SEEN)
    assert begin(escalation, EASY, SEQUENTIAL, START + 0.2, seen=fresher)
    assert first == 40_002
    assert escalation.datagrams_to_send()[0].address.port == 45_001


def test_between_two_sequences_all_our_sockets_have_the_parity_of_the_main_one():
    for our_port in (50_000, 50_001):
        escalation = make_escalation(lower=False)
        ends = Endpoints(SEEN, (), SocketId(60_001), SERVERS, our_port=our_port)
        assert escalation.begin(Situation(SEQUENTIAL, SEQUENTIAL), ends, START)
        helpers = escalation.sockets - {60_001}
        assert {socket % 2 for socket in helpers} == {our_port % 2}
        assert max(helpers) < 0x10000


def test_a_path_ends_it_at_once():
    escalation = make_escalation()
    begin(escalation, RANDOM, EASY)
    escalation.stop()
    assert escalation.get_timer() is None
    assert escalation.sockets == frozenset()


def test_a_host_that_never_answers_gets_one_wave_and_no_more():
    escalation, now, sent = make_escalation(Turns()), START, 0
    for _ in range(20):
        begin(escalation, EASY, RANDOM, now)
        sent += len(run_out(escalation, now + 30.0))
        now += 30.0
    assert sent == 960


def test_no_plan_is_made_for_who_has_not_got_the_turn():
    turns = Turns()
    first, second = make_escalation(turns), make_escalation(turns)
    begin(first, EASY, RANDOM)
    drawn = second._random.getstate()
    begin(second, EASY, RANDOM)
    assert second._random.getstate() == drawn


def test_who_only_seems_easy_is_escalated_against_when_checks_have_failed():
    assert not begin(make_escalation(), EASY, SEEMS_EASY)
    escalation = make_escalation()
    assert begin(escalation, EASY, SEEMS_EASY, have_checks_failed=True)
    assert len(run_out(escalation)) == MOST_WAVE_PACKETS


def test_news_that_make_no_difference_to_the_plan_do_not_begin_it_anew():
    escalation = make_escalation()
    begin(escalation, EASY, RANDOM)
    escalation.datagrams_to_send()
    sockets = escalation.sockets
    surer = replace(EASY, confidence=0.99, filtering=Filtering.DEPENDENT)
    assert not begin(escalation, surer, RANDOM, START + 0.1, have_checks_failed=True)
    assert escalation.sockets == sockets


def test_a_plan_that_should_have_met_says_when_it_has_missed():
    tiny, larger = replace(BLOCK, high=BLOCK.low + 9), replace(BLOCK, high=BLOCK.low + 1_535)
    a_range = replace(RANDOM, low=BLOCK.low, high=BLOCK.high)
    for theirs, has_missed in [(BLOCK, True)] + [
        (n, False) for n in (RANDOM, a_range, tiny, larger)
    ]:
        escalation = make_escalation()
        begin(escalation, EASY, theirs)
        assert not escalation.has_missed
        run_out(escalation)
        assert escalation.has_missed is has_missed


def test_a_prediction_has_missed_when_a_newer_sample_comes_after_most_of_it():
    older, newer = Address(SEEN[0].host, 30_000), Address(SEEN[0].host, 30_040)
    for ran_s, has_missed in ((0.01, False), (0.2, False), (0.35, True)):
        escalation = make_escalation()
        begin(escalation, EASY, SEQUENTIAL, seen=(older,))
        run_out(escalation, START + ran_s)
        begin(escalation, EASY, SEQUENTIAL, START + ran_s, seen=(newer, older))
        assert escalation.has_missed is has_missed
        escalation.stop()
        assert not escalation.has_missed, "the next attempt has another socket"


def test_who_has_proved_to_be_hard_meanwhile_has_not_missed():
    escalation = make_escalation()
    begin(escalation, EASY, SEQUENTIAL, seen=(Address(SEEN[0].host, 30_000),))
    run_out(escalation, START + 0.35)
    begin(escalation, RANDOM, SEQUENTIAL, START + 0.35)
    assert not escalation.has_missed


def test_a_sure_guess_goes_on_from_the_socket_that_the_peer_is_told_of():
    escalation = make_escalation()
    begin(escalation, EASY, BLOCK)
    run_out(escalation, START + 0.2)
    assert begin(escalation, EASY, BLOCK, START + 0.2, socket=SocketId(0x10001))
    sent = run_out(escalation, START + 0.4)
    assert {d.socket for d in sent} == {SocketId(0x10001)}


@pytest.mark.parametrize(("ours", "ports"), [(RANDOM, 256), (BLOCK, 64)])
def test_a_block_follows_a_peer_to_one_fresh_port_and_nobody_a_server_that_names_many(ours, ports):
    """A lying one could make us open hundreds of ports a second."""
    escalation, sent = make_escalation(), []
    begin(escalation, ours, EASY)
    for number in range(20):
        sent += run_out(escalation, START + 1.0 + number)
        seen = (Address(SEEN[0].host, 50_000 + number), *SEEN)
        assert not begin(escalation, ours, EASY, START + 1.0 + number, seen=seen)
    targets = {d.address for d in sent}
    assert targets == ({*SEEN, Address(SEEN[0].host, 50_000)} if ports == 64 else {*SEEN})
    assert len({(d.socket, d.address) for d in sent}) == ports
    assert len({d.socket for d in sent}) == {256: 256, 64: 32}[ports], "from the same sockets"
