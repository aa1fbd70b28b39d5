"""Who a peer is, and the signed and sealed card that tells it to another peer.

Rules that a change must not break:

- A seed of 32 bytes is the whole identity.  From it by HKDF-SHA256: an Ed25519 key, whose
  public half *is* the peer id, and an X25519 static key.
- Every signature is over `length of label (1) | label | data`, so that bytes signed for one
  purpose are worth nothing for another.
- A card is signed for one network: the signature also covers a binding derived from the
  network key, so a member of two networks can't carry a card from one into the other.
- `open_card` raises nothing but DecodeError, and gives a card only when seal, signature and
  every length were right.

Sealed, on the wire (at most 1,024 bytes; a usual card takes about 250):

    nonce (12) | ChaCha20-Poly1305 of the body, with its tag (16)

The body, integers big-endian:

    version = 1 (1) | peer id (32) | static (32) | prekey (32) | sequence (8)
    NAT report, its head: see `fields`
    nick: length (1), UTF-8
    features: count (1), each length (1), ASCII
    candidates: count (1), each kind (1), family 4 or 6 (1), address (4 or 16), port (2)
    NAT report, its tail
    signature (64)

A reader leaves out candidates of kinds that it does not know, those after the sixteenth and
those after the fourth of a kind, so that they may grow.  What follows the candidates may be
missing; further bytes before the signature are left for later versions.
"""

import hashlib
import ipaddress
import struct
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from natd.core.base.types import (
    CANDIDATES_OF_A_KIND_LIMIT,
    PEER_ID_BYTES,
    Address,
    Candidate,
    CandidateKind,
    DecodeError,
    NatReport,
    PeerId,
    peer_id_text,
)
from natd.core.codec.fields import NAT_HEAD_BYTES, Reader, pack_nat, unpack_nat
from natd.core.codec.rendezvous import CARD_LIMIT_BYTES, SIGNATURE_BYTES

SEED_BYTES = 32
PUBLIC_KEY_BYTES = 32
SEALED_CARD_LIMIT_BYTES = CARD_LIMIT_BYTES
"""Fits one datagram of 1,200 bytes together with what any carrier puts around it."""

CANDIDATES_LIMIT = 16
"""A card names addresses that we then send to: enough for a host with many interfaces, too
few to make a weapon of its readers."""

NICK_LIMIT_BYTES = 64
FEATURES_LIMIT = 8
FEATURE_LIMIT_BYTES = 16
"""With these two a card at every limit is still below SEALED_CARD_LIMIT_BYTES."""

FULL = "full"
"""The feature of a peer that has just turned somebody away for want of a place: a newcomer hears
nothing of it, and can know why."""

CARD_LABEL = b"natd/1 card"

_VERSION = 1
_NONCE_BYTES = 12
_SEAL_TAG_BYTES = 16
_HEAD = struct.Struct(">B32s32s32sQ")

_KINDS = (
    CandidateKind.LAN,
    CandidateKind.IPV6,
    CandidateKind.MAPPED,
    CandidateKind.SERVER_REFLEXIVE,
    CandidateKind.PEER_REFLEXIVE,
    CandidateKind.LAST_GOOD,
)
# The place of a kind in this tuple is its code on the wire: append, never reorder.

_SMALL_ORDER_PEERS = frozenset(
    bytes.fromhex(point)
    for point in (
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    )
)
"""Ed25519 points of order 1, 2, 4 and 8, sign bit cleared, in every encoding: under such a
"key" anyone can make signatures, so it is nobody's identity."""


