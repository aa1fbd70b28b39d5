"""Frames: what is encoded is read again, however the stream is cut, and nothing else is."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from natd.core.base.types import Address, DecodeError
from natd.core.codec import frames
from natd.core.codec.frames import (
    Ack,
    Bye,
    Frame,
    FrameReader,
    Hello,
    Introduce,
    Message,
    NewerCard,
    Seek,
    encode_frame,
)

EVERY_FRAME: tuple[Frame, ...] = (
    Hello(epoch=2**64 - 1, first_seq=1),
    Hello(epoch=0, first_seq=7),
    Message("01J9Z8", 5, 1, 1_700_000_000_000, "text", "hi"),
    Ack(5, 1),
    NewerCard(b"sealed"),
    Introduce(b"p" * 32, b"sealed", Address("2001:db8::1", 40000)),
    Introduce(b"p" * 32, b"sealed", None),
    Introduce(b"p" * 32, b"sealed", None, True, 500, (Address("192.0.2.1", 40000),)),
    Bye("stopping"),
    Seek(None, (b"12345678", b"abcdefgh")),
    Seek(b"p" * 32),
)
MESSAGE = Message("id", 5, 1, 0, "text", "hi")
HELLO = Hello(epoch=5, first_seq=1)


@pytest.mark.parametrize("frame", EVERY_FRAME, ids=repr)
def test_a_frame_is_read_as_it_was_written(frame: Frame) -> None:
    assert FrameReader().feed(encode_frame(frame)) == [frame]


@pytest.mark.parametrize(
    ("frame", "encoded"),
    [
        (Ack(5, 1), "00000004 93 03 05 01"),
        (Bye("off"), "00000006 92 0b a3 6f6666"),
        (
            Message("id", 5, 1, 1_700_000_000_000, "text", "hi"),
            "00000018 97 02 a2 6964 05 01 cf 0000018bcfe56800 a4 74657874 a2 6869",
        ),
        (
            Hello(epoch=6, first_seq=7, outbox=8, heard_outbox=9, heard_seq=10),
            "0000000a 99 01 a0 90 c0 06 07 08 09 0a",
        ),
    ],
)
def test_the_bytes_on_the_stream_are_those_written_down(frame: Frame, encoded: str) -> None:
    assert encode_frame(frame).hex() == encoded.replace(" ", "")


def test_every_type_keeps_its_number() -> None:
    numbers = {type(frame).__name__: encode_frame(frame)[5] for frame in EVERY_FRAME}

    assert list(numbers.items()) == [
        ("Hello", 1),
        ("Message", 2),
        ("Ack", 3),
        ("NewerCard", 5),
        ("Introduce", 6),
        ("Bye", 11),
        ("Seek", 12),
    ]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 64])
def test_frames_are_the_same_however_the_stream_is_cut(size: int) -> None:
    stream = b"".join(map(encode_frame, EVERY_FRAME))
    reader = FrameReader()
    read = [
        frame for at in range(0, len(stream), size) for frame in reader.feed(stream[at : at + size])
    ]

    assert read == list(EVERY_FRAME)


def test_nothing_is_given_before_its_last_byte() -> None:
    reader, encoded = FrameReader(), encode_frame(MESSAGE)

    assert reader.feed(encoded[:-1]) == []
    assert reader.feed(b"") == []
    assert reader.feed(encoded[-1:]) == [MESSAGE]
    assert reader.feed(b"") == []


@pytest.mark.parametrize(
    "future",
    [[13], [13, 1, 2], [127, {"deep": [1, 2]}], [0, "x"], [4, 5, 1, "full"], [10, 1]],
    ids=["bare", "fields", "nested", "zero", "nack", "file"],
)
def test_a_type_that_is_not_known_is_skipped_and_counted(future: list[object]) -> None:
    stream = raw_frame(future) + encode_frame(MESSAGE)
    reader = FrameReader()

    assert reader.feed(stream) == [MESSAGE]
    assert reader.unknown == 1


def test_what_an_earlier_version_says_in_its_hello_is_not_looked_at() -> None:
    early = raw_frame([1, "alice", ["files"], ["203.0.113.9", 61234], 5, 1])

    (hello,) = FrameReader().feed(early)

    assert isinstance(hello, Hello)
    assert (hello.epoch, hello.first_seq) == (5, 1)


def test_an_introduction_of_an_earlier_version_lacks_the_later_fields() -> None:
    early = raw_frame([6, b"p" * 32, b"sealed", ["192.0.2.1", 40000]])
    seen = Address("192.0.2.1", 40000)
    assert FrameReader().feed(early) == [Introduce(b"p" * 32, b"sealed", seen, False, 0, ())]


@pytest.mark.parametrize(
    "content",
    [
        [6, b"p" * 32, b"sealed", None, True, 501],
        [6, b"p" * 32, b"sealed", None, True, 0, [["192.0.2.1", 1]] * 4],
        [6, b"p" * 32, b"sealed", None, True, 0, [["192.0.2.1", 0]]],
        [12, b"p" * 31],
        [12, None, [b"short"]],
        [12, None, [b"12345678"] * 4097],
    ],
)
def test_an_introduction_or_a_wish_for_one_beyond_its_limits_is_refused(
    content: list[object],
) -> None:
    with pytest.raises(DecodeError):
        FrameReader().feed(raw_frame(content))


def test_a_field_of_the_future_is_ignored() -> None:
    assert FrameReader().feed(raw_frame([3, 5, 1, "new"])) == [Ack(5, 1)]


@pytest.mark.parametrize(
    "content",
    [
        [3],
        [3, 5],
        [3, 5, -1],
        [3, 5, 2**63],
        [3, 5, 1.0],
        [3, 5, True],
        [3, 5, "1"],
        [3, 5, None],
        [2, "", 5, 1, 0, "text", "hi"],
        [2, "i" * 27, 5, 1, 0, "text", "hi"],
        [2, "id", 5, 0, 0, "text", "hi"],
        [2, "id", 5, 1, -1, "text", "hi"],
        [2, "id", 5, 1, 253_402_300_800_000, "text", "hi"],
        [2, "id", 5, 1, 0, "t" * 33, "hi"],
        [2, "id", 5, 1, 0, "text", "x" * (16 * 1024 + 1)],
        [2, "id", 5, 1, 0, "text", "ä" * (8 * 1024 + 1)],
        [2, "id", 5, 1, 0, "text", b"bytes"],
        [1, "n", [], None, 5, 0],
        [1, "n", [], None, -1, 1],
        [1, "n", [], None, 5],
        [6, b"p" * 31, b"sealed", None],
        [6, b"p" * 32, b"s" * 1025, None],
        [6, b"p" * 32, b"sealed", ["%eth0", 5]],
        [6, b"p" * 32, b"sealed", ["192.0.2.1", 65536]],
        [6, b"p" * 32, b"sealed", ["example.net", 80]],
        [6, b"p" * 32, b"sealed", ["192.0.2.1"]],
        [6, b"p" * 32, b"sealed", ["192.0.2.1", 0]],
        [5, b"s" * 1025],
        [11, "r" * 257],
        [-1, 5],
        ["hello", 5],
        [],
        {},
        5,
        "text",
        None,
    ],
    ids=lambda content: repr(content)[:40],
)
def test_a_frame_whose_content_is_wrong_is_refused(content: object) -> None:
    with pytest.raises(DecodeError):
        FrameReader().feed(raw_frame(content))


@pytest.mark.parametrize(
    "rest",
    [
        b"",
        b"\x93",
        b"\x93\x03",
        b"\x93\x03\x05\x01\x00",
        b"\xdc\x00\x03\x03\x05\x01",
        b"\xdd\xff\xff\xff\xff\x03",
        b"\x97\x02\xa2\xff\xfe\x05\x01\x00\xa4text\xa2hi",
        b"\x97\x02\xa2id\x05\x01\x00\xa4text\xa3\xed\xa0\x80",
        b"\x97\x02\xa2id\x05\x01\x00\xa4text\xdb\xff\xff\xff\xff",
        b"\x92\x05\xc6\xff\xff\xff\xff",
        b"\x96\x01" + b"\x91" * 2000,
        b"\x94\x03\x05\x01" + b"\x91" * 20_000 + b"\x01",
    ],
    ids=[
        "empty",
        "one byte",
        "fields missing",
        "trailing byte",
        "long array",
        "huge array",
        "not utf-8",
        "surrogate",
        "huge text",
        "huge bytes",
        "deep",
        "deep in a field of the future",
    ],
)
def test_a_frame_that_is_no_frame_is_refused(rest: bytes) -> None:
    with pytest.raises(DecodeError):
        FrameReader().feed(len(rest).to_bytes(4, "big") + rest)


def test_a_frame_over_the_limit_is_refused_at_its_length() -> None:
    limit = frames.FRAME_LIMIT_BYTES

    assert FrameReader().feed(limit.to_bytes(4, "big")) == []
    for size in (limit + 1, 2**32 - 1):
        with pytest.raises(DecodeError):
            FrameReader().feed(size.to_bytes(4, "big"))


def test_an_observed_address_is_canonical_when_it_comes_out() -> None:
    (told,) = FrameReader().feed(raw_frame([6, bytes(32), b"card", ["::FFFF:192.0.2.1", 5]]))

    assert isinstance(told, Introduce)
    assert told.observed == Address("192.0.2.1", 5)
    assert isinstance(told.observed, Address)


def test_a_scope_id_of_the_others_host_means_nothing_here_and_is_left_out() -> None:
    seen = ["fe80::1%" + "x" * 5000, 5]
    (told,) = FrameReader().feed(raw_frame([6, bytes(32), b"card", seen]))

    assert isinstance(told, Introduce)
    assert told.observed == Address("fe80::1", 5)


@pytest.mark.parametrize("body", ["x" * 16 * 1024, "ä" * 8 * 1024], ids=["ascii", "two bytes"])
def test_a_body_of_16_kib_is_written_and_read(body: str) -> None:
    message = msgspec.structs.replace(MESSAGE, body=body)

    assert FrameReader().feed(encode_frame(message)) == [message]


@pytest.mark.parametrize(
    "frame",
    [
        msgspec.structs.replace(MESSAGE, body="x" * (16 * 1024 + 1)),
        msgspec.structs.replace(MESSAGE, body="ä" * (8 * 1024 + 1)),
        msgspec.structs.replace(MESSAGE, epoch=2**64),
        msgspec.structs.replace(HELLO, epoch=2**64),
        msgspec.structs.replace(HELLO, epoch=-1),
        Bye("x" * frames.FRAME_LIMIT_BYTES),
    ],
    ids=["body", "body in bytes", "epoch", "hello's epoch", "negative", "frame"],
)
def test_what_every_reader_would_refuse_is_not_written(frame: Frame) -> None:
    with pytest.raises(ValueError, match=r"."):
        encode_frame(frame)


@given(
    st.lists(
        st.builds(
            Message,
            message_id=st.text(min_size=1, max_size=26),
            epoch=st.integers(0, 2**64 - 1),
            seq=st.integers(1, 2**63 - 1),
            sent_at_unix_ms=st.integers(0, frames.UNIX_MS_LIMIT),
            kind=st.text(max_size=32),
            body=st.text(max_size=100),
        ),
        max_size=5,
    ),
    st.integers(1, 50),
)
def test_any_messages_in_any_pieces_are_read_as_written(sent: list[Message], size: int) -> None:
    stream = b"".join(map(encode_frame, sent))
    reader = FrameReader()
    read: list[Frame] = []
    for at in range(0, len(stream), size):
        read += reader.feed(stream[at : at + size])

    assert read == sent


@settings(max_examples=500)
@given(st.lists(st.binary(max_size=64), max_size=4))
def test_any_bytes_give_frames_or_a_decode_error(pieces: list[bytes]) -> None:
    reader = FrameReader()
    try:
        for piece in pieces:
            reader.feed(piece)
    except DecodeError:
        return


@settings(max_examples=500)
@given(
    st.integers(0, 11),
    st.binary(max_size=64),
    st.sampled_from(EVERY_FRAME),
    st.integers(0, 40),
    st.integers(0, 255),
)
def test_any_content_gives_a_frame_or_a_decode_error(
    kind: int, rest: bytes, frame: Frame, at: int, byte: int
) -> None:
    mutated = bytearray(encode_frame(frame)[4:])
    mutated[at % len(mutated)] = byte
    for content in (bytes((0x90 | kind, kind)) + rest, bytes(mutated)):
        try:
            (read,) = FrameReader().feed(len(content).to_bytes(4, "big") + content) or (None,)
        except DecodeError:
            continue
        if read is not None:
            assert FrameReader().feed(encode_frame(read)) == [read]


def raw_frame(content: object) -> bytes:
    rest = msgspec.msgpack.encode(content)
    return len(rest).to_bytes(4, "big") + rest
