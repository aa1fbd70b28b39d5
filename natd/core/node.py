"""The root of the cores: everything a daemon is, without a daemon.

It only routes.  A datagram is told apart by its first byte (RFC 7983, RFC 9443), then finds its
owner by what only that owner could have put there, never by its source address:

    0x00-0x03               STUN: a check by the tag in its USERNAME, an answer by the first
                            bytes of its transaction
    0x05                    rendezvous: the registration by the first bytes of its transaction
    0x06                    greeting: the network by its tag
    0x40-0x7F, 0xC0-0xFF    QUIC: the peer by destination connection id, or by the tag that a
                            dialler's first one begins with

Classifying is not authenticating: whoever is routed to checks its own cryptography.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from natd.core.base import events
from natd.core.base.routes import CHECK, CONNECTION_ID, GREETING, RENDEZVOUS, TAG, Routed, Unrouted
from natd.core.base.timers import earliest
from natd.core.base.types import (
    MAIN_SOCKET,
    Address,
    Datagram,
    DecodeError,
    NatReport,
    NetworkId,
    PeerId,
    SocketId,
)
from natd.core.checks.budget import TargetBudget
from natd.core.checks.candidates import LOWEST_PORT
from natd.core.codec import rendezvous, rendezvous_codec, stun
from natd.core.keys.card import Identity
from natd.core.keys.secrets import CHECK_TAG_BYTES, network_id
from natd.core.nat.lifetime import Lifetime
from natd.core.nat.stun_client import Stunning
from natd.core.network import greeting
from natd.core.network.local_sockets import OurSockets, Outgoing
from natd.core.network.membership import Membership
from natd.core.network.multicast import LINK_SOCKET
from natd.core.network.roster import NetworkSettings
from natd.core.network.routing import SocketFor
from natd.core.peer.diagnosis import PeerDiagnosis
from natd.core.peer.peer import Peer
from natd.core.peer.presence import PeerView
from natd.core.registration.registration import Registration
from natd.core.registration.servers import ServerReport
from natd.core.session.quic_header import destination_connection_id


@dataclass(frozen=True, slots=True)
class _Route:
    membership: Membership
    owner: object | None


class Node:
    """See the top of this file."""

    def __init__(self, identity: Identity, random: Random, *, card_sequence: int) -> None:
        """`card_sequence` is above every sequence number that an earlier run of this identity
        has used.  `random` also makes keys: in a daemon it is the system's."""
        self.dropped: Counter[str] = Counter()
        self._identity = identity
        self._random = random
        self._card_sequence = card_sequence
        self._stunning = Stunning(random)
        self._budget = TargetBudget()
        self._memberships: dict[NetworkId, Membership] = {}
        self._routes: dict[bytes, _Route] = {}
        self._sockets = OurSockets()
        self._outgoing = Outgoing()

    # --- commands

    def join(
        self, settings: NetworkSettings, servers: tuple[Address, ...], now: float
    ) -> NetworkId:
        """Become a member, or take other servers or another nick where we are one already."""
        network = network_id(settings.key)
        membership = self._memberships.get(network)
        if membership is None:
            membership = Membership(
                settings,
                self._identity,
                self._stunning.nat,
                self._budget,
                self._random,
                card_sequence=self._card_sequence,
                now=now,
            )
            self._memberships[network] = membership
            membership.set_local_addresses(*self._sockets.local, now)
            membership.set_mapped(self._sockets.mapped, now)
            membership.use_link(self._sockets.hears_link, now)
        membership.set_nick(settings.nick, now)
        membership.set_servers(servers, now)
        self._drain(membership, now)
        if len(self._memberships) == 1:
            self._stunning.wake(now)
        return network

    def set_limits(self, *, helper_sockets: int, fill_blocks: str) -> None:
        """What an escalation may cost: sockets of ours, and a carrier NAT's ports."""
        turns = self._budget.turns
        turns.helper_sockets = helper_sockets
        turns.spares_blocks = fill_blocks == "none"
        turns.fills_whole_blocks = fill_blocks == "full"

    def set_servers(self, network: NetworkId, servers: tuple[Address, ...], now: float) -> None:
        """The servers' names were resolved (again)."""
        self._act(network, now, lambda membership: membership.set_servers(servers, now))

    def set_stun_servers(self, servers: tuple[Address, ...], now: float) -> None:
        """Further servers to be seen by, besides those of the networks."""
        self._stunning.set_servers(servers, now)

    def set_nick(self, network: NetworkId, nick: str, now: float) -> None:
        self._act(network, now, lambda membership: membership.set_nick(nick, now))

    def leave(self, network: NetworkId, now: float) -> None:
        membership = self._memberships.pop(network, None)
        if membership is not None:
            membership.stop(now)
            self._drain(membership, now)
            self._card_sequence = max(self._card_sequence, membership.card_sequence + 1)
            for key in [k for k, route in self._routes.items() if route.membership is membership]:
                del self._routes[key]
        if not self._memberships:
            self._stunning.sleep()

    def remember_peer(
        self,
        network: NetworkId,
        sealed_card: bytes,
        last_good: tuple[Address, ...],
        now: float,
    ) -> PeerId | None:
        """A peer of an earlier run; None if its card does not open any more."""
        membership = self._memberships[network]
        peer = membership.remember_peer(sealed_card, last_good, now)
        self._drain(membership, now)
        return peer

    def keep_peer(self, network: NetworkId, peer: PeerId) -> None:
        """A message is about to be accepted for this peer, or waits on disk: whatever happens, it
        does not become a `PeerForgotten`."""
        if (membership := self._memberships.get(network)) is not None:
            membership.keep_peer(peer)

    def open_conversation(
        self, network: NetworkId, peer: PeerId, state: events.ConversationState, now: float
    ) -> None:
        """The shell's answer to `PeerMet`, and what follows a `remember_peer`."""
        self._act_on(network, peer, now, lambda found: found.open_conversation(state, now))

    def send_message(
        self, network: NetworkId, peer: PeerId, message: events.OutboundMessage, now: float
    ) -> bool:
        """Say what is on disk already.  False: no room now, `OutboxWanted` will ask for it."""
        membership = self._memberships.get(network)
        found = None if membership is None else membership.peer(peer)
        if membership is None or found is None:
            return False
        taken = found.send_message(message, now)
        membership.drain_peer(found, now)
        self._drain(membership, now)
        return taken

    def message_committed(
        self, network: NetworkId, peer: PeerId, epoch: int, seq: int, now: float
    ) -> None:
        """The shell's answer to `MessageArrived`: it is on disk, and may be acknowledged."""
        self._act_on(network, peer, now, lambda found: found.message_committed(epoch, seq, now))

    def set_local_addresses(self, addresses: tuple[str, ...], port: int, now: float) -> None:
        """At start and whenever the interfaces have changed."""
        self._sockets.local = (addresses, port)
        self._stunning.nat.set_local_addresses(addresses, port)
        for membership in tuple(self._memberships.values()):
            membership.set_local_addresses(addresses, port, now)
            self._drain(membership, now)
        self._stunning.network_changed(now)

    def use_link(self, wanted: bool, now: float) -> None:
        """Whether the group of our link is heard: then members are looked for there, too."""
        self._sockets.hears_link = wanted
        for membership in self._memberships.values():
            membership.use_link(wanted, now)

    def set_mapped(self, addresses: tuple[Address, ...], now: float) -> None:
        """The router maps the main socket's port to these addresses, best first; or to none."""
        self._sockets.mapped = addresses
        for membership in tuple(self._memberships.values()):
            membership.set_mapped(addresses, now)
            self._drain(membership, now)

    def ping(self, network: NetworkId, peer: PeerId, token: int, now: float) -> None:
        """`PingAnswered` follows at the first direct answer."""
        self._act_on(network, peer, now, lambda found: found.ping(token, now))

    def retry(self, network: NetworkId, peer: PeerId | None, now: float) -> None:
        """The user does not want to wait for the next round."""
        self._act(network, now, lambda membership: membership.retry(peer, now))

    def block(self, network: NetworkId, peer: PeerId, blocked: bool, now: float) -> None:
        self._act(network, now, lambda membership: membership.block(peer, blocked, now))

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
        elif first != rendezvous_codec.MAGIC and address.port < LOWEST_PORT:
            # Of a service: no NAT maps there, and whatever we answered would go to it.
            self.dropped["source-of-a-service"] += 1
        elif socket == LINK_SOCKET and first != greeting.MAGIC:
            self.dropped["no-greeting-to-the-group"] += 1
        elif first < 0x04:
            self._receive_stun(data, address, socket, now)
        elif first == rendezvous_codec.MAGIC:
            self._receive_rendezvous(data, address, socket, now)
        elif first == greeting.MAGIC:
            self._receive_greeting(data, address, socket, now)
        elif first & 0x40:
            self._receive_quic(data, address, socket, now)
        else:
            self.dropped["first-byte-unknown"] += 1

    def handle_timer(self, now: float) -> None:
        for membership in tuple(self._memberships.values()):
            timer = membership.get_timer()
            if timer is not None and timer <= now:
                membership.handle_timer(now)
                self._drain(membership, now)
        self._stunning.handle_timer(now)

    def datagrams_to_send(self) -> list[Datagram]:
        datagrams, self._outgoing.datagrams = self._outgoing.datagrams, []
        return datagrams + self._stunning.datagrams_to_send()

    def next_event(self) -> events.Event | None:
        return self._outgoing.events.popleft() if self._outgoing.events else None

    def get_timer(self) -> float | None:
        memberships = (membership.get_timer() for membership in self._memberships.values())
        return earliest(self._stunning.get_timer(), *memberships)

    # --- views

    @property
    def nat(self) -> NatReport:
        return self._stunning.nat.report()

    @property
    def nat_lifetime(self) -> Lifetime:
        return self._stunning.nat.lifetime

    @property
    def hears_link(self) -> bool:
        """Whether members are looked for on our own link."""
        return self._sockets.hears_link

    @property
    def observed(self) -> tuple[Address, ...]:
        """How servers see us: the freshest address of each family."""
        return self._stunning.nat.observed()

    def servers(self, network: NetworkId) -> tuple[ServerReport, ...]:
        return self._memberships[network].servers()

    def diagnose(self, network: NetworkId, peer: PeerId) -> PeerDiagnosis | None:
        """What was tried to reach a peer; None where we never met it."""
        found = self._memberships[network].peer(peer)
        return None if found is None else found.diagnose()

    def peers(self, network: NetworkId, now: float) -> tuple[PeerView, ...]:
        return self._memberships[network].peers(now)

    @property
    def all_dropped(self) -> dict[NetworkId | None, Counter[str]]:
        """How many datagrams and cards were dropped, by reason: in each network, and under None
        those that belong to no network.  The one place where all counters meet."""
        found: dict[NetworkId | None, Counter[str]] = {None: self.dropped + self._stunning.dropped}
        found |= {network: each.all_dropped for network, each in self._memberships.items()}
        return found

    # --- private: routing

    def _receive_stun(self, data: bytes, address: Address, socket: SocketId, now: float) -> None:
        try:
            message = stun.decode(data)
        except DecodeError:
            self.dropped["stun-malformed"] += 1
            return
        if socket == MAIN_SOCKET and self._stunning.receive_answer(message, address, now):
            self._take_observation(now)
            return
        if message.message_class is stun.MessageClass.REQUEST:
            tag = (message.get(stun.USERNAME) or b"")[:CHECK_TAG_BYTES]
            route = self._routes.get(TAG + tag)
        else:
            route = self._routes.get(CHECK + message.transaction[: rendezvous.PREFIX_BYTES])
        if route is None or not isinstance(route.owner, Peer):
            self.dropped["stun-of-nobody"] += 1
            return
        if message.message_class is stun.MessageClass.REQUEST:
            route.owner.receive_check(message, data, address, socket, now)
        else:
            route.owner.receive_check_answer(message, data, address, socket, now)
        route.membership.drain_peer(route.owner, now)
        self._drain(route.membership, now)

    def _receive_rendezvous(
        self, data: bytes, address: Address, socket: SocketId, now: float
    ) -> None:
        prefix = data[
            rendezvous.TRANSACTION_AT : rendezvous.TRANSACTION_AT + rendezvous.PREFIX_BYTES
        ]
        route = self._routes.get(RENDEZVOUS + prefix)
        if route is None or not isinstance(route.owner, Registration):
            self.dropped["rendezvous-of-nobody"] += 1
            return
        route.membership.receive_rendezvous(route.owner, data, address, socket, now)
        self._drain(route.membership, now)

    def _receive_greeting(
        self, data: bytes, address: Address, socket: SocketId, now: float
    ) -> None:
        tag = data[greeting.TAG_AT : greeting.TAG_AT + greeting.NETWORK_TAG_BYTES]
        route = self._routes.get(GREETING + tag)
        if route is None:
            self.dropped["greeting-of-nobody"] += 1
            return
        route.membership.receive_greeting(data, address, socket, now)
        self._drain(route.membership, now)

    def _receive_quic(self, data: bytes, address: Address, socket: SocketId, now: float) -> None:
        connection_id = destination_connection_id(data) or b""
        route = self._routes.get(CONNECTION_ID + connection_id)
        if route is None:
            route = self._routes.get(TAG + connection_id[:CHECK_TAG_BYTES])
        if route is None or not isinstance(route.owner, Peer):
            self.dropped["quic-of-nobody"] += 1
            return
        route.owner.receive_session_datagram(data, connection_id, address, socket, now)
        route.membership.drain_peer(route.owner, now)
        self._drain(route.membership, now)

    # --- private: draining

    def _act(self, network: NetworkId, now: float, command: Callable[[Membership], None]) -> None:
        membership = self._memberships.get(network)
        if membership is not None:
            command(membership)
            self._drain(membership, now)

    def _act_on(
        self, network: NetworkId, peer: PeerId, now: float, command: Callable[[Peer], None]
    ) -> None:
        membership = self._memberships.get(network)
        found = None if membership is None else membership.peer(peer)
        if membership is not None and found is not None:
            command(found)
            membership.drain_peer(found, now)
            self._drain(membership, now)

    def _drain(self, membership: Membership, now: float) -> None:
        outgoing = self._outgoing
        while (event := membership.next_event()) is not None:
            match event:
                case Routed(key, owner):
                    self._routes[key] = _Route(membership, owner)
                case Unrouted(key):
                    self._routes.pop(key, None)
                case SocketFor(peer, is_alike):
                    membership.use_socket(peer, self._sockets.fresh(is_alike=is_alike), now)
                case events.NatObserved():
                    outgoing.events.append(event)
                    for each in tuple(self._memberships.values()):
                        each.observed_changed(now)
                        if each is not membership:
                            self._drain(each, now)
                case _:
                    outgoing.events.append(event)
        datagrams = membership.datagrams_to_send()
        self._sockets.live.update(d.socket for d in datagrams if d.socket != MAIN_SOCKET)
        outgoing.datagrams += datagrams
        self._drop_sockets()

    def _take_observation(self, now: float) -> None:
        """What STUN servers told of our NAT, for everybody."""
        while (event := self._stunning.next_event()) is not None:
            self._outgoing.events.append(event)
            for membership in tuple(self._memberships.values()):
                membership.observed_changed(now)
                self._drain(membership, now)

    def _drop_sockets(self) -> None:
        if not self._sockets.live:
            return
        needed = frozenset().union(*(m.sockets for m in self._memberships.values()))
        for socket in self._sockets.live - needed:
            self._sockets.live.discard(socket)
            self._stunning.nat.forget_socket(socket)
            self._outgoing.events.append(events.SocketDropped(socket))
