"""What happens to the paths of a peer: the owner passes these events up unchanged.

    (none) ─► PathChosen ─► PathSuspected ─► PathRecovered | PathChosen | PathDown
                   └─► PathResumed, after a gap in which something was lost

Rules:
- A gap is reported when it is over, and only if a probe has shown it: on a path on which we send
  nothing, nothing is lost.
"""

from dataclasses import dataclass

from natd.core.base.types import Address, PathReport, SocketId
from natd.core.base.wishes import SampleWanted

RENEWED = "renewed"
"""The technique of a path that replaced one whose mapping was about to end."""


@dataclass(frozen=True, slots=True)
class PathChosen:
    """The first or another path is in use from now on."""

    path: PathReport
    is_seamless: bool = False
    """Whether the previous path was not in doubt, so that nothing can have been lost."""


@dataclass(frozen=True, slots=True)
class PathSuspected:
    """The path in use has stopped answering: look for another, although it may come back."""


@dataclass(frozen=True, slots=True)
class PathRecovered:
    """The suspected path answers again."""

    path: PathReport


@dataclass(frozen=True, slots=True)
class PathResumed:
    """The path in use is heard again after unanswered data or an overdue probe: data sent meanwhile
    may be lost, so send it again."""

    by_peer: bool
    """Whether the peer's own packet ended the gap: then the peer's NAT had forgotten us, because
    ours did not get through until the peer sent something."""
    quiet_s: float
    """How long the path had been silent before it was probed."""
    is_certain: bool
    """Whether the answer was overdue: a packet had not been let through."""


@dataclass(frozen=True, slots=True)
class PathDown:
    """No path is left; the search for another goes on."""


@dataclass(frozen=True, slots=True)
class PathMeasured:
    """The path in use carries checks; whether it carries datagrams of the size that a session
    sends was not known, or has changed."""

    address: Address
    socket: SocketId
    is_narrow: bool
    is_certain: bool = True
    """Whether a narrow one was found so twice in a row."""


PathsEvent = PathChosen | PathSuspected | PathRecovered | PathResumed | PathDown | PathMeasured


# --- of its maintenance, for the owner alone


@dataclass(frozen=True, slots=True)
class PathReplaced:
    """Use this path from now on, in place of the one in use."""

    address: Address
    socket: SocketId
    rtt_s: float


@dataclass(frozen=True, slots=True)
class PathRetired:
    """This path has been replaced and is no longer needed."""

    address: Address
    socket: SocketId


@dataclass(frozen=True, slots=True)
class SuccessorWanted:
    """The mapping of the path in use will end, and no replacement opens by itself: it has to be
    guessed."""

    failures: int
    """How many attempts to open one had failed before."""


MaintenanceEvent = PathReplaced | PathRetired | SampleWanted | SuccessorWanted
