"""The bytes of the rendezvous datagrams: hex beside value, and any bytes at all."""

import contextlib
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from natd.core.base.types import Address, DecodeError, NetworkId, PeerId
from natd.core.base.wishes import Ask, Word
from natd.core.codec import rendezvous_codec
from natd.core.codec.rendezvous import (
    ASK_LIMIT,
    CARD_LIMIT_BYTES,
    CONNECT_BYTES,
    OBSERVED_LIMIT,
    PADDED_BYTES,
    PROBING_SAMPLE_BYTES,
    SAMPLES_LIMIT,
    SMALL_BYTES,
    TOKEN_LIMIT_BYTES,
    Bye,
    Challenge,
    ChallengeReason,
    Connect,
    Elsewhere,
    Error,
    Introduce,
    Message,
    Refresh,
    Refreshed,
    Register,
    Registered,
    Sample,
    Sampled,
)

T = bytes(range(12))
T_HEX = T.hex()
LEASE = b"\xaa" * 8
PEER = PeerId(b"\x22" * 32)
NETWORK = NetworkId(b"\x11" * 32)
FOUR = Address("192.0.2.1", 8080)
FOUR_HEX = "04" + "3ffffdfe" + "e06f"
SIX = Address("2001:db8::1", 443)
SIX_HEX = "06" + "dffef247" + "ff" * 11 + "fe" + "fe44"


def test_a_challenge_is_a_reason_and_a_token() -> None:
    assert_bytes(
        Challenge(T, ChallengeReason.MOVED, b"\x01\x02\x03"), f"050202{T_HEX} 01 03 010203"
    )


def test_registered_tells_lease_address_token_round_trip_members_and_ports() -> None:
    assert_bytes(
        Registered(T, LEASE, 75, FOUR, b"\xbb", 51, 9, 4, (8081, 8082)),
        f"050203{T_HEX} {'aa' * 8} 004b {FOUR_HEX} 01bb 0033 0009 0004 02 1f91 1f92",
    )


def test_registered_of_a_server_with_a_second_address_tells_that_at_the_end() -> None:
    for other, other_hex in ((FOUR, FOUR_HEX), (SIX, SIX_HEX)):
        assert_bytes(
            Registered(T, LEASE, 75, FOUR, b"", 51, 9, 4, (8081,), other),
            f"050203{T_HEX} {'aa' * 8} 004b {FOUR_HEX} 00 0033 0009 0004 01 1f91 {other_hex}",
        )


def test_introduce_tells_who_dials_when_whom_and_where() -> None:
    assert_bytes(
        Introduce(T, True, False, 17, PEER, (FOUR, SIX), (FOUR,), b"card"),
        f"050204{T_HEX} 01 0011 {'22' * 32} 02 {FOUR_HEX} {SIX_HEX} 01 {FOUR_HEX}"
        "0004 63617264 00 00",
    )


@pytest.mark.parametrize(
    ("you_dial", "is_proved", "flags"),
    [(False, False, "00"), (False, True, "02"), (True, True, "03")],
)
def test_introduce_tells_whether_the_address_is_proved(
    you_dial: bool, is_proved: bool, flags: str
) -> None:
    assert_bytes(
        Introduce(T, you_dial, is_proved, 0, PEER, (FOUR,), (), b""),
        f"050204{T_HEX} {flags} 0000 {'22' * 32} 01 {FOUR_HEX} 00 0000 00 00",
    )


def test_a_refresh_is_64_bytes_and_1200_when_it_asks() -> None:
    assert_bytes(Refresh(T, LEASE), f"050205{T_HEX} {'aa' * 8} 00 0000", padded_to=SMALL_BYTES)
    assert_bytes(
        Refresh(T, LEASE, True, (b"abcd", b"efgh")),
        f"050205{T_HEX} {'aa' * 8} 01 0002 6162636465666768",
        padded_to=PADDED_BYTES,
    )


def test_refreshed_tells_where_we_are_seen_and_how_many_there_are() -> None:
    assert_bytes(Refreshed(T, SIX, 3, 1), f"050206{T_HEX} {SIX_HEX} 0003 0001")