class Identity:
    """The keys of one peer, all from one seed.  Holds secrets: has no telling repr."""

    __slots__ = ("_nonce_key", "_signing", "_static", "peer", "static_public")

    def __init__(self, seed: bytes) -> None:
        """`seed` has 32 random bytes; ValueError otherwise."""
        if len(seed) != SEED_BYTES:
            raise ValueError(f"an identity's seed has {SEED_BYTES} bytes, not {len(seed)}")
        self._signing = Ed25519PrivateKey.from_private_bytes(_hkdf(seed, b"natd/1 ed25519"))
        self._static = X25519PrivateKey.from_private_bytes(_hkdf(seed, b"natd/1 x25519"))
        self._nonce_key = _hkdf(seed, b"natd/1 card nonce")
        self.peer = PeerId(self._signing.public_key().public_bytes_raw())
        self.static_public = self._static.public_key().public_bytes_raw()

    def __repr__(self) -> str:
        return f"Identity({peer_id_text(self.peer)})"

    def sign(self, label: bytes, data: bytes) -> bytes:
        """64 bytes, good for `data` under `label` only (RFC 8032)."""
        return self._signing.sign(labelled(label, data))

    def exchange_static(self, public: bytes) -> bytes:
        """X25519 of our static key with `public`; DecodeError unless that is a sound key."""
        return exchange(self._static, public)

    def derive_nonce(self, data: bytes) -> bytes:
        """12 bytes that no other data gives, so that sealing needs no source of randomness."""
        return hashlib.blake2s(data, key=self._nonce_key, digest_size=_NONCE_BYTES).digest()


@dataclass(frozen=True, slots=True)
class Card:
    """What one peer tells another about itself: all that an introduction needs."""

    peer: PeerId
    static_public: bytes
    prekey_public: bytes
    sequence: int
    """Grows with every card and across restarts, so that a replayed old card shows."""
    nick: str
    candidates: tuple[Candidate, ...] = ()
    nat: NatReport = field(default_factory=NatReport)
    features: tuple[str, ...] = ()


def verify_signature(peer: PeerId | bytes, label: bytes, data: bytes, signature: bytes) -> bool:
    """Whether `peer` signed `data` under `label`.  Never raises, whatever the bytes."""
    if len(peer) != PEER_ID_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    if peer[:-1] + bytes((peer[-1] & 0x7F,)) in _SMALL_ORDER_PEERS:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(peer).verify(signature, labelled(label, data))
    except (InvalidSignature, ValueError):
        return False
    return True


def exchange(private: X25519PrivateKey, public: bytes) -> bytes:
    """X25519 (RFC 7748); DecodeError for a wrong length and for an all-zero result, which
    a point of small order gives whatever our key is."""
    try:
        return private.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError as error:
        raise DecodeError("an X25519 public key that agrees on nothing") from error


def seal_card(card: Card, identity: Identity, network_key: bytes) -> bytes:
    """The card, signed by its owner and readable to the network's members only.

    The same card gives the same bytes.  ValueError when the card is not the identity's own
    or breaks a limit; candidates beyond the limits are left out, and so are scope ids.
    """
    if card.peer != identity.peer or card.static_public != identity.static_public:
        raise ValueError("a card is signed by the peer that it describes")
    seal_key, binding = _network_keys(network_key)
    body = _encode_body(card)
    body += identity.sign(CARD_LABEL, binding + body)
    nonce = identity.derive_nonce(binding + body)
    return nonce + ChaCha20Poly1305(seal_key).encrypt(nonce, body, CARD_LABEL)


def open_card(sealed: bytes, network_key: bytes) -> Card:
    """The card in `sealed`; DecodeError unless seal, signature and every field are right."""
    body, binding = _unsealed(sealed, network_key)
    signed, signature = body[:-SIGNATURE_BYTES], body[-SIGNATURE_BYTES:]
    card = _decode_body(signed)
    if not verify_signature(card.peer, CARD_LABEL, binding + signed, signature):
        raise DecodeError("a card that its peer has not signed for this network")
    return card


def is_sealed_for(sealed: bytes, network_key: bytes) -> bool:
    """Whether this was sealed with the network's key.  It takes a fraction of the time of
    `open_card`, and does not show which member sealed it."""
    try:
        _unsealed(sealed, network_key)
    except DecodeError:
        return False
    return True


def limit_candidates(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """The first ones, at most 16 in all and 4 of a kind, each address once."""
    kept: dict[Address, Candidate] = {}
    of_a_kind: Counter[CandidateKind] = Counter()
    for candidate in candidates:
        if candidate.address in kept or of_a_kind[candidate.kind] == CANDIDATES_OF_A_KIND_LIMIT:
            continue
        of_a_kind[candidate.kind] += 1
        kept[candidate.address] = candidate
        if len(kept) == CANDIDATES_LIMIT:
            break
    return tuple(kept.values())


def _unsealed(sealed: bytes, network_key: bytes) -> tuple[bytes, bytes]:
    """Body and signature, and what binds the signature to the network; DecodeError."""
    if not _NONCE_BYTES + _SEAL_TAG_BYTES < len(sealed) <= SEALED_CARD_LIMIT_BYTES:
        raise DecodeError(f"a sealed card of {len(sealed)} bytes")
    seal_key, binding = _network_keys(network_key)
    try:
        body = ChaCha20Poly1305(seal_key).decrypt(
            sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], CARD_LABEL
        )
    except InvalidTag as error:
        raise DecodeError("a card that is not sealed for this network") from error
    return body, binding


