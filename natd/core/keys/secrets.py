"""The secrets of a network, and of each pair of its peers.

    secret      = 128 random bits | scrypt of a passphrase | nothing (open network)
    network key = HKDF-SHA256(secret, info = name)                               32 bytes
    network id  = BLAKE2s(network key)                                           16 bytes

A pair's secrets need no packet beyond the two cards.  The peer with the lower id is `lo`:

    ikm = DH(static_lo, prekey_hi) | DH(prekey_lo, static_hi)
        | DH(prekey_lo, prekey_hi) | DH(static_lo, static_hi)
    prk = HKDF-Extract(salt = network key, ikm)
    out = HKDF-Expand(prk, label | id_lo | id_hi | prekey_lo | prekey_hi)

Rules that a change must not break:

- All four terms are mixed.  Static with static alone would let a thief of our key pose
  as any peer to us; the prekey pair gives forward secrecy once both prekeys are gone.
- An all-zero DH output is refused: it would be known to everybody.
- Each direction has its own check key and its own tag, so that nothing we have sent is good
  for sending back to us.
- The secrets depend on the keys in the cards only: a card that changes its addresses changes
  no secret.

The dialler's first QUIC destination connection id names the pair of peers, and proves that its
sender holds their secrets, before any state is made for it:

    tag (8) | salt (4) | HMAC-SHA256(check key, "initial" | salt) (first 8 bytes)
"""

import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from natd.core.base.routes import TAG, RouteAdded, RouteDropped
from natd.core.base.types import NETWORK_ID_BYTES, DecodeError, NetworkId, PeerId
from natd.core.keys.card import Card, Identity, exchange

NETWORK_KEY_BYTES = 32
CHECK_TAG_BYTES = 8
LIVE_PREKEYS = 2
SALT_BYTES = 4
INITIAL_CONNECTION_ID_BYTES = 20
"""The longest that QUIC version 1 allows (RFC 9000, section 17.2)."""

_HEX_SECRET = re.compile(rb"[0-9a-fA-F]{32}")

_SCRYPT_N = 2**16
_SCRYPT_R = 8
"""64 MiB and about 0.2 s a guess."""
_SCRYPT_MEMORY_BYTES = 128 * 1024 * 1024


def network_key(name: str, secret: bytes) -> bytes:
    """The 32-byte key of the network `name`.

    `secret` is what the secret file holds: 32 hex digits are 128 random bits, nothing is an
    open network, anything else is a passphrase (about 0.2 s of scrypt: not on the loop).
    """
    secret = secret.strip()
    if _HEX_SECRET.fullmatch(secret):
        secret = bytes.fromhex(secret.decode("ascii"))
    elif secret:
        secret = hashlib.scrypt(
            secret,
            salt=b"natd/1 passphrase" + name.encode(),
            n=_SCRYPT_N,
            r=_SCRYPT_R,
            p=1,
            maxmem=_SCRYPT_MEMORY_BYTES,
            dklen=32,
        )
    return HKDF(SHA256(), NETWORK_KEY_BYTES, salt=None, info=name.encode()).derive(secret)


def network_id(key: bytes) -> NetworkId:
    """What a server sees of a network: it tells neither name nor key."""
    return NetworkId(hashlib.blake2s(key, digest_size=NETWORK_ID_BYTES).digest())


class Prekey:
    """A short-lived X25519 key.  Holds a secret: has no telling repr."""

    __slots__ = ("_private", "public")

    def __init__(self, private: bytes) -> None:
        """`private` has 32 random bytes; ValueError otherwise."""
        self._private = X25519PrivateKey.from_private_bytes(private)
        self.public = self._private.public_key().public_bytes_raw()

    @classmethod
    def generate(cls) -> "Prekey":
        return cls(X25519PrivateKey.generate().private_bytes_raw())

    def __repr__(self) -> str:
        return f"Prekey({self.public.hex()[:8]})"

    def exchange(self, public: bytes) -> bytes:
        """X25519 with `public`; DecodeError unless that is a sound key."""
        return exchange(self._private, public)


