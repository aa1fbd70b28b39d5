"""The words of two peers for further waves: each good once, soon, and for one host."""

from dataclasses import replace
from random import Random

import pytest

from natd.core.base.types import NetworkId
from natd.core.base.wishes import Ask, Word
from natd.core.keys.card import Identity
from natd.core.punch.words_of_pair import (
    ASK_WORD_AGAIN_S,
    GIVEN_BURST,
    GIVEN_RATE,
    WORD_LIFE_S,
    WordsOfPair,
)

NOW = 1000.0
NETWORK, OTHER_NETWORK = NetworkId(b"network-of-tests"), NetworkId(b"another-of-tests")
ALICE, BOB, CAROL = (Identity(bytes([number]) * 32) for number in (1, 2, 3))
HOST, ELSEWHERE = "198.51.100.7", "203.0.113.9"


def words(ours: Identity, theirs: Identity, network: NetworkId = NETWORK) -> WordsOfPair:
    return WordsOfPair(ours, network, theirs.peer, Random(1), is_open=True)


def asked(alice: WordsOfPair, host: str = HOST, now: float = NOW) -> Ask:
    ask = alice.ask_for(host, now)
    assert ask is not None
    return ask


def answered(bob: WordsOfPair, ask: Ask, host: str = HOST, now: float = NOW) -> Word:
    word = bob.answer(ask, host, now)
    assert word is not None
    return word


def test_a_word_pays_for_the_host_that_was_asked_for_and_once() -> None:
    alice, bob = words(ALICE, BOB), words(BOB, ALICE)
    word = answered(bob, asked(alice))
    assert alice.take(word, NOW + 0.1) == HOST
    assert alice.take(word, NOW + 0.2) is None


def test_a_word_for_another_host_pays_for_none() -> None:
    """A server that says where the peer is can't have a third party guessed at."""
    alice, bob = words(ALICE, BOB), words(BOB, ALICE)
    ask = asked(alice)
    assert alice.take(answered(bob, ask, ELSEWHERE), NOW) is None
    assert alice.take(answered(bob, ask), NOW) == HOST, "and the right one still counts"


@pytest.mark.parametrize(
    "stranger",
    [words(CAROL, ALICE), words(BOB, CAROL), words(BOB, ALICE, OTHER_NETWORK)],
    ids=["another's", "to another", "in another network"],
)
def test_a_word_that_is_not_of_this_pair_pays_for_none(stranger: WordsOfPair) -> None:
    alice = words(ALICE, BOB)
    assert alice.take(answered(stranger, asked(alice)), NOW) is None


def test_a_word_that_was_changed_pays_for_none() -> None:
    alice, bob = words(ALICE, BOB), words(BOB, ALICE)
    ask = asked(alice)
    word = answered(bob, ask)
    for changed in (
        replace(word, wave=word.wave + 1),
        replace(word, nonce=bytes(len(word.nonce))),
        replace(word, signature=bytes(64)),
        answered(bob, replace(ask, wave=ask.wave + 1)),
        answered(bob, replace(ask, nonce=bytes(len(ask.nonce)))),
    ):
        assert alice.take(changed, NOW) is None


def test_a_word_for_another_ask_can_not_be_relabelled() -> None:
    alice, bob = words(ALICE, BOB), words(BOB, ALICE)
    ask = asked(alice)
    other_wave = answered(bob, replace(ask, wave=ask.wave + 1))
    assert alice.take(replace(other_wave, wave=ask.wave), NOW) is None
    other_nonce = answered(bob, replace(ask, nonce=bytes(len(ask.nonce))))
    assert alice.take(replace(other_nonce, nonce=ask.nonce), NOW) is None


def test_a_word_is_waited_for_so_long_and_no_longer() -> None:
    for late_s, host in ((WORD_LIFE_S, HOST), (WORD_LIFE_S + 0.1, None)):
        alice, bob = words(ALICE, BOB), words(BOB, ALICE)
        word = answered(bob, asked(alice))
        assert alice.take(word, NOW + late_s) == host


def test_nothing_is_taken_that_was_not_asked_for() -> None:
    word = answered(words(BOB, ALICE), asked(words(ALICE, BOB)))
    assert words(ALICE, BOB).take(word, NOW) is None


def test_a_later_ask_is_another_wave_and_the_earlier_word_is_void() -> None:
    alice, bob = words(ALICE, BOB), words(BOB, ALICE)
    first = asked(alice)
    assert alice.ask_for(HOST, NOW + ASK_WORD_AGAIN_S - 0.1) is None
    second = asked(alice, now=NOW + ASK_WORD_AGAIN_S)
    assert second.wave == first.wave + 1
    assert second.nonce != first.nonce
    assert alice.take(answered(bob, first), NOW + ASK_WORD_AGAIN_S) is None


def test_who_asks_too_often_gets_no_more_words() -> None:
    alice, bob = words(ALICE, BOB), words(BOB, ALICE)
    ask = asked(alice)
    given = [bob.answer(ask, HOST, NOW) is not None for _ in range(int(GIVEN_BURST) + 2)]
    assert given == [True] * int(GIVEN_BURST) + [False, False]
    assert bob.answer(ask, HOST, NOW + 1.0 / GIVEN_RATE) is not None
