"""The values that every core speaks of.

Addresses are text and canonical, so that equal addresses compare equal: an IPv4 address is
never in its IPv6-mapped form here (the one dual-stack socket maps and unmaps at its door).
"""

import base64
import ipaddress
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, NewType

PeerId = NewType("PeerId", bytes)
"""32 bytes: the peer's Ed25519 public key, which is its identity."""

NetworkId = NewType("NetworkId", bytes)
"""16 bytes: BLAKE2s of the network key; all that a server sees of a network."""

SocketId = NewType("SocketId", int)
"""Which of the daemon's UDP sockets; only an escalation ever uses another than the main one.

Up to 65535 it is also the local port that the socket is wanted on; above, any port will do."""

LOWEST_ANY_PORT_SOCKET = 0x10000

MAIN_SOCKET = SocketId(0)

PEER_ID_BYTES = 32
NETWORK_ID_BYTES = 16

TAG_CHARACTERS = 4
"""How much of a peer id's text tells two equal nicks apart (`alice#k3fa`)."""


class DecodeError(ValueError):
    """Bytes that came from outside are not what they claim to be: all that a decoder raises."""


class Address(NamedTuple):
    """Where a datagram comes from or goes to."""

    host: str
    port: int

    @property
    def is_ipv6(self) -> bool:
        return ":" in self.host

    @property
    def ip(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
        return ipaddress.ip_address(self.host)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if self.is_ipv6 else f"{self.host}:{self.port}"


ADDRESSES_OF_A_NAME = 8
"""More are left aside: so many are asked within two seconds."""


@dataclass(frozen=True, slots=True)
class NamedServer:
    """A coordination server whose name has several addresses, of which some may be dead."""

    name: str
    """`HOST:PORT`, as the user wrote it."""
    addresses: tuple[Address, ...]
    """Likeliest first, each once."""


class Datagram(NamedTuple):
    """One UDP payload on its way out."""

    data: bytes
    address: Address
    ttl: int | None = None
    """Hop limit for this packet alone; None leaves the system's default."""
    socket: SocketId = MAIN_SOCKET
    """The shell opens a socket it has not seen yet on first use."""
    is_strict: bool = False
    """Whether `ttl` ends the packet also where it is delivered, if the system can do that: a NAT
    delivers to itself whatever the TTL, and then takes the packet for a flow of its own."""


class CandidateKind(StrEnum):
    """How we came to know an address (RFC 8445, section 4, and our own additions)."""

    LAN = "lan"
    IPV6 = "ipv6"
    MAPPED = "mapped"
    SERVER_REFLEXIVE = "server-reflexive"
    PEER_REFLEXIVE = "peer-reflexive"
    LAST_GOOD = "last-good"
    FORWARDED = "forwarded"
    """Public address + local port: where a port would be that somebody forwarded by hand.  Never
    in a card."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An address that a peer may be reached at."""

    kind: CandidateKind
    address: Address


class Mapping(StrEnum):
    """RFC 4787, section 4.1."""

    UNKNOWN = "unknown"
    OPEN = "open"
    INDEPENDENT = "endpoint-independent"
    ADDRESS_DEPENDENT = "address-dependent"
    DEPENDENT = "address-and-port-dependent"
    """Also where it can't be told from address-dependent."""


TEXT, PRIVATE = "text", "private"
"""The kinds of a chat line: for the network, and for its one recipient alone."""

MESSAGES_KEPT_DAYS = 7
"""How long an undelivered message waits for its peer."""

CANDIDATES_OF_A_KIND_LIMIT = 4
"""In a card, and of what is checked: one kind (a host's twenty bridges) does not crowd out the
others."""

LAST_GOOD_LIMIT = 4
"""Addresses at which a peer was reached, kept for a start without a server."""

ANY_HOST = "0.0.0.0"
"""In place of a host that nobody knows: that of a port which a router has opened for us without
telling its own address."""

LOWEST_PORT = 1024
"""Lower ports belong to services: no NAT maps there, and reflecting into them is an attack."""

SURE = 0.9
"""What a report is at least this confident of is acted upon without trying the opposite, too."""


class Filtering(StrEnum):
    """RFC 4787, section 5."""

    UNKNOWN = "unknown"
    INDEPENDENT = "endpoint-independent"
    ADDRESS_DEPENDENT = "address-dependent"
    """Also where it can't be told from independent."""
    DEPENDENT = "address-and-port-dependent"


class Allocation(StrEnum):
    """How the NAT picks the external port of a new mapping (RFC 4787, section 4.2)."""

    UNKNOWN = "unknown"
    PRESERVING = "preserving"
    SEQUENTIAL = "sequential"
    RANDOM = "random"
    BLOCK = "block"
    """Random inside a small range that belongs to the subscriber (RFC 7422, RFC 7753)."""


@dataclass(frozen=True, slots=True)
class NatReport:
    """What our NAT does, as far as we know; a peer tells it to others in its card."""

    mapping: Mapping = Mapping.UNKNOWN
    filtering: Filtering = Filtering.UNKNOWN
    allocation: Allocation = Allocation.UNKNOWN
    confidence: float = 0.0
    """0 to 1: how sure we are of the mapping class."""
    stride: int = 0
    """Of a sequential allocation: the distance from one port to the next; else 0."""
    low: int = 1024
    high: int = 65535
    """The range that new ports are expected in, both ends included."""
    allocation_confidence: float = 0.0
    """0 to 1: how sure we are of the allocation with its stride or its block.  A block seen by
    four samples is too small in one NAT of eight (0.875), by eight hardly ever (0.99)."""
    keeps_parity: bool = False
    """An even local port gets an even external one, an odd one an odd one."""
    load_per_s: float = 0.0
    """Of a sequential allocation: how many steps others take a second, as far as measured."""
    taken_ports: tuple[int, ...] = ()
    """Of a block: ports that mappings of ours hold, as servers have shown.  No packet of a peer's
    to them and none from them can meet."""
    filtering_confidence: float = 0.0
    """0 to 1: how sure we are of the filtering class."""

    @property
    def lets_any_port_in(self) -> bool:
        """Whether a host that was sent to may answer from any port of its own.  Either class is
        reported only once a packet has come in like that, however confident the report is."""
        return self.filtering in (Filtering.INDEPENDENT, Filtering.ADDRESS_DEPENDENT)

    @property
    def is_hard(self) -> bool:
        """Whether a new destination sees us at a different port than those that told us of it."""
        return self.mapping in (Mapping.ADDRESS_DEPENDENT, Mapping.DEPENDENT)

    @property
    def may_be_hard(self) -> bool:
        """Whether plain checks towards our known address may fail because it is not the one
        that a new destination sees: hard, or easy as far as a single host can tell.

        False where nothing is known: no reason to spend an escalation.
        """
        return self.is_hard or (self.mapping is Mapping.INDEPENDENT and self.confidence < SURE)


class PathKind(StrEnum):
    """The kinds of path, best first, as `natctl peers` names them."""

    LAN = "lan"
    IPV6 = "ipv6"
    DIRECT = "direct"
    MAPPED = "mapped"
    HAIRPIN = "hairpin"


@dataclass(frozen=True, slots=True)
class PathReport:
    """The path in use to one peer, for people and programs."""

    kind: PathKind
    address: Address
    rtt_s: float | None
    """None until the first answer has been timed."""
    technique: str
    """What opened it: `simultaneous-open`, `re-roll`, `last-good`, ..."""
    since: float
    """Instant on the monotonic clock at which it became the path in use."""
    socket: SocketId = MAIN_SOCKET
    """Ours; another than the main one is a helper's, whose guess was right."""


class PeerState(StrEnum):
    ONLINE = "online"
    PUNCHING = "punching"
    OFFLINE = "offline"
    BLOCKED = "blocked"


def peer_id_text(peer: PeerId) -> str:
    """52 characters of lower-case base32 (RFC 4648, section 6), without padding."""
    return base64.b32encode(peer).decode("ascii").rstrip("=").lower()


def peer_tag(peer: PeerId) -> str:
    """The few characters shown behind a nick."""
    return peer_id_text(peer)[:TAG_CHARACTERS]


def canonical_host(host: str) -> str:
    """The one spelling of an IP address; ValueError when it is none.

    An IPv4-mapped IPv6 address becomes the IPv4 address it stands for.  A scope id stays.
    """
    ip = ipaddress.ip_address(host)
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return str(ip)
