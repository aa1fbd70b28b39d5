"""Which of several paths is used: kinds, standbys, following the peer, roaming."""

from collections import Counter

import pytest

from natd.core.base.types import MAIN_SOCKET, Address, PathKind, SocketId
from natd.core.paths.events import (
    PathChosen,
    PathDown,
)
from natd.core.paths.keepalive import KEEPALIVE_S
from natd.core.paths.path import (
    BETTER_RTT_AFTER_S,
    BETTER_RTT_SAMPLES,
    FORGET_AFTER_S,
    MOST_PATHS,
    MOVED_HOLD_OF_ONE_S,
    STANDBY_S,
)
from tests.core.world.paths_lab import ELSEWHERE, LAN, START, THEIRS, Lab


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


def test_a_side_that_has_moved_does_not_follow_for_a_while():
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
