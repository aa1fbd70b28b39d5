"""Whether our NAT ends a mapping at an absolute age, whatever its traffic, and at which.

    no reason ──a busy mapping ended──► supposed ──it ended early again──► known
        ▲                                  │                                │
        └──────────one lived for SURVIVED_S┴────────────────────────────────┘

A mobile carrier ends mappings 48 to 75 s old.  Whether ours does is found by doing what would
help: another flow is opened at `AGE_SHARE` of the age, and the old one, used no more, is watched
until it ends or has outlived them all.

Rules:
- One loss is enough to suppose it, for the supposition costs a second socket and some checks, and
  one mapping that lives on ends it.
"""

from dataclasses import dataclass

YOUNGEST_S, OLDEST_S = 48.0, 75.0
SURVIVED_S = 90.0
AGE_SHARE = 0.6
WATCH_EVERY = 8
"""A known age is not watched each time: that costs more than the keepalives of an idle path."""


@dataclass(slots=True)
class MappingAge:
    """See the top of this file."""

    age_s: float | None = None
    """At which a mapping ends; None: no reason to think that it does."""
    _known: bool = False
    _renewals: int = 0

    @property
    def renew_after_s(self) -> float | None:
        return None if self.age_s is None else AGE_SHARE * self.age_s

    @property
    def is_to_be_watched(self) -> bool:
        """Whether it is worth the packets to see when the mapping that is replaced ends."""
        return not self._known or self._renewals % WATCH_EVERY == 0

    def busy_mapping_ended(self) -> None:
        if self.age_s is None:
            self.age_s = YOUNGEST_S

    def renewed(self) -> None:
        self._renewals += 1

    def ended(self, age_s: float) -> None:
        """A mapping that was watched answered last at this age."""
        self.age_s = min(max(age_s, YOUNGEST_S), OLDEST_S)
        self._known = True

    def survived(self) -> None:
        """A mapping that was watched has outlived `SURVIVED_S`."""
        self.age_s, self._known = None, False
