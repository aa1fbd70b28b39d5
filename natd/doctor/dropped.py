"""What was dropped since the start, and why: every counter of the daemon's, by part and reason.

    {"node": {reason: count}, "sockets": {...}, "link": {...}, "router": {...},
     "networks": {NETWORK: {...}}}

`node`      datagrams that belong to no network
`sockets`   datagrams that this system would not send, by errno
`link`      calls to our link's group that no neighbour can have sent
`router`    answers of the router about port mapping
`networks`  what was dropped of servers, peers and strangers in each network

A reason that never came up is not listed; the most frequent comes first.
"""

from collections import Counter
from typing import Any

from natd.members.parts import Parts


def dropped_row(parts: Parts) -> dict[str, Any]:
    """See the module's head."""
    found = parts.node.all_dropped
    networks = {
        network.name: _by_frequency(found[network.id])
        for network in parts.book.joined()
        if network.id in found
    }
    return {
        "node": _by_frequency(found[None]),
        "sockets": _by_frequency(parts.sockets.errors),
        "link": _by_frequency(parts.lan.dropped),
        "router": _by_frequency(parts.port_map.dropped),
        "networks": networks,
    }


def _by_frequency(counter: Counter[str]) -> dict[str, int]:
    return {reason: count for reason, count in counter.most_common() if count}
