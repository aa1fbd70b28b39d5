"""What a check may ask for besides its answer, and how little that can be abused."""

from random import Random

import pytest

from natd.core.base.types import MAIN_SOCKET, Address, SocketId
from natd.core.checks.checks import (
    ANSWER_AFTER,
    LOW_TTL,
    OPEN_TO,
    Checks,
    read_check,
    two_bytes,
)
from natd.core.codec import stun
from natd.core.paths.requests_of_peer import (
    GRANTS_BURST,
    GRANTS_RATE,
    LONGEST_LATER_S,
    MOST_LATER,
    OPENERS_BURST,
    RequestsOfPeer,
)
from tests.core.world.lossy_link import pair_of_secrets

START = 1000.0
ASKER = Address("198.51.100.7", 40001)
HELPER = SocketId(30000)


def test_an_answer_is_given_as_late_as_it_is_asked_for_from_the_socket_that_was_asked():
    lab = Lab()
    lab.receive((ANSWER_AFTER, two_bytes(28)), socket=HELPER)
    assert lab.sent() == []
    assert lab.requests.sockets == {HELPER}
    assert lab.requests.due_at == START + 28
    lab.due(START + 27.9)
    assert lab.sent() == []
    lab.due(START + 28)
    [late] = lab.sent()
    assert (late.address, late.socket) == (ASKER, HELPER)
    lab.due(START + 100)
    assert lab.sent() == []
    assert lab.requests.sockets == frozenset()


def test_few_answers_wait_and_none_for_longer_than_any_lesson():
    lab = Lab()
    lab.receive((ANSWER_AFTER, two_bytes(LONGEST_LATER_S + 1)))
    for _ in range(100):
        lab.receive((ANSWER_AFTER, two_bytes(10)))
    lab.due(START + 1e6)
    assert len(lab.sent()) == MOST_LATER


def test_an_opener_goes_to_the_askers_host_alone_and_dies_on_the_way():
    lab = Lab()
    lab.open((OPEN_TO, two_bytes(51000)))
    [opener] = lab.sent()
    assert opener.address == ASKER._replace(port=51000)
    assert opener.ttl == LOW_TTL


@pytest.mark.parametrize("value", [two_bytes(53), b"", b"\x01", bytes(3)])
def test_no_opener_goes_to_a_service_or_to_no_port(value):
    lab = Lab()
    lab.open((OPEN_TO, value))
    assert lab.sent() == []


def test_whatever_is_asked_for_is_no_larger_than_what_asks():
    lab = Lab()
    asked = lab.open((OPEN_TO, two_bytes(51000)))
    [opener] = lab.sent()
    assert len(opener.data) <= len(asked)


def test_guesses_are_granted_and_not_without_end():
    lab = Lab()
    granted = [lab.requests.grants_guesses(START + second) for second in range(600)]
    assert granted[0]
    assert sum(granted) <= GRANTS_BURST + 600 * GRANTS_RATE


def test_nothing_is_owed_to_a_peer_that_has_left():
    lab = Lab()
    lab.receive((ANSWER_AFTER, two_bytes(10)))
    lab.requests.drop()
    lab.due(START + 10)
    assert lab.sent() == []


def test_many_openers_asked_for_at_once_open_few_ports_of_our_nat():
    lab = Lab()
    for port in range(1024, 5024):
        lab.open((OPEN_TO, two_bytes(port)))
    assert len(lab.sent()) == OPENERS_BURST


class Lab:
    """The requests that one end grants, and checks of the other."""

    def __init__(self):
        ours, theirs = pair_of_secrets()
        self.ours = ours
        self.theirs = Checks(b"abcd", Random(1))
        self.theirs.use(theirs)
        checks = Checks(b"efgh", Random(2))
        checks.use(ours)
        self.requests = RequestsOfPeer(checks)
        self._sent = []

    def check(self, asks=None, socket=MAIN_SOCKET):
        data = self.theirs.request(ASKER, MAIN_SOCKET, START, asks=asks).data
        check = read_check(stun.decode(data), data, self.ours, ASKER, socket)
        assert check is not None
        return check, data

    def receive(self, asks=None, socket=MAIN_SOCKET):
        """A check of the other end comes that wants its answer later."""
        check, _ = self.check(asks, socket)
        self.requests.answer_later(check, START)

    def open(self, asks):
        check, data = self.check(asks)
        self._sent += self.requests.open(check, START)
        return data

    def due(self, at):
        self._sent += self.requests.take_due(at)

    def sent(self):
        sent, self._sent = self._sent, []
        return sent
