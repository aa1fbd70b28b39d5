"""How far an address reaches: everywhere, inside one network, or this machine only.

127.0.0.1, ::1                                          loopback: this machine
10.1.2.3, 172.17.0.1, 192.168.1.5, fd00::5              private: one network
169.254.7.7, fe80::5                                    link-local: one link
100.64.0.5                                              shared: inside a carrier's network
all others                                              public: everywhere
"""

import ipaddress

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


def is_private(host: str) -> bool:
    """Whether an address has a meaning only inside one realm (see `_PRIVATE`)."""
    ip = ipaddress.ip_address(host)
    return any(ip.version == network.version and ip in network for network in _PRIVATE)


def is_loopback(host: str) -> bool:
    return ipaddress.ip_address(host).is_loopback


def is_public(host: str) -> bool:
    """Whether an address means the same everywhere."""
    ip = ipaddress.ip_address(host)
    return not (ip.is_loopback or ip.is_unspecified or ip.is_multicast or is_private(host))
