"""What a peer's diagnosis makes of what it sees: a log of the attempt and a verdict."""

from dataclasses import replace

import pytest

from natd.core.base.surroundings import Surroundings
from natd.core.base.types import (
    MAIN_SOCKET,
    Address,
    Allocation,
    Candidate,
    CandidateKind,
    Datagram,
    Mapping,
    NatReport,
    PathKind,
    PathReport,
    PeerId,
    SocketId,
)
from natd.core.base.verdict import VerdictCode
from natd.core.base.wishes import IntroductionWanted, SampleWanted
from natd.core.checks.checks import LOW_TTL
from natd.core.checks.turns import Turns
from natd.core.keys.card import Card
from natd.core.paths.events import PathChosen, PathDown
from natd.core.peer.attempt_log import Step
from natd.core.peer.diagnosis import HOPE_S, LISTED_AGAIN_S, Diagnosis
from natd.core.punch.events import AttemptFailed

BEGAN = 1000.0
LATER = BEGAN + 500.0
SERVER = "203.0.113.9:8080"
OURS, THEIRS = Address("198.51.100.1", 40000), Address("198.51.100.2", 40001)
RANDOM = NatReport(Mapping.DEPENDENT, allocation=Allocation.RANDOM, confidence=0.94)
EASY = NatReport(Mapping.INDEPENDENT, allocation=Allocation.PRESERVING, confidence=0.94)
CARD = Card(PeerId(bytes(32)), bytes(32), bytes(32), 1, "bob", (), RANDOM)
EASY_CARD = replace(CARD, nat=EASY)
SURROUNDINGS = Surroundings((OURS,), frozenset(), RANDOM)
TARGETS = (Candidate(CandidateKind.SERVER_REFLEXIVE, THEIRS),)
PATH = PathReport(PathKind.DIRECT, THEIRS, 0.1, "simultaneous-open", BEGAN)
CHECK, ANSWER, FLIGHT = b"\x00\x01" + bytes(18), b"\x01\x01" + bytes(18), b"\xc0" + bytes(100)
HELPER = SocketId(0x100001)


def test_a_verdict_is_told_once_after_an_attempt_has_failed():
    diagnosis = introduced()
    assert verdict(diagnosis) is None
    diagnosis.take(AttemptFailed(heard=False), BEGAN + 10.0)
    assert verdict(diagnosis).code is VerdictCode.BOTH_RANDOM
    assert diagnosis.told.code is VerdictCode.BOTH_RANDOM
    assert verdict(diagnosis) is None
    diagnosis.set_surroundings(replace(SURROUNDINGS, rtt_s=0.2), BEGAN)
    assert verdict(diagnosis) is None, "what was learned gives no other reason"


def test_attempts_that_fail_alike_are_told_of_once_until_the_peer_was_here_or_we_are_elsewhere():
    diagnosis = introduced()
    told = []
    for number in range(6):
        at = BEGAN + 100.0 * number
        if number == 2:
            diagnosis.take(PathChosen(PATH), at)
            diagnosis.take(PathDown(), at + 1.0)  # keys were never agreed on
        if number == 3:
            diagnosis.is_here()
        if number == 5:
            elsewhere = (Address("198.51.100.77", 40000),)
            diagnosis.set_surroundings(replace(SURROUNDINGS, ours=elsewhere), at)
        diagnosis.take(AttemptFailed(heard=False), at + 10.0)
        if verdict(diagnosis, 100.0 * number + 10.0) is not None:
            told.append(number)
        assert diagnosis.told is not None, "and it is told at any time when asked for"
    assert told == [0, 3, 5]


def test_whom_a_server_misses_that_was_just_started_again_may_yet_return():
    diagnosis = introduced()
    diagnosis.set_surroundings(replace(SURROUNDINGS, servers_are_silent=True), BEGAN + 60.0)
    diagnosis.set_surroundings(SURROUNDINGS, BEGAN + 90.0)
    codes = []
    for after_s in (95.0, 90.0 + LISTED_AGAIN_S):
        diagnosis.absent(SERVER, BEGAN + after_s)
        codes.append(diagnosis.report(CARD, may_guess=True, now=LATER).verdict.code)
    assert codes == [VerdictCode.BOTH_RANDOM, VerdictCode.NOT_REGISTERED]


