"""A server that is silent or says no is lost, with a reason, and tried again."""

import itertools

import pytest

from natd.core.base.events import ServerAnswered, ServerLost
from natd.core.base.verdict import VerdictCode
from natd.core.codec import rendezvous_codec
from natd.core.codec.rendezvous import (
    Error,
)
from natd.core.registration.events import (
    SocketSampled,
)
from tests.core.world.meeting import (
    SERVER,
    Meeting,
)


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
    assert guest.registration.refusal is None
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


def test_a_server_of_another_version_is_lost_with_a_reason_that_says_so() -> None:
    meeting = Meeting()
    guest = meeting.invite("alice")
    meeting.start(guest)
    transaction = rendezvous_codec.decode(meeting.sent[-1].data).transaction
    foreign = bytes((5, 9, 11)) + transaction + b"whatever"
    guest.registration.receive_datagram(foreign, SERVER, meeting.now)

    lost = guest.registration.next_event()
    assert isinstance(lost, ServerLost)
    assert lost.reason == (
        f"{SERVER} speaks a newer version of natd (protocol 9, and here it is 2); update natd here"
    )
    assert lost.code is VerdictCode.OTHER_VERSION
    assert guest.registration.state == "lost"


def test_words_of_another_version_that_answer_nothing_lose_no_server() -> None:
    """Anybody can write the server's address on them."""
    meeting = Meeting()
    guest = meeting.register("alice")
    foreign = bytes((5, 9, 11)) + bytes(12) + b"whatever"
    guest.registration.receive_datagram(foreign, SERVER, meeting.now)

    assert guest.registration.next_event() is None
    assert guest.registration.state == "registered"


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
