"""What shows that a peer is there, so that more may be guessed at than at one that has vanished."""

from random import Random

import pytest

from natd.core.base.surroundings import Surroundings
from natd.core.base.types import MAIN_SOCKET, Address, Allocation, Mapping, NatReport
from natd.core.checks.budget import TargetBudget
from natd.core.checks.checks import Checks
from natd.core.punch.search import Search
from tests.core.world.lossy_link import pair_of_secrets

START = 1000.0
SERVER = Address("203.0.113.1", 8080)
THERE, ELSEWHERE = Address("198.51.100.7", 40001), Address("198.51.100.7", 40002)
EASY = NatReport(Mapping.INDEPENDENT, allocation=Allocation.PRESERVING, confidence=0.95)
RANDOM = NatReport(Mapping.DEPENDENT, allocation=Allocation.RANDOM)


def _lost(budget):
    """A search for a peer that was reached and has fallen silent, when all that may be guessed of
    such ones is spent."""
    secrets, _ = pair_of_secrets()
    checks = Checks(b"abcd", Random(1))
    checks.use(secrets)
    search = Search(checks, budget, b"abcd", Random(2))
    search.prove({THERE.host}, START)
    search.set_surroundings(Surroundings(nat=EASY), START)
    search.remote.describe_peer((), RANDOM)
    search.introduce(SERVER, (THERE,), START)
    search.reached(THERE, MAIN_SOCKET)
    while budget.turns.may_send("198.51.100.99", START, is_signed=False):
        pass
    budget.answered(THERE, START)
    while budget.turns.may_send(THERE.host, START, is_signed=False):
        pass
    return search


def _guesses(search, now):
    """How many leave within two seconds."""
    search.begin(0.0, now, fresh=False)
    sent = 0
    while (due := search.get_timer()) is not None and due <= now + 2.0:
        search.handle_timer(due)
        while search.next_event(due):
            pass
        sent += len(search.datagrams_to_send())
    return sent


@pytest.mark.parametrize("said", [(THERE,), (ELSEWHERE,), (ELSEWHERE, THERE)])
def test_a_peer_that_a_server_sees_elsewhere_than_before_is_guessed_at_again(said):
    search = _lost(TargetBudget())
    search.introduce(SERVER, (THERE,), START)
    assert _guesses(search, START) < 100
    search.introduce(SERVER, said, START + 2.0)
    assert (_guesses(search, START + 2.0) > 500) is (said != (THERE,))


def test_a_peer_that_is_heard_is_guessed_at_again():
    search = _lost(TargetBudget())
    assert _guesses(search, START) < 100
    search.check_received(ELSEWHERE, MAIN_SOCKET, START + 2.0)
    assert _guesses(search, START + 2.0) > 500
