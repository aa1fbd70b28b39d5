"""What reach tells the peer it is for, and what it is told of our own side.

    (none) ─► PathUp ─► PathMoved … ─► PathDown ─► PathUp …

Rules:
- `PathDown` and `PathUp` take turns; a path that only changes is `PathMoved`.
- The wishes of an attempt are passed on as they are (`punch_events`).
"""

from dataclasses import dataclass

from natd.core.base.types import Address, PathReport, SocketId
from natd.core.base.wishes import FreshSocketWanted, IntroductionWanted, SampleWanted
from natd.core.punch.events import AttemptFailed


@dataclass(frozen=True, slots=True)
class PathUp:
    """A path stands where there was none, or where the last one was suspected."""

    path: PathReport


@dataclass(frozen=True, slots=True)
class PathMoved:
    """Another path is in use than before, without a gap."""

    path: PathReport
    is_seamless: bool = False
    """Whether nothing of what was said can have been lost."""


@dataclass(frozen=True, slots=True)
class PathResumed:
    """The path in use lives again after a gap in which things were lost: say them again."""


@dataclass(frozen=True, slots=True)
class PathDown:
    """No path is left; attempts go on."""


@dataclass(frozen=True, slots=True)
class FlightDue:
    """Unfinished handshakes are to be sent again: the owner answers with `carry`."""


@dataclass(frozen=True, slots=True)
class Ponged:
    """The answer to `ping`."""

    token: int
    rtt_s: float


@dataclass(frozen=True, slots=True)
class PeerSawUs:
    """In its answer to a check of ours from `socket`, the peer at that place says where it sees
    us: its word alone."""

    socket: SocketId
    place: Address
    observed: Address


ReachEvent = (
    PathUp
    | PathMoved
    | PathResumed
    | PathDown
    | FlightDue
    | Ponged
    | PeerSawUs
    | SampleWanted
    | IntroductionWanted
    | FreshSocketWanted
    | AttemptFailed
)
