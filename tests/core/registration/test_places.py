"""A server whose name has several addresses, of which some are dead."""

from random import Random

import pytest

from natd.core.base.events import ServerAnswered, ServerLost
from natd.core.base.timers import WallClock
from natd.core.base.types import MAIN_SOCKET, Address, NamedServer
from natd.core.checks.meetings import Meetings
from natd.core.codec import rendezvous_codec
from natd.core.codec.rendezvous import Bye, Register, Sample
from natd.core.keys.card import Identity
from natd.core.keys.membership_key import MembershipKey
from natd.core.nat.model import NatModel
from natd.core.registration.events import SocketSampled
from natd.core.registration.places import Places, each_once
from natd.core.registration.servers import Servers
from tests.core.world.meeting import CARD, NETWORK, ONE_WAY_S, ROUND_TRIP_S, SERVER, Guest, Meeting
from tests.core.world.village import Village
from tests.internet.nat import PORT_RESTRICTED

DEAD = tuple(Address(f"192.0.2.{n}", 8080) for n in range(1, 9))


@pytest.mark.parametrize("dead", range(8))
def test_the_one_address_that_lives_is_found_a_quarter_of_a_second_after_the_one_before(dead):
    """The first address of a name was the only one that was ever asked."""
    meeting = Meeting()
    guest = invite(meeting, *DEAD[:dead], SERVER)
    meeting.start(guest)
    meeting.run(10.0)
    assert guest.registration.state == "registered"
    assert guest.registration.server == SERVER
    assert guest.first(ServerAnswered) <= 1000.0 + 0.25 * dead + 2.2 * ROUND_TRIP_S
    assert guest.of(ServerLost) == []
    ports = {event.server_address.port for event in guest.of(SocketSampled)}
    assert ports == {8081, 8082, 8083}, "our NAT is measured there"


@pytest.mark.parametrize("count", range(2, 9))
def test_a_dead_name_gets_no_more_packets_than_a_dead_address(count):
    """Each address had a ladder of its own.  A ladder of seven rungs can't ask eight."""
    for run_s, jitter in ((8.9, 0), (3600.0, 3)):
        alone, several = packets_of(DEAD[:1], run_s), packets_of(DEAD[:count], run_s)
        assert len(several) <= len(alone) + (count == 8) + jitter
    assert len(packets_of(DEAD[:1], 8.9)) == 7 + 3 * 3, "and no more than before"


def test_every_address_of_a_dead_name_is_asked_again_and_again():
    meeting = Meeting()
    meeting.server_is_up = False
    guest = invite(meeting, *DEAD)
    meeting.start(guest)
    meeting.run(1000.0)
    assert len(guest.of(ServerLost)) == 1
    assert guest.first(ServerLost) == pytest.approx(1009.0)
    meeting.sent.clear()
    meeting.run(8 * 15.0)
    assert {sent.destination for sent in meeting.sent} == set(DEAD)


def test_a_server_that_dies_is_left_for_its_next_address_as_soon_as_that_is_noticed():
    meeting = Meeting()
    second = Address("192.0.2.9", 8080)
    guest = invite(meeting, SERVER, second)
    meeting.start(guest)
    meeting.run(5.0)
    assert guest.registration.server == SERVER
    meeting.server_is_up = False
    meeting.sent.clear()
    meeting.run(40.0, until=lambda: asked(meeting, Register, second))
    assert meeting.now - 1005.0 <= 25.0 + 7.0
    assert guest.registration.server == second


def test_an_address_that_answers_late_does_not_take_us_away_from_the_one_that_answered():
    places = Places(DEAD[:2])
    assert [places.next(), places.next()] == [DEAD[0], DEAD[1]]
    assert places.settle(DEAD[0]), "the first one answers, though the second is asked already"
    assert not places.settle(DEAD[1])
    assert (places.asked, places.next()) == (DEAD[0], DEAD[0])
    places.unsettle()
    assert places.next() == DEAD[1]
    assert not Places(DEAD[:2]).settle(SERVER)


def test_a_slow_server_is_kept_although_the_next_address_was_asked_meanwhile():
    meeting = Meeting()
    guest = invite(meeting, SERVER, *DEAD[:2], one_way_s=0.3)
    meeting.start(guest)
    meeting.run(10.0)
    assert guest.registration.server == SERVER
    assert guest.registration.state == "registered"
    assert asked(meeting, Register, DEAD[0])


def test_a_name_that_has_moved_is_followed_and_one_that_has_not_costs_nothing():
    meeting = Meeting()
    guest = invite(meeting, SERVER, DEAD[0])
    meeting.start(guest)
    meeting.run(5.0)
    meeting.sent.clear()
    for same in ((SERVER, DEAD[0]), (DEAD[0], SERVER), (DEAD[1], SERVER)):
        guest.registration.use_addresses(same, meeting.now)
    meeting.run(1.0)
    assert meeting.sent == []
    guest.registration.use_addresses((DEAD[1],), meeting.now)
    meeting.run(0.01)
    assert asked(meeting, Bye, SERVER)
    assert asked(meeting, Register, DEAD[1])
    assert guest.registration.state == "starting"
    guest.registration.use_addresses((SERVER, DEAD[1]), meeting.now)
    meeting.run(1.0)
    assert guest.registration.server == SERVER, "the new one is asked first"
    assert guest.registration.state == "registered"


