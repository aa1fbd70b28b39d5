"""A coordination server and members of one network on the virtual internet.

`Member` is the shell that a node needs, with a dictionary for a disk: what is written there
survives `restart`, and each commit takes `COMMIT_S` of virtual time.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from natd.core.base import events
from natd.core.base.local_ports import LINK_PORT
from natd.core.base.types import Address, NamedServer, NatReport, NetworkId, PeerId, PeerState
from natd.core.base.verdict import VerdictCode
from natd.core.checks.strangers import Guessed
from natd.core.coordinator.coordinator import Coordinator
from natd.core.keys.card import Identity
from natd.core.keys.secrets import network_id, network_key
from natd.core.network.membership import Membership
from natd.core.network.multicast import LINK_SOCKET
from natd.core.network.roster import NetworkSettings
from natd.core.network.shared import PEERS_LIMIT
from natd.core.network.standing import Acquaintance, Standing, best_first
from natd.core.node import Node
from natd.core.peer.presence import PeerView
from tests.internet.fabric import Gateway, Host, Weather
from tests.internet.nat import ForwardingNat
from tests.internet.net import Attached, Internet, unix_s

COMMIT_S = 0.003
SERVER_PORT = 8080
KEY = network_key("demo", b"")


@dataclass
class Disk:
    """What a member's store holds."""

    epoch: int
    next_seq: dict[PeerId, int] = field(default_factory=dict)
    outbox: dict[PeerId, list[events.OutboundMessage]] = field(default_factory=dict)
    inbound: dict[PeerId, tuple[int, int]] = field(default_factory=dict)
    received: list[tuple[PeerId, str]] = field(default_factory=list)
    received_ids: set[tuple[PeerId, str]] = field(default_factory=set)
    unaddressed: list[str] = field(default_factory=list)
    cards: dict[PeerId, bytes] = field(default_factory=dict)
    last_good: dict[PeerId, dict[Address, float]] = field(default_factory=dict)
    """Where a path led, and when it was last in use."""
    met: dict[PeerId, tuple[Acquaintance, float]] = field(default_factory=dict)
    """How long each peer that was reached was known at that instant."""
    guessed: tuple[list[Guessed], float] = ([], 0.0)
    """At which hosts ports were guessed, and when that was kept."""
    card_sequence: int = 1


