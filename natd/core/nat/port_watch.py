"""How our NAT allocates ports, and when more samples are needed.

    new port ─► history ─► rule ─► report
                  │          └───► survey wanted: hard, and more samples would tell more
                  └─ misfit: a port that the rule does not give out

Rules:
- One survey; another after a change of network, a change of class, or a misfit.
- A misfit shows that the rule has changed: a survey begins at once, and then only its samples are
  believed.  Ports of one burst are never misfits of each other: the rule follows from them.
"""

import math

from natd.core.base.types import LOWEST_PORT, SURE, Address, Allocation, NatReport, SocketId
from natd.core.nat.allocation_survey import is_survey_wanted, survey_sockets, survey_wait_s
from natd.core.nat.port_allocation import HIGHEST_PORT, PortRule
from natd.core.nat.port_history import PortHistory

SURVEY_PAUSE_S = 10.0
"""After this time a port belongs to another burst than the one before."""

ENOUGH_PORTS = 4
"""So many new ports show a rule without older ones."""

LEAST_PAUSE_S = 10.0
"""A guess takes two hundred ports in a second and a sample follows, so shorter pauses mislead."""

SMOOTHING_S = 60.0
"""Time constant: after pauses of this total the estimate has made two thirds of a change."""

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
        """When to call `take_survey`; None: no survey is due."""

    def add(
        self,
        socket: SocketId,
        local_port: int | None,
        destination: Address,
        observed: Address,
        now: float,
    ) -> None:
        """A socket got a new mapping towards a destination; `local_port` is None if unknown."""
        if not observed.is_ipv6:
            self._look_for_misfit(observed.port, now)
        self._history.add(socket, local_port, destination, observed, now)
        if not observed.is_ipv6:
            self._drift.add(observed.port, self.rule(is_ipv6=False), now)

    def forget_before(self, instant: float) -> None:
        """The class has changed: ports before that instant belong to another NAT."""
        self._history.forget_before(instant)
        self._drift = Drift()
        self._surveyed = False

    def rule(self, *, is_ipv6: bool) -> PortRule:
        return self._history.rule(is_ipv6=is_ipv6)

    def rule_of_sockets(self, rule: PortRule, *, is_ipv6: bool) -> PortRule:
        """The rule of a NAT with one mapping per socket, by what it gave each socket first: a later
        port of a socket tells of an early packet, or of a restart, and not of the rule."""
        return self._history.rule_of_sockets(rule, is_ipv6=is_ipv6)

    @property
    def load_per_s(self) -> float:
        """Ports a second that other users take, as measured; 0 unless the NAT is sequential."""
        is_sequence = self.rule(is_ipv6=False).allocation is Allocation.SEQUENTIAL
        return self._drift.per_s if is_sequence else 0.0

    @property
    def taken(self) -> tuple[int, ...]:
        """The ports of a block that our mappings hold, oldest first."""
        rule = self.rule(is_ipv6=False)
        if rule.allocation is not Allocation.BLOCK:
            return ()
        return tuple(p for p in self._history.ports_since(None) if rule.low <= p <= rule.high)

    def plan_survey(self, report: NatReport, now: float) -> None:
        """The rule or class has changed: plan a survey if it would tell more, else cancel it."""
        if self._surveyed or self._misfit_at is not None:
            return
        if not is_survey_wanted(report):
            self.survey_at = None
            return
        at = now + survey_wait_s(report)
        self.survey_at = at if self.survey_at is None else min(at, self.survey_at)

    def take_survey(self, report: NatReport, main_port: int, now: float) -> tuple[SocketId, ...]:
        """The sockets to sample from; none before `survey_at`.  Drains."""
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
    """How fast the port counter of a sequential NAT runs because of its other users.

    Between two samples lie the ports that others took, and those of our own flows, which are not
    known here: so the estimate is too high rather than too low.

    Rules:
    - Only pauses are measured: in a burst, or while we guess ports, our own flows dominate.
    - A NAT that restarts counts on from another port, which looks like load: a measurement counts
      only as far as the pause before confirms it.
    - The estimate follows the measurements with a time constant, because load varies.
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
