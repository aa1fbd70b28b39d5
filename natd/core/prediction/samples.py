"""The way of an escalation, and when two sequences are worth a guess.

Between two NATs that count their ports up either side can guess only from a sample of the other
that was taken just now, and only both at once.  The side whose round comes first samples a fresh
socket; the introduction that tells of it makes the other side sample one of its own; the
introduction that tells of that is where both begin:

    A  sample ─► introduce(a) ──────────────────────────► begin
    B                 └─► sample ─► introduce(a, b) ────► begin

Rules:
- A sample of either side is good for one guess.  Whatever is at or just behind one that was known
  before is as old as that; what was known when a path was found counts, too.
- A guess is left alone until it may have met; nothing that is heard meanwhile begins another.
"""

from dataclasses import dataclass, field
from enum import Enum, auto

from natd.core.base.types import MAIN_SOCKET, Address, SocketId
from natd.core.checks.candidates import is_private
from natd.core.prediction.sequences import newest

PORTS = 0x10000
BEHIND = 1_024
"""More ports than are taken in the minutes for which a server remembers a sample.  Whatever is
further away is a sequence that has been started anew."""

GUESS_S = 0.9
"""Two hundred packets, and a round trip."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where to, and from where."""

    seen: tuple[Address, ...]
    """The peer's addresses as servers saw them, freshest first."""
    anchors: tuple[int, ...]
    """Those of its ports that it has opened for us."""
    socket: SocketId
    servers: frozenset[Address] = frozenset()
    drift: float = field(default=0.0, compare=False)
    """How many steps of its sequence others have likely taken since the peer was sampled."""
    our_port: int | None = field(default=None, compare=False)
    """Where our main socket is seen, whose parity all that the peer guesses at should have; None:
    nowhere."""

    @property
    def places(self) -> tuple[Address, ...]:
        """Those of one host that a NAT is known of."""
        public = [a for a in self.seen if not a.is_ipv6 and not is_private(a.host)]
        return tuple(address for address in public if address.host == public[0].host)

    @property
    def newest(self) -> int:
        """Of the places, which there must be, the port that the peer's sequence had reached."""
        return newest([place.port for place in self.places])


class NextStep(Enum):
    """What two sequences need next."""

    WAIT = auto()
    """For the other side, or for what is under way."""
    SAMPLE = auto()
    """A fresh socket of ours."""
    GUESS = auto()


@dataclass(slots=True)
class GuessHistory:
    """What was guessed from before."""

    _socket: SocketId = MAIN_SOCKET  # the last that was sampled for a guess
    _port: int | None = None  # the peer's port that we guessed from; None: not yet
    _at: float | None = None

    def next_step(self, ends: Endpoints, now: float) -> NextStep:
        """Whether the samples of both sides are new."""
        if not ends.places or (self._at is not None and now - self._at < GUESS_S):
            return NextStep.WAIT
        if self._port is not None and _is_old(ends.newest, self._port):
            return NextStep.WAIT
        return NextStep.SAMPLE if ends.socket in (MAIN_SOCKET, self._socket) else NextStep.GUESS

    def spent(self, ends: Endpoints, now: float) -> None:
        """They were guessed from."""
        self._socket, self._at = ends.socket, now
        self.are_known(ends)

    def are_known(self, ends: Endpoints) -> None:
        """What the peer has been sampled at so far is of no use any more."""
        if ends.places:
            self._port = ends.newest


def _is_old(port: int, known: int) -> bool:
    """Whether a sequence that had reached `known` was at `port` before, or still is there."""
    return (known - port) % PORTS < BEHIND
