"""The external ports that new mappings of ours got, in the order in which they were made.

Rules:
- What leaves at one instant from one socket is a burst.  Within it the order is that of the
  ports asked, whatever the order of the answers; only that all around, for a server's own port,
  the lowest, is asked last.
- The newest `MOST_PORTS` are kept, for an hour: longer than a carrier's block stays with an idle
  subscriber, many enough for every rule.
"""

from dataclasses import dataclass

from natd.core.base.types import Address, SocketId
from natd.core.nat.port_allocation import PortRule, PortSample, judge

SAME_BURST_S = 1.0
"""Answers to what left at one instant come within this time, retransmissions included."""

MOST_PORTS = 24
HISTORY_KEPT_S = 3600.0


@dataclass(frozen=True, slots=True)
class Made:
    """One new mapping of ours."""

    socket: SocketId
    local_port: int | None
    destination: Address
    observed: Address
    at: float
    burst: int


class PortHistory:
    """See the top of this file."""

    def __init__(self) -> None:
        self._made: list[Made] = []
        self._bursts = 0

    def add(
        self,
        socket: SocketId,
        local_port: int | None,
        destination: Address,
        observed: Address,
        now: float,
    ) -> None:
        """A new mapping of a socket towards a destination; `local_port` is None if unknown."""
        burst = next(
            (
                made.burst
                for made in reversed(self._made)
                if made.socket == socket
                and made.destination.host == destination.host
                and now - made.at <= SAME_BURST_S
            ),
            None,
        )
        if burst is None:
            self._bursts += 1
            burst = self._bursts
        self._made.append(Made(socket, local_port, destination, observed, now, burst))
        self._made = [made for made in self._made if now - made.at <= HISTORY_KEPT_S][-MOST_PORTS:]

    def ports_since(self, instant: float | None) -> list[int]:
        """Those that came then or later; all of them for None."""
        return [m.observed.port for m in self._made if instant is None or m.at >= instant]

    @property
    def last(self) -> Made | None:
        """The newest one of IPv4; None while there is none."""
        return next((m for m in reversed(self._made) if not m.observed.is_ipv6), None)

    def forget_before(self, instant: float) -> None:
        self._made = [made for made in self._made if made.at >= instant]

    def rule(self, *, is_ipv6: bool) -> PortRule:
        """What they tell of those to come."""
        made = [m for m in self._made if m.observed.is_ipv6 == is_ipv6]
        made.sort(key=lambda m: (m.burst, m.destination.port))
        return judge([PortSample(m.local_port, m.observed.port, m.burst) for m in made])