@dataclass(frozen=True, slots=True)
class PairSecrets:
    """What two peers share under one combination of their prekeys."""

    psk: bytes = field(repr=False)
    """32 bytes: the pre-shared key of the TLS handshake."""
    ticket_identity: bytes = field(repr=False)
    """16 bytes, the same at both ends: names the psk in the handshake."""
    send_check_key: bytes = field(repr=False)
    """32 bytes: authenticates checks that we send."""
    receive_check_key: bytes = field(repr=False)
    """32 bytes: authenticates checks that the peer sends."""
    send_tag: bytes
    """8 bytes, in checks and first connection ids that we send."""
    receive_tag: bytes
    """8 bytes, in checks and first connection ids that the peer sends."""


def derive_pair_secrets(
    identity: Identity,
    prekey: Prekey,
    remote_static_public: bytes,
    remote_prekey_public: bytes,
    remote_peer: PeerId,
    network_key: bytes,
) -> PairSecrets:
    """The secrets that we share with `remote_peer` under these two prekeys.

    DecodeError (a ValueError) when a key of the peer's makes an all-zero DH output or the
    peer has our own id.
    """
    if remote_peer == identity.peer:
        raise DecodeError("a card of a peer with our own id")
    static_prekey = identity.exchange_static(remote_prekey_public)
    prekey_static = prekey.exchange(remote_static_public)
    shared = prekey.exchange(remote_prekey_public) + identity.exchange_static(remote_static_public)
    we_are_lo = identity.peer < remote_peer
    if we_are_lo:
        ikm = static_prekey + prekey_static + shared
        context = identity.peer + remote_peer + prekey.public + remote_prekey_public
    else:
        ikm = prekey_static + static_prekey + shared
        context = remote_peer + identity.peer + remote_prekey_public + prekey.public
    prk = hmac.digest(network_key, ikm, "sha256")
    key_from_lo = _expand(prk, b"natd/1 check key from lo", context)
    key_from_hi = _expand(prk, b"natd/1 check key from hi", context)
    tags = _expand(prk, b"natd/1 check tags", context)
    tag_from_lo, tag_from_hi = tags[:CHECK_TAG_BYTES], tags[CHECK_TAG_BYTES : 2 * CHECK_TAG_BYTES]
    return PairSecrets(
        psk=_expand(prk, b"natd/1 quic psk", context),
        ticket_identity=_expand(prk, b"natd/1 ticket identity", context)[:16],
        send_check_key=key_from_lo if we_are_lo else key_from_hi,
        receive_check_key=key_from_hi if we_are_lo else key_from_lo,
        send_tag=tag_from_lo if we_are_lo else tag_from_hi,
        receive_tag=tag_from_hi if we_are_lo else tag_from_lo,
    )


def initial_connection_id(secrets: PairSecrets, salt: bytes) -> bytes:
    """The first destination connection id of a session that we dial; `salt` has 4 bytes."""
    if len(salt) != SALT_BYTES:
        raise ValueError(f"a salt has {SALT_BYTES} bytes, not {len(salt)}")
    return secrets.send_tag + salt + _initial_proof(secrets.send_check_key, salt)


def verify_initial_connection_id(cid: bytes, secrets: PairSecrets) -> bool:
    """Whether the peer that shares these secrets with us made this first connection id."""
    if len(cid) != INITIAL_CONNECTION_ID_BYTES:
        return False
    tag_end, salt_end = CHECK_TAG_BYTES, CHECK_TAG_BYTES + SALT_BYTES
    proof = _initial_proof(secrets.receive_check_key, cid[tag_end:salt_end])
    return hmac.compare_digest(cid[:tag_end] + cid[salt_end:], secrets.receive_tag + proof)


