"""Which addresses of a peer are worth a check, and in what order.

A card and an introduction are claims: anybody could name a third party's address and make us send
to it.  `targets` keeps only addresses that can be a peer: never multicast, broadcast, unspecified,
a port below 1024 or one of our servers; a private one only if the peer is in our own realm or was
heard on our own link; loopback only if a server of ours is there, too.  `budget` limits how much
is sent to an address that has not answered.
"""

import ipaddress
from collections.abc import Collection, Iterable

from natd.core.base.scope import is_loopback, is_of_a_host, is_private, is_public
from natd.core.base.types import (
    CANDIDATES_OF_A_KIND_LIMIT,
    LOWEST_PORT,
    Address,
    Candidate,
    CandidateKind,
    PathKind,
)

MOST_TARGETS = 16

_ORDER = (
    CandidateKind.LAN,
    CandidateKind.IPV6,
    CandidateKind.MAPPED,
    CandidateKind.SERVER_REFLEXIVE,
    CandidateKind.PEER_REFLEXIVE,
    CandidateKind.LAST_GOOD,
    CandidateKind.FORWARDED,
)
"""A mapped port accepts packets from anybody, so the first flight should go there.  The addresses
that servers saw come later: a NAT that maps by destination has several, perhaps all useless."""


def local_candidates(addresses: Iterable[str], port: int) -> tuple[Candidate, ...]:
    """The candidates of our own interfaces for our card: LAN and global IPv6, at most four of each,
    the first of `addresses`, which are the likeliest.

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
    return tuple(
        [
            Candidate(CandidateKind.LAN, Address(host, port))
            for host in lan[:CANDIDATES_OF_A_KIND_LIMIT]
        ]
        + [
            Candidate(CandidateKind.IPV6, Address(host, port))
            for host in ipv6[:CANDIDATES_OF_A_KIND_LIMIT]
        ]
    )


def targets(
    claimed: Iterable[Candidate],
    *,
    seen: Iterable[Address],
    last_good: Iterable[Address] = (),
    on_link: Iterable[Address] = (),
    ours: Iterable[Address],
    inside: Iterable[str] = (),
    servers: Iterable[Address],
    doubtful: Collection[str] = (),
    held: frozenset[str] = frozenset(),
) -> tuple[Candidate, ...]:
    """The addresses worth a check, best first, each once, 16 at most and 4 of a kind.

    `claimed` come from the peer's card; `seen` are its addresses as a server saw them, freshest
    first; `last_good` carried a path before; `on_link` were heard on a link of ours; `ours` are our
    own as others see us, `inside` the private hosts at which servers do.

    A private address is tried where both were seen at one public address, which the card can't
    claim; or where a server is near both: near us, because we reach it at a private address or it
    sees us at one, and near the peer, because it sees the peer at one.

    `doubtful` are hosts of servers that none of these rules counts.

    `held` are the addresses of our interfaces: what the peer claims of them is its own network's,
    unless it is on this machine.
    """
    claimed, seen = _claims_elsewhere(tuple(claimed), held), tuple(seen)
    ours, on_link = tuple(ours), tuple(on_link)
    seen_hosts, our_hosts = {a.host for a in seen}, {a.host for a in ours}
    same_site = any(is_public(host) for host in seen_hosts & our_hosts)
    forbidden = frozenset(servers)
    at_servers = {address.host for address in forbidden} - set(doubtful)
    realm = [*our_hosts, *inside, *at_servers]
    # A remote server could claim that we are at loopback, to make us send to our own services.
    loopback = any(is_loopback(host) for host in at_servers)
    near_us = loopback or any(is_private(host) for host in realm)
    near_peer = not seen or any(not is_public(host) for host in seen_hosts)
    private_realm = near_us and near_peer
    offered = [
        *(Candidate(CandidateKind.LAN, address) for address in on_link),
        *(Candidate(CandidateKind.SERVER_REFLEXIVE, address) for address in _hosts_first(seen)),
        *(c for c in claimed if c.kind is not CandidateKind.LAST_GOOD),
        *(Candidate(CandidateKind.LAST_GOOD, address) for address in last_good),
        *_forwarded(claimed, seen),
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
        known = candidate.kind is CandidateKind.LAST_GOOD or address in on_link
        if is_private(address.host) and not (same_site or private_realm or known):
            continue
        if (
            of_kind.get(candidate.kind, 0) >= CANDIDATES_OF_A_KIND_LIMIT
            or len(chosen) >= MOST_TARGETS
        ):
            continue
        chosen[address] = candidate
        of_kind[candidate.kind] = of_kind.get(candidate.kind, 0) + 1
    return tuple(chosen.values())


def path_kind(candidate: Candidate, ours: tuple[Address, ...]) -> PathKind:
    """The kind of a path to this candidate."""
    host = candidate.address.host
    if candidate.kind is CandidateKind.MAPPED:
        return PathKind.MAPPED
    if is_private(host) or is_loopback(host):
        return PathKind.LAN
    if candidate.address.is_ipv6:
        return PathKind.IPV6
    if any(address.host == host for address in ours):
        return PathKind.LAN if candidate.kind is CandidateKind.LAN else PathKind.HAIRPIN
    return PathKind.DIRECT


def _hosts_first(seen: tuple[Address, ...]) -> Iterable[Address]:
    """The freshest address of each host, then the others."""
    first = {address.host: address for address in reversed(seen)}
    return (*reversed(first.values()), *seen)


def _forwarded(claimed: tuple[Candidate, ...], seen: tuple[Address, ...]) -> Iterable[Candidate]:
    """Where the peer's local port would be if its router forwarded it, unless it is seen there."""
    port = next((c.address.port for c in claimed if c.kind is CandidateKind.LAN), None)
    if port is None:
        return
    told = (c.address for c in claimed if c.kind is CandidateKind.SERVER_REFLEXIVE)
    for host in dict.fromkeys(a.host for a in (*seen, *told) if not a.is_ipv6):
        if is_public(host):
            yield Candidate(CandidateKind.FORWARDED, Address(host, port))


def _claims_elsewhere(
    claimed: tuple[Candidate, ...], held: frozenset[str]
) -> tuple[Candidate, ...]:
    """Without the interface addresses that we hold ourselves, such as that of a container bridge,
    which is the same on every machine.  A peer that claims no others is on this machine."""
    local = {c.address.host for c in claimed if c.kind in (CandidateKind.LAN, CandidateKind.IPV6)}
    ours = frozenset() if local <= held else held & local
    return tuple(c for c in claimed if c.address.host not in ours)


def _may_be_a_peer(address: Address) -> bool:
    return LOWEST_PORT <= address.port <= 0xFFFF and is_of_a_host(address.host)
