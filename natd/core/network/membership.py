"""One network that we are a member of: its servers, its peers, and our card there.

Rules:
- What a server says about a peer is a hint; only the peer's card counts, if the roster accepts it.
- Only the peer that an input was for is drained, and only its timer is read again, so a large idle
  network costs nothing.
- A peer that `peer` gave to a caller is drained before the next output.
"""

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping

from natd.core.base import events
from natd.core.base.routes import GREETING, RouteAdded, RouteDropped
from natd.core.base.surroundings import Surroundings
from natd.core.base.timers import earliest
from natd.core.base.types import Address, Datagram, NamedServer, PeerId, SocketId
from natd.core.base.wishes import FreshSocketWanted, IntroductionWanted, SampleWanted
from natd.core.checks.checks import CheckAnswer
from natd.core.codec.frames import Frame, Introduce, NewerCard, Seek
from natd.core.keys.card import Card
from natd.core.keys.membership_key import MembershipKey
from natd.core.keys.secrets import network_id
from natd.core.network.discovery import Discovery, meet
from natd.core.network.own_card import CardAnnouncement, OwnCard
from natd.core.network.peer_introduction import PeerIntroductions, tell_of_peer
from natd.core.network.roster import NetworkSettings, Roster
from natd.core.network.routing import Route, keep_route
from natd.core.network.shared import Shared
from natd.core.network.standing import Acquaintance
from natd.core.peer.events import PeerEvent
from natd.core.peer.peer import Peer
from natd.core.registration import events as news
from natd.core.registration.reasons import explain_silence
from natd.core.registration.servers import Servers


