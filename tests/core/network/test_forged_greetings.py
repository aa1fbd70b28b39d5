"""Greetings that somebody else has recorded, made up or sent again under another's address."""

from random import Random

import pytest

from natd.core.base.types import MAIN_SOCKET, Address
from natd.core.keys.secrets import network_key
from natd.core.network.greeting import (
    GREETING_MAGIC,
    OPENED_OF_HOST_BURST,
    Greeting,
    encode_greeting,
    network_tag,
)
from natd.core.network.multicast import LINK_SOCKET
from tests.core.network.test_multicast import calls_of, link_of_two
from tests.core.world.village import KEY, Village
from tests.internet.nat import PORT_RESTRICTED

VICTIM = Address("198.51.100.66", 40000)
SECRET = network_key("demo", b"0123456789abcdef")


@pytest.mark.parametrize("socket", [MAIN_SOCKET, LINK_SOCKET])
@pytest.mark.parametrize("victim", [VICTIM, Address("192.168.1.66", 40000)])
def test_a_recorded_greeting_under_a_forged_address_costs_its_owner_no_more_than_it_brought(
    victim, socket
):
    village, alice, bob = link_of_two()
    bob.start()
    village.internet.run(1.0)
    recorded = calls_of(village, bob)[-1].data
    bob.kill()
    alice.start()
    village.internet.run(10.0)
    brought = 0
    for _ in range(600):
        brought += len(recorded)
        alice.node.receive_datagram(recorded, victim, village.internet.now, socket)
        village.internet.run(0.1)
        sent = [
            e.datagram for e in village.internet.trace if e.datagram.address.host == victim.host
        ]
        assert sum(len(datagram.data) for datagram in sent) <= brought
    assert {datagram.data[0] for datagram in sent} == {GREETING_MAGIC}, "answers, and not one check"
    assert len(sent) <= 20


def test_an_answer_that_nobody_asked_for_makes_us_send_nothing():
    village, alice, bob = link_of_two()
    bob.start()
    village.internet.run(1.0)
    theirs = bob.membership
    answer = encode_greeting(Greeting(network_tag(KEY), theirs.own_card.sealed, False))
    bob.kill()
    alice.start()
    village.internet.run(10.0)
    for _ in range(100):
        alice.node.receive_datagram(answer, VICTIM, village.internet.now)
        village.internet.run(0.1)
    assert not [e for e in village.internet.trace if e.datagram.address.host == VICTIM.host]


@pytest.mark.parametrize("key", [KEY, SECRET], ids=["open", "secret"])
def test_junk_on_the_link_does_not_keep_a_newcomer_waiting(key):
    """A neighbour on the link reads the tag in any call, and cards that do not open cost little."""
    village = Village()
    village.kill_server()
    nat = village.internet.add_nat(PORT_RESTRICTED)
    alice = village.member("alice", nat, key)
    bob = village.member("bob", nat, key, port=40001)
    alice.hears_link = bob.hears_link = True
    chance = Random(1)
    alice.start()
    village.internet.run(3.0)
    began = village.internet.now

    def junk():
        data = encode_greeting(Greeting(network_tag(key), chance.randbytes(600), True))
        source = Address(f"192.168.1.{chance.randrange(50, 250)}", 40000)
        alice.node.receive_datagram(data, source, village.internet.now, LINK_SOCKET)
        if village.internet.now < began + 10.0:
            village.internet.at(village.internet.now + 0.0013, junk)

    junk()
    village.internet.run(5.003)
    bob.start()
    assert village.internet.run_until(lambda: alice.is_online(bob), 0.5)


def test_a_recorded_call_from_everywhere_costs_two_answers_a_second_and_nobody_waits():
    """A thousand times a second, under every address of the link."""
    village, alice, bob = link_of_two()
    bob.start()
    village.internet.run(1.0)
    carol = village.member("carol", bob.host.behind, port=40002)
    carol.hears_link = True
    carol.start()
    village.internet.run(1.0)
    recorded = calls_of(village, carol)[-1].data
    carol.kill()
    bob.kill()
    alice.start()
    village.internet.run(10.0)
    chance, began = Random(1), village.internet.now

    def again():
        source = Address(f"192.168.1.{chance.randrange(50, 250)}", 40000)
        alice.node.receive_datagram(recorded, source, village.internet.now, LINK_SOCKET)
        if village.internet.now < began + 10.0:
            village.internet.at(village.internet.now + 0.001, again)

    again()
    village.internet.run(5.0)
    sent = [e.datagram for e in village.internet.trace[-100_000:] if e.at >= began]
    answers = [each for each in sent if each.address.host.startswith("192.168.1.")]
    assert 1 <= len(answers) <= 4 + 2 * 5
    assert alice.membership.dropped["greetings-again"] >= 4_000
    bob.start()
    assert village.internet.run_until(lambda: alice.is_online(bob), 0.5)


def test_two_who_hear_twenty_times_more_junk_than_they_can_look_at_meet_within_a_minute():
    """Twenty thousand unreadable cards a second: each looks at one in twenty."""
    for seed in range(5):
        village, alice, bob = link_of_two(seed)
        alice.start()
        bob.start()
        chance = Random(seed)
        for member in (alice, bob):
            absent = member.membership.discovery._absent
            absent._looks_at_calls = _OneIn(20, chance)
        met = village.internet.run_until(lambda: alice.is_online(bob) and bob.is_online(alice), 60)  # noqa: B023
        assert met, f"seed {seed}"


def test_a_flood_of_calls_leaves_alone_what_comes_to_our_own_socket():
    village, alice, _ = link_of_two()
    alice.start()
    village.internet.run(3.0)
    absent = alice.membership.discovery._absent
    now = village.internet.now
    assert sum(absent.may_look(now, is_call=True) for _ in range(20_000)) == 1_024
    assert absent.may_look(now, is_call=False)


def test_one_host_that_sends_ever_new_cards_leaves_room_for_those_of_others():
    village, alice, bob = link_of_two()
    alice.start()
    village.internet.run(3.0)
    discovery = alice.membership.discovery
    taken = sum(
        discovery._absent.may_open("192.168.1.77", village.internet.now) for _ in range(1000)
    )
    assert taken == OPENED_OF_HOST_BURST
    bob.start()
    assert village.internet.run_until(lambda: alice.is_online(bob), 0.5)


def test_the_same_greeting_again_is_not_opened_again():
    village, alice, bob = link_of_two()
    bob.start()
    village.internet.run(1.0)
    recorded = calls_of(village, bob)[-1].data
    bob.kill()
    alice.start()
    village.internet.run(10.0)
    membership = alice.membership
    for number in range(10_000):
        source = Address(f"192.168.{1 + number // 250}.{number % 250}", 40000)
        alice.node.receive_datagram(recorded, source, village.internet.now, LINK_SOCKET)
    assert membership.dropped["greetings-too-many"] == 0
    assert membership.discovery._absent.may_open("192.168.1.1", village.internet.now)


class _OneIn:
    """In place of a bucket that a flood has emptied."""

    def __init__(self, share, chance):
        self._share = share
        self._chance = chance

    def take(self, now):
        return self._chance.randrange(self._share) == 0
