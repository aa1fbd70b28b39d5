"""Whether our NAT ends mappings at an absolute age even if they are busy, and at which age.

    no reason ──a busy mapping ended──► supposed ──it ended early again──► known
        ▲                                  │                                │
        └──────────one lived for SURVIVED_S┴────────────────────────────────┘

Some mobile carriers end mappings that are 48 to 75 s old.  We test this by doing what would help:
another flow is opened at `AGE_SHARE` of the age, and the old one, no longer used, is watched until
it ends or has reached `SURVIVED_S`.

Rules:
- One loss is enough to suppose such a NAT: the test costs only a second socket and some checks, and
  one mapping that lives on disproves it.
"""

from dataclasses import dataclass

YOUNGEST_S, OLDEST_S = 48.0, 75.0
SURVIVED_S = 90.0
AGE_SHARE = 0.6
WATCH_EVERY = 8
"""A known age is tested again only so often: a test costs more than an idle path's keepalives."""


@dataclass(slots=True)
class MappingAge:
    """Learns the age at which our NAT ends mappings."""

    age_s: float | None = None
    """Age at which mappings end; None: no reason to suppose one."""
    _known: bool = False
    _renewals: int = 0

    @property
    def renew_after_s(self) -> float | None:
        return None if self.age_s is None else AGE_SHARE * self.age_s

    @property
    def is_to_be_watched(self) -> bool:
        """Whether it is worth the packets to watch the replaced mapping until it ends."""
        return not self._known or self._renewals % WATCH_EVERY == 0

    def busy_mapping_ended(self) -> None:
        if self.age_s is None:
            self.age_s = YOUNGEST_S

    def renewed(self) -> None:
        self._renewals += 1

    def ended(self, age_s: float) -> None:
        """A watched mapping answered last at this age."""
        self.age_s = min(max(age_s, YOUNGEST_S), OLDEST_S)
        self._known = True

    def survived(self) -> None:
        """A watched mapping has outlived `SURVIVED_S`."""
        self.age_s, self._known = None, False
