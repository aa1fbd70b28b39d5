"""Registering with a server, and what that tells of us: a real coordinator, in virtual time."""

from random import Random

import pytest

from natd.core.base.events import ServerAnswered
from natd.core.base.types import Address, SocketId
from natd.core.base.wishes import IntroductionWanted
from natd.core.codec import rendezvous_codec
from natd.core.codec.rendezvous import (
    Bye,
    Error,
    Introduce,
    Register,
    Sample,
)
from natd.core.codec.rendezvous_codec import decode
from natd.core.registration.events import (
    Introduced,
    OurAddressMoved,
    SocketSampled,
)
from natd.core.registration.lease import MOMENT_S
from tests.core.world.meeting import (
    ROUND_TRIP_S,
    SERVER,
    SERVER_IPV6,
    Meeting,
    Sent,
    answered,
)
from tests.internet.net import unix_s


def test_the_first_breath_is_one_register_and_one_sample_to_each_of_the_next_three_ports() -> None:
    meeting = Meeting()
    guest = meeting.invite("alice")
    meeting.start(guest)

    kinds = [(type(rendezvous_codec.decode(s.data)), s.destination.port) for s in meeting.sent]
    assert sorted(kinds, key=str) == sorted(
        [(Register, 8080), (Sample, 8081), (Sample, 8082), (Sample, 8083)], key=str
    )
    assert {sent.at for sent in meeting.sent} == {1000.0}


def test_every_copy_of_a_register_is_signed_anew_with_its_own_transaction_and_the_time() -> None:
    """Each server, family and retransmission: so none can be taken for another's, or for a later
    one's."""
    meeting = Meeting()
    meeting.server_is_up = False
    for server in (SERVER, SERVER_IPV6):
        meeting.start(meeting.invite("alice", server=server))
    meeting.run(5.0)
    copies = [(s, m) for s in meeting.sent if isinstance(m := decode(s.data), Register)]
    assert len(copies) >= 10
    assert len({message.transaction for _, message in copies}) == len(copies)
    assert len({message.signature for _, message in copies}) == len(copies)
    assert len({message.member_signature for _, message in copies}) == len(copies)
    for sent, message in copies:
        assert message.sent_at_unix_ms == pytest.approx(unix_s(sent.at) * 1000, abs=1)


def test_a_lease_takes_two_round_trips_and_tells_our_address_and_the_round_trip_time() -> None:
    meeting = Meeting()
    guest = meeting.register("alice")

    assert guest.of(ServerAnswered) == [answered(guest)]
    assert not guest.of(OurAddressMoved)
    assert guest.first(ServerAnswered) == pytest.approx(1000.0 + 2 * ROUND_TRIP_S + MOMENT_S)
    assert guest.registration.state == "registered"
    assert guest.registration.observed == guest.address
    assert guest.registration.last_answer_at == pytest.approx(1000.0 + 2 * ROUND_TRIP_S + MOMENT_S)


def test_the_sampling_ports_tell_where_they_saw_us_in_the_first_round_trip() -> None:
    meeting = Meeting()
    guest = meeting.register("alice")

    assert {event.server_address.port for event in guest.of(SocketSampled)} == {8081, 8082, 8083}
    assert {event.observed for event in guest.of(SocketSampled)} == {guest.address}
    assert guest.first(SocketSampled) == pytest.approx(1000.0 + ROUND_TRIP_S)


def test_after_a_change_of_network_we_register_at_once_and_are_introduced_at_once() -> None:
    meeting = Meeting()
    resident = meeting.register("resident")
    guest = meeting.register("guest")
    meeting.run(5.0)
    guest.events.clear()
    guest.event_times.clear()
    guest.address = Address("203.0.113.77", 7777)
    began = meeting.now
    guest.registration.network_changed(meeting.now)
    meeting.run(2.0)

    assert guest.first(Introduced) == pytest.approx(began + ROUND_TRIP_S)
    assert resident.of(Introduced)[-1].addresses == (guest.address,)
    assert guest.of(ServerAnswered) == [answered(guest)]
    assert len(guest.of(OurAddressMoved)) == 1


