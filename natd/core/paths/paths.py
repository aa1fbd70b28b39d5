"""The live paths of one peer: which one to use, whether it still works, keeping it open.

A path is an address of the peer and a socket of ours between which an authenticated check has gone
both ways (`path`).  Two of them are maintained:

    in use      checked when it was silent for its keepalive; every `BUSY_CHECK_S` during a chat
    standby     the best of the others, at a slow pace of its own; asked as soon as the first is
                in doubt, and in its place one round trip later

Rules:
- A path is only ever added by an answer to a check of ours, so nobody can move a session by
  replaying its datagrams from elsewhere.
- A path in doubt is cleared only by an answer: a NAT that was replaced may let the peer's checks in
  by an old mapping while ours no longer arrive.
- A path of a better kind replaces the one in use at once, and any path that answers replaces a
  suspected one.  Only a path heard within `FRESH_S` is taken into use.
- If the peer's data comes by another path of no worse kind, and nothing by the one in use, we
  follow: its end of the old path may be gone.  A side that has just moved follows later, and one of
  the two sides much later, so that they don't swap for ever.
- A check to the source of an authentic datagram is paid for like one to a stranger.
- An idle path costs one check and its answer in a keepalive interval, from whichever side is first.
"""

from collections import deque
from random import Random
from typing import Final

from natd.core.base.timers import earliest, jittered
from natd.core.base.types import Address, Datagram, PathKind, PathReport, SocketId
from natd.core.checks.budget import TargetBudget
from natd.core.checks.checks import CheckAnswer, Checks
from natd.core.paths.events import (
    PathChosen,
    PathDown,
    PathRecovered,
    PathResumed,
    PathsEvent,
    PathSuspected,
)
from natd.core.paths.flows import FlowsToPeer
from natd.core.paths.keepalive import KEEPALIVE_S
from natd.core.paths.path import (
    BUSY_CHECK_S,
    CONFIRM_AFTER_S,
    KEEPALIVE_JITTER,
    STANDBY_S,
    Path,
    best_of,
    outdated,
    standby_of,
)
from natd.core.paths.roaming import Roaming

BUSY_FOR_S = 15.0
"""How long a side counts as busy after the last message.  What else a session carries is no reason:
of a hundred peers that have just met hardly any is spoken with."""


