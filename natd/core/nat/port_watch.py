"""What the allocation of our NAT is, and when to ask for more samples of it.

    new port ─► history ─► rule ─► report
                  │          └───► survey wanted: hard, and more samples would tell more
                  └─ misfit: a port that the rule does not give out

Rules:
- A survey is made once; again after a change of network, a change of class and a misfit.
- A misfit tells of another rule: more samples are asked for at once, and when they are there only
  they are believed.  The ports of one burst are no misfits of each other: the rule comes of them.
"""

import math

from natd.core.base.types import SURE, Address, Allocation, NatReport, SocketId
from natd.core.nat.allocation_survey import is_survey_wanted, survey_sockets, survey_wait_s
from natd.core.nat.port_allocation import HIGHEST_PORT, LOWEST_PORT, PortRule
from natd.core.nat.port_history import PortHistory

SURVEY_PAUSE_S = 10.0
"""After it, a port is not of the burst that the one before it came of."""

ENOUGH_PORTS = 4
"""New ports that tell a rule by themselves."""

LEAST_PAUSE_S = 10.0
"""A guess takes two hundred ports in a second, and is followed by a sample."""

SMOOTHING_S = 60.0
"""Pauses add up to this before the estimate has moved by two thirds of a change."""

_PORTS = HIGHEST_PORT + 1 - LOWEST_PORT


class PortWatch:
    """Takes each new external port that a server saw."""

    def __init__(self) -> None:
        self._surveys = 0
        self.clear()

    def clear(self) -> None:
        """Another network: nothing is known."""
        self._history = PortHistory()
        self._drift = Drift()
        self._surveyed = False
        self._misfit_at: float | None = None  # None: all ports fit the rule
        self.survey_at: float | None = None
        """When to call `take_survey`; None: nothing is to be asked."""

    def add(
        self,
        socket: SocketId,
        local_port: int | None,
        destination: Address,
        observed: Address,
        now: float,
    ) -> None:
        """A new mapping of a socket towards a destination; `local_port` is None if unknown."""
        if not observed.is_ipv6:
            self._look_for_misfit(observed.port, now)
        self._history.add(socket, local_port, destination, observed, now)
        if not observed.is_ipv6:
            self._drift.add(observed.port, self.rule(is_ipv6=False), now)

    def forget_before(self, instant: float) -> None:
        """The class has changed: what came before that instant is of another NAT."""
        self._history.forget_before(instant)
        self._drift = Drift()
        self._surveyed = False

    def rule(self, *, is_ipv6: bool) -> PortRule:
        return self._history.rule(is_ipv6=is_ipv6)

    @property
    def load_per_s(self) -> float:
        """What others take of the ports, as far as it was measured; 0 unless in a sequence."""
        is_sequence = self.rule(is_ipv6=False).allocation is Allocation.SEQUENTIAL
        return self._drift.per_s if is_sequence else 0.0

    @property
    def taken(self) -> tuple[int, ...]:
        """Of a block: the ports in it that mappings of ours have got, oldest first."""
        rule = self.rule(is_ipv6=False)
        if rule.allocation is not Allocation.BLOCK:
            return ()
        return tuple(p for p in self._history.ports_since(None) if rule.low <= p <= rule.high)

    def plan_survey(self, report: NatReport, now: float) -> None:
        """Our picture has changed: more samples may be worth their while, or not any more."""
        if self._surveyed or self._misfit_at is not None:
            return
        if not is_survey_wanted(report):
            self.survey_at = None
            return
        at = now + survey_wait_s(report)
        self.survey_at = at if self.survey_at is None else min(at, self.survey_at)

    def take_survey(self, report: NatReport, main_port: int, now: float) -> tuple[SocketId, ...]:
        """The further sockets to ask a server from; none before `survey_at`.  Drains."""
        if self.survey_at is None or now < self.survey_at:
            return ()
        self.survey_at = None
        self._surveyed = True
        self._surveys += 1
        return survey_sockets(report, main_port, self._surveys)

    def _look_for_misfit(self, port: int, now: float) -> None:
        if self._misfit_at is not None:
            if len(self._history.ports_since(self._misfit_at)) >= ENOUGH_PORTS:
                self._history.forget_before(self._misfit_at)
                self._misfit_at = None
            return
        last = self._history.last
        if last is None or now - last.at < SURVEY_PAUSE_S:
            return
        rule = self.rule(is_ipv6=False)
        if rule.confidence >= SURE and not rule.allows(port, last.observed.port):
            self._misfit_at = self.survey_at = now


class Drift:
    """How fast the port counter of a sequential NAT runs: the load that its other users make.

    Between two samples of a sequence lie the ports that others took, and our own flows', which
    are not known here: so the load is rather too high than too low.

    Rules:
    - Only pauses are measured: in a burst, or while ports are guessed, our own flows are all there
      is.
    - A NAT that has forgotten everything counts on from elsewhere, which looks like any load: what
      is measured counts only as far as the pause before bears it out.
    - The estimate follows what is measured with a time constant, because load comes and goes.
    """

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
