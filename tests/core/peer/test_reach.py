"""Where a peer's datagrams go with a path, and what it costs to find or keep one."""

from collections import Counter
from random import Random

import pytest

from natd.core.base.types import (
    LAST_GOOD_LIMIT,
    MAIN_SOCKET,
    Address,
    Candidate,
    CandidateKind,
)
from natd.core.base.wishes import IntroductionWanted
from natd.core.checks.budget import TargetBudget
from natd.core.checks.checks import (
    ANSWER_AFTER,
    GUESS_US,
    LOW_TTL,
    OPEN_TO,
    CheckAnswer,
    two_bytes,
)
from natd.core.codec import stun
from natd.core.paths.events import PathChosen, PathDown, PathRecovered
from natd.core.paths.flows import FlowsToPeer
from natd.core.paths.path import LOST_AFTER_S
from natd.core.peer.reach import Reach
from natd.core.punch.search import LATE_S
from tests.core.world.reach_lab import (
    ELSEWHERE,
    FLIGHT,
    HARD,
    LAN,
    MIXES,
    OURS,
    RTT_S,
    START,
    THEIRS,
    Lab,
    kind,
)


def test_an_introduction_is_followed_by_checks_and_an_answer_makes_the_path():
    lab = Lab()
    lab.introduce(THEIRS)
    assert lab.checks_to(THEIRS)
    lab.run(RTT_S + 0.01)
    [up] = lab.take(PathChosen)
    assert up.path.address == THEIRS
    assert lab.reach.paths.healthy
    lab.run(60.0)
    assert lab.take(IntroductionWanted) == []


def test_a_check_from_an_unknown_address_is_answered_there_and_makes_a_path_by_our_own():
    lab = Lab(answers={ELSEWHERE})
    lab.introduce(THEIRS)
    lab.sent.clear()
    lab.hear_check(ELSEWHERE)
    assert [kind(datagram) for _, datagram in lab.sent] == ["answer", "check"]
    assert {datagram.address for _, datagram in lab.sent} == {ELSEWHERE}
    lab.run(RTT_S + 0.01)
    [up] = lab.take(PathChosen)
    assert up.path.address == ELSEWHERE


@pytest.mark.parametrize("asks", [None, (ANSWER_AFTER, two_bytes(0))])
def test_a_check_is_answered_at_once_and_one_that_wants_only_that_makes_no_path(asks):
    lab = Lab(answers=set())
    lab.introduce(THEIRS)
    lab.sent.clear()
    lab.hear_check(ELSEWHERE, asks)
    kinds = [kind(datagram) for _, datagram in lab.sent]
    assert kinds == (["answer", "check"] if asks is None else ["answer"])


def test_an_answer_that_is_wanted_later_leaves_then_and_makes_no_path():
    lab = Lab(answers=set())
    lab.introduce(THEIRS)
    lab.run(20.0)
    lab.sent.clear()
    lab.hear_check(ELSEWHERE, (ANSWER_AFTER, two_bytes(28)))
    assert [d for _, d in lab.sent if d.address == ELSEWHERE] == []
    asked_at = lab.now
    lab.run(30.0)
    [(at, late)] = [(at, d) for at, d in lab.sent if d.address == ELSEWHERE]
    assert kind(late) == "answer"
    assert at == pytest.approx(asked_at + 28.0)


def test_the_path_in_use_alone_has_openers_and_guesses_granted():
    lab = Lab()
    lab.reach.search.prove({THEIRS.host}, lab.now)
    lab.introduce(THEIRS)
    lab.run(5.0)
    for address, is_granted in ((ELSEWHERE, False), (THEIRS, True)):
        lab.sent.clear()
        lab.hear_check(address, (OPEN_TO, two_bytes(51_000)))
        opened = [d.address for _, d in lab.sent if d.ttl == LOW_TTL]
        assert opened == ([address._replace(port=51_000)] if is_granted else [])
        lab.hear_check(address, (GUESS_US, b""))
        assert lab.reach.search.is_succeeding is is_granted
        lab.run(1.0)
        assert (len(lab.sent) > 100) is is_granted, "guesses leave although the search was idle"


def test_a_search_is_idle_while_a_path_stands_and_not_while_one_is_looked_for():
    lab = Lab()
    assert lab.reach.search.is_idle
    lab.introduce(THEIRS)
    assert not lab.reach.search.is_idle
    lab.run(10.0)
    assert lab.reach.search.is_idle, "the ladder has ended, too"
    lab.answers = set()
    lab.reach.carry([FLIGHT], lab.now, awaiting=True)
    lab.run(3.0)
    assert not lab.reach.search.is_idle
    lab.run(LOST_AFTER_S + 600.0)
    assert not lab.reach.search.is_idle, "an attempt goes on"
    lab.reach.stop()
    lab.drain()
    assert lab.reach.search.is_idle