class Keyring:
    """The secrets that we share with one peer, one for each pair of live prekeys, found by tag.

        ours     previous   newest        what we send is under the newest of both,
        theirs   previous   newest        what comes may be under any of the four

    Two prekeys of either side at most are live: one in cards, and the one before it in cards on
    their way.  The secrets of the session in use stay as long as it does: they are the only ones
    that both sides are sure to hold, however long neither had the other's newer card.
    """

    def __init__(self, identity: Identity, network_key: bytes, card: Card) -> None:
        self.weak = 0
        """How many combinations were refused because of a weak key in a card."""
        self._identity = identity
        self._network_key = network_key
        self._card = card
        self._theirs: tuple[bytes, ...] = (card.prekey_public,)  # newest last
        self._by_prekeys: dict[tuple[bytes, bytes], PairSecrets] = {}  # newest last
        self._kept: PairSecrets | None = None  # of the session in use; None: without one
        self._tags: dict[bytes, PairSecrets] = {}
        self._changes: list[RouteAdded | RouteDropped] = []

    # --- inputs

    def take_card(self, card: Card) -> None:
        """A newer card of the peer's; then call `renew`."""
        self._card = card
        if card.prekey_public != self._theirs[-1]:
            self._theirs = (*self._theirs, card.prekey_public)[-LIVE_PREKEYS:]

    def renew(self, ours: Sequence[Prekey]) -> None:
        """Hold the secrets of every combination with these prekeys of ours, newest last."""
        combinations: dict[tuple[bytes, bytes], PairSecrets] = {}
        for remote in self._theirs:
            for prekey in ours[-LIVE_PREKEYS:]:
                key = (prekey.public, remote)
                secrets = self._by_prekeys.get(key) or self._derive(prekey, remote)
                if secrets is not None:
                    combinations[key] = secrets
        self._by_prekeys = combinations
        self._retag()

    def keep(self, psk: bytes | None) -> None:
        """The session in use is under the secrets with this psk; None: there is none."""
        if psk != (None if self._kept is None else self._kept.psk):
            self._kept = next((s for s in self._tags.values() if s.psk == psk), None)
            self._retag()

    def clear(self) -> None:
        """We want nothing of this peer."""
        self._by_prekeys = {}
        self._kept = None
        self._retag()

    # --- outputs

    def changes(self) -> list[RouteAdded | RouteDropped]:
        """Drain: the tags of checks and first flights by which the peer is found."""
        changes, self._changes = self._changes, []
        return changes

    def by_tag(self, tag: bytes) -> PairSecrets | None:
        return self._tags.get(tag)

    @property
    def newest(self) -> PairSecrets | None:
        """Under which we send; None when a card with weak keys leaves nothing."""
        return next(reversed(self._by_prekeys.values()), None)

    @property
    def for_checks(self) -> tuple[PairSecrets, ...]:
        """The newest, and those that the peer holds for sure where they are others."""
        return tuple(dict.fromkeys(s for s in (self.newest, self._kept) if s is not None))

    # --- private

    def _derive(self, prekey: Prekey, remote: bytes) -> PairSecrets | None:
        try:
            return derive_pair_secrets(
                self._identity,
                prekey,
                self._card.static_public,
                remote,
                self._card.peer,
                self._network_key,
            )
        except DecodeError:
            self.weak += 1
            return None

    def _retag(self) -> None:
        held = [*([] if self._kept is None else [self._kept]), *self._by_prekeys.values()]
        tags = {secrets.receive_tag: secrets for secrets in held}
        self._changes += [RouteDropped(TAG + tag) for tag in self._tags if tag not in tags]
        self._changes += [RouteAdded(TAG + tag) for tag in tags if tag not in self._tags]
        self._tags = tags


def _expand(prk: bytes, label: bytes, context: bytes) -> bytes:
    """HKDF-Expand (RFC 5869, section 2.3) for an output of one block: a tenth of the time
    that a call into the library's class takes, and there are five of them for each pair."""
    return hmac.digest(prk, label + context + b"\x01", "sha256")


def _initial_proof(check_key: bytes, salt: bytes) -> bytes:
    return hmac.digest(check_key, b"initial" + salt, "sha256")[:8]
