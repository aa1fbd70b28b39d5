"""What a QUIC datagram's first bytes tell without a key."""

from random import Random

from natd.core.session.quic_header import (
    begins_with_initial,
    destination_connection_id,
    is_version_1,
    may_open_session,
)

VERSION_1 = b"\x00\x00\x00\x01"
INITIAL_ID = bytes(range(20))
INITIAL = b"\xc0" + VERSION_1 + b"\x14" + INITIAL_ID + b"rest"
SHORT = b"\x40" + b"12345678" + b"rest"


def test_the_connection_id_of_a_short_header_has_our_length_and_that_of_a_long_one_its_own() -> (
    None
):
    assert destination_connection_id(SHORT) == b"12345678"
    assert destination_connection_id(b"\xc0\x00\x00\x00\x01\x03abcdef") == b"abc"
    assert destination_connection_id(INITIAL) == INITIAL_ID


def test_what_is_too_short_for_a_connection_id_has_none() -> None:
    assert destination_connection_id(b"") is None
    assert destination_connection_id(b"\x40" + bytes(7)) is None
    assert destination_connection_id(b"\xc0\x00\x00\x00\x01\x03ab") is None


def test_only_the_shape_of_a_first_flight_may_open_a_session() -> None:
    assert may_open_session(INITIAL)
    assert may_open_session(b"\xd0" + INITIAL[1:]), "0-RTT"
    assert not may_open_session(b"\xe0" + INITIAL[1:]), "Handshake"
    assert not may_open_session(SHORT)
    assert not may_open_session(b"\xc0" + b"\x00\x00\x00\x02" + INITIAL[5:])
    assert not may_open_session(b"\xc0" + VERSION_1 + b"\x08" + INITIAL_ID)


def test_version_negotiation_and_retry_are_no_datagrams_of_a_session() -> None:
    assert is_version_1(INITIAL)
    assert is_version_1(SHORT)
    assert not is_version_1(b"\xc0" + bytes(4) + INITIAL[5:]), "Version Negotiation"
    assert not is_version_1(b"\xf0" + INITIAL[1:]), "Retry"
    assert not is_version_1(b"")


def test_a_handshake_begins_with_an_initial_packet() -> None:
    assert begins_with_initial(INITIAL)
    assert not begins_with_initial(b"\xe0" + INITIAL[1:])
    assert not begins_with_initial(SHORT)


def test_any_bytes_are_read_without_a_fault() -> None:
    random = Random(3)
    for length in range(40):
        for _ in range(250):
            data = random.randbytes(length)
            for read in (
                begins_with_initial,
                destination_connection_id,
                is_version_1,
                may_open_session,
            ):
                read(data)