class Membership:
    """See the top of this file."""

    def __init__(
        self, settings: NetworkSettings, shared: Shared, *, card_sequence: int, now: float
    ) -> None:
        self.network = network = network_id(settings.key)
        self._shared = shared
        identity, random, member = shared.identity, shared.random, MembershipKey(settings.key)
        self._nat, budget = shared.nat, shared.budget
        self._turns, self._pace, key = budget.turns, budget.turns.pace, settings.key
        nick, sequence = settings.nick, card_sequence
        self.own_card = OwnCard(identity, key, nick, random, sequence=sequence, now=now)
        self.own_card.learn(self._nat)  # known if another network was joined before
        self._announcement = CardAnnouncement()
        self.servers = Servers(
            network, member, identity, shared.nat, random, shared.clock, budget.meetings, now
        )
        self.roster = Roster(settings, shared)
        self.peers, self.dropped = self.roster.peers, self.roster.dropped
        self._handed_out: dict[Peer, float] = {}  # given to a caller at that instant, to be drained
        self.discovery = Discovery(settings.key, budget, random)
        self._introductions = PeerIntroductions(random)
        self._datagrams: list[Datagram] = []
        self._events: deque[events.Event] = deque()
        shared.routes[GREETING + self.discovery.tag] = Route(self.network, None)

    # --- commands

    def set_nick(self, nick: str, now: float) -> None:
        if self.own_card.set_nick(nick):
            self._announcement.hurry(now)

    def set_local_addresses(self, addresses: tuple[str, ...], port: int, now: float) -> None:
        """Our interfaces have changed, or are known for the first time."""
        if self.own_card.set_addresses(addresses, port):
            self.network_changed(now)

    def network_changed(self, now: float) -> None:
        """Our addresses have changed, or the way that our packets leave by."""
        self.servers.network_changed(self.own_card.sealed, self.own_card.sequence, now)
        self._drain_servers(now)
        self.discovery.hurry(now)
        for peer in self._each(now):
            peer.dialogue.send_frame(NewerCard(self.own_card.sealed), now)
            peer.reach.retry(now)

    def set_mapped(self, addresses: tuple[Address, ...], now: float) -> None:
        """The router maps our port to these; a new address causes another introduction."""
        if self.own_card.set_mapped(addresses):
            self._tell_card(now)
            if addresses:
                self.retry(None, now)

    def set_servers(self, servers: Iterable[Address | NamedServer], now: float) -> None:
        """Register with these servers and no others."""
        self.servers.use(servers, self.own_card.sealed, self.own_card.sequence, now)
        self._drain_servers(now)

    def remember_peer(
        self,
        sealed_card: bytes,
        last_good: Mapping[Address, float],
        now: float,
        known: Acquaintance | None = None,
    ) -> PeerId | None:
        """Add a peer of an earlier run, which answered at these addresses so many seconds ago;
        None if its card is no longer valid or there is no place: then it may come back."""
        peer = self.roster.remember(sealed_card, self.own_card.prekeys, known, now)
        if peer is None:
            return None
        self._events += self.roster.changes()
        peer.reach.search.remember(last_good, now)
        peer.set_surroundings(self._surroundings(now), now)
        if peer.card.peer in self.roster.blocked:
            peer.block(now)
        else:
            self.discovery.expect(peer.card.peer, peer.reach.remote.places, now)
        self.drain_peer(peer, now)
        return peer.card.peer

    def block(self, peer: PeerId, blocked: bool, now: float) -> None:
        self.roster.mark_blocked(peer, blocked)
        if blocked:
            self.discovery.met(peer)
        if (known := self.peer(peer, now)) is not None:
            if blocked:
                known.block(now)
            else:
                known.unblock(self.own_card.prekeys, now)

    def forget(self, peer: PeerId, now: float) -> None:
        """Say goodbye to a peer: if it comes back it is a stranger."""
        self.roster.forget(peer, now)
        self._let_go(now)

    def retry(self, peer: PeerId | None, now: float) -> None:
        for each in tuple(self.peers.values()):
            if peer is None or each.card.peer == peer:
                each.reach.retry(now)
                self.drain_peer(each, now)

    def stop(self, now: float) -> None:
        """Say goodbye to all peers and servers."""
        for peer in self._each(now):
            peer.say_bye(now)
        self.servers.stop()
        self._drain_servers(now)

    def peer(self, peer: PeerId, now: float) -> Peer | None:
        """The peer of this id, for input at `now`; None if we never met it."""
        found = self.peers.get(peer)
        if found is not None:
            self._handed_out[found] = now
        return found

    def receive_rendezvous(
        self, data: bytes, address: Address, socket: SocketId, now: float
    ) -> None:
        """A datagram of a server."""
        self.servers.receive_datagram(data, address, socket, now)
        self._drain_servers(now)

    def receive_greeting(self, data: bytes, address: Address, socket: SocketId, now: float) -> None:
        """A greeting: a card that came directly from its owner."""
        ours = self.own_card.sealed
        greeted = self.discovery.open(data, address, socket, self.roster, ours, now)
        host = address.host
        if not greeted or not (peer := self._take_card(greeted.card, greeted.sealed, host, now)):
            return
        if greeted.is_answered:
            self.discovery.answer(ours, address, socket, now)
            self._datagrams += self.discovery.datagrams_to_send()
        peer.set_surroundings(self._surroundings(now), now)
        peer.settle(now)
        meet(peer, greeted, address, ours=self._shared.identity.peer, now=now)
        self.drain_peer(peer, now)

    def observed_changed(self, now: float) -> None:
        """Our addresses or our NAT report have changed: running attempts may use the news."""
        has_changed, hurries = self.own_card.learn(self._nat)
        if has_changed:
            self._announcement.changed(now, hurries=hurries)
        self.tell_surroundings(now)

    def handle_timer(self, now: float) -> None:
        self._tell_full(now)
        if self.own_card.handle_timer(now):
            for peer in self._each(now):
                peer.use_prekeys(self.own_card.prekeys)
            self._announcement.hurry(now)
        if self._announcement.take_due(now):
            self.own_card.refresh()
            self._tell_card(now)
        late, newest = self._announcement.take_late(self.peers, now), self.own_card.sealed
        self._say(((peer, NewerCard(newest)) for peer in late), now)
        is_served = self.servers.is_registered
        for missed in self.discovery.handle_timer(newest, self.roster, is_served, now):
            self.retry(missed, now)
        self._datagrams += self.discovery.datagrams_to_send()
        others = self.peers.values()
        self._say(self._introductions.look_around(others, has_server=is_served, now=now), now)
        if not self._turns.is_free(now):
            self._nat.filters.put_off(now)
        self.servers.handle_timer(now)
        self._drain_servers(now)
        for peer in self.roster.timers.due(now):
            peer.handle_timer(now)
            self.drain_peer(peer, now)

    # --- outputs

    def datagrams_to_send(self) -> list[Datagram]:
        self._drain_handed_out()
        datagrams, self._datagrams = self._datagrams, []
        return datagrams

    def next_event(self) -> events.Event | None:
        self._drain_handed_out()
        return self._events.popleft() if self._events else None

    def get_timer(self) -> float | None:
        self._drain_handed_out()
        asks_at = (self._nat.ports.survey_at, self._nat.filters.round_at)
        return earliest(
            self._announcement.get_timer(),
            self.own_card.due_at,
            self.discovery.due_at,
            self._introductions.look_around_at,
            self.servers.timers.get_timer(),
            self.roster.timers.get_timer(),
            self.roster.places.full_until,
            *(asks_at if self.servers.is_registered else ()),
        )

    @property
    def all_dropped(self) -> Counter[str]:
        """Datagrams of servers, peers and strangers that were dropped, by reason."""
        ours = self.dropped + self._introductions.dropped + self.servers.all_dropped
        return sum((peer.all_dropped for peer in self.peers.values()), ours)

    @property
    def sockets(self) -> frozenset[SocketId]:
        """The sockets besides the main one that are in use towards a peer or server."""
        return self.servers.sockets | self.roster.sockets

    # --- private: servers

    def tell_surroundings(self, now: float) -> None:
        surroundings = self._surroundings(now)
        for peer in self._each(now):
            peer.set_surroundings(surroundings, now)

    def _surroundings(self, now: float) -> Surroundings:
        found = self.roster.describe(self.servers.surroundings(now))
        return self._shared.sockets.describe(found)

    def _drain_servers(self, now: float) -> None:
        datagrams = self.servers.datagrams_to_send()
        self._pace.checked(now, len(datagrams))
        self._datagrams += datagrams
        while (event := self.servers.next_event()) is not None:
            match event:
                case news.Introduced():
                    self._introduce(event, now)
                case news.OwnCardSeen():
                    self._events += self.own_card.copies.see(event, self.own_card, now)
                case news.PeerAbsent(server, absent):
                    if (peer := self.peer(absent, now)) is not None:
                        peer.diagnosis.absent(str(server), now)
                case news.ConnectUnanswered(asked_for):
                    if (peer := self.peer(asked_for, now)) is not None:
                        peer.reach.search.server_is_silent(now)
                case events.ServerLost(server=server) if server == self.servers.silenced_by:
                    self._introductions.servers_lost(self.peers.values(), now)
                    ours, here = self._surroundings(now), bool(self.roster.here)
                    self._events.append(explain_silence(event, ours, somebody_is_here=here))
                    self.tell_surroundings(now)
                case events.ServerAnswered() | events.ServerLost():
                    self._events.append(event)
                    self.tell_surroundings(now)
                case news.SocketSampled(socket, observed, poisoned=poisoned):
                    for peer in [each for each in self.peers.values() if each.awaits(socket)]:
                        peer.sampled(socket, observed, poisoned=poisoned, now=now)
                        self.drain_peer(peer, now)
                case news.OurAddressMoved():
                    self.retry(None, now)
                case RouteAdded() | RouteDropped():
                    keep_route(self._shared.routes, event, Route(self.network, None))
                case _:
                    self._events.append(event)

    def _tell_card(self, now: float) -> None:
        self.servers.renew_card(self.own_card.sealed, self.own_card.sequence, now)
        self._drain_servers(now)
        told = self._announcement.recipients(self.peers.values(), now)
        hard = self._announcement.take_help() and self._nat.report().may_be_hard
        for peer in told:
            peer.dialogue.send_frame(NewerCard(self.own_card.sealed), now)
            self.drain_peer(peer, now)
            if hard and peer.reach.search.is_trying(now):
                self._ask_introduction(peer, IntroductionWanted(()), now)

    # --- private: peers

    def _introduce(self, introduced: news.Introduced, now: float) -> None:
        """A server or a mutual peer introduces a peer to us."""
        if introduced.peer in self.roster.blocked:
            self.dropped["introduction-of-a-blocked-peer"] += 1
            return
        card = self.roster.open(introduced.sealed_card)
        if card is None or card.peer != introduced.peer:
            self.dropped["introduction-of-another-card"] += 1
            self.servers.suspect(introduced.source, now)
            self._drain_servers(now)
            return
        teller, host = self.roster.teller(introduced)
        peer = self._take_card(card, introduced.sealed_card, host, now)
        if peer is None:
            return
        peer.set_surroundings(self._surroundings(now), now)
        peer.settle(now)  # what our own side forbids is told before the introduction gives hope
        tell_of_peer(peer, introduced, teller, now)
        self.drain_peer(peer, now)

    def _say(self, words: Iterable[tuple[Peer, Frame]], now: float) -> None:
        for peer, frame in words:
            peer.dialogue.send_frame(frame, now)
            self.drain_peer(peer, now)

    def _take_card(self, card: Card, sealed: bytes, host: str | None, now: float) -> Peer | None:
        """`host`: see `Roster.take`."""
        taken = self.roster.take(card, sealed, self.own_card, host, now)
        self._let_go(now)
        return taken

    def _let_go(self, now: float) -> None:
        """Those who have no place any more are drained and removed."""
        for peer in self.roster.take_leaving():
            self.drain_peer(peer, now)
            self.roster.remove(peer)
            self._handed_out.pop(peer, None)
            self.discovery.met(peer.card.peer)
            self._announcement.take_missed(peer.card.peer)
        self._events += self.roster.changes()
        self._tell_full(now)

    def _tell_full(self, now: float) -> None:
        if self.own_card.tell_full(self.roster.places.is_full(now)):
            self._announcement.changed(now, hurries=True)

    def _ask_introduction(self, peer: Peer, wanted: IntroductionWanted, now: float) -> None:
        if self._pace.may_check(now):
            self.servers.connect(peer.card.peer, wanted, now)
        self._drain_servers(now)

    def _drain_handed_out(self) -> None:
        while self._handed_out:
            self.drain_peer(*self._handed_out.popitem())

    def _each(self, now: float) -> Iterator[Peer]:
        """Each peer in turn; it is drained after the caller has used it."""
        for peer in tuple(self.peers.values()):
            yield peer
            self.drain_peer(peer, now)

    def drain_peer(self, peer: Peer, now: float) -> None:
        """Take a peer's datagrams and events; called after every input to it."""
        peer.settle(now)
        while (event := peer.next_event()) is not None:
            self._take_peer_event(peer, event, now)
        self._datagrams += peer.datagrams_to_send()
        self.roster.note(peer)

    def _take_peer_event(self, peer: Peer, event: PeerEvent, now: float) -> None:
        match event:
            case RouteAdded() | RouteDropped():
                keep_route(self._shared.routes, event, Route(self.network, peer))
            case NewerCard(sealed):
                card = self.roster.open(sealed)
                if card is None:  # perhaps one of ours
                    self._events += self.own_card.shown_by(peer.card.peer, sealed, now)
                elif card.peer == peer.card.peer:
                    self._take_card(card, sealed, None, now)
            case CheckAnswer(place, socket, mapped=observed):
                self.servers.observe_by_peer(socket, place, observed, now)
                self._drain_servers(now)
            case SampleWanted(socket):
                if self._pace.may_check(now):
                    self.servers.sample(socket, now)
                self._drain_servers(now)
            case IntroductionWanted():
                self._ask_introduction(peer, event, now)
                missed, has_server = peer.card.peer, self.servers.is_registered
                others = self.peers.values()
                asked = self._introductions.missed(missed, others, has_server=has_server, now=now)
                self._say(asked, now)
            case FreshSocketWanted(is_alike):
                # What it has sent leaves first: a NAT that counts would count it after the sample.
                self._datagrams += peer.datagrams_to_send()
                peer.reach.use_socket(self._shared.sockets.fresh(is_alike=is_alike), now)
                peer.settle(now)
            case Seek():
                self._say(self._introductions.answer_seek(peer, event, self.peers, now), now)
            case Introduce():
                if introduced := self._introductions.introduced(peer.card.peer, event, now):
                    self._introduce(introduced, now)
            case events.PeerConnected():
                self.discovery.met(peer.card.peer)
                self.roster.connected(peer.card.peer, now)
                has_server = self.servers.is_registered
                self._introductions.connected(peer.card.peer, has_server=has_server, now=now)
                self._events.append(event)
                is_missed = self._announcement.take_missed(peer.card.peer)
                newest = [self.own_card.sealed] if is_missed else []
                for sealed in self.roster.older_cards.newer_than_its_own(peer.card.peer) + newest:
                    peer.dialogue.send_frame(NewerCard(sealed), now)
                    peer.settle(now)
            case events.PeerDisconnected():
                self.roster.stayed(peer.card.peer, now)
                if peer.is_lost:
                    self.discovery.expect(peer.card.peer, peer.reach.remote.places, now)
                self._events.append(event)
            case _:
                self._events.append(event)
