"""Which addresses of a peer to try, in what order, and how much an address may cost.

A card and an introduction are claims of somebody else, so they could make us a weapon against
a third party.  Two defences stand here, and everything that is sent to an address that has not
yet answered passes both:

- `targets()` keeps only addresses that can be a peer: never multicast, broadcast, unspecified,
  a port below 1024 or a server of ours; a private one only where the peer is in our own realm;
  loopback only where the server saw us on loopback, too.
- `TargetBudget` limits packets and bytes for each IP address, over all peers and networks.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field

from natd.core.types import Address, Candidate, CandidateKind

MOST_TARGETS = 16
MOST_OF_A_KIND = 4

LOWEST_PORT = 1024
"""Below are the well-known services: no NAT maps there, and reflecting into them is an attack."""

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

_ORDER = (
    CandidateKind.LAN,
    CandidateKind.IPV6,
    CandidateKind.SERVER_REFLEXIVE,
    CandidateKind.MAPPED,
    CandidateKind.PEER_REFLEXIVE,
    CandidateKind.LAST_GOOD,
)

_VIRTUAL_BRIDGES = tuple(
    ipaddress.ip_network(text) for text in ("172.17.0.0/16", "172.18.0.0/15", "192.168.122.0/24")
)
"""Where container and virtual-machine bridges live by default: real LANs go first."""


def is_private(host: str) -> bool:
    """Whether an address is only meaningful inside some realm (see `_PRIVATE`)."""
    ip = ipaddress.ip_address(host)
    return any(ip.version == network.version and ip in network for network in _PRIVATE)


def is_loopback(host: str) -> bool:
    return ipaddress.ip_address(host).is_loopback


def local_candidates(addresses: Iterable[str], port: int) -> tuple[Candidate, ...]:
    """What our own card says of our interfaces: LAN and global IPv6, four of each at most.

    Loopback and link-local addresses mean nothing to another host and stay out.
    """
    lan, ipv6 = [], []
    for host in addresses:
        ip = ipaddress.ip_address(host)
        if ip.is_loopback or ip.is_link_local or ip.is_unspecified or ip.is_multicast:
            continue
        if ip.version == 6 and not is_private(host):
            ipv6.append(host)
        else:
            lan.append(host)
    lan.sort(key=lambda host: any(_within(host, network) for network in _VIRTUAL_BRIDGES))
    return tuple(
        [Candidate(CandidateKind.LAN, Address(host, port)) for host in lan[:MOST_OF_A_KIND]]
        + [Candidate(CandidateKind.IPV6, Address(host, port)) for host in ipv6[:MOST_OF_A_KIND]]
    )


def targets(
    claimed: Iterable[Candidate],
    *,
    seen: Iterable[Address],
    last_good: Iterable[Address] = (),
    ours: Iterable[Address],
    servers: Iterable[Address],
) -> tuple[Candidate, ...]:
    """The addresses worth a check, best first, each once, 16 at most and 4 of a kind.

    `claimed` come from the peer's card; `seen` are its addresses as a server saw them, freshest
    first; `last_good` those that carried a path before; `ours` our own as servers see us.  A
    server that we reach at a private address, or that sees us at one, is in our own realm, and
    so is whom it introduces.
    """
    seen, ours = tuple(seen), tuple(ours)
    same_site = bool({a.host for a in seen} & {a.host for a in ours})
    forbidden = frozenset(servers)
    realm = [address.host for address in (*ours, *forbidden)]
    loopback = any(is_loopback(host) for host in realm)
    private_realm = loopback or any(is_private(host) for host in realm)
    offered = [
        *(c for c in claimed if c.kind is not CandidateKind.LAST_GOOD),
        *(Candidate(CandidateKind.SERVER_REFLEXIVE, address) for address in seen),
        *(Candidate(CandidateKind.LAST_GOOD, address) for address in last_good),
    ]
    offered.sort(key=lambda candidate: _ORDER.index(candidate.kind))
    chosen: dict[Address, Candidate] = {}
    of_kind: dict[CandidateKind, int] = {}
    for candidate in offered:
        address = candidate.address
        if address in chosen or address in forbidden or not _may_be_a_peer(address):
            continue
        if is_loopback(address.host) and not loopback:
            continue
        known = candidate.kind is CandidateKind.LAST_GOOD
        if is_private(address.host) and not (same_site or private_realm or known):
            continue
        if of_kind.get(candidate.kind, 0) >= MOST_OF_A_KIND or len(chosen) >= MOST_TARGETS:
            continue
        chosen[address] = candidate
        of_kind[candidate.kind] = of_kind.get(candidate.kind, 0) + 1
    return tuple(chosen.values())


def _may_be_a_peer(address: Address) -> bool:
    if not LOWEST_PORT <= address.port <= 0xFFFF:
        return False
    ip = address.ip
    return not (
        ip.is_multicast
        or ip.is_unspecified
        or ip in ipaddress.ip_network("0.0.0.0/8")
        or ip == ipaddress.ip_address("255.255.255.255")
    )


def _within(host: str, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    ip = ipaddress.ip_address(host)
    return ip.version == network.version and ip in network


# --- the budget --------------------------------------------------------------------------

BURST_PACKETS = 10
BURST_S = 0.1
PACKETS_A_SECOND = 10
PACKETS_A_MINUTE = 60
BYTES_A_MINUTE = 6_000
LARGE_BYTES = 200
"""More than any check: a first flight that no longer fits is left out, and the checks go on."""
SILENCES_S = (30.0, 60.0, 300.0)
"""After a minute's budget went unanswered: each silence longer, so that a victim who never
answers sees us less and less."""
MOST_IPS = 4_096
TRUSTED_FOR_S = 60.0
"""How long an authenticated answer lifts the budget: longer than any path stays unprobed."""


@dataclass(slots=True)
class _Spent:
    minute_began: float
    packets: int = 0
    bytes: int = 0
    second_began: float = 0.0
    in_second: int = 0
    silent_until: float = 0.0
    silences: int = 0
    trusted_until: float = 0.0


@dataclass(slots=True)
class TargetBudget:
    """What may still be sent to an IP address that has not authenticated itself."""

    _spent: dict[str, _Spent] = field(default_factory=dict)

    def allow(self, address: Address, size_bytes: int, now: float) -> bool:
        """Take one packet of `size_bytes` from the address' budget; False if it is spent."""
        spent = self._spent.get(address.host)
        if spent is None:
            if len(self._spent) >= MOST_IPS:
                self._forget(now)
                if len(self._spent) >= MOST_IPS:
                    return False
            spent = self._spent[address.host] = _Spent(minute_began=now, second_began=now)
        if now < spent.trusted_until:
            return True
        if now < spent.silent_until:
            return False
        if now - spent.minute_began >= 60.0:
            spent.minute_began, spent.packets, spent.bytes = now, 0, 0
        if now - spent.second_began >= (BURST_S if spent.packets <= BURST_PACKETS else 1.0):
            spent.second_began, spent.in_second = now, 0
        if spent.in_second >= PACKETS_A_SECOND:
            return False
        if spent.packets >= PACKETS_A_MINUTE or spent.bytes + size_bytes > BYTES_A_MINUTE:
            if size_bytes > LARGE_BYTES and spent.packets < PACKETS_A_MINUTE:
                return False
            spent.silent_until = now + SILENCES_S[min(spent.silences, len(SILENCES_S) - 1)]
            spent.silences += 1
            spent.minute_began, spent.packets, spent.bytes = spent.silent_until, 0, 0
            return False
        spent.in_second += 1
        spent.packets += 1
        spent.bytes += size_bytes
        return True

    def answered(self, address: Address, now: float) -> None:
        """An authenticated datagram came from there: it is a peer, and wants our packets."""
        spent = self._spent.setdefault(address.host, _Spent(minute_began=now))
        spent.trusted_until = now + TRUSTED_FOR_S
        spent.silences, spent.silent_until = 0, 0.0

    def called(self, address: Address, now: float) -> None:
        """A check that only a peer can make came from there, for the first time: whoever sent
        it is about to answer, so the address gets a fresh minute."""
        spent = self._spent.get(address.host)
        if spent is not None:
            spent.silent_until = 0.0
            spent.minute_began, spent.packets, spent.bytes = now, 0, 0

    def _forget(self, now: float) -> None:
        for host, spent in list(self._spent.items()):
            if now - spent.minute_began >= 60.0 and now >= spent.silent_until:
                del self._spent[host]
