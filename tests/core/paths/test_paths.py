"""Live paths: which one is used, whether it still works, and what moves a peer to another."""

from collections import Counter
from random import Random

import pytest

from natd.core.base.types import MAIN_SOCKET, Address, PathKind, SocketId
from natd.core.checks.budget import TargetBudget
from natd.core.checks.checks import Checks, read_check
from natd.core.codec import stun
from natd.core.paths.events import (
    PathChosen,
    PathDown,
    PathRecovered,
    PathResumed,
    PathSuspected,
)
from natd.core.paths.keepalive import KEEPALIVE_S
from natd.core.paths.path import (
    BETTER_RTT_AFTER_S,
    BETTER_RTT_SAMPLES,
    BUSY_CHECK_S,
    CONFIRM_AFTER_S,
    LEAST_PATIENCE_S,
    LOST_AFTER_S,
    STANDBY_S,
)
from natd.core.paths.paths import (
    BUSY_FOR_S,
    FORGET_AFTER_S,
    MOST_PATHS,
    MOVED_HOLD_OF_ONE_S,
    Paths,
)
from tests.core.world.lossy_link import pair_of_secrets

START = 1000.0
THEIRS = Address("198.51.100.7", 40001)
ELSEWHERE = Address("198.51.100.7", 51000)
LAN = Address("192.168.1.9", 40001)


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


def test_a_path_of_a_better_kind_replaces_the_one_in_use_at_once():
    lab = Lab()
    lab.add(THEIRS, PathKind.DIRECT, rtt_s=0.010)
    lab.add(LAN, PathKind.LAN, rtt_s=0.050)
    assert lab.paths.in_use == (LAN, MAIN_SOCKET)
    lab.add(ELSEWHERE, PathKind.MAPPED, rtt_s=0.001)
    assert lab.paths.in_use == (LAN, MAIN_SOCKET)


@pytest.mark.parametrize(
    ("ours_s", "other_s", "moves"),
    [(0.100, 0.080, True), (0.100, 0.096, False), (0.010, 0.004, True), (0.200, 0.190, False)],
)
def test_of_one_kind_a_path_must_be_better_by_5_ms_and_a_tenth(ours_s, other_s, moves):
    lab = Lab()
    lab.add(THEIRS, rtt_s=ours_s)
    lab.add(ELSEWHERE, rtt_s=other_s)
    lab.run(BETTER_RTT_AFTER_S)
    lab.time(THEIRS, ours_s, BETTER_RTT_SAMPLES)
    lab.time(ELSEWHERE, other_s, BETTER_RTT_SAMPLES)
    assert (lab.paths.in_use == (ELSEWHERE, MAIN_SOCKET)) is moves


def test_one_quick_answer_moves_nobody_nor_do_many_in_a_row():
    lab = Lab()
    lab.add(THEIRS, rtt_s=0.1)
    lab.add(ELSEWHERE, rtt_s=0.01)
    assert lab.paths.in_use == (THEIRS, MAIN_SOCKET)
    lab.time(THEIRS, 0.1, BETTER_RTT_SAMPLES)
    lab.time(ELSEWHERE, 0.01, BETTER_RTT_SAMPLES)
    assert lab.paths.in_use == (THEIRS, MAIN_SOCKET)


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


def test_a_suspected_path_is_replaced_by_any_that_answers_whatever_its_kind():
    lab = Lab(answers=False)
    lab.add(LAN, PathKind.LAN)
    lab.add(THEIRS)
    lab.answers = {THEIRS}
    lab.paths.probe(lab.now)
    lab.run(3.0)
    assert lab.paths.in_use == (THEIRS, MAIN_SOCKET)
    assert lab.paths.healthy


def test_a_standby_that_was_not_heard_lately_is_not_taken_into_use():
    """Its better round trip is one of hours ago; its NAT has closed since."""
    lab = Lab()
    lab.add(ELSEWHERE, rtt_s=0.040)
    lab.add(THEIRS, PathKind.LAN, rtt_s=0.100)
    lab.run(30.0)
    lab.take(PathChosen)
    lab.answers = set()
    lab.paths.probe(lab.now)
    lab.run(60.0)
    assert lab.take(PathChosen) == []
    assert len(lab.take(PathDown)) == 1


