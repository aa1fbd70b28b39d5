"""The rendezvous datagrams between a peer and a coordination server.

Every datagram begins with the same header, in every version of the protocol for ever, and
so does ERROR, so that two versions can at least tell each other that they differ:

    0x05 | version u8 | type u8 | transaction 12 bytes | body

The first 4 bytes of a transaction are chosen by the peer for each of its registrations (the
prefix by which its node routes); the rest is random.  An answer repeats the transaction of
the question; an INTRODUCE has that of the receiver's latest REGISTER.

    REGISTER    1  network 32 | peer 32 | sequence u64 | sent at, Unix ms u64, or 0 | token
                   | card | samples | have | two signatures over everything before them:
                   of the peer 64, of the network's membership key 64 | zeros up to 1,200 bytes,
                   or to 1,000 where a path carries no more
    CHALLENGE   2  reason u8 | token
    REGISTERED  3  lease 8 | length_s u16 | observed address | token | rtt_ms u16 (0: unknown)
                   | members u16 | missing u16 | ports: count u8, u16 each
                   | the server's other address, or nothing
    INTRODUCE   4  flags u8 (1: you dial, 2: address proved) | start_in_ms u16 | peer 32
                   | observed | samples | card | ask | word
    REFRESH     5  lease 8 | asks u8 | have | zeros up to 64 bytes (1,200 or 1,000 when it asks)
    REFRESHED   6  observed address | members u16 | missing u16
    SAMPLE      7  elsewhere u8 (1: from another port, 2: from the other address, 4: to that port
                   of the asker's) | port u16, or 0 | zeros up to 64 bytes (160 unless 0)
    SAMPLED     8  observed address | elsewhere u8: what else was sent, or nothing
    CONNECT     9  lease 8 | peer 32 | samples | ask | word | zeros up to 800 bytes
    BYE        10  lease 8
    ERROR      11  code u8 | text: length u8, UTF-8

Token, card, samples, observed (of INTRODUCE), have, address, ask and word: see `fields`.

Rules: `decode` raises nothing but DecodeError; what is not padding must end exactly where the
datagram does; padding is zeros.  A question is padded so that its answers are not longer.
"""

import struct
from collections.abc import Callable
from dataclasses import replace

