"""What was tried to reach a peer, in a list that does not grow without end."""

from natd.core.base.types import SocketId
from natd.core.peer.attempt_log import DETAIL_CHARACTERS, HEAD, MOST_GROWING, TAIL, AttemptLog, Step

BEGAN = 1000.0


def test_steps_are_told_in_order_with_the_time_since_the_first():
    log = AttemptLog()
    log.note(Step.INTRODUCED, "by a server", BEGAN)
    log.note(Step.PATH, "direct", BEGAN + 0.25)
    assert [(entry.step, entry.at_s) for entry in log.entries] == [
        (Step.INTRODUCED, 0.0),
        (Step.PATH, 0.25),
    ]
    assert log.missing == 0


def test_what_is_sent_in_a_row_is_one_step_with_a_count_even_if_two_rows_alternate():
    log = AttemptLog()
    for number in range(10):
        log.note(Step.CHECKS, "lan", BEGAN + number)
        log.note(Step.CHECKS, "public", BEGAN + number)
    assert [(e.detail, e.count, e.at_s, e.last_at_s) for e in log.entries] == [
        ("lan", 10, 0.0, 9.0),
        ("public", 10, 0.0, 9.0),
    ]


def test_a_row_of_guesses_tells_from_how_many_sockets():
    log = AttemptLog()
    for number in range(10):
        log.note(Step.GUESSES, "birthday", BEGAN, SocketId(number % 4))
    assert [(entry.count, entry.sockets) for entry in log.entries] == [(10, 4)]


def test_a_row_ends_with_the_next_step_of_another_kind():
    log = AttemptLog()
    log.note(Step.CHECKS, "lan", BEGAN)
    log.note(Step.INTRODUCED, "again", BEGAN + 1.0)
    log.note(Step.CHECKS, "lan", BEGAN + 1.0)
    assert [entry.step for entry in log.entries] == [Step.CHECKS, Step.INTRODUCED, Step.CHECKS]


def test_of_an_attempt_without_end_the_beginning_and_the_end_are_kept():
    log = AttemptLog()
    for number in range(1000):
        log.note(Step.INTRODUCED, str(number), BEGAN + number)
    details = [int(entry.detail) for entry in log.entries]
    assert details == [*range(HEAD), *range(1000 - TAIL, 1000)]
    assert log.missing == 1000 - HEAD - TAIL


def test_no_step_is_longer_than_promised():
    log = AttemptLog()
    log.note(Step.INTRODUCED, "x" * 10_000, BEGAN)
    assert len(log.entries[0].detail) == DETAIL_CHARACTERS


def test_the_next_attempt_begins_an_empty_list():
    log = AttemptLog()
    log.note(Step.PATH, "direct", BEGAN)
    log.begin(BEGAN + 100.0)
    log.note(Step.INTRODUCED, "by a server", BEGAN + 101.0)
    assert [(entry.step, entry.at_s) for entry in log.entries] == [(Step.INTRODUCED, 1.0)]
    assert log.began == BEGAN + 100.0


def test_a_peer_heard_from_ever_new_addresses_makes_no_longer_list_of_what_may_grow():
    log = AttemptLog()
    for number in range(5 * MOST_GROWING):
        log.note(Step.HEARD, f"a check of the peer's from 203.0.113.9:{1024 + number}", number)
    assert len(log._open) <= MOST_GROWING
