"""Live paths: which one is used, whether it still works, and what moves a peer to another."""

from random import Random

import pytest

from natd.core.base.types import MAIN_SOCKET, PathKind
from natd.core.paths.events import (
    PathChosen,
    PathDown,
    PathRecovered,
    PathResumed,
    PathSuspected,
)
from natd.core.paths.keepalive import KEEPALIVE_S
from natd.core.paths.path import (
    BUSY_CHECK_S,
    CONFIRM_AFTER_S,
    LEAST_PATIENCE_S,
    LOST_AFTER_S,
    Path,
)
from natd.core.paths.paths import (
    BUSY_FOR_S,
)
from tests.core.world.paths_lab import ELSEWHERE, LAN, START, THEIRS, Lab


def test_the_first_path_is_taken_into_use_and_confirmed_three_seconds_later():
    """Linux keeps a flow four times as long if it is still used two seconds after its start."""
    lab = Lab()
    lab.add(THEIRS)
    assert [event.path.address for event in lab.take(PathChosen)] == [THEIRS]
    assert lab.paths.in_use == (THEIRS, MAIN_SOCKET)
    lab.run(CONFIRM_AFTER_S + 0.1)
    assert [at - START for at, _ in lab.sent] == pytest.approx([CONFIRM_AFTER_S])


def test_a_path_at_rest_costs_one_check_in_fifteen_seconds():
    lab = Lab()
    lab.add(THEIRS)
    lab.run(600.0)
    assert 600 / KEEPALIVE_S * 0.9 <= len(lab.sent) <= 600 / KEEPALIVE_S * 1.15
    assert lab.events == [(START, lab.events[0][1])], "nothing to tell"


def test_a_path_on_which_anything_is_heard_needs_no_check():
    lab = Lab()
    lab.add(THEIRS)
    lab.run(CONFIRM_AFTER_S + 1.0)
    lab.sent.clear()
    for _ in range(60):
        lab.run(5.0)
        lab.paths.heard(THEIRS, MAIN_SOCKET, lab.now, is_data=False)
    assert lab.sent == []
    assert lab.paths.heard_at == lab.now


def test_unanswered_data_is_followed_by_a_check_after_two_and_a_half_round_trips():
    lab = Lab(answers=False)
    lab.add(THEIRS, rtt_s=0.2)
    lab.run(1.0)
    lab.paths.sent(lab.now, awaiting=True)
    lab.run(0.5 - 0.01)
    assert lab.sent == []
    lab.run(0.02)
    assert len(lab.sent) == 1


def test_data_that_asks_for_no_answer_makes_nobody_suspicious():
    lab = Lab(answers=False)
    lab.add(THEIRS)
    lab.run(1.0)
    lab.paths.sent(lab.now, awaiting=False)
    lab.run(1.5)
    assert lab.sent == []


def test_data_that_is_answered_is_forgiven():
    lab = Lab(answers=False)
    lab.add(THEIRS)
    lab.run(1.0)
    lab.paths.sent(lab.now, awaiting=True)
    lab.run(LEAST_PATIENCE_S / 2)
    lab.paths.heard(THEIRS, MAIN_SOCKET, lab.now, is_data=False)
    lab.run(1.0)
    assert lab.sent == []


def test_a_path_that_answers_nothing_is_suspected_within_two_seconds_then_lost():
    lab = Lab(answers=False)
    lab.add(THEIRS)
    lab.run(1.0)
    lab.paths.sent(lab.now, awaiting=True)
    began = lab.now
    lab.run(60.0)
    [suspected_at] = [at for at, event in lab.events if isinstance(event, PathSuspected)]
    [lost_at] = [at for at, event in lab.events if isinstance(event, PathDown)]
    assert suspected_at - began <= 2.0
    assert lost_at - began == pytest.approx(LEAST_PATIENCE_S + LOST_AFTER_S)
    assert lab.paths.in_use is None
    assert lab.paths.get_timer() is None


