"""The wall clock, as the shell tells it: a core reads none.

It decides one thing, whether a REGISTER may be of this moment (`coordinator/freshness.py`), and
there a wrong clock costs one round trip.
"""


class WallClock:
    """Unix time, as an offset from the caller's monotonic clock."""

    def __init__(self) -> None:
        self._offset_s: float | None = None  # None: the shell has not told it

    def set(self, unix_s: float, now: float) -> None:
        self._offset_s = unix_s - now

    def unix_ms(self, now: float) -> int:
        """0 while it was not told."""
        return 0 if self._offset_s is None else max(0, round((now + self._offset_s) * 1000))
