"""Registrations against a real coordinator, in virtual time."""

import itertools
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from natd.core.base.events import MembersListed, ServerAnswered, ServerLost
from natd.core.base.types import Address, NetworkId, SocketId
from natd.core.codec import rendezvous_codec
from natd.core.codec.rendezvous import (
    Bye,
    Challenge,
    ChallengeReason,
    Error,
    Introduce,
    Refresh,
    Register,
    Sample,
)
from natd.core.registration.events import (
    Introduced,
    OurAddressMoved,
    PeerAbsent,
    SocketSampled,
)
from natd.core.registration.lease import MOMENT_S
from tests.core.world.meeting import (
    CARD,
    NETWORK,
    ONE_WAY_S,
    SERVER,
    SERVER_IPV6,
    Guest,
    Meeting,
    Sent,
)
from tests.core.world.timers import timer_of

ROUND_TRIP_S = 2 * ONE_WAY_S


def test_the_first_breath_is_one_register_and_one_sample_to_each_of_the_next_three_ports() -> None:
    meeting = Meeting()
    guest = meeting.invite("alice")
    meeting.start(guest)

    kinds = [(type(rendezvous_codec.decode(s.data)), s.destination.port) for s in meeting.sent]
    assert sorted(kinds, key=str) == sorted(
        [(Register, 8080), (Sample, 8081), (Sample, 8082), (Sample, 8083)], key=str
    )
    assert {sent.at for sent in meeting.sent} == {1000.0}


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


def test_a_newcomer_is_introduced_in_its_first_round_trip_and_dials() -> None:
    meeting = Meeting()
    resident = meeting.register("resident")
    newcomer = meeting.invite("newcomer")
    began = meeting.now
    meeting.start(newcomer)
    meeting.run(1.0)

    assert newcomer.first(Introduced) == pytest.approx(began + ROUND_TRIP_S)
    assert resident.first(Introduced) == pytest.approx(began + ROUND_TRIP_S)
    to_newcomer, to_resident = newcomer.of(Introduced)[0], resident.of(Introduced)[0]
    assert (to_newcomer.peer, to_newcomer.we_dial) == (resident.identity.peer, True)
    assert (to_resident.peer, to_resident.we_dial) == (newcomer.identity.peer, False)
    assert to_newcomer.addresses == (resident.address,)
    assert to_resident.addresses == (newcomer.address,)
    assert to_newcomer.sealed_card == to_resident.sealed_card == CARD


def test_an_introduction_that_the_server_repeats_is_reported_once() -> None:
    meeting = Meeting()
    resident = meeting.register("resident")
    newcomer = meeting.register("newcomer")

    introductions = [
        s for s in meeting.sent if isinstance(rendezvous_codec.decode(s.data), Introduce)
    ]
    assert len(introductions) > 2
    assert len(newcomer.of(Introduced)) == 1
    assert len(resident.of(Introduced)) == 1


def test_listed_comes_once_and_after_all_members_that_were_there() -> None:
    meeting = Meeting()
    residents = [meeting.register(f"resident {number}") for number in range(12)]
    newcomer = meeting.invite("newcomer")
    meeting.start(newcomer)
    meeting.run(5.0)

    assert newcomer.met() == {resident.identity.peer for resident in residents}
    assert len(newcomer.of(MembersListed)) == 1
    listed_at = newcomer.events.index(newcomer.of(MembersListed)[0])
    assert sum(isinstance(event, Introduced) for event in newcomer.events[:listed_at]) == 12
    for resident in residents:
        assert newcomer.identity.peer in resident.met()


def test_an_empty_network_is_listed_with_the_lease() -> None:
    meeting = Meeting()
    guest = meeting.register("alice")

    assert guest.first(MembersListed) == guest.first(ServerAnswered)


def test_everyone_of_a_large_network_is_introduced_within_a_second() -> None:
    meeting = Meeting()
    residents = [meeting.invite(f"resident {number}") for number in range(60)]
    for resident in residents:
        meeting.start(resident)
        meeting.run(0.02)
    meeting.run(5.0)
    newcomer = meeting.invite("newcomer")
    meeting.start(newcomer)
    meeting.run(1.0)

    assert newcomer.met() == {resident.identity.peer for resident in residents}


