"""Opening a direct path: the ladder, the openers, the escalation, and what ends an attempt."""

from dataclasses import replace
from random import Random

import pytest

from natd.core.base.types import (
    MAIN_SOCKET,
    SURE,
    Address,
    Allocation,
    Mapping,
    NatReport,
    PathKind,
    SocketId,
)
from natd.core.base.wishes import FreshSocketWanted, IntroductionWanted, SampleWanted
from natd.core.punch.attempt import (
    CHECK_LADDER_S,
    DOUBTFUL_LADDER_S,
    SILENCE_S,
)
from natd.core.punch.events import PathFound
from natd.core.punch.punch import INTRODUCTION_PATIENCE_S, SAMPLE_PATIENCE_S
from natd.core.punch.targets import TRIGGER_SPACING_S
from tests.core.world.punch_lab import (
    KEEPS,
    LAN,
    MIXES,
    OURS,
    RTT_S,
    START,
    THEIRS,
    Lab,
    candidate,
)

FRESH = SocketId(0x10001)
RANDOM = NatReport(Mapping.DEPENDENT, allocation=Allocation.RANDOM, confidence=1.0)
BY_ADDRESS = replace(RANDOM, mapping=Mapping.ADDRESS_DEPENDENT, confidence=SURE / 2)
"""As far as peers say."""
SILENT_UNTIL = START + 2 * RTT_S + SILENCE_S


def test_checks_climb_a_ladder_that_is_dense_at_first():
    lab = Lab()
    lab.start()
    lab.run(1.4)
    assert lab.offsets(THEIRS) == pytest.approx(CHECK_LADDER_S)
    assert all(check.ttl is None for _, check in lab.sent)


def test_where_the_port_may_be_another_one_a_packet_of_the_first_moments_is_left_to_the_flight():
    lab = Lab()
    lab.start(nats=(MIXES, replace(MIXES, confidence=SURE / 2)))
    lab.run(1.4)
    assert lab.offsets(THEIRS) == pytest.approx(DOUBTFUL_LADDER_S)
    assert len(DOUBTFUL_LADDER_S) == len(CHECK_LADDER_S) - 1


def test_while_start_in_runs_one_low_ttl_opener_leaves_and_nothing_else():
    lab = Lab()
    lab.start(start_in_s=0.2)
    lab.run(0.199)
    assert [(check.ttl, check.is_strict) for _, check in lab.sent] == [(2, True)]
    lab.run(1.4)
    full = [at - START - 0.2 for at, check in lab.sent if check.ttl is None]
    assert full == pytest.approx(CHECK_LADDER_S)


def test_an_attempt_is_alone_once_two_samples_have_gone_unanswered_and_no_more_when_one_is():
    lab = Lab()
    lab.start()
    alone_after = 0
    while not lab.punch.is_alone:
        assert alone_after < 5
        while not lab.take(SampleWanted):
            lab.run(0.05)
        assert not lab.punch.is_alone
        lab.run(SAMPLE_PATIENCE_S + 0.05)
        alone_after += 1
    assert alone_after == 2
    while not lab.take(SampleWanted):
        lab.run(0.05)
    lab.punch.sampled(lab.punch.socket, OURS, poisoned=False, now=lab.now)
    assert not lab.punch.is_alone


def test_on_our_own_lan_nothing_waits_for_start_in():
    lab = Lab()
    lab.start(LAN, start_in_s=0.2)
    assert [check.ttl for _, check in lab.sent] == [None]


def test_all_candidates_are_checked_side_by_side():
    lab = Lab()
    others = [THEIRS._replace(port=40001 + number) for number in range(3)]
    lab.start(LAN, *others)
    assert [check.address for _, check in lab.sent] == [LAN, *others]


def test_the_first_answer_finds_the_path_and_nothing_further_is_tried():
    lab = Lab()
    lab.start()
    lab.run(0.05)
    lab.answer(lab.sent[0][1])
    [found] = lab.take(PathFound)
    assert (found.address, found.socket) == (THEIRS, MAIN_SOCKET)
    assert found.kind is PathKind.DIRECT
    assert found.rtt_s == pytest.approx(0.05)
    assert not lab.punch.active
    lab.run(100.0)
    assert lab.events == []


def test_a_later_answer_only_ever_adds_a_path():
    lab = Lab()
    lab.start(LAN, THEIRS)
    lab.run(0.03)
    by_address = {check.address: check for _, check in lab.sent}
    lab.answer(by_address[THEIRS])
    lab.answer(by_address[LAN])
    kinds = [event.kind for event in lab.take(PathFound)]
    assert kinds == [PathKind.DIRECT, PathKind.LAN]


def test_after_two_round_trips_and_100_ms_of_silence_a_sample_is_wanted():
    lab = Lab()
    lab.start()
    lab.run(SILENT_UNTIL - START - 0.001)
    assert lab.event(SampleWanted) is None
    lab.run(0.001)
    assert lab.event(SampleWanted) == SampleWanted(MAIN_SOCKET)


