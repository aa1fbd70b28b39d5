"""Many members of one network, or two of many networks: what they send to meet, and while idle.

    crowd = Crowd(30)
    crowd.join(every_s=0.01)
    assert crowd.meet(limit_s=30.0)
    crowd.sent.clear()
    crowd.run(60.0)
    assert crowd.between_peers() <= 8

Members say nothing.  With a `Machine` all of them compute on its few cores, as real daemons in one
benchmark do: then datagrams and timers wait for their turn.
"""

import heapq
from collections import Counter, deque
from dataclasses import dataclass, field
from random import Random

from natd.core.base import events
from natd.core.base.types import MAIN_SOCKET, Address, Datagram, NetworkId, PeerId, SocketId
from natd.core.keys.card import Identity
from natd.core.keys.secrets import network_key
from natd.core.network.roster import NetworkSettings
from natd.core.node import Node
from natd.core.session.quic_header import destination_connection_id, may_open_session
from tests.core.world.village import Village
from tests.internet.fabric import Gateway
from tests.internet.nat import NatPolicy

PORT = 40000

CHECK, ANSWER = b"\x00\x01", b"\x01\x01"
"""The types of a STUN Binding request and of its success response."""

HANDSHAKE_BYTES = 1_000
"""Datagrams from this size on are taken for parts of a handshake."""


@dataclass
class Machine:
    """Cores that many processes share: each input waits until one is free, in order."""

    cores: int = 2
    small_s: float = 0.0003
    large_s: float = 0.0010
    """CPU time of an input: a datagram of the size of a handshake's, and any other."""
    used_s: float = 0.0
    _free_at: list[float] = field(default_factory=list)

    def done_at(self, now: float, size_bytes: int) -> float:
        """When an input that comes now will have been handled."""
        cost_s = self.large_s if size_bytes >= HANDSHAKE_BYTES else self.small_s
        self.used_s += cost_s
        free_at = heapq.heappop(self._free_at) if len(self._free_at) == self.cores else now
        done_at = max(now, free_at) + cost_s
        heapq.heappush(self._free_at, done_at)
        return done_at


class OnMachine:
    """A node whose inputs wait for the machine.  Follows the contract of a core."""

    def __init__(self, node: Node, machine: Machine) -> None:
        self.node = node
        self._machine = machine
        self._inputs: deque[tuple[float, bytes, Address, SocketId]] = deque()
        self._timer_at: float | None = None  # when the timer's turn comes; None: it waits for none

    def receive_datagram(
        self, data: bytes, address: Address, now: float, socket: SocketId = MAIN_SOCKET
    ) -> None:
        self._inputs.append((self._machine.done_at(now, len(data)), data, address, socket))

    def handle_timer(self, now: float) -> None:
        while self._inputs and self._inputs[0][0] <= now:
            _, data, address, socket = self._inputs.popleft()
            self.node.receive_datagram(data, address, now, socket)
        if self._timer_at is not None and self._timer_at <= now:
            self._timer_at = None
            self.node.handle_timer(now)
        due_at = self.node.get_timer()
        if self._timer_at is None and due_at is not None and due_at <= now:
            self._timer_at = self._machine.done_at(now, 0)

    def datagrams_to_send(self) -> list[Datagram]:
        return self.node.datagrams_to_send()

    def next_event(self) -> events.Event | None:
        return self.node.next_event()

    def get_timer(self) -> float | None:
        waited = self._timer_at if self._timer_at is not None else self.node.get_timer()
        due = [self._inputs[0][0]] if self._inputs else []
        return min([*due, *([] if waited is None else [waited])], default=None)


