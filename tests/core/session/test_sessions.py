"""The sessions of one peer: which is in use, what replaces it, and what a replay can do."""

from random import Random

import pytest

from natd.core.base.routes import RouteAdded, RouteDropped
from natd.core.keys.secrets import CHECK_TAG_BYTES
from natd.core.session.events import DataReceived, HandshakeCompleted, SessionEnded, SessionOpened
from natd.core.session.quic_header import destination_connection_id
from natd.core.session.sessions import (
    REMEMBERED_FIRST_IDS,
    STALE_DIAL_S,
    Sessions,
)
from tests.core.world.lossy_link import LossyLink, Weather, pair_of_secrets

RTT_S = 0.05


def test_a_dial_opens_a_session_at_once_and_the_handshake_confirms_it():
    link, one, other = _pair()
    one.dial(link.now)
    assert one.take(SessionOpened) == [SessionOpened()]
    assert one.sessions.is_open
    assert not one.sessions.is_established
    link.run(1.0)
    for side in (one, other):
        assert side.take(HandshakeCompleted) == [HandshakeCompleted()]
        assert side.sessions.is_established
    assert one.sessions.psk == other.sessions.psk


def test_a_first_flight_is_listened_to_at_once_where_nothing_is_in_use():
    link, one, other = _pair()
    one.dial(link.now, b"hello")
    link.run(RTT_S / 2 + 0.001)
    assert other.said == b"hello"
    assert other.take(SessionOpened)
    assert not other.sessions.is_established


def test_an_established_session_is_replaced_only_when_the_next_ones_handshake_is_complete():
    link, one, other = _established()
    before = other.sessions.psk
    one.restart(2)
    other.use(2)
    one.dial(link.now, b"on the next")
    link.run(RTT_S / 2 + 0.001)
    assert other.is_replacing
    assert other.sessions.psk == before
    assert other.said == b""
    link.run(1.0)
    assert not other.is_replacing
    assert other.sessions.psk == one.sessions.psk != before
    assert other.said == b"on the next"


def test_what_was_said_before_the_replacement_opens_comes_after_it_opens():
    link, one, other = _established()
    one.restart(2)
    other.use(2)
    one.dial(link.now, b"first")
    link.run(1.0)
    kinds = [type(event) for event in other.events if not isinstance(event, RouteAdded)]
    assert kinds.index(SessionOpened) < kinds.index(DataReceived)


def test_a_replayed_first_flight_changes_nothing():
    link, one, other = _established(b"hello")
    flights = [data for end, data in link.carried if end is one and data[0] & 0x80]
    other.events.clear()
    for data in flights:
        other.receive_datagram(data, link.now)
    link.run(5.0)
    assert other.said == b""
    assert other.sessions.is_established
    assert not other.is_replacing
    one.sessions.send(b"after", link.now)
    assert link.run(1.0, lambda: other.said == b"after")


def test_a_recorded_first_flight_that_was_never_heard_opens_a_replacement_that_stays_one():
    link, one, other = _established()
    recorded_of = Side(0)
    for side in (one, other, recorded_of):
        side.use(2)
    recorded_of.dial(link.now, b"recorded")
    for data in recorded_of.datagrams_to_send():
        other.receive_datagram(data, link.now)
    link.run(60.0)
    assert other.is_replacing
    assert other.said == b""
    assert other.sessions.psk == pair_of_secrets(seed=1)[1].psk


def test_a_first_connection_id_that_the_pair_did_not_make_opens_nothing():
    link, one, other = _pair()
    one.dial(link.now)
    [first, *_] = one.datagrams_to_send()
    forged = bytearray(first)
    forged[6 + CHECK_TAG_BYTES] ^= 1
    assert not other.receive_datagram(bytes(forged), link.now)
    assert other.sessions.dropped["first-flight-forged"] == 1
    assert not other.sessions.is_open


def test_a_first_connection_id_opens_one_session_in_its_life():
    link, one, other = _pair()
    one.dial(link.now)
    [first, *_] = one.datagrams_to_send()
    other.receive_datagram(first, link.now)
    other.sessions.close(link.now)
    other.receive_datagram(first, link.now)
    assert other.sessions.dropped["first-flight-replayed"] == 1
    assert not other.sessions.is_open


