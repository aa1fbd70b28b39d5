"""How many peers we are meeting just now, over all networks, and whether this machine keeps up.

A meeting costs a handshake and a dozen packets at each end.  A hundred at once take a second of a
core, and more where others compute on it, too: then what is repeated because no answer has come
adds to the work that keeps the answers waiting.  So servers are asked for further members only
while few meetings are under way, and what is repeated waits while our own timers come late.

Rules:
- Who waits for room looks seldom (`HELD_S`, and on a slow machine as its patience says): a hundred
  daemons that looked twenty times a second spent a third of their time on it.  A meeting that ends
  gives the turn.
- A server introduces both sides at the same instant (`natd/core/coordinator`), so no introduction
  that has come is put off: only the question for more is.
- A peer that is not there must not keep us from the others: a meeting is given up soon.
- A machine that was suspended is late once, and that counts for nothing.
"""

from collections import deque
from typing import Protocol


class Meeting(Protocol):
    """One that is met: known by its identity alone."""

    def __hash__(self) -> int: ...


MOST_AT_ONCE = 4
"""So many are met at once: with 0.2 s for each, a hundred are met in five seconds."""

MOST_WHILE_LATE = 1
"""The same where this machine does not keep up: more would only wait for one another."""

LASTS_S = 0.7
"""Longer than most meetings take that need no guesses; the others go on, and no longer count."""

LATE_TIMER_S, LATE_FOR_S = 0.05, 10.0
"""Two timers that come later than this within ten seconds show that the machine does not keep up.
Between them many are on time: a process that waits long for a core then has it for a while."""

LATE_ANSWER_S, ANSWERS_IN_A_ROW = 1.0, 4
"""The same of answers to checks: there are no ways so long, of four peers one after the other."""

MOST_LATE = 8
"""Late timers that are remembered."""

MOST_S = 15.0
"""What is later or slower than this counts no more."""

PATIENCE = 4.0
"""An answer waits at the peer's as long as our timers wait here, if it runs on a machine like
ours; and then for us."""

ROUND_TRIPS = 1.5


class Meetings:
    """See the top of this file."""

    def __init__(self) -> None:
        self._begun: dict[Meeting, float] = {}  # oldest first
        self._late: deque[tuple[float, float]] = deque(maxlen=MOST_LATE)
        self._answers_s = deque([0.0], maxlen=ANSWERS_IN_A_ROW)

    def begin(self, meeting: Meeting, now: float) -> None:
        """It is introduced; again is harmless."""
        self._begun.setdefault(meeting, now)

    def end(self, meeting: Meeting) -> None:
        """It is connected."""
        self._begun.pop(meeting, None)

    def are_many(self, now: float) -> bool:
        """Whether further members should wait."""
        while self._begun:
            oldest, at = next(iter(self._begun.items()))
            if now - at < LASTS_S + 2.0 * self.patience_s:
                break
            del self._begun[oldest]
        return self.is_full

    @property
    def is_full(self) -> bool:
        """The same by what was known when last asked."""
        return self.room <= 0

    @property
    def room(self) -> int:
        """How many more may be met now."""
        return (MOST_WHILE_LATE if self.are_slow else MOST_AT_ONCE) - len(self._begun)

    @property
    def are_slow(self) -> bool:
        """Whether this machine, or those of all others, does not keep up."""
        return self.patience_s > 0.0

    def timer_came(self, late_s: float, now: float) -> None:
        """A timer of ours came so much later than it was due."""
        while self._late and self._late[0][0] < now - LATE_FOR_S:
            self._late.popleft()
        if late_s >= LATE_TIMER_S:
            self._late.append((now, min(MOST_S, late_s)))

    def answered(self, rtt_s: float) -> None:
        """A check was answered after so long."""
        self._answers_s.append(min(MOST_S, rtt_s))

    @property
    def patience_s(self) -> float:
        """How long to wait at least before something is repeated; 0 while we keep up."""
        answer_s = min(self._answers_s)
        patience_s = 0.0 if answer_s < LATE_ANSWER_S else ROUND_TRIPS * answer_s
        if len(self._late) > 1:
            _, second_s = sorted((late_s for _, late_s in self._late), reverse=True)[:2]
            patience_s = max(patience_s, PATIENCE * second_s)
        return patience_s
