"""What the attempts to reach one peer find, and what they ask for.

Rules:
- `PathFound` comes once for each address and socket that answered; none revokes another.
- The three wishes go up to those who can fulfil them: servers give a sample or an introduction, the
  node gives a socket.  An attempt goes on without them.
"""

from dataclasses import dataclass

from natd.core.base.types import Address, PathKind, SocketId
from natd.core.base.wishes import FreshSocketWanted, IntroductionWanted, SampleWanted


@dataclass(frozen=True, slots=True)
class PathFound:
    """A check was answered: this address works, both ways."""

    address: Address
    socket: SocketId
    kind: PathKind
    technique: str
    rtt_s: float


@dataclass(frozen=True, slots=True)
class AttemptFailed:
    """No path so far.  `diagnosis` knows both ends and judges why."""

    heard: bool
    """Whether anything of the peer's has arrived in this attempt."""


PunchEvent = SampleWanted | IntroductionWanted | FreshSocketWanted | AttemptFailed
