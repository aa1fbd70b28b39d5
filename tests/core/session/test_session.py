"""One session: how it opens, stands on changing paths, and ends."""

from collections.abc import Callable
from random import Random

import pytest

from natd.core.base.routes import CONNECTION_ID, RouteAdded
from natd.core.session.events import SessionEnded
from natd.core.session.quic_header import destination_connection_id
from natd.core.session.session import SEND_BUFFER_BYTES
from tests.core.world.lossy_link import (
    START,
    LossyLink,
    Party,
    Weather,
    drained,
    linked,
    parties,
    run_until_established,
)

RTT_S = 0.05


# --- opening


def test_the_first_message_arrives_from_the_diallers_first_flight_alone() -> None:
    dialler, acceptor = parties()
    for data in dialler.dial(START, b"the first message").datagrams_to_send():
        acceptor.receive_datagram(data, START + 0.05)
    assert acceptor.received == b"the first message"
    assert not acceptor.is_established


def test_the_acceptors_first_flight_carries_its_answer() -> None:
    dialler, acceptor = parties()
    acceptor.to_answer = b"the answer"
    for data in dialler.dial(START, b"the first message").datagrams_to_send():
        acceptor.receive_datagram(data, START + 0.05)
    for data in acceptor.datagrams_to_send():
        dialler.receive_datagram(data, START + 0.1)
    assert dialler.received == b"the answer"
    assert dialler.is_established


def test_a_first_flight_that_comes_in_any_order_is_understood() -> None:
    for seed in range(20):
        dialler, acceptor = parties()
        acceptor.to_answer = b"the answer"
        flight = dialler.dial(START, b"m" * 5000).datagrams_to_send()
        Random(seed).shuffle(flight)
        for data in flight:
            acceptor.receive_datagram(data, START)
        assert acceptor.received == b"m" * 5000
        answer = acceptor.datagrams_to_send()
        Random(seed).shuffle(answer)
        for data in answer:
            dialler.receive_datagram(data, START)
        assert dialler.received == b"the answer"


def test_a_first_flight_holds_seven_kilobytes_of_waiting_messages() -> None:
    dialler, acceptor = parties()
    flight = dialler.dial(START, b"m" * 100_000).datagrams_to_send()
    assert all(len(data) <= 1200 for data in flight)
    for data in flight:
        acceptor.receive_datagram(data, START)
    assert 7_000 <= len(acceptor.received) <= 14_720


def test_the_handshake_survives_thirty_percent_of_loss_both_ways() -> None:
    took_s = []
    for seed in range(50):
        link, dialler, acceptor = linked(Weather(loss=0.3), seed)
        assert run_until_established(link, dialler, acceptor, 30.0), seed
        took_s.append(link.now - START)
    assert sorted(took_s)[25] < 0.5


def test_a_handshake_is_repeated_as_it_was_until_there_is_progress_and_then_no_more() -> None:
    link, dialler, acceptor = linked(Weather(is_cut=True))
    link.run(60.0)
    assert 36 <= len(link.carried) <= 60
    link.run(600.0)
    assert len(link.carried) <= 75
    link.weather.is_cut = False
    assert dialler.session is not None
    dialler.session.path_changed(link.now)
    assert run_until_established(link, dialler, acceptor, 0.3)


def test_a_handshake_whose_answers_were_all_lost_is_soon_complete_when_they_come() -> None:
    link, dialler, acceptor = linked()
    link.lets_pass = lambda sender, _: sender is dialler
    link.run(12.0)
    link.lets_pass = lambda *_: True
    assert run_until_established(link, dialler, acceptor, 2.1)


def test_the_flight_can_be_carried_by_a_second_path() -> None:
    dialler, acceptor = parties()
    session = dialler.dial(START, b"the first message")
    assert session.datagrams_to_send() == list(session.flight)
    for data in session.flight:
        acceptor.receive_datagram(data, START)
    assert acceptor.received == b"the first message"
    link = LossyLink(dialler, acceptor)
    assert run_until_established(link, dialler, acceptor, 1.0)
    link.run(1.0)
    assert session.flight == ()


