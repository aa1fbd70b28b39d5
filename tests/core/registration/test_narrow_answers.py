"""When a path counts as narrow: by the second smaller request that is answered, not by the first.

A server that has just come back answers what reaches it first, and that may be a smaller one.
"""

from random import Random

from natd.core.base.timers import WallClock
from natd.core.base.types import Address, NetworkId
from natd.core.codec import rendezvous_codec
from natd.core.codec.rendezvous import (
    PADDED_BYTES,
    REGISTER_MINIMUM_BYTES,
    Challenge,
    ChallengeReason,
)
from natd.core.keys.card import Identity
from natd.core.keys.membership_key import MembershipKey
from natd.core.registration.transactions import FULL_SIZE_TRIES, Transactions

SERVER = Address("198.51.100.1", 8080)
FULL, SMALL = PADDED_BYTES, REGISTER_MINIMUM_BYTES


class Asker:
    """Sends one REGISTER after another."""

    def __init__(self) -> None:
        network = NetworkId(b"network-of-tests")
        membership, identity = MembershipKey(network), Identity(bytes(32))
        self.requests = Transactions(membership, identity, SERVER, b"ours", Random(1), WallClock())
        self._now = 1000.0

    def ask(self, *answered: int) -> int:
        """The size of the next one, which is answered if it has one of these."""
        self._now += 1.0
        (datagram,) = self.requests.register(b"card" * 60, 1, b"", (), (), self._now)
        size = len(datagram.data)
        if size in answered:
            register = rendezvous_codec.decode(datagram.data)
            challenge = Challenge(register.transaction, ChallengeReason.FIRST, bytes(16))
            assert self.requests.answered_by(challenge, SERVER, self._now) is not None
        return size


def after_silence() -> Asker:
    """None of full size was answered, and the next one is smaller."""
    asker = Asker()
    assert [asker.ask() for _ in range(FULL_SIZE_TRIES)] == [FULL] * FULL_SIZE_TRIES
    return asker


def test_one_smaller_answer_does_not_make_a_path_narrow() -> None:
    asker = after_silence()
    assert asker.ask(SMALL) == SMALL
    assert not asker.requests.is_narrow
    assert asker.ask(SMALL) == FULL, "which has to be lost, too"
    assert not asker.requests.is_narrow
    assert asker.ask(SMALL) == SMALL
    assert asker.requests.is_narrow
    assert [asker.ask() for _ in range(3)] == [SMALL] * 3


def test_an_answer_to_one_of_full_size_takes_the_smaller_one_back() -> None:
    asker = after_silence()
    asker.ask(SMALL)
    assert asker.ask(FULL) == FULL
    while asker.ask() == FULL:  # silent again
        pass
    assert asker.ask(SMALL) == FULL
    assert asker.ask(SMALL) == SMALL
    assert not asker.requests.is_narrow, "which was the first one since"


def test_another_network_takes_the_smaller_one_back() -> None:
    asker = after_silence()
    asker.ask(SMALL)
    asker.requests.network_changed()
    for _ in range(FULL_SIZE_TRIES):
        assert asker.ask(SMALL) == FULL
    assert asker.ask(SMALL) == SMALL
    assert not asker.requests.is_narrow


def test_a_narrow_path_that_answers_one_of_full_size_is_narrow_no_more() -> None:
    asker = after_silence()
    for size in (SMALL, FULL, SMALL):
        assert asker.ask(SMALL) == size
    assert asker.requests.is_narrow
    lease = bytes(8)
    refreshes = asker.requests.refresh(lease, 2000.0)
    assert [len(refresh.data) for refresh in refreshes][1:] == [FULL]
    message = rendezvous_codec.decode(refreshes[1].data)
    challenge = Challenge(message.transaction, ChallengeReason.UNKNOWN, bytes(16))
    assert asker.requests.answered_by(challenge, SERVER, 2000.1) is not None
    assert not asker.requests.is_narrow
    assert asker.ask() == FULL