def test_a_better_verdict_follows_when_something_was_learned_and_each_only_once():
    diagnosis = introduced()
    diagnosis.take(AttemptFailed(heard=False), BEGAN + 10.0)
    assert verdict(diagnosis).code is VerdictCode.BOTH_RANDOM
    diagnosis.absent(SERVER, BEGAN + 20.0)
    assert verdict(diagnosis, 20.0).code is VerdictCode.NOT_REGISTERED
    diagnosis.introduced(f"by {SERVER}", (THEIRS,), BEGAN + 30.0)
    assert verdict(diagnosis, 30.0 + HOPE_S) is None
    assert diagnosis.told.code is VerdictCode.BOTH_RANDOM


def test_after_a_first_sign_of_the_peer_another_verdict_waits_whether_a_path_follows():
    easy = replace(SURROUNDINGS, nat=EASY)
    diagnosis = introduced()
    diagnosis.set_surroundings(easy, BEGAN)
    diagnosis.take(AttemptFailed(heard=False), BEGAN + 10.0)
    first = diagnosis.next_verdict(EASY_CARD, may_guess=True, now=BEGAN + 10.0)
    diagnosis.sent([Datagram(ANSWER, THEIRS)], TARGETS, None, BEGAN + 20.0)
    early, late = (
        diagnosis.next_verdict(EASY_CARD, may_guess=True, now=BEGAN + 20.0 + after_s)
        for after_s in (HOPE_S - 0.1, HOPE_S)
    )
    assert early is None
    assert late.code is not first.code


def test_a_server_that_has_not_heard_of_the_peer_yet_does_not_contradict_one_that_has():
    diagnosis = introduced()
    diagnosis.absent("203.0.113.10:8080", BEGAN + 0.5)
    assert diagnosis.report(CARD, may_guess=True, now=LATER).verdict.code is VerdictCode.BOTH_RANDOM


def test_silent_servers_are_blamed_only_where_nobody_else_has_introduced_the_two():
    diagnosis = introduced()
    diagnosis.set_surroundings(replace(SURROUNDINGS, servers_are_silent=True), BEGAN)
    assert diagnosis.report(CARD, may_guess=True, now=LATER).verdict.code is VerdictCode.NO_SERVER
    diagnosis.introduced("by carol", (THEIRS,), BEGAN + 60.0)
    assert diagnosis.report(CARD, may_guess=True, now=LATER).verdict.code is VerdictCode.BOTH_RANDOM


def test_a_peer_lost_while_servers_are_silent_is_not_said_to_be_behind_a_firewall():
    diagnosis = introduced()
    diagnosis.set_surroundings(replace(SURROUNDINGS, servers_are_silent=True), BEGAN)
    diagnosis.introduced("by the peer itself", (THEIRS,), BEGAN + 60.0, asked=True)
    diagnosis.take(PathChosen(PATH), BEGAN + 61.0)
    diagnosis.take(PathDown(), BEGAN + 80.0)
    told = diagnosis.report(CARD, may_guess=True, now=BEGAN + 85.0).verdict
    assert told.code is VerdictCode.MOVED
    assert "it has gone offline" in told.why


def test_no_verdict_is_told_as_long_as_a_path_is_left():
    diagnosis = introduced()
    diagnosis.take(PathChosen(PATH), BEGAN + 1.0)
    diagnosis.take(IntroductionWanted(()), BEGAN + 50.0)
    diagnosis.take(AttemptFailed(heard=False), BEGAN + 60.0)
    assert verdict(diagnosis) is None
    diagnosis.take(PathDown(), BEGAN + 61.0)
    assert verdict(diagnosis) is not None


def test_the_log_outlives_the_path_and_begins_anew_when_it_is_lost():
    diagnosis = introduced()
    diagnosis.sent([Datagram(CHECK, THEIRS)], TARGETS, None, BEGAN)
    diagnosis.take(PathChosen(PATH), BEGAN + 0.1)
    diagnosis.sent([Datagram(CHECK, THEIRS)], TARGETS, None, BEGAN + 15.0)
    diagnosis.introduced(f"by {SERVER}", (THEIRS,), BEGAN + 20.0)
    assert steps(diagnosis) == [Step.INTRODUCED, Step.CHECKS, Step.PATH]
    diagnosis.take(PathDown(), BEGAN + 100.0)
    assert steps(diagnosis) == [Step.PATH_LOST]


