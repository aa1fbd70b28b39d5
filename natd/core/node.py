"""The root of the cores: everything a daemon is, without a daemon.

It only routes.  A datagram is told apart by its first byte (RFC 7983, RFC 9443), then finds its
owner by what only that owner could have put there, never by its source address:

    0x00-0x03               STUN: a check by the tag in its USERNAME, an answer by the first
                            bytes of its transaction
    0x05                    rendezvous: the network by the first bytes of a transaction of ours
    0x06                    greeting: the network by its tag
    0x40-0x7F, 0xC0-0xFF    QUIC: the peer by destination connection id, or by the tag that a
                            dialler's first one begins with

Classifying is not authenticating: each owner checks its own cryptography.
"""

from collections import Counter
from random import Random

from natd.core.base import events
from natd.core.base.routes import CHECK, CONNECTION_ID, GREETING, RENDEZVOUS, TAG
from natd.core.base.timers import TimerQueue, earliest
from natd.core.base.types import (
    LOWEST_PORT,
    MAIN_SOCKET,
    Address,
    Datagram,
    DecodeError,
    NamedServer,
    NetworkId,
    SocketId,
)
from natd.core.codec import rendezvous, rendezvous_codec, stun
from natd.core.keys.card import Identity
from natd.core.keys.secrets import CHECK_TAG_BYTES, network_id
from natd.core.nat.model import NatModel
from natd.core.nat.stun_client import StunClient
from natd.core.network import greeting
from natd.core.network.local_sockets import Outgoing
from natd.core.network.membership import Membership
from natd.core.network.multicast import LINK_SOCKET
from natd.core.network.roster import NetworkSettings
from natd.core.network.routing import drop_routes
from natd.core.network.shared import PEERS_LIMIT, Shared
from natd.core.peer.peer import Peer
from natd.core.session.quic_header import destination_connection_id


