"""What the bodies of rendezvous datagrams are made of: packed here, and taken apart again.

    token       length u8, bytes            card    length u16, bytes
    addresses   count u8, addresses         have    count u16, first 4 bytes of peer ids
    address     4 or 6 u8 | ip 4 or 16 | port u16, all but the first byte complemented: some
                NATs rewrite their own address wherever they find it (RFC 8489, section 14.2)

`Reader` raises nothing but DecodeError.
"""

import ipaddress
import struct

from natd.core.base.types import PEER_ID_BYTES, Address, DecodeError, PeerId, canonical_host
from natd.core.codec.rendezvous import CARD_LIMIT_BYTES, HAVE_BYTES, TOKEN_LIMIT_BYTES


def pack_token(token: bytes) -> bytes:
    return bytes((len(token),)) + token


def pack_card(card: bytes) -> bytes:
    if len(card) > CARD_LIMIT_BYTES:
        raise ValueError(f"a sealed card has at most {CARD_LIMIT_BYTES} bytes, not {len(card)}")
    return struct.pack("!H", len(card)) + card


def pack_have(have: tuple[bytes, ...]) -> bytes:
    return struct.pack("!H", len(have)) + b"".join(have)


def pack_addresses(addresses: tuple[Address, ...]) -> bytes:
    return bytes((len(addresses),)) + b"".join(map(pack_address, addresses))


def pack_address(address: Address) -> bytes:
    packed = (
        ipaddress.IPv6Address(address.host).packed
        if address.is_ipv6
        else bytes(map(int, address.host.split(".")))
    )
    family = 6 if address.is_ipv6 else 4
    return bytes((family,)) + _complement(packed + struct.pack("!H", address.port))


def _complement(data: bytes) -> bytes:
    return bytes(byte ^ 0xFF for byte in data)


class Reader:
    """Takes a body apart from the left; DecodeError when it is too short."""

    def __init__(self, data: bytes, at: int) -> None:
        """`at`: where the body begins."""
        self._data = data
        self._at = at

    @property
    def is_at_end(self) -> bool:
        return self._at == len(self._data)

    def take(self, size: int) -> bytes:
        piece = self._data[self._at : self._at + size]
        if len(piece) != size:
            raise DecodeError("too short")
        self._at += size
        return piece

    def before(self) -> bytes:
        return self._data[: self._at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def peer(self) -> PeerId:
        return PeerId(self.take(PEER_ID_BYTES))

    def token(self) -> bytes:
        length = self.number(1)
        if length > TOKEN_LIMIT_BYTES:
            raise DecodeError("token too long")
        return self.take(length)

    def card(self) -> bytes:
        length = self.number(2)
        if length > CARD_LIMIT_BYTES:
            raise DecodeError("card too long")
        return self.take(length)

    def have(self) -> tuple[bytes, ...]:
        raw = self.take(self.number(2) * HAVE_BYTES)
        return tuple(raw[at : at + HAVE_BYTES] for at in range(0, len(raw), HAVE_BYTES))

    def addresses(self, limit: int) -> tuple[Address, ...]:
        count = self.number(1)
        if count > limit:
            raise DecodeError("too many addresses")
        return tuple(self.address() for _ in range(count))

    def address(self) -> Address:
        family = self.number(1)
        if family not in (4, 6):
            raise DecodeError(f"unknown address family {family}")
        packed = _complement(self.take(4 if family == 4 else 16))
        port = int.from_bytes(_complement(self.take(2)), "big")
        if port == 0:
            raise DecodeError("port 0")
        if family == 4:
            return Address("{}.{}.{}.{}".format(*packed), port)
        return Address(canonical_host(str(ipaddress.IPv6Address(packed))), port)

    def finish(self, *, padded: bool) -> None:
        rest = self._data[self._at :]
        if rest and not padded:
            raise DecodeError("bytes behind the end")
        if rest.strip(b"\x00"):
            raise DecodeError("padding that is not zeros")
