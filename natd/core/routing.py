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

from natd.core.keyring import TagAdded, TagDropped
from natd.core.peer import Peer
from natd.core.registration import Registration
from natd.core.sessions import RouteAdded, RouteDropped

TAG, CONNECTION_ID, CHECK, RENDEZVOUS, GREETING = b"t", b"c", b"x", b"r", b"g"
"""What a routing key is made of: a check tag, a connection id, the first bytes of a check's
transaction or of a rendezvous transaction, a network tag."""


@dataclass(frozen=True, slots=True)
class Routed:
    """From here on datagrams with this key are for this peer or registration; or, with no
    owner, for the membership itself."""

    key: bytes
    owner: Peer | Registration | None


@dataclass(frozen=True, slots=True)
class Unrouted:
    key: bytes


@dataclass(frozen=True, slots=True)
class SocketFor:
    """A peer needs a socket of its own: the owner answers with `Membership.use_socket`."""

    peer: Peer
    is_alike: bool = False


PeerKey = TagAdded | TagDropped | RouteAdded | RouteDropped
"""What a peer says of the keys by which its datagrams are found."""


def routing_of(peer: Peer, said: PeerKey) -> Routed | Unrouted:
    match said:
        case TagAdded(tag):
            return Routed(TAG + tag, peer)
        case TagDropped(tag):
            return Unrouted(TAG + tag)
        case RouteAdded(connection_id):
            return Routed(CONNECTION_ID + connection_id, peer)
        case RouteDropped(connection_id):
            return Unrouted(CONNECTION_ID + connection_id)
