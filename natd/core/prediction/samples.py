"""The endpoints of an escalation, and when two sequences are worth a guess.

Between two NATs that count their ports up each side can guess only from a fresh sample of the
other, and both must guess at once.  The side whose round comes first samples a fresh socket.  The
introduction with that sample makes the other side sample one of its own, and at the introduction
with both samples both sides begin:

    A  sample ─► introduce(a) ──────────────────────────► begin
    B                 └─► sample ─► introduce(a, b) ────► begin

Rules:
- A sample of either side is good for one guess.  A port at or just behind a known one is as old as
  that one; ports known when a path was found count as known.
- A guess runs until it may have succeeded; no news begins another one meanwhile.
"""

from dataclasses import dataclass, field
from enum import Enum, auto

from natd.core.base.scope import is_public
from natd.core.base.types import MAIN_SOCKET, Address, SocketId
from natd.core.checks.checks import Opener
from natd.core.prediction.sequences import newest

PORTS = 0x10000
BEHIND = 1_024
"""More ports than are taken in the minutes for which a server keeps a sample.  A port further away
belongs to a sequence that has restarted."""

STRICT_S = 6.0
"""Longer than the first round of any wave, shorter than the pause after it."""

GUESS_S = 0.9
"""How long a guess takes: two hundred packets and a round trip."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The peer's observed addresses, and our socket towards them."""

    seen: tuple[Address, ...]
    """The peer's addresses as servers saw them, freshest first."""
    anchors: tuple[int, ...]
    """Ports that the peer has opened for us."""
    socket: SocketId
    servers: frozenset[Address] = frozenset()
    drift: float = field(default=0.0, compare=False)
    """Steps of the peer's sequence that others have likely taken since its sample."""
    our_port: int | None = field(default=None, compare=False)
    """External port of our main socket: ports for the peer to guess should have its parity; None:
    unknown."""
    our_hosts: tuple[str, ...] = field(default=(), compare=False)
    """IPv4 addresses at which servers see us."""

    def opener(self, age_s: float) -> Opener:
        """What keeps an opener from the peer's NAT, so long after the wave began.  Who is in our
        part of the internet may be on our segment, where only a strict one does, and a single one
        that arrives may spoil all that the peer sends after it; a NAT that refuses it, or a second
        layer of ours, has the rounds that follow."""
        return Opener.NEAR if self.is_near and age_s < STRICT_S else Opener.FAR

    @property
    def is_near(self) -> bool:
        """Whether the two NATs' addresses begin with the same 16 bits."""
        parts = {_part(host) for host in self.our_hosts}
        return any(_part(place.host) in parts for place in self.places[:1])

    @property
    def places(self) -> tuple[Address, ...]:
        """The public IPv4 addresses of one host: the peer's NAT."""
        public = [a for a in self.seen if not a.is_ipv6 and is_public(a.host)]
        return tuple(address for address in public if address.host == public[0].host)

    @property
    def newest(self) -> int:
        """The last known port of the peer's sequence; `places` must not be empty."""
        return newest([place.port for place in self.places])


class NextStep(Enum):
    """What two sequences need next."""

    WAIT = auto()
    """For the other side, or for a guess that runs."""
    SAMPLE = auto()
    """Sample a fresh socket of ours."""
    GUESS = auto()


@dataclass(slots=True)
class GuessHistory:
    """The samples that guesses have used."""

    _socket: SocketId = MAIN_SOCKET  # the last one that was used for a guess
    _port: int | None = None  # the peer's port that was used; None: none yet
    _at: float | None = None

    def next_step(self, ends: Endpoints, now: float) -> NextStep:
        """What to do next: guess only if the samples of both sides are new."""
        if not ends.places or (self._at is not None and now - self._at < GUESS_S):
            return NextStep.WAIT
        if self._port is not None and _is_old(ends.newest, self._port):
            return NextStep.WAIT
        return NextStep.SAMPLE if ends.socket in (MAIN_SOCKET, self._socket) else NextStep.GUESS

    def spent(self, ends: Endpoints, now: float) -> None:
        """These samples were used for a guess."""
        self._socket, self._at = ends.socket, now
        self.are_known(ends)

    def are_known(self, ends: Endpoints) -> None:
        """The peer's samples so far must not be used any more."""
        if ends.places:
            self._port = ends.newest


def _part(host: str) -> str:
    return host.rpartition(".")[0].rpartition(".")[0]


def _is_old(port: int, known: int) -> bool:
    """Whether a sequence that has reached `known` was at `port` before, or is there now."""
    return (known - port) % PORTS < BEHIND