from natd.core.base.types import (
    DecodeError,
    NetworkId,
)
from natd.core.codec.fields import (
    Reader,
    pack_address,
    pack_addresses,
    pack_ask,
    pack_card,
    pack_have,
    pack_token,
    pack_word,
)
from natd.core.codec.rendezvous import (
    CONNECT_BYTES,
    HAVE_BYTES,
    LEASE_ID_BYTES,
    MEMBERSHIP_KEY_BYTES,
    OBSERVED_LIMIT,
    PADDED_BYTES,
    PORTS_LIMIT,
    PROBING_SAMPLE_BYTES,
    SAMPLES_LIMIT,
    SIGNATURE_BYTES,
    SMALL_BYTES,
    TEXT_LIMIT_BYTES,
    TRANSACTION_BYTES,
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

RENDEZVOUS_MAGIC = 0x05
"""One of the first bytes that neither STUN nor QUIC uses (RFC 7983, RFC 9443)."""

VERSION = 2
RENDEZVOUS_HEADER_BYTES = 3 + TRANSACTION_BYTES

_YOU_DIAL, _IS_PROVED = 1, 2
"""Flags of an INTRODUCE."""

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


def encode(message: Message, padded_bytes: int = PADDED_BYTES) -> bytes:
    """The datagram of any message but REGISTER, which is signed: see `encode_register`.  A question
    that asks for introductions is padded to so many bytes."""
    head = _header(message)
    match message:
        case Register():
            raise TypeError("a REGISTER is encoded by encode_register")
        case Challenge(_, reason, token):
            return head + bytes((reason,)) + pack_token(token)
        case Registered():
            return head + _registered_body(message)
        case Introduce():
            return head + _introduce_body(message)
        case Refresh(_, lease_id, asks, have):
            body = lease_id + bytes((asks,)) + pack_have(have)
            return _padded(head + body, padded_bytes if asks else SMALL_BYTES)
        case Refreshed(_, observed, members, missing):
            return head + pack_address(observed) + struct.pack("!HH", members, missing)
        case Sample(_, elsewhere, asker_port):
            body = struct.pack("!BH", elsewhere, asker_port)
            return _padded(head + body, PROBING_SAMPLE_BYTES if elsewhere else SMALL_BYTES)
        case Sampled(_, observed, elsewhere):
            return head + pack_address(observed) + (bytes((elsewhere,)) if elsewhere else b"")
        case Connect(_, lease_id, peer, samples, ask, word):
            body = lease_id + peer + pack_addresses(samples) + pack_ask(ask) + pack_word(word)
            return _padded(head + body, CONNECT_BYTES)
        case Bye(_, lease_id):
            return head + lease_id
        case Error(_, code, text):
            raw = text.encode("utf-8")[:TEXT_LIMIT_BYTES]
            return head + bytes((code, len(raw))) + raw


def fit_register(register: Register, size_bytes: int = PADDED_BYTES) -> Register:
    """Without as many of the samples and of `have` as would not fit into so many bytes."""
    bare = _register_body(replace(register, samples=(), have=()))
    room = max(0, size_bytes - RENDEZVOUS_HEADER_BYTES - len(bare) - 2 * SIGNATURE_BYTES)
    samples_bytes = len(pack_addresses(register.samples)) - 1
    samples = register.samples if samples_bytes <= room else ()
    room -= samples_bytes if samples else 0
    return replace(register, samples=samples, have=register.have[: room // HAVE_BYTES])


def encode_register(
    register: Register,
    sign: Callable[[bytes], bytes],
    sign_as_member: Callable[[bytes], bytes],
    size_bytes: int = PADDED_BYTES,
) -> bytes:
    """The padded datagram, longer than `size_bytes` where the card is too large for that; both are
    given what their 64-byte signature shall cover."""
    part = _header(register) + _register_body(register)
    return _padded(part + sign(part) + sign_as_member(part), size_bytes)


def decode(data: bytes) -> Message:
    """Raises DecodeError (ForeignVersionError where that is the reason)."""
    if len(data) < RENDEZVOUS_HEADER_BYTES or data[0] != RENDEZVOUS_MAGIC:
        raise DecodeError("not a rendezvous datagram")
    version, kind, transaction = data[1], data[2], data[3:RENDEZVOUS_HEADER_BYTES]
    if version != VERSION:
        raise ForeignVersionError(version, kind, transaction)
    if not 1 <= kind <= len(_TYPES):
        raise DecodeError(f"unknown type {kind}")
    reader = Reader(data, RENDEZVOUS_HEADER_BYTES)
    message = _read_body(_TYPES[kind - 1], transaction, reader)
    reader.finish(padded=isinstance(message, Register | Refresh | Sample | Connect))
    return message


def _read_body(kind: type[Message], transaction: bytes, reader: Reader) -> Message:
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
        return _read_sample(transaction, reader)
    if kind is Sampled:
        observed = reader.address()
        if reader.is_at_end:
            return Sampled(transaction, observed)
        return Sampled(transaction, observed, _read_elsewhere(reader, least=1))
    if kind is Connect:
        lease_id, peer = reader.take(LEASE_ID_BYTES), reader.peer()
        samples = reader.addresses(SAMPLES_LIMIT)
        return Connect(transaction, lease_id, peer, samples, reader.ask(), reader.word())
    if kind is Bye:
        return Bye(transaction, reader.take(LEASE_ID_BYTES))
    code, length = reader.number(1), reader.number(1)
    return Error(transaction, code, reader.take(length).decode("utf-8", "replace"))


def _read_register(transaction: bytes, reader: Reader) -> Register:
    network = NetworkId(reader.take(MEMBERSHIP_KEY_BYTES))
    peer = reader.peer()
    sequence, sent_at_unix_ms = reader.number(8), reader.number(8)
    token = reader.token()
    card = reader.card()
    samples = reader.addresses(SAMPLES_LIMIT)
    have = reader.have()
    signed = reader.before()
    signature, member_signature = reader.take(SIGNATURE_BYTES), reader.take(SIGNATURE_BYTES)
    return Register(
        transaction,
        network,
        peer,
        sequence,
        card,
        token,
        samples,
        have,
        sent_at_unix_ms,
        signature,
        member_signature,
        signed,
    )


def _register_body(register: Register) -> bytes:
    return b"".join(
        (
            register.network,
            register.peer,
            struct.pack("!QQ", register.sequence, register.sent_at_unix_ms),
            pack_token(register.token),
            pack_card(register.card),
            pack_addresses(register.samples),
            pack_have(register.have),
        )
    )


def _read_registered(transaction: bytes, reader: Reader) -> Registered:
    lease_id, length_s = reader.take(LEASE_ID_BYTES), reader.number(2)
    observed, token = reader.address(), reader.token()
    rtt_ms, members, missing = reader.number(2), reader.number(2), reader.number(2)
    count = reader.number(1)
    if count > PORTS_LIMIT:
        raise DecodeError("too many sampling ports")
    ports = tuple(reader.number(2) for _ in range(count))
    if 0 in ports or length_s == 0:
        raise DecodeError("a port or a lease of 0")
    other = None if reader.is_at_end else reader.address()
    return Registered(
        transaction, lease_id, length_s, observed, token, rtt_ms, members, missing, ports, other
    )


def _registered_body(message: Registered) -> bytes:
    return b"".join(
        (
            message.lease_id,
            struct.pack("!H", message.length_s),
            pack_address(message.observed),
            pack_token(message.token),
            struct.pack("!HHH", message.rtt_ms, message.members, message.missing),
            bytes((len(message.sample_ports),)),
            struct.pack(f"!{len(message.sample_ports)}H", *message.sample_ports),
            b"" if message.other is None else pack_address(message.other),
        )
    )


def _read_sample(transaction: bytes, reader: Reader) -> Sample:
    if reader.is_at_end:
        return Sample(transaction)
    elsewhere, asker_port = _read_elsewhere(reader), reader.number(2)
    if (asker_port != 0) != (Elsewhere.ASKER_PORT in elsewhere):
        raise DecodeError("a port without its flag, or the reverse")
    return Sample(transaction, elsewhere, asker_port)


def _read_elsewhere(reader: Reader, least: int = 0) -> Elsewhere:
    """Refuse unknown bits: if we ignored them, the asker would take the answer for lost."""
    flags = reader.number(1)
    if not least <= flags <= sum(Elsewhere):
        raise DecodeError("unknown flags")
    return Elsewhere(flags)


def _read_introduce(transaction: bytes, reader: Reader) -> Introduce:
    flags, start_in_ms, peer = reader.number(1), reader.number(2), reader.peer()
    if flags > _YOU_DIAL | _IS_PROVED:
        raise DecodeError("unknown flags")
    observed = reader.addresses(OBSERVED_LIMIT)
    samples = reader.addresses(SAMPLES_LIMIT)
    return Introduce(
        transaction,
        bool(flags & _YOU_DIAL),
        bool(flags & _IS_PROVED),
        start_in_ms,
        peer,
        observed,
        samples,
        reader.card(),
        reader.ask(),
        reader.word(),
    )


def _introduce_body(message: Introduce) -> bytes:
    flags = _YOU_DIAL * message.you_dial | _IS_PROVED * message.is_proved
    return b"".join(
        (
            struct.pack("!BH", flags, message.start_in_ms),
            message.peer,
            pack_addresses(message.observed),
            pack_addresses(message.samples),
            pack_card(message.card),
            pack_ask(message.ask),
            pack_word(message.word),
        )
    )


def _header(message: Message) -> bytes:
    if len(message.transaction) != TRANSACTION_BYTES:
        raise ValueError(f"a transaction has {TRANSACTION_BYTES} bytes")
    return bytes((RENDEZVOUS_MAGIC, VERSION, _NUMBERS[type(message)])) + message.transaction


def _padded(data: bytes, size_bytes: int) -> bytes:
    return data.ljust(size_bytes, b"\x00")
