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
- A guess runs until it may have succeeded; no news begins another one meanwhile.  What comes then
  is spent, too: the introduction that names it makes the peer guess, and hundreds of its ports
  pass.  Who kept it for the next round would be one sample behind the peer for ever.
"""

from collections import deque
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import partial

from natd.core.base.scope import is_public
from natd.core.base.types import MAIN_SOCKET, Address, SocketId
from natd.core.checks.checks import Opener
from natd.core.prediction.sequences import newest

PORTS = 0x10000
BEHIND = 1_024
"""More ports than are taken in the minutes for which a server keeps a sample.  A port further away
belongs to a sequence that has restarted, or was known before."""

MOST_KNOWN_PORTS = 64
"""Ports that are remembered as known: those of a dozen rounds.  A server that was not asked for a
while names what is older than the last thousand ports."""

STRICT_S = 6.0
"""Longer than the first round of any wave, shorter than the pause after it."""

SAMPLE_FRESH_S = 1.5
"""How long a sample is fresh: longer than both sides take to tell each other theirs, shorter than
most rounds.  Only so do two that have missed each other agree again on which samples to use."""

GUESS_S = 0.6
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
    seen_since: float | None = field(default=None, compare=False)
    """When the peer was first seen so; None: nowhere yet."""
    sampled_at: float | None = field(default=None, compare=False)
    """When a server was asked how it sees `socket`; None: it was not asked yet."""

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
    _known: deque[int] = field(default_factory=partial(deque, maxlen=MOST_KNOWN_PORTS))
    # ports of the peer that must not be used, the newest of its sequence last
    runs_until: float = 0.0
    """When the last guess is over."""

    def next_step(self, ends: Endpoints, now: float) -> NextStep:
        """What to do next: guess only if the samples of both sides are new."""
        if not ends.places or self._is_old(ends.newest):
            return NextStep.WAIT
        if now < self.runs_until:
            self.are_known(ends)
            return NextStep.WAIT
        if not _is_fresh(ends.seen_since, now):
            return NextStep.WAIT
        is_fresh = ends.socket not in (MAIN_SOCKET, self._socket) and _is_fresh(
            ends.sampled_at, now
        )
        return NextStep.GUESS if is_fresh else NextStep.SAMPLE

    def spent(self, ends: Endpoints, now: float) -> None:
        """These samples were used for a guess."""
        self._socket, self.runs_until = ends.socket, now + GUESS_S
        self.are_known(ends)

    def are_known(self, ends: Endpoints) -> None:
        """The peer's samples so far must not be used any more."""
        if ends.places:
            self._known += [place.port for place in ends.places if place.port != ends.newest]
            self._known.append(ends.newest)

    def _is_old(self, port: int) -> bool:
        """Whether a sequence that has reached the known ports was at `port` before, or is there
        now."""
        if not self._known:
            return False
        return port in self._known or (self._known[-1] - port) % PORTS < BEHIND


def _is_fresh(since: float | None, now: float) -> bool:
    return since is not None and now - since < SAMPLE_FRESH_S


def _part(host: str) -> str:
    return host.rpartition(".")[0].rpartition(".")[0]
