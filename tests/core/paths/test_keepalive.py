"""How long a path may be silent: what each lesson teaches, and what takes it back."""

import pytest

from natd.core.paths.keepalive import (
    AGAIN_AFTER_S,
    BEGIN_AFTER_S,
    KEEPALIVE_S,
    LESSON_SHARE,
    LESSON_SILENCES_S,
    LONGEST_S,
    MISSES,
    Keepalive,
)

START = 1000.0


def test_nothing_is_learned_before_the_path_has_stood_for_a_minute():
    keepalive = Keepalive(START)
    assert keepalive.wait_s == KEEPALIVE_S
    assert keepalive.begin_at == START + BEGIN_AFTER_S


def test_each_answer_lengthens_the_wait_to_its_share_of_the_silence_up_to_a_limit():
    keepalive = Keepalive(START)
    waits = []
    while keepalive.silence_s is not None:
        keepalive.answered()
        waits.append(keepalive.wait_s)
    assert waits == pytest.approx(
        [min(LONGEST_S, LESSON_SHARE * silence) for silence in LESSON_SILENCES_S]
    )
    assert keepalive.begin_at is None, "learned"


def test_one_miss_may_be_a_lost_packet_and_two_end_the_lesson():
    keepalive = Keepalive(START)
    keepalive.answered()
    silence_s, wait_s = keepalive.silence_s, keepalive.wait_s
    for _ in range(MISSES - 1):
        keepalive.missed()
        assert keepalive.silence_s == silence_s
    keepalive.missed()
    assert keepalive.silence_s is None
    assert keepalive.wait_s == wait_s


def test_an_answer_between_two_misses_forgives_the_first():
    keepalive = Keepalive(START)
    keepalive.missed()
    keepalive.answered()
    keepalive.missed()
    assert keepalive.silence_s is not None


def test_a_mapping_that_was_gone_brings_back_the_first_wait_at_once_and_the_lesson_later():
    keepalive = Keepalive(START)
    for _ in LESSON_SILENCES_S:
        keepalive.answered()
    keepalive.gone(START + 5000.0, is_certain=True)
    assert keepalive.wait_s == KEEPALIVE_S
    assert keepalive.begin_at == START + 5000.0 + AGAIN_AFTER_S
    keepalive.answered()
    keepalive.gone(START + 7000.0, is_certain=True)
    assert keepalive.begin_at == START + 7000.0 + 2 * AGAIN_AFTER_S, "and later each time"


def test_where_nothing_was_learned_nothing_is_taken_back():
    keepalive = Keepalive(START)
    keepalive.gone(START, is_certain=True)
    assert keepalive.begin_at == START + BEGIN_AFTER_S


def test_where_the_peer_may_just_have_gone_away_the_lesson_is_not_put_off_for_long():
    keepalive = Keepalive(START)
    for absence in range(10):
        keepalive.answered()
        keepalive.gone(START + absence, is_certain=False)
        assert keepalive.wait_s == KEEPALIVE_S
        assert keepalive.begin_at == START + absence + BEGIN_AFTER_S