def test_a_standby_that_answers_when_the_path_in_use_is_suspected_takes_its_place():
    lab = Lab()
    lab.add(ELSEWHERE)
    lab.add(LAN, PathKind.LAN)
    lab.run(30.0)
    lab.answers = {ELSEWHERE}
    lab.paths.sent(lab.now, awaiting=True)
    lab.run(3.0)
    assert lab.paths.in_use == (ELSEWHERE, MAIN_SOCKET)


def test_a_path_that_was_asked_in_vain_gives_way_to_one_heard_since_after_two_round_trips():
    lab = Lab(answers=set())
    lab.add(LAN, PathKind.LAN, rtt_s=0.1)
    lab.paths.probe(lab.now)
    lab.run(0.1)
    lab.add(ELSEWHERE, rtt_s=0.1)
    assert lab.paths.in_use == (LAN, MAIN_SOCKET), "its answer may still be on its way"
    lab.run(0.11)
    lab.paths.heard(ELSEWHERE, MAIN_SOCKET, lab.now, is_data=False)
    lab.drain()
    assert lab.paths.in_use == (ELSEWHERE, MAIN_SOCKET)
    lab.take(PathChosen)
    lab.answers = {ELSEWHERE}
    lab.paths.probe(lab.now)
    lab.run(1.0)
    assert lab.take(PathChosen) == [], "and it does not come back before it has answered"


def test_the_sockets_of_standbys_are_needed_too():
    lab = Lab()
    lab.add(THEIRS)
    lab.paths.add(ELSEWHERE, SocketId(30000), PathKind.DIRECT, "re-roll", 0.05, lab.now)
    assert lab.paths.sockets == {MAIN_SOCKET, SocketId(30000)}


def test_one_standby_is_kept_warm_at_its_own_slow_pace():
    lab = Lab()
    lab.add(LAN, PathKind.LAN)
    lab.add(THEIRS)
    lab.add(ELSEWHERE)
    lab.run(600.0)
    checks = Counter(check.address for _, check in lab.sent)
    assert 600 / STANDBY_S * 0.9 <= checks[THEIRS] <= 600 / STANDBY_S * 1.15
    assert checks[ELSEWHERE] == 0, "one is enough"
    assert lab.paths.standby == (THEIRS, MAIN_SOCKET)


def test_a_standby_that_does_not_answer_is_dropped_with_its_socket_and_in_silence():
    lab = Lab()
    lab.add(THEIRS)
    lab.paths.add(ELSEWHERE, SocketId(30000), PathKind.DIRECT, "re-roll", 0.05, lab.now)
    lab.answers = {THEIRS}
    lab.events.clear()
    lab.run(STANDBY_S * 1.2 + 5.0)
    assert lab.paths.sockets == {MAIN_SOCKET}
    assert lab.paths.standby is None
    assert lab.events == []
    assert len([1 for _, check in lab.sent if check.address == ELSEWHERE]) == 3


def test_a_path_that_is_neither_in_use_nor_the_standby_is_forgotten_with_its_socket():
    lab = Lab()
    lab.add(THEIRS)
    lab.add(ELSEWHERE)
    third = ELSEWHERE._replace(port=52000)
    lab.paths.add(third, SocketId(30000), PathKind.HAIRPIN, "re-roll", 0.05, lab.now)
    assert SocketId(30000) in lab.paths.sockets
    lab.run(FORGET_AFTER_S + 2 * KEEPALIVE_S)
    assert lab.paths.sockets == {MAIN_SOCKET}


def test_a_warm_standby_takes_over_within_a_second_of_data_that_is_not_answered():
    lab = Lab()
    lab.add(LAN, PathKind.LAN)
    lab.add(ELSEWHERE)
    lab.run(600.0)
    lab.answers = {ELSEWHERE}
    lab.paths.sent(lab.now, awaiting=True)
    lab.run(1.0)
    assert lab.paths.in_use == (ELSEWHERE, MAIN_SOCKET)


