"""What the servers of a network tell its membership, besides the events of `base/events.py`.

    registration ─► servers ─► membership       each of these is passed up as it is

`ServerAnswered`, `ServerLost` and `MembersListed` are those of `natd.core.base.events`.
"""

from dataclasses import dataclass

from natd.core.base import events
from natd.core.base.types import Address, PeerId, SocketId
from natd.core.base.wishes import Ask, Word
from natd.core.codec import rendezvous_codec
from natd.core.codec.rendezvous import Error, ErrorCode, Introduce
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

    is_news: bool = True
    """False: only a proof, an ask or a word is new, and no attempt begins."""
    ask: Ask | None = None
    """Of the peer, for a word of ours; `word`: the peer's for our next wave of guesses."""
    word: Word | None = None


@dataclass(frozen=True, slots=True)
class OwnCardSeen:
    """The server refused our card for an older one, and shows the newer, still sealed."""

    server: Address
    sealed_card: bytes
    seen: tuple[Address, ...]
    """Where the server sees its owner."""
    was_accepted: bool
    """Whether this server has accepted a card of this run before."""


@dataclass(frozen=True, slots=True)
class PeerAbsent:
    """The peer that we asked for with CONNECT is not registered at a server."""

    server: Address
    peer: PeerId


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
    | SocketSampled
    | Probed
)


def introduced_by(server: Address, message: Introduce, *, is_news: bool) -> Introduced:
    return Introduced(
        server,
        message.peer,
        message.card,
        tuple(dict.fromkeys((*message.samples, *message.observed))),
        message.you_dial,
        message.start_in_ms / 1000,
        frozenset(address.host for address in message.observed if message.is_proved),
        is_news,
        message.ask,
        message.word,
    )


# --- reasons why a server is lost, for people: what happened and what to do


def silence_reason(server: Address, *, has_answered: bool, tried: tuple[Address, ...]) -> str:
    """No answer comes; `has_answered`: one did before, from `server`.  `tried` are all addresses
    that were asked."""
    if has_answered:
        return f"{server} has stopped answering"
    return f"no answer from {' or '.join(map(str, tried))}"


def refusal_reason(server: Address, error: Error) -> str:
    """The server refused us; the text comes from it and may hold anything."""
    if error.code is ErrorCode.VERSION:
        return version_reason(server, None)
    return f"{server} refused us: {''.join(char for char in error.text if char.isprintable())}"


def version_reason(server: Address, theirs: int | None) -> str:
    """`theirs` is the version of its protocol; None where the server did not say."""
    ours = rendezvous_codec.VERSION
    older = "the older side" if theirs is None else "this side" if theirs > ours else "the server"
    version = "" if theirs is None else f" (protocol {theirs}, and here it is {ours})"
    return f"{server} speaks another version of natd{version}: update {older}"