def test_of_two_dials_at_once_the_lower_peers_stays_and_both_end_up_on_it():
    link, one, other = _pair()
    one.dial(link.now, b"from the lower")
    other.dial(link.now, b"from the higher")
    link.run(2.0)
    assert one.sessions.dropped["first-flight-lost-the-tie"] >= 1
    for side in (one, other):
        assert side.sessions.is_established
        assert not side.is_replacing
    assert other.said == b"from the lower"
    other.sessions.send(b"said again", link.now)
    assert link.run(1.0, lambda: one.said == b"said again")


@pytest.mark.parametrize("seed", range(5))
def test_two_dials_at_once_end_in_one_session_also_through_heavy_loss(seed):
    link, one, other = _pair(Weather(loss=0.3, jitter_s=0.05, duplicates=0.1), seed)
    one.dial(link.now)
    other.dial(link.now)
    assert link.run(20.0, lambda: one.sessions.is_established and other.sessions.is_established)
    link.weather.loss = 0.0
    link.run(5.0)
    one.sessions.send(b"a", link.now)
    other.sessions.send(b"b", link.now)
    assert link.run(2.0, lambda: other.said.endswith(b"a") and one.said.endswith(b"b"))


def test_dialling_again_with_the_same_secrets_does_not_begin_anew():
    link, one, _ = _pair()
    one.dial(link.now)
    one.take(SessionOpened)
    one.dial(link.now)
    assert one.take(SessionOpened) == []


def test_dialling_with_newer_secrets_gives_the_unanswered_dial_up():
    link, one, other = _pair()
    one.dial(link.now)
    one.use(2)
    other.use(2)
    one.dial(link.now)
    assert len(one.take(SessionOpened)) == 2
    link.run(1.0)
    assert one.sessions.is_established
    assert one.sessions.psk == pair_of_secrets(seed=2)[0].psk


def test_a_dial_that_waited_long_for_a_path_is_begun_anew_there():
    """Sent again as it was, its answer would be taken for a round trip of all that time, and
    the next loss would cost minutes."""
    link, one, other = _pair()
    link.weather.is_cut = True
    one.dial(link.now)
    link.run(60.0)
    one.take(SessionOpened)
    link.weather.is_cut = False
    one.sessions.path_changed(link.now)
    one.drain()
    assert one.take(SessionOpened), "what was said is said again"
    assert link.run(1.0, lambda: one.sessions.is_established)
    link.weather.is_cut = True
    one.sessions.send(b"swallowed", link.now)
    link.run(0.05)
    link.weather.is_cut = False
    assert link.run(1.0, lambda: other.said == b"swallowed")


def test_a_dial_that_has_just_begun_is_sent_again_on_the_path_as_it_is():
    link, one, _ = _pair()
    link.weather.is_cut = True
    one.dial(link.now)
    link.run(STALE_DIAL_S / 2)
    one.take(SessionOpened)
    link.weather.is_cut = False
    one.sessions.path_changed(link.now)
    one.drain()
    assert one.take(SessionOpened) == []
    assert link.run(0.1, lambda: one.sessions.is_established)


def test_closing_ends_the_session_at_both_ends():
    link, one, other = _established()
    one.sessions.close(link.now)
    one.drain()
    assert one.take(SessionEnded) == [SessionEnded("closed by us")]
    link.run(0.1)
    assert len(other.take(SessionEnded)) == 1
    assert not other.sessions.is_open


def test_a_session_that_ends_leaves_its_place_to_the_replacement():
    link, one, other = _established()
    one.use(2)
    other.use(2)
    one.dial(link.now)
    link.run(RTT_S / 2 + 0.001)
    assert other.is_replacing
    other.sessions._in_use.close(link.now)
    other.sessions.handle_timer(link.now)
    other.drain()
    link.run(1.0)
    assert other.sessions.is_established
    assert other.sessions.psk == pair_of_secrets(seed=2)[1].psk


