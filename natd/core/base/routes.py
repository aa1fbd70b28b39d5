"""The keys by which the node finds the owner of a datagram.

    t + check tag           first bytes of a check's username or of a first flight: a peer
    c + connection id       a session's datagram: a peer
    x + transaction prefix  an answer to a check: a peer
    r + transaction prefix  a server's answer: the servers of a network
    g + network tag         a greeting: a network

Rules:
- A letter stands before each key, so that keys of two kinds are never taken for each other.
"""

from dataclasses import dataclass

TAG, CONNECTION_ID, CHECK, RENDEZVOUS, GREETING = b"t", b"c", b"x", b"r", b"g"
"""What a routing key is made of: a check tag, a connection id, the first bytes of a check's
transaction or of a rendezvous transaction, a network tag."""


@dataclass(frozen=True, slots=True)
class RouteAdded:
    """Datagrams with this key are for the owner that tells so, from here on."""

    key: bytes
    """With its letter."""


@dataclass(frozen=True, slots=True)
class RouteDropped:
    """Datagrams with this key are no longer for the owner that tells so."""

    key: bytes
