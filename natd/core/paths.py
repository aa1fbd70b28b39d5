"""The live paths of one peer: which one to use, whether it still works, keeping it open.

A path is an address of the peer's and a socket of ours that an authenticated check has gone
through both ways.  Its life, as long as it is the one in use:

    quiet ──(nothing heard for KEEPALIVE_S, or data unanswered)──► probing ──► suspected ──► lost
      ▲                                                              │            │
      └──────────────── anything authentic heard on it ──────────────┴────────────┘

Rules:
- Anything authentic that is heard on a path proves it; checks fill in where data is silent.
- A path is only ever added by an answer to a check of ours, so nobody can move a session by
  replaying its datagrams from elsewhere.
- A better path replaces the one in use at once when it is of a better kind, and a suspected one
  is replaced by any that answers.  What was true of a path a while ago counts for nothing: only
  one that was heard within `FRESH_S` is taken into use.
- A check to where an authentic datagram merely came from is paid for like one to a stranger.
- At rest a path costs one check and its answer in `KEEPALIVE_S`, whichever side's timer is first.
"""

from collections import deque
from dataclasses import dataclass
from random import Random

from natd.core.candidates import TargetBudget
from natd.core.checks import Answered, Checks
from natd.core.schedule import earliest, jittered
from natd.core.types import Address, Datagram, PathKind, PathReport, SocketId

KEEPALIVE_S = 15.0
"""RFC 8445, section 11, and shorter than the 30 s that the stingiest common NATs keep a flow."""

KEEPALIVE_JITTER = 0.1
CONFIRM_AFTER_S = 3.0
"""Linux keeps a flow for 120 s instead of 30 only if it is still used 2 s after its start."""

LEAST_PATIENCE_S = 0.3
PATIENCE_ROUND_TRIPS = 3.0
"""Unanswered data is suspicious after three round trips: QUIC's own probe comes after two."""

DOUBT_ROUND_TRIPS = 2.0
LEAST_DOUBT_S = 0.15
"""A check that is not answered for so long is probably lost: any other path that has been heard
since is the better one, and it costs nothing to come back."""

PROBE_LADDER_S = (0.0, 0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0, 12.0)
SUSPECT_AFTER_PROBES = 3
LOST_AFTER_S = 14.0
MOST_PATHS = 4
MOST_ROAMING = 8
ROAMING_SPACING_S = 0.05
FRESH_S = 5.0
"""A path at rest may have died unnoticed: no NAT need keep it open without keepalives."""

FORGET_AFTER_S = 60.0
BETTER_RTT_S = 0.005
BETTER_RTT_SHARE = 0.1

_RANK = {kind: rank for rank, kind in enumerate(PathKind)}


@dataclass(frozen=True, slots=True)
class PathChosen:
    """Another path is in use from here on."""

    path: PathReport
    socket: SocketId


@dataclass(frozen=True, slots=True)
class PathSuspected:
    """The path in use has stopped answering; it may come back, but look for another."""


@dataclass(frozen=True, slots=True)
class PathRecovered:
    """The suspected path answers again."""


@dataclass(frozen=True, slots=True)
class PathsLost:
    """No path is left."""


PathsEvent = PathChosen | PathSuspected | PathRecovered | PathsLost


@dataclass(slots=True)
class _Path:
    address: Address
    socket: SocketId
    kind: PathKind
    technique: str
    rtt_s: float
    since: float
    heard_at: float
    keepalive_at: float
    awaiting_since: float | None = None  # None: nothing that we sent asks for an answer
    probing_since: float | None = None  # None: quiet
    probes: int = 0

    def is_fit(self, now: float) -> bool:
        """Whether it would work if it were taken into use at this moment."""
        return self.probing_since is None and now - self.heard_at <= FRESH_S

    @property
    def suspected(self) -> bool:
        return self.probing_since is not None and self.probes > SUSPECT_AFTER_PROBES


@dataclass(slots=True)
class _Roaming:
    """An address that authentic datagrams came from, and that a check of ours has not proved."""

    kind: PathKind
    checked_at: float