def test_every_route_that_was_added_is_dropped_in_the_end():
    link, one, other = _pair()
    for seed in range(20):
        one.use(seed)
        other.use(seed)
        (one if seed % 2 else other).dial(link.now, b"x")
        link.run(0.01 * seed)
    link.run(2.0)
    assert len(one.routes) <= 10
    one.sessions.close(link.now)
    one.drain()
    link.run(1.0)
    assert one.routes == set()
    assert other.routes == set()


def test_first_connection_ids_are_remembered_in_bounded_memory():
    link, one, other = _pair()
    for number in range(REMEMBERED_FIRST_IDS + 20):
        one.sessions.redial(one.secrets, link.now)
        for data in one.datagrams_to_send():
            other.receive_datagram(data, link.now)
        assert number >= 0
    assert len(other.sessions._first_ids) == REMEMBERED_FIRST_IDS
    assert len(other.sessions._secrets) == 1
    assert len(other.routes) <= 2 + CHECK_TAG_BYTES


def test_the_peer_owes_an_answer_while_a_handshake_runs_or_data_is_not_acknowledged():
    link, one, _ = _pair()
    assert not one.sessions.is_awaiting(link.now)
    one.dial(link.now)
    assert one.sessions.is_awaiting(link.now)
    link.run(2.0)
    assert not one.sessions.is_awaiting(link.now)
    one.sessions.send(b"x", link.now)
    one.drain()
    link.run(0.01)
    assert one.sessions.is_awaiting(link.now)
    link.run(1.0)
    assert not one.sessions.is_awaiting(link.now)


class Side:
    """One end: its sessions, the secrets in use, and what came out."""

    def __init__(self, number):
        self.number = number
        self.sessions = Sessions(_Salts(number), ours_stay=number == 0)
        self.events = []
        self.routes = set()
        self._by_tag = {}
        self.use(1)

    def restart(self, seed):
        """Another run of the same peer, with another prekey."""
        self.sessions = Sessions(_Salts(self.number + 2), ours_stay=self.number == 0)
        self.events.clear()
        self.routes.clear()
        self._by_tag.clear()
        self.use(seed)

    def use(self, seed):
        """The prekeys have changed; secrets of before are still known by tag."""
        self.secrets = pair_of_secrets(seed=seed)[self.number]
        self._by_tag[self.secrets.receive_tag] = self.secrets

    def dial(self, now, first=b""):
        self.sessions.dial(self.secrets, now)
        if first:
            self.sessions.send(first, now)
        self.drain()

    def receive_datagram(self, data, now):
        connection_id = destination_connection_id(data) or b""
        secrets = self._by_tag.get(connection_id[:CHECK_TAG_BYTES])
        genuine = self.sessions.receive_datagram(data, connection_id, secrets, now)
        self.drain()
        return genuine

    def handle_timer(self, now):
        self.sessions.handle_timer(now)
        self.drain()

    def datagrams_to_send(self):
        return self.sessions.datagrams_to_send()

    def get_timer(self):
        return self.sessions.get_timer()

    def drain(self):
        while (event := self.sessions.next_event()) is not None:
            self.events.append(event)
            if isinstance(event, RouteAdded):
                self.routes.add(event.key)
            elif isinstance(event, RouteDropped):
                self.routes.discard(event.key)

    @property
    def said(self):
        return b"".join(event.data for event in self.events if isinstance(event, DataReceived))

    @property
    def is_replacing(self):
        return self.sessions._replacement is not None

    def take(self, kind):
        taken = [event for event in self.events if isinstance(event, kind)]
        self.events = [event for event in self.events if not isinstance(event, kind)]
        return taken


class _Salts(Random):
    """A source of salts that never repeats: all that is drawn here."""

    def __init__(self, number):
        super().__init__(number)
        self._count = number << 24

    def randbytes(self, n):
        self._count += 1
        return self._count.to_bytes(n, "big")


def _pair(weather=None, seed=1):
    one, other = Side(0), Side(1)
    return LossyLink(one, other, weather, seed), one, other


def _established(first=b""):
    link, one, other = _pair()
    one.dial(link.now, first)
    assert link.run(1.0, lambda: one.sessions.is_established and other.sessions.is_established)
    link.run(1.0)
    for side in (one, other):
        side.events.clear()
    return link, one, other
