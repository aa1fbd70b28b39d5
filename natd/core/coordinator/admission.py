"""What a REGISTER must show: that its sender receives at its address, and that it is a member.

    token: kind u8 | issued, ms u32 | keyed hash of (kind, issued, host, port) 12 bytes

Rules that a change must not break:

- No state for a sender: a token carries all that is known.
- A token proves that its holder receives at the address, nothing else, and not for long.
"""

import hashlib
import hmac
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
