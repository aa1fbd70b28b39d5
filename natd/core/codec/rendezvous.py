"""What a peer and a coordination server say to each other: the messages and their limits.

    peer    REGISTER ----------> server     a card is deposited; the address is not proved yet
    peer    <--------- CHALLENGE            a token that only this address sees
    peer    REGISTER, token ---> server     a lease begins
    both    <--------- INTRODUCE            to both peers at the same instant
    peer    REFRESH -----------> server     every 20 s; answered by REFRESHED

Their bytes are the business of `wire`.  The messages are facts without behaviour.
"""

from dataclasses import dataclass
from enum import IntEnum, IntFlag

from natd.core.base.types import Address, NetworkId, PeerId
from natd.core.base.wishes import Ask, Word
from natd.core.codec.stun import TRANSACTION_BYTES as TRANSACTION_BYTES

TRANSACTION_AT = 3
PREFIX_BYTES = 4
"""Of a transaction: chosen by the peer for each of its registrations."""

LEASE_ID_BYTES = 8
SIGNATURE_BYTES = 64
HAVE_BYTES = 4
"""Of a peer id: two members of one network that share these would need 2^32 key pairs."""

CARD_LIMIT_BYTES = 896
TOKEN_LIMIT_BYTES = 17
MEMBERSHIP_KEY_BYTES = 32
SAMPLES_LIMIT = 3
"""As many as there are sampling ports."""

OBSERVED_LIMIT = 2
"""One per address family."""

PORTS_LIMIT = 16
TEXT_LIMIT_BYTES = 100

REGISTER_MINIMUM_BYTES = 1000
PADDED_BYTES = 1200
"""Passes every path that IPv6 promises (1,280 with headers); pays for the largest
introduction together with a CHALLENGE, or for two usual ones."""

SMALL_BYTES = 64
"""SAMPLE and REFRESH: at least as long as SAMPLED, REFRESHED and CHALLENGE."""

PROBING_SAMPLE_BYTES = 160
"""A SAMPLE that wants to be answered from elsewhere, too: pays for four of the longest SAMPLED."""

ASK_LIMIT = 256
"""Entries of `have` in a REFRESH: as many as a network has members, and they fit."""

CONNECT_BYTES = 800
"""A third of two of the largest introductions."""

REGISTER_LABEL = b"natd/2 register"
"""Domain of the signature in a REGISTER."""


class ChallengeReason(IntEnum):
    FIRST = 0
    """The address has not been proved."""
    MOVED = 1
    """The lease is known, at another address: register again at once."""
    UNKNOWN = 2
    """No such lease (expired, or the server is a new one): register again, not all at once."""


class Elsewhere(IntFlag):
    """How a SAMPLE is answered besides from where it was asked to where it came from."""

    PORT = 1
    """From another port of the same address."""
    HOST = 2
    """From the server's other address."""
    ASKER_PORT = 4
    """To another port of the asker's host, which has asked this server nothing."""


NOWHERE_ELSE = Elsewhere(0)


class ErrorCode(IntEnum):
    VERSION = 1
    FULL = 2
    """The server is; and, told by servers of 0.3, whatever else is."""
    STALE = 3
    """A newer card of this peer is registered."""
    ABSENT = 4
    """The peer that CONNECT asks for is not registered."""
    NETWORK_FULL = 5
    SOURCE_FULL = 6
    """Too many are registered from the peer's own address, or from its part of the internet."""


@dataclass(frozen=True, slots=True)
class Register:
    transaction: bytes
    network: NetworkId
    """The network's membership key, the public half (`natd.core.keys.membership_key`)."""
    peer: PeerId
    sequence: int
    card: bytes
    """Sealed: opaque here and at the server."""
    token: bytes = b""
    samples: tuple[Address, ...] = ()
    have: tuple[bytes, ...] = ()
    sent_at_unix_ms: int = 0
    """By the sender's clock; 0: it does not tell, as in 0.3."""
    signature: bytes = b""
    member_signature: bytes = b""
    signed: bytes = b""
    """The bytes that both signatures cover; filled in by `decode`."""


@dataclass(frozen=True, slots=True)
class Challenge:
    transaction: bytes
    reason: ChallengeReason
    token: bytes


@dataclass(frozen=True, slots=True)
class Registered:
    transaction: bytes
    lease_id: bytes
    length_s: int
    observed: Address
    token: bytes
    rtt_ms: int
    members: int
    """Other peers in the network."""
    missing: int
    """How many of them the question's `have` did not name."""
    sample_ports: tuple[int, ...]
    other: Address | None = None
    """The server's second address, of the same family, with the same ports; None without one."""


@dataclass(frozen=True, slots=True)
class Introduce:
    transaction: bytes
    you_dial: bool
    is_proved: bool
    """Whether a token came back from every host of `observed`: the peer receives there."""
    start_in_ms: int
    peer: PeerId
    observed: tuple[Address, ...]
    samples: tuple[Address, ...]
    card: bytes
    ask: Ask | None = None
    """Of the other, for a word of ours; `word`: its word for our next wave."""
    word: Word | None = None


@dataclass(frozen=True, slots=True)
class Refresh:
    transaction: bytes
    lease_id: bytes
    asks: bool = False
    """Wants to be introduced to the members that `have` does not name."""
    have: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Refreshed:
    transaction: bytes
    observed: Address
    members: int
    missing: int


@dataclass(frozen=True, slots=True)
class Sample:
    transaction: bytes
    elsewhere: Elsewhere = NOWHERE_ELSE
    asker_port: int = 0
    """With ASKER_PORT: which; else 0."""


@dataclass(frozen=True, slots=True)
class Sampled:
    transaction: bytes
    observed: Address
    elsewhere: Elsewhere = NOWHERE_ELSE
    """What else has been sent: the asker must know what can have been lost."""


@dataclass(frozen=True, slots=True)
class Connect:
    transaction: bytes
    lease_id: bytes
    peer: PeerId
    samples: tuple[Address, ...] = ()
    ask: Ask | None = None
    word: Word | None = None


@dataclass(frozen=True, slots=True)
class Bye:
    transaction: bytes
    lease_id: bytes


@dataclass(frozen=True, slots=True)
class Error:
    transaction: bytes
    code: int
    text: str


Message = (
    Register
    | Challenge
    | Registered
    | Introduce
    | Refresh
    | Refreshed
    | Sample
    | Sampled
    | Connect
    | Bye
    | Error
)
