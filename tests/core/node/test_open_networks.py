"""An open network connects whom a secret one connects, and nobody is aimed at who is not there."""

import pytest

from natd.core.base.verdict import VerdictCode
from natd.core.codec.rendezvous_codec import RENDEZVOUS_MAGIC
from natd.core.keys.secrets import network_key
from tests.core.world.village import Village
from tests.internet.nat import (
    PORT_RESTRICTED,
    SYMMETRIC_BLOCK,
    SYMMETRIC_RANDOM,
    SYMMETRIC_SEQUENTIAL,
)

OPEN = network_key("demo", b"")
SECRET = network_key("demo", b"0123456789abcdef")
SEEDS = range(10)
A_MINUTE_S = 60.0


@pytest.mark.parametrize("key", [OPEN, SECRET], ids=["open", "secret"])
@pytest.mark.parametrize(
    ("left", "right", "median_s"),
    [
        pytest.param(PORT_RESTRICTED, SYMMETRIC_RANDOM, 1.2, id="port-restricted x random"),
        pytest.param(SYMMETRIC_RANDOM, PORT_RESTRICTED, 1.3, id="random x port-restricted"),
        pytest.param(SYMMETRIC_SEQUENTIAL, SYMMETRIC_SEQUENTIAL, 0.7, id="two sequences"),
        pytest.param(SYMMETRIC_BLOCK, PORT_RESTRICTED, 0.8, id="block x port-restricted"),
        pytest.param(PORT_RESTRICTED, SYMMETRIC_BLOCK, 0.8, id="port-restricted x block"),
    ],
)
def test_hard_pairs_meet_as_fast_without_a_secret_as_with_one(left, right, median_s, key):
    took_s = sorted(_seconds_to_first_message(seed, left, right, key) for seed in SEEDS)
    assert took_s[len(took_s) // 2] <= median_s, took_s


@pytest.mark.parametrize("seed", SEEDS)
def test_a_newcomer_whose_token_does_not_come_back_is_not_guessed_at(seed):
    """As if somebody had sent a REGISTER of its again, under another's address."""
    village, alice, bob = _two(seed, SYMMETRIC_RANDOM, PORT_RESTRICTED)
    trace = village.internet.trace = []
    bob.start()
    bob.attached.core = Deaf(bob.node)
    village.internet.run(A_MINUTE_S)
    there = bob.host.behind.addresses[0]
    sent = [
        each for each in trace if each.host is alice.host and each.datagram.address.host == there
    ]
    assert 0 < len(sent) <= 60


@pytest.mark.parametrize("key", [OPEN, SECRET], ids=["open", "secret"])
def test_where_a_peer_answered_before_it_is_guessed_at_although_every_server_is_dead(key):
    village, alice, bob = _two(2, PORT_RESTRICTED, SYMMETRIC_RANDOM, key)
    bob.start()
    assert village.internet.run_until(lambda: alice.is_online(bob), 15.0)
    village.internet.run(5.0)
    village.kill_server()
    alice.kill()
    village.internet.run(3600.0)
    alice.start()
    proofs = alice.membership.peers[bob.peer].reach.search.proofs
    assert proofs.holds(bob.host.behind.addresses[0], village.internet.now)


def test_who_has_guessed_at_four_others_this_hour_says_that_and_goes_on_after_it():
    village, alice, bob = _two(3, PORT_RESTRICTED, SYMMETRIC_RANDOM)
    bob.start()
    for member in (alice, bob):
        strangers = member.node.shared.budget.turns.strangers
        for number in range(4):
            strangers.take(f"198.51.100.{number}", village.internet.now, is_open=True)
    village.internet.run(15.0)
    assert alice.verdict_codes == {bob.peer: VerdictCode.GUESSES_USED_UP}
    assert bob.verdict_codes == {alice.peer: VerdictCode.GUESSES_USED_UP}
    assert village.internet.run_until(lambda: bob.is_online(alice), 3700.0)


class Deaf:
    """A node that no server's answer reaches."""

    def __init__(self, node):
        self._node = node

    def receive_datagram(self, data, address, now, *socket):
        if data[0] != RENDEZVOUS_MAGIC:
            self._node.receive_datagram(data, address, now, *socket)

    def __getattr__(self, name):
        return getattr(self._node, name)


def _two(seed, left, right, key=OPEN):
    """Alice is there, Bob is not yet."""
    village = Village(seed)
    internet = village.internet
    alice = village.member("alice", internet.add_nat(left), key=key)
    bob = village.member("bob", internet.add_nat(right), key=key, port=40001)
    alice.start()
    internet.run(3.0)
    return village, alice, bob


def _seconds_to_first_message(seed, left, right, key):
    village, alice, bob = _two(seed, left, right, key)
    bob.start()
    bob.send("hi")
    began = village.internet.now
    assert village.internet.run_until(lambda: alice.texts() == ["hi"], 15.0), f"seed {seed}"
    return village.internet.now - began
