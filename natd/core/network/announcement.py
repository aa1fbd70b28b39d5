"""When our newest card is told, and who has not heard of it yet.

Changes come in rows, so one waits until it has settled, unless an attempt under way could use it.
Who had no session when a card was told is told it with the next.
"""

from natd.core.base.timers import earliest
from natd.core.base.types import PeerId

SETTLES_S = 2.0


class Announcement:
    """See the top of this file."""

    def __init__(self) -> None:
        self.due_at: float | None = None
        """None: everyone has our newest card."""
        self._is_aside = False  # whether it tells nothing that an attempt would use
        self._untold: set[PeerId] = set()

    def hurry(self, now: float) -> None:
        """Our card has changed, and is told at once."""
        self.due_at = now

    def changed(self, now: float, *, hurries: bool) -> None:
        """What servers tell of us has changed; `hurries` where an attempt would use it."""
        self.due_at = now if hurries else earliest(self.due_at, now + SETTLES_S)
        self._is_aside = not hurries

    def take_due(self, now: float) -> bool:
        """Whether it is to be told now.  Drains."""
        if self.due_at is None or self.due_at > now:
            return False
        self.due_at = None
        return True

    def take_help(self) -> bool:
        """It is told now: whether it helps an attempt that runs.  Drains."""
        helps, self._is_aside, self.due_at = not self._is_aside, False, None
        return helps

    def missed(self, peer: PeerId) -> None:
        """This one has no session."""
        self._untold.add(peer)

    def take_missed(self, peer: PeerId) -> bool:
        """Whether this one has still to be told.  Drains."""
        is_missed = peer in self._untold
        self._untold.discard(peer)
        return is_missed