def test_start_in_is_not_counted_as_silence():
    lab = Lab()
    lab.start(start_in_s=0.4)
    lab.run(SILENT_UNTIL - START + 0.399)
    assert lab.event(SampleWanted) is None
    lab.run(0.002)
    assert lab.event(SampleWanted) is not None


def test_what_the_sample_shows_goes_into_the_next_introduction():
    lab = Lab()
    lab.start()
    lab.run(0.3)
    lab.punch.sampled(MAIN_SOCKET, OURS, poisoned=False, now=lab.now)
    lab.drain()
    assert lab.event(IntroductionWanted) == IntroductionWanted((OURS,))


def test_a_sample_of_another_socket_or_one_that_was_not_asked_for_changes_nothing():
    lab = Lab()
    lab.start()
    lab.punch.sampled(MAIN_SOCKET, OURS, poisoned=True, now=lab.now)
    lab.run(0.3)
    lab.punch.sampled(SocketId(70000), OURS, poisoned=True, now=lab.now)
    lab.drain()
    assert lab.take(FreshSocketWanted) == []
    assert lab.event(IntroductionWanted) is None


def test_a_server_that_does_not_answer_the_sample_is_not_waited_for():
    lab = Lab()
    lab.start()
    lab.run(SILENT_UNTIL - START + SAMPLE_PATIENCE_S + 0.001)
    assert lab.event(IntroductionWanted) == IntroductionWanted(())


def test_a_socket_that_nothing_comes_to_is_left_once_and_the_fresh_one_waits_for_its_introduction():
    lab, fresh = Lab(), SocketId(0x10001)
    lab.start()
    lab.run(0.3)
    lab.punch.leave_socket(has_server=True)
    lab.drain()
    assert lab.take(FreshSocketWanted) == [FreshSocketWanted()]
    lab.sent.clear()
    lab.punch.use_socket(fresh, lab.now)
    lab.punch.add([candidate(THEIRS), candidate(LAN)], lab.now)
    lab.run(0.05)
    assert lab.sent == [], "news of our own NAT make it known to nobody"
    lab.punch.sampled(fresh, OURS._replace(port=51000), poisoned=False, now=lab.now)
    lab.start(THEIRS, LAN)
    lab.run(0.05)
    assert {check.socket for _, check in lab.sent} == {fresh}
    lab.punch.leave_socket(has_server=True)
    lab.drain()
    assert lab.take(FreshSocketWanted) == [], "the peer's router may be off"


def _left():
    """A socket was left, and the fresh one is about to be sampled."""
    lab = Lab()
    lab.start()
    lab.run(0.3)
    lab.punch.leave_socket(has_server=True)
    lab.drain()
    lab.punch.use_socket(FRESH, lab.now)
    lab.drain()
    lab.events.clear()
    lab.sent.clear()
    return lab


def test_an_introduction_that_comes_meanwhile_neither_frees_a_fresh_socket_nor_costs_its_sample():
    lab = _left()
    lab.run(0.02)
    lab.start()
    lab.run(0.02)
    assert lab.sent == []
    lab.punch.sampled(FRESH, OURS._replace(port=51000), poisoned=False, now=lab.now)
    lab.drain()
    assert lab.event(IntroductionWanted) == IntroductionWanted((OURS._replace(port=51000),))


def test_a_fresh_socket_that_nobody_is_told_of_is_used_in_the_next_round_and_for_news():
    lab = _left()
    lab.punch.sampled(FRESH, OURS._replace(port=51000), poisoned=False, now=lab.now)
    lab.run(INTRODUCTION_PATIENCE_S + 0.1)
    assert {check.socket for _, check in lab.sent} == {FRESH}
    lab.punch.add([candidate(LAN)], lab.now)
    lab.drain()
    assert (LAN, FRESH) in {(check.address, check.socket) for _, check in lab.sent}


def test_what_begins_afresh_may_leave_its_socket_again():
    lab = _left()
    lab.start(fresh=True)
    assert lab.punch.socket == MAIN_SOCKET
    lab.punch.leave_socket(has_server=True)
    lab.drain()
    assert lab.take(FreshSocketWanted) == [FreshSocketWanted()]


def test_without_a_server_that_could_tell_the_peer_no_socket_is_left_for_another():
    lab = Lab()
    lab.start()
    lab.punch.leave_socket(has_server=False)
    lab.drain()
    assert lab.take(FreshSocketWanted) == []
    lab.punch.leave_socket(has_server=True)
    lab.punch.use_socket(FRESH, lab.now)
    lab.run(SAMPLE_PATIENCE_S + 0.01)
    assert lab.punch.socket == MAIN_SOCKET, "the peer knows that one"
    assert not lab.punch.is_held
    lab.run(3.0)
    lab.punch.leave_socket(has_server=True)
    lab.drain()
    assert len(lab.take(FreshSocketWanted)) == 1, "the first"


