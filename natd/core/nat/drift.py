"""How fast the port counter of a sequential NAT runs: the load that its other users make.

Between two samples of a sequence lie the ports that others took, and our own flows', which are
not known here: so the load is rather too high than too low.

Rules:
- Only pauses are measured: in a burst, or while ports are guessed, our own flows are all there is.
- A NAT that has forgotten everything counts on from elsewhere, which looks like any load: what is
  measured counts only as far as the pause before bears it out.
- The estimate follows what is measured with a time constant, because load comes and goes.
"""

import math

from natd.core.base.types import Allocation
from natd.core.nat.port_allocation import HIGHEST_PORT, LOWEST_PORT, PortRule

LEAST_PAUSE_S = 10.0
"""A guess takes two hundred ports in a second, and is followed by a sample."""

SMOOTHING_S = 60.0
"""Pauses add up to this before the estimate has moved by two thirds of a change."""

_PORTS = HIGHEST_PORT + 1 - LOWEST_PORT


class Drift:
    """Takes each new port of a sequence."""

    def __init__(self) -> None:
        self._last: tuple[int, float] | None = None  # port and instant; None: no port yet
        self._measured: float | None = None  # in the last pause; None: in none
        self._per_s: float | None = None  # None: no two pauses have been measured

    def add(self, port: int, rule: PortRule, now: float) -> None:
        """A new mapping got `port`."""
        last, self._last = self._last, (port, now)
        if last is None or rule.allocation is not Allocation.SEQUENTIAL:
            return
        pause_s = now - last[1]
        if pause_s < LEAST_PAUSE_S:
            return
        steps = (port - last[0]) % _PORTS / rule.stride
        before, self._measured = self._measured, max(0.0, steps - 1.0) / pause_s
        if before is None:
            return
        borne_out = min(before, self._measured)
        if self._per_s is None:
            self._per_s = borne_out
        else:
            self._per_s += (borne_out - self._per_s) * (1.0 - math.exp(-pause_s / SMOOTHING_S))

    @property
    def per_s(self) -> float:
        """Steps of the sequence a second; 0 while nothing has been measured."""
        return self._per_s or 0.0
