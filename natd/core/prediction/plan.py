"""What an escalation sends: single packets, the plan that they make, and what it may cost.

    Plan   a row of shots: socket, port, meant to arrive or not
     └─ wave     all of it, `rounds` times, `pause_s` apart
         └─ wave, `waves_s` after the last packet of the one before, from the same sockets …

Rules:
- No wave has more than `MOST_WAVE_PACKETS`, repetitions included, and no second more than `RATE`.
- A wave that is repeated goes from the same sockets to the same places: what our NAT still
  remembers it only refreshes, what it has forgotten it maps anew.  So however long it remembers,
  no more entries are alive than one wave makes.
"""

from dataclasses import dataclass
from enum import StrEnum


class Technique(StrEnum):
    """What a path is said to have been opened by."""

    PREDICTION = "prediction"
    BIRTHDAY = "birthday"
    BLOCKS = "blocks"


@dataclass(frozen=True, slots=True)
class PlannedPacket:
    """One packet of a plan."""

    helper: int
    """0: the socket of the attempt; 1, 2, ...: fresh sockets."""
    port: int | None
    """At the peer's address; None: the port that the peer is seen at."""
    is_opener: bool = False
    """Low TTL: opens our NAT and is not meant to arrive."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Our half of an escalation."""

    technique: Technique
    packets: tuple[PlannedPacket, ...]
    begins_after_s: float = 0.0
    """What the peer's openers need to be there first."""
    rounds: int = 1
    pause_s: float = 0.0
    """Between two rounds."""
    is_careful: bool = False
    """Whether it begins slowly: these packets arrive at a NAT that did not ask for them."""
    waves_s: float | None = None
    """Wait after which another wave may meet what this one missed; None: never by itself."""

    @property
    def helpers(self) -> int:
        """How many fresh sockets it takes."""
        return max((packet.helper for packet in self.packets), default=0)
