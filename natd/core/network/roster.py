"""The members of one network: a card and a peer for each.

    sealed card ─► open ─► take ─► Peer
                    │       └── older than ours and useless (`older_cards`), or no place: nobody
                    └── not made with the network's key, or our own: no card

Rules:
- A card counts if it opens under the network key and is newer than all that we know of its owner;
  an older one does if the newer one leads nowhere (`older_cards.py`), for its keys and places only.
- Who gets a place, and who gives way where all are taken: `places.py`.
"""

from collections import Counter, deque
from dataclasses import dataclass, replace

from natd.core.base import events
from natd.core.base.scope import is_public
from natd.core.base.surroundings import Surroundings
from natd.core.base.timers import TimerQueue
from natd.core.base.types import Address, DecodeError, NetworkId, PeerId, SocketId
from natd.core.keys.card import Card, open_card
from natd.core.keys.secrets import Prekey, network_id, network_key
from natd.core.network.older_cards import OlderCards
from natd.core.network.own_card import OwnCard
from natd.core.network.places import Places, host_of
from natd.core.network.routing import drop_routes
from natd.core.network.shared import Shared
from natd.core.network.standing import Acquaintance, Standings
from natd.core.peer.peer import Peer
from natd.core.peer.presence import PeerView
from natd.core.registration.events import Introduced

FORGOTTEN = "you have forgotten this peer"

