"""STUN messages (RFC 8489): checks between peers, and Binding for any STUN client.

    class and method (2) | length of the attributes (2) | magic cookie (4) | transaction (12)
    attribute: type (2) | length (2) | value | padding to a multiple of 4

Rules that a change must not break:

- `decode` raises nothing but DecodeError, and takes a message only when every length is
  right and its FINGERPRINT, if it has one, is right and last.
- What stands behind an integrity attribute is not covered by it, and is therefore left out
  (section 14.6); only MESSAGE-INTEGRITY-SHA256 and FINGERPRINT may follow.
- Checks between peers are authenticated by MESSAGE-INTEGRITY-SHA256 only: `verify` does not
  fall back on the older SHA-1, which is here for others' messages.
"""

import functools
import hmac
import ipaddress
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum

from natd.core.base.types import Address, DecodeError

MAGIC_COOKIE = 0x2112A442
TRANSACTION_BYTES = 12
STUN_HEADER_BYTES = 20
ATTRIBUTE_HEADER_BYTES = 4

BINDING = 0x001
"""The method (section 18.2)."""

METHOD_LIMIT = 0xFF
"""Larger ones would leave the range of first bytes that STUN has on a shared socket."""

MAPPED_ADDRESS = 0x0001
CHANGE_REQUEST = 0x0003
USERNAME = 0x0006
MESSAGE_INTEGRITY = 0x0008
ERROR_CODE = 0x0009
UNKNOWN_ATTRIBUTES = 0x000A
MESSAGE_INTEGRITY_SHA256 = 0x001C
XOR_MAPPED_ADDRESS = 0x0020
PRIORITY = 0x0024
USE_CANDIDATE = 0x0025
PADDING = 0x0026
RESPONSE_PORT = 0x0027
SOFTWARE = 0x8022
FINGERPRINT = 0x8028
RESPONSE_ORIGIN = 0x802B
OTHER_ADDRESS = 0x802C
"""Attribute types (RFC 8489, 8445 and 5780)."""


class MessageClass(IntEnum):
    """Section 5."""

    REQUEST = 0
    INDICATION = 1
    SUCCESS = 2
    ERROR = 3


_HEADER = struct.Struct(">HHI12s")
_ATTRIBUTE = struct.Struct(">HH")
_LENGTH_AT = 2
_FINGERPRINT_BYTES = 8
_FINGERPRINT_XOR = 0x5354554E
_FAMILY_IPV4 = 1
_FAMILY_IPV6 = 2
_COOKIE = MAGIC_COOKIE.to_bytes(4, "big")
_NOTHING_COVERED_AFTER = frozenset((MESSAGE_INTEGRITY, MESSAGE_INTEGRITY_SHA256))


@dataclass(frozen=True, slots=True)
class StunMessage:
    """A message as decoded.  Decoding does not authenticate: see `verify`."""

    method: int
    message_class: MessageClass
    transaction: bytes
    """12 bytes."""
    attributes: tuple[tuple[int, bytes], ...]
    """Type and value without padding, in order; integrity and fingerprint included."""

    def get(self, attribute: int) -> bytes | None:
        """The value of the first attribute of this type: later ones mean nothing."""
        for found, value in self.attributes:
            if found == attribute:
                return value
        return None

    def mapped_address(self) -> Address | None:
        """XOR-MAPPED-ADDRESS (section 14.2); None when there is none, or it
        is malformed or names port 0."""
        value = self.get(XOR_MAPPED_ADDRESS)
        return None if value is None else _decode_xor_address(value, self.transaction)


def is_stun(data: bytes) -> bool:
    """Whether a datagram on a shared socket is for this codec (RFC 7983, section 7)."""
    return len(data) >= STUN_HEADER_BYTES and data[0] < 4 and data[4:8] == _COOKIE


def decode(data: bytes) -> StunMessage:
    """The message in one datagram; DecodeError unless it is exactly one."""
    if not is_stun(data):
        raise DecodeError("not a STUN message")
    message_type, length, _, transaction = _HEADER.unpack_from(data)
    if length != len(data) - STUN_HEADER_BYTES or length % 4:
        raise DecodeError(f"a STUN message that claims {length} bytes of attributes")
    attributes: list[tuple[int, bytes]] = []
    covered = True
    for attribute, at, end in _walk(data):
        if attribute == FINGERPRINT:
            if end != len(data) or not _fingerprint_is_right(data):
                raise DecodeError("a STUN message with a wrong fingerprint")
        elif not covered and attribute != MESSAGE_INTEGRITY_SHA256:
            continue
        attributes.append((attribute, data[at:end]))
        covered = covered and attribute not in _NOTHING_COVERED_AFTER
    return StunMessage(
        method=(message_type & 0x200) >> 2 | (message_type & 0xE0) >> 1 | message_type & 0xF,
        message_class=MessageClass((message_type & 0x100) >> 7 | (message_type & 0x10) >> 4),
        transaction=transaction,
        attributes=tuple(attributes),
    )


def verify(data: bytes, key: bytes) -> bool:
    """Whether `data` is a STUN message made with `key`: a full MESSAGE-INTEGRITY-SHA256
    (section 14.6) and a FINGERPRINT, both right.  Never raises."""
    try:
        return is_right(decode(data), data, key)
    except DecodeError:
        return False


def is_right(message: StunMessage, data: bytes, key: bytes) -> bool:
    """The same for `data` that was decoded to `message` before."""
    return message.get(FINGERPRINT) is not None and _integrity_is_right(data, key)


