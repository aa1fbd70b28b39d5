"""Whether a REGISTER without a token is of this moment.  Only then does it introduce anybody.

    its bytes        seen for the first time, whatever address they come from
    its time         within 30 s of our clock, after our start, after the peer's last accepted one

So who has captured one can't replay it under another address, to have members send there or to be
told who they are.  One with a token needs none of this: the token is in the signed part.

Rules that a change must not break:

- Who is refused here loses one round trip, never the registration: a wrong clock, at either
  end, and a full table cost no more.
- The table has one size.  It holds keyed hashes, so nobody chooses whose place he takes.
- A clock that is set back does not make old times fresh again: what it has shown counts as a start.
"""

import hashlib
from array import array

from natd.core.base.timers import WallClock
from natd.core.base.types import Address
from natd.core.codec.rendezvous import Register
from natd.core.coordinator.registry import Member

FRESH_MS = 30_000
"""How far a peer's clock may be from ours."""

SEEN_FOR_S = 65.0
"""Longer than any time is fresh: from 30 s ahead of our clock to 30 s behind it, and a little for
a clock that is being slowed down."""

SLOTS = 1 << 17
"""Twice as many as the REGISTERs that are verified in that time (`allowances.VERIFY_RATE`), so that
a place is hardly ever wanting; 2 MiB."""

TRIES = 8
"""Slots that one hash may take."""

SET_BACK_MS = 1_000
"""A clock that goes back by more has been set; by less, it is being corrected."""


class Freshness:
    """Judges times by our wall clock, and remembers which REGISTERs have been seen."""

    def __init__(self, secret: bytes, slots: int = SLOTS) -> None:
        self._key = hashlib.blake2s(secret, person=b"seenregs").digest()
        self._clock = WallClock()
        self._not_before_ms: int | None = None  # None: our clock was never told
        self._shown_ms = 0
        self._seen = array("Q", bytes(8 * slots))
        self._until = array("d", bytes(8 * slots))

    def set_clock(self, unix_s: float, now: float) -> None:
        """What our wall clock shows at `now`; the first time is our start."""
        self._clock.set(unix_s, now)
        shown_ms = self._clock.unix_ms(now)
        if self._not_before_ms is None:
            self._not_before_ms = shown_ms
        elif shown_ms < self._shown_ms - SET_BACK_MS:
            self._not_before_ms = max(self._not_before_ms, self._shown_ms)
        self._shown_ms = shown_ms

    def may_be_new(self, register: Register, now: float) -> bool:
        """Whether its time is one of this moment, and it has not been seen: a look-up, to be asked
        before signatures are verified."""
        return self._is_timely(register, now) and self._place_of(register, now) is not None

    def is_first(
        self, register: Register, known: Member | None, address: Address, now: float
    ) -> bool:
        """Whether one that may be new is later than the last accepted one of that peer and family;
        remembers it.  `known`: the peer, where it is registered."""
        lease = None if known is None else known.lease_of_family(address)
        self._remember(register, now)
        is_current = known is None or register.sequence >= known.sequence
        return is_current and (lease is None or register.sent_at_unix_ms > lease.sent_at_unix_ms)

    def accepted(self, register: Register, now: float) -> None:
        """One with a token: it must not serve elsewhere as one without."""
        if self._is_timely(register, now):
            self._remember(register, now)

    def _is_timely(self, register: Register, now: float) -> bool:
        sent_at_ms = register.sent_at_unix_ms
        if self._not_before_ms is None or sent_at_ms < self._not_before_ms:
            return False
        return abs(self._clock.unix_ms(now) - sent_at_ms) <= FRESH_MS

    def _remember(self, register: Register, now: float) -> None:
        if (place := self._place_of(register, now)) is not None:
            slot, mark = place
            self._seen[slot], self._until[slot] = mark, now + SEEN_FOR_S

    def _place_of(self, register: Register, now: float) -> tuple[int, int] | None:
        """The slot for it and its mark; None where it was seen before, or all its slots are
        taken."""
        digest = hashlib.blake2s(register.signed, key=self._key, digest_size=8).digest()
        mark = int.from_bytes(digest, "big")
        size, seen, until = len(self._seen), self._seen, self._until
        free = None
        for at in range(mark, mark + TRIES):
            slot = at % size
            if until[slot] <= now:
                free = slot if free is None else free
            elif seen[slot] == mark:
                return None
        return None if free is None else (free, mark)
