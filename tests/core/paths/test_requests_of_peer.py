"""What a check may ask for besides its answer, and how little that can be abused."""

from random import Random

import pytest

from natd.core.base.types import MAIN_SOCKET, Address, SocketId
from natd.core.checks.checks import ANSWER_AFTER, GUESS_US, LOW_TTL, OPEN_TO, Checks, answer
from natd.core.codec import stun
from natd.core.paths.requests_of_peer import (
    GUESSES_BURST,
    GUESSES_RATE,
    LONGEST_LATER_S,
    MOST_LATER,
    OPENERS_BURST,
    Favours,
    seconds,
)
from tests.core.world.lossy_link import pair_of_secrets

START = 1000.0
ASKER = Address("198.51.100.7", 40001)
HELPER = SocketId(30000)


def test_a_plain_check_is_answered_at_once_and_shows_a_path():
    lab = Lab()
    assert lab.receive()
    assert [datagram.address for datagram in lab.sent()] == [ASKER]
    assert lab.favours.get_timer() is None


def test_an_answer_is_given_as_late_as_it_is_asked_for_from_the_socket_that_was_asked():
    lab = Lab()
    assert not lab.receive((ANSWER_AFTER, seconds(28)), socket=HELPER)
    assert lab.sent() == []
    assert lab.favours.sockets == {HELPER}
    assert lab.favours.get_timer() == START + 28
    lab.favours.handle_timer(START + 27.9)
    assert lab.sent() == []
    lab.favours.handle_timer(START + 28)
    [late] = lab.sent()
    assert (late.address, late.socket) == (ASKER, HELPER)
    lab.favours.handle_timer(START + 100)
    assert lab.sent() == []
    assert lab.favours.sockets == frozenset()


def test_a_check_that_wants_nothing_but_an_answer_gets_it_at_once_and_shows_no_path():
    lab = Lab()
    assert not lab.receive((ANSWER_AFTER, seconds(0)))
    assert len(lab.sent()) == 1


def test_few_answers_wait_and_none_for_longer_than_any_lesson():
    lab = Lab()
    lab.receive((ANSWER_AFTER, seconds(LONGEST_LATER_S + 1)))
    for _ in range(100):
        lab.receive((ANSWER_AFTER, seconds(10)))
    lab.favours.handle_timer(START + 1e6)
    assert len(lab.sent()) == MOST_LATER


def test_an_opener_goes_to_the_askers_host_alone_and_dies_on_the_way():
    lab = Lab()
    lab.open((OPEN_TO, seconds(51000)))
    [opener] = lab.sent()
    assert opener.address == ASKER._replace(port=51000)
    assert opener.ttl == LOW_TTL


@pytest.mark.parametrize("value", [seconds(53), b"", b"\x01", bytes(3)])
def test_no_opener_goes_to_a_service_or_to_no_port(value):
    lab = Lab()
    lab.open((OPEN_TO, value))
    assert lab.sent() == []


def test_whatever_is_asked_for_is_no_larger_than_what_asks():
    lab = Lab()
    asked = lab.check((OPEN_TO, seconds(51000)))
    lab.favours.open(stun.decode(asked), (ASKER, MAIN_SOCKET), START)
    [opener] = lab.sent()
    assert len(opener.data) <= len(asked)


def test_guesses_are_granted_to_whoever_asks_for_them_and_not_without_end():
    lab = Lab()
    plain = stun.decode(lab.check((ANSWER_AFTER, seconds(1))))
    assert not lab.favours.grants_guesses(plain, START)
    asking = stun.decode(lab.check((GUESS_US, b"")))
    granted = [lab.favours.grants_guesses(asking, START + second) for second in range(600)]
    assert granted[0]
    assert sum(granted) <= GUESSES_BURST + 600 * GUESSES_RATE


def test_nothing_is_owed_to_a_peer_that_has_left():
    lab = Lab()
    lab.receive((ANSWER_AFTER, seconds(10)))
    lab.favours.clear()
    lab.favours.handle_timer(START + 10)
    assert lab.sent() == []


class Lab:
    """The favours of one end, and checks of the other."""

    def __init__(self):
        ours, theirs = pair_of_secrets()
        self.ours = ours
        self.theirs = Checks(b"abcd", Random(1))
        self.theirs.use(theirs)
        checks = Checks(b"efgh", Random(2))
        checks.use(ours)
        self.favours = Favours(checks)

    def check(self, asks=None):
        return self.theirs.request(ASKER, MAIN_SOCKET, START, asks=asks).data

    def receive(self, asks=None, socket=MAIN_SOCKET):
        data = self.check(asks)
        message = stun.decode(data)
        response = answer(message, data, self.ours, ASKER, socket)
        assert response is not None
        return self.favours.answer(message, response, START)

    def open(self, asks):
        self.favours.open(stun.decode(self.check(asks)), (ASKER, MAIN_SOCKET), START)

    def sent(self):
        return self.favours.datagrams_to_send()


def test_many_openers_asked_for_at_once_open_few_ports_of_our_nat():
    lab = Lab()
    for port in range(1024, 5024):
        lab.open((OPEN_TO, seconds(port)))
    assert len(lab.sent()) == OPENERS_BURST