def test_the_loss_of_any_single_datagram_is_made_up_for_within_half_a_second() -> None:
    """A resident that missed an introduction is found by its dialler: no answer, connect."""

    def run(lost: int | None) -> tuple[int, float]:
        meeting = Meeting()
        residents = [meeting.register(f"resident {number}") for number in range(7)]
        began, first = meeting.now, len(meeting.sent)
        meeting.loses = lambda sent: lost is not None and len(meeting.sent) == first + lost + 1
        newcomer = meeting.invite("newcomer")
        meeting.start(newcomer)

        def who_has_not_met() -> list[Guest]:
            return [r for r in residents if newcomer.identity.peer not in r.met()]

        def is_done() -> bool:
            return (
                newcomer.registration.state == "registered"
                and len(newcomer.met()) == len(residents)
                and len(newcomer.of(SocketSampled)) >= 3
                and not who_has_not_met()
            )

        meeting.run(0.3, until=is_done)
        for resident in who_has_not_met():
            newcomer.registration.connect(resident.identity.peer, (), meeting.now)
        meeting.run(5.0, until=is_done)
        assert is_done(), f"datagram {lost} was not made up for"
        return len(meeting.sent) - first, meeting.now - began

    count, _ = run(None)
    assert count > 20
    worst_s = max(run(lost)[1] for lost in range(count))
    assert worst_s <= 0.5


def test_what_one_of_few_residents_missed_is_said_again_with_the_lease() -> None:
    meeting = Meeting()
    resident = meeting.register("resident")
    newcomer = meeting.invite("newcomer")
    lost: list[Sent] = []

    def loses(sent: Sent) -> bool:
        if not lost and sent.destination == resident.address:
            lost.append(sent)
            return True
        return False

    meeting.loses = loses
    began = meeting.now
    meeting.start(newcomer)
    meeting.run(1.0)

    assert len(lost) == 1
    assert resident.first(Introduced) == pytest.approx(began + 2 * ROUND_TRIP_S + MOMENT_S)


def test_three_of_ten_datagrams_may_be_lost_and_everyone_meets() -> None:
    for seed in range(20):
        meeting = Meeting(seed)
        meeting.loses = lossy(Random(seed), 0.3)
        guests = [meeting.invite(f"guest {number}") for number in range(5)]
        for guest in guests:
            meeting.start(guest)
            meeting.run(0.5)
        meeting.run(120.0)
        for guest in guests:
            others = {other.identity.peer for other in guests} - {guest.identity.peer}
            assert guest.met() == others, f"seed {seed}"


def test_a_lease_is_refreshed_every_15_to_25_seconds_and_sampled_every_third_time() -> None:
    meeting = Meeting()
    guest = meeting.register("alice")
    before = len(meeting.sent)
    guest.events.clear()
    meeting.run(3600.0)

    refreshes = [
        s.at for s in meeting.sent[before:] if isinstance(rendezvous_codec.decode(s.data), Refresh)
    ]
    waits = [after - earlier for earlier, after in itertools.pairwise(refreshes)]
    assert 3600 / 25 <= len(refreshes) <= 3600 / 15
    assert min(waits) >= 15.0
    assert max(waits) <= 25.0 + ROUND_TRIP_S
    samples = guest.of(SocketSampled)
    assert len(refreshes) // 3 - 1 <= len(samples) <= len(refreshes) // 3 + 1
    assert {event.server_address.port for event in samples} == {8081, 8082, 8083}
    assert not guest.of(ServerAnswered), "nothing has changed"
    assert meeting.coordinator.lease_count == 1


def test_a_renewal_is_reported_only_when_our_address_has_moved() -> None:
    meeting = Meeting()
    guest = meeting.register("alice")
    guest.registration.renew_card(b"newer" * 50, 2, meeting.now)
    meeting.run(1.0)
    assert len(guest.of(ServerAnswered)) == 1

    guest.address = Address("203.0.113.99", 55555)
    meeting.run(60.0)
    assert guest.of(ServerAnswered)[1:] == [answered(guest)]
    assert len(guest.of(OurAddressMoved)) == 1
    assert guest.registration.observed == guest.address