def test_datagrams_find_their_session_by_connection_id() -> None:
    link, dialler, acceptor = linked()
    assert run_until_established(link, dialler, acceptor, 1.0)
    link.run(1.0)
    for sender, data in link.carried:
        receiver = acceptor if sender is dialler else dialler
        assert receiver.session is not None
        assert CONNECTION_ID + (destination_connection_id(data) or b"") in receiver.session.routes
    issued = {e.key for e in dialler.events if isinstance(e, RouteAdded)}
    assert dialler.session is not None
    assert issued < dialler.session.routes


# --- standing


def test_data_passes_both_ways_in_order() -> None:
    link, dialler, acceptor = linked()
    assert run_until_established(link, dialler, acceptor, 1.0)
    pieces = [b"piece %04d " % number for number in range(1000)]
    for party in (dialler, acceptor):
        assert party.session is not None
        party.session.send(b"".join(pieces), link.now)
    link.run(5.0)
    assert acceptor.received == b"hello" + b"".join(pieces)
    assert dialler.received == b"".join(pieces)


def test_an_hour_of_silence_costs_no_datagram_and_ends_no_session() -> None:
    link, dialler, acceptor = linked()
    assert run_until_established(link, dialler, acceptor, 1.0)
    link.run(1.0)
    before = len(link.carried)
    link.run(3600.0)
    assert len(link.carried) == before
    assert dialler.session is not None
    dialler.session.send(b" again", link.now)
    assert link.run(RTT_S, lambda: acceptor.received == b"hello again")


@pytest.mark.parametrize("cut_s", [5.0, 60.0, 600.0])
def test_after_a_cut_a_message_arrives_one_round_trip_later_than_the_first_packet(
    cut_s: float,
) -> None:
    link, dialler, acceptor = cut_link(cut_s)
    assert dialler.session is not None
    dialler.session.path_changed(link.now)
    assert link.run(1.5 * RTT_S + 0.01, lambda: acceptor.received.endswith(b"lost"))


def test_on_a_path_that_changes_at_once_a_message_is_there_half_a_round_trip_later() -> None:
    link, dialler, acceptor = cut_link(0.3)
    assert dialler.session is not None
    dialler.session.path_changed(link.now)
    assert link.run(0.6 * RTT_S, lambda: acceptor.received.endswith(b"lost"))


@pytest.mark.parametrize("cut_s", [5.0, 600.0, 7200.0])
def test_the_length_of_a_cut_is_not_taken_for_a_round_trip(cut_s: float) -> None:
    """Packets that were sent again as they were made the library wait for minutes after the
    next loss, and send a few bytes a second until then."""
    link, dialler, acceptor = cut_link(cut_s)
    assert dialler.session is not None
    assert acceptor.session is not None
    link.weather.jitter_s = 0.002
    dialler.session.path_changed(link.now)
    acceptor.session.path_changed(link.now)
    link.run(1.0)
    for number in range(10):
        text = b"after %d" % number
        dialler.session.send(text, link.now)
        assert link.run(2 * RTT_S, ends_with(acceptor, text))
    link.weather.is_cut = True
    dialler.session.send(b"swallowed", link.now)
    link.run(0.05)
    link.weather.is_cut = False
    assert link.run(1.0, lambda: acceptor.received.endswith(b"swallowed"))


