"""One path to a peer: the peer's address and our socket, and whether it still works.

    quiet ──(silence for as long as its keepalive, or data unanswered)──► probing ──► over
      ▲                                                                     │
      └───────── anything authentic heard on it; an answer, once in doubt ──┘

Rules:
- Any authentic packet on a path proves it; checks are sent when there is no data.
- A path in doubt is proved only by an answer: that we hear the peer does not show that it hears us.
- The ladder of probes is dense at first, as in QUIC, and stretched if the round trip is long:
  silence means nothing before two round trips.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from random import Random

from natd.core.base.types import Address, PathKind, PathReport, SocketId
from natd.core.paths.flows import Flow

KEEPALIVE_JITTER = 0.05
"""Both ends wait for so much longer than they must, and as much again at random: one of the two
sends, the other answers."""

ALONE_JITTER = 0.003
"""Share of a keepalive, while no server would tell of a router's restart: the paths of one daemon
don't check at the same moment."""

ALONE_LEAD_S = 0.05
"""Then always the same end checks first, and the other so much later if no check has come: both
notice a restart at nearly the same moment, within a keepalive, and yet don't check both."""

STANDBY_S = 25.0
"""Below the 30 s of strict NATs, jitter and a repetition included: a standby must stay open."""

BUSY_CHECK_S = 1.5
"""While messages flow every few seconds, checks fill the silence: a side whose NAT has forgotten
its mapping can't learn that from the other, and repairs it by sending anything."""

YOUNG_S = 2.0
CONFIRM_AFTER_S = 3.0
"""Linux keeps a flow for 120 s instead of 30 only if it is still used 2 s after its start: a side
that has heard nothing since then sends a check."""

LEAST_PATIENCE_S = 0.25
PATIENCE_ROUND_TRIPS = 2.5
"""Unanswered data is suspicious after this: QUIC's own probe comes after two round trips."""

DOUBT_ROUND_TRIPS = 2.0
LEAST_DOUBT_S = 0.15
"""A check unanswered for so long is probably lost: any other path that was heard since is better,
and coming back costs nothing."""

PROBE_LADDER_S = (0.0, 0.2, 0.4, 0.6, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0, 12.0)
"""Instants of the checks on a path in doubt, if its round trip is at most `LADDER_ROUND_TRIP_S`."""

LADDER_ROUND_TRIP_S = 0.3

SUSPECT_AFTER_PROBES = 3
LOST_AFTER_S = 14.0

HASTY_WAIT_S, HASTY_ROUND_TRIPS, HASTY_GAP_S = 0.15, 1.4, 0.03
"""Where no server tells of a restart: after the first probe so long (seconds, or round trips if
that is longer), then two more with the gap between, and after the same wait the path is suspected.
Each of the three could have been answered."""

STANDBY_LADDER_S = (0.0, 1.0, 2.5)
STANDBY_LOST_AFTER_S = 4.0
"""Nothing depends on a standby, so it is probed less often and given up sooner."""

GAP_ROUND_TRIPS = 1.25
"""A probe unanswered by then, when the peer's own packet comes, was not let through."""

BETTER_RTT_S = 0.005
BETTER_RTT_SHARE = 0.1
BETTER_RTT_SAMPLES = 3
BETTER_RTT_AFTER_S = 5.0
"""A path must be faster for so long: one quick answer is chance."""

FRESH_S = 5.0
"""How long ago a path must have been heard to be used: an idle one may have died unnoticed."""

MOVED_HOLD_S = 1.0
MOVED_HOLD_OF_ONE_S = 3.0
"""How long a side that has moved does not follow the other, because packets under way still come by
the old path.  Longer at one of the two ends (`Checks.we_open`)."""

MOST_PATHS = 4
FORGET_AFTER_S = 60.0

_RANK = {kind: rank for rank, kind in enumerate(PathKind)}