class Node:
    """See the top of this file."""

    def __init__(self, identity: Identity, random: Random, *, card_sequence: int) -> None:
        """`card_sequence` is above every sequence number that an earlier run of this identity
        has used.  `random` also makes keys: in a daemon it is the system's."""
        self.dropped: Counter[str] = Counter()
        self.stun = StunClient(random)
        """To be told of STUN servers besides those of the networks."""
        self.shared = Shared(identity, random, self.stun.nat)
        self._card_sequence = card_sequence
        self._memberships: dict[NetworkId, Membership] = {}
        self._fed: dict[Membership, None] = {}  # those to be drained before the next output
        self._timers: TimerQueue[Membership] = TimerQueue()
        self._outgoing = Outgoing()

    # --- commands

    def join(
        self, settings: NetworkSettings, servers: tuple[Address | NamedServer, ...], now: float
    ) -> NetworkId:
        """Become a member, or take other servers or another nick where we are one already."""
        network = network_id(settings.key)
        membership = self.membership(network)
        if membership is None:
            membership = Membership(
                settings, self.shared, card_sequence=self._card_sequence, now=now
            )
            sockets = self.shared.sockets
            membership.set_local_addresses(*sockets.local, now)
            membership.set_mapped(sockets.mapped, now)
            membership.discovery.use_link(sockets.hears_link, now)
            self._memberships[network] = membership
            self._fed[membership] = None
        membership.set_nick(settings.nick, now)
        membership.set_servers(servers, now)
        if len(self._memberships) == 1:
            self.stun.wake(now)
        return network

    def membership(self, network: NetworkId) -> Membership | None:
        """That of a network, for one use: it is drained before the next output.  None where we
        are no member."""
        membership = self._memberships.get(network)
        if membership is not None:
            self._fed[membership] = None
        return membership

    def leave(self, network: NetworkId, now: float) -> None:
        membership = self.membership(network)
        if membership is not None:
            membership.stop(now)
            self._card_sequence = max(self._card_sequence, membership.own_card.sequence + 1)
            self._collect()
            del self._memberships[network]
            self._timers.set(membership, None)
            drop_routes(self.shared.routes, network)
            self._feed_all()  # What it was about to ask of our NAT is for another to ask.
            self._collect()
            self._drop_sockets()
        if not self._memberships:
            self.stun.sleep()

    def set_limits(
        self,
        *,
        helper_sockets: int,
        fill_blocks: str,
        peers_per_network: int = PEERS_LIMIT,
        most_sockets: int | None = None,
    ) -> None:
        """What an escalation may cost: sockets of ours, of one and of all, and a carrier NAT's
        ports; and how many peers each network may have.  Peers that are there already stay.
        `most_sockets` None: as many as are of use."""
        self.shared.limits.peers_per_network = peers_per_network
        turns = self.shared.budget.turns
        turns.helper_sockets = helper_sockets
        turns.allow_sockets(most_sockets)
        turns.spares_blocks = fill_blocks == "none"
        turns.fills_whole_blocks = fill_blocks == "full"

    def set_local_addresses(self, addresses: tuple[str, ...], port: int, now: float) -> None:
        """At start and whenever the interfaces have changed."""
        if (addresses, port) == self.shared.sockets.local:
            return
        self.shared.sockets.local = (addresses, port)
        self.nat.set_local_addresses(addresses, port)
        self.shared.flows.restart(now)
        for membership in self._feed_all():
            membership.set_local_addresses(addresses, port, now)
        self.stun.network_changed(now)

    def network_changed(self, now: float) -> None:
        """Our packets leave by another way than before, perhaps through another NAT, though our
        addresses are the same."""
        self.nat.network_changed()
        self.shared.flows.restart(now)
        for membership in self._feed_all():
            membership.network_changed(now)
        self.stun.network_changed(now)

    def set_offline(self, is_offline: bool, now: float) -> None:
        """Whether this machine has no way out at all."""
        if is_offline == self.shared.sockets.is_offline:
            return
        self.shared.sockets.is_offline = is_offline
        for membership in self._feed_all():
            membership.tell_surroundings(now)

    def set_clock(self, unix_s: float, now: float) -> None:
        """What the wall clock shows at `now`: at start, and before inputs that may follow a jump of
        it or a suspension."""
        self.shared.clock.set(unix_s, now)

    def use_link(self, wanted: bool, now: float) -> None:
        """Whether the group of our link is heard: then members are looked for there, too."""
        self.shared.sockets.hears_link = wanted
        for membership in self._feed_all():
            membership.discovery.use_link(wanted, now)

    def set_mapped(self, addresses: tuple[Address, ...], now: float) -> None:
        """The router maps the main socket's port to these addresses, best first; or to none."""
        self.shared.sockets.mapped = addresses
        for membership in self._feed_all():
            membership.set_mapped(addresses, now)

    def stop(self, now: float) -> None:
        """Say goodbye everywhere; drain once more, then there is nothing left to do."""
        for network in tuple(self._memberships):
            self.leave(network, now)

    # --- the contract of a core

    def receive_datagram(
        self, data: bytes, address: Address, now: float, socket: SocketId = MAIN_SOCKET
    ) -> None:
        first = data[0] if data else None
        if first is None:
            self.dropped["empty"] += 1
        elif first != rendezvous_codec.RENDEZVOUS_MAGIC and address.port < LOWEST_PORT:
            # Of a service: no NAT maps there, and whatever we answered would go to it.
            self.dropped["source-of-a-service"] += 1
        elif socket == LINK_SOCKET and first != greeting.GREETING_MAGIC:
            self.dropped["no-greeting-to-the-group"] += 1
        elif first < 0x04:
            self._receive_stun(data, address, socket, now)
        elif first == rendezvous_codec.RENDEZVOUS_MAGIC:
            self._receive_rendezvous(data, address, socket, now)
        elif first == greeting.GREETING_MAGIC:
            self._receive_greeting(data, address, socket, now)
        elif first & 0x40:
            self._receive_quic(data, address, socket, now)
        else:
            self.dropped["first-byte-unknown"] += 1

    def handle_timer(self, now: float) -> None:
        self._collect()
        if (due_at := self._timers.get_timer()) is not None:
            self.shared.budget.meetings.timer_came(now - due_at, now)
        for membership in self._timers.due(now):
            self._fed[membership] = None
            membership.handle_timer(now)
        self._share_nat(now)
        self.stun.handle_timer(now)

    def datagrams_to_send(self) -> list[Datagram]:
        self._collect()
        datagrams, self._outgoing.datagrams = self._outgoing.datagrams, []
        return datagrams + self.stun.datagrams_to_send() if self.stun.asks else datagrams

    def next_event(self) -> events.Event | None:
        self._collect()
        return self._outgoing.events.popleft() if self._outgoing.events else None

    def get_timer(self) -> float | None:
        self._collect()
        return earliest(self.stun.due_at, self._timers.get_timer())

    @property
    def nat(self) -> NatModel:
        """Our NAT's behaviour, from all that was measured."""
        return self.shared.nat

    @property
    def all_dropped(self) -> dict[NetworkId | None, Counter[str]]:
        """How many datagrams and cards were dropped, by reason: in each network, and under None
        those that belong to no network.  The one place where all counters meet."""
        found: dict[NetworkId | None, Counter[str]] = {None: self.dropped + self.stun.dropped}
        found |= {network: each.all_dropped for network, each in self._memberships.items()}
        return found

    # --- private: routing

    def _receive_stun(self, data: bytes, address: Address, socket: SocketId, now: float) -> None:
        try:
            message = stun.decode(data)
        except DecodeError:
            self.dropped["stun-malformed"] += 1
            return
        if socket == MAIN_SOCKET and self.stun.receive_answer(message, address, now):
            self._feed_all()  # There may be more to be asked of our NAT.
            self._share_nat(now)
            return
        is_check = message.message_class is stun.MessageClass.REQUEST
        tag = (message.get(stun.USERNAME) or b"")[:CHECK_TAG_BYTES]
        prefix = message.transaction[: rendezvous.PREFIX_BYTES]
        route = self.shared.routes.get(TAG + tag if is_check else CHECK + prefix)
        if route is None or route.peer is None:
            self.dropped["stun-of-nobody"] += 1
            if is_check and tag:
                self._greet_back(address, socket, now)
            return
        if is_check:
            route.peer.receive_check(message, tag, data, address, socket, now)
        else:
            route.peer.reach.receive_check_answer(message, data, address, socket, now)
        self._drain_peer(route.network, route.peer, now)

    def _greet_back(self, address: Address, socket: SocketId, now: float) -> None:
        """A check has come with keys that nobody here knows: perhaps a peer of ours was restarted,
        or we were, and no server is left to pass on the new cards."""
        for each in self._memberships.values():
            if not each.servers.is_registered:
                ours = each.own_card.sealed
                each.discovery.greet_back(ours, address, socket, each.roster, now)

    def _receive_rendezvous(
        self, data: bytes, address: Address, socket: SocketId, now: float
    ) -> None:
        prefix = data[
            rendezvous.TRANSACTION_AT : rendezvous.TRANSACTION_AT + rendezvous.PREFIX_BYTES
        ]
        route = self.shared.routes.get(RENDEZVOUS + prefix)
        membership = None if route is None else self.membership(route.network)
        if membership is None:
            self.dropped["rendezvous-of-nobody"] += 1
            return
        membership.receive_rendezvous(data, address, socket, now)
        self._share_nat(now)

    def _receive_greeting(
        self, data: bytes, address: Address, socket: SocketId, now: float
    ) -> None:
        tag = data[greeting.TAG_AT : greeting.TAG_AT + greeting.NETWORK_TAG_BYTES]
        route = self.shared.routes.get(GREETING + tag)
        membership = None if route is None else self.membership(route.network)
        if membership is None:
            self.dropped["greeting-of-nobody"] += 1
            return
        membership.receive_greeting(data, address, socket, now)

    def _receive_quic(self, data: bytes, address: Address, socket: SocketId, now: float) -> None:
        connection_id = destination_connection_id(data) or b""
        routes = self.shared.routes
        route = routes.get(CONNECTION_ID + connection_id)
        if route is None:
            route = routes.get(TAG + connection_id[:CHECK_TAG_BYTES])
        if route is None or route.peer is None:
            self.dropped["quic-of-nobody"] += 1
            return
        route.peer.receive_session_datagram(data, connection_id, address, socket, now)
        self._drain_peer(route.network, route.peer, now)

    # --- private: draining

    def _drain_peer(self, network: NetworkId, peer: Peer, now: float) -> None:
        membership = self._memberships[network]
        path = peer.reach.paths.current
        if path is not None and path.heard_at == now:
            # Of two idle ends one only answers: what it hears shows that UDP gets through, too.
            self.nat.answers.heard(path.address.host, now)
        membership.drain_peer(peer, now)
        self._fed[membership] = None
        self._share_nat(now)

    def _feed_all(self) -> tuple[Membership, ...]:
        self._fed.update(dict.fromkeys(self._memberships.values()))
        return tuple(self._memberships.values())

    def _share_nat(self, now: float) -> None:
        """Tell all networks what was learned of our NAT."""
        nat = self.nat
        if nat.has_changed:
            nat.has_changed = False
            self._outgoing.events.append(events.NatObserved(nat.report(), nat.observed()))
            for membership in self._feed_all():
                membership.observed_changed(now)

    def _collect(self) -> None:
        """Drain those that were fed or handed out since the last time."""
        if not self._fed:
            return
        outgoing, live = self._outgoing, self.shared.sockets.live
        for membership in self._fed:
            while (event := membership.next_event()) is not None:
                outgoing.events.append(event)
            datagrams = membership.datagrams_to_send()
            live.update(d.socket for d in datagrams if d.socket != MAIN_SOCKET)
            outgoing.datagrams += datagrams
            self._timers.set(membership, membership.get_timer())
        self._fed.clear()
        if live:
            self._drop_sockets()

    def _drop_sockets(self) -> None:
        """Close sockets that nothing uses."""
        live = self.shared.sockets.live
        for socket in live.difference(*(m.sockets for m in self._memberships.values())):
            live.discard(socket)
            self.nat.forget_socket(socket)
            self._outgoing.events.append(events.SocketDropped(socket))
