"""Who has not the pair's key gets no session, no answer, and can end none."""

from random import Random

from natd.core.base.routes import CONNECTION_ID
from natd.core.session.events import SessionEnded
from natd.core.session.quic_header import destination_connection_id
from natd.core.session.session import Session
from tests.core.world.lossy_link import (
    START,
    LossyLink,
    Party,
    Weather,
    drained,
    linked,
    pair_of_secrets,
    parties,
    run_until_established,
    with_a_bit_flipped,
)


def test_another_key_gets_neither_a_session_nor_an_answer() -> None:
    ours, theirs = pair_of_secrets()[0], pair_of_secrets(network_key=b"x" * 32)[1]
    flight = Session.dial(ours, salt=b"salt", now=START).datagrams_to_send()
    cid = destination_connection_id(flight[0])
    assert cid is not None
    acceptor = Session.accept(theirs, cid, START)
    acceptor.send(b"secret", START)
    for data in flight:
        acceptor.receive_datagram(data, START)
        assert acceptor.datagrams_to_send() == []
    assert [type(event) for event in drained(acceptor)] == [SessionEnded]
    assert not acceptor.established


def test_a_replayed_first_flight_completes_no_session_and_learns_nothing_readable() -> None:
    dialler, acceptor = parties()
    flight = dialler.dial(START, b"the first message").datagrams_to_send()
    for _ in range(2):
        again = Party(acceptor.secrets)
        again.to_answer = b"for the dialler only"
        for data in flight * 3:
            again.receive_datagram(data, START)
        assert again.received == b"the first message"
        assert not again.is_established
        assert all(b"for the dialler only" not in data for data in again.datagrams_to_send())


def test_of_a_whole_session_replayed_nothing_is_accepted() -> None:
    link, dialler, acceptor = linked()
    assert run_until_established(link, dialler, acceptor, 1.0)
    assert dialler.session is not None
    assert acceptor.session is not None
    for number in range(100):
        dialler.session.send(b"message %d" % number, link.now)
        link.run(0.01)
    link.run(1.0)
    received = acceptor.received
    recorded = [data for end, data in link.carried if end is dialler]
    assert len(recorded) > 100
    accepted = sum(acceptor.session.receive_datagram(data, link.now) for data in recorded)
    assert accepted == 0
    assert acceptor.received == received

    fresh = Party(acceptor.secrets)
    for data in recorded:
        fresh.receive_datagram(data, link.now)
    assert fresh.received == b"hello"
    assert not fresh.is_established


def test_a_repeated_first_flight_is_answered_with_no_more_than_three_times_as_much() -> None:
    dialler, acceptor = parties()
    acceptor.to_answer = b"a" * 20_000
    flight = dialler.dial(START, b"hello").datagrams_to_send()
    heard = answered = 0
    for round_number in range(300):
        now = START + round_number * 0.1
        data = flight[round_number % len(flight)]
        heard += len(data)
        acceptor.receive_datagram(data, now)
        acceptor.handle_timer(now)
        answered += sum(map(len, acceptor.datagrams_to_send()))
        assert answered <= 3 * heard + 3600
    assert answered <= 3 * heard


def test_a_forged_retry_or_version_negotiation_changes_nothing() -> None:
    dialler, acceptor = parties()
    session = dialler.dial(START, b"hello")
    flight = session.datagrams_to_send()
    (own_id,) = (route.removeprefix(CONNECTION_ID) for route in session.routes)
    first_id = destination_connection_id(flight[0])
    assert first_id is not None
    ids = bytes([len(own_id)]) + own_id + bytes([len(first_id)]) + first_id
    for forged in (
        b"\xc0" + bytes(4) + ids + b"\x6b\x33\x43\xcf",
        b"\xf0\x00\x00\x00\x01" + ids + b"token" + bytes(16),
    ):
        assert not session.receive_datagram(forged, START)
    assert session.dropped["quic-version-or-retry"] == 2
    assert run_until_established(LossyLink(dialler, acceptor), dialler, acceptor, 1.0)


def test_damaged_datagrams_are_dropped_whenever_they_come() -> None:
    random = Random(7)
    link, dialler, acceptor = linked(Weather(bit_flips=0.3))
    assert run_until_established(link, dialler, acceptor, 30.0)
    assert acceptor.session is not None
    recorded = [data for _, data in link.carried]
    for _ in range(2000):
        damaged = with_a_bit_flipped(random.choice(recorded), random)
        cut = damaged[: random.randrange(len(damaged) + 1)]
        for session in (acceptor.session, dialler.session):
            assert session is not None
            assert not session.receive_datagram(cut, link.now)
            assert not session.closed
    assert link.run(1.0, lambda: acceptor.received == b"hello")
