"""When an attempt to reach a peer checks, waits and tries again.

    round    checks on a ladder ─► wait ─► sample, introduction ─► next round
    ladder   at ─► at + ladder[1] - ladder[0] ─► … ─► None

Rules:
- A target is one address from one socket: the same address from another is another target.
- A ladder counts from its first check, however late that left.
- The first wait is two round trips and 100 ms: after that checks are lost, not slow.  The waits of
  further rounds grow: 1, 2, 4 … 60 s.  Only news restart them: a newer card of the peer, the user,
  a change of our network.  An introduction alone does not, because either side asks for one in each
  round.
- The verdict comes once, only while there is no path, and only after answers under way have had
  time to arrive.
"""

from dataclasses import dataclass
from random import Random

from natd.core.base.timers import backed_off, jittered
from natd.core.base.types import Address, Candidate, SocketId
from natd.core.checks.checks import Opener

CHECK_LADDER_S = (0.0, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28)
"""Instants of the checks in a round.  Dense at first: the far NAT opens at a moment we can't
know, and the check that comes right after it ends the wait."""

DOUBTFUL_LADDER_S = (0.0, *CHECK_LADDER_S[2:])
"""For the address that a server saw of a NAT that may show us another port: one packet less at
first, to leave budget for the first flight when the peer is heard from its real port."""

RETRY_LADDER_S = (0.0, 0.04, 0.16, 0.64)
"""For what was checked in an earlier round: a peer that did not answer the dense ladder is more
likely absent than shut out."""

FORWARDED_LADDER_S = (0.0, 0.16)
"""For a port that the peer's user may have forwarded by hand, which few do: twice a round."""

SILENCE_RTTS, SILENCE_S = 2.0, 0.1
"""Round trips to our server, and what is added to them; after that checks are lost, not slow."""

DOUBTFUL_RTTS, DOUBTFUL_SILENCE_S = 1.5, 0.05
"""The same where a NAT that was seen by one server's address only may show us another port: then
silence is no surprise, and the guesses begin slowly."""

FIRST_RETRY_S = 1.0
LONGEST_RETRY_S = 60.0
ROUND_JITTER = 0.2
VERDICT_AFTER_S = 10.0

HOPELESS_AFTER_S = 5.0
"""The same where the two NAT reports show that nothing can work.  That is known after a few tenths
of a second; but a router may take three seconds to map a port, and the peer has to learn of that
port before it is of use."""

ALONE_AFTER = 2
"""Unanswered samples, one for each round: about five seconds, in which a known address, the peer's
own checks or a mutual peer are the likelier help."""


@dataclass(slots=True)
class Attempt:
    """The state of the running attempt."""

    began: float
    full_ttl_at: float
    escalate_at: float | None = None
    sample_by: float | None = None
    retry_at: float | None = None
    round: int = 0
    asked: bool = False
    """Whether we asked for an introduction that has not come yet."""
    is_held: bool = False
    """Whether its socket is fresh and waits for the introduction that tells the peer of it."""
    has_left_socket: bool = False
    """Whether it has left one by which nothing came."""
    judged: bool = False
    heard: bool = False
    settled: bool = False
    unanswered: int = 0
    """Unanswered samples in a row."""
    is_unheard: bool = False
    """Whether no server has answered our last sample, or our last request for an introduction."""

    @property
    def is_alone(self) -> bool:
        return self.unanswered >= ALONE_AFTER

    def judge_at(self, *, is_hopeless: bool) -> float | None:
        """When to report why there is no path; None: reported already."""
        if self.judged or self.settled:
            return None
        return self.began + (HOPELESS_AFTER_S if is_hopeless else VERDICT_AFTER_S)


@dataclass(slots=True)
class Target:
    """An address that is checked from one of our sockets."""

    candidate: Candidate
    socket: SocketId
    ladder: tuple[float, ...]
    step: int = 0
    at: float | None = None  # None: its ladder has ended
    opener: Opener | None = None  # what every check to it is; None: meant to arrive
    last_sent: float = 0.0
    proved: bool = False
    put_off: bool = False
    was_heard: bool = False  # it is here only because a check of the peer came from there

    @property
    def key(self) -> tuple[Address, SocketId]:
        return self.candidate.address, self.socket

    def climb(self, now: float, patience_s: float = 0.0) -> None:
        """A check has left: set the instant of the next, not sooner than in `patience_s`."""
        self.step += 1
        if self.step < len(self.ladder):
            step_s = self.ladder[self.step] - self.ladder[self.step - 1]
            self.at = now + max(step_s, patience_s)
        else:
            self.at = None


def wait_s(round_number: int, rtt_s: float, random: Random, *, is_doubtful: bool = False) -> float:
    """From the first full check of a round to its escalation.  `is_doubtful`: one of the two NATs
    only seems easy."""
    silence_s = SILENCE_RTTS * rtt_s + SILENCE_S
    if is_doubtful:
        silence_s = DOUBTFUL_RTTS * rtt_s + DOUBTFUL_SILENCE_S
    if round_number == 0:
        return silence_s
    backed_off_s = backed_off(round_number - 1, FIRST_RETRY_S, LONGEST_RETRY_S)
    return max(silence_s, jittered(backed_off_s, ROUND_JITTER, random))
