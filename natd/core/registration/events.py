"""What the servers of a network tell its membership, besides the events of `base/events.py`.

    registration ─► servers ─► membership       each of these is passed up as it is

`ServerAnswered`, `ServerLost` and `MembersListed` are those of `natd.core.base.events`.
"""

from dataclasses import dataclass

from natd.core.base import events
from natd.core.base.types import Address, PeerId, SocketId
from natd.core.base.wishes import Ask, Word
from natd.core.codec.rendezvous import Introduce
from natd.core.registration.filter_probes import Probed


@dataclass(frozen=True, slots=True)
class Introduced:
    """We were introduced to a member; its card is still sealed."""

    source: Address | PeerId
    """The server or the mutual peer that introduces it."""
    peer: PeerId
    sealed_card: bytes
    addresses: tuple[Address, ...]
    """Where the peer is, the freshest first."""
    we_dial: bool
    start_in_s: float
    """The side nearer to the server waits so long before it sends more than openers."""
    proved: frozenset[str] = frozenset()
    """Hosts from which a token of the peer's came back to the server: it receives there."""
    unproved: frozenset[str] = frozenset()
    """Hosts where it only says to be, as far as this server knows."""
    is_news: bool = True
    """False: only a proof, an ask or a word is new, and no attempt begins."""
    ask: Ask | None = None
    """Of the peer, for a word of ours; `word`: the peer's for our next wave of guesses."""
    word: Word | None = None


@dataclass(frozen=True, slots=True)
class OwnCardSeen:
    """A server refused our card for an older one, or a peer knew us by a newer one: this, still
    sealed."""

    source: Address | PeerId
    sealed_card: bytes
    seen: tuple[Address, ...]
    """Where a server sees its owner."""
    was_accepted: bool
    """Whether this server has accepted a card of this run before; a peer can't tell."""


@dataclass(frozen=True, slots=True)
class PeerAbsent:
    """The peer that we asked for with CONNECT is not registered at a server."""

    server: Address
    peer: PeerId


@dataclass(frozen=True, slots=True)
class ConnectUnanswered:
    """A server that we asked for this peer has been silent since, for longer than a round trip."""

    peer: PeerId
    asked_at: float


@dataclass(frozen=True, slots=True)
class OurAddressMoved:
    """A server sees us at another address than before."""


@dataclass(frozen=True, slots=True)
class SocketSampled:
    """A server port to which `socket` had no flow saw it as `observed`."""

    socket: SocketId
    observed: Address
    server_address: Address
    """The port that was asked."""
    poisoned: bool = False
    """Whether, by our NAT model, an early inbound packet has poisoned the socket's mapping."""


RegistrationEvent = (
    events.ServerAnswered
    | events.ServerLost
    | events.MembersListed
    | OurAddressMoved
    | Introduced
    | OwnCardSeen
    | PeerAbsent
    | ConnectUnanswered
    | SocketSampled
    | Probed
)


def introduced_by(server: Address, message: Introduce, *, is_news: bool) -> Introduced:
    hosts = frozenset(address.host for address in message.observed)
    return Introduced(
        server,
        message.peer,
        message.card,
        tuple(dict.fromkeys((*message.samples, *message.observed))),
        message.you_dial,
        message.start_in_ms / 1000,
        hosts if message.is_proved else frozenset(),
        frozenset() if message.is_proved else hosts,
        is_news,
        message.ask,
        message.word,
    )
