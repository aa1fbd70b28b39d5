"""The events of a peer's reach: those of its children, unchanged, and one of its own.

(none) ─► PathChosen ─► PathChosen | PathRecovered | PathResumed … ─► PathDown ─► PathChosen …
"""

from dataclasses import dataclass

from natd.core.base.wishes import FreshSocketWanted, IntroductionWanted, SampleWanted
from natd.core.checks.checks import CheckAnswer
from natd.core.paths.events import (
    PathChosen,
    PathDown,
    PathMeasured,
    PathRecovered,
    PathResumed,
)
from natd.core.punch.events import AttemptFailed


@dataclass(frozen=True, slots=True)
class FlightDue:
    """Unfinished handshakes are to be sent again: the owner answers with `carry`."""


ReachEvent = (
    PathChosen
    | PathRecovered
    | PathResumed
    | PathDown
    | PathMeasured
    | FlightDue
    | CheckAnswer
    | SampleWanted
    | IntroductionWanted
    | FreshSocketWanted
    | AttemptFailed
)
