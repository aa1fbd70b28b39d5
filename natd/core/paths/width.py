"""Whether the path in use carries datagrams of full size.

QUIC needs paths that carry 1,200 bytes (RFC 9000, section 14).  One that carries less lets checks
through, so it seems to work, and no handshake ever completes on it.  One that shrinks later lets
small messages through, and no large one.

    full-size data unanswered for 2 s ─► three checks as large, each with a small one beside it
        a full-size one is answered           wide
        only small ones are                   narrow; asked again, in 1.5 s and then every 30 s
        none is                               nothing is known: the path itself is in doubt, and
                                              asked again in 1.5 s if it gives way to others

Rules:
- Both directions are tried: the answer to a full-size check is as long as the check.
- Nothing is sent while the session awaits nothing, but for a path that was found narrow.
- A small check counts if a full-size one left with it or after it: one that is answered later shows
  only that the peer is back.
- One loss proves nothing, so a path is narrow when six full-size checks were lost and small ones
  were not; until then it only gives way to others.
"""

from collections import deque

from natd.core.base.types import Datagram
from natd.core.checks.checks import CheckAnswer, Checks
from natd.core.codec.rendezvous import PADDED_BYTES
from natd.core.paths.events import PathMeasured
from natd.core.paths.path import Path
from natd.core.paths.paths import Paths

LARGE_BYTES = 1_000
"""Smaller datagrams are no reason to look: nobody makes a path so narrow."""

UNANSWERED_S = 2.0
"""Longer than a session repeats its first flights on a path that works."""

LADDER_S = (0.0, 0.3, 0.9)
ANSWER_S = 1.0
ANSWER_RTTS = 3.0
"""How long after the last check its answer is waited for; the longer of the two."""

CONFIRM_S, NARROW_AGAIN_S = 1.5, 30.0
"""From one finding of a narrow path to the next checks."""

CLOCK_STEP_S = 1e-6
"""Two instants that differ by less are one."""

WIDE_FOR_S = 10.0
"""A bulk transfer always awaits something: so rarely is it asked again."""


class Width:
    """See the top of this file."""

    def __init__(self, checks: Checks, paths: Paths) -> None:
        self.events: deque[PathMeasured] = deque(maxlen=4)
        """The owner drains them."""
        self.due_at: float | None = None
        """When to call `handle_timer`; None: never."""
        self._checks, self._paths = checks, paths
        self._datagrams: list[Datagram] = []
        self._path: Path | None = None  # the one that is watched; None: none is
        self._sent = 0  # full-size checks of this row
        self._asked = (0.0, 0.0)  # when the first and the last check of this row left
        self._heard_small = False
        self._rests_until = 0.0  # it was wide just before
        self._findings = 0  # how often in a row it was found narrow
        self._size_bytes = 0  # of the largest datagram that awaits its answer

    # --- inputs

    def carry(self, path: Path, size_bytes: int, now: float, *, awaiting: bool) -> bool:
        """Whether the path in use may carry a datagram of the session; `awaiting`: it asks for an
        answer.  One that is refused is sent again when the path is wide, or another is there."""
        if size_bytes < LARGE_BYTES:
            return True
        if awaiting:
            if path is not self._path:
                self._watch(path, now + self._unanswered_s)
                self._findings = int(path.is_narrow)
            elif self.due_at is None and now >= self._rests_until:
                self.due_at = now + self._unanswered_s
            if not self._sent:
                self._size_bytes = max(self._size_bytes, size_bytes)
        is_certain = path is not self._path or self._findings != 1
        return not (path.is_narrow and is_certain)

    def expect_session(self, now: float) -> None:
        """The path in use is new, and the peer has not reached us with a session yet: the one who
        is dialled sends nothing large, and would learn nothing of a path that is too narrow."""
        path = self._paths.current
        if path is not None and path is not self._path:
            self._watch(path, now + self._unanswered_s)
            self._findings = int(path.is_narrow)
            self._size_bytes = PADDED_BYTES

    def rest(self) -> None:
        """The session awaits nothing."""
        if not self._sent and not self._findings:
            self.due_at, self._size_bytes = None, 0

    def drop(self) -> None:
        """There is no path."""
        self._watch(None, None)

    def answered(self, answer: CheckAnswer, now: float) -> None:
        """A check of ours was answered."""
        path = self._path
        if path is None or (answer.address, answer.socket) != path.key:
            return
        if answer.is_filled:
            if self._findings:
                self._paths.judge_width(path, now, is_narrow=False)
                self.events.append(PathMeasured(*path.key, is_narrow=False))
            self._watch(path, None)
            self._rests_until = now + WIDE_FOR_S
        elif self._sent and self._asked[0] <= now - answer.rtt_s + CLOCK_STEP_S:
            self._heard_small |= now - answer.rtt_s <= self._asked[1] + CLOCK_STEP_S

    def handle_timer(self, now: float) -> None:
        path = self._path
        if path is None or self.due_at is None or self.due_at > now:
            return
        if self._sent < len(LADDER_S):
            self._datagrams += [
                self._checks.filled(*path.key, self._size_bytes, now),
                self._checks.request(*path.key, now),
            ]
            self._asked = (self._asked[0] if self._sent else now, now)
            self._sent += 1
            if self._sent < len(LADDER_S):
                self.due_at = now + LADDER_S[self._sent] - LADDER_S[self._sent - 1]
            else:
                self.due_at = now + max(ANSWER_S, ANSWER_RTTS * path.rtt_s)
            return
        self._sent = 0
        if not self._heard_small:
            again_s = CONFIRM_S if self._findings == 1 else NARROW_AGAIN_S
            self.due_at = now + again_s if self._findings else None
            return
        self._heard_small = False
        self._findings += 1
        self.due_at = now + (CONFIRM_S if self._findings == 1 else NARROW_AGAIN_S)
        if self._findings == 1:
            self._paths.judge_width(path, now, is_narrow=True)
        is_certain = self._findings > 1
        self.events.append(PathMeasured(*path.key, is_narrow=True, is_certain=is_certain))

    # --- outputs

    def datagrams_to_send(self) -> list[Datagram]:
        datagrams, self._datagrams = self._datagrams, []
        return datagrams

    @property
    def is_narrow(self) -> bool:
        """Whether the path that is watched is known to be narrow."""
        return self._path is not None and self._path.is_narrow

    # --- private

    @property
    def _unanswered_s(self) -> float:
        return UNANSWERED_S + self._paths.meetings.patience_s

    def _watch(self, path: Path | None, due_at: float | None) -> None:
        self._path, self.due_at = path, due_at
        self._sent = self._findings = self._size_bytes = 0
        self._heard_small = False
