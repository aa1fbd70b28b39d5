"""The rendezvous datagrams between a peer and a coordination server.

Every datagram begins with the same header, in every version of the protocol for ever, and
so does ERROR, so that two versions can at least tell each other that they differ:

    0x05 | version u8 | type u8 | transaction 12 bytes | body

The first 4 bytes of a transaction are chosen by the peer for each of its registrations (the
prefix by which its node routes); the rest is random.  An answer repeats the transaction of
the question; an INTRODUCE has that of the receiver's latest REGISTER.

    REGISTER    1  network 16 | peer 32 | sequence u64 | token | card | samples | have
                   | signature 64 over everything before it | zeros up to 1,200 bytes
    CHALLENGE   2  reason u8 | token
    REGISTERED  3  lease 8 | length_s u16 | observed address | token | rtt_ms u16 (0: unknown)
                   | members u16 | missing u16 | ports: count u8, u16 each
    INTRODUCE   4  flags u8 (1: you dial) | start_in_ms u16 | peer 32 | observed | samples | card
    REFRESH     5  lease 8 | asks u8 | have | zeros up to 64 bytes (1,200 when it asks)
    REFRESHED   6  observed address | members u16 | missing u16
    SAMPLE      7  zeros up to 64 bytes
    SAMPLED     8  observed address
    CONNECT     9  lease 8 | peer 32 | samples | zeros up to 800 bytes
    BYE        10  lease 8
    ERROR      11  code u8 | text: length u8, UTF-8

    token       length u8, bytes            card    length u16, bytes
    samples, observed (of INTRODUCE)        count u8, addresses
    have        count u16, the first 4 bytes of peer ids that need no introduction
    address     4 or 6 u8 | ip 4 or 16 | port u16, all but the first byte complemented: some
                NATs rewrite their own address wherever they find it (RFC 8489, section 14.2)

Rules: `decode` raises nothing but DecodeError; what is not padding must end exactly where the
datagram does; padding is zeros.  A question is padded so that its answer is not longer.
"""

import ipaddress
import struct
from collections.abc import Callable
from dataclasses import replace

