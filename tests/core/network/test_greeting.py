"""Cards sent straight to their reader."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from natd.core.base.types import Address, DecodeError, PeerId
from natd.core.network.greeting import (
    GREET_AFTER_S,
    OPENED_BURST,
    OPENED_RATE,
    PADDED_GREETING_BYTES,
    STRANGERS_BURST,
    STRANGERS_RATE,
    Greeting,
    GreetingSchedule,
    decode_greeting,
    encode_greeting,
    network_tag,
)
from tests.core.world.timers import timer_of

START = 1000.0
THERE = Address("198.51.100.7", 40000)
PEER = PeerId(b"p" * 32)


def test_the_bytes_of_a_greeting_are_these():
    answer = encode_greeting(Greeting(b"tagg", b"card", wants_answer=False))
    assert answer.hex() == "060100" + b"tagg".hex() + "0004" + b"card".hex()
    question = encode_greeting(Greeting(b"tagg", b"card", wants_answer=True))
    assert question.hex() == ("060101" + b"tagg".hex() + "0004" + b"card".hex()).ljust(
        2 * PADDED_GREETING_BYTES, "0"
    )


@given(st.binary(max_size=896), st.booleans())
def test_what_is_encoded_is_decoded(card, wants_answer):
    greeting = Greeting(b"tagg", card, wants_answer)
    assert decode_greeting(encode_greeting(greeting)) == greeting


@given(st.binary(max_size=1100) | st.binary(max_size=1100).map(lambda rest: b"\x06\x01\x00" + rest))
def test_any_bytes_give_a_greeting_or_a_decode_error(data):
    try:
        greeting = decode_greeting(data)
    except DecodeError:
        return
    assert encode_greeting(greeting) == data


@pytest.mark.parametrize("wants_answer", [True, False])
def test_every_truncation_and_extension_is_refused(wants_answer):
    data = encode_greeting(Greeting(b"tagg", b"card", wants_answer))
    for size in range(len(data)):
        with pytest.raises(DecodeError):
            decode_greeting(data[:size])
    with pytest.raises(DecodeError):
        decode_greeting(data + b"\x00")


def test_an_answer_is_never_longer_than_its_question():
    largest = encode_greeting(Greeting(b"tagg", b"c" * 896, wants_answer=False))
    smallest = encode_greeting(Greeting(b"tagg", b"c", wants_answer=True))
    assert len(largest) <= len(smallest)


def test_the_network_tag_differs_from_network_to_network():
    assert network_tag(b"a" * 32) != network_tag(b"b" * 32)


def test_an_absent_peer_is_greeted_less_and_less_until_it_is_met():
    greetings = GreetingSchedule(Random(1))
    greetings.expect(PEER, (THERE,), START)
    assert greetings.due(START) == []
    instants, now = [], START
    while now < START + 600.0:
        now = timer_of(greetings)
        assert greetings.due(now) == [THERE]
        instants.append(now - START)
    assert instants[0] == pytest.approx(GREET_AFTER_S)
    assert sum(instant <= 5.0 for instant in instants) >= 4
    assert len(instants) <= 20
    greetings.met(PEER)
    assert greetings.get_timer() is None


def test_the_ports_of_a_host_take_turns_and_hosts_are_greeted_side_by_side():
    greetings = GreetingSchedule(Random(1))
    port, host = THERE._replace(port=50000), Address("203.0.113.9", 40000)
    greetings.expect(PEER, (THERE, port, host), START)
    rounds = []
    for _ in range(4):
        rounds.append(greetings.due(timer_of(greetings)))
    assert rounds == [[THERE, host], [port, host], [THERE, host], [port, host]]


def test_however_many_greetings_come_only_so_many_cards_are_opened_and_strangers_met():
    greetings = GreetingSchedule(Random(1))
    for may, rate, burst in (
        (greetings.may_open, OPENED_RATE, OPENED_BURST),
        (greetings.may_meet, STRANGERS_RATE, STRANGERS_BURST),
    ):
        taken = sum(
            may(f"10.0.0.{number % 200}", START + number / 20_000) for number in range(200_000)
        )
        assert taken <= burst + 10.0 * rate
        assert may("10.0.0.1", START + 11.0), "and afterwards again"
