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

from natd.core.base.routes import CONNECTION_ID, TAG, Routed, Unrouted
from natd.core.keys.keyring import TagAdded, TagDropped
from natd.core.peer.peer import Peer
from natd.core.session.sessions import RouteAdded, RouteDropped


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