def test_packets_are_told_apart_by_what_they_are_for():
    diagnosis = introduced()
    sent = [
        Datagram(CHECK, THEIRS, LOW_TTL),
        Datagram(CHECK, THEIRS),
        Datagram(CHECK, THEIRS),
        Datagram(CHECK, THEIRS, LOW_TTL, HELPER),
        Datagram(CHECK, Address(THEIRS.host, 7777)),
        Datagram(ANSWER, THEIRS),
        Datagram(FLIGHT, THEIRS),
    ]
    diagnosis.sent(sent, TARGETS, "birthday", BEGAN)
    told = [(e.step, e.count) for e in diagnosis.report(CARD, may_guess=True, now=LATER).log[1:]]
    assert told == [
        (Step.OPENERS, 1),
        (Step.CHECKS, 2),
        (Step.OPENERS, 1),
        (Step.GUESSES, 1),
        (Step.HEARD, 1),
        (Step.HANDSHAKE, 1),
    ]


def test_a_check_of_the_peers_that_arrived_changes_the_verdict():
    diagnosis = introduced()
    diagnosis.sent([Datagram(ANSWER, THEIRS)], TARGETS, None, BEGAN + 1.0)
    told = diagnosis.report(CARD, may_guess=True, now=LATER)
    assert told.verdict.code is VerdictCode.PEER_FIREWALL


def test_a_sample_is_logged_only_by_whom_it_was_asked_for():
    diagnosis = introduced()
    diagnosis.sampled(MAIN_SOCKET, OURS, False, BEGAN)
    diagnosis.take(SampleWanted(MAIN_SOCKET), BEGAN)
    diagnosis.sampled(HELPER, OURS, False, BEGAN)
    diagnosis.sampled(MAIN_SOCKET, OURS, True, BEGAN + 0.1)
    diagnosis.sampled(MAIN_SOCKET, OURS, True, BEGAN + 0.2)
    assert steps(diagnosis) == [Step.INTRODUCED, Step.SAMPLED]
    assert "spoilt" in diagnosis.report(CARD, may_guess=True, now=LATER).log[-1].detail


def test_another_path_ends_what_is_looked_for():
    diagnosis = introduced()
    diagnosis.take(AttemptFailed(heard=False), BEGAN + 10.0)
    assert verdict(diagnosis) is not None
    diagnosis.take(PathChosen(PATH), BEGAN + 11.0)
    assert diagnosis.told is None
    diagnosis.take(PathChosen(replace(PATH, kind=PathKind.LAN)), BEGAN + 12.0)
    report = diagnosis.report(CARD, may_guess=True, now=LATER)
    assert report.verdict is None
    assert report.path.kind is PathKind.LAN


def test_guessing_is_not_blamed_where_it_is_allowed():
    diagnosis = introduced()
    diagnosis.set_surroundings(replace(SURROUNDINGS, nat=EASY), BEGAN)
    codes = [diagnosis.report(CARD, may_guess=may, now=LATER).verdict.code for may in (True, False)]
    assert codes == [VerdictCode.GUESS_MISSED, VerdictCode.NOT_PROVED]


def introduced():
    diagnosis = Diagnosis(Turns())
    diagnosis.set_surroundings(SURROUNDINGS, BEGAN)
    diagnosis.introduced(f"by {SERVER}", (THEIRS,), BEGAN)
    return diagnosis


def verdict(diagnosis, after_s=10.0):
    return diagnosis.next_verdict(CARD, may_guess=True, now=BEGAN + after_s)


def steps(diagnosis):
    return [entry.step for entry in diagnosis.report(CARD, may_guess=True, now=LATER).log]


@pytest.mark.parametrize(
    ("asked", "again_s", "is_alive"),
    [
        (True, (), True),
        (False, (), False),
        (False, (30.0, 60.0), False),
        (False, (40.0, 80.0), True),
    ],
)
def test_a_peer_that_servers_go_on_introducing_is_alive(asked, again_s, is_alive):
    diagnosis = introduced()
    diagnosis.introduced(f"by {SERVER}", (THEIRS,), BEGAN, asked=asked)
    for after_s in again_s:
        diagnosis.introduced(f"by {SERVER}", (THEIRS,), BEGAN + after_s)
    now = BEGAN + max(again_s, default=0.0) + 10.0
    told = diagnosis.report(EASY_CARD, may_guess=True, now=now).verdict
    assert ("offline" in told.why) is not is_alive
