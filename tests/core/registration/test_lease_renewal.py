"""Keeping a lease: refreshed, lost by a restart or a move, and got again."""

import itertools

from natd.core.base.events import ServerAnswered, ServerLost
from natd.core.base.types import Address
from natd.core.codec import rendezvous_codec
from natd.core.codec.rendezvous import (
    Challenge,
    ChallengeReason,
    Refresh,
)
from natd.core.registration.events import (
    OurAddressMoved,
    SocketSampled,
)
from tests.core.world.meeting import (
    ROUND_TRIP_S,
    SERVER,
    Meeting,
    answered,
)
from tests.core.world.timers import timer_of


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