@pytest.mark.parametrize("who", ["dialler", "acceptor"])
def test_after_a_cut_bulk_data_goes_on_within_a_round_trip(who: str) -> None:
    link, dialler, acceptor = linked()
    assert run_until_established(link, dialler, acceptor, 1.0)
    sender, receiver = (dialler, acceptor) if who == "dialler" else (acceptor, dialler)
    assert sender.session is not None
    sender.session.send(bytes(200_000), link.now)
    link.run(0.06)
    link.weather.is_cut = True
    link.run(60.0)
    link.weather.is_cut = False
    received = len(receiver.received)
    sender.session.path_changed(link.now)
    assert link.run(2 * RTT_S, lambda: len(receiver.received) > received)
    assert link.run(5.0, lambda: len(receiver.received) >= 200_000)


def test_a_new_path_is_tried_again_when_the_first_try_is_lost() -> None:
    link, dialler, acceptor = cut_link(60.0)
    assert dialler.session is not None
    dialler.session.path_changed(link.now)
    link.weather.is_cut = True
    link.run(0.2)
    link.weather.is_cut = False
    assert link.run(0.25 + RTT_S, lambda: acceptor.received.endswith(b"lost"))


def test_without_news_of_a_path_a_cut_of_a_minute_costs_more_than_ten_seconds() -> None:
    """Why `path_changed` is there: the library's wait doubles with each probe."""
    link, _, acceptor = cut_link(60.0)
    assert not link.run(10.0, lambda: acceptor.received.endswith(b"lost"))


def test_what_waits_here_is_bounded() -> None:
    link, dialler, acceptor = linked()
    assert run_until_established(link, dialler, acceptor, 1.0)
    link.weather.is_cut = True
    session = dialler.session
    assert session is not None
    sent = 0
    while session.send_room >= 1000:
        session.send(bytes(1000), link.now)
        session.datagrams_to_send()
        sent += 1000
    assert sent < SEND_BUFFER_BYTES + 50_000
    with pytest.raises(ValueError, match="room"):
        session.send(bytes(1001), link.now)


# --- ending


def test_closing_tells_the_peer() -> None:
    link, dialler, acceptor = linked()
    assert run_until_established(link, dialler, acceptor, 1.0)
    assert dialler.session is not None
    dialler.session.close(link.now)
    link.run(1.0)
    assert acceptor.events[-1] == SessionEnded("closed by the peer")
    for party in (dialler, acceptor):
        assert party.session is not None
        assert party.session.get_timer() is None
        assert party.session.send_room == 0


def test_closing_an_unfinished_session_tells_nobody() -> None:
    dialler, _ = parties()
    session = dialler.dial(START, b"hello")
    session.close(START)
    assert session.datagrams_to_send() == []
    assert drained(session) == [SessionEnded("closed by us")]


# --- as a core


def test_draining_twice_gives_nothing_the_second_time() -> None:
    link, dialler, acceptor = linked()
    assert run_until_established(link, dialler, acceptor, 1.0)
    session = dialler.session
    assert session is not None
    session.send(b"once", link.now)
    assert session.datagrams_to_send() != []
    timer = session.get_timer()
    assert session.datagrams_to_send() == []
    assert session.get_timer() == timer
    assert session.next_event() is None


def test_a_timer_that_fires_early_often_or_late_does_no_harm() -> None:
    link, dialler, acceptor = linked(Weather(loss=0.2))
    for _ in range(400):
        link.run(0.005)
        for party in (dialler, acceptor):
            party.handle_timer(link.now)
            party.handle_timer(link.now)
    assert dialler.is_established
    assert acceptor.is_established
    assert acceptor.received == b"hello"


def cut_link(cut_s: float) -> tuple[LossyLink, Party, Party]:
    """A session through whose cut link a message was sent, and which is whole again."""
    link, dialler, acceptor = linked()
    assert run_until_established(link, dialler, acceptor, 1.0)
    link.run(1.0)
    assert dialler.session is not None
    link.weather.is_cut = True
    dialler.session.send(b" lost", link.now)
    link.run(cut_s)
    link.weather.is_cut = False
    return link, dialler, acceptor


def ends_with(party: Party, text: bytes) -> Callable[[], bool]:
    return lambda: party.received.endswith(text)
