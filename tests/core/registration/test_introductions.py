"""Whom a server introduces to whom: at the first REGISTER, by the listing, and by CONNECT."""

from collections.abc import Callable
from random import Random

import pytest

from natd.core.base.events import MembersListed, ServerAnswered
from natd.core.base.types import Address, NetworkId
from natd.core.base.wishes import IntroductionWanted
from natd.core.codec import rendezvous_codec
from natd.core.codec.rendezvous import (
    Introduce,
)
from natd.core.registration.events import (
    ConnectUnanswered,
    Introduced,
    PeerAbsent,
    SocketSampled,
)
from natd.core.registration.lease import MOMENT_S
from natd.core.registration.member_sync import CONNECT_LADDER_S, UNANSWERED_RTTS
from tests.core.world.meeting import (
    CARD,
    ROUND_TRIP_S,
    SERVER,
    SERVER_IPV6,
    Guest,
    Meeting,
    Sent,
)


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
    assert [told.is_news for told in resident.of(Introduced)] == [True, False]


def test_who_was_told_of_a_newcomer_early_is_told_when_its_address_is_proved() -> None:
    meeting = Meeting()
    resident = meeting.register("resident")
    newcomer = meeting.invite("newcomer")
    began = meeting.now
    meeting.start(newcomer)
    meeting.run(1.0)

    [to_newcomer] = newcomer.of(Introduced)
    assert to_newcomer.proved == {resident.address.host}
    early, proved = resident.of(Introduced)
    assert early.proved == frozenset()
    assert proved.proved == {newcomer.address.host}
    assert resident.event_times[-1] == pytest.approx(began + 2 * ROUND_TRIP_S, abs=0.005)


@pytest.mark.parametrize("residents", [1, 7, 60])
def test_everyone_learns_that_a_newcomer_has_proved_its_address(residents: int) -> None:
    meeting = Meeting()
    others = [meeting.invite(f"resident {number}") for number in range(residents)]
    for other in others:
        meeting.start(other)
        meeting.run(0.02)
    meeting.run(5.0)
    newcomer = meeting.invite("newcomer")
    meeting.start(newcomer)
    meeting.run(1.0)
    for other in others:
        told = [event for event in other.of(Introduced) if event.peer == newcomer.identity.peer]
        assert told[-1].proved == {newcomer.address.host}


def test_who_comes_back_to_where_it_has_a_lease_has_proved_that_already() -> None:
    meeting = Meeting()
    resident = meeting.register("resident")
    newcomer = meeting.register("newcomer")
    resident.events.clear()
    newcomer.registration.network_changed(meeting.now)
    meeting.run(0.06)
    assert [told.proved for told in resident.of(Introduced)] == [{newcomer.address.host}]


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
            newcomer.registration.connect(
                resident.identity.peer, IntroductionWanted(()), meeting.now
            )
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

    resident.registration.connect(guest.identity.peer, IntroductionWanted(()), meeting.now)
    meeting.run(1.0)
    assert resident.of(Introduced)[-1].sealed_card == b"newer" * 50


def test_connect_introduces_both_again_at_the_same_instant_and_the_asker_dials() -> None:
    meeting = Meeting()
    resident = meeting.register("resident")
    guest = meeting.register("guest")
    guest.events.clear()
    resident.events.clear()
    sample = Address(resident.address.host, 4711)
    began = meeting.now
    resident.registration.connect(guest.identity.peer, IntroductionWanted((sample,)), began)
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
    guest.registration.connect(resident.identity.peer, IntroductionWanted(()), meeting.now)
    meeting.run(ROUND_TRIP_S + 0.01)
    assert len(guest.of(Introduced)) == 1


def test_connect_is_asked_again_when_it_is_lost() -> None:
    meeting = Meeting()
    guest, resident = meeting.register("guest"), meeting.register("resident")
    guest.events.clear()
    first = len(meeting.sent)
    meeting.loses = lambda sent: len(meeting.sent) == first + 1
    guest.registration.connect(resident.identity.peer, IntroductionWanted(()), meeting.now)
    meeting.run(0.5)

    assert len(guest.of(Introduced)) == 1


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_server_that_does_not_answer_a_connect_is_told_of_after_a_round_trip(lost) -> None:
    """`lost`: 0 nothing, 1 the first datagram, 2 all."""
    meeting = Meeting()
    guest, resident = meeting.register("guest"), meeting.register("resident")
    guest.events.clear()
    first = len(meeting.sent)
    meeting.loses = lambda sent: lost == 2 or (lost == 1 and len(meeting.sent) == first + 1)
    asked_at = meeting.now
    guest.registration.connect(resident.identity.peer, IntroductionWanted(()), asked_at)
    meeting.run(2.0, until=lambda: bool(guest.of(ConnectUnanswered)))
    if lost:
        assert UNANSWERED_RTTS * ROUND_TRIP_S <= meeting.now - asked_at <= 0.2
    meeting.run(2.0)

    told = [ConnectUnanswered(resident.identity.peer, asked_at)]
    assert guest.of(ConnectUnanswered) == told * (0, 1, len(CONNECT_LADDER_S))[lost]


def test_connect_to_a_peer_that_is_not_registered_is_absent() -> None:
    meeting = Meeting()
    guest, other = meeting.register("guest"), meeting.invite("other")
    guest.registration.connect(other.identity.peer, IntroductionWanted(()), meeting.now)
    meeting.run(1.0)

    assert guest.of(PeerAbsent) == [PeerAbsent(SERVER, other.identity.peer)]


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


def test_the_nearer_side_is_told_to_wait_for_half_the_difference_of_the_round_trips() -> None:
    meeting = Meeting()
    near = meeting.register("near", one_way_s=0.010)
    far = meeting.register("far", one_way_s=0.060)
    near.events.clear()
    far.events.clear()
    near.registration.connect(far.identity.peer, IntroductionWanted(()), meeting.now)
    meeting.run(1.0)

    assert near.of(Introduced)[0].start_in_s == pytest.approx(0.050, abs=0.002)
    assert far.of(Introduced)[0].start_in_s == 0.0


def lossy(random: Random, share: float) -> Callable[[Sent], bool]:
    return lambda sent: random.random() < share
