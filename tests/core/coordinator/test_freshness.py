"""A REGISTER introduces once, and only in its moment: what a replay of it gets."""

import gc
import sys
from typing import Any

import pytest

from natd.core.base.types import Address, NetworkId, PeerId
from natd.core.codec import rendezvous_codec
from natd.core.codec.rendezvous import (
    Bye,
    Challenge,
    Introduce,
    Refresh,
    Register,
    Registered,
)
from natd.core.coordinator.freshness import Freshness
from natd.core.keys.card import Identity
from natd.core.registration.events import Introduced
from tests.core.coordinator.server import ALICE, AWAY, BOB, HOME, OTHER, Server, T, spoofed
from tests.core.world.meeting import Meeting
from tests.internet.net import tell_clock, unix_s

FIRST = [Introduce, Introduce, Challenge]
VICTIM = Address("198.51.100.66", 7000)


def test_a_captured_register_replayed_for_minutes_draws_challenges_and_nothing_else() -> None:
    """Under a forged source once a second it drew 202 to 240 packets from each member at the
    victim, and 2,400 from the server."""
    server = Server()
    server.register(ALICE, HOME)
    captured = server.datagram(BOB)
    assert kinds(server, captured, AWAY) == FIRST
    for _ in range(180):
        server.now += 1.0
        answers = server.tell(captured, VICTIM)
        assert {answer.address for answer in answers} == {VICTIM}
        assert [type(rendezvous_codec.decode(answer.data)) for answer in answers] == [Challenge]
        assert sum(len(answer.data) for answer in answers) <= len(captured)
    dropped = server.coordinator.dropped
    assert dropped["introductions put off: not of this moment, or seen before"] == 180


def test_who_replays_a_register_from_its_own_address_learns_of_no_member() -> None:
    server = Server()
    server.register(ALICE, HOME)
    lease = server.register(BOB, AWAY)
    sniffed = server.datagram(BOB)
    assert kinds(server, sniffed, AWAY) == FIRST
    for data in (sniffed, rendezvous_codec.encode(Refresh(T, lease.lease_id, True))):
        assert kinds(server, data, OTHER) == [Challenge]
    assert server.coordinator.lease_count == 2


@pytest.mark.parametrize("host", ["198.51.100.66", "2001:db8::66"])
def test_one_with_a_token_is_no_use_elsewhere_even_when_its_peer_has_left(host: str) -> None:
    server = Server()
    server.register(ALICE, HOME)
    token = server.challenge(BOB, AWAY).token
    captured = server.datagram(BOB, token=token)
    registered = server.ask(captured, AWAY)[-1][1]
    assert isinstance(registered, Registered)
    assert kinds(server, captured, Address(host, 7000)) == [Challenge]
    server.ask(rendezvous_codec.encode(Bye(T, registered.lease_id)), AWAY)
    assert kinds(server, captured, Address(host, 7000)) == [Challenge]


@pytest.mark.parametrize("ahead_s", [-29, 29])
def test_a_clock_that_is_half_a_minute_wrong_is_right_enough(ahead_s: int) -> None:
    server = Server()
    server.register(ALICE, HOME)
    server.now += 60.0
    assert kinds(server, at(server, ahead_s), AWAY) == FIRST


@pytest.mark.parametrize("ahead_s", [-31, 31, -86_400, 365 * 86_400])
def test_a_wrong_clock_costs_the_introduction_of_the_first_round_trip_and_no_more(
    ahead_s: int,
) -> None:
    server = Server()
    server.register(ALICE, HOME)
    server.now += 60.0
    (_, challenge), *none = server.ask(at(server, ahead_s), AWAY)
    assert not none
    again = at(server, ahead_s, token=challenge.token)
    assert kinds(server, again, AWAY) == [Introduce, Introduce, Registered]


def test_a_peer_of_an_earlier_version_that_tells_no_time_registers_all_the_same() -> None:
    server = Server()
    server.register(ALICE, HOME)
    ((_, challenge),) = server.ask(server.datagram(BOB, sent_at_unix_ms=0), AWAY)
    data = server.datagram(BOB, sent_at_unix_ms=0, token=challenge.token)
    assert kinds(server, data, AWAY) == [Introduce, Introduce, Registered]
    assert not server.coordinator.dropped, "and the operator is not warned of it"


def test_peers_whose_clocks_are_days_wrong_meet_one_round_trip_later() -> None:
    meeting = Meeting()
    meeting.register("alice")
    took_s = {}
    for name, ahead_s in (("right", 0.0), ("slow", -86_400.0), ("fast", 86_400.0)):
        guest = meeting.invite(name, ahead_s=ahead_s)
        began = meeting.now
        meeting.start(guest)
        meeting.run(2.0)
        assert guest.registration.state == "registered"
        took_s[name] = guest.first(Introduced) - began
    assert took_s["right"] == pytest.approx(0.05)
    assert took_s["slow"] == pytest.approx(0.103), "a round trip, and 3 ms for the samples"
    assert took_s["fast"] == pytest.approx(0.103)


