"""How long a path may be silent: what each lesson teaches, and what takes it back."""

import pytest

from natd.core.paths.keepalive import (
    AFTER_MISS_S,
    AGAIN_AFTER_S,
    BEGIN_AFTER_S,
    FIRST_SILENCE_S,
    KEEPALIVE_S,
    LESSON_SHARE,
    LONGEST_S,
    MISSES,
    Keepalive,
)

START = 1000.0


def test_the_first_lesson_is_over_before_the_path_has_stood_for_a_minute():
    keepalive = Keepalive(START)
    assert keepalive.wait_s == KEEPALIVE_S
    assert keepalive.begin_at == START + BEGIN_AFTER_S
    assert BEGIN_AFTER_S + FIRST_SILENCE_S < 60.0


def test_each_answer_lengthens_the_wait_to_its_share_of_the_silence_up_to_a_limit():
    keepalive = Keepalive(START)
    silences, waits = [], []
    while keepalive.silence_s is not None:
        silences.append(keepalive.silence_s)
        keepalive.answered()
        waits.append(keepalive.wait_s)
    assert silences == [28, 112, 170], "just under 30, 120 and more"
    assert waits == pytest.approx([min(LONGEST_S, LESSON_SHARE * silence) for silence in silences])
    assert keepalive.begin_at is None, "learned"


def test_a_nat_that_forgets_after_a_minute_is_learned_to_the_minute():
    keepalive = Keepalive(START)
    keepalive.answered()
    keepalive.missed(START + 200.0)
    assert keepalive.silence_s == 56
    assert keepalive.begin_at == START + 200.0 + AFTER_MISS_S, "what it costs is spread"
    keepalive.answered()
    assert keepalive.wait_s == pytest.approx(LESSON_SHARE * 56)
    assert keepalive.silence_s is None


def test_one_miss_may_be_a_lost_packet_and_two_end_the_lesson():
    keepalive = Keepalive(START)
    keepalive.answered()
    keepalive.missed(START)
    silence_s, wait_s = keepalive.silence_s, keepalive.wait_s
    for _ in range(MISSES - 1):
        keepalive.missed(START)
        assert keepalive.silence_s == silence_s
    keepalive.missed(START)
    assert keepalive.silence_s is None
    assert keepalive.begin_at is None
    assert keepalive.wait_s == wait_s


def test_an_answer_between_two_misses_forgives_the_first():
    keepalive = Keepalive(START)
    keepalive.missed(START)
    keepalive.answered()
    keepalive.missed(START)
    keepalive.missed(START)
    assert keepalive.silence_s is not None


def test_where_no_lesson_is_ever_answered_they_become_rare():
    """As behind a NAT that gives each destination another port: no spare flow can be opened."""
    keepalive = Keepalive(START)
    waits = []
    now = START
    for _ in range(12):
        keepalive.missed(now)
        assert keepalive.begin_at is not None
        waits.append(keepalive.begin_at - now)
        now = keepalive.begin_at
    assert waits[1::2] == [AGAIN_AFTER_S * 2**n for n in range(5)] + [14_400.0]
    assert keepalive.wait_s == KEEPALIVE_S


def test_a_mapping_that_was_gone_brings_back_the_first_wait_at_once_and_the_lesson_later():
    keepalive = Keepalive(START)
    while keepalive.silence_s is not None:
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
