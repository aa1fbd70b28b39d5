"""The parts of one running peer daemon, for modules that need several of them."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from natd.core.base.types import NetworkId, PeerId
from natd.core.keys.card import Identity
from natd.core.node import Node
from natd.core.peer.diagnosis import PeerDiagnosis
from natd.core.peer.peer import Peer
from natd.core.peer.presence import PeerView
from natd.core.registration.servers import ServerReport
from natd.host.descriptors import Shares
from natd.host.directories import Directories
from natd.net.lan import Lan
from natd.net.portmap import PortMap
from natd.net.server_names import ServerNames
from natd.net.udp import UdpSockets
from natd.settings.config import Config
from natd.storage.address_book import AddressBook
from natd.storage.event_log import EventLog
from natd.storage.mailbox import Mailbox
from natd.storage.store import Store


@dataclass(slots=True)
class Parts:
    """One of each.  A reload replaces `config`; the others stay."""

    config: Config
    directories: Directories
    identity: Identity
    store: Store
    log: EventLog
    mailbox: Mailbox
    book: AddressBook
    node: Node
    sockets: UdpSockets
    lan: Lan
    names: ServerNames
    port_map: PortMap
    pump: Callable[[], None]
    """Carry out what the node wants; call it after every input."""
    look_around: Callable[[], None]
    """See if there is a way to our servers; call it when these are others."""
    shares: Shares
    crowd: Callable[[], dict[str, str] | None]
    """The problem of the control socket, if there is one."""
    online: dict[NetworkId, set[PeerId]] = field(default_factory=dict)
    """Peers with a session on a direct path."""
    listed: set[NetworkId] = field(default_factory=set)
    """Networks whose members are known: a server has listed them since the start, or there is no
    server and peers on the LAN have had time to answer."""

    copies: dict[NetworkId, tuple[float, str]] = field(default_factory=dict)
    """When another daemon with our identity was last noticed, and in words what was."""
    older: dict[NetworkId, tuple[float, str]] = field(default_factory=dict)
    """When a server was found to know a newer card of ours than our disk, and that in words."""
    restored: dict[tuple[NetworkId, PeerId], float] = field(default_factory=dict)
    """Peers who know more of us than our own disk, and the instant when that was noticed."""
    clock_jump: tuple[float, str] | None = None
    """When this machine's clock was found to have been set by much, and that in words."""
    damage: str | None = None
    """What is wrong with the database, found while it is in use."""

    def servers(self, network: NetworkId) -> tuple[ServerReport, ...]:
        """Empty while the node is no member yet, as in the methods below."""
        membership = self.node.membership(network)
        return () if membership is None else membership.servers.reports()

    def views(self, network: NetworkId) -> tuple[PeerView, ...]:
        """How we stand with each peer."""
        membership = self.node.membership(network)
        return () if membership is None else membership.roster.views(time.monotonic())

    def peer(self, network: NetworkId, peer: PeerId, now: float) -> Peer | None:
        """To be spoken to at `now`; None where the node has not met the peer in this run."""
        membership = self.node.membership(network)
        return None if membership is None else membership.peer(peer, now)

    def diagnose(self, network: NetworkId, peer: PeerId) -> PeerDiagnosis | None:
        """None where the node has not met the peer in this run."""
        now = time.monotonic()
        found = self.peer(network, peer, now)
        return None if found is None else found.diagnose(now)

    def block(self, network: NetworkId, peer: PeerId, now: float, *, blocked: bool = True) -> None:
        """Have nothing to do with a peer, or have to do with it again."""
        if (membership := self.node.membership(network)) is not None:
            membership.block(peer, blocked, now)
