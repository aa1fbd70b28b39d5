"""How long our NAT keeps a mapping: after the last packet, and at all.

A mapping that has ended did so for one of two reasons, and how long it had been silent tells
which:

    silent for longer than any silence that a mapping has survived    idle
    kept busy                                                         absolute age

Rules:
- One busy mapping that has ended may have met a router's reboot; an absolute age is believed from
  two that ended at about the same one.
- What a mapping survives speaks against what was believed: then it is forgotten, and learnt anew.
- Both figures are on the safe side: when the mapping was last known to live for an age, the
  longest silence survived below the shortest fatal one for idling.
"""

import itertools
from dataclasses import dataclass

from natd.core.base.types import Address

IDLE_MARGIN = 1.3
"""A silence that is longer by this factor than any that was survived is what ended a mapping."""

SAME_AGE = 1.5
"""Two ages within this factor are one and the same limit, seen at different instants."""

MOST_ENDS = 8


@dataclass(frozen=True, slots=True)
class Lifetime:
    """What is known of a NAT's patience; None: nothing."""

    idle_s: float | None = None
    """A silence of this length was fatal."""
    safe_idle_s: float | None = None
    """A silence of this length was survived."""
    age_s: float | None = None
    """A mapping may end at this age whatever its traffic."""


class Lifetimes:
    """Learns a NAT's lifetimes from what became of mappings through it."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Another network: nothing is known."""
        self._fatal_s: float | None = None
        self._survived_s = 0.0
        self._ages_s: list[float] = []
        """Of busy mappings that ended, when they were last known to live."""

    def mapping_lived(self, age_s: float, idle_s: float) -> None:
        """A mapping made `age_s` ago was still there after a silence of `idle_s`."""
        self._survived_s = max(self._survived_s, idle_s)
        if self._fatal_s is not None and idle_s >= self._fatal_s:
            self._fatal_s = None
        limit_s = self._age_s()
        if limit_s is not None and age_s > limit_s * SAME_AGE:
            self._ages_s.clear()

    def mapping_ended(self, age_s: float, idle_s: float) -> None:
        """A mapping made `age_s` ago was found to be gone, `idle_s` after its last sign of life."""
        if idle_s > max(self._survived_s * IDLE_MARGIN, 0.0) or idle_s >= age_s:
            self._fatal_s = idle_s if self._fatal_s is None else min(self._fatal_s, idle_s)
        else:
            self._ages_s = [*self._ages_s, age_s - idle_s][-MOST_ENDS:]

    @property
    def learnt(self) -> Lifetime:
        safe_s = self._survived_s or None
        if safe_s is not None and self._fatal_s is not None:
            safe_s = min(safe_s, self._fatal_s)
        return Lifetime(self._fatal_s, safe_s, self._age_s())

    def _age_s(self) -> float | None:
        """The lowest age at which two have ended."""
        ages_s = sorted(self._ages_s)
        for lower_s, upper_s in itertools.pairwise(ages_s):
            if upper_s <= lower_s * SAME_AGE:
                return lower_s
        return None


class FlowWatch:
    """What becomes of the mapping behind one flow of ours, told to `lifetimes`.

    A flow that is seen where it was has lived through that silence; one that is seen elsewhere
    has ended, and has a new mapping.  After `forget` (another network, a server that was away
    while we went on asking) the watch begins anew, so that an age is one without a gap.
    """

    def __init__(self, lifetimes: Lifetimes) -> None:
        self._lifetimes = lifetimes
        self._observed: Address | None = None  # None: not watched
        self._since = 0.0
        self._heard_at = 0.0

    def heard(self, observed: Address, now: float) -> None:
        """The other end has answered, and sees us there."""
        before, self._observed = self._observed, observed
        age_s, idle_s = now - self._since, now - self._heard_at
        self._heard_at = now
        if before == observed:
            self._lifetimes.mapping_lived(age_s, idle_s)
            return
        self._since = now
        if before is not None:
            self._lifetimes.mapping_ended(age_s, idle_s)

    def forget(self) -> None:
        self._observed = None
