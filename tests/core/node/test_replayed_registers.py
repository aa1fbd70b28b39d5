"""Whole nodes, and somebody on the path who has caught a newcomer's REGISTER.

    replayed      after the server has had it: under a victim's address, once a second
    overtaken     held back, and sent under the victim's address first; every copy of it

What counts is what arrives at the victim's host.
"""

from collections import Counter
from typing import Any

import pytest

from natd.core.base.types import Address, DecodeError, NetworkId
from natd.core.base.verdict import VerdictCode
from natd.core.codec import rendezvous_codec
from natd.core.codec.rendezvous import Challenge, Introduce, Register, Sampled
from natd.core.keys.card import Identity
from natd.core.keys.membership_key import MembershipKey
from natd.core.keys.secrets import network_key
from tests.core.coordinator.server import register_datagram
from tests.core.world.village import Village
from tests.internet.nat import PORT_RESTRICTED, SYMMETRIC_RANDOM
from tests.internet.net import unix_s

OPEN = network_key("demo", b"")
SECRET = network_key("demo", b"0123456789abcdef")
KEYS = pytest.mark.parametrize("key", [OPEN, SECRET], ids=["open", "secret"])
MINUTE_S = 60.0


@KEYS
def test_a_register_replayed_under_a_forged_source_for_minutes_reaches_nobody(key):
    place = Place(key)
    place.newcomer.start()
    assert place.internet.run_until(lambda: len(place.newcomer.connected) == 3, 10.0)
    captured = place.tap.caught[0]
    place.trace.clear()
    for _ in range(180):
        place.tap.inject(captured, place.victim)
        place.internet.run(1.0)
    assert place.packets_at_victim() == Counter()
    assert place.from_server(Introduce) == []
    out = sum(len(e.datagram.data) for e in place.at_victim())
    assert 0 < out <= 180 * len(captured), "CHALLENGEs, none larger than its question"


@KEYS
def test_one_that_overtakes_every_register_gets_ten_packets_from_each_who_is_told(key):
    """At most ten packets and 1,200 bytes: it was 74 each in two minutes."""
    place = Place(key)
    place.tap.redirects = place.victim
    place.newcomer.start()
    place.internet.run(5 * MINUTE_S)
    assert len(place.tap.caught) > 10, "it has tried for long"
    packets = place.packets_at_victim()
    assert packets, "the first introduction did reach members"
    assert max(packets.values()) <= 10
    for member in place.members:
        sent = [e for e in place.at_victim() if e.host is member.host]
        assert sum(len(e.datagram.data) for e in sent) <= 1_200
    told = {e.datagram.address for e in place.from_server(Introduce)}
    assert len(packets) <= len(told - {place.victim}) <= 3, "as many as one padding pays for"


def test_a_newcomer_behind_any_nat_is_met_all_the_same_where_its_address_is_proved_late():
    """Its token needs a second more: meanwhile it has had all that goes to an unproved host."""
    for policy in (PORT_RESTRICTED, SYMMETRIC_RANDOM):
        place = Place(SECRET, policy=policy)
        place.tap.delays_tokens_s = 1.0
        place.newcomer.start()
        assert place.internet.run_until(lambda: len(place.newcomer.connected) == 3, 15.0)  # noqa: B023


@KEYS
def test_who_has_sniffed_the_network_registers_lists_and_takes_nothing(key):
    """It knows all that is on the wire, and is no member."""
    place = Place(key)
    place.newcomer.start()
    place.internet.run(10.0)
    server = place.village.coordinator
    leases = server.lease_count
    place.trace.clear()
    for data in place.tap.caught + place.tap.others:
        place.tap.inject(data, place.victim)
        place.internet.run(0.05)
    place.forge(sent_at_unix_ms=1)
    token = _decoded(place.at_victim()[-1].datagram.data).token
    for how in ({}, {"token": token}):
        for number in range(300):
            place.forge(number, **how)
    place.internet.run(10.0)
    to_victim = [_decoded(e.datagram.data) for e in place.at_victim()]
    assert {type(message) for message in to_victim} == {Challenge, Sampled}
    assert server.lease_count == leases
    assert place.packets_at_victim() == Counter()


@pytest.mark.parametrize("ahead_s", [-86_400.0, 86_400.0])
def test_a_newcomer_whose_clock_is_a_day_wrong_meets_everybody(ahead_s):
    place = Place(SECRET)
    place.newcomer.clock_ahead_s = ahead_s
    place.newcomer.start()
    assert place.internet.run_until(lambda: len(place.newcomer.connected) == 3, 3.0)


