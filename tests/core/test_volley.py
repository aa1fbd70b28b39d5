"""Sending what a plan says: never too fast, never too much."""

from collections import Counter

import pytest

from natd.core.plans import MOST_PROBES, Plan, Shot, Technique
from natd.core.types import MAIN_SOCKET, Address, SocketId
from natd.core.volley import MOST_ROUNDS, RATE, SLOW_RATE, SLOW_S, Volley

START = 1000.0
TARGET = Address("198.51.100.7", 40001)
HELPERS = (SocketId(0x100001), SocketId(0x100002))


def _row(count, repeat_after_s=None):
    return Plan(Technique.BLOCKS, tuple(Shot(0, 2000 + n) for n in range(count)), repeat_after_s)


def _run(volley, late_s=0.0):
    """Everything that is sent, with its instant, when each timer comes `late_s` too late."""
    fired, now = [], START
    while (due := volley.get_timer()) is not None:
        now = max(now, due) + late_s
        volley.handle_timer(now)
        fired += [(now, shot) for shot in volley.to_send()]
    return fired


@pytest.mark.parametrize("late_s", [0.0, 0.05, 3.0])
@pytest.mark.parametrize("repeat_after_s", [None, 0.1, 12.0])
def test_no_second_has_more_packets_than_the_rate(repeat_after_s, late_s):
    instants = [
        at
        for at, _ in _run(
            Volley(_row(1000, repeat_after_s), TARGET, MAIN_SOCKET, (), START), late_s
        )
    ]
    for index, at in enumerate(instants):
        within = sum(other < at + 1.0 - 1e-6 for other in instants[index:])
        assert within <= RATE


@pytest.mark.parametrize("count", [1, 500, 700, 1024, 1025, MOST_PROBES])
def test_with_all_repetitions_it_is_never_more_than_the_budget(count):
    volley = Volley(_row(count, 0.1), TARGET, MAIN_SOCKET, (), START)
    fired = _run(volley)
    assert len(fired) == volley.sent <= MOST_PROBES
    assert volley.sent == count * min(MOST_ROUNDS, MOST_PROBES // count)


def test_probes_that_are_sent_once_begin_carefully():
    fired = _run(Volley(_row(1000), TARGET, MAIN_SOCKET, (), START))
    early = sum(at < START + SLOW_S for at, _ in fired)
    assert early == pytest.approx(SLOW_RATE * SLOW_S, abs=4)


def test_a_repetition_sends_the_same_packets_from_the_same_sockets():
    plan = Plan(Technique.BLOCKS, (Shot(1, 2000, True), Shot(2, 2000, True)), 12.0)
    fired = [shot for _, shot in _run(Volley(plan, TARGET, MAIN_SOCKET, HELPERS, START))]
    assert Counter(fired) == {
        (Address(TARGET.host, 2000), socket, True): MOST_ROUNDS for socket in HELPERS
    }


def test_a_shot_without_a_port_goes_where_the_peer_is_seen():
    plan = Plan(Technique.BIRTHDAY, (Shot(1, None, True),))
    fired = [shot for _, shot in _run(Volley(plan, TARGET, MAIN_SOCKET, HELPERS[:1], START))]
    assert fired == [(TARGET, HELPERS[0], True)]


def test_it_is_over_when_everything_is_sent():
    volley = Volley(_row(3), TARGET, MAIN_SOCKET, (), START)
    assert not volley.is_over
    _run(volley)
    assert volley.is_over


def test_the_budgets_are_what_was_promised():
    assert RATE <= 500
    assert MOST_PROBES <= 2048
