"""The ladder that checks to one address climb, and the address that is checked.

    at:  now ─► now + ladder[1] - ladder[0] ─► … ─► None

Rules:
- A target is one address from one socket: the same address from another is another target.
- A ladder counts from its first check, however late that left.
"""

from dataclasses import dataclass

from natd.core.base.types import Address, Candidate, SocketId

CHECK_LADDER_S = (0.0, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28)
"""Instants of the checks in a round.  Dense at first: the far NAT opens at a moment we can't
know, and the check that comes right after it ends the wait."""

DOUBTFUL_LADDER_S = (0.0, *CHECK_LADDER_S[2:])
"""To where a server saw a NAT that perhaps shows us another port: one packet less in the first
moments, which the first flight needs when the peer is heard from the right one."""

RETRY_LADDER_S = (0.0, 0.04, 0.16, 0.64)
"""For what was checked in an earlier round: whoever did not answer the dense ladder is more likely
absent than shut out."""

FORWARDED_LADDER_S = (0.0, 0.16)
"""For a port that somebody may have forwarded by hand, which few have: twice a round."""


@dataclass(slots=True)
class Target:
    """An address that is checked from a socket."""

    candidate: Candidate
    socket: SocketId
    ladder: tuple[float, ...]
    step: int = 0
    at: float | None = None  # None: its ladder has ended
    ttl: int | None = None  # of every check to it; None: the system's
    last_sent: float = 0.0
    proved: bool = False

    @property
    def key(self) -> tuple[Address, SocketId]:
        return self.candidate.address, self.socket

    def climb(self, now: float) -> None:
        """A check has left: set the instant of the next."""
        self.step += 1
        if self.step < len(self.ladder):
            self.at = now + self.ladder[self.step] - self.ladder[self.step - 1]
        else:
            self.at = None