def test_a_poisoned_socket_is_replaced_and_the_fresh_one_is_shown_before_it_is_used():
    lab, fresh = Lab(), SocketId(0x10001)
    lab.start()
    lab.run(0.3)
    lab.punch.sampled(MAIN_SOCKET, OURS._replace(port=61234), poisoned=True, now=lab.now)
    lab.drain()
    assert lab.take(FreshSocketWanted)
    lab.take(SampleWanted)
    lab.sent.clear()
    lab.punch.use_socket(fresh, lab.now)
    lab.drain()
    assert lab.event(SampleWanted) == SampleWanted(fresh)
    shown = OURS._replace(port=51000)
    lab.run(0.05)
    assert lab.sent == [], "the peer does not know of it yet"
    lab.punch.sampled(fresh, shown, poisoned=False, now=lab.now)
    lab.drain()
    assert lab.event(IntroductionWanted) == IntroductionWanted((shown,))
    lab.start()
    lab.run(0.1)
    assert {check.socket for _, check in lab.sent} == {fresh}
    assert len(lab.sent) == 4, "as densely as a first time: from there it is one"


def test_a_fresh_socket_is_used_although_the_server_has_gone_meanwhile():
    lab, fresh = Lab(), SocketId(0x10001)
    lab.start()
    lab.run(0.3)
    lab.punch.sampled(MAIN_SOCKET, OURS._replace(port=61234), poisoned=True, now=lab.now)
    lab.punch.use_socket(fresh, lab.now)
    lab.sent.clear()
    lab.run(5.0)
    assert fresh in {check.socket for _, check in lab.sent}


def test_a_socket_that_comes_when_a_path_stands_already_begins_nothing():
    lab = Lab()
    lab.start()
    lab.run(0.05)
    lab.answer(lab.sent[0][1])
    lab.events.clear()
    lab.punch.use_socket(SocketId(0x10001), lab.now)
    lab.run(10.0)
    assert lab.events == []
    assert lab.punch.socket == MAIN_SOCKET


def test_a_check_from_an_unknown_address_is_followed_there_at_once():
    lab = Lab()
    lab.start()
    lab.run(0.5)
    lab.sent.clear()
    unknown = Address("198.51.100.7", 61000)
    lab.punch.check_received(unknown, MAIN_SOCKET, lab.now)
    lab.drain()
    assert [check.address for _, check in lab.sent] == [unknown]
    lab.answer(lab.sent[0][1])
    found = lab.event(PathFound)
    assert found is not None
    assert found.address == unknown


def test_a_burst_of_checks_triggers_one_of_ours_and_not_one_for_each():
    lab = Lab()
    lab.start()
    lab.run(0.5)
    lab.sent.clear()
    for _ in range(10):
        lab.punch.check_received(THEIRS, MAIN_SOCKET, lab.now)
    lab.drain()
    assert len(lab.sent) == 1
    lab.run(TRIGGER_SPACING_S + 0.001)
    before = len(lab.sent)
    lab.punch.check_received(THEIRS, MAIN_SOCKET, lab.now)
    lab.drain()
    assert len(lab.sent) == before + 1


def test_the_addresses_that_checks_come_from_are_bounded():
    lab = Lab()
    lab.start()
    lab.sent.clear()
    for number in range(50):
        address = Address(f"198.51.{number}.9", 5000)
        lab.punch.check_received(address, MAIN_SOCKET, lab.now)
    lab.drain()
    assert len({check.address for _, check in lab.sent}) == 8


@pytest.mark.parametrize("ours", [BY_ADDRESS, replace(BY_ADDRESS, mapping=Mapping.INDEPENDENT)])
@pytest.mark.parametrize("confidence", [SURE / 2, SURE])
def test_who_counts_as_easy_keeps_the_socket_that_the_peer_opens_its_nat_for(ours, confidence):
    """Its next ports do not matter: a fresh socket would be where the peer does not look."""
    is_easy = ours.mapping is Mapping.INDEPENDENT or confidence < SURE
    lab = Lab()
    counting = replace(ours, allocation=Allocation.SEQUENTIAL, stride=1, confidence=confidence)
    lab.start(nats=(counting, RANDOM))
    lab.run(SAMPLE_PATIENCE_S)
    assert (lab.event(FreshSocketWanted) is None) is is_easy
    assert (lab.event(SampleWanted) == SampleWanted(MAIN_SOCKET)) is is_easy


def test_a_timer_that_was_handled_is_later_whatever_the_rounding():
    random = Random(4)
    for _ in range(100):
        lab = Lab()
        lab.now = START + 1000.0 * random.random()
        lab.start(start_in_s=0.3 * random.random(), nats=(KEEPS, KEEPS))
        timer = lab.punch.get_timer()
        while timer is not None and timer < lab.now + 20.0:
            lab.punch.handle_timer(timer)
            later = lab.punch.get_timer()
            assert later is None or later > timer
            timer = later
