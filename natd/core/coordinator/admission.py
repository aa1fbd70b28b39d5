"""What a coordination server requires before it works for a sender, without state for each sender.

    token: kind u8 | issued, ms u32 | keyed hash of (kind, issued, host, port) 12 bytes

Rules that a change must not break:

- Nothing here grows: a million spoofed senders take no more memory.
- A token proves that its holder receives at the address, nothing else, and not for long.
- Two senders may share a bucket (they are hashed into a fixed table under a secret key): a
  sender can't choose whose bucket it empties.
"""

import hashlib
import hmac
from array import array
from enum import IntEnum

from natd.core.base.types import Address
from natd.core.codec.rendezvous import REGISTER_LABEL, Register
from natd.core.keys.card import verify_signature
from natd.core.keys.membership_key import MEMBERSHIP_LABEL

TOKEN_LIFE_S = 120.0
"""Longer than a lease, so that a live peer always holds a good one."""

_MAC_BYTES = 12
"""Guessing one takes 2^95 datagrams within its life."""

_WRAP_MS = 1 << 32
BUCKETS = 1 << 14
"""Enough that honest senders seldom share; 256 KiB."""


class TokenKind(IntEnum):
    CHALLENGE = 1
    """Comes back at once, so its age is a round trip."""
    LEASE = 2
    """For the next registration."""


class AddressTokens:
    """Makes and checks the tokens of one server process."""

    def __init__(self, secret: bytes) -> None:
        self._key = hashlib.blake2s(secret, person=b"addrtokn").digest()

    def issue(self, kind: TokenKind, address: Address, now: float) -> bytes:
        head = bytes((kind,)) + (int(now * 1000) % _WRAP_MS).to_bytes(4, "big")
        return head + self._mac(head, address)

    def check(self, token: bytes, address: Address, now: float) -> tuple[TokenKind, float] | None:
        """The kind of a good token and its age in seconds; None for any other."""
        head, mac = token[:5], token[5:]
        if not hmac.compare_digest(mac, self._mac(head, address)):
            return None
        issued_ms = int.from_bytes(head[1:], "big")
        age_s = (int(now * 1000) - issued_ms) % _WRAP_MS / 1000
        return (TokenKind(head[0]), age_s) if age_s <= TOKEN_LIFE_S else None

    def _mac(self, head: bytes, address: Address) -> bytes:
        text = head + f"{address.host} {address.port}".encode()
        return hashlib.blake2s(text, key=self._key, digest_size=_MAC_BYTES).digest()


def signature_problem(register: Register) -> str | None:
    """Why this is no registration of that peer by a member of that network; None: it is one."""
    signed, network = register.signed, register.network
    if not verify_signature(register.peer, REGISTER_LABEL, signed, register.signature):
        return "wrong signature"
    if not verify_signature(network, MEMBERSHIP_LABEL, signed, register.member_signature):
        return "not a member"
    return None


class HashedTokenBuckets:
    """Token buckets in a table of fixed size: `rate` units a second, at most `burst` saved."""

    def __init__(self, secret: bytes, *, rate: float, burst: float, size: int = BUCKETS) -> None:
        self._key = hashlib.blake2s(secret, person=b"buckets ").digest()
        self._rate = rate
        self._burst = burst
        self._left = array("d", [burst]) * size
        self._counted_at = array("d", [0.0]) * size

    def take(self, sender: bytes, units: float, now: float) -> bool:
        """Whether `sender` may have that many units; takes them if so."""
        digest = hashlib.blake2s(sender, key=self._key, digest_size=4).digest()
        at = int.from_bytes(digest, "big") % len(self._left)
        saved = self._left[at] + (now - self._counted_at[at]) * self._rate
        self._counted_at[at] = now
        left = min(self._burst, saved)
        enough = left >= units
        self._left[at] = left - units if enough else left
        return enough