@dataclass(slots=True, eq=False)
class Path:
    """One path, and when to probe it."""

    address: Address
    socket: SocketId
    kind: PathKind
    technique: str
    rtt_s: float
    since: float
    heard_at: float
    keepalive_at: float
    flow: Flow = field(default_factory=Flow)
    """The same in all networks in which we know the peer."""
    samples: int = 1
    """Number of timed round trips."""
    retired: bool = False
    """Whether another path has replaced it before its mapping would end."""
    is_narrow: bool = False
    """Whether it carries checks, but no datagrams of the size that a session needs."""
    is_hasty: bool = False
    """Whether it is doubted sooner, because no server would tell that a router has restarted."""
    patience_s: float = 0.0
    """How long to wait for answers at least, where the machine is slower than the network."""
    awaiting_since: float | None = None  # None: nothing sent awaits an answer
    probing_since: float | None = None  # None: quiet
    probes: int = 0

    @property
    def key(self) -> tuple[Address, SocketId]:
        return self.address, self.socket

    @property
    def rank(self) -> int:
        """0 for the best kind."""
        return _RANK[self.kind]

    @property
    def suspected(self) -> bool:
        return self.probing_since is not None and self.probes > SUSPECT_AFTER_PROBES

    @property
    def doubt_s(self) -> float:
        """Longest time for the answer to a probe, if nothing is lost."""
        return max(LEAST_DOUBT_S, DOUBT_ROUND_TRIPS * self.rtt_s, self.patience_s)

    @property
    def quiet_s(self) -> float:
        """How long it had been silent before probing began; 0 while it is not probed."""
        return 0.0 if self.probing_since is None else self.probing_since - self.heard_at

    @property
    def is_quiet(self) -> bool:
        """Whether no probe runs and no data awaits an answer."""
        return self.probing_since is None and self.awaiting_since is None

    def is_fit(self, now: float) -> bool:
        """Whether it would probably work if we used it now."""
        return self.probing_since is None and now - self.heard_at <= FRESH_S

    def is_in_doubt(self, now: float) -> bool:
        """Whether it was probed and the answer should have come by now."""
        return self.probing_since is not None and now >= self.probing_since + self.doubt_s

    def is_overdue(self, now: float) -> bool:
        """Whether the answer to the first probe should have come."""
        since = self.probing_since
        return since is not None and now >= since + GAP_ROUND_TRIPS * self.rtt_s

    def wants_answer(self, now: float) -> bool:
        """Whether only an answer clears it: hearing the peer does not prove that it hears us."""
        return self.suspected or self.is_in_doubt(now)

    def due(self, *, in_use: bool) -> float:
        """When its next probe or check is due."""
        if self.probing_since is None:
            if self.awaiting_since is None:
                return self.keepalive_at
            patience_s = max(LEAST_PATIENCE_S, PATIENCE_ROUND_TRIPS * self.rtt_s, self.patience_s)
            return min(self.keepalive_at, self.awaiting_since + patience_s)
        ladder = PROBE_LADDER_S if in_use else STANDBY_LADDER_S
        lost_at = self.lost_at(in_use=in_use)
        if self.probes >= len(ladder):
            return lost_at
        stretch = max(1.0, max(self.rtt_s, self.patience_s) / LADDER_ROUND_TRIP_S)
        wait_s = ladder[self.probes] * stretch
        if self.is_hasty and in_use and self.probes <= SUSPECT_AFTER_PROBES:
            answer_s = max(HASTY_WAIT_S, HASTY_ROUND_TRIPS * self.rtt_s)
            hasty_s = (0.0, answer_s, answer_s + HASTY_GAP_S, 2.0 * answer_s + HASTY_GAP_S)
            wait_s = min(wait_s, hasty_s[self.probes])
        return min(self.probing_since + wait_s, lost_at)

    def lost_at(self, *, in_use: bool) -> float:
        """When it is given up if probes stay unanswered."""
        assert self.probing_since is not None
        return self.probing_since + (LOST_AFTER_S if in_use else STANDBY_LOST_AFTER_S)

    def arm(self, wait_s: float, now: float) -> None:
        """Allow so much silence from now on."""
        self.keepalive_at = now + wait_s
        if now < self.since + YOUNG_S:
            self.keepalive_at = min(self.keepalive_at, self.since + CONFIRM_AFTER_S)

    def later_s(self, wait_s: float, random: Random, *, is_first: bool) -> float:
        """How much longer than `wait_s` it may be silent while no server answers; `is_first`: at
        the end that checks first."""
        if is_first:
            return wait_s * ALONE_JITTER * random.random()
        # Our silence began half a round trip before the other's, and its check is as long under
        # way.
        return wait_s * ALONE_JITTER + self.rtt_s + ALONE_LEAD_S

    def hold_s(self, *, is_first: bool) -> float:
        """How long we stay on it, whichever path the peer uses."""
        return max(MOVED_HOLD_OF_ONE_S if is_first else MOVED_HOLD_S, 4.0 * self.rtt_s)

    def timed(self, rtt_s: float) -> None:
        """A check on it was answered."""
        self.rtt_s += (rtt_s - self.rtt_s) / 8.0
        self.samples += 1

    def begin_probing(self, now: float) -> None:
        if self.probing_since is None:
            self.probing_since = now
            self.probes = 0

    def prove(self, now: float) -> None:
        """Something authentic was heard on it."""
        self.heard_at = self.flow.heard_at = now
        self.awaiting_since = self.probing_since = None
        self.probes = 0

    def rests_on_another(self, now: float) -> bool:
        """Whether its check can wait, because another network has just asked the peer by the same
        flow, or has heard it there: then this one counts as heard, too."""
        if self.awaiting_since is not None:
            return False
        if self.flow.heard_at > self.heard_at:
            self.keepalive_at += self.flow.heard_at - self.heard_at
            self.prove(self.flow.heard_at)
            return True
        asks_at = self.flow.asked_at + self.doubt_s
        if now < asks_at:
            self.keepalive_at = asks_at
        return now < asks_at

    def report(self) -> PathReport:
        return PathReport(
            self.kind, self.address, self.rtt_s, self.technique, self.since, self.socket
        )


