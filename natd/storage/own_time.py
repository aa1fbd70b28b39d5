"""The daemon's own time: the seconds that it has run, in all of its runs together.

Ages that decide something are counted in it: how long a message is kept for a peer, when history
is deleted, who was here lately.  The clock on the wall would be wrong for that: it is set, it
jumps, and a machine may start with any time at all.  While the daemon does not run its own time
stands still, because a clock that was put forward looks just like days gone by: what is kept for
seven days may be kept for longer, never for less.

It begins, in a new state directory, at what the clock says, and is then only ever counted on; it
is kept on disk with every commit, and every ten minutes where there is none.

    own time    +1 a second while the daemon runs; decides
    the clock   what people are shown; decides nothing, and a jump of it is told
"""

import functools
import time
from dataclasses import dataclass
from pathlib import Path

DAY_S = 86_400

SAVE_EVERY_S = 600.0
"""A crash takes back at most so much of it, where nothing else is written."""

JUMP_S = 60.0
"""A clock that is off by so much was set; a slow correction takes longer."""

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class ClockJump:
    """The clock was set."""

    seconds: float
    """Forward, or backward where negative."""


class OwnTime:
    """The count, from what the last run has saved."""

    def __init__(self, saved_s: int | None) -> None:
        """None: a new count."""
        self._base_s = time.time() if saved_s is None else float(saved_s)
        self._began_at = time.monotonic()

    @property
    def now_s(self) -> int:
        return int(self._base_s + time.monotonic() - self._began_at)


class WallClock:
    """Notices when the clock is set, in a run and from one run to the next."""

    def __init__(self, saved: str | None) -> None:
        """`saved` is what `saved_text` gave in an earlier run."""
        self._last: tuple[str, float, float] | None = None
        if saved is not None:
            boot, since_boot, unix = saved.split()
            self._last = boot, float(since_boot), float(unix)

    def look(self) -> ClockJump | None:
        """A jump since the last look.  Of a machine that was started anew only a clock that has
        gone back is certain."""
        before, now = self._last, (_boot_id(), _since_boot_s(), time.time())
        self._last = now
        if before is None:
            return None
        jump = now[2] - before[2]
        if before[0] == now[0]:
            jump -= now[1] - before[1]
        elif jump > 0:
            return None
        return ClockJump(jump) if abs(jump) >= JUMP_S else None

    @property
    def saved_text(self) -> str:
        """Of the last look."""
        boot, since_boot, unix = self._last or (_boot_id(), _since_boot_s(), time.time())
        return f"{boot} {since_boot:.3f} {unix:.3f}"


@functools.cache
def _boot_id() -> str:
    try:
        return BOOT_ID.read_text().strip() or "-"
    except OSError:
        return "-"


def _since_boot_s() -> float:
    """With the time in which the machine was suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
