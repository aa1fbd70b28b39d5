"""What each sender may ask of a coordination server in a second.

    question                           counted for
    REGISTER, no token                 its source; it costs the introductions, never the CHALLENGE
    REGISTER, token                    its address, and its source
    CONNECT, REFRESH that asks         the address of its lease, and its source
    SAMPLE                             its source
    STUN                               its source

    an introduction to a member        what the member may get from all; when that is used up,
                                       what it may get from this caller

A *source* is an IPv4 address or an IPv6 /64; with a token also its /56 and /48, which have two and
four times as much.  A row never uses up another's.

Rules that a change must not break:

- Who forges a source, or shares one with us, can't keep us from registering: he can only make us
  need the round trip of a CHALLENGE.
- Nothing here grows: a million spoofed senders take no more memory.
- Two senders may share a bucket (they are hashed into a fixed table under a secret key): a sender
  can't choose whose bucket it empties.
"""

import hashlib
from array import array

from natd.core.base.types import Address
from natd.core.coordinator.registry import Lease
from natd.core.coordinator.shares import source_of, wider

BUCKETS = 1 << 14
"""Enough that honest senders seldom share; 256 KiB."""

NEWCOMER_RATE, NEWCOMER_BURST = 128.0, 512.0
"""REGISTERs without a token, of one source, that may introduce: a carrier's NAT may stand before a
thousand peers that all come back after our restart."""

VERIFY_RATE, VERIFY_BURST = 1_000.0, 4_000.0
"""Registrations of unproved senders, from everyone together: two signatures each, so a fifth of a
core.  Beyond it they are challenged first, and introduced only when their token comes back."""

PROVED_RATE, PROVED_BURST = 256.0, 1_024.0
"""Questions with a token or a lease, of one source: five times what fills 64 kB/s.  A /56 may ask
twice as much, a /48 four times: a fifth of a core of signatures."""

OWN_RATE, OWN_BURST = 32.0, 512.0
"""The same of one address, so that one neighbour alone does not use up what all behind a NAT have.
A daemon that starts in 64 networks asks each some three times."""

SAMPLE_RATE, SAMPLE_BURST = 2_048.0, 4_096.0
"""SAMPLEs of one source: twice what fills 64 kB/s.  The answers are not longer, and cost a look-up
less than a CHALLENGE."""

STUN_RATE, STUN_BURST = 128.0, 512.0
"""STUN requests of one source."""

LONGER_ANSWER_UNITS = 8.0
"""What a STUN answer costs that is longer than its question: 16 a second for one source."""

UNPROVED_RATE, UNPROVED_BURST = 16.0, 64.0
"""Introductions to one lease that unproved senders may cause."""

INTRODUCED_RATE, INTRODUCED_BURST = 64.0, 512.0
"""Introductions to one lease that proved senders may cause: a full network, twice."""

CALLER_RATE, CALLER_BURST = 0.25, 4.0
"""Those of one caller that come all the same: 256 callers together as many as `INTRODUCED_RATE`."""


class HashedTokenBuckets:
    """Token buckets in a table of fixed size: `rate` units a second, at most `burst` saved."""

    def __init__(self, secret: bytes, *, rate: float, burst: float, size: int = BUCKETS) -> None:
        self._key = hashlib.blake2s(secret, person=b"buckets ").digest()
        self._rate = rate
        self._burst = burst
        self._left = array("d", [burst]) * size
        self._counted_at = array("d", [0.0]) * size

    def take(self, sender: bytes, units: float, now: float) -> bool:
        """Whether `sender` may have that many units; takes them if so."""
        digest = hashlib.blake2s(sender, key=self._key, digest_size=4).digest()
        at = int.from_bytes(digest, "big") % len(self._left)
        saved = self._left[at] + (now - self._counted_at[at]) * self._rate
        self._counted_at[at] = now
        left = min(self._burst, saved)
        enough = left >= units
        self._left[at] = left - units if enough else left
        return enough


class ProvedAllowance:
    """Questions from addresses that are proved: for the address, and for what it is part of."""

    def __init__(self, secret: bytes) -> None:
        self._own = HashedTokenBuckets(secret, rate=OWN_RATE, burst=OWN_BURST)
        self._sources = HashedTokenBuckets(secret, rate=PROVED_RATE, burst=PROVED_BURST)

    def take(self, address: Address, now: float) -> bool:
        if not self._own.take(str(address).encode(), 1.0, now):
            return False
        units = 1.0
        for scope in wider(source_of(address)):
            if not self._sources.take(scope.encode(), units, now):
                return False
            units /= 2.0
        return True


class Allowances:
    """See the top of this file."""

    def __init__(self, secret: bytes) -> None:
        self.registrations, self.wishes = ProvedAllowance(secret), ProvedAllowance(secret)
        """REGISTERs with a token; CONNECTs, and REFRESHes that ask."""
        self._newcomers = HashedTokenBuckets(secret, rate=NEWCOMER_RATE, burst=NEWCOMER_BURST)
        self._all_newcomers = HashedTokenBuckets(
            secret, rate=VERIFY_RATE, burst=VERIFY_BURST, size=1
        )
        self._samples = HashedTokenBuckets(secret, rate=SAMPLE_RATE, burst=SAMPLE_BURST)
        self._stun = HashedTokenBuckets(secret, rate=STUN_RATE, burst=STUN_BURST)
        self._unproved = HashedTokenBuckets(secret, rate=UNPROVED_RATE, burst=UNPROVED_BURST)
        self._introduced = HashedTokenBuckets(secret, rate=INTRODUCED_RATE, burst=INTRODUCED_BURST)
        self._callers = HashedTokenBuckets(secret, rate=CALLER_RATE, burst=CALLER_BURST)

    def newcomer(self, address: Address, now: float) -> bool:
        """Whether a REGISTER without a token may be verified, to introduce."""
        source = source_of(address).encode()
        return self._newcomers.take(source, 1.0, now) and self._all_newcomers.take(b"", 1.0, now)

    def sample(self, address: Address, now: float) -> bool:
        return self._samples.take(source_of(address).encode(), 1.0, now)

    def stun(self, address: Address, now: float, *, is_longer: bool) -> bool:
        """`is_longer`: the answer than the question."""
        units = LONGER_ANSWER_UNITS if is_longer else 1.0
        return self._stun.take(source_of(address).encode(), units, now)

    def introduction(self, caller: bytes, member: Lease, now: float, *, is_proved: bool) -> bool:
        """Whether this member may be told of one more caller, whose address is proved or not."""
        told = member.lease_id
        if not is_proved:
            return self._unproved.take(told, 1.0, now)
        return self._introduced.take(told, 1.0, now) or self._callers.take(caller + told, 1.0, now)