def test_only_the_servers_host_with_a_transaction_of_ours_is_believed() -> None:
    meeting = Meeting()
    guest = meeting.invite("alice")
    meeting.start(guest)
    question = next(
        rendezvous_codec.decode(s.data)
        for s in meeting.sent
        if isinstance(rendezvous_codec.decode(s.data), Register)
    )
    error = rendezvous_codec.encode(Error(question.transaction, 2, "no"))
    strange = rendezvous_codec.encode(Error(b"\x00" * 12, 2, "no"))
    guest.registration.receive_datagram(error, Address("198.51.100.2", 8080), meeting.now)
    guest.registration.receive_datagram(error, Address(SERVER.host, 8082), meeting.now)
    guest.registration.receive_datagram(strange, SERVER, meeting.now)
    stranger = meeting.invite("stranger").identity.peer
    for peer in (stranger, guest.identity.peer):
        introduce = Introduce(b"\x00" * 12, True, True, 0, peer, (), (), b"card")
        guest.registration.receive_datagram(rendezvous_codec.encode(introduce), SERVER, meeting.now)

    assert guest.registration.next_event() is None
    assert guest.registration.state == "starting"
    assert sum(guest.registration.dropped.values()) == 5


def test_junk_of_every_first_byte_is_dropped_and_counted() -> None:
    meeting = Meeting()
    guest = meeting.register("alice")
    random = Random(5)
    for first in range(256):
        for length in (0, 3, 20, 60, 1400):
            junk = bytes((first,)) + random.randbytes(length)
            guest.registration.receive_datagram(junk, SERVER, meeting.now)
    guest.registration.receive_datagram(b"", SERVER, meeting.now)

    assert guest.registration.datagrams_to_send() == []
    assert guest.registration.next_event() is None
    assert sum(guest.registration.dropped.values()) == 256 * 5 + 1


def test_stopping_says_goodbye_once_and_is_silent_ever_after() -> None:
    meeting = Meeting()
    guest = meeting.register("alice")
    guest.registration.stop()
    datagrams = guest.registration.datagrams_to_send()
    assert [type(rendezvous_codec.decode(datagram.data)) for datagram in datagrams] == [Bye]
    assert guest.registration.state == "stopped"
    assert guest.registration.get_timer() is None
    guest.registration.network_changed(meeting.now)
    guest.registration.connect(guest.identity.peer, IntroductionWanted(()), meeting.now)
    guest.registration.sample(SocketId(0), meeting.now)
    guest.registration.stop()
    assert guest.registration.datagrams_to_send() == []


def test_a_helper_socket_is_sampled_through_that_socket() -> None:
    meeting = Meeting()
    guest = meeting.register("alice")
    guest.events.clear()
    guest.registration.sample(SocketId(7), meeting.now)
    (datagram,) = guest.registration.datagrams_to_send()
    assert datagram.socket == SocketId(7)
    (answer,) = meeting.tell_server(
        datagram.data, Address("203.0.113.5", 999), port_index=datagram.address.port - 8080
    )
    guest.registration.receive_datagram(answer[1], datagram.address, meeting.now, SocketId(7))
    sampled = guest.registration.next_event()
    assert sampled == SocketSampled(SocketId(7), Address("203.0.113.5", 999), datagram.address)


def test_the_challenges_of_retransmissions_are_answered_once() -> None:
    meeting = Meeting()
    guest = meeting.invite("far", one_way_s=0.35)
    meeting.start(guest)
    meeting.run(0.85)
    registers = [rendezvous_codec.decode(sent.data) for sent in meeting.sent]
    proved = {r.token for r in registers if isinstance(r, Register) and r.token}
    assert len([r for r in registers if isinstance(r, Register) and not r.token]) == 3
    assert len(proved) == 1
    meeting.run(2.0)
    assert len(guest.of(ServerAnswered)) == 1


def test_a_server_that_challenges_for_ever_is_not_answered_without_pause() -> None:
    meeting = Meeting()
    guest = meeting.invite("alice")
    meeting.start(guest)
    meeting.run(0.01)

    def is_register(sent: Sent) -> bool:
        return isinstance(rendezvous_codec.decode(sent.data), Register)

    meeting.server_is_up = False
    for answers in range(200):
        latest = next(sent for sent in reversed(meeting.sent) if is_register(sent))
        transaction = rendezvous_codec.decode(latest.data).transaction
        challenge = bytes((5, 1, 2)) + transaction + b"\x00\x02" + answers.to_bytes(2, "big")
        guest.registration.receive_datagram(challenge, SERVER, meeting.now)
        meeting.run(0.01)
    assert sum(is_register(sent) for sent in meeting.sent) < 20


def test_an_hour_of_idling_costs_a_few_hundred_datagrams() -> None:
    meeting = Meeting()
    meeting.register("alice")
    before = len(meeting.sent)
    meeting.run(3600.0)
    assert len(meeting.sent) - before < 600
