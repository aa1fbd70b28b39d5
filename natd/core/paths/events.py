"""What becomes of the paths to a peer: their owner passes these events up untouched.

    (none) ─► PathChosen ─► PathSuspected ─► PathRecovered | PathChosen | PathDown
                   └─► PathResumed, after a gap in which something was lost

Rules:
- A gap is told when it is over, and only where a probe has shown it: on a path on which we send
  nothing nothing is missed.
"""

from dataclasses import dataclass

from natd.core.base.types import Address, PathReport, SocketId
from natd.core.base.wishes import SampleWanted


@dataclass(frozen=True, slots=True)
class PathChosen:
    """Another path is in use from here on, or the first."""

    path: PathReport
    is_seamless: bool = False
    """Whether nothing spoke against the one before, so that nothing can have been lost."""


@dataclass(frozen=True, slots=True)
class PathSuspected:
    """The path in use has stopped answering; it may come back, but look for another."""


@dataclass(frozen=True, slots=True)
class PathRecovered:
    """The suspected path answers again."""

    path: PathReport


@dataclass(frozen=True, slots=True)
class PathResumed:
    """The path in use is heard again, after data that was not answered or a probe to which the
    answer is overdue: what was said meanwhile is perhaps lost, so say it again."""

    by_peer: bool
    """Whether the peer's own sending ended it: then it was the peer's NAT that had forgotten us,
    for ours did not get through to it until it sent something."""
    quiet_s: float
    """How long the path had been silent before it was asked."""
    is_certain: bool
    """Whether the answer to that was overdue: something had not been let through."""


@dataclass(frozen=True, slots=True)
class PathDown:
    """No path is left; attempts to find another go on."""


PathsEvent = PathChosen | PathSuspected | PathRecovered | PathResumed | PathDown


# --- of its maintenance, for the owner alone


@dataclass(frozen=True, slots=True)
class PathReplaced:
    """This path is to be used from here on."""

    address: Address
    socket: SocketId
    rtt_s: float


@dataclass(frozen=True, slots=True)
class PathRetired:
    """Nothing more is expected of this path."""

    address: Address
    socket: SocketId


@dataclass(frozen=True, slots=True)
class SuccessorWanted:
    """The mapping of the path in use will end, and no flow that could take its place opens by
    itself: it would have to be guessed."""

    failures: int
    """How many attempts to open one had failed before."""


MaintenanceEvent = PathReplaced | PathRetired | SampleWanted | SuccessorWanted