RosterEvent = events.PeerMet | events.PeerForgotten | events.NetworkFull


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
        self._budget, self._flows = shared.budget, shared.flows
        self._random = shared.random
        self._limits = shared.limits
        self._routes = shared.routes
        self._is_open = settings.key == network_key(settings.name, b"")
        self._standings = Standings()
        self.places = Places(self._network, shared.limits, self._standings, self.dropped)
        self.older_cards = OlderCards()
        self._sockets: dict[Peer, frozenset[SocketId]] = {}  # only peers that need any
        self._sealed: dict[bytes, Peer] = {}  # whose newest card this is: it comes several times
        self._changes: deque[RosterEvent] = deque()
        self._leaving: list[Peer] = []  # to be drained and removed by the owner

    # --- inputs

    def open(self, sealed: bytes) -> Card | None:
        """The card, if it was made with this network's key by another peer."""
        if (known := self._sealed.get(sealed)) is not None:
            return known.card
        try:
            card = open_card(sealed, self._settings.key)
        except DecodeError:
            self.dropped["card-does-not-open"] += 1
            return None
        if card.peer == self._identity.peer:
            self.dropped["card-is-our-own"] += 1
            return None
        return card

    def take(
        self, card: Card, sealed: bytes, ours: OwnCard, host: str | None, now: float
    ) -> Peer | None:
        """The owner of this card, which comes from `host`, or from nowhere that is known; None if
        the card is older than the one we have, or there is no place.

        `ours` gives the prekeys.  `take_leaving` gives who has to go for it.
        """
        peer = self.peers.get(card.peer)
        is_news = first_contact = peer is None
        if peer is None:
            place = self.places.find(card.peer, card.nick, host, self.peers, self.blocked, now)
            if place is None:
                return None
            if place.leaving is not None:
                place.leaving.block(now)
                self._leaving.append(place.leaving)
            peer = self.add(card, ours.prekeys)
        elif card.sequence == peer.card.sequence:
            self.older_cards.shown(card, now)
            return peer
        elif (counting := self.older_cards.counting(card, peer, now)) is None:
            self.dropped["card-is-older"] += 1
            return None
        else:
            is_news = self.older_cards.is_newest(card, peer)
            if card.sequence < peer.card.sequence and self.older_cards.begins_anew(now):
                ours.leap(ours.sequence, now)
            peer.update_card(counting, ours.prekeys)
            if peer.presence.is_online:
                self.stayed(card.peer, now)
        self.older_cards.hold(card, now)
        self._keep_card(peer, sealed)
        if is_news:
            met = events.PeerMet(self._network, card.peer, card.nick, sealed, first_contact)
            self._changes.append(met)
        return peer

    def remember(
        self,
        sealed: bytes,
        prekeys: tuple[Prekey, ...],
        known: Acquaintance | None,
        now: float,
    ) -> Peer | None:
        """Add a peer of an earlier run; None if its card is no longer valid, or all places are
        taken: then its standing is remembered for when it comes back."""
        card = self.open(sealed)
        if card is None or card.peer in self.peers:
            return None
        if known is not None:
            self._standings.recall(card.peer, known, now)
        if self.is_full:
            return None
        peer = self.add(card, prekeys)
        self._keep_card(peer, sealed)
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
            self._flows.of(card.peer),
            is_open=self._is_open,
        )
        self.peers[card.peer] = peer
        peer.use_prekeys(prekeys)
        return peer

    def want(self, peer: PeerId, *, is_addressed: bool, now: float) -> None:
        """Whether a message waits that the user has written to this peer alone."""
        if is_addressed or self._standings.of(peer).is_addressed:
            self._standings.to_change(peer, now).is_addressed = is_addressed

    def mark(self, peer: PeerId, *, is_marked: bool, now: float) -> None:
        """Whether the user says that this peer is the person it claims to be."""
        if is_marked or self._standings.of(peer).is_marked:
            self._standings.to_change(peer, now).is_marked = is_marked

    def mark_blocked(self, peer: PeerId, blocked: bool) -> None:
        if blocked:
            self.blocked.add(peer)
        else:
            self.blocked.discard(peer)

    def connected(self, peer: PeerId, now: float) -> None:
        self._standings.to_change(peer, now).connected(now)

    def stayed(self, peer: PeerId, now: float) -> None:
        """It has been connected until now."""
        self._standings.to_change(peer, now).stayed(now)
        if (known := self.peers.get(peer)) is not None:
            self.older_cards.hold(known.card, now)

    def remove(self, peer: Peer) -> None:
        """Remove a peer that gave way and is drained, and its routes."""
        drop_routes(self._routes, peer)
        self.dropped += peer.all_dropped
        del self.peers[peer.card.peer]
        self.timers.set(peer, None)
        self._sockets.pop(peer, None)
        self._sealed.pop(peer.sealed_card, None)
        self.older_cards.forget(peer.card.peer)
        self._changes.append(events.PeerForgotten(self._network, peer.card.peer))

    def forget(self, peer: PeerId, now: float) -> None:
        """It says goodbye and leaves, and nothing speaks for it any more."""
        if (known := self.peers.get(peer)) is not None:
            known.block(now, FORGOTTEN)
            self._leaving.append(known)
        self._standings.forget(peer)
        self.blocked.discard(peer)

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

    def take_leaving(self) -> list[Peer]:
        """Those who have to go, to be drained once more and then removed.  Drains."""
        leaving, self._leaving = self._leaving, []
        return leaving

    def teller(self, introduced: Introduced) -> tuple[str, str | None]:
        """Who introduces, for people, and where the peer comes from.  What a mutual peer says of
        that is not believed: it stands for the other with its own address."""
        source = introduced.source
        if isinstance(source, Address):
            seen = introduced.addresses
            return str(source), seen[0].host if seen else None
        return self.peers[source].card.nick, host_of(self.peers[source])

    def acquaintance(self, peer: PeerId, now: float) -> Acquaintance | None:
        """How long we know a peer, to be kept on disk; None: it was never reached."""
        return self._standings.of(peer).known(now)

    @property
    def sockets(self) -> frozenset[SocketId]:
        """The sockets besides the main one that peers need."""
        return frozenset().union(*self._sockets.values())

    def changes(self) -> list[RosterEvent]:
        """Since the last call."""
        changes = [*self._changes, *self.places.events]
        self._changes.clear()
        self.places.events.clear()
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
        paths = (peer.reach.paths.in_use for peer in here)
        inside = any(path is not None and not is_public(path[0].host) for path in paths)
        return replace(found, udp_works=found.udp_works or bool(here), meets_inside=inside)

    @property
    def is_full(self) -> bool:
        return len(self.peers) >= self._limits.peers_per_network

    def _keep_card(self, peer: Peer, sealed: bytes) -> None:
        self._sealed.pop(peer.sealed_card, None)
        peer.sealed_card = sealed
        self._sealed[sealed] = peer