def test_a_timer_that_was_handled_is_later_whatever_the_rounding():
    """A wait that is added to one side of a comparison and taken from the other may differ by
    a bit: the timer then fired for ever at one instant, with a check each time."""
    random = Random(4)
    for _ in range(300):
        lab = Lab(answers=False)
        lab.now = START + 1000.0 * random.random()
        lab.add(THEIRS)
        lab.paths.probe(lab.now)
        while (timer := lab.paths.get_timer()) is not None:
            lab.paths.handle_timer(timer)
            after = lab.paths.get_timer()
            assert after is None or after > timer


def test_a_suspected_path_stays_in_use_and_recovers_by_an_answer():
    """What the peer sends shows that we may be reached there; not that we reach it."""
    lab = Lab(answers=False)
    lab.add(THEIRS)
    lab.paths.probe(lab.now)
    lab.run(5.0)
    lab.sent.clear()
    lab.hear(THEIRS)
    assert not lab.paths.healthy
    assert lab.paths.in_use == (THEIRS, MAIN_SOCKET)
    assert [check.address for _, check in lab.sent] == [THEIRS], "it is asked at once"
    lab.hear(THEIRS)
    assert len(lab.sent) == 1, "and not by every packet"
    lab.answers = True
    lab.run(1.0)
    lab.hear(THEIRS)
    lab.run(0.1)
    assert lab.paths.healthy
    assert len(lab.take(PathRecovered)) == 1
    lab.answers = False
    lab.run(60.0)
    assert len(lab.take(PathSuspected)) == 2, "it may be suspected again"


def test_a_suspected_path_that_was_left_is_not_come_back_to_by_what_is_heard_there():
    lab = Lab(answers=False)
    lab.add(LAN, PathKind.LAN)
    lab.add(THEIRS)
    lab.answers = {THEIRS}
    lab.paths.probe(lab.now)
    lab.run(3.0)
    assert lab.paths.in_use == (THEIRS, MAIN_SOCKET)
    lab.hear(LAN)
    assert lab.paths.in_use == (THEIRS, MAIN_SOCKET)


def test_in_a_chat_silence_is_filled_with_checks_and_not_for_long_after():
    """Only the side whose NAT has forgotten its mapping can mend it, and it need not be the one
    that speaks."""
    lab = Lab()
    lab.add(THEIRS)
    lab.run(100.0)
    lab.sent.clear()
    lab.paths.heard(THEIRS, MAIN_SOCKET, lab.now, is_data=True)
    lab.paths.talk(lab.now)
    lab.run(BUSY_FOR_S)
    assert 0.8 * BUSY_FOR_S / BUSY_CHECK_S <= len(lab.sent) <= 1.1 * BUSY_FOR_S / BUSY_CHECK_S
    lab.run(2 * KEEPALIVE_S)
    lab.sent.clear()
    lab.run(10 * KEEPALIVE_S)
    assert 8 <= len(lab.sent) <= 12


def test_what_a_session_carries_besides_messages_causes_no_checks():
    """A newer card was followed by twenty packets, to each of a hundred peers."""
    lab = Lab()
    lab.add(THEIRS)
    lab.run(100.0)
    lab.sent.clear()
    lab.paths.sent(lab.now, awaiting=True)
    lab.paths.heard(THEIRS, MAIN_SOCKET, lab.now, is_data=True)
    lab.run(14.0)
    assert lab.sent == []


@pytest.mark.parametrize("by_peer", [True, False])
def test_a_gap_is_told_when_it_is_over_and_whose_sending_ended_it(by_peer):
    lab = Lab()
    lab.add(THEIRS)
    lab.run(60.0)
    lab.answers = set()
    lab.paths.sent(lab.now, awaiting=True)
    lab.run(0.7)
    assert lab.take(PathResumed) == []
    if by_peer:
        lab.paths.heard(THEIRS, MAIN_SOCKET, lab.now, is_data=False)
        lab.drain()
    else:
        lab.answers = True
        lab.run(0.7)
    [gap] = lab.take(PathResumed)
    assert gap.by_peer is by_peer
    assert gap.is_certain