def test_while_data_flows_silence_is_filled_with_checks_and_not_for_long_after():
    """Only the side whose NAT has forgotten its mapping can mend it, and it need not be the one
    that speaks."""
    lab = Lab()
    lab.add(THEIRS)
    lab.run(100.0)
    lab.sent.clear()
    lab.paths.heard(THEIRS, MAIN_SOCKET, lab.now, is_data=True)
    lab.run(BUSY_FOR_S)
    assert 0.8 * BUSY_FOR_S / BUSY_CHECK_S <= len(lab.sent) <= 1.1 * BUSY_FOR_S / BUSY_CHECK_S
    lab.run(2 * KEEPALIVE_S)
    lab.sent.clear()
    lab.run(10 * KEEPALIVE_S)
    assert 8 <= len(lab.sent) <= 12


def test_where_the_peers_data_comes_by_another_path_alone_we_follow():
    lab = Lab()
    lab.add(THEIRS)
    lab.add(ELSEWHERE)
    lab.run(60.0)
    lab.paths.heard(ELSEWHERE, MAIN_SOCKET, lab.now, is_data=False)
    assert lab.paths.in_use == (THEIRS, MAIN_SOCKET), "a check says only that it is there"
    lab.paths.heard(ELSEWHERE, MAIN_SOCKET, lab.now, is_data=True)
    assert lab.paths.in_use == (ELSEWHERE, MAIN_SOCKET)


def test_nobody_is_followed_to_a_path_of_a_worse_kind():
    lab = Lab()
    lab.add(LAN, PathKind.LAN)
    lab.add(ELSEWHERE)
    lab.run(60.0)
    lab.paths.heard(ELSEWHERE, MAIN_SOCKET, lab.now, is_data=True)
    assert lab.paths.in_use == (LAN, MAIN_SOCKET)


def test_whoever_has_moved_does_not_follow_for_a_while():
    lab = Lab()
    lab.add(THEIRS)
    lab.add(ELSEWHERE)
    lab.run(60.0)
    lab.paths.replace(ELSEWHERE, MAIN_SOCKET, lab.now)
    assert lab.paths.in_use == (ELSEWHERE, MAIN_SOCKET)
    lab.run(0.9)
    lab.paths.heard(THEIRS, MAIN_SOCKET, lab.now, is_data=True)
    assert lab.paths.in_use == (ELSEWHERE, MAIN_SOCKET)
    lab.run(MOVED_HOLD_OF_ONE_S)
    lab.paths.heard(THEIRS, MAIN_SOCKET, lab.now, is_data=True)
    assert lab.paths.in_use == (THEIRS, MAIN_SOCKET)


def test_a_path_that_was_replaced_is_not_the_standby_and_takes_over_only_when_all_else_fails():
    lab = Lab()
    lab.add(THEIRS)
    lab.add(ELSEWHERE)
    lab.paths.replace(ELSEWHERE, MAIN_SOCKET, lab.now)
    assert lab.paths.standby is None
    lab.run(60.0)
    assert lab.paths.in_use == (ELSEWHERE, MAIN_SOCKET)


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


def test_an_address_that_answers_puts_the_path_in_use_to_the_test():
    """A peer whose mapping was forgotten while nobody spoke is heard elsewhere first."""
    lab = Lab(answers={ELSEWHERE})
    lab.add(THEIRS)
    lab.run(2.0)
    lab.paths.heard(ELSEWHERE, MAIN_SOCKET, lab.now, is_data=False)
    lab.run(0.5)
    assert lab.paths.in_use == (ELSEWHERE, MAIN_SOCKET)


def test_paths_are_bounded():
    lab = Lab()
    for number in range(50):
        lab.add(THEIRS._replace(port=41000 + number))
    assert len(lab.paths._paths) <= MOST_PATHS + 1
    assert (THEIRS._replace(port=41000), MAIN_SOCKET) in lab.paths._paths, "the one in use stays"


def test_what_is_heard_from_elsewhere_is_checked_there_and_moves_nothing_by_itself():
    lab = Lab(answers=False)
    lab.add(THEIRS)
    lab.paths.heard(ELSEWHERE, MAIN_SOCKET, lab.now, is_data=False)
    lab.drain()
    assert [check.address for _, check in lab.sent] == [ELSEWHERE]
    lab.run(2.0)
    assert lab.paths.in_use == (THEIRS, MAIN_SOCKET)