class Paths:
    """Every live path of one peer."""

    def __init__(
        self, checks: Checks, budget: TargetBudget, random: Random, flows: FlowsToPeer
    ) -> None:
        self.keepalive_s = KEEPALIVE_S
        """How long the path in use may be silent."""
        self.flows: Final = flows
        self.meetings: Final = budget.meetings
        self._checks = checks
        self._random = random
        self._paths: dict[tuple[Address, SocketId], Path] = {}
        self._in_use: Path | None = None
        self._standby: Path | None = None  # None: no other path is worth it
        self._chosen_at = 0.0
        self._hold_until = 0.0  # until then don't follow the peer
        self._is_alone = False  # whether no server would tell that a router has restarted
        self._busy_until = 0.0
        self._roaming = Roaming(checks, budget)
        self._told_suspected = False
        self._asked_back_at = float("-inf")
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
            path = Path(
                address,
                socket,
                kind,
                technique,
                rtt_s,
                since=now,
                heard_at=now,
                keepalive_at=now + CONFIRM_AFTER_S,
                flow=self.flows.flow((address, socket)),
            )
            self._paths[path.key] = path
        self._prove(path, now)
        self._choose(now)
        self._prune(now)

    def replace(self, address: Address, socket: SocketId, now: float) -> None:
        """Use this path from now on; the path in use is kept until its mapping ends."""
        old, new = self._in_use, self._paths.get((address, socket))
        if new and old and new is not old:
            old.retired, new.retired = True, False
            self._take(new, now)
            self._prune(now)

    def keep(self, keepalive_s: float, now: float, *, is_alone: bool) -> None:
        """The NATs let the path in use be silent for so long.  `is_alone`: no server would tell
        that a router has restarted; then each side learns that only by its own checks."""
        current, self._is_alone = self._in_use, is_alone
        if current is not None:
            current.is_hasty = is_alone and current.kind is not PathKind.LAN
            if current.is_hasty:
                keepalive_s = min(keepalive_s, KEEPALIVE_S)
        if keepalive_s < self.keepalive_s and current is not None:
            current.keepalive_at = min(
                current.keepalive_at, now + self._jittered(keepalive_s, current)
            )
        self.keepalive_s = keepalive_s

    def judge_width(self, path: Path, now: float, *, is_narrow: bool) -> None:
        """Whether this path carries too little for a session: then any other is better."""
        path.is_narrow = is_narrow
        self._ask_others(now)
        self._choose(now)

    def forget(self, address: Address, socket: SocketId) -> None:
        """Remove a path that is not in use."""
        path = self._paths.get((address, socket))
        if path is not None and path is not self._in_use:
            self._remove(path)

    def heard(
        self,
        address: Address,
        socket: SocketId,
        now: float,
        *,
        is_data: bool,
        is_nomination: bool = False,
    ) -> None:
        """An authentic packet came from `address`; if that is no path, send a check there.

        `is_nomination`: the peer says that it has moved there.
        """
        path = self._paths.get((address, socket))
        if path is not None and path.wants_answer(now):
            self._ask_back(path, now)
        elif path is not None:
            self._close_gap(path, now, by_peer=True)
            self._prove(path, now)
            if path is not self._in_use:
                self._choose(now)
                if is_data:
                    self._answered_elsewhere()
                    self._follow(path, now, is_told=is_nomination)
        elif self._paths:
            check = self._roaming.heard(address, socket, now, is_data=is_data)
            self._datagrams += [check] if check is not None else []

    def check_answered(self, answer: CheckAnswer, kind: PathKind, now: float) -> bool:
        """Take the answer to a check of a path, or to an address where the peer was heard, which
        then becomes a path of `kind`; False: it is neither."""
        key = (answer.address, answer.socket)
        path = self._paths.get(key)
        if path is not None:
            path.timed(answer.rtt_s)
            self._close_gap(path, now, by_peer=False)
            self._prove(path, now)
            self._choose(now)
            return True
        place = self._roaming.proved(*key)
        if place is None:
            return False
        self.add(*key, kind, "roaming", answer.rtt_s, now)
        path, current = self._paths.get(key), self._in_use
        if path is not None and current is not None and path is not current:
            if place.by_data:
                self._follow(path, now)
            elif current.heard_at < place.since:
                # Perhaps the peer has moved there: it replaces a path that does not answer.
                current.begin_probing(now)
        return True

    def sent(self, now: float, *, awaiting: bool) -> None:
        """Session data went out on the path in use; `awaiting` when it asks for an answer."""
        path = self._in_use
        if path is not None and awaiting and path.awaiting_since is None:
            path.awaiting_since, path.patience_s = now, self.meetings.patience_s

    def talk(self, now: float) -> None:
        """A message has come, is on its way, or was acknowledged: the next one follows soon."""
        self._busy_until = now + BUSY_FOR_S
        if self._in_use is not None:
            path = self._in_use
            path.keepalive_at = min(path.keepalive_at, now + BUSY_CHECK_S)

    def probe(self, now: float) -> None:
        """Ask for an answer at once: the user pinged, or the network below us changed."""
        for path in self._paths.values():
            if path.probing_since is None:
                path.begin_probing(now)
                if path is not self._in_use:
                    self._probe(path, now)
        self.handle_timer(now)

    def drop(self) -> None:
        """The peer is gone, or our network is another one: remove all paths."""
        self._paths.clear()
        self._roaming.clear()
        self._in_use = self._standby = None
        self._told_suspected = False

    def handle_timer(self, now: float) -> None:
        path = self._in_use
        if path is not None and now >= path.due(in_use=True):
            self._look_after(path, now)
        standby = self._standby
        if standby is not None and now >= standby.due(in_use=False):
            self._look_after(standby, now)

    # --- outputs

    def datagrams_to_send(self) -> list[Datagram]:
        datagrams, self._datagrams = self._datagrams, []
        return datagrams

    def next_event(self) -> PathsEvent | None:
        return self._events.popleft() if self._events else None

    def get_timer(self) -> float | None:
        return earliest(
            None if self._in_use is None else self._in_use.due(in_use=True),
            None if self._standby is None else self._standby.due(in_use=False),
        )

    @property
    def in_use(self) -> tuple[Address, SocketId] | None:
        return None if self._in_use is None else self._in_use.key

    @property
    def current(self) -> Path | None:
        """The path in use, read only."""
        return self._in_use

    @property
    def standby(self) -> tuple[Address, SocketId] | None:
        """The path that is kept open besides the one in use."""
        return None if self._standby is None else self._standby.key

    @property
    def sockets(self) -> frozenset[SocketId]:
        """Those of the path in use and of its standbys."""
        return frozenset(path.socket for path in self._paths.values())

    @property
    def healthy(self) -> bool:
        """Whether there is a path in use that is not suspected."""
        return self._in_use is not None and not self._in_use.suspected

    def is_heard_since(self, at: float) -> bool:
        """Whether the path in use is in no doubt, and the peer was heard by it after that."""
        path = self._in_use
        if path is None or path.probing_since is not None or path.is_narrow:
            return False
        return path.heard_at > at

    @property
    def heard_at(self) -> float | None:
        return max((path.heard_at for path in self._paths.values()), default=None)

    @property
    def report(self) -> PathReport | None:
        return None if self._in_use is None else self._in_use.report()

    # --- private: is it alive

    def _look_after(self, path: Path, now: float) -> None:
        """Do what is due on the path in use or on its standby."""
        in_use = path is self._in_use
        if path.probing_since is None:
            if path.rests_on_another(now):
                return
            path.patience_s = self.meetings.patience_s
            path.begin_probing(now)
            self._prune(now)
        elif now >= path.lost_at(in_use=in_use):
            self._lose(path, now)
            return
        if now < path.due(in_use=in_use):
            return
        self._probe(path, now)
        if not in_use:
            return
        if path.probes == 2 or (path.suspected and not self._told_suspected):
            self._ask_others(now)
        if path.suspected and not self._told_suspected:
            self._told_suspected = True
            self._events.append(PathSuspected())
        if path.is_in_doubt(now):
            self._choose(now)

    def _probe(self, path: Path, now: float) -> None:
        path.probes += 1
        path.flow.asked_at = now
        self._datagrams.append(self._checks.request(path.address, path.socket, now))

    def _ask_back(self, path: Path, now: float) -> None:
        """The peer is heard on a path in doubt: check if it hears us, too."""
        if now - self._asked_back_at >= path.doubt_s:
            self._asked_back_at = now
            self._close_gap(path, now, by_peer=True)
            self._datagrams.append(self._checks.request(path.address, path.socket, now))

    def _ask_others(self, now: float) -> None:
        for other in self._paths.values():
            if other is not self._in_use:
                self._datagrams.append(self._checks.request(other.address, other.socket, now))

    def _close_gap(self, path: Path, now: float, *, by_peer: bool) -> None:
        if path is not self._in_use or not path.probes:
            return
        is_certain = path.is_overdue(now)
        if is_certain or path.awaiting_since is not None:
            self._events.append(PathResumed(by_peer, path.quiet_s, is_certain))

    def _prove(self, path: Path, now: float) -> None:
        path.prove(now)
        self._arm(path, now)
        if path is self._in_use and self._told_suspected:
            self._told_suspected = False
            self._events.append(PathRecovered(path.report()))

    def _arm(self, path: Path, now: float) -> None:
        """Set the instant from which silence is too long."""
        wait_s = self.keepalive_s
        if path is not self._in_use:
            wait_s = max(STANDBY_S, wait_s)
        elif now < self._busy_until:
            wait_s = BUSY_CHECK_S
        path.arm(self._jittered(wait_s, path), now)

    def _jittered(self, wait_s: float, path: Path) -> float:
        if not self._is_alone:
            return jittered(wait_s * (1.0 + KEEPALIVE_JITTER), KEEPALIVE_JITTER, self._random)
        return wait_s + path.later_s(wait_s, self._random, is_first=self._checks.we_open)

    # --- private: which one

    def _choose(self, now: float) -> None:
        """Take the best path into use, if it is another one."""
        in_use_s = now - self._chosen_at
        best = best_of(self._paths.values(), self._in_use, in_use_s, now)
        if best is not None:
            self._take(best, now)
        else:
            self._elect()

    def _take(self, path: Path, now: float) -> None:
        before, self._in_use = self._in_use, path
        self._chosen_at = now
        self._hold_until = now + path.hold_s(is_first=self._checks.we_open)
        self._arm(path, now)
        if self._told_suspected:
            self._told_suspected = False
            self._events.append(PathRecovered(path.report()))
        self._elect()
        is_seamless = before is not None and before.is_quiet
        self._events.append(PathChosen(path.report(), is_seamless))

    def _answered_elsewhere(self) -> None:
        """The peer's data comes by another path than ours: let checks decide if ours still works,
        or we would suspect and clear it with every answer."""
        current = self._in_use
        if current is not None and current.probing_since is None:
            current.awaiting_since = None

    def _follow(self, path: Path, now: float, *, is_told: bool = False) -> None:
        """The peer sends data by this path, or announces that it will: use it, too."""
        current = self._in_use
        if current is None or path is current or now < self._hold_until:
            return
        if path.rank > current.rank and not (current.suspected or current.is_narrow):
            return
        if is_told or now - current.heard_at >= current.doubt_s:
            path.retired = False
            self._take(path, now)

    def _elect(self) -> None:
        self._standby = standby_of(self._paths.values(), self._in_use)

    def _lose(self, path: Path, now: float) -> None:
        was_in_use = path is self._in_use
        self._remove(path)
        if not was_in_use:
            return
        self._in_use = None
        self._told_suspected = False
        self._choose(now)
        if self._in_use is None:
            self._paths.clear()
            self._standby = None
            self._events.append(PathDown())

    def _remove(self, path: Path) -> None:
        del self._paths[path.key]
        self._elect()

    def _prune(self, now: float) -> None:
        for path in outdated(self._paths.values(), (self._in_use, self._standby), now):
            del self._paths[path.key]
