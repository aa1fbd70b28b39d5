"""Escalations against a NAT that draws from a block of ports: waves, and anchors."""

from dataclasses import replace
from time import perf_counter

import pytest

from natd.core.base.types import (
    MAIN_SOCKET,
    Address,
    Allocation,
    Mapping,
    NatReport,
)
from natd.core.checks.checks import LOW_TTL
from natd.core.checks.turns import SLICE_S, Turns
from natd.core.prediction.anchors import MOST_ANCHORS
from natd.core.prediction.blocks import meeting_ports
from natd.core.prediction.escalation import TELL_LADDER_S
from natd.core.prediction.plan import MOST_WAVES
from natd.core.punch.remote_candidates import anchors_in
from tests.core.world.escalation_lab import (
    BLOCK,
    EASY,
    RANDOM,
    SEEN,
    SEQUENTIAL,
    START,
    answer_samples,
    begin,
    make_escalation,
    pair_of_secrets_checks,
    run_out,
    waves_of,
)


def test_no_port_of_a_block_is_spent_while_either_block_is_uncertain():
    guess = replace(BLOCK, allocation_confidence=0.7)
    assert not begin(make_escalation(), guess, BLOCK)
    assert not begin(make_escalation(), BLOCK, guess)
    assert begin(make_escalation(), BLOCK, guess, have_checks_failed=True)
    assert begin(make_escalation(), BLOCK, BLOCK)


@pytest.mark.parametrize("lower", [True, False])
def test_waves_repeat_the_same_packets_once_our_nat_may_have_forgotten_them(lower):
    escalation = make_escalation(lower=lower)
    assert begin(escalation, BLOCK, BLOCK)
    first, *later = waves_of(escalation, START + 600.0)
    assert len(later) == MOST_WAVES - 1
    assert len(first[1]) == 256
    ended = first[2]
    for began, packets, until in later:
        assert sorted(packets) == sorted(first[1])
        assert 30.0 < began - ended < 36.0
        ended = until
    assert escalation.technique is None


def test_both_halves_have_their_waves_at_the_same_time():
    opens, sprays = make_escalation(lower=True), make_escalation(lower=False)
    begin(opens, BLOCK, BLOCK)
    begin(sprays, BLOCK, BLOCK)
    pairs = zip(waves_of(opens, START + 600.0), waves_of(sprays, START + 600.0), strict=True)
    for (_, _, opened), (sprayed, _, _) in list(pairs)[1:]:
        assert 0.0 < sprayed - opened < 1.0


def test_between_two_waves_the_turn_is_free_and_the_sockets_stay_open():
    turns = Turns()
    first, second = make_escalation(turns), make_escalation(turns)
    begin(first, BLOCK, BLOCK)
    sockets = first.sockets
    run_out(first, START + 10.0)
    assert first.sockets == sockets
    assert first.technique == "blocks"
    assert begin(second, EASY, RANDOM, START + 10.0)


def test_a_wave_waits_for_its_turn():
    turns = Turns()
    first, second = make_escalation(turns), make_escalation(turns)
    begin(first, BLOCK, BLOCK)
    run_out(first, START + 10.0)
    wave_at = first.next_try_at
    run_out(first, wave_at - 0.2)
    assert begin(second, EASY, RANDOM, wave_at - 0.1)
    assert run_out(first, wave_at + SLICE_S - 0.2) == []
    second.stop()
    assert len(run_out(first, wave_at + 3.0)) == 256


def test_half_a_block_is_half_a_block_whatever_changes_meanwhile():
    escalation = make_escalation()
    larger = replace(BLOCK, low=20_480, high=21_503)
    ports = set()
    for number in range(4):
        begin(escalation, BLOCK, (BLOCK, larger)[number % 2], START + 10.0 * number)
        ports |= {(d.socket, d.address) for d in run_out(escalation, START + 10.0 * number + 9.0)}
    assert len(ports) == 256


def test_every_port_that_was_ever_named_counts_as_taken():
    escalation = make_escalation()
    uncertain = replace(BLOCK, allocation_confidence=0.7)
    middle = Address(SEEN[0].host, 20_736)
    assert not begin(escalation, uncertain, BLOCK, seen=(middle,))
    assert begin(escalation, BLOCK, BLOCK)
    assert {d.address.port for d in run_out(escalation, START + 1.0)} == {20_737}


@pytest.mark.parametrize("lower", [True, False])
def test_ports_that_the_peers_card_says_are_taken_are_neither_met_at_nor_sprayed(lower):
    middle = (BLOCK.low + BLOCK.high + 1) // 2
    taken = (middle, middle + 1, BLOCK.low + 7)
    escalation = make_escalation(lower=lower)
    assert begin(escalation, BLOCK, replace(BLOCK, taken_ports=taken))
    ports = {datagram.address.port for datagram in run_out(escalation, START + 10.0)}
    assert ports
    assert ports.isdisjoint(taken)
    assert ports == {middle + 2} or len(ports) >= 200