class Paths:
    """Every live path of one peer."""

    def __init__(self, checks: Checks, budget: TargetBudget, random: Random) -> None:
        self._checks = checks
        self._budget = budget
        self._random = random
        self._paths: dict[tuple[Address, SocketId], _Path] = {}
        self._in_use: _Path | None = None
        self._roaming: dict[tuple[Address, SocketId], _Roaming] = {}
        self._told_suspected = False
        self._datagrams: list[Datagram] = []
        self._events: deque[PathsEvent] = deque()

    # --- inputs

    def add(
        self,
        address: Address,
        socket: SocketId,
        kind: PathKind,
        technique: str,
        rtt_s: float,
        now: float,
    ) -> None:
        """A check of ours was answered from `address`."""
        path = self._paths.get((address, socket))
        if path is None:
            path = _Path(
                address,
                socket,
                kind,
                technique,
                rtt_s,
                since=now,
                heard_at=now,
                keepalive_at=now + CONFIRM_AFTER_S,
            )
            self._paths[address, socket] = path
            self._roaming.pop((address, socket), None)
        self._proved(path, now)
        self._choose(now)
        self._prune(now)

    def heard(self, address: Address, socket: SocketId, kind: PathKind, now: float) -> None:
        """Something authentic came from `address`; if that is no path, a check goes there."""
        path = self._paths.get((address, socket))
        if path is not None:
            self._proved(path, now)
            if path is not self._in_use:
                self._choose(now)
            return
        if not self._paths:
            return
        roaming = self._roaming.get((address, socket))
        if roaming is None and len(self._roaming) >= MOST_ROAMING:
            self._roaming.pop(next(iter(self._roaming)))
        if roaming is None or now - roaming.checked_at >= ROAMING_SPACING_S:
            self._roaming[address, socket] = _Roaming(kind, now)
            check = self._checks.request(address, socket, now)
            if self._budget.allow(address, len(check.data), now):
                self._datagrams.append(check)

    def check_answered(self, answered: Answered, now: float) -> bool:
        """Whether the answered check was one of a path's, or of a roaming address'."""
        key = (answered.address, answered.socket)
        path = self._paths.get(key)
        if path is not None:
            path.rtt_s += (answered.rtt_s - path.rtt_s) / 8.0
            self._proved(path, now)
            self._choose(now)
            return True
        roaming = self._roaming.get(key)
        if roaming is None:
            return False
        self.add(*key, roaming.kind, "roaming", answered.rtt_s, now)
        return True

    def sent(self, now: float, *, awaiting: bool) -> None:
        """Session data went out on the path in use; `awaiting` when it asks for an answer."""
        path = self._in_use
        if path is not None and awaiting and path.awaiting_since is None:
            path.awaiting_since = now

    def probe(self, now: float) -> None:
        """Ask for an answer at once: the user pinged, or the network below us changed."""
        for path in self._paths.values():
            self._begin_probing(path, now)

    def drop(self) -> None:
        """The peer is gone, or everything that was known of our network is void."""
        self._paths.clear()
        self._roaming.clear()
        self._in_use = None
        self._told_suspected = False

    def handle_timer(self, now: float) -> None:
        path = self._in_use
        if path is None:
            return
        if path.probing_since is None and now >= self._due(path):
            self._begin_probing(path, now)
            self._prune(now)
        if path.probing_since is not None and now >= self._due(path):
            if now >= path.probing_since + LOST_AFTER_S:
                self._lose(path, now)
                return
            self._probe(path, now)
            if path.suspected and not self._told_suspected:
                self._told_suspected = True
                self._events.append(PathSuspected())
                for other in self._paths.values():
                    if other is not path:
                        self._datagrams.append(
                            self._checks.request(other.address, other.socket, now)
                        )

    # --- outputs

    def datagrams_to_send(self) -> list[Datagram]:
        datagrams, self._datagrams = self._datagrams, []
        return datagrams

    def next_event(self) -> PathsEvent | None:
        return self._events.popleft() if self._events else None

    def get_timer(self) -> float | None:
        return earliest(None if self._in_use is None else self._due(self._in_use))

    @property
    def in_use(self) -> tuple[Address, SocketId] | None:
        path = self._in_use
        return None if path is None else (path.address, path.socket)

    @property
    def sockets(self) -> frozenset[SocketId]:
        """Those of the path in use and of its standbys."""
        return frozenset(path.socket for path in self._paths.values())

    @property
    def healthy(self) -> bool:
        """Whether a path stands that is not suspected."""
        return self._in_use is not None and not self._in_use.suspected

    @property
    def heard_at(self) -> float | None:
        return max((path.heard_at for path in self._paths.values()), default=None)

    @property
    def report(self) -> PathReport | None:
        path = self._in_use
        if path is None:
            return None
        return PathReport(path.kind, path.address, path.rtt_s, path.technique, path.since)

    # --- private

    def _due(self, path: _Path) -> float:
        if path.probing_since is None:
            if path.awaiting_since is None:
                return path.keepalive_at
            patience_s = max(LEAST_PATIENCE_S, PATIENCE_ROUND_TRIPS * path.rtt_s)
            return min(path.keepalive_at, path.awaiting_since + patience_s)
        step = min(path.probes, len(PROBE_LADDER_S) - 1)
        lost_at = path.probing_since + LOST_AFTER_S
        if path.probes >= len(PROBE_LADDER_S):
            return lost_at
        return min(path.probing_since + PROBE_LADDER_S[step], lost_at)

    def _proved(self, path: _Path, now: float) -> None:
        path.heard_at = now
        path.awaiting_since = None
        if path.since + CONFIRM_AFTER_S <= now:
            path.keepalive_at = now + jittered(KEEPALIVE_S, KEEPALIVE_JITTER, self._random)
        if path.probing_since is not None:
            path.probing_since = None
            path.probes = 0
            if path is self._in_use and self._told_suspected:
                self._told_suspected = False
                self._events.append(PathRecovered())

    def _begin_probing(self, path: _Path, now: float) -> None:
        if path.probing_since is None:
            path.probing_since = now
            path.probes = 0
            if path is not self._in_use:
                self._probe(path, now)

    def _probe(self, path: _Path, now: float) -> None:
        path.probes += 1
        self._datagrams.append(self._checks.request(path.address, path.socket, now))

    def _choose(self, now: float) -> None:
        current = self._in_use
        fit = (p for p in self._paths.values() if p is current or p.is_fit(now))
        best = min(fit, key=self._cost, default=None)
        if current is not None and best is not None:
            stays = best is current or not self._is_better(best, current)
            best = self._in_place_of(current, now) if stays else best
        if best is None:
            return
        self._in_use = best
        if self._told_suspected:
            self._told_suspected = False
            self._events.append(PathRecovered())
        report = self.report
        assert report is not None
        self._events.append(PathChosen(report, best.socket))

    def _cost(self, path: _Path) -> tuple[bool, int, float]:
        return (path.suspected, _RANK[path.kind], path.rtt_s)

    def _in_place_of(self, current: _Path, now: float) -> _Path | None:
        """The best of those heard since the path in use has been asked in vain, if any."""
        since = current.probing_since
        patience_s = max(LEAST_DOUBT_S, DOUBT_ROUND_TRIPS * current.rtt_s)
        if since is None or now < since + patience_s:
            return None
        heard = (p for p in self._paths.values() if p is not current and p.heard_at > since)
        return min(heard, key=self._cost, default=None)

    def _is_better(self, path: _Path, current: _Path) -> bool:
        if path.suspected != current.suspected:
            return current.suspected
        if _RANK[path.kind] != _RANK[current.kind]:
            return _RANK[path.kind] < _RANK[current.kind]
        gain_s = current.rtt_s - path.rtt_s
        return gain_s > BETTER_RTT_S and gain_s > BETTER_RTT_SHARE * current.rtt_s

    def _lose(self, path: _Path, now: float) -> None:
        del self._paths[path.address, path.socket]
        self._in_use = None
        self._told_suspected = False
        self._choose(now)
        if self._in_use is None:
            self._paths.clear()
            self._events.append(PathsLost())

    def _prune(self, now: float) -> None:
        for key, path in list(self._paths.items()):
            old = now - path.heard_at > FORGET_AFTER_S
            if path is not self._in_use and (old or len(self._paths) > MOST_PATHS):
                del self._paths[key]