class Member:
    """One daemon, without a daemon."""

    def __init__(
        self,
        village: "Village",
        name: str,
        behind: Gateway | None,
        key: bytes,
        port: int,
        ipv6: bool = False,
    ) -> None:
        self.village = village
        self.internet = village.internet
        self.name = name
        self.key = key
        self.port = port
        self.host: Host = self.internet.add_host(behind=behind, name=name, ipv6=ipv6)
        seed = Random(f"{village.seed} {name}").randbytes(32)
        self.identity = Identity(seed)
        self.disk = Disk(epoch=Random(seed).getrandbits(63))
        self.heard: list[tuple[float, PeerId, str]] = []
        self.connected: dict[PeerId, events.PeerConnected] = {}
        self.verdicts: dict[PeerId, str] = {}
        self.verdict_codes: dict[PeerId, VerdictCode] = {}
        self.own_cards: list[tuple[float, bool]] = []
        self.went_back: list[tuple[PeerId, int]] = []
        self.missing: list[tuple[PeerId, int]] = []
        self.turned_away: list[events.NetworkFull] = []
        self.listed = False
        self.runs = 0
        self.places = PEERS_LIMIT
        """As many as its user allows in a network."""
        self.hears_link = False
        """Set to True to have members on the same LAN found there."""
        self.clock_ahead_s = 0.0
        """Set to have its wall clock wrong."""
        self.network: NetworkId = network_id(key)

    @property
    def peer(self) -> PeerId:
        return self.identity.peer

    @property
    def attached(self) -> Attached:
        return self.internet._attached[self.host]

    @property
    def membership(self) -> Membership:
        """Of our node, for one use."""
        membership = self.node.membership(self.network)
        assert membership is not None
        return membership

    @property
    def nat(self) -> NatReport:
        """What our node says of our NAT."""
        return self.node.nat.report()

    def views(self) -> tuple[PeerView, ...]:
        """How we stand with each peer."""
        return self.membership.roster.views(self.internet.now)

    def start(self, servers: Sequence[Address | NamedServer] = ()) -> None:
        """Join at once, as a daemon with a network in its state directory does; at these servers,
        or at those of the village."""
        self.runs += 1
        self.listed = False
        self.connected.clear()
        self.disk.card_sequence += 1000
        random = Random(f"{self.village.seed} {self.name} {self.runs}")
        self.node = Node(self.identity, random, card_sequence=self.disk.card_sequence)
        self.internet.attach(self.host, self.node, ports=[self.port], on_event=self._on_event)
        now = self.internet.now
        guessed, guessed_at = self.disk.guessed
        self.node.shared.budget.turns.strangers.recall(
            [each.after(now - guessed_at) for each in guessed], now
        )
        self.node.set_clock(unix_s(now) + self.clock_ahead_s, now)
        self.node.shared.limits.peers_per_network = self.places
        self.node.set_local_addresses(self.host.addresses, self.port, now)
        if self.hears_link:
            self.internet._open(self.attached, LINK_SOCKET, LINK_PORT)
            self.node.use_link(True, now)
        settings = NetworkSettings("demo", self.key, self.name)
        self.node.join(settings, tuple(servers or self.village.servers), now)
        known = {peer: self._known(peer, now) for peer in self.disk.cards}
        standings = {
            peer: Standing() if met is None else Standing.of(met, now)
            for peer, met in known.items()
        }
        for peer in best_first(standings, now):
            last_good = self.disk.last_good.get(peer, {})
            answered = {place: now - at for place, at in last_good.items()}
            self.membership.remember_peer(self.disk.cards[peer], answered, now, known[peer])
            self._open(peer, now)

    def stop(self) -> None:
        self.node.stop(self.internet.now)
        self.internet.run(0.0)
        self.internet.detach(self.host)

    def keep_guesses(self) -> None:
        """What a daemon does after every input."""
        strangers = self.node.shared.budget.turns.strangers
        if (guessed := strangers.take_news(self.internet.now)) is not None:
            self.disk.guessed = (guessed, self.internet.now)

    def kill(self) -> None:
        self.keep_guesses()
        self.internet.detach(self.host)

    def send(self, text: str, to: "Member | None" = None) -> None:
        """Accept a message: to one, or to all known (and to be listed)."""
        if to is None and not self.listed:
            self.disk.unaddressed.append(text)
        for peer in [to.peer] if to is not None else list(self.disk.cards):
            self._address(peer, text)

    def map_port(self, told: str | None = None) -> None:
        """The router maps our port, and has told us so, at this address if not its own."""
        gateway = self.host.behind
        assert gateway is not None
        external = Address(gateway.addresses[0], 50000 + self.port % 1000)
        inside = Address(self.host.address, self.port)
        gateway.nat = ForwardingNat(gateway.nat, inside, external)
        said = external if told is None else external._replace(host=told)
        self.node.set_mapped((said,), self.internet.now)

    def texts(self) -> list[str]:
        return [text for _, text in self.disk.received]

    def is_online(self, other: "Member") -> bool:
        return any(v.peer == other.peer and v.state is PeerState.ONLINE for v in self.views())

    def _known(self, peer: PeerId, now: float) -> Acquaintance | None:
        met = self.disk.met.get(peer)
        return None if met is None else met[0].after(now - met[1])

    def _note_met(self, peer: PeerId, now: float) -> None:
        membership = self.node.membership(self.network)
        known = None if membership is None else membership.roster.acquaintance(peer, now)
        if known is not None:
            self.disk.met[peer] = (known, now)

    def _address(self, peer: PeerId, text: str) -> None:
        seq = self.disk.next_seq.get(peer, 1)
        self.disk.next_seq[peer] = seq + 1
        message = events.OutboundMessage(
            f"m{len(text)}-{seq}-{self.runs}", self.disk.epoch, seq, 1_800_000_000_000, "text", text
        )
        self.disk.outbox.setdefault(peer, []).append(message)
        run = self.runs

        def committed() -> None:
            if self.runs == run and self.host in self.internet._attached:
                self._give(peer, [message], self.internet.now)

        self.internet.at(self.internet.now + COMMIT_S, committed)

    def _open(self, peer: PeerId, now: float) -> None:
        waiting = self.disk.outbox.get(peer, [])
        outbox, seq = self.disk.inbound.get(peer, (None, 0))
        first = waiting[0].seq if waiting else self.disk.next_seq.get(peer, 1)
        state = events.ConversationState(
            self.disk.epoch, first, outbox, seq, last_seq=self.disk.next_seq.get(peer, 1) - 1
        )
        if (found := self.membership.peer(peer, now)) is not None:
            found.dialogue.open_conversation(state, now)
        self._give(peer, waiting, now)

    def _give(self, peer: PeerId, messages: list[events.OutboundMessage], now: float) -> None:
        if (found := self.membership.peer(peer, now)) is not None:
            for message in messages:
                found.dialogue.send_message(message)

    def _on_event(self, event: events.Event, now: float) -> None:
        match event:
            case events.PeerMet(_, peer, _, sealed, first_contact):
                self.disk.cards[peer] = sealed
                if first_contact:
                    self._open(peer, now)
                    for text in self.disk.unaddressed:
                        self._address(peer, text)
                    if self.listed:
                        self.disk.unaddressed.clear()
            case events.MembersListed():
                self.listed = True
                if self.disk.cards:
                    self.disk.unaddressed.clear()
            case events.MessageArrived():
                self._commit(event, now)
            case events.MessagesAcknowledged(_, peer, seq):
                self.disk.outbox[peer] = [m for m in self.disk.outbox.get(peer, []) if m.seq > seq]
            case events.NewerCardOfOurs(is_of_a_copy=is_of_a_copy):
                self.own_cards.append((now, is_of_a_copy))
            case events.OutboxWentBack(_, peer, messages):
                self.went_back.append((peer, messages))
            case events.MessagesMissing(_, peer, outbox, seq, messages):
                self.disk.inbound[peer] = (outbox, seq)
                self.missing.append((peer, messages))
            case events.OutboxWanted(_, peer, after, count):
                waiting = [m for m in self.disk.outbox.get(peer, []) if m.seq > after]
                self._give(peer, waiting[:count], now)
            case events.PeerConnected(_, peer, _, path):
                self.connected[peer] = event
                self.disk.last_good[peer] = {path.address: now}
                self._note_met(peer, now)
            case events.PeerDisconnected(_, peer):
                self._note_met(peer, now)
            case events.PeerForgotten(_, peer) if peer not in self.disk.met:
                self.disk.cards.pop(peer, None)
            case events.NetworkFull():
                self.turned_away.append(event)
            case events.PathChanged(_, peer, path):
                self.disk.last_good[peer] = {path.address: now}
            case events.VerdictReached(_, peer, verdict, code):
                self.verdicts[peer] = verdict
                self.verdict_codes[peer] = code
            case events.SocketDropped(socket):
                self.internet.close_socket(self.host, socket)

    def _commit(self, event: events.MessageArrived, now: float) -> None:
        run = self.runs

        def committed() -> None:
            if self.runs != run or self.host not in self.internet._attached:
                return
            self.disk.inbound[event.peer] = (event.outbox, event.seq)
            if (event.peer, event.message_id) not in self.disk.received_ids:
                self.disk.received_ids.add((event.peer, event.message_id))
                self.disk.received.append((event.peer, event.body))
                self.heard.append((self.internet.now, event.peer, event.body))
            now = self.internet.now
            if (found := self.membership.peer(event.peer, now)) is not None:
                found.dialogue.message_committed(event.epoch, event.seq)

        self.internet.at(now + COMMIT_S, committed)


