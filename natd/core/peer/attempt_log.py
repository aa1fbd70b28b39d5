"""What was tried to reach one peer, as a short list of steps: for `natctl doctor PEER`.

    0.00 s  introduced   by 203.0.113.9:8080, seen at 198.51.100.7:40001
    0.00 s  checks       7 x server-reflexive
    0.31 s  sampled      ...
    0.62 s  path         direct 198.51.100.7:40001 (simultaneous-open)

Rules:
- The list is bounded: the first `HEAD` steps show how it began, the last `TAIL` how it stands; it
  says how many between them are missing.
- Packets of one kind in a row are one step with a count, until another kind of step ends the row.
- It outlives the path that was found, to answer "how did the two meet?".  It restarts with the next
  attempt that begins without a path.
- Addresses and counts only: no message text, no key.
"""

from collections import deque
from dataclasses import dataclass
from enum import StrEnum

from natd.core.base.types import SocketId

HEAD = 24
TAIL = 40
"""Together 64 steps: a screen and a half, and 18 KiB a peer at most."""

MOST_COUNTED_SOCKETS = 512
"""Counted in one row; an escalation uses fewer."""

MOST_GROWING = 64
"""Rows that may still grow: each new address that a peer is heard from begins one."""

DETAIL_CHARACTERS = 160
"""Longest detail of a step: a server's list of addresses may be long."""


class Step(StrEnum):
    """What happened."""

    INTRODUCED = "introduced"
    ABSENT = "absent"
    CHECKS = "checks"
    OPENERS = "openers"
    GUESSES = "guesses"
    HANDSHAKE = "handshake"
    SAMPLED = "sampled"
    FRESH_SOCKET = "fresh-socket"
    ASKED_INTRODUCTION = "asked-introduction"
    HEARD = "heard"
    PATH = "path"
    NARROW = "narrow"
    PATH_LOST = "path-lost"
    SESSION = "session"
    LEFT = "left"
    VERDICT = "verdict"


COUNTED = frozenset((Step.CHECKS, Step.OPENERS, Step.GUESSES, Step.HANDSHAKE, Step.HEARD))
"""Steps that are counted in rows."""


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One step of an attempt."""

    at_s: float
    """Seconds since the log began."""
    last_at_s: float
    """The same for the last packet of a row; `at_s` if there is only one."""
    step: Step
    detail: str
    """For people: addresses, kinds, techniques; may be empty."""
    count: int
    sockets: int
    """How many of our sockets they left from; 0 if not counted."""


@dataclass(slots=True)
class _Row:
    at: float
    last_at: float
    step: Step
    detail: str
    count: int
    sockets: int = 0


class AttemptLog:
    """See the top of this file."""

    def __init__(self) -> None:
        self._began: float | None = None  # None: nothing was tried yet
        self._head: list[_Row] = []
        self._tail: deque[_Row] = deque(maxlen=TAIL)
        # Rows that may still grow, and the sockets counted in each.
        self._open: dict[tuple[Step, str], tuple[_Row, set[SocketId]]] = {}
        self._steps = 0

    def begin(self, now: float) -> None:
        """Begin the log of another attempt."""
        self._began, self._steps = now, 0
        self._head, self._tail, self._open = [], deque(maxlen=TAIL), {}

    def note(self, step: Step, detail: str, now: float, socket: SocketId | None = None) -> None:
        """Add a step at `now`; counts `socket` if given."""
        if self._began is None:
            self.begin(now)
        detail = detail[:DETAIL_CHARACTERS]
        if (step, detail) in self._open:
            row, sockets = self._open[step, detail]
            row.last_at, row.count = now, row.count + 1
            if socket is not None and len(sockets) < MOST_COUNTED_SOCKETS:
                sockets.add(socket)
                row.sockets = len(sockets)
            return
        if step not in COUNTED:
            self._open.clear()
        sockets = set() if socket is None else {socket}
        row = _Row(now, now, step, detail, 1, len(sockets))
        if step in COUNTED:
            if len(self._open) >= MOST_GROWING:
                del self._open[next(iter(self._open))]
            self._open[step, detail] = row, sockets
        if len(self._head) < HEAD:
            self._head.append(row)
        else:
            self._tail.append(row)
        self._steps += 1

    @property
    def entries(self) -> tuple[LogEntry, ...]:
        """Oldest first; missing steps were after the first `HEAD`."""
        began = self._began or 0.0
        return tuple(
            LogEntry(
                row.at - began,
                row.last_at - began,
                row.step,
                row.detail,
                row.count,
                row.sockets,
            )
            for row in (*self._head, *self._tail)
        )

    @property
    def began(self) -> float | None:
        """When the attempt began; None before the first."""
        return self._began

    @property
    def missing(self) -> int:
        """How many steps had no room."""
        return self._steps - len(self._head) - len(self._tail)