def test_a_check_that_was_seen_before_makes_no_packet_wherever_it_comes_from():
    lab = Lab(answers=set())
    lab.introduce(THEIRS)
    recorded = lab.hear_check(THEIRS)
    lab.run(30.0)
    lab.sent.clear()
    for number in range(100):
        lab.receive(recorded, Address("192.0.2.77", 2000 + number))
    assert lab.sent == []
    assert lab.reach.dropped["check-replayed"] == 100


def test_a_check_without_integrity_makes_no_packet():
    lab = Lab(answers=set())
    lab.introduce(THEIRS)
    lab.sent.clear()
    forged = stun.encode_binding_request(b"abcd" + bytes(8), username=bytes(16), key=bytes(32))
    lab.receive(forged, ELSEWHERE)
    assert lab.sent == []
    assert lab.reach.dropped["check-without-integrity"] == 1


def test_a_flood_of_checks_with_forged_sources_buys_two_small_packets_each_and_no_more():
    """A peer that holds the pair's key can make them, and can say that they come from a victim."""
    lab = Lab(answers=set())
    lab.introduce(THEIRS)
    lab.sent.clear()
    victim = Address("192.0.2.77", 2000)
    received = 0
    for _ in range(300):
        received += len(lab.hear_check(victim))
        lab.reach.carry([FLIGHT], lab.now, awaiting=True)
        lab.drain()
        lab.run(0.05)
    to_victim = [d for _, d in lab.sent if d.address.host == victim.host]
    assert len(to_victim) <= 2 * 300 + 60
    assert sum(len(d.data) for d in to_victim) <= 2 * received + 6000


def test_no_flight_goes_where_only_a_server_says_that_the_peer_is():
    """A registration of its may have been withheld, and be said from a victim's address: the
    flight, 2,500 bytes, did not count as sent to an unproved host."""
    lab = Lab(answers=set())
    lab.reach.search.prove((), lab.now, unproved=[ELSEWHERE.host])
    lab.introduce(THEIRS, ELSEWHERE)
    lab.reach.carry([FLIGHT], lab.now, awaiting=True)
    lab.drain()
    assert [d.address for _, d in lab.sent if d.data == FLIGHT] == [THEIRS]
    lab.reach.search.prove([ELSEWHERE.host], lab.now)
    lab.reach.carry([FLIGHT], lab.now, awaiting=True)
    lab.drain()
    assert [d.address for _, d in lab.sent if d.data == FLIGHT][1:] == [THEIRS, ELSEWHERE]


def test_a_peer_that_is_heard_before_the_proof_gets_the_flight():
    lab = Lab(answers=set())
    lab.reach.search.prove((), lab.now, unproved=[THEIRS.host])
    lab.introduce(THEIRS)
    lab.hear_check(THEIRS)
    lab.reach.carry([FLIGHT], lab.now, awaiting=True)
    lab.drain()
    assert [d.address for _, d in lab.sent if d.data == FLIGHT] == [THEIRS]


@pytest.mark.parametrize(("heard_s_ago", "checks"), [(0.5, 0), (2.0, 1)])
def test_an_introduction_that_agrees_with_the_path_in_use_costs_a_check_at_most(
    heard_s_ago, checks
):
    lab = Lab()
    lab.introduce(THEIRS)
    lab.run(0.5 + heard_s_ago)
    lab.hear_check(THEIRS)
    lab.run(heard_s_ago)
    lab.sent.clear()
    lab.introduce(THEIRS)
    assert len(lab.sent) == checks
    lab.run(1.0)
    assert lab.take(IntroductionWanted) == []


def test_an_introduction_that_contradicts_a_path_which_answers_ends_there():
    """Two behind one NAT: their path is the LAN's, and servers know the public addresses."""
    lab = Lab(answers={LAN})
    lab.reach.remote.describe_peer((Candidate(CandidateKind.LAN, LAN),), MIXES)
    lab.introduce(OURS._replace(port=40001))
    lab.run(1.0)
    assert lab.take(PathChosen)[0].path.address == LAN
    lab.introduce(OURS._replace(port=40001))
    lab.run(60.0)
    assert lab.take(IntroductionWanted) == []
    assert lab.reach.paths.healthy
    assert not lab.reach.search.is_trying(lab.now)


def test_an_introduction_that_contradicts_a_path_which_is_dead_leads_to_the_new_place():
    lab = Lab(answers={THEIRS})
    lab.introduce(THEIRS)
    lab.run(1.0)
    lab.answers = {ELSEWHERE}
    lab.introduce(ELSEWHERE)
    lab.run(3.0)
    assert lab.reach.paths.report is not None
    assert lab.reach.paths.report.address == ELSEWHERE


def test_nothing_expensive_is_begun_while_a_path_works():
    lab = Lab(nats=(HARD, MIXES))
    lab.reach.search.prove({THEIRS.host}, lab.now)
    lab.introduce(THEIRS)
    lab.run(1.0)
    lab.sent.clear()
    lab.introduce(ELSEWHERE)
    lab.run(5.0)
    assert len(lab.sent) < 40


