"""What a registration tells its owner: the events of `Registration.next_event`."""

from dataclasses import dataclass

from natd.core.base.types import Address, PeerId, SocketId
from natd.core.codec import rendezvous_codec
from natd.core.nat.lifetime import MappingEnded, MappingLived
from natd.core.registration.filter_probes import Probed


@dataclass(frozen=True, slots=True)
class Leased:
    """First answer, or first after silence, or our address as the server sees it has moved."""

    observed: Address
    rtt_s: float
    moved: bool


@dataclass(frozen=True, slots=True)
class Introduced:
    peer: PeerId
    sealed_card: bytes
    observed: tuple[Address, ...]
    samples: tuple[Address, ...]
    we_dial: bool
    start_in_s: float
    """The nearer side of the two waits so long before it sends more than its opener."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """Where one of our sockets was seen from by one of the server's ports."""

    server_address: Address
    observed: Address
    socket: SocketId


@dataclass(frozen=True, slots=True)
class Listed:
    """All members that the server's first answer spoke of are introduced, or a second passed."""


@dataclass(frozen=True, slots=True)
class Absent:
    """The peer of a `connect` is not registered at this server."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class Lost:
    reason: str
    """For people: what happened and what to look at."""
    is_silence: bool = False
    """Whether nothing came, rather than a refusal."""


News = Leased | Introduced | Sampled | Probed | Listed | Absent | Lost | MappingLived | MappingEnded


# --- why a server is lost, in words for people: what happened and what to look at ---


def silence_reason(server: Address, *, has_answered: bool) -> str:
    """Nothing comes; `has_answered`: something did, before."""
    return f"{server} has stopped answering" if has_answered else f"no answer from {server}"


def refusal_reason(server: Address, text: str) -> str:
    """It said no; `text` is its own, and may hold anything."""
    return f"{server} refused us: {''.join(char for char in text if char.isprintable())}"


def version_reason(server: Address, theirs: int | None) -> str:
    """`theirs` is None where it did not say."""
    version = "another version" if theirs is None else f"version {theirs}"
    return (
        f"{server} speaks {version} of the rendezvous protocol, we speak version "
        f"{rendezvous_codec.VERSION}: update the older side"
    )