def test_a_sequence_tells_a_block_which_ports_it_has_opened_to_one_of_its():
    escalation = make_escalation()
    assert begin(escalation, SEQUENTIAL, BLOCK)
    opened = answer_samples(escalation, 40_000)
    told = escalation.new_anchors()
    assert told == escalation.anchors
    assert {anchor.port for anchor in told[:-1]} <= set(opened)
    assert {datagram.ttl for datagram in opened.values()} == {LOW_TTL}
    assert len({datagram.address for datagram in opened.values()}) == 1
    assert escalation.sockets - {MAIN_SOCKET} == {opened[a.port].socket for a in told[:-1]}
    mark = pair_of_secrets_checks()[1].their_mark
    assert anchors_in((*told, *SEEN), mark) == (tuple(a.port for a in told[:-1]), len(told))
    assert anchors_in(SEEN, mark) == ((), 0)


def test_no_port_is_spent_on_anchors_while_the_sequence_may_be_a_block():
    """Four ports of a block of 64 rise by chance in one NAT of five."""
    guess = replace(SEQUENTIAL, allocation_confidence=0.89)
    assert not begin(make_escalation(), guess, BLOCK)
    assert begin(make_escalation(), guess, BLOCK, have_checks_failed=True)


def test_anchors_are_told_more_than_once_and_kept_open_without_the_turn():
    turns = Turns()
    escalation, other = make_escalation(turns), make_escalation(turns)
    begin(escalation, SEQUENTIAL, BLOCK)
    opened = answer_samples(escalation, 40_000)
    told = [escalation.new_anchors()]
    assert begin(other, EASY, RANDOM, START + 0.2)
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
    escalation = make_escalation()
    assert not begin(escalation, BLOCK, SEQUENTIAL)
    assert begin(escalation, BLOCK, SEQUENTIAL, anchors=(40_001, 40_003))
    sent = run_out(escalation, START + 5.0)
    assert {datagram.address.port for datagram in sent} == {40_001, 40_003}


def test_anchors_are_opened_anew_when_the_port_that_they_lead_to_proves_to_be_taken():
    """A newcomer's survey takes nine ports of its block just when the sequence picks one."""
    escalation = make_escalation()
    assert begin(escalation, SEQUENTIAL, BLOCK)
    [met_at] = {d.address.port for d in answer_samples(escalation, 40_000).values()}
    told = escalation.anchors
    assert not begin(escalation, SEQUENTIAL, replace(BLOCK, taken_ports=(met_at + 1,)))
    assert escalation.anchors == told
    taken = replace(BLOCK, taken_ports=(met_at, met_at + 1))
    assert begin(escalation, SEQUENTIAL, taken)
    [anew] = {d.address.port for d in answer_samples(escalation, 40_100).values()}
    assert anew == met_at + 2
    assert not set(told[:-1]) & set(escalation.anchors[:-1])
    assert not begin(escalation, SEQUENTIAL, taken)


def test_anchors_stay_where_no_port_of_the_block_is_free():
    escalation = make_escalation()
    full = replace(BLOCK, taken_ports=tuple(range(BLOCK.low, BLOCK.high + 1)))
    assert begin(escalation, SEQUENTIAL, full)
    answer_samples(escalation, 40_000)
    told = escalation.anchors
    assert not begin(escalation, SEQUENTIAL, full)
    assert escalation.anchors == told


def test_without_an_answer_from_a_server_there_are_no_anchors():
    escalation = make_escalation()
    begin(escalation, SEQUENTIAL, BLOCK)
    run_out(escalation, START + 5.0)
    assert escalation.anchors == ()
    assert escalation.technique is None


@pytest.mark.parametrize("port", [20_600, 1024, 65_535])
def test_a_block_whose_every_port_is_in_use_is_no_way_to_stop_us(port):
    """What a card says of a block is its owner's word; the peer may be seen at its only port."""
    full = replace(BLOCK, low=port, high=port, taken_ports=(port,) * 16)
    seen = (Address("198.51.100.7", port),)
    for ours in (SEQUENTIAL, BLOCK):
        escalation = make_escalation()
        for _ in range(2):
            begin(escalation, ours, full, seen=seen, have_checks_failed=True)
        escalation.handle_timer(START + 5.0)


@pytest.mark.parametrize("allocation", list(Allocation))
def test_whatever_a_card_says_no_packet_goes_to_a_port_of_a_service(allocation):
    hostile = NatReport(
        Mapping.DEPENDENT, allocation=allocation, stride=1, low=0, high=1100, confidence=1.0
    )
    sent = []
    for ours in (EASY, SEQUENTIAL, BLOCK, RANDOM):
        escalation = make_escalation()
        anchors = (22, 53, 1023, 1024)
        begin(escalation, ours, hostile, anchors=anchors, have_checks_failed=True)
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
