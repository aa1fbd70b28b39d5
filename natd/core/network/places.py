"""Who gets a place in a network, and who gives way where all are taken.

In an open network anybody can make up members, and come with each of them once.  So places are not
kept by who came first.  Of all there are (`PEERS_LIMIT`, or what the user allows):

    half         is for friends (`standing.py`), the oldest first: no stranger takes these
    a quarter    is for newcomers that have yet to be reached: no flood leaves them no time for it
    a quarter    is left to others by all that come from one source, an IPv4 address or a /64

Who gives way, first to last:

    1  who is blocked: it goes on being blocked, and holds no place
    2  a newcomer that was not reached, while these have more than their quarter: the silent before
       the heard, then the oldest
    3  who was reached and is no friend, the longest gone first
    4  a friend beyond half of all places, the newest first; not for a stranger while it can be
       a newcomer
    5  any newcomer that was not reached

Rules:
- Nobody gives way who is connected, for whom alone a message waits, or whom the user has marked;
  nor before the disk has told whether a message waits.  A message to all holds no place, because
  who came once gets each of them.  It stays on the disk.
- A friend takes a place at once, whatever others do; strangers take turns, by source.
- Who has given way is not forgotten: its standing stays (`Standings`), and on disk all the rest.
- A private address is no source: on a LAN each has its own, and all may have the server's.
"""

import ipaddress
from collections import Counter, deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from natd.core.base.events import NetworkFull
from natd.core.base.scope import is_public
from natd.core.base.timers import KeyedTokenBuckets, TokenBucket
from natd.core.base.types import NetworkId, PeerId, peer_tag
from natd.core.network.shared import Limits
from natd.core.network.standing import Standings
from natd.core.peer.peer import Peer

FRIENDS_SHARE = 2
"""Half of the places."""

QUARTER = 4

GIVING_WAY_RATE, GIVING_WAY_BURST = 4.0, 64.0
"""Replacements a second, and at once: each costs rows on the disk, and the new peer needs some
seconds in which it may be reached."""

TURNS_OF_SOURCE_RATE, TURNS_OF_SOURCE_BURST = 0.5, 16.0
"""The same for those of one source, so that one alone leaves turns to others."""

MOST_SOURCES_COUNTED = 1_024

FULL_TOLD_S = 600.0
"""For so long after somebody was turned away the network counts as full."""


@dataclass(frozen=True, slots=True)
class Place:
    """There is one."""

    leaving: Peer | None = None
    """Who has to give way for it; None: it is free."""


