"""The external ports that new mappings of ours got, in the order in which they were made.

Rules:
- Packets that leave one socket at one instant are a burst.  Its order is that of the destination
  ports, whatever the order of the answers, but taken as a ring: a server's own port is the lowest
  and is asked last.
- A socket whose answer makes us ask from others, and from itself again, has begun another burst:
  the ports of the others lie in between.
- The newest `MOST_PORTS` are kept, for an hour: longer than a carrier's block stays with an idle
  subscriber, and enough for every rule.
"""

from dataclasses import dataclass

from natd.core.base.types import Address, SocketId
from natd.core.nat.port_allocation import KEPT, PortRule, PortSample, judge

SAME_BURST_S = 1.0
"""Answers to one burst come within this time, retransmissions included."""

AT_ONCE_S = 0.05
"""Bursts that leave at one instant are first answered within this time."""

MOST_PORTS = 24
HISTORY_KEPT_S = 3600.0


@dataclass(frozen=True, slots=True)
class NewMapping:
    """One new mapping of our NAT."""

    socket: SocketId
    local_port: int | None
    destination: Address
    observed: Address
    at: float
    burst: int


class PortHistory:
    """See the top of this file."""

    def __init__(self) -> None:
        self._made: list[NewMapping] = []
        self._bursts = 0

    def add(
        self,
        socket: SocketId,
        local_port: int | None,
        destination: Address,
        observed: Address,
        now: float,
    ) -> None:
        """A socket got a new mapping towards a destination; `local_port` is None if unknown."""
        burst = self._burst_of(socket, destination, now)
        if burst is None:
            self._bursts += 1
            burst = self._bursts
        self._made.append(NewMapping(socket, local_port, destination, observed, now, burst))
        self._made = [made for made in self._made if now - made.at <= HISTORY_KEPT_S][-MOST_PORTS:]

    def _burst_of(self, socket: SocketId, destination: Address, now: float) -> int | None:
        """The burst to which an answer belongs; None: to a new one."""
        for made in reversed(self._made):
            if made.socket == socket and made.destination.host == destination.host:
                is_over = now - made.at > SAME_BURST_S or self._has_begun_another(made)
                return None if is_over else made.burst
        return None

    def _has_begun_another(self, since: NewMapping) -> bool:
        """Whether another burst left after the one of this mapping."""
        before = {made.burst for made in self._made if made.at <= since.at + AT_ONCE_S}
        return any(made.burst not in before for made in self._made if made.at > since.at)

    def ports_since(self, instant: float | None) -> list[int]:
        """The ports since that instant; all of them for None."""
        return [m.observed.port for m in self._made if instant is None or m.at >= instant]

    @property
    def last(self) -> NewMapping | None:
        """The newest IPv4 mapping; None: none yet."""
        return next((m for m in reversed(self._made) if not m.observed.is_ipv6), None)

    def forget_before(self, instant: float) -> None:
        self._made = [made for made in self._made if made.at >= instant]

    def rule_of_sockets(self, rule: PortRule, *, is_ipv6: bool) -> PortRule:
        """`rule`, or that ports are kept if any socket had its own: where none are, that is one of
        64,512 by chance."""
        first = {m.socket: m for m in reversed(self._made) if m.observed.is_ipv6 == is_ipv6}
        kept = any(m.local_port == m.observed.port for m in first.values())
        return KEPT if kept else rule

    def rule(self, *, is_ipv6: bool) -> PortRule:
        """The rule by which the NAT seems to pick ports."""
        made = [m for m in self._made if m.observed.is_ipv6 == is_ipv6]
        made.sort(key=lambda m: (m.burst, m.destination.port))
        return judge([PortSample(m.local_port, m.observed.port, m.burst) for m in made])
