"""How long a path may be silent: learned from the NATs on it.

    15 s ─► a spare flow is silent, and the peer answers then
              28 s ── answered ─► 112 s ── answered ─► 170 s
                └─ missed: again    └─ missed ─► 56 s, and that again if it is missed
            each answer that comes through: 0.7 of that silence, up to 120 s
    15 s ◄─ a mapping was gone after a silence: at once, and the next lesson comes later

Rules:
- The silences stay just under the lifetimes that are common: 30, 60, 120, 300 s.  After the first,
  120 s is what RFC 4787 (section 4.3) asks for, so that is tried next.
- Each end learns what its own NAT allows, because incoming packets must get through; the shorter of
  both keepalives keeps the path.
- Lost packets look like an ended mapping, so a single miss of a short silence proves nothing.
- A lesson costs packets that an idle path does not have to spare until something is learned.  So
  the first one is over before the path has stood for a minute, and after a miss the next one waits
  until the longer keepalive has saved what it costs.
"""

from natd.core.base.timers import backed_off

KEEPALIVE_S = 15.0
"""RFC 8445, section 11; shorter than the 30 s for which the strictest common NATs keep a flow."""

LONGEST_S = 120.0
LESSON_SHARE = 0.7
FIRST_SILENCE_S = 28
NEXT_SILENCE_S: dict[int, tuple[int | None, int | None]] = {
    28: (112, 28),
    112: (170, 56),
    170: (None, None),
    56: (None, 56),
}
"""What to try after each silence, if it was answered and if it was missed; None: learned."""

MISSES = 2
"""Of one silence, until it is not tried again."""

BEGIN_AFTER_S = 8.0
"""A path that has lasted for so long is worth a lesson: its first answer comes within a minute."""

AFTER_MISS_S = 600.0
"""What a lesson costs both ends, ten packets, is no more than one a minute."""

AGAIN_AFTER_S, LATEST_AGAIN_S = 600.0, 14_400.0
"""Wait, doubling, after a learned value has proved wrong, or no lesson was answered; the first also
for a peer whose address has changed during a lesson."""


class Keepalive:
    """The keepalive learned for one kind of path."""

    def __init__(self, now: float) -> None:
        self.wait_s = KEEPALIVE_S
        self.begin_at: float | None = now + BEGIN_AFTER_S
        """When the next lesson is due; None: learned."""
        self.silence_s: int | None = FIRST_SILENCE_S
        """How long the spare flow is to be silent next; None when there is nothing to learn."""
        self._misses = 0
        self._relapses = 0

    def answered(self) -> None:
        """The peer's answer came through after `silence_s`."""
        silence_s = self.silence_s
        if silence_s is None:
            return
        self.wait_s = min(LONGEST_S, max(KEEPALIVE_S, LESSON_SHARE * silence_s))
        self._misses = 0
        self._go_on(NEXT_SILENCE_S[silence_s][0])

    def missed(self, now: float) -> None:
        """The peer's answer did not come through."""
        before = self.silence_s
        if before is None:
            return
        self.begin_at = now + AFTER_MISS_S
        self._go_on(NEXT_SILENCE_S[before][1])
        self._misses = self._misses + 1 if self.silence_s == before else 0
        if self._misses >= MISSES:
            self._misses = 0
            if before == FIRST_SILENCE_S:
                self.begin_at = now + self._again_s()  # perhaps no spare flow can be opened
            else:
                self._go_on(None)

    def gone(self, now: float, *, is_certain: bool) -> None:
        """A mapping ended after a silence shorter than the learned one; uncertain if the peer may
        just have left."""
        if self.wait_s > KEEPALIVE_S or self.silence_s != FIRST_SILENCE_S:
            self.wait_s, self.silence_s, self._misses = KEEPALIVE_S, FIRST_SILENCE_S, 0
            self.begin_at = now + (self._again_s() if is_certain else BEGIN_AFTER_S)

    def _go_on(self, silence_s: int | None) -> None:
        self.silence_s = silence_s
        if silence_s is None:
            self.begin_at = None

    def _again_s(self) -> float:
        self._relapses += 1
        return backed_off(self._relapses - 1, AGAIN_AFTER_S, LATEST_AGAIN_S)
