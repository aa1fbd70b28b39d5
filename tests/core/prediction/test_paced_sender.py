"""Sending what a plan says: never too fast, never too much."""

from collections import Counter

import pytest

from natd.core.base.types import MAIN_SOCKET, Address, SocketId
from natd.core.checks.limits import MOST_WAVE_PACKETS, RATE
from natd.core.checks.pace import Pace
from natd.core.prediction.birthday import openings
from natd.core.prediction.paced_sender import AGAIN_S, SLOW_RATE, SLOW_S, TICK_S, PacedSender
from natd.core.prediction.plan import Plan, PlannedPacket, Technique

START = 1000.0
TARGET = Address("198.51.100.7", 40001)
HELPERS = (SocketId(0x100001), SocketId(0x100002))


ROUNDS = 3


def _row(count, **rest):
    return Plan(Technique.BLOCKS, tuple(PlannedPacket(0, 2000 + n) for n in range(count)), **rest)


def _run(sender, late_s=0.0, room=MOST_WAVE_PACKETS):
    """Everything that is sent, with its instant, when each timer comes `late_s` too late."""
    sent, now = [], START
    while (due := sender.get_timer()) is not None:
        now = max(now, due) + late_s
        sender.handle_timer(now, room)
        sent += [(now, packet) for packet in sender.to_send()]
    return sent


@pytest.mark.parametrize("late_s", [0.0, 0.05, 3.0])
@pytest.mark.parametrize("pause_s", [0.0, 0.1, 12.0])
def test_no_second_has_more_packets_than_the_rate(pause_s, late_s):
    plan = _row(600, rounds=ROUNDS, pause_s=pause_s)
    instants = [at for at, _ in _run(PacedSender(plan, TARGET, MAIN_SOCKET, (), START), late_s)]
    for index, at in enumerate(instants):
        within = sum(other < at + 1.0 - 1e-6 for other in instants[index:])
        assert within <= RATE


