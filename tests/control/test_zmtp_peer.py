"""The daemon's end of ZeroMQ's wire, byte for byte (rfc.zeromq.org/spec/23 and 37)."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from natd.control.zmtp_peer import ZmtpPeer
from natd.core.base.types import DecodeError

GREETING = bytes.fromhex("ff 0000000000000001 7f 03 01 4e554c4c") + bytes(48)
READY_DEALER = bytes.fromhex("04 1c 05 5245414459 0b") + b"Socket-Type" + b"\0\0\0\x06DEALER"
READY_REQ = bytes.fromhex("04 26 05 5245414459 0b") + (
    b"Socket-Type" + b"\0\0\0\x03REQ" + b"\x08Identity" + b"\0\0\0\0"
)


def test_a_handshake_is_answered_with_greeting_and_ready() -> None:
    peer = ZmtpPeer()
    hello = peer.take_output()
    assert hello == bytes.fromhex("ff 0000000000000000 7f 03 00 4e554c4c") + bytes(48)
    peer.feed(GREETING + READY_DEALER)
    assert peer.next_message() is None
    assert peer.has_shaken_hands
    assert peer.take_output() == (
        bytes.fromhex("04 1c 05 5245414459 0b") + b"Socket-Type" + b"\0\0\0\x06ROUTER"
    )
    assert peer.take_output() == b""


def test_a_request_is_one_frame_short_or_long() -> None:
    peer = connected()
    peer.feed(bytes.fromhex("00 02 7b7d") + bytes.fromhex("02 0000000000000100") + b"x" * 256)
    assert messages(peer) == [(b"{}",), (b"x" * 256,)]
    assert peer.header(2) == bytes.fromhex("00 02")
    assert peer.header(256) == bytes.fromhex("02 0000000000000100")


@pytest.mark.parametrize(
    "frames",
    [
        "01 02 7b7d 00 02 7b7d",
        "01 00 00 02 7b7d",
        "01 02 7b7d 01 02 7b7d 00 02 7b7d",
        "01 00 01 00 00 00",
    ],
)
def test_a_message_of_several_frames_is_told_as_such(frames: str) -> None:
    peer = connected()
    peer.feed(bytes.fromhex(frames) + bytes.fromhex("00 02 7b7d"))
    assert messages(peer) == [(None,), (b"{}",)]


def test_of_a_message_without_end_nothing_is_kept() -> None:
    peer = connected()
    for _ in range(100):
        peer.feed(bytes.fromhex("03 0000000000010000") + bytes(65536))
        assert messages(peer) == []
    assert peer.waiting_bytes == 0
    assert sum(len(part or b"") for part in peer._parts) == 0


def test_a_req_has_its_envelope_taken_off_and_put_on_again() -> None:
    peer = connected(READY_REQ)
    peer.feed(bytes.fromhex("01 00 00 02 7b7d"))
    assert messages(peer) == [(b"{}",)]
    assert peer.header(2) == bytes.fromhex("01 00 00 02")
    peer.feed(bytes.fromhex("00 02 7b7d"))
    assert messages(peer) == [(None,)]


def test_a_ping_is_answered_with_its_context_once_however_many_there_are() -> None:
    peer = connected()
    peer.feed(bytes.fromhex("04 09 04 50494e47 0064 abcd"))
    assert messages(peer) == []
    assert peer.take_output() == bytes.fromhex("04 07 04 504f4e47 abcd")
    for _ in range(1000):
        peer.feed(bytes.fromhex("04 07 04 50494e47 0064"))
        assert messages(peer) == []
    assert peer.take_output() == bytes.fromhex("04 05 04 504f4e47")


def test_a_pong_and_commands_that_are_unknown_are_passed_over() -> None:
    peer = connected()
    peer.feed(bytes.fromhex("04 05 04 504f4e47") + bytes.fromhex("04 02 01 58"))
    peer.feed(bytes.fromhex("00 02 7b7d"))
    assert messages(peer) == [(b"{}",)]
    assert peer.take_output() == b""


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (b"GET / HTTP/1.1\r\n", "not ZeroMQ"),
        (b"\0", "not ZeroMQ"),
        (bytes.fromhex("ff 0000000000000001 00"), "not ZeroMQ"),
        (bytes.fromhex("ff 0000000000000001 7f 01"), "older"),
        (GREETING[:12] + b"PLAIN".ljust(52, b"\0"), "NULL"),
        (GREETING + bytes.fromhex("00 02 7b7d"), "before READY"),
        (GREETING + bytes.fromhex("04 04 03 414243"), "READY"),
        (GREETING + READY_DEALER.replace(b"DEALER", b"SUBSUB"), "type"),
        (GREETING + bytes.fromhex("04 06 05 5245414459"), "type"),
        (GREETING + bytes.fromhex("04 09 05 5245414459 7f 4142"), "cut off"),
        (GREETING + bytes.fromhex("06 0000000000001001"), "too large"),
        (GREETING + READY_DEALER + bytes.fromhex("02 0000000000100001"), "too large"),
        (GREETING + READY_DEALER + bytes.fromhex("02 ffffffffffffffff"), "too large"),
        (GREETING + READY_DEALER + bytes.fromhex("08 00"), "flags"),
        (GREETING + READY_DEALER + bytes.fromhex("05 00"), "flags"),
        (GREETING + READY_DEALER + bytes.fromhex("04 1a 04 50494e47 0064") + bytes(19), "PING"),
    ],
)
def test_what_must_not_be_sent_ends_the_connection_as_soon_as_it_is_seen(
    sent: bytes, told: str
) -> None:
    peer = ZmtpPeer()
    peer.feed(sent)
    with pytest.raises(DecodeError, match=told):
        messages(peer)


def test_the_largest_request_has_a_mebibyte() -> None:
    peer = connected()
    peer.feed(bytes.fromhex("02 0000000000100000") + bytes(1 << 20))
    assert messages(peer) == [(bytes(1 << 20),)]


@given(st.binary(max_size=400))
def test_any_bytes_give_messages_or_a_decode_error(data: bytes) -> None:
    for start in (b"", GREETING, GREETING + READY_DEALER):
        peer = ZmtpPeer()
        peer.feed(start + data)
        try:
            messages(peer)
        except DecodeError:
            continue
        assert peer.waiting_bytes <= len(data) + len(start)


@given(st.lists(st.binary(max_size=600), max_size=6), st.lists(st.integers(1, 90), min_size=1))
def test_it_is_the_same_in_whatever_pieces_it_comes(bodies: list[bytes], sizes: list[int]) -> None:
    whole = GREETING + READY_DEALER + b"".join(frame(body) for body in bodies)
    peer, found = ZmtpPeer(), []
    lengths = itertools.cycle(sizes)
    while whole:
        size = next(lengths)
        peer.feed(whole[:size])
        found += messages(peer)
        whole = whole[size:]
    assert found == [(body,) for body in bodies]


# --- helpers


def connected(ready: bytes = READY_DEALER) -> ZmtpPeer:
    peer = ZmtpPeer()
    peer.feed(GREETING + ready)
    assert peer.next_message() is None
    peer.take_output()
    return peer


def messages(peer: ZmtpPeer) -> list[tuple[bytes | None]]:
    found = []
    while (message := peer.next_message()) is not None:
        found.append(message)
    return found


def frame(body: bytes) -> bytes:
    if len(body) < 256:
        return bytes((0, len(body))) + body
    return b"\x02" + len(body).to_bytes(8, "big") + body