class Places:
    """Those of one network."""

    def __init__(
        self, network: NetworkId, limits: Limits, standings: Standings, dropped: Counter[str]
    ) -> None:
        self.dropped = dropped
        self.full_until: float | None = None
        """Until when the network counts as full; None: nobody was turned away lately."""
        self.turned_away = ""
        """Who was the last, for people."""
        self.events: deque[NetworkFull] = deque()
        """The owner drains them."""
        self._network = network
        self._limits = limits
        self._standings = standings
        self._turns = TokenBucket(GIVING_WAY_RATE, GIVING_WAY_BURST)
        self._turns_of = KeyedTokenBuckets(
            TURNS_OF_SOURCE_RATE, TURNS_OF_SOURCE_BURST, MOST_SOURCES_COUNTED
        )

    def find(
        self,
        newcomer: PeerId,
        nick: str,
        host: str | None,
        peers: Mapping[PeerId, Peer],
        blocked: Collection[PeerId],
        now: float,
    ) -> Place | None:
        """A place for a peer that has none; None: it is turned away.  `host`: where it comes from,
        or who introduces it; None: from before."""
        limit, quarter = self._limits.peers_per_network, self._limits.peers_per_network // QUARTER
        is_friend = self._standings.of(newcomer).is_friend(now)
        source = None if host is None or is_friend else source_of(host)
        if len(peers) < limit - quarter:
            return Place()
        here = {
            peer: _source_of_peer(peer) for known, peer in peers.items() if known not in blocked
        }
        sources = Counter(here.values())
        has_its_share = (
            source is not None and sources[source] >= quarter and len(here) >= limit - quarter
        )
        if len(peers) < limit and not has_its_share:
            return Place()
        for known in blocked:
            if not has_its_share and known in peers:
                return Place(peers[known])
        free = [peer for peer in here if self._may_give_way(peer)]
        if has_its_share:
            free = [peer for peer in free if here[peer] == source]
        many = {s for s, count in sources.items() if s is not None and count > quarter}
        crowded = {peer for peer, its in here.items() if its in many}
        leaving = self._choose(free, here, crowded, is_friend=is_friend, now=now)
        if leaving is None:
            self._turn_away(newcomer, nick, now)
            return None
        if not is_friend and not self._may_replace(source, now):
            self.dropped["newcomers-too-many"] += 1
            return None
        return Place(leaving)

    def is_full(self, now: float) -> bool:
        """Whether somebody was turned away lately because nobody could give way."""
        if self.full_until is not None and now >= self.full_until:
            self.full_until = None
        return self.full_until is not None

    # --- private

    def _may_give_way(self, peer: Peer) -> bool:
        is_held = self._standings.of(peer.card.peer).is_held
        return not (peer.presence.is_online or is_held) and peer.dialogue.is_known

    def _choose(
        self,
        free: list[Peer],
        here: Collection[Peer],
        crowded: Collection[Peer],
        *,
        is_friend: bool,
        now: float,
    ) -> Peer | None:
        """Who of the `free` gives way; None where nobody does.  `crowded`: those who share their
        source with more than a quarter."""
        limit, standings = self._limits.peers_per_network, self._standings
        strangers, met = [], []
        friends = [p for p in here if standings.of(p.card.peer).is_friend(now)]
        friends.sort(key=lambda peer: standings.of(peer.card.peer).worth(now), reverse=True)
        safe = set(friends[: limit // FRIENDS_SHARE])
        for peer in free:
            if not standings.of(peer.card.peer).is_reached:
                strangers.append(peer)
            elif peer not in safe:
                met.append(peer)

        def patience(peer: Peer) -> tuple[bool, bool]:
            return peer not in crowded, peer.reach.heard_at is not None

        def worth(peer: Peer) -> tuple[int, bool, float]:
            rank, age = standings.of(peer.card.peer).worth(now)
            return rank, peer not in crowded, age

        first_stranger = min(strangers, key=patience, default=None)
        first_met = min(met, key=worth, default=None)
        if len(strangers) > limit // QUARTER or first_met is None:
            return first_stranger
        if is_friend and first_stranger is not None and first_met in friends:
            return first_stranger
        return first_met

    def _may_replace(self, source: str | None, now: float) -> bool:
        return self._turns_of.take(source or "", now) and self._turns.take(now)

    def _turn_away(self, newcomer: PeerId, nick: str, now: float) -> None:
        self.dropped["network-is-full"] += 1
        if not self.is_full(now):
            limit = self._limits.peers_per_network
            self.events.append(NetworkFull(self._network, newcomer, nick, limit))
        self.full_until = now + FULL_TOLD_S
        self.turned_away = f"{nick}#{peer_tag(newcomer)}"


def source_of(host: str) -> str | None:
    """An IPv4 address, or the /64 of an IPv6 one; None where it shows nothing."""
    if not is_public(host):
        return None
    ip = ipaddress.ip_address(host)
    if ip.version == 4:
        return host
    return str(ipaddress.IPv6Address(int(ip) >> 64 << 64))


def host_of(peer: Peer) -> str | None:
    """Where a peer is connected, or was seen; None: nobody knows."""
    path = peer.reach.paths.report
    if path is not None:
        return path.address.host
    places = peer.reach.remote.seen or peer.reach.remote.places
    return places[0].host if places else None


def _source_of_peer(peer: Peer) -> str | None:
    host = host_of(peer)
    return None if host is None else source_of(host)