def test_data_that_is_answered_late_but_before_the_probe_could_be_shows_nothing_for_certain():
    lab = Lab(answers=False)
    lab.add(THEIRS)
    lab.run(1.0)
    lab.paths.sent(lab.now, awaiting=True)
    lab.run(LEAST_PATIENCE_S + 0.05)
    assert len(lab.sent) == 1
    lab.paths.heard(THEIRS, MAIN_SOCKET, lab.now, is_data=True)
    lab.drain()
    [gap] = lab.take(PathResumed)
    assert not gap.is_certain


def test_a_keepalive_that_is_answered_in_time_is_no_gap():
    lab = Lab()
    lab.add(THEIRS)
    lab.run(100.0)
    assert lab.take(PathResumed) == []


def test_an_answer_to_no_check_of_a_path_is_left_to_the_attempt():
    lab = Lab()
    check = lab.checks.request(ELSEWHERE, MAIN_SOCKET, START)
    answered = lab.answered(check)
    assert answered is not None
    assert not lab.paths.check_answered(answered, PathKind.DIRECT, START)


def test_the_round_trip_is_smoothed():
    lab = Lab()
    lab.add(THEIRS, rtt_s=0.100)
    check = lab.checks.request(THEIRS, MAIN_SOCKET, START)
    lab.now = START + 0.020
    lab.paths.check_answered(lab.answered(check), PathKind.DIRECT, lab.now)
    report = lab.paths.report
    assert report is not None
    assert report.rtt_s == pytest.approx(0.100 - 0.080 / 8)


def test_a_dropped_peer_has_no_path_and_wants_nothing():
    lab = Lab()
    lab.add(THEIRS)
    lab.paths.drop()
    lab.sent.clear()
    lab.run(100.0)
    assert lab.sent == []
    assert lab.paths.in_use is None
    assert lab.paths.sockets == frozenset()


@pytest.mark.parametrize("rtt_s", [0.02, 0.1, 0.2])
def test_where_no_server_tells_of_a_restart_a_path_is_suspected_sooner(rtt_s):
    """Yet not before three probes could have been answered."""
    suspected_s = {}
    for is_alone in (False, True):
        lab = Lab(answers=False)
        lab.add(THEIRS, rtt_s=rtt_s)
        lab.paths.keep(KEEPALIVE_S, lab.now, is_alone=is_alone)
        lab.run(KEEPALIVE_S + 3.0)
        began, *probes = [at for at, _ in lab.sent]
        at = next(at for at, event in lab.events if isinstance(event, PathSuspected))
        assert sum(sent + rtt_s <= at for sent in (began, *probes)) >= 3 or not is_alone
        suspected_s[is_alone] = at - began
    assert suspected_s[True] <= suspected_s[False] + 1e-6
    assert rtt_s > 0.1 or suspected_s[True] < 0.7 * suspected_s[False]


def test_a_lan_path_is_not_doubted_sooner_where_there_is_no_server():
    """No router's restart moves it, and Wi-Fi pauses."""
    suspected_at = []
    for is_alone in (False, True):
        lab = Lab(answers=False)
        lab.add(THEIRS, PathKind.LAN)
        lab.paths.keep(KEEPALIVE_S, lab.now, is_alone=is_alone)
        lab.run(KEEPALIVE_S + 3.0)
        began = lab.sent[0][0]
        at = next(at for at, event in lab.events if isinstance(event, PathSuspected))
        suspected_at.append(at - began)
    assert suspected_at[0] == pytest.approx(suspected_at[1])


def test_while_no_server_answers_always_the_same_end_checks_first():
    """It is silent for a keepalive at most, the other a little longer than its check needs."""
    path = Path(THEIRS, MAIN_SOCKET, PathKind.DIRECT, "", 0.1, START, START, START)
    first_s, other_s = (
        [path.later_s(KEEPALIVE_S, Random(n), is_first=is_first) for n in range(100)]
        for is_first in (True, False)
    )
    assert min(first_s) >= 0.0
    assert max(first_s) + path.rtt_s < min(other_s) <= max(other_s) <= 0.3
