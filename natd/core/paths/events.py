"""What the paths of a peer tell their owner.

    (none) ─► PathChosen ─► PathSuspected ─► PathRecovered | PathChosen | PathsLost

Rules:
- A gap is told when it is over, and only where a probe has shown it: whoever says nothing does
  not miss anything.
"""

from dataclasses import dataclass

from natd.core.base.types import PathReport, SocketId


@dataclass(frozen=True, slots=True)
class PathChosen:
    """Another path is in use from here on."""

    path: PathReport
    socket: SocketId
    is_seamless: bool = False
    """Whether nothing spoke against the one before, so that nothing can have been lost."""


@dataclass(frozen=True, slots=True)
class PathSuspected:
    """The path in use has stopped answering; it may come back, but look for another."""


@dataclass(frozen=True, slots=True)
class PathRecovered:
    """The suspected path answers again."""


@dataclass(frozen=True, slots=True)
class GapClosed:
    """The path in use is heard again, after data that was not answered or a probe to which the
    answer is overdue: what was said meanwhile is perhaps lost."""

    by_peer: bool
    """Whether the peer's own sending ended it: then it was the peer's NAT that had forgotten us,
    for ours did not get through to it until it sent something."""
    quiet_s: float
    """How long the path had been silent before it was asked."""
    is_certain: bool
    """Whether the answer to that was overdue: something had not been let through."""


@dataclass(frozen=True, slots=True)
class PathsLost:
    """No path is left."""


@dataclass(frozen=True, slots=True)
class SuccessorWanted:
    """The mapping of the path in use will end, and no flow that could take its place opens by
    itself: it would have to be guessed."""

    failures: int
    """How many attempts to open one had failed before."""


@dataclass(frozen=True, slots=True)
class SuccessorOffered:
    """The peer's will end, and it asks us to guess where another flow of its own is."""


PathsEvent = PathChosen | PathSuspected | PathRecovered | GapClosed | PathsLost