def test_a_sample_is_a_header_and_its_answer_an_address() -> None:
    assert_bytes(Sample(T), f"050207{T_HEX}", padded_to=SMALL_BYTES)
    assert_bytes(Sampled(T, FOUR), f"050208{T_HEX} {FOUR_HEX}")


def test_a_sample_may_want_answers_from_elsewhere_which_say_what_they_are() -> None:
    assert_bytes(
        Sample(T, Elsewhere.PORT | Elsewhere.HOST),
        f"050207{T_HEX} 03 0000",
        padded_to=PROBING_SAMPLE_BYTES,
    )
    assert_bytes(
        Sample(T, Elsewhere.ASKER_PORT, 40000),
        f"050207{T_HEX} 04 9c40",
        padded_to=PROBING_SAMPLE_BYTES,
    )
    assert_bytes(Sampled(T, FOUR, Elsewhere.PORT), f"050208{T_HEX} {FOUR_HEX} 01")


def test_a_sample_of_an_older_peer_wants_one_answer() -> None:
    header = bytes.fromhex(f"050207{T_HEX}")
    assert rendezvous_codec.decode(header.ljust(SMALL_BYTES, b"\0")) == Sample(T)
    assert rendezvous_codec.decode(header) == Sample(T)


def SIGN(part: bytes) -> bytes:  # noqa: N802
    return bytes(64)


ASK, WORD = Ask(2, bytes(8)), Word(2, bytes(8), bytes(64))


def test_an_introduction_carries_an_ask_and_a_word() -> None:
    ask, word = Ask(2, b"12345678"), Word(3, b"abcdefgh", b"\x5a" * 64)
    both_hex = f"02 3132333435363738 03 6162636465666768 {'5a' * 64}"
    assert_bytes(
        Introduce(T, False, True, 0, PEER, (FOUR,), (), b"", ask, word),
        f"050204{T_HEX} 02 0000 {'22' * 32} 01 {FOUR_HEX} 00 0000 {both_hex}",
    )
    assert_bytes(
        Connect(T, LEASE, PEER, (), ask, word),
        f"050209{T_HEX} {'aa' * 8} {'22' * 32} 00 {both_hex}",
        padded_to=CONNECT_BYTES,
    )


def test_connect_names_a_lease_and_a_peer() -> None:
    assert_bytes(
        Connect(T, LEASE, PEER, (FOUR,)),
        f"050209{T_HEX} {'aa' * 8} {'22' * 32} 01 {FOUR_HEX}",
        padded_to=CONNECT_BYTES,
    )


def test_bye_names_a_lease_and_error_a_code_and_a_text() -> None:
    assert_bytes(Bye(T, LEASE), f"05020a{T_HEX} {'aa' * 8}")
    assert_bytes(Error(T, 2, "füll"), f"05020b{T_HEX} 02 05 66c3bc6c6c")


def test_a_register_is_signed_twice_over_everything_before_the_signatures_and_padded() -> None:
    register = Register(T, NETWORK, PEER, 7, b"card", b"\xbb", (FOUR,), (b"abcd",), 0x0102)
    covered: list[bytes] = []

    def sign(part: bytes) -> bytes:
        covered.append(part)
        return b"\x5a" * 64

    def sign_as_member(part: bytes) -> bytes:
        covered.append(part)
        return b"\x6b" * 64

    data = rendezvous_codec.encode_register(register, sign, sign_as_member)

    expected = f"""050201{T_HEX} {"11" * 32} {"22" * 32} 0000000000000007 0000000000000102 01bb
        0004 63617264 01 {FOUR_HEX} 0001 61626364"""
    assert covered == [bytes.fromhex(expected)] * 2
    assert data == (covered[0] + b"\x5a" * 64 + b"\x6b" * 64).ljust(PADDED_BYTES, b"\x00")
    decoded = rendezvous_codec.decode(data)
    assert isinstance(decoded, Register)
    assert decoded.signed == covered[0]
    assert (decoded.signature, decoded.member_signature) == (b"\x5a" * 64, b"\x6b" * 64)
    assert (decoded.have, decoded.samples) == ((b"abcd",), (FOUR,))


