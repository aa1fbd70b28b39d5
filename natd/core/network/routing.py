"""Which datagrams are for whom: the table that the node reads and its networks write.

The keys stand in `natd/core/base/routes.py`.  A peer, and the servers of a network, tell of their
keys by RouteAdded and RouteDropped; the membership knows whose they are and keeps the table.
"""

from dataclasses import dataclass

from natd.core.base.types import NetworkId
from natd.core.peer.peer import Peer


@dataclass(frozen=True, slots=True)
class Route:
    """The owner of a key."""

    network: NetworkId
    peer: Peer | None
    """None: the key is the network's own, or one of its servers'."""


Routes = dict[bytes, Route]
"""By key, with its letter.  A datagram whose key is not here is dropped unread."""


def drop_routes(routes: Routes, owner: Peer | NetworkId) -> None:
    """All keys of a peer, or of a network and its peers."""
    for key in [key for key, route in routes.items() if owner in (route.peer, route.network)]:
        del routes[key]
