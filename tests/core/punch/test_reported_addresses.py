"""Who lies about where a peer is adds a place to look at, and takes none away."""

from itertools import pairwise

import pytest

from natd.core.base.types import Address, PeerId
from natd.core.paths.events import PathChosen
from natd.core.punch.remote_candidates import (
    MOST_REPORTED,
    MOST_SOURCES,
    REPORT_KEPT_S,
    ReportedAddresses,
)
from tests.core.world.reach_lab import Lab

START = 1000.0
SERVER, OTHER_SERVER = Address("203.0.113.1", 8080), Address("203.0.113.2", 8080)
CAROL, DAVE = PeerId(b"c" * 32), PeerId(b"d" * 32)
THERE, ELSEWHERE, NOWHERE = (Address(f"198.51.100.{n}", 40001) for n in (7, 8, 9))


def test_the_word_of_one_takes_nothing_from_that_of_another():
    reported = ReportedAddresses()
    reported.tell(CAROL, (THERE,), START)
    for number in range(100):
        reported.tell(DAVE, (ELSEWHERE, NOWHERE), START + number)
    assert set(reported.in_turn()) == {THERE, ELSEWHERE, NOWHERE}
    assert reported.in_turn().index(THERE) == 1


def test_a_server_leads_before_a_mutual_peer_and_the_fresher_one_before_the_other():
    reported = ReportedAddresses()
    reported.tell(SERVER, (THERE,), START)
    reported.tell(DAVE, (NOWHERE,), START + 1.0)
    assert reported.seen == (THERE,)
    reported.tell(OTHER_SERVER, (ELSEWHERE,), START + 2.0)
    assert reported.seen == (ELSEWHERE,)
    assert reported.in_turn() == (ELSEWHERE, THERE, NOWHERE)
    reported.tell(None, (NOWHERE,), START + 3.0)
    assert reported.seen == (NOWHERE,)


def test_a_word_is_forgotten_when_it_is_old_and_there_is_another():
    reported = ReportedAddresses()
    reported.tell(CAROL, (THERE,), START)
    assert reported.seen == (THERE,)
    reported.tell(DAVE, (NOWHERE,), START + REPORT_KEPT_S)
    assert reported.in_turn() == (NOWHERE,)


def test_of_many_words_each_comes_second_in_some_attempt():
    reported = ReportedAddresses()
    for number in range(8):
        reported.tell(PeerId(bytes([number]) * 32), (Address(f"198.51.100.{number}", 4000),), START)
    seconds = set()
    for _ in range(7):
        reported.take_turns()
        seconds.add(reported.in_turn()[1])
    assert seconds == {Address(f"198.51.100.{number}", 4000) for number in range(7)}


def test_however_many_speak_little_is_kept_and_no_server_is_forgotten():
    reported = ReportedAddresses()
    reported.tell(SERVER, (THERE,), START)
    for number in range(1000):
        many = tuple(Address("198.51.100.9", 2000 + port) for port in range(100))
        reported.tell(PeerId(number.to_bytes(32, "big")), many, START)
    assert reported.seen == (THERE,)
    assert len(reported.in_turn()) <= MOST_SOURCES * MOST_REPORTED


@pytest.mark.parametrize("start_in_s", [0.0, 0.5])
def test_who_lies_all_the_time_does_not_keep_us_from_a_peer_that_an_honest_one_has_named(
    start_in_s,
):
    """Neither by naming other places nor by asking us to wait, again and again."""
    lab = Lab(answers=set())
    lab.reach.introduced((THERE,), 0.0, lab.now, CAROL)
    for step in range(100):
        if step == 20:
            lab.answers = {THERE}
        for liar in (DAVE, SERVER, PeerId(b"e" * 32), PeerId(b"f" * 32)):
            lab.reach.introduced((ELSEWHERE, NOWHERE), start_in_s, lab.now, liar)
        lab.run(0.25)
    assert [up.path.address for up in lab.take(PathChosen)] == [THERE]


def test_what_was_said_before_does_not_bring_a_hold_of_its_own():
    lab = Lab(answers=set())
    for _ in range(8):
        lab.reach.introduced((THERE,), 0.5, lab.now, DAVE)
        lab.run(0.45)
    full = [at for at, datagram in lab.sent if datagram.ttl is None]
    assert full[0] == pytest.approx(START + 0.5)
    assert max(later - at for at, later in pairwise(full)) < 1.0


def test_a_peer_that_is_seen_elsewhere_than_before_lives_and_no_other_need():
    reported = ReportedAddresses()
    assert not reported.tell(SERVER, (THERE,), START)
    assert not reported.tell(SERVER, (THERE,), START + 1.0)
    assert not reported.tell(OTHER_SERVER, (ELSEWHERE,), START + 2.0)
    assert reported.tell(SERVER, (NOWHERE, THERE), START + 3.0)
    assert not reported.tell(SERVER, (NOWHERE, THERE), START + 4.0)


def test_what_a_server_has_learned_while_there_was_a_path_is_no_sign_of_life():
    reported = ReportedAddresses()
    reported.tell(SERVER, (THERE,), START)
    reported.reached()
    assert not reported.tell(SERVER, (ELSEWHERE,), START + 60.0)
    assert reported.seen == (ELSEWHERE,)
    assert reported.tell(SERVER, (NOWHERE,), START + 61.0)