def test_what_was_sent_before_the_server_started_introduces_nobody() -> None:
    server = Server()
    captured = server.datagram(BOB)
    server.now += 1.0
    server.start()
    server.register(ALICE, HOME)
    assert kinds(server, captured, VICTIM) == [Challenge]
    assert kinds(server, server.datagram(BOB), AWAY) == FIRST


def test_what_is_not_later_than_the_last_accepted_one_introduces_nobody() -> None:
    server = Server()
    server.register(ALICE, HOME)
    withheld = server.datagram(BOB)
    server.register(BOB, AWAY)
    assert kinds(server, withheld, VICTIM) == [Challenge]
    dropped = server.coordinator.dropped
    assert dropped["introductions put off: older than the last one of that peer"] == 1
    assert kinds(server, server.datagram(BOB), OTHER) == FIRST, "a later one: it may have moved"


def test_a_clock_that_is_set_back_makes_nothing_fresh_again() -> None:
    server = Server()
    server.register(ALICE, HOME)
    captured = server.datagram(BOB)
    assert kinds(server, captured, AWAY) == FIRST
    server.now += 3600.0
    tell_clock(server.coordinator, server.now)
    server.coordinator.set_clock(unix_s(server.now) - 3600.0, server.now)
    server.register(ALICE, HOME)
    assert kinds(server, captured, VICTIM) == [Challenge]
    assert kinds(server, at(server, -3600), VICTIM) == [Challenge]


def test_without_a_clock_nobody_is_introduced_before_its_token_has_come_back() -> None:
    server = Server(knows_time=False)
    server.register(ALICE, HOME)
    assert kinds(server, server.datagram(BOB), AWAY) == [Challenge]


def test_a_full_table_costs_the_introduction_and_is_empty_again_after_a_minute() -> None:
    freshness = Freshness(bytes(16), slots=64)
    freshness.set_clock(unix_s(1000.0), 1000.0)
    taken = [fresh for n in range(200) if (fresh := is_first(freshness, n, 1000.0))]
    assert 32 <= len(taken) <= 64
    assert not is_first(freshness, 777, 1000.0)
    assert not is_first(freshness, 0, 1000.0), "what was seen is still known"
    assert is_first(freshness, 66_000, 1066.0)


def test_no_replay_is_forgotten_while_its_time_is_fresh_however_many_come() -> None:
    """A minute of as many as the server verifies in a second, and its burst."""
    freshness = Freshness(bytes(16))
    freshness.set_clock(unix_s(1000.0), 1000.0)
    accepted = [n for n in range(64_000) if is_first(freshness, n, 1000.0 + n / 1_067)]
    assert len(accepted) > 63_500, "places are hardly ever wanting"
    assert not any(is_first(freshness, n, 1029.0) for n in range(30_000))


def test_100_000_spoofed_sources_with_good_registers_leave_the_memory_unchanged() -> None:
    """The signatures are good: in an open network anybody can make them."""
    server = Server()
    server.register(ALICE, HOME)
    strangers = [Identity(bytes([n]) * 32) for n in range(20)]
    flood(server, strangers, 0, 1_000)
    gc.collect()
    before = sys.getallocatedblocks()
    flood(server, strangers, 1_000, 101_000)
    gc.collect()
    assert sys.getallocatedblocks() - before < 500
    assert server.coordinator.lease_count == 1


def flood(server: Server, strangers: list[Identity], first: int, last: int) -> None:
    """Every fiftieth is new, the rest is sent again from elsewhere: signing takes the longest."""
    made = [server.datagram(each) for each in strangers]
    for number, source in enumerate(spoofed(first, last)):
        server.now += 0.0005
        if number % 50 == 0:
            made[number // 50 % len(made)] = server.datagram(strangers[number // 50 % len(made)])
        server.tell(made[number % len(made)], source)


def kinds(server: Server, data: bytes, address: Address) -> list[type]:
    return [type(message) for _, message in server.ask(data, address)]


def at(server: Server, ahead_s: float, **how: Any) -> bytes:
    """Bob's, by a clock that is so far ahead."""
    sent_at = int((unix_s(server.now) + ahead_s) * 1000)
    return server.datagram(BOB, sent_at_unix_ms=sent_at, **how)


def is_first(freshness: Freshness, number: int, now: float) -> bool:
    """Whether the REGISTER of that number may introduce; it was sent a millisecond after the last
    one."""
    sent_at = int(unix_s(1000.0) * 1000) + number
    signed = number.to_bytes(40, "big")
    network, peer = NetworkId(bytes(32)), PeerId(number.to_bytes(32, "big"))
    register = Register(T, network, peer, 1, b"", sent_at_unix_ms=sent_at, signed=signed)
    if not freshness.may_be_new(register, now):
        return False
    return freshness.is_first(register, None, HOME, now)