def test_a_peer_that_is_let_in_nowhere_is_told_that_there_is_no_place_and_not_of_a_firewall():
    """It has met the others before, so there is somebody it can't reach."""
    place = Place(SECRET)
    newcomer, village = place.newcomer, place.village
    newcomer.start()
    place.internet.run(5.0)
    assert len(newcomer.connected) == 3
    newcomer.stop()
    for member in place.members:
        member.stop()
    place.internet.run(1.0)
    fill(village, SECRET)
    newcomer.start()
    place.internet.run(40.0)
    assert set(newcomer.verdict_codes.values()) == {VerdictCode.SERVER_REFUSES}
    for verdict in newcomer.verdicts.values():
        assert "this network is full" in verdict
        assert "firewall" not in verdict


def fill(village, key):
    """Others take all places of the network, from four addresses."""
    server, now = village.coordinator, village.internet.now
    for number in range(256):
        identity = Identity(number.to_bytes(32, "little"))
        source = Address(f"198.51.100.{1 + number // 64}", 1000 + number)
        sent_at = int(unix_s(now) * 1000)
        first = register_datagram(identity, network=key, sent_at_unix_ms=sent_at)
        server.receive_datagram(first, source, now)
        token = _decoded(server.datagrams_to_send()[-1].data).token
        then = register_datagram(identity, network=key, token=token)
        server.receive_datagram(then, source, now)
        server.datagrams_to_send()
    assert server.lease_count == 256


class Place:
    """Three members who are there, a newcomer, and somebody on the newcomer's path."""

    def __init__(self, key, *, policy=PORT_RESTRICTED):
        self.village = village = Village(3)
        self.internet = internet = village.internet
        self.members = [
            village.member(f"m{n}", internet.add_nat(PORT_RESTRICTED), key=key, port=40100 + n)
            for n in range(3)
        ]
        for member in self.members:
            member.start()
        internet.run(10.0)
        home = internet.add_nat(policy)
        self.newcomer = village.member("newcomer", home, key=key)
        self.victim = Address(internet.add_host(name="victim").address, 40000)
        seat = internet._attached[village.server_host]
        self.tap = seat.core = Tap(seat.core, home.addresses[0], internet)
        self.trace = internet.trace = []

    def forge(self, number=0, **how):
        """A stranger's REGISTER for the network, from the victim's address: it has all but the key
        of the network."""
        how = {"sent_at_unix_ms": int(unix_s(self.internet.now) * 1000) + number, **how}
        wrong = MembershipKey(b"another network")
        data = register_datagram(
            Identity(bytes(32)), network=NetworkId(self.newcomer.key), as_member=wrong, **how
        )
        self.tap.inject(data, self.victim)
        self.internet.run(0.0)

    def at_victim(self):
        return [e for e in self.trace if e.datagram.address.host == self.victim.host]

    def packets_at_victim(self):
        """By member: the server is not counted."""
        names = {m.host: m.name for m in (*self.members, self.newcomer)}
        return Counter(names[e.host] for e in self.at_victim() if e.host in names)

    def from_server(self, kind):
        sent = [e for e in self.trace if e.host is self.village.server_host]
        return [e for e in sent if isinstance(_decoded(e.datagram.data), kind)]


class Tap:
    """Stands before a server: catches what comes from one host, and may send it elsewhere from."""

    def __init__(self, server, host, internet):
        self._server = server
        self._host = host
        self._internet = internet
        self.caught = []
        self.others = []
        self.redirects = None
        self.delays_tokens_s = 0.0

    def inject(self, data, source):
        self._server.receive_datagram(data, source, self._internet.now)

    def receive_datagram(self, data, address, now, socket=0):
        if address.host == self._host:
            is_register = isinstance(message := _decoded(data), Register)
            (self.caught if is_register else self.others).append(data)
            if is_register and self.redirects is not None:
                address = self.redirects
            elif is_register and message.token and self.delays_tokens_s:
                late = now + self.delays_tokens_s
                self._internet.at(
                    late, lambda: self._server.receive_datagram(data, address, late, socket)
                )
                return
        self._server.receive_datagram(data, address, now, socket)

    def __getattr__(self, name):
        return getattr(self._server, name)


def _decoded(data) -> Any:
    try:
        return rendezvous_codec.decode(data)
    except DecodeError:
        return None
