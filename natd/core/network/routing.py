"""Which datagrams are for whom: the keys by which the node knows it, and news of them.

The membership says who is behind a key, the node keeps the table and looks the key up.

    t + check tag           first bytes of a check's username or of a first flight: a peer
    c + connection id       a session's datagram: a peer
    x + transaction prefix  an answer to a check: a peer
    r + transaction prefix  a server's answer: a registration
    g + network tag         a greeting: the membership itself

Rules:
- A letter stands before each key, so that keys of two kinds are never taken for each other.
- Whoever announces a key also takes it back; what has no key any more is dropped unread.
"""

from dataclasses import dataclass

from natd.core.peer.peer import Peer


@dataclass(frozen=True, slots=True)
class SocketFor:
    """A peer needs a socket of its own: the owner answers with `Membership.use_socket`."""

    peer: Peer
    is_alike: bool = False
