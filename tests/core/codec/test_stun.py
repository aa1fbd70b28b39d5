"""STUN against the vectors of RFC 5769 and RFC 8489, and against anything at all."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from natd.core.base.types import Address, DecodeError
from natd.core.codec import stun
from natd.core.codec.stun import MessageClass, StunMessage

PASSWORD = b"VOkJxbRl1RmTxUk/WvJxBt"
TRANSACTION = bytes.fromhex("b7e7a701bc34d686fa87dfae")

REQUEST = bytes.fromhex(
    "00010058 2112a442 b7e7a701bc34d686fa87dfae"
    "80220010 5354554e207465737420636c69656e74"
    "00240004 6e0001ff"
    "80290008 932ff9b151263b36"
    "00060009 6576746a3a68367659 202020"
    "00080014 9aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2"
    "80280004 e57a3bcf"
)
"""RFC 5769, section 2.1."""

IPV4_RESPONSE = bytes.fromhex(
    "0101003c 2112a442 b7e7a701bc34d686fa87dfae"
    "8022000b 7465737420766563746f72 20"
    "00200008 0001a147e112a643"
    "00080014 2b91f599fd9e90c38c7489f92af9ba53f06be7d7"
    "80280004 c07d4c96"
)
"""RFC 5769, section 2.2."""

IPV6_RESPONSE = bytes.fromhex(
    "01010048 2112a442 b7e7a701bc34d686fa87dfae"
    "8022000b 7465737420766563746f72 20"
    "00200014 0002a1470113a9faa5d3f179bc25f4b5bed2b9d9"
    "00080014 a382954e4be67bf11784c97c8292c275bfe3ed41"
    "80280004 c8fb0b4c"
)
"""RFC 5769, section 2.3."""

SHA256_REQUEST = bytes.fromhex(
    "00010090 2112a442 78ad3433c6ad72c029da412e"
    "001e0020 4a3cf38fef6992bda952c6780417da0f24819415569e60b205c46e41407f1704"
    "00150029 6f62 4d61744a6f73324141414366 2f2f3439396b39353464364f4c33346f4c39465354767936347341"
    "000000"
    "0014000b 6578616d706c652e6f7267 00"
    "001d0004 00020000"
    "001c0020 b5c7bf005b6c52a21c51c5e892f81924136296cb927c43149309278cc6518e65"
)
"""RFC 8489, appendix B.1, as corrected by erratum 6268."""

TAGS = b"receiver" + b"-sender-"
KEY = bytes(range(32))
ADDRESSES = [
    Address("192.0.2.1", 32853),
    Address("2001:db8:1234:5678:11:2233:4455:6677", 32853),
]


def test_the_sample_request_of_rfc_5769_decodes() -> None:
    message = stun.decode(REQUEST)

    assert message.method == stun.BINDING
    assert message.message_class is MessageClass.REQUEST
    assert message.transaction == TRANSACTION
    assert message.get(stun.SOFTWARE) == b"STUN test client"
    assert message.get(stun.USERNAME) == b"evtj:h6vY"
    assert message.get(stun.PRIORITY) == bytes.fromhex("6e0001ff")
    assert message.mapped_address() is None


@pytest.mark.parametrize(
    ("data", "address"), [(IPV4_RESPONSE, ADDRESSES[0]), (IPV6_RESPONSE, ADDRESSES[1])]
)
def test_the_sample_responses_of_rfc_5769_give_their_mapped_addresses(
    data: bytes, address: Address
) -> None:
    message = stun.decode(data)

    assert message.message_class is MessageClass.SUCCESS
    assert message.get(stun.SOFTWARE) == b"test vector"
    assert message.mapped_address() == address


def test_the_sha256_request_of_rfc_8489_carries_the_integrity_that_we_compute() -> None:
    key = hashlib.sha256("マトリックス:example.org:TheMatrIX".encode()).digest()
    head, mac = SHA256_REQUEST[:-36], SHA256_REQUEST[-32:]
    ours = stun.encode(
        stun.BINDING,
        MessageClass.REQUEST,
        head[8:20],
        stun.decode(head_alone(head)).attributes,
        key=key,
    )

    assert stun.decode(ours).get(stun.MESSAGE_INTEGRITY_SHA256) == mac
    assert ours[20 : len(SHA256_REQUEST)] == SHA256_REQUEST[20:]


@pytest.mark.parametrize("data", [REQUEST, IPV4_RESPONSE, IPV6_RESPONSE])
def test_the_older_integrity_is_no_proof_between_peers(data: bytes) -> None:
    assert not stun.verify(data, PASSWORD)


@pytest.mark.parametrize("mapped", ADDRESSES)
def test_a_check_and_its_answer_take_at_most_100_bytes(mapped: Address) -> None:
    check = stun.encode_binding_request(TRANSACTION, username=TAGS, key=KEY)
    answer = stun.encode_binding_response(TRANSACTION, mapped, key=KEY)

    assert max(len(check), len(answer)) <= 100
    assert stun.decode(check).get(stun.USERNAME) == TAGS
    assert stun.decode(answer).mapped_address() == mapped
    assert stun.verify(check, KEY)
    assert stun.verify(answer, KEY)
    assert not stun.verify(check, KEY[::-1])


def test_a_request_without_a_key_is_one_that_any_stun_server_takes() -> None:
    request = stun.encode_binding_request(TRANSACTION)

    assert request.hex() == "000100082112a442b7e7a701bc34d686fa87dfae80280004" + request[-4:].hex()
    assert stun.decode(request).method == stun.BINDING
    assert not stun.verify(request, b"")


def test_one_flipped_bit_anywhere_undoes_a_check() -> None:
    check = stun.encode_binding_request(TRANSACTION, username=TAGS, key=KEY)
    for bit in range(8 * len(check)):
        flipped = bytearray(check)
        flipped[bit // 8] ^= 1 << bit % 8
        assert not stun.verify(bytes(flipped), KEY)


def test_a_truncated_integrity_is_refused() -> None:
    signed = stun.encode_binding_request(TRANSACTION, username=TAGS, key=KEY)
    mac = stun.decode(signed).get(stun.MESSAGE_INTEGRITY_SHA256)
    assert mac is not None
    short = stun.encode(
        stun.BINDING,
        MessageClass.REQUEST,
        TRANSACTION,
        [(stun.USERNAME, TAGS), (stun.MESSAGE_INTEGRITY_SHA256, mac[:16])],
    )

    assert not stun.verify(short, KEY)


def test_a_right_integrity_without_a_fingerprint_is_refused() -> None:
    signed = stun.encode_binding_request(TRANSACTION, username=TAGS, key=KEY)
    bare = bytearray(signed[:-8])
    bare[2:4] = (len(bare) - 20).to_bytes(2, "big")

    assert stun.decode(bytes(bare)).get(stun.USERNAME) == TAGS
    assert not stun.verify(bytes(bare), KEY)


@pytest.mark.parametrize(
    "integrity", [stun.MESSAGE_INTEGRITY, stun.MESSAGE_INTEGRITY_SHA256], ids=["sha1", "sha256"]
)
def test_what_stands_behind_an_integrity_is_left_out(integrity: int) -> None:
    data = stun.encode(
        stun.BINDING,
        MessageClass.SUCCESS,
        TRANSACTION,
        [
            (stun.SOFTWARE, b"covered"),
            (integrity, bytes(20)),
            (stun.XOR_MAPPED_ADDRESS, bytes.fromhex("0001a147e112a643")),
            (stun.SOFTWARE, b"not covered"),
        ],
    )
    message = stun.decode(data)

    assert message.mapped_address() is None
    assert [value for kind, value in message.attributes if kind == stun.SOFTWARE] == [b"covered"]


def test_of_two_equal_attributes_the_first_counts() -> None:
    data = stun.encode(
        stun.BINDING,
        MessageClass.REQUEST,
        TRANSACTION,
        [(stun.USERNAME, b"first"), (stun.USERNAME, b"second")],
    )

    assert stun.decode(data).get(stun.USERNAME) == b"first"


def test_a_mapped_ipv6_address_becomes_the_ipv4_address_it_stands_for() -> None:
    response = stun.encode_binding_response(TRANSACTION, Address("::ffff:192.0.2.1", 5))

    assert stun.decode(response).mapped_address() == Address("192.0.2.1", 5)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "0001a147",
        "0001a147e112a64300",
        "0002a147e112a643",
        "0003a147e112a643",
        "00012112e112a643",
    ],
    ids=["empty", "no address", "too long", "ipv4 as ipv6", "family 3", "port 0"],
)
def test_a_malformed_mapped_address_is_none(value: str) -> None:
    message = StunMessage(
        stun.BINDING,
        MessageClass.SUCCESS,
        TRANSACTION,
        ((stun.XOR_MAPPED_ADDRESS, bytes.fromhex(value)),),
    )

    assert message.mapped_address() is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        REQUEST[:19],
        b"\x40" + REQUEST[1:],
        REQUEST[:4] + b"\0\0\0\0" + REQUEST[8:],
        REQUEST[:-1],
        REQUEST + b"\0",
        REQUEST + b"\0\0\0\0",
        bytes.fromhex("000100022112a442") + TRANSACTION + b"\0\0",
        bytes.fromhex("000100042112a442") + TRANSACTION + b"\x80\x22\x00\x01",
        bytes.fromhex("000100082112a442") + TRANSACTION + b"\x80\x22\x00\x05abcd",
        REQUEST[:-1] + b"\x00",
        stun.encode(stun.BINDING, MessageClass.REQUEST, TRANSACTION, [(stun.FINGERPRINT, b"crc!")]),
    ],
    ids=[
        "empty",
        "short header",
        "not a STUN type",
        "no cookie",
        "cut",
        "a byte more",
        "four bytes more",
        "half an attribute's head",
        "an attribute without its value",
        "a value past the end",
        "wrong fingerprint",
        "fingerprint not last",
    ],
)
def test_what_is_not_exactly_one_message_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        stun.decode(data)
    assert not stun.verify(data, PASSWORD)


@pytest.mark.parametrize("first", range(256))
def test_only_datagrams_with_cookie_and_two_zero_bits_are_stun(first: int) -> None:
    assert stun.is_stun(bytes((first,)) + REQUEST[1:]) == (first < 4)
    assert not stun.is_stun(bytes((first,)) * 200)


@pytest.mark.parametrize(("method", "transaction"), [(256, TRANSACTION), (1, TRANSACTION[1:])])
def test_what_no_shared_socket_could_tell_apart_is_not_encoded(
    method: int, transaction: bytes
) -> None:
    with pytest.raises(ValueError, match=r"."):
        stun.encode(method, MessageClass.REQUEST, transaction)


@given(
    method=st.integers(0, stun.METHOD_LIMIT),
    message_class=st.sampled_from(MessageClass),
    transaction=st.binary(min_size=12, max_size=12),
    attributes=st.lists(
        st.tuples(
            st.integers(0, 0xFFFF).filter(
                lambda kind: (
                    kind
                    not in (stun.FINGERPRINT, stun.MESSAGE_INTEGRITY, stun.MESSAGE_INTEGRITY_SHA256)
                )
            ),
            st.binary(max_size=40),
        ),
        max_size=6,
    ),
    key=st.binary(max_size=40),
)
def test_what_is_encoded_is_decoded(
    method: int,
    message_class: MessageClass,
    transaction: bytes,
    attributes: list[tuple[int, bytes]],
    key: bytes,
) -> None:
    data = stun.encode(method, message_class, transaction, attributes, key=key)
    message = stun.decode(data)

    assert (message.method, message.message_class) == (method, message_class)
    assert message.transaction == transaction
    assert list(message.attributes[:-2]) == attributes
    assert stun.verify(data, key)


@settings(max_examples=500)
@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda rest: REQUEST[:20] + rest))
def test_any_bytes_give_a_message_or_a_decode_error(data: bytes) -> None:
    check_decoder(data)


@settings(max_examples=500)
@given(st.binary(max_size=120).map(lambda rest: rest[: len(rest) & ~3]))
def test_any_attributes_under_a_right_header_give_a_message_or_a_decode_error(
    attributes: bytes,
) -> None:
    header = b"\x01\x01" + len(attributes).to_bytes(2, "big") + REQUEST[4:20]
    check_decoder(header + attributes)


def check_decoder(data: bytes) -> None:
    try:
        message = stun.decode(data)
    except DecodeError:
        assert not stun.verify(data, KEY)
    else:
        message.mapped_address()
        stun.verify(data, KEY)


def head_alone(head: bytes) -> bytes:
    """A message that ends where its integrity would begin."""
    return head[:2] + (len(head) - 20).to_bytes(2, "big") + head[4:]