def test_both_families_of_a_name_are_asked_at_once_so_a_dead_one_delays_nothing():
    ipv6 = (Address("2001:db8::1", 8080), Address("2001:db8::2", 8080))
    member, identity, clock = MembershipKey(NETWORK), Identity(bytes(32)), WallClock()
    servers = Servers(NETWORK, member, identity, NatModel(), Random(1), clock, Meetings(), 1000.0)
    name = NamedServer("chat.example.net:8080", (ipv6[0], SERVER, ipv6[1], DEAD[0]))
    servers.use([name], CARD, 1, 1000.0)
    sent = servers.datagrams_to_send()
    registers = {d.address for d in sent if isinstance(rendezvous_codec.decode(d.data), Register)}
    assert registers == {ipv6[0], SERVER}
    assert {d.socket for d in sent} == {MAIN_SOCKET}
    reports = servers.reports()
    assert [(r.name, r.address, r.tried) for r in reports] == [
        (name.name, SERVER, (SERVER, DEAD[0])),
        (name.name, ipv6[0], ipv6),
    ]
    never_peers = servers.surroundings(1000.0).servers
    assert {*ipv6, SERVER, DEAD[0], DEAD[0]._replace(port=8083)} <= never_peers


def test_a_family_that_never_answers_is_no_lost_server_while_the_other_answers():
    village = Village(1)
    dead = Address("2001:db8:77::1", 8080)
    alice = village.member("alice", village.internet.add_nat(PORT_RESTRICTED))
    name = NamedServer("chat.example.net:8080", (dead, village.servers[0]))
    alice.start([name])
    village.internet.run(30.0)
    states = {r.address: r.state for r in alice.membership.servers.reports()}
    assert states == {dead: "lost", name.addresses[1]: "registered"}
    assert alice.attached.events_of(ServerLost) == []
    village.kill_server()
    village.internet.run(60.0)
    [lost] = alice.attached.events_of(ServerLost)
    assert lost.server == name.addresses[1]


def test_who_never_answered_is_told_with_all_addresses_that_were_tried():
    meeting = Meeting()
    meeting.server_is_up = False
    guest = invite(meeting, *DEAD[:2])
    meeting.start(guest)
    meeting.run(10.0)
    [lost] = guest.of(ServerLost)
    assert lost.reason == "no answer from 192.0.2.1:8080 or 192.0.2.2:8080"


def test_two_names_of_one_server_make_one_registration():
    both = NamedServer("b.example.net:8080", (DEAD[0], SERVER))
    found = each_once([NamedServer("a.example.net:8080", (SERVER,)), both])
    assert list(found.values()) == [(SERVER,), (DEAD[0],)]
    assert list(each_once([both, SERVER]).values()) == [(DEAD[0],), (SERVER,)]
    assert list(each_once([both, NamedServer("c.example.net:8080", both.addresses)]).values()) == [
        both.addresses
    ]
    assert list(each_once([SERVER, SERVER]).values()) == [(SERVER,)]


def invite(meeting: Meeting, *addresses: Address, one_way_s: float = ONE_WAY_S) -> Guest:
    return meeting.invite("alice", server=addresses[0], others=addresses[1:], one_way_s=one_way_s)


def asked(meeting: Meeting, kind: type, place: Address) -> bool:
    return any(
        sent.destination == place and isinstance(rendezvous_codec.decode(sent.data), kind)
        for sent in meeting.sent
    )


def packets_of(addresses: tuple[Address, ...], run_s: float) -> list[bytes]:
    meeting = Meeting()
    meeting.server_is_up = False
    guest = invite(meeting, *addresses)
    meeting.start(guest)
    meeting.run(run_s)
    kinds = (Register, Sample)
    assert all(isinstance(rendezvous_codec.decode(sent.data), kinds) for sent in meeting.sent)
    return [sent.data for sent in meeting.sent]


def test_a_name_that_points_elsewhere_each_second_aims_no_more_than_a_minutes_budget_at_a_victim():
    """Each time a dense ladder began there: 1,200 bytes at 0, 0.1, 0.3 and 0.7 s."""
    victim, minutes = DEAD[0], 10
    meeting = Meeting()
    meeting.server_is_up = False
    guest = invite(meeting, *DEAD[:2])
    meeting.start(guest)
    for second in range(60 * minutes):
        meeting.run(1.0)
        addresses = (victim,) if second % 2 else (DEAD[1],)
        guest.registration.use_addresses(addresses, meeting.now)
    at_victim = [sent for sent in meeting.sent if sent.destination.host == victim.host]
    bursts = 4 + minutes
    assert len(at_victim) <= bursts * 13 + 60 * minutes / 10
    assert sum(len(sent.data) for sent in at_victim) <= 10_000 * minutes


def test_a_name_that_has_pointed_elsewhere_too_often_is_followed_all_the_same():
    meeting = Meeting()
    guest = invite(meeting, *DEAD[:1])
    meeting.start(guest)
    for number in range(20):
        guest.registration.use_addresses((DEAD[number % 2 + 1],), meeting.now)
        meeting.run(0.1)
    guest.registration.use_addresses((SERVER,), meeting.now)
    meeting.run(15.0)
    assert guest.registration.state == "registered"