def test_a_moved_peer_is_introduced_again_with_its_new_address() -> None:
    meeting = Meeting()
    resident = meeting.register("resident")
    guest = meeting.register("guest")
    guest.address = Address("203.0.113.99", 55555)
    meeting.run(30.0)

    assert resident.of(Introduced)[-1].addresses == (guest.address,)
    assert guest.of(Introduced)[-1].peer == resident.identity.peer


def test_a_renewed_card_reaches_who_asks_for_it_and_introduces_nobody_again() -> None:
    meeting = Meeting()
    resident = meeting.register("resident")
    guest = meeting.register("guest")
    meeting.run(10.0)
    introduced = len(resident.of(Introduced))
    guest.registration.renew_card(b"newer" * 50, 2, meeting.now)
    meeting.run(5.0)
    assert len(resident.of(Introduced)) == introduced

    resident.registration.connect(guest.identity.peer, (), meeting.now)
    meeting.run(1.0)
    assert resident.of(Introduced)[-1].sealed_card == b"newer" * 50


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


def test_connect_introduces_both_again_at_the_same_instant_and_the_asker_dials() -> None:
    meeting = Meeting()
    resident = meeting.register("resident")
    guest = meeting.register("guest")
    guest.events.clear()
    resident.events.clear()
    sample = Address(resident.address.host, 4711)
    began = meeting.now
    resident.registration.connect(guest.identity.peer, (sample,), began)
    meeting.run(1.0, until=lambda: bool(guest.of(Introduced) and resident.of(Introduced)))

    assert meeting.now == pytest.approx(began + ROUND_TRIP_S)
    assert resident.of(Introduced)[0].we_dial
    assert not guest.of(Introduced)[0].we_dial
    assert guest.of(Introduced)[0].addresses[0] == sample


def test_connect_brings_an_introduction_even_right_after_the_same_one() -> None:
    meeting = Meeting()
    resident = meeting.register("resident")
    guest = meeting.invite("guest")
    meeting.start(guest)
    meeting.run(2 * ROUND_TRIP_S + 0.01)
    guest.events.clear()
    guest.registration.connect(resident.identity.peer, (), meeting.now)
    meeting.run(ROUND_TRIP_S + 0.01)
    assert len(guest.of(Introduced)) == 1


def test_connect_is_asked_again_when_it_is_lost() -> None:
    meeting = Meeting()
    guest, resident = meeting.register("guest"), meeting.register("resident")
    guest.events.clear()
    first = len(meeting.sent)
    meeting.loses = lambda sent: len(meeting.sent) == first + 1
    guest.registration.connect(resident.identity.peer, (), meeting.now)
    meeting.run(0.5)

    assert len(guest.of(Introduced)) == 1


def test_connect_to_a_peer_that_is_not_registered_is_absent() -> None:
    meeting = Meeting()
    guest, other = meeting.register("guest"), meeting.invite("other")
    guest.registration.connect(other.identity.peer, (), meeting.now)
    meeting.run(1.0)

    assert guest.of(PeerAbsent) == [PeerAbsent(SERVER, other.identity.peer)]


def test_a_newer_card_does_not_make_a_silent_server_be_waited_for_any_longer() -> None:
    """A router that maps a port in the meantime makes one: the user was told seconds later."""
    meeting = Meeting()
    meeting.server_is_up = False
    guest = meeting.invite("alice")
    meeting.start(guest)
    meeting.run(5.0)
    guest.registration.renew_card(b"newer" * 50, 2, meeting.now)
    meeting.run(60.0)
    assert guest.first(ServerLost) == pytest.approx(1009.0)


