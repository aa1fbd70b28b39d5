"""The key that all members of a network have, and nobody else: it signs registrations.

    membership key = Ed25519 of HKDF-SHA256(network key, info = "natd/2 membership")
    its public half (32 bytes) is what a server knows a network by

So a server can check that who registers is a member, without learning the secret, and who has only
seen a registration on the wire can neither register there nor list the members.  In an open network
everybody has the key who knows the name: that is what open means.
"""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from natd.core.keys.card import labelled

MEMBERSHIP_LABEL = b"natd/2 membership"
_SEED_BYTES = 32


class MembershipKey:
    """Holds a secret: has no telling repr."""

    __slots__ = ("_signing", "public")

    def __init__(self, network_key: bytes) -> None:
        hkdf = HKDF(SHA256(), _SEED_BYTES, salt=None, info=MEMBERSHIP_LABEL)
        self._signing = Ed25519PrivateKey.from_private_bytes(hkdf.derive(network_key))
        self.public = self._signing.public_key().public_bytes_raw()

    def __repr__(self) -> str:
        return f"MembershipKey({self.public.hex()[:8]})"

    def sign(self, data: bytes) -> bytes:
        """64 bytes (RFC 8032); `verify_signature` checks them under `MEMBERSHIP_LABEL`."""
        return self._signing.sign(labelled(MEMBERSHIP_LABEL, data))
