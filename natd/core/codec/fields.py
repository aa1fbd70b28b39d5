"""What rendezvous datagrams and cards are made of: packed here, and taken apart again.

Rendezvous:

    token       length u8, bytes            card    length u16, bytes
    addresses   count u8, addresses         have    count u16, first 4 bytes of peer ids
    address     4 or 6 u8 | ip 4 or 16 | port u16, all but the first byte complemented: some
                NATs rewrite their own address wherever they find it (RFC 8489, section 14.2)
    ask         wave u8 | nonce 8, or 0     word    wave u8 | nonce 8 | signature 64, or 0

The NAT report in a card, two pieces of its body:

    head    mapping u8 | filtering u8 | allocation u8 | confidence * 255 u8
            stride u8 | lowest port u16 | highest port u16
    tail    confidence of the allocation * 255 u8 | flags u8: 1 = keeps parity
            load per s * 16 u16
            taken ports of a block: count u8, each port u16
            confidence of the filtering * 255 u8

Rules:
- `Reader` raises nothing but DecodeError.
- A reader takes NAT classes that it does not know as `unknown`; the tail may end after any of its
  lines, and may go on with what a later version adds.
"""

import ipaddress
import struct

from natd.core.base.types import (
    PEER_ID_BYTES,
    Address,
    Allocation,
    DecodeError,
    Filtering,
    Mapping,
    NatReport,
    PeerId,
    canonical_host,
)
from natd.core.base.wishes import WAVE_NONCE_BYTES, Ask, Word
from natd.core.codec.rendezvous import (
    CARD_LIMIT_BYTES,
    HAVE_BYTES,
    SIGNATURE_BYTES,
    TOKEN_LIMIT_BYTES,
)

_NAT_HEAD = struct.Struct(">5B2H")
_NAT_TAIL = struct.Struct(">2BH")
NAT_HEAD_BYTES = _NAT_HEAD.size
TAKEN_PORTS_LIMIT = 16
_KEEPS_PARITY = 1
_LOAD_UNITS = 16
_MOST_LOAD = 0xFFFF

_MAPPINGS = (
    Mapping.UNKNOWN,
    Mapping.OPEN,
    Mapping.INDEPENDENT,
    Mapping.DEPENDENT,
    Mapping.ADDRESS_DEPENDENT,
)
_FILTERINGS = (
    Filtering.UNKNOWN,
    Filtering.INDEPENDENT,
    Filtering.DEPENDENT,
    Filtering.ADDRESS_DEPENDENT,
)
_ALLOCATIONS = (
    Allocation.UNKNOWN,
    Allocation.PRESERVING,
    Allocation.SEQUENTIAL,
    Allocation.RANDOM,
    Allocation.BLOCK,
)
# The place of a value in these tuples is its code on the wire: append, never reorder.


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


def pack_ask(ask: Ask | None) -> bytes:
    return b"\0" if ask is None else bytes((ask.wave,)) + ask.nonce


def pack_word(word: Word | None) -> bytes:
    return b"\0" if word is None else bytes((word.wave,)) + word.nonce + word.signature


def pack_nat(nat: NatReport) -> tuple[bytes, bytes]:
    """Head and tail; of the taken ports the newest."""
    head = _NAT_HEAD.pack(
        _MAPPINGS.index(nat.mapping),
        _FILTERINGS.index(nat.filtering),
        _ALLOCATIONS.index(nat.allocation),
        _share_byte(nat.confidence),
        nat.stride,
        nat.low,
        nat.high,
    )
    load = round(min(_MOST_LOAD, max(0.0, nat.load_per_s * _LOAD_UNITS)))
    parity = _KEEPS_PARITY if nat.keeps_parity else 0
    taken = nat.taken_ports[-TAKEN_PORTS_LIMIT:]
    tail = _NAT_TAIL.pack(_share_byte(nat.allocation_confidence), parity, load)
    tail += struct.pack(f">B{len(taken)}H", len(taken), *taken)
    return head, tail + bytes((_share_byte(nat.filtering_confidence),))


def unpack_nat(head: bytes, tail: bytes) -> NatReport:
    """From a head of `NAT_HEAD_BYTES` and whatever there is of a tail."""
    mapping, filtering, allocation, confidence, stride, *ports = _NAT_HEAD.unpack(head)
    at = _NAT_TAIL.size
    sure, flags, load = _NAT_TAIL.unpack_from(tail) if len(tail) >= at else (0, 0, 0)
    count = min(tail[at], TAKEN_PORTS_LIMIT) if len(tail) > at else 0
    rest = tail[at + 1 :]
    if len(rest) < 2 * count:
        count = 0
    after = rest[2 * count :]
    return NatReport(
        mapping=_MAPPINGS[mapping] if mapping < len(_MAPPINGS) else Mapping.UNKNOWN,
        filtering=_FILTERINGS[filtering] if filtering < len(_FILTERINGS) else Filtering.UNKNOWN,
        allocation=_ALLOCATIONS[allocation]
        if allocation < len(_ALLOCATIONS)
        else Allocation.UNKNOWN,
        confidence=confidence / 255,
        stride=stride,
        low=min(ports),
        high=max(ports),
        allocation_confidence=sure / 255,
        keeps_parity=bool(flags & _KEEPS_PARITY),
        load_per_s=load / _LOAD_UNITS,
        taken_ports=struct.unpack(f">{count}H", rest[: 2 * count]),
        filtering_confidence=after[0] / 255 if after else 0.0,
    )


def _share_byte(share: float) -> int:
    return round(255 * min(1.0, max(0.0, share)))


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
        return self.counted(TOKEN_LIMIT_BYTES)

    def card(self) -> bytes:
        length = self.number(2)
        if length > CARD_LIMIT_BYTES:
            raise DecodeError("card too long")
        return self.take(length)

    def have(self) -> tuple[bytes, ...]:
        raw = self.take(self.number(2) * HAVE_BYTES)
        return tuple(raw[at : at + HAVE_BYTES] for at in range(0, len(raw), HAVE_BYTES))

    def addresses(self, limit: int) -> tuple[Address, ...]:
        return tuple(self.address() for _ in range(self.count(limit)))

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

    def ask(self) -> Ask | None:
        wave = self.number(1)
        return Ask(wave, self.take(WAVE_NONCE_BYTES)) if wave else None

    def word(self) -> Word | None:
        wave = self.number(1)
        if not wave:
            return None
        return Word(wave, self.take(WAVE_NONCE_BYTES), self.take(SIGNATURE_BYTES))

    def count(self, limit: int) -> int:
        """One byte that counts what follows; DecodeError when that is more than `limit`."""
        count = self.number(1)
        if count > limit:
            raise DecodeError(f"a field of {count}, where {limit} are the most")
        return count

    def counted(self, limit: int) -> bytes:
        return self.take(self.count(limit))

    def rest(self) -> bytes:
        return self._data[self._at :]

    def finish(self, *, padded: bool) -> None:
        rest = self._data[self._at :]
        if rest and not padded:
            raise DecodeError("bytes after the end")
        if rest.strip(b"\x00"):
            raise DecodeError("padding that is not zeros")
