"""How long a path may be silent: learned from the NATs on it.

    15 s ─► a spare flow is silent for 28 s, 56 s, 112 s, 170 s, and the peer answers then
            each answer that comes through: 0.7 of that silence, up to 120 s
            one that does not, twice: learned
    15 s ◄─ a mapping was gone after a silence: at once, and the next lesson comes later

Rules:
- The silences stay just under the lifetimes that are common: 30, 60, 120, 300 s.
- Each end learns what its own NAT allows, because incoming packets must get through; the shorter of
  both keepalives keeps the path.
- Lost packets look like an ended mapping, so a single miss proves nothing.
"""

from natd.core.base.timers import backed_off

KEEPALIVE_S = 15.0
"""RFC 8445, section 11; shorter than the 30 s for which the strictest common NATs keep a flow."""

LONGEST_S = 120.0
LESSON_SHARE = 0.7
LESSON_SILENCES_S = (28, 56, 112, 170)
MISSES = 2
BEGIN_AFTER_S = 60.0
"""A path that has lasted for a minute is worth a lesson."""

AGAIN_AFTER_S, LATEST_AGAIN_S = 600.0, 14_400.0
"""Wait, doubling, after a learned value has proved wrong."""


class Keepalive:
    """The keepalive learned for one path."""

    def __init__(self, now: float) -> None:
        self.wait_s = KEEPALIVE_S
        self.begin_at: float | None = now + BEGIN_AFTER_S
        """When the next lesson is due; None: learned."""
        self._step = 0
        self._misses = 0
        self._relapses = 0

    @property
    def silence_s(self) -> int | None:
        """How long the spare flow is to be silent next; None when there is nothing to learn."""
        return LESSON_SILENCES_S[self._step] if self._step < len(LESSON_SILENCES_S) else None

    def answered(self) -> None:
        """The peer's answer came through after `silence_s`."""
        self.wait_s = min(LONGEST_S, max(KEEPALIVE_S, LESSON_SHARE * LESSON_SILENCES_S[self._step]))
        self._step += 1
        self._misses = 0
        if self.silence_s is None:
            self.begin_at = None

    def missed(self) -> None:
        """The peer's answer did not come through."""
        self._misses += 1
        if self._misses >= MISSES:
            self._step, self.begin_at = len(LESSON_SILENCES_S), None

    def put_off(self, now: float) -> None:
        """No spare flow could be opened."""
        self.begin_at = now + self._again_s()

    def gone(self, now: float, *, is_certain: bool) -> None:
        """A mapping ended after a silence shorter than the learned one; uncertain if the peer may
        just have left."""
        if self.wait_s > KEEPALIVE_S or self._step:
            self.wait_s, self._step, self._misses = KEEPALIVE_S, 0, 0
            self.begin_at = now + (self._again_s() if is_certain else BEGIN_AFTER_S)

    def _again_s(self) -> float:
        self._relapses += 1
        return backed_off(self._relapses - 1, AGAIN_AFTER_S, LATEST_AGAIN_S)
