"""The members of one network: a card and a peer for each.

    sealed card ─► open ─► take ─► Peer
                    │       └── older than ours, or one too many: nobody
                    └── not made with the network's key, or our own: no card

Rules:
- A card counts if it opens under the network key and is not older than the one we have.
- A peer that was once reached stays as long as we are a member: it may come back.
- In an open network anybody can make up members.  So when the roster is full, a peer that was never
  reached is replaced by one that is introduced now: the oldest first, and those without any sign of
  life before others.  A peer with a waiting message is never replaced, nor one where that is not
  known yet.
"""

from collections import Counter, deque
from dataclasses import dataclass, replace

from natd.core.base import events
from natd.core.base.scope import is_public
from natd.core.base.surroundings import Surroundings
from natd.core.base.timers import TimerQueue, TokenBucket
from natd.core.base.types import DecodeError, NetworkId, PeerId, SocketId
from natd.core.keys.card import Card, open_card
from natd.core.keys.secrets import Prekey, network_id, network_key
from natd.core.network.routing import drop_routes
from natd.core.network.shared import Shared
from natd.core.peer.peer import Peer
from natd.core.peer.presence import PeerView

GIVING_WAY_RATE, GIVING_WAY_BURST = 1.0, 32.0
"""Replacements a second, and at once, in a full roster: each costs rows on the disk, and the new
peer needs minutes in which it may be reached."""

RosterEvent = events.PeerMet | events.PeerForgotten


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """What the user chose for a network."""

    name: str
    key: bytes
    """The network key (`secrets.network_key`)."""
    nick: str


class Roster:
    """See the top of this file."""

    def __init__(self, settings: NetworkSettings, shared: Shared) -> None:
        self.dropped: Counter[str] = Counter()
        self.peers: dict[PeerId, Peer] = {}
        self.blocked: set[PeerId] = set()
        self.timers: TimerQueue[Peer] = TimerQueue()
        self._network: NetworkId = network_id(settings.key)
        self._settings = settings
        self._identity = shared.identity
        self._budget = shared.budget
        self._random = shared.random
        self._limits = shared.limits
        self._routes = shared.routes
        self._is_open = settings.key == network_key(settings.name, b"")
        self._kept: set[PeerId] = set()  # never replaced
        self._giving_way = TokenBucket(GIVING_WAY_RATE, GIVING_WAY_BURST)
        self._sockets: dict[Peer, frozenset[SocketId]] = {}  # only peers that need any
        self._changes: deque[RosterEvent] = deque()

    # --- inputs

    def open(self, sealed: bytes) -> Card | None:
        """The card, if it was made with this network's key by another peer."""
        try:
            card = open_card(sealed, self._settings.key)
        except DecodeError:
            self.dropped["card-does-not-open"] += 1
            return None
        if card.peer == self._identity.peer:
            self.dropped["card-is-our-own"] += 1
            return None
        return card

    def take(self, card: Card, sealed: bytes, prekeys: tuple[Prekey, ...]) -> Peer | None:
        """The owner of this card; None if the card is older than the one we have.

        `prekeys` are ours, newest last.
        """
        peer = self.peers.get(card.peer)
        first_contact = peer is None
        if peer is None:
            if self.is_full:
                self.dropped["network-is-full"] += 1
                return None
            peer = self.add(card, prekeys)
        elif card.sequence < peer.card.sequence:
            self.dropped["card-is-older"] += 1
            return None
        elif card.sequence == peer.card.sequence:
            return peer
        else:
            peer.update_card(card, prekeys)
        peer.sealed_card = sealed
        self._changes.append(
            events.PeerMet(self._network, card.peer, card.nick, sealed, first_contact)
        )
        return peer

    def remember(self, sealed: bytes, prekeys: tuple[Prekey, ...]) -> Peer | None:
        """Add a peer of an earlier run; None if its card is no longer valid."""
        card = self.open(sealed)
        if card is None or card.peer in self.peers or self.is_full:
            return None
        peer = self.add(card, prekeys)
        peer.sealed_card = sealed
        return peer

    def add(self, card: Card, prekeys: tuple[Prekey, ...]) -> Peer:
        """Add a peer; the caller has checked that there is room."""
        peer = Peer(
            self._network,
            self._settings.key,
            card,
            self._identity,
            self._budget,
            self._random,
            is_open=self._is_open,
        )
        self.peers[card.peer] = peer
        peer.use_prekeys(prekeys)
        return peer

    def keep(self, peer: PeerId) -> None:
        """The peer was reached, or a message waits for it: never replace it."""
        if peer in self.peers:
            self._kept.add(peer)

    def give_way(self, now: float) -> Peer | None:
        """Choose a peer to replace; None if there is none.  The owner drains it once more."""
        free = [
            peer
            for known, peer in self.peers.items()
            if known not in self._kept and known not in self.blocked and peer.is_unheld
        ]
        if not free or not self._giving_way.take(now):
            return None
        leaving = min(free, key=lambda peer: peer.reach.heard_at is not None)
        leaving.block(now)
        return leaving

    def forget(self, peer: Peer) -> None:
        """Remove a peer that was replaced and drained, and its routes."""
        drop_routes(self._routes, peer)
        self.dropped += peer.all_dropped
        del self.peers[peer.card.peer]
        self.timers.set(peer, None)
        self._sockets.pop(peer, None)
        self._changes.append(events.PeerForgotten(self._network, peer.card.peer))

    def note(self, peer: Peer) -> None:
        """The peer got an input: read its timer and its sockets again."""
        if self.peers.get(peer.card.peer) is not peer:
            return
        self.timers.set(peer, peer.get_timer())
        if sockets := peer.reach.sockets:
            self._sockets[peer] = sockets
        else:
            self._sockets.pop(peer, None)

    # --- outputs

    def views(self, now: float) -> tuple[PeerView, ...]:
        """The state of each peer."""
        return tuple(peer.view(now) for peer in self.peers.values())

    @property
    def sockets(self) -> frozenset[SocketId]:
        """The sockets besides the main one that peers need."""
        return frozenset().union(*self._sockets.values())

    def changes(self) -> list[RosterEvent]:
        """Since the last call."""
        changes = list(self._changes)
        self._changes.clear()
        return changes

    @property
    def is_complete(self) -> bool:
        """Whether we know at least one member, and all that are not blocked are connected."""
        wanted = [peer for known, peer in self.peers.items() if known not in self.blocked]
        return bool(wanted) and all(peer.presence.is_online for peer in wanted)

    @property
    def here(self) -> list[Peer]:
        """The peers that are connected."""
        return [peer for peer in self.peers.values() if peer.presence.is_online]

    def describe(self, found: Surroundings) -> Surroundings:
        """`found` as the peers who are connected show it."""
        here = self.here
        paths = (peer.reach.paths.report for peer in here)
        inside = any(path is not None and not is_public(path.address.host) for path in paths)
        return replace(found, udp_works=found.udp_works or bool(here), meets_inside=inside)

    @property
    def is_full(self) -> bool:
        return len(self.peers) >= self._limits.peers_per_network
