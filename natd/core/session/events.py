"""What a session tells its owner.

Rules:
- `Established` comes once, `Closed` once and last.
- Before `Established` what was `Received` may be a recorded first flight, sent again.
"""

from dataclasses import dataclass

from natd.core.base.routes import RouteAdded, RouteDropped


@dataclass(frozen=True, slots=True)
class Established:
    """The handshake is complete: the peer holds the pair's key, and is here at this moment."""

    early_data: bool
    """Whether the first flight's data counted."""


@dataclass(frozen=True, slots=True)
class Received:
    """Bytes from the peer, in the order they were sent, each once."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Pinged:
    """The peer has answered `ping(token)`."""

    token: int


@dataclass(frozen=True, slots=True)
class Closed:
    """The session is over: it takes and gives nothing more, apart from one last datagram."""

    reason: str


SessionEvent = Established | Received | RouteAdded | RouteDropped | Pinged | Closed
