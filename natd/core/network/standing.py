"""What speaks for a peer when places are short: how long we know it, and whether it is wanted.

    never reached ─► reached ─► a friend: connected on several days, and not long gone

Rules:
- Days count, not sessions: an identity costs a stranger nothing, and a session little.
- All ages are of the caller's clock.  What is kept across restarts is told in seconds before now.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from natd.core.base.types import PeerId

DAYS_APART_S = 86_400.0
"""Another day is counted so long after the last."""

FRIEND_DAYS = 3
"""Different days on which a friend has been connected: who comes once, or for an evening, is
none."""

FRIEND_FOR_S = 90 * DAYS_APART_S
"""Who was not connected for so long is a friend no more, and must not keep others out."""

MOST_STANDINGS = 4_096
"""Peers whose standing is remembered while they have no place: sixteen times as many as places."""


@dataclass(frozen=True, slots=True)
class Acquaintance:
    """How long we know a peer, as it is kept on disk: all in seconds before now."""

    days: int
    """Different days on which it was connected, 1 at least."""
    first_s_ago: float
    counted_s_ago: float
    """When the last of `days` was counted."""
    heard_s_ago: float
    """When it was connected last."""

    def after(self, passed_s: float) -> "Acquaintance":
        """The same so much later."""
        first_s, counted_s, heard_s = self.first_s_ago, self.counted_s_ago, self.heard_s_ago
        return Acquaintance(self.days, first_s + passed_s, counted_s + passed_s, heard_s + passed_s)


@dataclass(slots=True)
class Standing:
    """What speaks for one peer."""

    days: int = 0
    """0: never reached."""
    first_at: float = 0.0
    counted_at: float = float("-inf")
    heard_at: float = float("-inf")
    is_marked: bool = False
    """Whether the user has said that this is the person it claims to be."""
    is_addressed: bool = False
    """Whether a message waits that the user has written to it alone."""

    @classmethod
    def of(cls, known: Acquaintance, now: float) -> "Standing":
        return cls(
            max(1, known.days),
            now - known.first_s_ago,
            now - known.counted_s_ago,
            now - known.heard_s_ago,
        )

    def connected(self, now: float) -> None:
        """A session has begun."""
        if not self.days:
            self.first_at = now
        self.heard_at = now
        if now - self.counted_at >= DAYS_APART_S:
            self.days, self.counted_at = self.days + 1, now

    def stayed(self, now: float) -> None:
        """It has been connected from the last call of this or of `connected` until now."""
        days = int((now - self.counted_at) / DAYS_APART_S) if self.days else 0
        self.heard_at = now
        self.days += days
        self.counted_at += days * DAYS_APART_S

    def known(self, now: float) -> Acquaintance | None:
        """To be kept on disk; None for a peer that was never reached."""
        if not self.days:
            return None
        return Acquaintance(
            self.days, now - self.first_at, now - self.counted_at, now - self.heard_at
        )

    @property
    def is_reached(self) -> bool:
        return self.days > 0

    @property
    def is_held(self) -> bool:
        """Whether the user wants this very peer."""
        return self.is_marked or self.is_addressed

    def is_friend(self, now: float) -> bool:
        return self.days >= FRIEND_DAYS and now - self.heard_at < FRIEND_FOR_S

    def worth(self, now: float) -> tuple[int, float]:
        """Who has less gives way before others: the never reached, then those who were reached, the
        longest gone first, then friends, the newest first."""
        if self.is_held:
            return 3, 0.0
        if self.is_friend(now):
            return 2, now - self.first_at
        return (1, self.heard_at) if self.is_reached else (0, 0.0)


def best_first(known: Mapping[PeerId, Standing], now: float) -> list[PeerId]:
    """The order in which peers of an earlier run take their places."""
    return sorted(known, key=lambda peer: known[peer].worth(now), reverse=True)


class Standings:
    """Those of all peers of a network that were reached, or are wanted, with a place or without."""

    def __init__(self) -> None:
        self._of: dict[PeerId, Standing] = {}

    def of(self, peer: PeerId) -> Standing:
        """That of a peer; of an unknown one that of somebody who was never reached, which is not
        kept."""
        return self._of.get(peer) or Standing()

    def to_change(self, peer: PeerId, now: float) -> Standing:
        """That of a peer, which is kept from now on."""
        found = self._of.get(peer)
        if found is None:
            if len(self._of) >= MOST_STANDINGS:
                del self._of[min(self._of, key=lambda each: self._of[each].worth(now))]
            found = self._of[peer] = Standing()
        return found

    def recall(self, peer: PeerId, known: Acquaintance, now: float) -> None:
        """What is kept of an earlier run."""
        before = self.of(peer)
        recalled = Standing.of(known, now)
        recalled.is_marked, recalled.is_addressed = before.is_marked, before.is_addressed
        self.to_change(peer, now)
        self._of[peer] = recalled

    def forget(self, peer: PeerId) -> None:
        self._of.pop(peer, None)
