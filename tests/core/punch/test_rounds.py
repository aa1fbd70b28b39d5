"""The rounds of an attempt: how they back off, when it has failed, fresh sockets for sequences."""

import itertools
from dataclasses import replace

import pytest

from natd.core.base.types import (
    MAIN_SOCKET,
    SURE,
    Allocation,
    Mapping,
    NatReport,
    SocketId,
)
from natd.core.base.wishes import FreshSocketWanted, IntroductionWanted, SampleWanted
from natd.core.punch.attempt import (
    CHECK_LADDER_S,
    HOPELESS_AFTER_S,
    RETRY_LADDER_S,
    SILENCE_S,
    VERDICT_AFTER_S,
)
from natd.core.punch.events import AttemptFailed
from tests.core.world.punch_lab import (
    KEEPS,
    MIXES,
    OURS,
    RTT_S,
    START,
    THEIRS,
    Lab,
    candidate,
)

RANDOM = NatReport(Mapping.DEPENDENT, allocation=Allocation.RANDOM, confidence=1.0)
SEQUENTIAL = replace(RANDOM, allocation=Allocation.SEQUENTIAL, stride=1)
BY_ADDRESS = replace(RANDOM, mapping=Mapping.ADDRESS_DEPENDENT, confidence=SURE / 2)
"""As far as peers say."""
SILENT_UNTIL = START + 2 * RTT_S + SILENCE_S
COUNTS = NatReport(Mapping.DEPENDENT, allocation=Allocation.SEQUENTIAL, stride=1)
FRESH = SocketId(0x10001)


def test_rounds_back_off_to_a_minute_without_a_server():
    lab = Lab()
    lab.start()
    lab.run(600.0)
    asked_at = [at for at, event in lab.events if isinstance(event, IntroductionWanted)]
    gaps = [after - before for before, after in itertools.pairwise(asked_at)]
    assert gaps[0] < 4.0
    assert all(48.0 <= gap <= 75.0 for gap in gaps[-5:])
    assert len(asked_at) < 18


def test_rounds_back_off_also_when_a_server_answers_each_of_them():
    """Both sides ask, and are introduced; that alone gives no reason to hope."""
    lab = Lab()
    lab.start()
    asked = 0
    while lab.now < START + 600.0:
        lab.run(0.1)
        if lab.take(IntroductionWanted):
            asked += 1
            lab.start()
    assert asked < 18


def test_an_introduction_that_the_other_side_asked_for_is_followed_at_once():
    lab = Lab()
    lab.start()
    lab.run(100.0)
    lab.sent.clear()
    lab.start()
    assert len(lab.sent) == 1
    lab.run(1.0)
    assert lab.offsets(THEIRS, since=START + 100.0) == pytest.approx(RETRY_LADDER_S)


def test_news_begin_the_back_off_anew():
    lab = Lab()
    lab.start()
    lab.run(300.0)
    lab.sent.clear()
    lab.events.clear()
    lab.start(fresh=True)
    lab.run(0.3)
    assert lab.offsets(THEIRS, since=START + 300.0) == pytest.approx(
        [offset for offset in CHECK_LADDER_S if offset <= 0.3]
    )
    assert lab.event(SampleWanted) is not None


def test_an_address_that_comes_later_is_checked_densely_at_once():
    lab = Lab()
    lab.start()
    lab.run(100.0)
    elsewhere = THEIRS._replace(port=50000)
    lab.sent.clear()
    lab.punch.add([candidate(THEIRS), candidate(elsewhere)], lab.now)
    lab.drain()
    lab.run(0.1)
    assert [check.address for _, check in lab.sent] == [elsewhere] * 4


def test_after_ten_seconds_without_a_path_the_attempt_is_said_to_have_failed_once():
    lab = Lab()
    lab.start()
    lab.run(VERDICT_AFTER_S - 0.01)
    assert lab.event(AttemptFailed) is None
    lab.run(0.02)
    assert len(lab.take(AttemptFailed)) == 1
    lab.start()
    lab.run(100.0)
    assert lab.take(AttemptFailed) == []


@pytest.mark.parametrize("other", [RANDOM, SEQUENTIAL, replace(BY_ADDRESS, confidence=SURE)])
def test_where_both_nats_leave_no_hope_it_is_said_sooner(other):
    for nats in ((RANDOM, other), (other, RANDOM)):
        lab = Lab()
        lab.start(nats=nats)
        lab.run(HOPELESS_AFTER_S - 0.01)
        assert lab.event(AttemptFailed) is None
        lab.run(0.02)
        assert len(lab.take(AttemptFailed)) == 1