def encode(
    method: int,
    message_class: MessageClass,
    transaction: bytes,
    attributes: Iterable[tuple[int, bytes]] = (),
    *,
    key: bytes | None = None,
    fingerprint: bool = True,
) -> bytes:
    """A message with MESSAGE-INTEGRITY-SHA256, when there is a key, and FINGERPRINT."""
    if len(transaction) != TRANSACTION_BYTES:
        raise ValueError(f"a transaction id has {TRANSACTION_BYTES} bytes")
    if not 0 <= method <= METHOD_LIMIT:
        raise ValueError(f"no method {method} on a shared socket")
    message_type = (
        (method & 0x80) << 2
        | (method & 0x70) << 1
        | method & 0xF
        | (message_class & 2) << 7
        | (message_class & 1) << 4
    )
    data = bytearray(_HEADER.pack(message_type, 0, MAGIC_COOKIE, transaction))
    for attribute, value in attributes:
        data += _ATTRIBUTE.pack(attribute, len(value)) + value + bytes(-len(value) % 4)
    if key is not None:
        _set_length(data, len(data) + 36)
        mac = hmac.digest(key, data, "sha256")
        data += _ATTRIBUTE.pack(MESSAGE_INTEGRITY_SHA256, len(mac)) + mac
    _set_length(data, len(data) + (_FINGERPRINT_BYTES if fingerprint else 0))
    if fingerprint:
        checksum = zlib.crc32(data) ^ _FINGERPRINT_XOR
        data += _ATTRIBUTE.pack(FINGERPRINT, 4) + checksum.to_bytes(4, "big")
    return bytes(data)


def encode_binding_request(
    transaction: bytes,
    *,
    username: bytes = b"",
    key: bytes | None = None,
    extra: Iterable[tuple[int, bytes]] = (),
) -> bytes:
    """A Binding request.  With two 8-byte tags as username and a key: a check of 84 bytes."""
    attributes = [(USERNAME, username), *extra] if username else extra
    return encode(BINDING, MessageClass.REQUEST, transaction, attributes, key=key)


def encode_binding_response(
    transaction: bytes,
    mapped: Address,
    *,
    key: bytes | None = None,
    extra: Iterable[tuple[int, bytes]] = (),
    fingerprint: bool = True,
) -> bytes:
    """The success response: `mapped` is where the request came from."""
    attributes = [(XOR_MAPPED_ADDRESS, _encode_xor_address(mapped, transaction)), *extra]
    success = MessageClass.SUCCESS
    return encode(BINDING, success, transaction, attributes, key=key, fingerprint=fingerprint)


def encode_address(address: Address) -> bytes:
    """The value of MAPPED-ADDRESS, OTHER-ADDRESS and RESPONSE-ORIGIN (section 14.1)."""
    family = _FAMILY_IPV6 if address.is_ipv6 else _FAMILY_IPV4
    return bytes((0, family)) + address.port.to_bytes(2, "big") + _packed(address.host)


@functools.lru_cache(maxsize=1024)
def _packed(host: str) -> bytes:
    return ipaddress.ip_address(host).packed


def _walk(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Type, start and end of the value of each attribute."""
    at = STUN_HEADER_BYTES
    while at < len(data):
        try:
            attribute, length = _ATTRIBUTE.unpack_from(data, at)
        except struct.error as cause:
            raise DecodeError("a STUN message that ends within an attribute") from cause
        at += _ATTRIBUTE.size
        end = at + length
        if end + -length % 4 > len(data):
            raise DecodeError(f"a STUN attribute that claims {length} bytes")
        yield attribute, at, end
        at = end + -length % 4


def _integrity_is_right(data: bytes, key: bytes) -> bool:
    """For a message that decodes: whether its first MESSAGE-INTEGRITY-SHA256 is the whole MAC
    over what stands before it, under a length that counts it in."""
    for attribute, at, end in _walk(data):
        if attribute == MESSAGE_INTEGRITY_SHA256:
            signed = bytearray(data[: at - _ATTRIBUTE.size])
            _set_length(signed, end)
            mac = hmac.digest(key, signed, "sha256")
            return hmac.compare_digest(mac, data[at:end])
    return False


def _set_length(data: bytearray, total: int) -> None:
    """Write the length that the header has while a message of `total` bytes is hashed."""
    data[_LENGTH_AT : _LENGTH_AT + 2] = (total - STUN_HEADER_BYTES).to_bytes(2, "big")


def _fingerprint_is_right(data: bytes) -> bool:
    """For a message whose last attribute is FINGERPRINT (section 14.7)."""
    checksum = zlib.crc32(data[:-_FINGERPRINT_BYTES]) ^ _FINGERPRINT_XOR
    return data[-_FINGERPRINT_BYTES + 2 :] == b"\x00\x04" + checksum.to_bytes(4, "big")


def _encode_xor_address(address: Address, transaction: bytes) -> bytes:
    plain = encode_address(address)
    return plain[:2] + _xor(plain[2:4], _COOKIE) + _xor(plain[4:], _COOKIE + transaction)


def _decode_xor_address(value: bytes, transaction: bytes) -> Address | None:
    if len(value) < 8:
        return None
    port = int.from_bytes(_xor(value[2:4], _COOKIE), "big")
    raw = _xor(value[4:], _COOKIE + transaction)
    if port == 0:
        return None
    if value[1] == _FAMILY_IPV4 and len(raw) == 4:
        return Address(str(ipaddress.IPv4Address(raw)), port)
    if value[1] == _FAMILY_IPV6 and len(raw) == 16:
        ip = ipaddress.IPv6Address(raw)
        return Address(str(ip.ipv4_mapped or ip), port)
    return None


def _xor(data: bytes, pad: bytes) -> bytes:
    """`data` under the first bytes of `pad`."""
    mask = int.from_bytes(pad[: len(data)], "big")
    return (int.from_bytes(data, "big") ^ mask).to_bytes(len(data), "big")