def test_a_peer_roams_only_to_where_a_check_of_ours_was_answered():
    lab = Lab(answers=False)
    lab.add(THEIRS)
    lab.answers = {ELSEWHERE}
    lab.paths.probe(lab.now)
    lab.run(3.0)
    assert not lab.paths.healthy
    lab.paths.heard(ELSEWHERE, MAIN_SOCKET, lab.now, is_data=False)
    lab.drain()
    lab.run(0.1)
    assert lab.paths.in_use == (ELSEWHERE, MAIN_SOCKET)
    report = lab.paths.report
    assert report is not None
    assert report.technique == "roaming"


def test_datagrams_replayed_from_everywhere_make_few_checks_and_keep_little():
    lab = Lab(answers=False)
    lab.add(THEIRS)
    for number in range(500):
        address = Address("203.0.113.77", 2000 + number)
        lab.paths.heard(address, MAIN_SOCKET, lab.now + number * 0.001, is_data=False)
    lab.drain()
    assert len(lab.sent) <= 10 + 10, "what a stranger costs, in a second"
    assert len(lab.paths._roaming) <= 8


def test_nothing_heard_makes_a_path_where_there_is_none():
    lab = Lab()
    lab.paths.heard(THEIRS, MAIN_SOCKET, START, is_data=False)
    lab.drain()
    assert lab.paths.in_use is None
    assert lab.sent == []


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


class Lab:
    """Paths, the clock, and a peer who answers from some addresses, or from all."""

    def __init__(self, answers=True):
        ours, self.theirs = pair_of_secrets()
        self.now = START
        self.checks = Checks(b"abcd", Random(1))
        self.checks.use(ours)
        self.paths = Paths(self.checks, TargetBudget(), Random(2))
        self.answers = answers
        """True for every address, False for none, or the set of those that answer."""
        self.sent = []
        self.events = []
        self._on_the_way = []

    def add(self, address, kind=PathKind.DIRECT, rtt_s=0.05):
        self.paths.add(address, MAIN_SOCKET, kind, "simultaneous-open", rtt_s, self.now)
        self.drain()

    def hear(self, address, *, is_data=False):
        self.paths.heard(address, MAIN_SOCKET, self.now, is_data=is_data)
        self.drain()

    def time(self, address, rtt_s, count):
        """So many checks to there are answered after so long."""
        for _ in range(count):
            check = self.checks.request(address, MAIN_SOCKET, self.now - rtt_s)
            self.paths.check_answered(self.answered(check), PathKind.DIRECT, self.now)
        self.drain()

    def run(self, duration_s):
        until = self.now + duration_s
        self.drain()
        while True:
            timer = self.paths.get_timer()
            arrival = self._on_the_way[0][0] if self._on_the_way else None
            due = min((at for at in (timer, arrival) if at is not None), default=None)
            if due is None or due > until:
                break
            self.now = max(self.now, due)
            if arrival == due:
                answered = self.answered(self._on_the_way.pop(0)[1])
                if answered is not None:
                    self.paths.check_answered(answered, PathKind.DIRECT, self.now)
            else:
                self.paths.handle_timer(self.now)
            self.drain()
        self.now = until

    def drain(self):
        for check in self.paths.datagrams_to_send():
            self.sent.append((self.now, check))
            if self.answers is True or (self.answers and check.address in self.answers):
                self._on_the_way.append((self.now + 0.05, check))
        while (event := self.paths.next_event()) is not None:
            self.events.append((self.now, event))

    def answered(self, check):
        heard = read_check(stun.decode(check.data), check.data, self.theirs, THEIRS, MAIN_SOCKET)
        assert heard is not None
        data = heard.answer.data
        return self.checks.match(stun.decode(data), data, check.address, check.socket, self.now)

    def take(self, kind):
        taken = [event for _, event in self.events if isinstance(event, kind)]
        self.events = [(at, event) for at, event in self.events if not isinstance(event, kind)]
        return taken
