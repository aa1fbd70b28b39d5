"""Introductions by a mutual peer when no server gives them: signalling, and nothing else.

    A ──Seek──► C      introduce me to your peers that I am not connected with
    A ◄─Introduce── C ──Introduce─► B      each other's card and address as C sees it, at once

C, which has a session with both, does for A and B what a server would do; what it says is trusted
no more than what a server says.  C passes on cards, never messages.

Rules:
- A server that answers is asked first.  Mutual peers are asked if there is none, and for a peer
  that is still missing one round of attempts later: the server may have died a moment ago, or the
  peer may be registered elsewhere.
- At most `ASKED_AT_ONCE` mutual peers, chosen at random, are asked for the same peer: among many
  members nobody is asked by all.
- A mutual peer introduces only peers that it is connected with: the same two once a second, and
  for each asking peer no more than its token bucket allows.  We ask for no more than that.
- It passes on no address of which a server says that it is not proved: members who were not told
  so would send more there than they may (`checks/unproved_hosts.py`).
- The side with the shorter way to the mutual peer waits for the difference, so that both begin
  at the same instant.
"""

from collections import Counter
from collections.abc import Iterable
from random import Random

from natd.core.base.timers import TokenBucket, earliest
from natd.core.base.types import PeerId
from natd.core.codec.frames import (
    HAVE_PREFIX_BYTES,
    OTHERS_LIMIT,
    START_IN_LIMIT_MS,
    Introduce,
    Seek,
)
from natd.core.peer.peer import Peer
from natd.core.registration.events import Introduced

ASKED_AT_ONCE = 3
"""One mutual peer may be as lost as we are; three hardly ever are."""

LOOK_AROUND_AFTER_S = 0.1
"""Several sessions open in a row; waiting saves asking for peers that have just come."""

STILL_MISSED_S = (0.5, 60.0)
"""Missed again after the first and before the second: one round of attempts has failed."""

INTRODUCED_AT_ONCE = 64
"""A random choice of a mutual peer's peers: those that are met may know the rest."""

SEEKS_RATE, SEEKS_BURST = 1.0, 8.0
"""Requests of one peer: a round of attempts for a few missing peers, and one for all."""

INTRODUCTIONS_RATE, INTRODUCTIONS_BURST = 16.0, 128.0
"""A second and at once, taken and given: each costs opening a card, up to two milliseconds, and
checks."""

TOLD_RATE, TOLD_BURST = 4.0, float(INTRODUCED_AT_ONCE)
"""Introductions taken from one peer: one that sends too many leaves room for others."""

PAIR_AGAIN_S = 1.0
"""Both peers ask for each other at the same moment, and one introduction serves both."""

MOST_MISSED = 256