class Resident:
    """One daemon that does nothing but meet others."""

    def __init__(self, crowd: "Crowd", number: int, behind: Gateway | None, ipv6: bool) -> None:
        self.name = f"m{number}"
        self.crowd = crowd
        self.host = crowd.internet.add_host(behind=behind, name=self.name, ipv6=ipv6)
        self.identity = Identity(Random(f"{crowd.village.seed} {self.name}").randbytes(32))
        self.online: set[tuple[NetworkId, PeerId]] = set()
        self.met = 0
        """How often a peer came online."""
        self.verdicts: list[str] = []

    def join(self) -> None:
        internet, now = self.crowd.internet, self.crowd.internet.now
        self.node = Node(
            self.identity, Random(f"{self.crowd.village.seed} {self.name} node"), card_sequence=1
        )
        machine = self.crowd.machine
        core = self.node if machine is None else OnMachine(self.node, machine)
        internet.attach(self.host, core, ports=[PORT], on_event=self._on_event)
        self.node.set_local_addresses(self.host.addresses, PORT, now)
        for number in range(self.crowd.networks):
            settings = NetworkSettings(f"n{number}", network_key(f"n{number}", b""), self.name)
            self.node.join(settings, tuple(self.crowd.village.servers), now)

    def _on_event(self, event: events.Event, now: float) -> None:
        match event:
            case events.PeerMet(network, peer, first_contact=True):
                membership = self.node.membership(network)
                found = None if membership is None else membership.peer(peer, now)
                if found is not None:
                    state = events.ConversationState(1, 1, None, 0, last_seq=0)
                    found.dialogue.open_conversation(state, now)
            case events.PeerConnected(network, peer):
                self.online.add((network, peer))
                self.met += 1
            case events.PeerDisconnected(network, peer):
                self.online.discard((network, peer))
            case events.VerdictReached(verdict=verdict):
                self.verdicts.append(verdict)
            case events.SocketDropped(socket):
                self.crowd.internet.close_socket(self.host, socket)


class Crowd:
    """See the top of this file."""

    def __init__(
        self,
        members: int,
        nat: NatPolicy | None = None,
        *,
        networks: int = 1,
        ipv6: bool = False,
        machine: Machine | None = None,
        seed: int = 1,
    ) -> None:
        """`nat`: each member is behind one of its own."""
        self.village = Village(seed)
        self.internet = self.village.internet
        self.networks = networks
        self.machine = machine
        self.residents = [
            Resident(self, number, None if nat is None else self.internet.add_nat(nat), ipv6)
            for number in range(members)
        ]
        self.sent = self.internet.trace = []

    # --- what happens

    def join(self, every_s: float = 0.0) -> None:
        """All come, one after the other."""
        for resident in self.residents:
            resident.join()
            self.internet.run(every_s)

    def meet(self, limit_s: float) -> bool:
        """Until each is connected with each; False when that took longer."""
        return self.internet.run_until(self.is_whole, limit_s)

    def run(self, duration_s: float) -> None:
        self.internet.run(duration_s)

    # --- how it stands

    @property
    def pairs(self) -> int:
        members = len(self.residents)
        return members * (members - 1) // 2 * self.networks

    def is_whole(self) -> bool:
        wanted = (len(self.residents) - 1) * self.networks
        return all(len(resident.online) == wanted for resident in self.residents)

    def handshakes(self) -> int:
        """First flights that differ, among all that were sent: each began a session, or tried."""
        return len(
            {
                destination_connection_id(sent.datagram.data)
                for sent in self.sent
                if may_open_session(sent.datagram.data)
            }
        )

    def kinds(self) -> Counter[str]:
        """How many datagrams of each kind were sent."""
        server = self.village.server_host
        found: Counter[str] = Counter()
        for sent in self.sent:
            data, address = sent.datagram.data, sent.datagram.address
            if sent.host is server or address.host == server.address:
                found["server"] += 1
            elif data[0] & 0x40:
                found["session"] += 1
            else:
                found[{CHECK: "check", ANSWER: "answer"}.get(data[:2], "greeting")] += 1
        return found

    def between_peers(self) -> float:
        """Datagrams for each pair of members in each network, both ways."""
        kinds = self.kinds()
        return (kinds.total() - kinds["server"]) / self.pairs