@pytest.mark.parametrize("count", [1, 500, 640, 641, 960, 961, MOST_WAVE_PACKETS])
def test_with_all_repetitions_it_is_never_more_than_the_budget(count):
    sender = PacedSender(_row(count, rounds=ROUNDS), TARGET, MAIN_SOCKET, (), START)
    sent = _run(sender)
    assert len(sent) == sender.sent <= MOST_WAVE_PACKETS
    assert sender.sent == count * min(ROUNDS, MOST_WAVE_PACKETS // count)


def test_what_arrives_unasked_begins_carefully():
    sent = _run(PacedSender(_row(1000, is_careful=True), TARGET, MAIN_SOCKET, (), START))
    early = sum(at < START + SLOW_S for at, _ in sent)
    assert early == pytest.approx(SLOW_RATE * SLOW_S, abs=4)


def test_after_the_careful_begin_it_sends_what_the_begin_has_left_of_the_first_second():
    sent = _run(PacedSender(_row(1000, is_careful=True), TARGET, MAIN_SOCKET, (), START))
    assert sum(at < START + 0.6 for at, _ in sent) == pytest.approx(40 + 200, abs=14)


def test_timers_that_are_always_a_little_late_do_not_lower_the_rate():
    sent = _run(PacedSender(_row(900), TARGET, MAIN_SOCKET, (), START), late_s=0.005)
    assert sent[-1][0] - START < 900 / RATE + 0.03


OPENERS_AND_PROBES = Plan(
    Technique.BIRTHDAY,
    openings(256) + tuple(PlannedPacket(0, 2000 + n) for n in range(700)),
    is_careful=True,
    opens_at_once=True,
)


def test_openers_that_are_to_leave_at_once_have_left_in_a_sixth_of_a_second():
    """While they left one by one, half of what the peer probed came before its opener."""
    helpers = [SocketId(0x100001 + n) for n in range(256)]
    sent = _run(PacedSender(OPENERS_AND_PROBES, TARGET, MAIN_SOCKET, helpers, START))
    early = [packet.is_opener for at, packet in sent if at < START + 1 / 6]
    assert early.count(True) == 256
    assert early.count(False) <= 4


def test_openers_that_leave_at_once_leave_less_of_the_second_to_the_probes_that_follow():
    helpers = [SocketId(0x100001 + n) for n in range(256)]
    sender, pace = PacedSender(OPENERS_AND_PROBES, TARGET, MAIN_SOCKET, helpers, START), Pace()
    instants: list[float] = []
    while (due := sender.get_timer()) is not None:
        sender.handle_timer(due, pace.room(due))
        for _ in sender.to_send():
            pace.guessed(due)
            instants.append(due)
    assert len(instants) == 256 + 700
    assert max(sum(at <= o < at + 1.0 - 1e-6 for o in instants) for at in instants) < 500


def test_a_repetition_sends_the_same_packets_from_the_same_sockets():
    packets = (PlannedPacket(1, 2000, True), PlannedPacket(2, 2000, True))
    plan = Plan(Technique.BLOCKS, packets, rounds=ROUNDS, pause_s=12.0)
    sent = [packet for _, packet in _run(PacedSender(plan, TARGET, MAIN_SOCKET, HELPERS, START))]
    assert Counter(sent) == {
        (Address(TARGET.host, 2000), socket, True): ROUNDS for socket in HELPERS
    }


def test_a_packet_without_a_port_goes_where_the_peer_is_seen():
    plan = Plan(Technique.BIRTHDAY, (PlannedPacket(1, None, True),))
    sent = [
        packet for _, packet in _run(PacedSender(plan, TARGET, MAIN_SOCKET, HELPERS[:1], START))
    ]
    assert sent == [(TARGET, HELPERS[0], True)]


def test_a_spray_waits_for_the_peers_openers():
    sent = _run(PacedSender(_row(10, begins_after_s=1.5), TARGET, MAIN_SOCKET, (), START))
    assert sent[0][0] == START + 1.5


def test_a_later_wave_is_sent_once():
    plan = _row(10, rounds=ROUNDS)
    assert len(_run(PacedSender(plan, TARGET, MAIN_SOCKET, (), START, rounds=1))) == 10


def test_what_finds_no_room_waits_and_nothing_of_the_plan_is_left_out():
    sender = PacedSender(_row(100), TARGET, MAIN_SOCKET, (), START)
    sender.handle_timer(START, 0)
    assert sender.to_send() == []
    assert sender.get_timer() == START + TICK_S
    sent = _run(sender, room=3)
    assert [packet.address.port for _, packet in sent] == list(range(2000, 2100))
    assert max(Counter(at for at, _ in sent).values()) == 3


def test_it_is_over_when_everything_is_sent():
    sender = PacedSender(_row(3), TARGET, MAIN_SOCKET, (), START)
    assert not sender.is_over
    _run(sender)
    assert sender.is_over


def test_the_budgets_are_what_was_promised():
    assert RATE < 500
    assert MOST_WAVE_PACKETS < 2048


def _opened(rounds=ROUNDS):
    """A sender whose first round has gone out, and when that was."""
    packets = (PlannedPacket(1, None, True), PlannedPacket(2, None, True))
    sender = PacedSender(
        Plan(Technique.BIRTHDAY, packets, rounds=rounds, pause_s=12.0),
        TARGET,
        MAIN_SOCKET,
        HELPERS,
        START,
    )
    assert not sender.is_resting
    sender.handle_timer(START, MOST_WAVE_PACKETS)
    assert sender.is_resting
    assert len(sender.to_send()) == 2
    return sender


def test_a_round_that_may_be_in_vain_goes_out_again_and_costs_none_of_the_others():
    sender = _opened()
    sender.hurry(START + AGAIN_S - 0.1)
    assert sender.get_timer() == START + 12.0
    sender.hurry(START + AGAIN_S)
    assert sender.get_timer() == START + AGAIN_S
    assert len(_run(sender)) == 2 * ROUNDS


def test_what_goes_out_again_stays_within_the_budget():
    sender, now = _opened(), START
    for _ in range(MOST_WAVE_PACKETS):
        now += AGAIN_S
        sender.hurry(now)
        sender.handle_timer(now, MOST_WAVE_PACKETS)
    assert sender.sent == MOST_WAVE_PACKETS
    assert sender.is_over


def test_what_is_left_of_a_round_that_may_not_be_sent_is_left_out():
    sender = PacedSender(_row(600, rounds=2, pause_s=12.0), TARGET, MAIN_SOCKET, (), START)
    sender.handle_timer(START, MOST_WAVE_PACKETS)
    sender.cut(START)
    assert sender.get_timer() == START + 12.0
    sender.handle_timer(START + 12.0, MOST_WAVE_PACKETS)
    sender.cut(START + 12.0)
    assert sender.is_over