def test_a_server_that_never_answers_is_lost_within_ten_seconds_and_still_tried() -> None:
    meeting = Meeting()
    meeting.server_is_up = False
    guest = meeting.invite("alice")
    meeting.start(guest)
    meeting.run(600.0)

    assert guest.first(ServerLost) == pytest.approx(1009.0)
    assert len(guest.of(ServerLost)) == 1
    assert str(SERVER) in guest.of(ServerLost)[0].reason
    assert guest.registration.is_silent
    late = [sent.at for sent in meeting.sent if sent.at > 1100]
    waits = [after - earlier for earlier, after in itertools.pairwise(late)]
    assert max(waits) <= 15.0
    assert min(waits) >= 10.0

    meeting.server_is_up = True
    meeting.run(16.0)
    assert guest.registration.state == "registered"
    assert len(guest.of(ServerAnswered)) == 1
    meeting.run(1.0)
    assert {event.server_address.port for event in guest.of(SocketSampled)} == {8081, 8082, 8083}


def test_a_server_that_dies_is_lost_within_35_seconds_and_found_within_31_of_its_return() -> None:
    meeting = Meeting()
    guest, resident = meeting.register("guest"), meeting.register("resident")
    meeting.server_is_up = False
    died_at = meeting.now
    meeting.run(300.0)
    assert guest.first(ServerLost) <= died_at + 35.0
    assert guest.registration.state == "lost"

    guest.events.clear()
    meeting.restart_server()
    meeting.server_is_up = True
    meeting.run(16.0)
    assert guest.registration.state == resident.registration.state == "registered"
    assert not guest.of(OurAddressMoved)
    assert guest.met() == {resident.identity.peer}


def test_peers_of_a_server_that_restarted_empty_return_within_30_s_and_not_all_at_once() -> None:
    meeting = Meeting()
    guests = [meeting.invite(f"guest {number}") for number in range(40)]
    for guest in guests:
        meeting.start(guest)
    meeting.run(60.0)
    restarted_at = meeting.now
    meeting.restart_server()
    for guest in guests:
        guest.events.clear()
        guest.event_times.clear()
    meeting.run(30.0)

    assert meeting.coordinator.lease_count == 40
    returned = sorted(guest.first(ServerAnswered) - restarted_at for guest in guests)
    for start_s in range(30):
        assert sum(start_s <= at < start_s + 1 for at in returned) <= 20
    assert not any(guest.of(ServerLost) for guest in guests)


def test_a_server_of_another_version_is_lost_with_a_reason_that_says_so() -> None:
    meeting = Meeting()
    guest = meeting.invite("alice")
    meeting.start(guest)
    transaction = rendezvous_codec.decode(meeting.sent[-1].data).transaction
    foreign = bytes((5, 9, 11)) + transaction + b"whatever"
    guest.registration.receive_datagram(foreign, SERVER, meeting.now)

    lost = guest.registration.next_event()
    assert isinstance(lost, ServerLost)
    assert "version 9" in lost.reason
    assert "version 1" in lost.reason
    assert guest.registration.state == "lost"


def test_what_the_server_refuses_is_lost_with_the_servers_words_and_tried_again() -> None:
    meeting = Meeting()
    guest = meeting.invite("alice")
    meeting.start(guest)
    transaction = rendezvous_codec.decode(meeting.sent[-1].data).transaction
    error = rendezvous_codec.encode(Error(transaction, 2, "this server is full\x1b[2J"))
    guest.registration.receive_datagram(error, SERVER, meeting.now)

    lost = guest.registration.next_event()
    assert isinstance(lost, ServerLost)
    assert "this server is full[2J" in lost.reason, "escapes are taken out"
    meeting.run(16.0)
    assert guest.registration.state == "registered"


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
    for transaction, peer in (
        (b"\x00" * 12, stranger),
        (question.transaction, guest.identity.peer),
    ):
        introduce = Introduce(transaction, True, 0, peer, (), (), b"card")
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


def test_both_families_of_one_peer_are_told_together() -> None:
    meeting = Meeting()
    four = meeting.invite("twofold", address=Address("203.0.113.5", 5000))
    six = meeting.invite("twofold", address=Address("2001:db8::5", 5000), server=SERVER_IPV6)
    meeting.start(four)
    meeting.start(six)
    meeting.run(2.0)
    newcomer = meeting.register("newcomer")

    assert newcomer.of(Introduced)[-1].addresses == (four.address, six.address)
    assert len(newcomer.met()) == 1
    assert four.met() == {newcomer.identity.peer}
    assert four.identity.peer not in four.met() | six.met()