@pytest.mark.parametrize("other", [MIXES, SEQUENTIAL, NatReport(), BY_ADDRESS])
def test_where_a_report_leaves_hope_it_is_waited_for(other):
    lab = Lab()
    lab.start(nats=(RANDOM, other) if other is not SEQUENTIAL else (SEQUENTIAL, SEQUENTIAL))
    lab.run(VERDICT_AFTER_S - 0.01)
    assert lab.event(AttemptFailed) is None


def test_hope_that_ends_while_the_attempt_runs_shortens_the_wait():
    lab = Lab()
    lab.start(nats=(RANDOM, NatReport()))
    lab.run(0.2)
    lab.start(nats=(RANDOM, RANDOM))
    lab.run(HOPELESS_AFTER_S - 0.21)
    assert lab.event(AttemptFailed) is None
    lab.run(0.02)
    assert len(lab.take(AttemptFailed)) == 1


def test_a_failed_attempt_tells_whether_anything_of_the_peer_was_heard():
    deaf, heard = Lab(), Lab()
    for lab in (deaf, heard):
        lab.start()
        if lab is heard:
            lab.punch.check_received(THEIRS, MAIN_SOCKET, lab.now)
        lab.run(VERDICT_AFTER_S + 1.0)
    assert not deaf.take(AttemptFailed)[0].heard
    assert heard.take(AttemptFailed)[0].heard


def test_an_absent_peer_costs_no_silence_so_that_it_is_met_when_it_returns():
    lab = Lab()
    lab.start(nats=(KEEPS, KEEPS))
    for _ in range(60):
        lab.run(10.0)
        assert lab.budget.can_spare(THEIRS, lab.now) or lab.budget.allow(THEIRS, 84, lab.now)
    a_minute = [at for at, _ in lab.sent if at > START + 540.0]
    assert len(a_minute) <= 20


def test_a_stopped_attempt_sends_and_wants_nothing():
    lab = Lab()
    lab.start()
    lab.punch.stop()
    lab.sent.clear()
    lab.run(100.0)
    assert lab.sent == []
    assert lab.events == []
    assert lab.punch.get_timer() is None
    assert lab.punch.targets == ()


def test_a_socket_is_sampled_at_once_when_the_peer_has_just_been():
    lab = _sampling()
    lab.punch.sampled(FRESH, OURS, poisoned=False, now=lab.now)
    lab.drain()
    assert lab.take(IntroductionWanted) == [IntroductionWanted((OURS,))]


def test_an_introduction_that_crosses_with_the_sample_spends_nothing_of_the_fresh_socket():
    lab = _sampling()
    lab.sent.clear()
    lab.start(nats=(COUNTS, COUNTS))
    assert not [check for _, check in lab.sent if check.socket == FRESH]
    lab.punch.sampled(FRESH, OURS, poisoned=False, now=lab.now)
    lab.drain()
    assert lab.take(IntroductionWanted)
    assert lab.punch.socket == FRESH


def test_what_is_sampled_already_is_not_sampled_again():
    lab = _sampling()
    lab.punch.sample_now(lab.now)
    lab.drain()
    assert lab.take(FreshSocketWanted) == []


def test_an_introduction_that_is_repeated_does_not_put_the_sample_off():
    lab = Lab()
    lab.start()
    lab.run(0.1)
    lab.start()
    lab.run(SILENT_UNTIL - lab.now)
    assert lab.take(SampleWanted)


def test_a_newcomer_waits_no_longer_than_the_round_trip_that_it_learns():
    lab = Lab()
    lab.start(rtt_s=None)
    lab.punch.learn_rtt(RTT_S)
    lab.run(SILENT_UNTIL - lab.now)
    assert lab.take(SampleWanted)


def test_a_round_has_failed_when_the_next_one_begins():
    lab = Lab()
    lab.start()
    assert not lab.punch.has_failed_before
    lab.run(5.0)
    assert lab.punch.has_failed_before


def _sampling():
    """A round that waits for the sample of its fresh socket."""
    lab = Lab()
    lab.start(nats=(COUNTS, COUNTS))
    lab.punch.sample_now(lab.now)
    lab.drain()
    assert lab.take(FreshSocketWanted)
    lab.punch.use_socket(FRESH, lab.now)
    lab.drain()
    assert lab.take(SampleWanted) == [SampleWanted(FRESH)]
    return lab
