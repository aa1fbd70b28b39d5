"""The table that routes datagrams to peers: networks write it, the node reads it.

`natd/core/base/routes.py` lists the keys.  A peer, and the servers of a network, report their keys
by RouteAdded and RouteDropped; the membership knows the owner and keeps the table.
"""

from dataclasses import dataclass

from natd.core.base.routes import RouteAdded, RouteDropped
from natd.core.base.types import NetworkId
from natd.core.peer.peer import Peer


@dataclass(frozen=True, slots=True)
class Route:
    """The owner of a key."""

    network: NetworkId
    peer: Peer | None
    """None: the key belongs to the network itself or to its servers."""


Routes = dict[bytes, Route]
"""By key, with its letter.  A datagram whose key is not here is dropped unread."""


def keep_route(routes: Routes, event: RouteAdded | RouteDropped, owner: Route) -> None:
    """What a peer, or the servers of a network, report of one of their keys."""
    match event:
        case RouteAdded(key):
            routes[key] = owner
        case RouteDropped(key):
            routes.pop(key, None)


def drop_routes(routes: Routes, owner: Peer | NetworkId) -> None:
    """All keys of a peer, or of a network and its peers."""
    for key in [key for key, route in routes.items() if owner in (route.peer, route.network)]:
        del routes[key]