class Village:
    """See the top of this file."""

    def __init__(
        self, seed: int = 0, weather: Weather | None = None, internet: Internet | None = None
    ) -> None:
        self.seed = seed
        self.internet = internet or Internet(seed, weather)
        self.server_host = self.internet.add_host(name="server")
        self.servers = [Address(self.server_host.address, SERVER_PORT)]
        self.start_server()

    def start_server(self) -> None:
        """A new one, that remembers nothing."""
        self.coordinator = self._start_server(self.server_host)

    def kill_server(self, host: Host | None = None) -> None:
        self.internet.detach(host or self.server_host)

    def add_server(self, *, delay_s: float | None = None) -> Host:
        """One more, that knows nothing of the others; `restart_server` starts it anew."""
        host = self.internet.add_host(name=f"server{len(self.servers) + 1}", delay_s=delay_s)
        self.servers.append(Address(host.address, SERVER_PORT))
        self._start_server(host)
        return host

    def restart_server(self, host: Host) -> None:
        self._start_server(host)

    def _start_server(self, host: Host) -> Coordinator:
        key = Random(f"{self.seed} {self.internet.now}").randbytes(32)
        coordinator = Coordinator(key, Random(self.seed))
        ports = [SERVER_PORT + offset for offset in range(4)]
        self.internet.attach(host, coordinator, ports=ports)
        return coordinator

    def member(
        self,
        name: str,
        behind: Gateway | None = None,
        key: bytes = KEY,
        port: int = 40000,
        *,
        ipv6: bool = False,
    ) -> Member:
        return Member(self, name, behind, key, port, ipv6)
