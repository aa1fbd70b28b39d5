"""The parts of one running peer daemon, for those rooms that need several of them."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from natd.core.base.types import NetworkId, PeerId
from natd.core.keys.card import Identity
from natd.core.node import Node
from natd.core.peer.diagnosis import PeerDiagnosis
from natd.core.peer.presence import PeerView
from natd.core.registration.servers import ServerReport
from natd.host.directories import Directories
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
    """One of each.  `config` is replaced by a reload, all else stays."""

    config: Config
    directories: Directories
    identity: Identity
    store: Store
    log: EventLog
    mailbox: Mailbox
    book: AddressBook
    node: Node
    sockets: UdpSockets
    names: ServerNames
    port_map: PortMap
    pump: Callable[[], None]
    """Carry out what the node wants; after every input."""
    online: dict[NetworkId, set[PeerId]] = field(default_factory=dict)
    """Peers with a session on a direct path."""
    listed: set[NetworkId] = field(default_factory=set)
    """Networks whose members a server has listed since the start, or that have no server and
    have had the time to hear who is on the LAN."""

    entered: set[NetworkId] = field(default_factory=set)
    """Networks that the node is a member of; at a start others are joined and not yet entered."""

    def servers(self, network: NetworkId) -> tuple[ServerReport, ...]:
        return self.node.servers(network) if network in self.entered else ()

    def diagnose(self, network: NetworkId, peer: PeerId) -> PeerDiagnosis | None:
        """None where the node has not met the peer in this run."""
        return self.node.diagnose(network, peer) if network in self.entered else None

    def peers(self, network: NetworkId) -> tuple[PeerView, ...]:
        return self.node.peers(network, time.monotonic()) if network in self.entered else ()
