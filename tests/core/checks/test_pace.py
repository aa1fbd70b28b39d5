"""No second has more than 500 packets, whatever makes us send them."""

from random import Random

import pytest

from natd.core.base.types import Address
from natd.core.checks.pace import MOST, MOST_CHECKS, MOST_WITH_A_GUESS, SECOND_S, Pace
from natd.core.keys.card import Card, Identity, seal_card
from natd.core.keys.secrets import Prekey
from natd.core.registration.events import Introduced
from tests.core.prediction.test_hard_pairs import MOST_PACKETS, Pair
from tests.core.world.village import Village
from tests.internet.nat import PORT_RESTRICTED, SYMMETRIC_RANDOM

START = 1000.0
SYBILS = 120
SERVER = Address("203.0.113.1", 8080)


def test_guesses_leave_room_for_the_checks_of_the_same_second():
    pace = Pace()
    for _ in range(pace.room(START)):
        pace.guessed(START)
    assert pace.room(START + 0.5) == 0
    assert _checks(pace, START + 0.5) == MOST - MOST_WITH_A_GUESS
    assert pace.room(START + SECOND_S) == MOST_WITH_A_GUESS - (MOST - MOST_WITH_A_GUESS)


def test_checks_without_end_leave_most_of_the_second_to_guesses():
    pace = Pace()
    pace.room(START)
    assert _checks(pace, START) == MOST_CHECKS
    assert pace.room(START) == MOST_WITH_A_GUESS - MOST_CHECKS


def test_without_guesses_no_check_is_held_back():
    pace = Pace()
    assert _checks(pace, START) == 1000
    pace.room(START)
    assert _checks(pace, START) == 0
    assert _checks(pace, START + SECOND_S) == 1000


def test_words_to_servers_count_like_checks():
    village = Village()
    alice = village.member("alice")
    alice.start()
    village.internet.trace = []
    village.internet.run(0.2)
    pace = alice.membership._pace
    assert pace.room(village.internet.now) < MOST_WITH_A_GUESS - len(village.internet.trace) // 4


@pytest.mark.parametrize("we_are_hard", [False, True])
def test_no_second_with_a_guess_has_too_many_packets_among_made_up_members(we_are_hard):
    """A server that lies introduces ever more of them while ports are guessed."""
    policies = (SYMMETRIC_RANDOM, PORT_RESTRICTED)
    pair = Pair(*(policies if we_are_hard else policies[::-1]), seed=3)
    member, internet = pair.alice, pair.internet
    peers = member.membership.peers
    guessed = 0
    for number in range(SYBILS):
        peer, sealed = _sybil(number, member.key)
        seen = tuple(Address(f"198.{18 + row}.7.{number}", 4000) for row in range(4))
        news = Introduced(SERVER, peer, sealed, seen, False, 0.0)
        member.membership._introduce(news, internet.now)
        internet.run(0.015)
        guessed += any(peer.reach.search.technique for peer in peers.values())
    assert guessed > SYBILS // 2
    assert 300 < pair.packets_in_a_second(member) <= MOST_PACKETS


def _checks(pace, now):
    """How many of a thousand leave."""
    count = 0
    for _ in range(1000):
        if pace.may_check(now):
            pace.checked(now)
            count += 1
    return count


def _sybil(number, key):
    identity = Identity(Random(number).randbytes(32))
    prekey = Prekey(Random(-number - 1).randbytes(32))
    card = Card(identity.peer, identity.static_public, prekey.public, 1, f"made up {number}")
    return identity.peer, seal_card(card, identity, key)
