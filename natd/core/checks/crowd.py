"""What all addresses together may be sent that have not authenticated themselves.

A budget for each address is no limit where cards of made-up members name thousands: 640 words of
one member of an open network made 100,000 packets in 40 s.  So all of them together have one, too,
and so have those of one IPv6 network, which is one victim with as many addresses as one likes.

Rules:
- One check of ours for each of the peer's is not counted here: it brought as much itself, and so
  two find each other while somebody floods us.
- Nobody is remembered for longer than it takes until nothing counts any more.
"""

import ipaddress

from natd.core.base.timers import Allowance

ALL_RATE, ALL_BURST = 128.0, 4_096.0
"""Packets a second, and at once: a network of 200 that comes back together takes 2,500."""

NETWORK_BITS = 64
NETWORK_RATE, NETWORK_BURST = 4.0, 256.0
"""The same towards one IPv6 network: 20 members on one link that begin at once."""

MOST_NETWORKS = 1_024


class Crowd:
    """See the top of this file."""

    def __init__(self) -> None:
        self._all = Allowance(ALL_RATE, ALL_BURST)
        self._networks: dict[str, Allowance] = {}

    def take(self, host: str, now: float) -> bool:
        """Whether one more packet may go to this host; takes it if so."""
        if ":" in host and not self._of_network(host, now):
            return False
        return self._all.take(now)

    def _of_network(self, host: str, now: float) -> bool:
        ip = ipaddress.IPv6Address(host)
        if ip.is_link_local:
            return True  # reached by nobody but those on our own link
        network = str(ipaddress.ip_network((int(ip), NETWORK_BITS), strict=False))
        allowance = self._networks.get(network)
        if allowance is None:
            if len(self._networks) >= MOST_NETWORKS:
                self._networks = {n: a for n, a in self._networks.items() if not a.is_full(now)}
            if len(self._networks) >= MOST_NETWORKS:
                return False
            allowance = self._networks[network] = Allowance(NETWORK_RATE, NETWORK_BURST)
        return allowance.take(now)
