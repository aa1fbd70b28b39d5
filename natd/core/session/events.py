"""What sessions tell their owner.

    SessionOpened ─► DataReceived … ─► SessionEnded    of one session with a peer
          └─ HandshakeCompleted, once ─┘

Rules:
- `HandshakeCompleted` comes at most once in a session, `SessionEnded` once and last.
- What was `DataReceived` before `HandshakeCompleted` may be a recorded first flight, sent again.
"""

from dataclasses import dataclass

from natd.core.base.routes import RouteAdded, RouteDropped


@dataclass(frozen=True, slots=True)
class SessionOpened:
    """From here on `Sessions.send` writes to another session, from its beginning."""


@dataclass(frozen=True, slots=True)
class HandshakeCompleted:
    """The peer holds the pair's key, and is here at this moment (RFC 9001, section 4.1.1)."""


@dataclass(frozen=True, slots=True)
class DataReceived:
    """Bytes from the peer, in the order they were sent, each once."""

    data: bytes


@dataclass(frozen=True, slots=True)
class SessionEnded:
    """The session takes and gives nothing more, apart from one last datagram."""

    reason: str
    """For people."""


SessionEvent = HandshakeCompleted | DataReceived | RouteAdded | RouteDropped | SessionEnded
SessionsEvent = SessionOpened | SessionEvent
