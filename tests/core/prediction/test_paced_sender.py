"""Sending what a plan says: never too fast, never too much."""

from collections import Counter

import pytest

from natd.core.base.types import MAIN_SOCKET, Address, SocketId
from natd.core.checks.limits import MOST_WAVE_PACKETS, RATE
from natd.core.prediction.paced_sender import AGAIN_S, SLOW_RATE, SLOW_S, TICK_S, Volley
from natd.core.prediction.plan import Plan, Shot, Technique

START = 1000.0
TARGET = Address("198.51.100.7", 40001)
HELPERS = (SocketId(0x100001), SocketId(0x100002))


ROUNDS = 3


def _row(count, **rest):
    return Plan(Technique.BLOCKS, tuple(Shot(0, 2000 + n) for n in range(count)), **rest)


def _run(volley, late_s=0.0, room=MOST_WAVE_PACKETS):
    """Everything that is sent, with its instant, when each timer comes `late_s` too late."""
    fired, now = [], START
    while (due := volley.get_timer()) is not None:
        now = max(now, due) + late_s
        volley.handle_timer(now, room)
        fired += [(now, shot) for shot in volley.to_send()]
    return fired


@pytest.mark.parametrize("late_s", [0.0, 0.05, 3.0])
@pytest.mark.parametrize("pause_s", [0.0, 0.1, 12.0])
def test_no_second_has_more_packets_than_the_rate(pause_s, late_s):
    plan = _row(600, rounds=ROUNDS, pause_s=pause_s)
    instants = [at for at, _ in _run(Volley(plan, TARGET, MAIN_SOCKET, (), START), late_s)]
    for index, at in enumerate(instants):
        within = sum(other < at + 1.0 - 1e-6 for other in instants[index:])
        assert within <= RATE


@pytest.mark.parametrize("count", [1, 500, 640, 641, 960, 961, MOST_WAVE_PACKETS])
def test_with_all_repetitions_it_is_never_more_than_the_budget(count):
    volley = Volley(_row(count, rounds=ROUNDS), TARGET, MAIN_SOCKET, (), START)
    fired = _run(volley)
    assert len(fired) == volley.sent <= MOST_WAVE_PACKETS
    assert volley.sent == count * min(ROUNDS, MOST_WAVE_PACKETS // count)


def test_what_arrives_unasked_begins_carefully():
    fired = _run(Volley(_row(1000, is_careful=True), TARGET, MAIN_SOCKET, (), START))
    early = sum(at < START + SLOW_S for at, _ in fired)
    assert early == pytest.approx(SLOW_RATE * SLOW_S, abs=4)


def test_a_repetition_sends_the_same_packets_from_the_same_sockets():
    shots = (Shot(1, 2000, True), Shot(2, 2000, True))
    plan = Plan(Technique.BLOCKS, shots, rounds=ROUNDS, pause_s=12.0)
    fired = [shot for _, shot in _run(Volley(plan, TARGET, MAIN_SOCKET, HELPERS, START))]
    assert Counter(fired) == {
        (Address(TARGET.host, 2000), socket, True): ROUNDS for socket in HELPERS
    }


def test_a_shot_without_a_port_goes_where_the_peer_is_seen():
    plan = Plan(Technique.BIRTHDAY, (Shot(1, None, True),))
    fired = [shot for _, shot in _run(Volley(plan, TARGET, MAIN_SOCKET, HELPERS[:1], START))]
    assert fired == [(TARGET, HELPERS[0], True)]


def test_a_spray_waits_for_the_peers_openers():
    fired = _run(Volley(_row(10, begins_after_s=1.5), TARGET, MAIN_SOCKET, (), START))
    assert fired[0][0] == START + 1.5


def test_a_later_wave_is_sent_once():
    plan = _row(10, rounds=ROUNDS)
    assert len(_run(Volley(plan, TARGET, MAIN_SOCKET, (), START, rounds=1))) == 10


def test_what_finds_no_room_waits_and_nothing_of_the_plan_is_left_out():
    volley = Volley(_row(100), TARGET, MAIN_SOCKET, (), START)
    volley.handle_timer(START, 0)
    assert volley.to_send() == []
    assert volley.get_timer() == START + TICK_S
    fired = _run(volley, room=3)
    assert [shot.address.port for _, shot in fired] == list(range(2000, 2100))
    assert max(Counter(at for at, _ in fired).values()) == 3


def test_it_is_over_when_everything_is_sent():
    volley = Volley(_row(3), TARGET, MAIN_SOCKET, (), START)
    assert not volley.is_over
    _run(volley)
    assert volley.is_over


def test_the_budgets_are_what_was_promised():
    assert RATE < 500
    assert MOST_WAVE_PACKETS < 2048


def _opened(rounds=ROUNDS):
    """A volley whose first round has gone out, and when that was."""
    shots = (Shot(1, None, True), Shot(2, None, True))
    volley = Volley(
        Plan(Technique.BIRTHDAY, shots, rounds=rounds, pause_s=12.0),
        TARGET,
        MAIN_SOCKET,
        HELPERS,
        START,
    )
    assert not volley.is_resting
    volley.handle_timer(START, MOST_WAVE_PACKETS)
    assert volley.is_resting
    assert len(volley.to_send()) == 2
    return volley


def test_a_round_that_may_be_in_vain_goes_out_again_and_costs_none_of_the_others():
    volley = _opened()
    volley.hurry(START + AGAIN_S - 0.1)
    assert volley.get_timer() == START + 12.0
    volley.hurry(START + AGAIN_S)
    assert volley.get_timer() == START + AGAIN_S
    assert len(_run(volley)) == 2 * ROUNDS


def test_what_goes_out_again_stays_within_the_budget():
    volley, now = _opened(), START
    for _ in range(MOST_WAVE_PACKETS):
        now += AGAIN_S
        volley.hurry(now)
        volley.handle_timer(now, MOST_WAVE_PACKETS)
    assert volley.sent == MOST_WAVE_PACKETS
    assert volley.is_over


def test_what_is_left_of_a_round_that_may_not_be_sent_is_left_out():
    volley = Volley(_row(600, rounds=2, pause_s=12.0), TARGET, MAIN_SOCKET, (), START)
    volley.handle_timer(START, MOST_WAVE_PACKETS)
    volley.cut(START)
    assert volley.get_timer() == START + 12.0
    volley.handle_timer(START + 12.0, MOST_WAVE_PACKETS)
    volley.cut(START + 12.0)
    assert volley.is_over