def test_networks_know_nothing_of_each_other() -> None:
    meeting = Meeting()
    guests = [
        meeting.register(f"guest {number}", network=NetworkId(bytes([number % 2]) * 16))
        for number in range(6)
    ]
    for number, guest in enumerate(guests):
        alike = {g.identity.peer for g in guests[number % 2 :: 2]} - {guest.identity.peer}
        assert guest.met() == alike


def test_stopping_says_goodbye_once_and_is_silent_ever_after() -> None:
    meeting = Meeting()
    guest = meeting.register("alice")
    guest.registration.stop()
    datagrams = guest.registration.datagrams_to_send()
    assert [type(rendezvous_codec.decode(datagram.data)) for datagram in datagrams] == [Bye]
    assert guest.registration.state == "stopped"
    assert guest.registration.get_timer() is None
    guest.registration.network_changed(meeting.now)
    guest.registration.connect(guest.identity.peer, (), meeting.now)
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


def test_the_nearer_side_is_told_to_wait_for_half_the_difference_of_the_round_trips() -> None:
    meeting = Meeting()
    near = meeting.register("near", one_way_s=0.010)
    far = meeting.register("far", one_way_s=0.060)
    near.events.clear()
    far.events.clear()
    near.registration.connect(far.identity.peer, (), meeting.now)
    meeting.run(1.0)

    assert near.of(Introduced)[0].start_in_s == pytest.approx(0.050, abs=0.002)
    assert far.of(Introduced)[0].start_in_s == 0.0


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


def test_a_lost_lease_is_renewed_at_once_when_we_moved_and_after_a_while_when_all_lost_theirs() -> (
    None
):
    waits: dict[ChallengeReason, list[float]] = {
        ChallengeReason.MOVED: [],
        ChallengeReason.UNKNOWN: [],
    }
    for reason, found in waits.items():
        meeting = Meeting()
        for guest in [meeting.register(f"guest {number}") for number in range(20)]:
            while not (asked := guest.registration.datagrams_to_send()):
                meeting.now = timer_of(guest.registration)
                guest.registration.handle_timer(meeting.now)
            challenge = Challenge(
                rendezvous_codec.decode(asked[0].data).transaction, reason, b"t" * 17
            )
            guest.registration.receive_datagram(
                rendezvous_codec.encode(challenge), SERVER, meeting.now
            )
            found.append(timer_of(guest.registration) - meeting.now)
    assert set(waits[ChallengeReason.MOVED]) == {0.0}
    assert min(waits[ChallengeReason.UNKNOWN]) < 0.3
    assert 0.7 < max(waits[ChallengeReason.UNKNOWN]) <= 1.0


def test_a_late_challenge_to_a_refresh_of_an_earlier_lease_does_not_end_the_new_one() -> None:
    meeting = Meeting()
    guest = meeting.register("guest")
    while not (asked := guest.registration.datagrams_to_send()):
        meeting.now = timer_of(guest.registration)
        guest.registration.handle_timer(meeting.now)
    guest.registration.network_changed(meeting.now)
    guest.address = Address("203.0.113.77", 7777)
    meeting.run(1.0)
    late = rendezvous_codec.decode(asked[0].data).transaction
    challenge = rendezvous_codec.encode(Challenge(late, ChallengeReason.MOVED, b"t" * 17))
    guest.registration.receive_datagram(challenge, SERVER, meeting.now)
    assert timer_of(guest.registration) > meeting.now + 1.0


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


def about(seconds: float) -> Any:
    """Equal to any number close to it, also as a field of what is compared."""
    return pytest.approx(seconds)


def answered(guest: Any) -> ServerAnswered:
    """What is told of a first answer, or of one that sees us elsewhere."""
    return ServerAnswered(NETWORK, SERVER, guest.address, about(ROUND_TRIP_S))


def lossy(random: Random, share: float) -> Callable[[Sent], bool]:
    return lambda sent: random.random() < share
