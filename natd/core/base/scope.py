"""How far an address reaches: everywhere, inside one network, or this machine only.

127.0.0.1, ::1                                          loopback: this machine
10.1.2.3, 172.17.0.1, 192.168.1.5, fd00::5              private: one network
169.254.7.7, fe80::5                                    link-local: one link
100.64.0.5                                              shared: inside a carrier's network
all others                                              public: everywhere

The same few addresses are asked about with every answer of a server, and reading one takes longer
than all the rest of that: so what was found is kept.
"""

import ipaddress
from enum import Enum, auto
from functools import lru_cache

_PRIVATE = tuple(
    ipaddress.ip_network(text)
    for text in (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "169.254.0.0/16",
        "100.64.0.0/10",
        "fc00::/7",
        "fe80::/10",
    )
)
"""RFC 1918, RFC 3927, RFC 6598, RFC 4193, RFC 4291: addresses that mean something else in
another realm.  (`ipaddress.is_private` would also count documentation ranges.)"""

_THIS_NETWORK = ipaddress.ip_network("0.0.0.0/8")
_BROADCAST = ipaddress.ip_address("255.255.255.255")

REACHES_KEPT = 1024
"""More addresses than a network of a hundred peers has; strangers' push one another out."""


class _Reach(Enum):
    MACHINE = auto()
    REALM = auto()
    EVERYWHERE = auto()
    NOBODY = auto()
    """Multicast, broadcast and unspecified: no address of a host."""


def is_private(host: str) -> bool:
    """Whether an address has a meaning only inside one realm (see `_PRIVATE`)."""
    return _reach(host) is _Reach.REALM


def is_loopback(host: str) -> bool:
    return _reach(host) is _Reach.MACHINE


def is_public(host: str) -> bool:
    """Whether an address means the same everywhere."""
    return _reach(host) is _Reach.EVERYWHERE


def is_of_a_host(host: str) -> bool:
    """Whether a host can have this address: no group of hosts, no broadcast, not "this network"
    (RFC 1122, section 3.2.1.3)."""
    return _reach(host) is not _Reach.NOBODY


@lru_cache(REACHES_KEPT)
def _reach(host: str) -> _Reach:
    ip = ipaddress.ip_address(host)
    if ip in _THIS_NETWORK or ip == _BROADCAST:
        return _Reach.NOBODY
    if ip.is_loopback:
        return _Reach.MACHINE
    if any(ip.version == network.version and ip in network for network in _PRIVATE):
        return _Reach.REALM
    if ip.is_unspecified or ip.is_multicast:
        return _Reach.NOBODY
    return _Reach.EVERYWHERE
