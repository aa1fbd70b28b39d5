"""A meeting in memory, before the first real one.

What a process does for the first time takes two to four times as long: code that the processor has
not seen, ciphers that their library looks up at first use.  A newcomer's first message would pay
for that at every step, at both ends.  So two members who don't exist meet once at a start, at a
server that doesn't exist either, and one says a word to the other:

    server ── introduces ──► both ── checks ──► path ── QUIC, a message as 0-RTT ──► heard

Nothing of it leaves the process, and nothing of it stays.
"""

from collections import deque
from random import SystemRandom

from natd.core.base import events
from natd.core.base.timers import earliest
from natd.core.base.types import Address, Datagram, NetworkId, PeerId
from natd.core.coordinator.coordinator import Coordinator
from natd.core.keys.card import Identity
from natd.core.keys.secrets import network_key
from natd.core.network.roster import NetworkSettings
from natd.core.node import Node
from natd.core.peer.peer import Peer

MOST_STEPS = 200
"""A meeting needs about 30; one that does not come about must not keep the daemon."""

_PORT = 8080
_SERVER = "192.0.2.1"
"""TEST-NET-1 (RFC 5737), as are the two who meet; they have no NAT."""
_PLACES = Address("192.0.2.2", 40000), Address("192.0.2.3", 40000)
_UNIX_S = 1_800_000_000.0
"""Any instant will do."""
_STATE = events.ConversationState(outbox=1, first_unacknowledged=1, last_seq=1)
_WORD = events.OutboundMessage("practice", 1, 1, 0, "text", "a word")


def practise() -> bool:
    """Let two meet; whether one heard the other's word."""
    meeting = _Meeting()
    return all(meeting.join(place) for place in _PLACES) and meeting.is_word_heard


class _Meeting:
    def __init__(self) -> None:
        self.is_word_heard = False
        self._now = 1000.0
        self._random = SystemRandom()
        self._server = Coordinator(self._random.randbytes(32), self._random)
        self._server.set_clock(_UNIX_S, self._now)
        self._key = network_key(self._random.randbytes(8).hex(), b"")
        self._nodes: dict[Address, Node] = {}
        self._flying: deque[tuple[Address, Datagram]] = deque()
        self._steps = 0

    def join(self, place: Address) -> bool:
        """One comes.  Go on until a server has answered it, or the word is heard."""
        node = Node(Identity(self._random.randbytes(32)), self._random, card_sequence=1)
        self._nodes[place] = node
        node.set_clock(_UNIX_S, self._now)
        node.set_local_addresses((place.host,), place.port, self._now)
        settings = NetworkSettings("practice", self._key, "nobody")
        network = node.join(settings, (Address(_SERVER, _PORT),), self._now)
        self._drain(place)
        while self._steps < MOST_STEPS and not self.is_word_heard:
            self._steps += 1
            self._step()
            membership = node.membership(network)
            if len(self._nodes) == 1 and membership and membership.servers.is_registered:
                return True
        return self.is_word_heard

    def _step(self) -> None:
        """Carry a datagram; when there is none, the next timer is due."""
        if self._flying:
            self._carry(*self._flying.popleft())
            return
        self._now = earliest(*(node.get_timer() for node in self._nodes.values())) or self._now
        for place, node in self._nodes.items():
            node.handle_timer(self._now)
            self._drain(place)

    def _carry(self, source: Address, datagram: Datagram) -> None:
        target = datagram.address
        if target.host == _SERVER:
            self._server.receive_datagram(datagram.data, source, self._now, target.port - _PORT)
            for answer in self._server.datagrams_to_send():
                self._flying.append((Address(_SERVER, _PORT + int(answer.socket)), answer))
        elif target in self._nodes and datagram.ttl is None:
            self._nodes[target].receive_datagram(datagram.data, source, self._now)
            self._drain(target)

    def _drain(self, place: Address) -> None:
        node = self._nodes[place]
        while (event := node.next_event()) is not None:
            self._take(node, event)
        self._flying += [(place, datagram) for datagram in node.datagrams_to_send()]

    def _take(self, node: Node, event: events.Event) -> None:
        """What a shell does with it, without a disk."""
        match event:
            case events.PeerMet(network=network, peer=peer):
                if (met := self._peer(node, network, peer)) is not None:
                    met.dialogue.open_conversation(_STATE, self._now)
            case events.OutboxWanted(network=network, peer=peer):
                if (met := self._peer(node, network, peer)) is not None:
                    met.dialogue.send_message(_WORD)
            case events.MessageArrived():
                self.is_word_heard = True

    def _peer(self, node: Node, network: NetworkId, peer: PeerId) -> Peer | None:
        membership = node.membership(network)
        return None if membership is None else membership.peer(peer, self._now)