def _hkdf(key: bytes, info: bytes, length: int = 32) -> bytes:
    return HKDF(SHA256(), length, salt=None, info=info).derive(key)


def labelled(label: bytes, data: bytes) -> bytes:
    """What is signed so that it is good under this label only."""
    return bytes((len(label),)) + label + data


def _network_keys(network_key: bytes) -> tuple[bytes, bytes]:
    """The key that seals cards and what binds a signature to the network, 32 bytes each."""
    derived = _hkdf(network_key, b"natd/1 card seal and binding", 64)
    return derived[:32], derived[32:]


def _encode_body(card: Card) -> bytes:
    if len(card.prekey_public) != PUBLIC_KEY_BYTES:
        raise ValueError(f"a prekey has {PUBLIC_KEY_BYTES} bytes")
    nick = card.nick.encode()
    if len(nick) > NICK_LIMIT_BYTES:
        raise ValueError(f"a nick of more than {NICK_LIMIT_BYTES} bytes")
    if len(card.features) > FEATURES_LIMIT:
        raise ValueError(f"more than {FEATURES_LIMIT} features")
    nat_head, nat_tail = pack_nat(card.nat)
    parts = [
        _HEAD.pack(
            _VERSION,
            card.peer,
            card.static_public,
            card.prekey_public,
            card.sequence,
        ),
        nat_head,
        bytes((len(nick),)),
        nick,
        bytes((len(card.features),)),
    ]
    for feature in card.features:
        raw = feature.encode("ascii")
        if len(raw) > FEATURE_LIMIT_BYTES:
            raise ValueError(f"a feature's name of more than {FEATURE_LIMIT_BYTES} bytes")
        parts += (bytes((len(raw),)), raw)
    candidates = limit_candidates(card.candidates)
    parts.append(bytes((len(candidates),)))
    for candidate in candidates:
        ip = candidate.address.ip
        parts.append(bytes((_KINDS.index(candidate.kind), ip.version)) + ip.packed)
        parts.append(candidate.address.port.to_bytes(2, "big"))
    parts.append(nat_tail)
    return b"".join(parts)


def _decode_body(body: bytes) -> Card:
    if len(body) < _HEAD.size + NAT_HEAD_BYTES:
        raise DecodeError(f"a card's body of {len(body)} bytes")
    version, peer, static, prekey, sequence = _HEAD.unpack_from(body)
    if version != _VERSION:
        raise DecodeError(f"a card of version {version}")
    rest = Reader(body, _HEAD.size)
    nat_head = rest.take(NAT_HEAD_BYTES)
    try:
        nick = rest.counted(NICK_LIMIT_BYTES).decode()
        features = tuple(
            rest.counted(FEATURE_LIMIT_BYTES).decode("ascii")
            for _ in range(rest.count(FEATURES_LIMIT))
        )
    except UnicodeDecodeError as error:
        raise DecodeError("a card's text that is not UTF-8") from error
    candidates = limit_candidates(_decode_candidates(rest))
    return Card(
        peer=PeerId(peer),
        static_public=static,
        prekey_public=prekey,
        sequence=sequence,
        nick=nick,
        candidates=candidates,
        nat=unpack_nat(nat_head, rest.rest()),
        features=features,
    )


def _decode_candidates(rest: Reader) -> list[Candidate]:
    candidates = []
    for _ in range(rest.count(255)):
        kind, family = rest.take(2)
        if family == 4:
            host = str(ipaddress.IPv4Address(rest.take(4)))
        elif family == 6:
            ip = ipaddress.IPv6Address(rest.take(16))
            host = str(ip.ipv4_mapped or ip)
        else:
            raise DecodeError(f"an address of family {family}")
        port = int.from_bytes(rest.take(2), "big")
        if kind < len(_KINDS):
            candidates.append(Candidate(_KINDS[kind], Address(host, port)))
    return candidates