def test_a_register_with_the_largest_card_fits_and_leaves_out_what_does_not() -> None:
    have = tuple(bytes((number, 0, 0, 0)) for number in range(200))
    large = Register(T, NETWORK, PEER, 7, bytes(CARD_LIMIT_BYTES), b"t" * 17, (SIX, SIX, SIX), have)
    usual = Register(T, NETWORK, PEER, 7, bytes(250), b"t" * 17, (SIX, SIX, SIX), have)

    for register in (large, usual):
        fitted = rendezvous_codec.fit_register(register)
        assert len(rendezvous_codec.encode_register(fitted, SIGN, SIGN)) == PADDED_BYTES
    assert rendezvous_codec.fit_register(large).samples == (SIX, SIX, SIX)
    assert len(rendezvous_codec.fit_register(large).have) < 30
    assert rendezvous_codec.fit_register(usual).samples == (SIX, SIX, SIX)
    assert len(rendezvous_codec.fit_register(usual).have) > 150


def test_with_every_field_at_its_limit_each_message_fits_what_pays_for_it() -> None:
    """The figures of the protocol: 1,200 bytes pass every path, and pay for one introduction and a
    CHALLENGE; a CONNECT pays for two introductions at three times its size."""
    card, token, most = bytes(CARD_LIMIT_BYTES), bytes(TOKEN_LIMIT_BYTES), 2**64 - 1
    samples, observed = (SIX,) * SAMPLES_LIMIT, (SIX,) * OBSERVED_LIMIT
    whole = Register(T, NETWORK, PEER, most, card, token, samples, (), most)
    register = rendezvous_codec.fit_register(whole)
    assert len(rendezvous_codec.encode_register(register, SIGN, SIGN)) <= 1_200
    assert register == whole, "nothing but `have` has to be left out"
    introduce = Introduce(T, True, True, 2**16 - 1, PEER, observed, samples, card)
    challenge = Challenge(T, ChallengeReason.UNKNOWN, token)
    first = len(rendezvous_codec.encode(introduce)) + len(rendezvous_codec.encode(challenge))
    assert first <= 1_200, "before a token has come back there is neither an ask nor a word"
    ask, word = Ask(255, bytes(8)), Word(255, bytes(8), bytes(64))
    wordy = len(rendezvous_codec.encode(replace(introduce, ask=ask, word=word)))
    connect = Connect(T, LEASE, PEER, samples, ask, word)
    assert 2 * wordy <= 3 * len(rendezvous_codec.encode(connect))


def test_a_question_is_never_shorter_than_its_answer() -> None:
    token = b"t" * 17
    challenge = len(rendezvous_codec.encode(Challenge(T, ChallengeReason.FIRST, token)))
    refreshed = len(rendezvous_codec.encode(Refreshed(T, SIX, 256, 256)))
    assert max(challenge, refreshed, len(rendezvous_codec.encode(Sampled(T, SIX)))) <= SMALL_BYTES
    every = Elsewhere(sum(Elsewhere))
    answers = (1 + len(Elsewhere)) * len(rendezvous_codec.encode(Sampled(T, SIX, every)))
    assert answers <= len(rendezvous_codec.encode(Sample(T, every, 40000))) == PROBING_SAMPLE_BYTES

    largest = Introduce(
        T, True, False, 9, PEER, (FOUR, SIX), (SIX, SIX, SIX), bytes(CARD_LIMIT_BYTES), ASK, WORD
    )
    assert len(rendezvous_codec.encode(largest)) + challenge <= PADDED_BYTES
    assert 2 * len(rendezvous_codec.encode(largest)) <= 3 * CONNECT_BYTES
    ask = rendezvous_codec.encode(Refresh(T, LEASE, True, (b"abcd",) * ASK_LIMIT))
    assert len(ask) == PADDED_BYTES