def test_a_suspected_path_is_looked_for_again_before_it_is_given_up():
    lab = Lab()
    lab.introduce(THEIRS)
    lab.run(1.0)
    lab.answers = set()
    lab.reach.carry([FLIGHT], lab.now, awaiting=True)
    began = lab.now
    lab.run(3.0)
    assert lab.take(IntroductionWanted)
    assert lab.take(PathDown) == []
    lab.run(LOST_AFTER_S)
    assert lab.take(PathDown) == [PathDown()]
    assert lab.reach.paths.report is None
    assert lab.now - began < 20.0


def test_a_path_that_recovers_is_told_so_that_what_was_lost_is_sent_again():
    lab = Lab()
    lab.introduce(THEIRS)
    lab.run(1.0)
    lab.take(PathChosen)
    lab.answers = set()
    lab.reach.carry([FLIGHT], lab.now, awaiting=True)
    lab.run(5.0)
    lab.answers = {THEIRS}
    lab.run(5.0)
    assert len(lab.take(PathRecovered)) == 1
    assert lab.reach.paths.healthy
    lab.take(IntroductionWanted)
    lab.run(60.0)
    assert lab.take(IntroductionWanted) == []


def test_who_has_left_is_not_looked_for_until_somebody_says_that_they_are_back():
    lab = Lab()
    lab.introduce(THEIRS)
    lab.run(1.0)
    lab.reach.stop()
    lab.sent.clear()
    lab.hear_check(THEIRS)
    lab.reach.heard(THEIRS, MAIN_SOCKET, lab.now)
    lab.run(60.0)
    assert lab.sent == []
    assert not lab.reach.search.is_trying(lab.now)
    lab.introduce(THEIRS)
    assert lab.checks_to(THEIRS)


def test_a_retry_asks_for_who_has_left_but_sends_them_nothing():
    lab = Lab(answers=set())
    lab.introduce(THEIRS)
    lab.reach.stop()
    lab.sent.clear()
    lab.take(IntroductionWanted)
    lab.reach.retry(lab.now)
    lab.drain()
    assert lab.take(IntroductionWanted) == [IntroductionWanted(())]
    assert lab.sent == []


def test_a_probe_is_answered_on_the_path_in_use_and_survives_a_loss():
    lab = Lab()
    lab.introduce(THEIRS)
    lab.run(5.0)
    lab.take(CheckAnswer)
    lab.answers = set()
    lab.reach.probe(lab.now)
    lab.run(0.1)
    lab.answers = {THEIRS}
    lab.run(1.0)
    first, *_ = lab.take(CheckAnswer)
    assert first.address == THEIRS
    assert first.rtt_s == pytest.approx(RTT_S)
    assert not first.is_delayed


def test_the_addresses_that_carried_a_path_are_remembered_newest_first():
    lab = Lab()
    for number in range(LAST_GOOD_LIMIT + 2):
        address = THEIRS._replace(port=41000 + number)
        lab.answers = {address}
        lab.introduce(address)
        lab.run(30.0)
    assert len(lab.reach.remote._last_good) == LAST_GOOD_LIMIT
    newest = THEIRS._replace(port=41000 + LAST_GOOD_LIMIT + 1)
    assert lab.reach.remote._last_good[0] == newest


def test_a_remembered_address_is_tried_without_a_server():
    lab = Lab(answers={THEIRS})
    lab.reach.remote.remember((THEIRS,))
    lab.reach.retry(lab.now)
    lab.run(0.5)
    assert lab.take(PathChosen)


def test_an_attempt_that_lasts_unreasonably_long_is_no_longer_shown_as_one():
    lab = Lab(answers=set())
    lab.introduce(THEIRS)
    lab.run(LATE_S - 1.0)
    assert lab.reach.search.is_trying(lab.now)
    lab.run(2.0)
    assert not lab.reach.search.is_trying(lab.now)


def test_without_secrets_nothing_is_sent():
    reach = Reach(TargetBudget(), Random(1), FlowsToPeer(), None)
    reach.introduced((THEIRS,), 0.0, START)
    reach.retry(START)
    reach.handle_timer(START + 10.0)
    assert reach.datagrams_to_send() == []


def test_a_path_that_answers_is_not_checked_to_the_end_of_the_ladder():
    """The peer may have moved: it is looked for elsewhere, too, and found where it was."""
    lab = Lab(answers={THEIRS})
    lab.introduce(THEIRS)
    lab.run(3.0)
    lab.sent.clear()
    lab.introduce(ELSEWHERE)
    lab.run(2.0)
    asked = Counter(datagram.address for _, datagram in lab.sent if kind(datagram) == "check")
    assert asked[ELSEWHERE]
    assert asked[THEIRS] <= 5