def outdated(paths: Collection[Path], kept: Collection[Path | None], now: float) -> list[Path]:
    """Those that are not to be kept and were not heard for long, or are too many."""
    found: list[Path] = []
    for path in paths:
        is_full = len(paths) - len(found) > MOST_PATHS
        if path not in kept and (is_full or now - path.heard_at > FORGET_AFTER_S):
            found.append(path)
    return found


def standby_of(paths: Iterable[Path], in_use: Path | None) -> Path | None:
    """The best path that is not in use and has not failed to answer."""
    others = (path for path in paths if path is not in_use and not path.retired)
    return min(others, key=cost, default=None)


def cost(path: Path) -> tuple[bool, bool, bool, int, float]:
    """Sort key of paths, the best first."""
    return (path.suspected, path.is_narrow, path.retired, path.rank, path.rtt_s)


def is_better(path: Path, current: Path, in_use_s: float) -> bool:
    """Whether to leave `current`, which has been in use for `in_use_s`, for `path`."""
    if path.suspected != current.suspected:
        return current.suspected
    if path.is_narrow != current.is_narrow:
        return current.is_narrow
    if path.retired != current.retired:
        return current.retired
    if path.rank != current.rank:
        return path.rank < current.rank
    if min(path.samples, current.samples) < BETTER_RTT_SAMPLES or in_use_s < BETTER_RTT_AFTER_S:
        return False
    gain_s = current.rtt_s - path.rtt_s
    return gain_s > BETTER_RTT_S and gain_s > BETTER_RTT_SHARE * current.rtt_s


def in_place_of(current: Path, paths: Iterable[Path], now: float) -> Path | None:
    """The best path heard since the path in use was probed in vain, if any."""
    since = current.probing_since
    if since is None or not current.is_in_doubt(now):
        return None
    heard = (path for path in paths if path is not current and path.heard_at > since)
    return min(heard, key=cost, default=None)


def best_of(
    paths: Collection[Path], current: Path | None, in_use_s: float, now: float
) -> Path | None:
    """The path to be used from now on, which may be the one in use; None: none that is fit.
    `in_use_s`: for how long the current one has been in use."""
    fit = (path for path in paths if path is current or path.is_fit(now))
    best = min(fit, key=cost, default=None)
    if current is None or best is None:
        return best
    stays = best is current or not is_better(best, current, in_use_s)
    return in_place_of(current, paths, now) if stays else best