def test_another_version_is_told_apart_and_keeps_its_transaction() -> None:
    with pytest.raises(rendezvous_codec.ForeignVersionError) as raised:
        rendezvous_codec.decode(bytes((5, 1, 11)) + T + b"of another layout")
    assert (raised.value.version, raised.value.kind, raised.value.transaction) == (1, 11, T)


@pytest.mark.parametrize(
    "body",
    [
        "0502 00" + T_HEX,
        "0502 0c" + T_HEX,
        "0502 08" + T_HEX + FOUR_HEX + "00",
        "0502 08" + T_HEX + FOUR_HEX[:-2],
        "0502 08" + T_HEX + "05" + FOUR_HEX[2:],
        "0502 08" + T_HEX + "04" + "3ffffdfe" + "ffff",
        "0502 07" + T_HEX + "00" * 48 + "01",
        "0502 07" + T_HEX + "08" + "0000",
        "0502 07" + T_HEX + "00" + "9c40",
        "0502 07" + T_HEX + "04" + "0000",
        "0502 08" + T_HEX + FOUR_HEX + "08",
        "0502 02" + T_HEX + "03" + "00",
        "0502 02" + T_HEX + "00" + "21" + "00" * 33,
        "0502 05" + T_HEX + "aa" * 8 + "02" + "0000",
        "0502 09" + T_HEX + "aa" * 8 + "22" * 32 + "04" + FOUR_HEX * 4,
        "0502 04" + T_HEX + "04" + "0000" + "22" * 32 + "00" + "00" + "0000",
        "0502 04" + T_HEX + "01" + "0000" + "22" * 32 + "00" + "00" + "0401" + "00" * 1025,
        "0502 03" + T_HEX + "aa" * 8 + "0000" + FOUR_HEX + "00" + "0000" * 3 + "00",
    ],
)
def test_what_breaks_a_rule_of_the_layout_is_refused(body: str) -> None:
    with pytest.raises(DecodeError):
        rendezvous_codec.decode(bytes.fromhex(body))


def test_an_ipv4_mapped_address_is_decoded_as_the_ipv4_address_it_stands_for() -> None:
    mapped = bytes(10) + b"\xff\xff" + bytes((192, 0, 2, 1)) + (8080).to_bytes(2, "big")
    body = bytes((6,)) + bytes(byte ^ 0xFF for byte in mapped)
    assert rendezvous_codec.decode(bytes.fromhex("050208" + T_HEX) + body) == Sampled(T, FOUR)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=1300), st.integers(0, 12))
def test_any_bytes_give_a_message_or_a_decode_error(body: bytes, kind: int) -> None:
    for data in (body, bytes((5, 2, kind)) + T + body):
        try:
            message = rendezvous_codec.decode(data)
        except DecodeError:
            continue
        if not isinstance(message, Register):
            assert rendezvous_codec.decode(rendezvous_codec.encode(message)) == message


def test_mutated_datagrams_give_a_message_or_a_decode_error() -> None:
    random = Random(3)
    samples = [
        rendezvous_codec.encode(message)
        for message in (
            Challenge(T, ChallengeReason.FIRST, b"t" * 17),
            Registered(T, LEASE, 75, FOUR, b"t" * 17, 51, 9, 4, (8081, 8082)),
            Introduce(T, True, False, 17, PEER, (FOUR, SIX), (FOUR,), b"card"),
            Refresh(T, LEASE, True, (b"abcd",)),
            Connect(T, LEASE, PEER, (SIX,)),
            Error(T, 2, "full"),
        )
    ]
    for _ in range(20_000):
        data = bytearray(random.choice(samples))
        for _ in range(random.randint(1, 4)):
            data[random.randrange(3, min(len(data), 80))] = random.randrange(256)
        cut = random.randrange(len(data)) if random.random() < 0.3 else len(data)
        with contextlib.suppress(DecodeError):
            rendezvous_codec.decode(bytes(data[:cut]))


def assert_bytes(message: Message, expected: str, *, padded_to: int = 0) -> None:
    data = rendezvous_codec.encode(message)
    assert data == bytes.fromhex(expected).ljust(padded_to, b"\x00")
    assert rendezvous_codec.decode(data) == message
