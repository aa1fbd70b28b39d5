"""What becomes of the NAT mapping behind one flow of ours, for those who learn lifetimes from it.

    heard, heard, ... ─► MappingLived: still there after that silence
    heard elsewhere   ─► MappingEnded: gone; the flow has a new one from here on

Rules:
- The flow's ages are those of its mapping as far as it was watched without a gap: after `forget`
  (another network, a server that was away while we went on asking) it begins anew.
"""

from dataclasses import dataclass

from natd.core.base.types import Address


@dataclass(frozen=True, slots=True)
class MappingLived:
    """`age_s` old, it was still there after `idle_s` without a packet."""

    age_s: float
    idle_s: float


@dataclass(frozen=True, slots=True)
class MappingEnded:
    """Made `age_s` ago, it was found gone `idle_s` after its last sign of life."""

    age_s: float
    idle_s: float


class FlowWatch:
    """See the top of this file."""

    def __init__(self) -> None:
        self._observed: Address | None = None  # None: not watched
        self._since = 0.0
        self._heard_at = 0.0

    def heard(self, observed: Address, now: float) -> MappingLived | MappingEnded | None:
        """The other end has answered, and sees us there.  None: the watch begins."""
        before, self._observed = self._observed, observed
        age_s, idle_s = now - self._since, now - self._heard_at
        self._heard_at = now
        if before == observed:
            return MappingLived(age_s, idle_s)
        self._since = now
        return None if before is None else MappingEnded(age_s, idle_s)

    def forget(self) -> None:
        self._observed = None
