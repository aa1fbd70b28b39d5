"""How long our NAT keeps a mapping: after its last packet, and in total.

A mapping ends for one of two reasons; how long it was silent before shows which:

    silent for longer than any silence that a mapping has survived    idle
    kept busy                                                         absolute age

Rules:
- One busy mapping may have ended because the router rebooted: an absolute age is believed when two
  mappings have ended at about the same age.
- A mapping that outlives the believed limit disproves it: the limit is forgotten and learned again.
- Both figures err on the safe side: an age counts up to the last sign of life, and the idle limit
  is the longest survived silence below the shortest fatal one.
"""

import itertools
from dataclasses import dataclass

from natd.core.base.types import Address

IDLE_MARGIN = 1.3
"""A silence longer than any survived one by this factor is taken for the cause."""

SAME_AGE = 1.5
"""Two ages within this factor are the same limit, observed at different instants."""

MOST_ENDS = 8


@dataclass(frozen=True, slots=True)
class Lifetime:
    """How long a NAT keeps mappings; None: unknown."""

    idle_s: float | None = None
    """A silence of this length ended a mapping."""
    safe_idle_s: float | None = None
    """A silence of this length was survived."""
    age_s: float | None = None
    """A mapping may end at this age even if it is busy."""


class Lifetimes:
    """Learns a NAT's lifetimes from mappings that lived or ended."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Another network: nothing is known."""
        self._fatal_s: float | None = None
        self._survived_s = 0.0
        self._ages_s: list[float] = []
        """Ages at which busy mappings that ended were last known to live."""

    def mapping_lived(self, age_s: float, idle_s: float) -> None:
        """A mapping made `age_s` ago was still there after a silence of `idle_s`."""
        self._survived_s = max(self._survived_s, idle_s)
        if self._fatal_s is not None and idle_s >= self._fatal_s:
            self._fatal_s = None
        limit_s = self._age_s()
        if limit_s is not None and age_s > limit_s * SAME_AGE:
            self._ages_s.clear()

    def mapping_ended(self, age_s: float, idle_s: float) -> None:
        """A mapping made `age_s` ago has ended, `idle_s` after its last sign of life."""
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
    """Observes the mapping of one flow of ours and reports to `lifetimes` if it lived or ended.

    A flow seen at the same address has survived the silence; one seen at another address has a
    new mapping.  `forget` (our network changed, or the server was away while we went on asking)
    restarts the watch, so that an age has no gap.
    """

    def __init__(self, lifetimes: Lifetimes) -> None:
        self._lifetimes = lifetimes
        self._observed: Address | None = None  # None: not watched
        self._since = 0.0
        self._heard_at = 0.0

    def heard(self, observed: Address, now: float) -> None:
        """The other end has answered, and sees us at this address."""
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
