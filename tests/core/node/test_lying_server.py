"""A server that says of a victim's address that a member is there, and what its daemons send there.

All are told that mallory, a member behind a random NAT, has proved to be at the victim's host, so
each of them would have to guess.  What counts is what leaves for that host, whatever its TTL.
"""

from dataclasses import replace

import pytest

from natd.core.base.types import Address
from natd.core.codec import rendezvous_codec
from natd.core.codec.rendezvous import Introduce, Refreshed, Registered, Sampled
from natd.core.keys.secrets import network_key
from tests.core.world.village import Village
from tests.internet.nat import PORT_RESTRICTED, SYMMETRIC_RANDOM

OPEN = network_key("demo", b"")
SECRET = network_key("demo", b"0123456789abcdef")
KEYS = pytest.mark.parametrize("key", [OPEN, SECRET], ids=["open", "secret"])
DAEMONS = 3
MINUTE_S, HOUR_S = 60.0, 3600.0
WAVE, CHECKS_A_MINUTE = 1_024, 60


@KEYS
def test_in_the_first_minute_each_daemon_sends_one_wave_at_most(key):
    place = Place(key, fools_mallory=False)
    place.run(MINUTE_S)
    assert max(place.sent_by_each()) <= WAVE
    assert min(place.sent_by_each()) > 900, "the server did get them to guess"


@KEYS
def test_without_a_member_who_helps_there_is_no_other_wave(key):
    place = Place(key, fools_mallory=False)
    place.run(HOUR_S)
    assert max(place.sent_by_each()) <= WAVE + CHECKS_A_MINUTE * HOUR_S / MINUTE_S


@KEYS
def test_daemons_that_are_killed_again_and_again_send_no_other_wave(key):
    """As somebody could do who has found a packet that crashes them."""
    place = Place(key, fools_mallory=False)
    for _ in range(6):
        place.run(20.0)
        for daemon in place.daemons:
            daemon.kill()
        place.run(1.0)
        for daemon in place.daemons:
            daemon.start()
    place.run(MINUTE_S)
    assert min(place.sent_by_each()) > 900
    assert max(place.sent_by_each()) <= WAVE + 7 * CHECKS_A_MINUTE, "plain checks begin anew"


@pytest.mark.parametrize(("key", "words"), [(OPEN, 1), (SECRET, 4)], ids=["open", "secret"])
def test_with_a_members_words_there_are_no_more_waves_than_an_hour_allows(key, words):
    place = Place(key, fools_mallory=True)
    place.run(HOUR_S)
    each = place.sent_by_each()
    assert max(each) <= (1 + words) * WAVE + CHECKS_A_MINUTE * HOUR_S / MINUTE_S
    assert min(each) > 1.5 * WAVE, "the words did buy a wave"


class Place:
    """Some daemons, mallory, and the server that lies about mallory."""

    def __init__(self, key, *, fools_mallory):
        self.village = village = Village(3)
        self.internet = internet = village.internet
        self.daemons = [
            village.member(
                f"daemon {n}", internet.add_nat(PORT_RESTRICTED), key=key, port=40100 + n
            )
            for n in range(DAEMONS)
        ]
        home = internet.add_nat(SYMMETRIC_RANDOM)
        mallory = village.member("mallory", home, key=key)
        self.victim = internet.add_host(name="victim").address
        for daemon in self.daemons:
            daemon.start()
        internet.run(10.0)
        seat = internet._attached[village.server_host]
        seat.core = Liar(
            seat.core, mallory.peer, home.addresses[0] if fools_mallory else None, self.victim
        )
        self.trace = internet.trace = []
        mallory.start()

    def run(self, for_s):
        self.internet.run(for_s)

    def sent_by_each(self):
        """How many packets each daemon has sent to the victim."""
        return [
            sum(e.host is d.host and e.datagram.address.host == self.victim for e in self.trace)
            for d in self.daemons
        ]


class Liar:
    """A server that puts a member elsewhere: in what it tells others of it, and, if there is one to
    fool at `home`, in what it tells that member."""

    def __init__(self, server, member, home, victim):
        self._server = server
        self._member = member
        self._home = home
        self._victim = victim

    def datagrams_to_send(self):
        return [self._twisted(sent) for sent in self._server.datagrams_to_send()]

    def _twisted(self, sent):
        message = rendezvous_codec.decode(sent.data)
        if isinstance(message, Introduce) and message.peer == self._member:
            there = Address(self._victim, 40000)
            return self._sent(sent, replace(message, observed=(there,), samples=(), is_proved=True))
        if isinstance(message, Registered | Refreshed | Sampled) and (
            sent.address.host == self._home
        ):
            elsewhere = Address(self._victim, message.observed.port)
            return self._sent(sent, replace(message, observed=elsewhere))
        return sent

    def _sent(self, sent, lie):
        return sent._replace(data=rendezvous_codec.encode(lie))

    def __getattr__(self, name):
        return getattr(self._server, name)
