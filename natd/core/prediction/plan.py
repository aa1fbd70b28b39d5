"""What an escalation sends: single packets, the plan that they make, and what it may cost.

    Plan   a list of packets: socket, port, meant to arrive or not
     └─ wave     all of it, `rounds` times, `pause_s` apart
         └─ wave, `waves_s` after the last packet of the one before, from the same sockets …

Rules:
- No wave has more than `MOST_WAVE_PACKETS`, repetitions included.
- A repeated wave goes from the same sockets to the same addresses: our NAT refreshes the entries
  that it still has and maps the others again.  So there are never more live entries than one wave
  makes, however long the NAT keeps them.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

MOST_WAVES = 11
"""About six minutes.  A peer that is not reached by then is probably not there."""


class Technique(StrEnum):
    """How a path was opened, as shown to people."""

    PREDICTION = "prediction"
    BIRTHDAY = "birthday"
    BLOCKS = "blocks"


@dataclass(frozen=True, slots=True)
class PlannedPacket:
    """One packet of a plan."""

    helper: int
    """0: the attempt's own socket; 1, 2, ...: fresh sockets."""
    port: int | None
    """Destination port at the peer's host; None: the port at which the peer is seen."""
    is_opener: bool = False
    """Low TTL: opens our NAT and is not meant to arrive."""


@dataclass(frozen=True, slots=True)
class Wave:
    """A further wave, from the same sockets."""

    after_s: float
    """From the begin of the wave before it."""
    packets: tuple[PlannedPacket, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """Our half of an escalation."""

    technique: Technique
    packets: tuple[PlannedPacket, ...]
    begins_after_s: float = 0.0
    """Wait that lets the peer's openers leave first."""
    rounds: int = 1
    pause_s: float = 0.0
    """Between two rounds."""
    is_careful: bool = False
    """Whether it begins slowly, because its packets arrive unasked at the peer's NAT."""
    opens_at_once: bool = False
    """Whether what its fresh sockets send, little and first, leaves as fast as a line takes it."""
    is_sure: bool = False
    """Whether one of its packets should be answered: where none is, what leaves our socket probably
    does not come from where the peer expects it."""
    follows: bool = False
    """Whether its openers go to the peer's fresh port, too, if it takes one; once, for anybody may
    name a port."""
    waves_s: float | None = None
    """Wait until another wave may succeed; None: no wave by itself."""
    further: tuple[Wave, ...] = ()
    """The waves after the first, where they are not like it; then `waves_s` says nothing."""

    def wave_after_s(self, begun: int) -> float | None:
        """From the begin of the last of so many waves to the begin of the next; None: that was
        the last."""
        if self.further:
            return self.further[begun - 1].after_s if begun <= len(self.further) else None
        return self.waves_s if begun < MOST_WAVES else None

    def of_wave(self, number: int) -> "Plan":
        """The plan of a wave alone, counted from 0."""
        if number == 0:
            return self
        packets = self.further[number - 1].packets if self.further else self.packets
        return replace(
            self,
            packets=packets,
            rounds=1,
            opens_at_once=self.opens_at_once and not self.further,
        )

    @property
    def helpers(self) -> int:
        """How many fresh sockets it needs."""
        return max((packet.helper for packet in self.packets), default=0)