from natd.core.rendezvous import (
    CARD_LIMIT_BYTES,
    CONNECT_BYTES,
    HAVE_BYTES,
    LEASE_ID_BYTES,
    OBSERVED_LIMIT,
    PADDED_BYTES,
    PORTS_LIMIT,
    PREFIX_BYTES,
    SAMPLES_LIMIT,
    SIGNATURE_BYTES,
    SMALL_BYTES,
    TEXT_LIMIT_BYTES,
    TOKEN_LIMIT_BYTES,
    TRANSACTION_BYTES,
    Bye,
    Challenge,
    ChallengeReason,
    Connect,
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
from natd.core.types import (
    NETWORK_ID_BYTES,
    PEER_ID_BYTES,
    Address,
    DecodeError,
    NetworkId,
    PeerId,
    canonical_host,
)

MAGIC = 0x05
"""One of the first bytes that neither STUN nor QUIC uses (RFC 7983, RFC 9443)."""

VERSION = 1
HEADER_BYTES = 3 + TRANSACTION_BYTES

_TYPES: tuple[type[Message], ...] = (
    Register,
    Challenge,
    Registered,
    Introduce,
    Refresh,
    Refreshed,
    Sample,
    Sampled,
    Connect,
    Bye,
    Error,
)
_NUMBERS = {kind: number for number, kind in enumerate(_TYPES, start=1)}
ERROR_TYPE = _NUMBERS[Error]


class ForeignVersionError(DecodeError):
    """A rendezvous datagram of another version than ours."""

    def __init__(self, version: int, kind: int, transaction: bytes) -> None:
        super().__init__(f"rendezvous version {version}, expected {VERSION}")
        self.version = version
        self.kind = kind
        self.transaction = transaction


def is_rendezvous(data: bytes) -> bool:
    return data[:1] == b"\x05"


def transaction_prefix(data: bytes) -> bytes | None:
    """The registration that a datagram belongs to; None when it is too short for a header."""
    return data[3 : 3 + PREFIX_BYTES] if len(data) >= HEADER_BYTES else None


def encode(message: Message) -> bytes:
    """The datagram of any message but REGISTER, which is signed: see `encode_register`."""
    head = _header(message)
    match message:
        case Register():
            raise TypeError("a REGISTER is encoded by encode_register")
        case Challenge(_, reason, token):
            return head + bytes((reason,)) + _pack_token(token)
        case Registered():
            return head + _registered_body(message)
        case Introduce():
            return head + _introduce_body(message)
        case Refresh(_, lease_id, asks, have):
            body = lease_id + bytes((asks,)) + _pack_have(have)
            return _padded(head + body, PADDED_BYTES if asks else SMALL_BYTES)
        case Refreshed(_, observed, members, missing):
            return head + _pack_address(observed) + struct.pack("!HH", members, missing)
        case Sample():
            return _padded(head, SMALL_BYTES)
        case Sampled(_, observed):
            return head + _pack_address(observed)
        case Connect(_, lease_id, peer, samples):
            return _padded(head + lease_id + peer + _pack_addresses(samples), CONNECT_BYTES)
        case Bye(_, lease_id):
            return head + lease_id
        case Error(_, code, text):
            raw = text.encode("utf-8")[:TEXT_LIMIT_BYTES]
            return head + bytes((code, len(raw))) + raw


def fit_register(register: Register) -> Register:
    """Without as many of the samples and of `have` as would not fit into PADDED_BYTES."""
    bare = _register_body(replace(register, samples=(), have=()))
    room = PADDED_BYTES - HEADER_BYTES - len(bare) - SIGNATURE_BYTES
    samples_bytes = len(_pack_addresses(register.samples)) - 1
    samples = register.samples if samples_bytes <= room else ()
    room -= samples_bytes if samples else 0
    return replace(register, samples=samples, have=register.have[: room // HAVE_BYTES])


def encode_register(register: Register, sign: Callable[[bytes], bytes]) -> bytes:
    """The padded datagram; `sign` is given what the 64-byte signature shall cover."""
    part = _header(register) + _register_body(register)
    return _padded(part + sign(part), PADDED_BYTES)


def decode(data: bytes) -> Message:
    """Raises DecodeError (ForeignVersionError where that is the reason)."""
    if len(data) < HEADER_BYTES or data[0] != MAGIC:
        raise DecodeError("not a rendezvous datagram")
    version, kind, transaction = data[1], data[2], data[3:HEADER_BYTES]
    if version != VERSION:
        raise ForeignVersionError(version, kind, transaction)
    if not 1 <= kind <= len(_TYPES):
        raise DecodeError(f"unknown type {kind}")
    reader = _Reader(data)
    message = _read_body(_TYPES[kind - 1], transaction, reader)
    reader.finish(padded=isinstance(message, Register | Refresh | Sample | Connect))
    return message


def _read_body(kind: type[Message], transaction: bytes, reader: "_Reader") -> Message:
    if kind is Register:
        return _read_register(transaction, reader)
    if kind is Challenge:
        reason = reader.number(1)
        if reason not in tuple(ChallengeReason):
            raise DecodeError(f"unknown reason {reason}")
        return Challenge(transaction, ChallengeReason(reason), reader.token())
    if kind is Registered:
        return _read_registered(transaction, reader)
    if kind is Introduce:
        return _read_introduce(transaction, reader)
    if kind is Refresh:
        lease_id, asks = reader.take(LEASE_ID_BYTES), reader.number(1)
        if asks > 1:
            raise DecodeError("asks is 0 or 1")
        return Refresh(transaction, lease_id, asks == 1, reader.have())
    if kind is Refreshed:
        return Refreshed(transaction, reader.address(), reader.number(2), reader.number(2))
    if kind is Sample:
        return Sample(transaction)
    if kind is Sampled:
        return Sampled(transaction, reader.address())
    if kind is Connect:
        lease_id, peer = reader.take(LEASE_ID_BYTES), reader.peer()
        return Connect(transaction, lease_id, peer, reader.addresses(SAMPLES_LIMIT))
    if kind is Bye:
        return Bye(transaction, reader.take(LEASE_ID_BYTES))
    code, length = reader.number(1), reader.number(1)
    return Error(transaction, code, reader.take(length).decode("utf-8", "replace"))


def _read_register(transaction: bytes, reader: "_Reader") -> Register:
    network = NetworkId(reader.take(NETWORK_ID_BYTES))
    peer = reader.peer()
    sequence = reader.number(8)
    token = reader.token()
    card = reader.card()
    samples = reader.addresses(SAMPLES_LIMIT)
    have = reader.have()
    signed = reader.before()
    signature = reader.take(SIGNATURE_BYTES)
    return Register(
        transaction, network, peer, sequence, card, token, samples, have, signature, signed
    )


def _register_body(register: Register) -> bytes:
    return b"".join(
        (
            register.network,
            register.peer,
            struct.pack("!Q", register.sequence),
            _pack_token(register.token),
            _pack_card(register.card),
            _pack_addresses(register.samples),
            _pack_have(register.have),
        )
    )


def _read_registered(transaction: bytes, reader: "_Reader") -> Registered:
    lease_id, length_s = reader.take(LEASE_ID_BYTES), reader.number(2)
    observed, token = reader.address(), reader.token()
    rtt_ms, members, missing = reader.number(2), reader.number(2), reader.number(2)
    count = reader.number(1)
    if count > PORTS_LIMIT:
        raise DecodeError("too many sampling ports")
    ports = tuple(reader.number(2) for _ in range(count))
    if 0 in ports or length_s == 0:
        raise DecodeError("a port or a lease of 0")
    return Registered(
        transaction, lease_id, length_s, observed, token, rtt_ms, members, missing, ports
    )


def _registered_body(message: Registered) -> bytes:
    return b"".join(
        (
            message.lease_id,
            struct.pack("!H", message.length_s),
            _pack_address(message.observed),
            _pack_token(message.token),
            struct.pack("!HHH", message.rtt_ms, message.members, message.missing),
            bytes((len(message.sample_ports),)),
            struct.pack(f"!{len(message.sample_ports)}H", *message.sample_ports),
        )
    )


def _read_introduce(transaction: bytes, reader: "_Reader") -> Introduce:
    flags, start_in_ms, peer = reader.number(1), reader.number(2), reader.peer()
    if flags > 1:
        raise DecodeError("unknown flags")
    observed = reader.addresses(OBSERVED_LIMIT)
    samples = reader.addresses(SAMPLES_LIMIT)
    return Introduce(transaction, flags == 1, start_in_ms, peer, observed, samples, reader.card())


def _introduce_body(message: Introduce) -> bytes:
    return b"".join(
        (
            struct.pack("!BH", message.you_dial, message.start_in_ms),
            message.peer,
            _pack_addresses(message.observed),
            _pack_addresses(message.samples),
            _pack_card(message.card),
        )
    )


def _header(message: Message) -> bytes:
    if len(message.transaction) != TRANSACTION_BYTES:
        raise ValueError(f"a transaction has {TRANSACTION_BYTES} bytes")
    return bytes((MAGIC, VERSION, _NUMBERS[type(message)])) + message.transaction


def _padded(data: bytes, size_bytes: int) -> bytes:
    return data.ljust(size_bytes, b"\x00")


def _pack_token(token: bytes) -> bytes:
    return bytes((len(token),)) + token


def _pack_card(card: bytes) -> bytes:
    if len(card) > CARD_LIMIT_BYTES:
        raise ValueError(f"a sealed card has at most {CARD_LIMIT_BYTES} bytes, not {len(card)}")
    return struct.pack("!H", len(card)) + card


def _pack_have(have: tuple[bytes, ...]) -> bytes:
    return struct.pack("!H", len(have)) + b"".join(have)


def _pack_addresses(addresses: tuple[Address, ...]) -> bytes:
    return bytes((len(addresses),)) + b"".join(map(_pack_address, addresses))


def _pack_address(address: Address) -> bytes:
    packed = (
        ipaddress.IPv6Address(address.host).packed
        if address.is_ipv6
        else bytes(map(int, address.host.split(".")))
    )
    family = 6 if address.is_ipv6 else 4
    return bytes((family,)) + _complement(packed + struct.pack("!H", address.port))


def _complement(data: bytes) -> bytes:
    return bytes(byte ^ 0xFF for byte in data)


class _Reader:
    """Takes a body apart from the left; DecodeError when it is too short."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = HEADER_BYTES

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