class PeerIntroductions:
    """Which mutual peers to ask, and which peers to introduce, in one network."""

    def __init__(self, random: Random) -> None:
        self.dropped: Counter[str] = Counter()
        self.look_around_at: float | None = None
        """When to call `look_around`; None: never."""
        self._random = random
        self._missed_at: dict[PeerId, float] = {}  # oldest first
        self._newly_met: set[PeerId] = set()  # not asked yet for other peers
        self._seeks: dict[PeerId, TokenBucket] = {}
        self._asking = TokenBucket(SEEKS_RATE, SEEKS_BURST)
        self._given = TokenBucket(INTRODUCTIONS_RATE, INTRODUCTIONS_BURST)
        self._taken = TokenBucket(INTRODUCTIONS_RATE, INTRODUCTIONS_BURST)
        self._told_by: dict[PeerId, TokenBucket] = {}
        self._pairs: dict[frozenset[PeerId], float] = {}  # when introduced, oldest first

    # --- as the peer that asks

    def missed(
        self, peer: PeerId, peers: Iterable[Peer], *, has_server: bool, now: float
    ) -> list[tuple[Peer, Seek]]:
        """An attempt to reach `peer` begins; gives the requests to send, each with its receiver."""
        soonest_s, latest_s = STILL_MISSED_S
        since_s = now - self._missed_at.get(peer, -latest_s)
        if since_s >= latest_s:
            self._missed_at.pop(peer, None)
            self._missed_at[peer] = now
            if len(self._missed_at) > MOST_MISSED:
                del self._missed_at[next(iter(self._missed_at))]
        if has_server and not soonest_s <= since_s < latest_s:
            return []
        able = [other for other in peers if other.presence.is_online and other.card.peer != peer]
        if not able or not self._asking.take(now):
            return []
        asked = self._random.sample(able, min(ASKED_AT_ONCE, len(able)))
        return [(other, Seek(peer)) for other in asked]

    def connected(self, peer: PeerId, *, has_server: bool, now: float) -> None:
        """A session with this peer opened: without a server, plan to ask it for other peers."""
        self._missed_at.pop(peer, None)
        if not has_server:
            self._newly_met.add(peer)
            self.look_around_at = earliest(self.look_around_at, now + LOOK_AROUND_AFTER_S)

    def servers_lost(self, peers: Iterable[Peer], now: float) -> None:
        """No server answers any more: plan to ask the connected peers for others."""
        self._newly_met.update(peer.card.peer for peer in peers if peer.presence.is_online)
        if self._newly_met:
            self.look_around_at = earliest(self.look_around_at, now + LOOK_AROUND_AFTER_S)

    def look_around(
        self, peers: Iterable[Peer], *, has_server: bool, now: float
    ) -> list[tuple[Peer, Seek]]:
        """The requests to send now to peers that have just connected, or were connected when the
        last server was lost.  None if a server answers by now: the first peer of a newcomer is
        often there before its lease."""
        if self.look_around_at is None or self.look_around_at > now:
            return []
        self.look_around_at = None
        if has_server:
            self._newly_met.clear()
            return []
        here = [peer for peer in peers if peer.presence.is_online]
        seek = Seek(None, tuple(peer.card.peer[:HAVE_PREFIX_BYTES] for peer in here))
        asked = [(peer, seek) for peer in here if peer.card.peer in self._newly_met]
        self._newly_met.clear()
        return asked

    # --- as the mutual peer

    def answer_seek(
        self, seeker: Peer, seek: Seek, peers: dict[PeerId, Peer], now: float
    ) -> list[tuple[Peer, Introduce]]:
        """The introductions to send because of a `Seek`, each with its receiver."""
        bucket = self._seeks.setdefault(seeker.card.peer, TokenBucket(SEEKS_RATE, SEEKS_BURST))
        if not bucket.take(now):
            self.dropped["seeks-too-many"] += 1
            return []
        have = frozenset(seek.have)
        if seek.peer is not None:
            wanted = peers.get(PeerId(seek.peer))
            others = [] if wanted is None else [wanted]
        else:
            others = [p for p in peers.values() if p.card.peer[:HAVE_PREFIX_BYTES] not in have]
        others = [other for other in others if other.presence.is_online and other is not seeker]
        if len(others) > INTRODUCED_AT_ONCE:
            others = self._random.sample(others, INTRODUCED_AT_ONCE)
        told: list[tuple[Peer, Introduce]] = []
        for other in others:
            if self._may_introduce(seeker, other, now):
                told += _introduction(seeker, other, now)
        return told

    # --- as the peer that is introduced

    def introduced(self, by: PeerId, told: Introduce, now: float) -> Introduced | None:
        """A mutual peer's introduction in the form of a server's; None: it sends too many."""
        bucket = self._told_by.setdefault(by, TokenBucket(TOLD_RATE, TOLD_BURST))
        if not (bucket.take(now) and self._taken.take(now)):
            self.dropped["introductions-too-many"] += 1
            return None
        observed = () if told.observed is None else (told.observed,)
        return Introduced(
            by,
            PeerId(told.peer),
            told.sealed,
            tuple(dict.fromkeys((*observed, *told.others))),
            we_dial=told.you_dial,
            start_in_s=told.start_in_ms / 1000,
        )

    # --- private

    def _may_introduce(self, one: Peer, other: Peer, now: float) -> bool:
        while self._pairs and now - next(iter(self._pairs.values())) >= PAIR_AGAIN_S:
            del self._pairs[next(iter(self._pairs))]
        pair = frozenset((one.card.peer, other.card.peer))
        if pair in self._pairs or not self._given.take(now):
            self.dropped["introductions-not-given"] += 1
            return False
        self._pairs[pair] = now
        return True


def tell_of_peer(peer: Peer, told: Introduced, teller: str, now: float) -> None:
    """A server or a mutual peer, `teller` for people, introduces this peer to us."""
    peer.reach.search.prove(told.proved, now, unproved=told.unproved)
    peer.reach.search.hear_words(told.ask, told.word, now)
    if told.is_news:
        peer.introduced(
            told.addresses,
            we_dial=told.we_dial,
            start_in_s=told.start_in_s,
            now=now,
            by=f"by {teller}",
            source=told.source,
        )


def _introduction(caller: Peer, other: Peer, now: float) -> list[tuple[Peer, Introduce]]:
    """The introduction of `subject`; the peer that asked dials."""
    later_ms = round(500 * (_rtt_s(other) - _rtt_s(caller)))
    return [
        (caller, _told(other, you_dial=True, start_in_ms=later_ms, now=now)),
        (other, _told(caller, you_dial=False, start_in_ms=-later_ms, now=now)),
    ]


def _told(subject: Peer, *, you_dial: bool, start_in_ms: int, now: float) -> Introduce:
    proofs = subject.reach.search.proofs
    # A scope id has a meaning on our own machine only.
    places = [
        address
        for address in subject.reach.remote.places
        if "%" not in address.host and not proofs.are_wanting(address.host, now)
    ]
    return Introduce(
        subject.card.peer,
        subject.sealed_card,
        next(iter(places), None),
        you_dial,
        min(START_IN_LIMIT_MS, max(0, start_in_ms)),
        tuple(places[1 : 1 + OTHERS_LIMIT]),
    )


def _rtt_s(peer: Peer) -> float:
    path = peer.reach.paths.report
    return 0.0 if path is None or path.rtt_s is None else path.rtt_s
