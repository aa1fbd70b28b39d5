"""Cards of a peer that are older than the newest one we know of it.

    above all that we know  ─► it counts, at once
    another than the one    ─┬─► of the same prekey: another state of the same run, at once
    that counts              ├─► that one has just begun to count, or its owner was here: it waits
                             └─► else it counts, and the first session tells its owner of the
                                  newest one

A peer may not know its own newest card: an earlier life of a restored disk has made it, or a copy
that has gone, and the server that could tell has been restarted.  It holds the keys of the older
card only, so who stayed with the newer one would never hear it again.

Meanwhile that peer has tried in vain, and may have spent what it may send us unanswered, or spoilt
its own router's mapping: so we make a new card, too, by which both begin anew.

An introduction by a card of the past is of no use to an attacker: checks and sessions still need
the owner's keys, and to show an old card does no more harm than to show none.

Rules:
- Anybody can show a recording, as often as he likes.  So a card has its time by beginning to count
  or by a session, not by being shown again.
- The newest one comes back at once where an older one was a recording; not twice in a row, or
  recordings of it would leave no time to an owner that has only the older one.
- What we tell our user, and keep on disk, is the newest: its nick above all.  A former nick may be
  somebody else's by now.
- So may a former address: of the places outside that an older card names, those stay that the
  newest one names too, or where its owner was heard of.
"""

from dataclasses import replace

from natd.core.base.scope import is_public
from natd.core.base.types import Candidate, PeerId
from natd.core.keys.card import Card
from natd.core.peer.peer import Peer

HOLDS_S = 5.0
"""How long a card that has begun to count keeps others away: several servers don't learn of a new
card at the same time, and an attempt with it has to end first."""

COMES_BACK_S = 600.0
"""How often a card comes back at once: many attempts are between them."""

ANEW_EVERY_S = 300.0
"""Least time between two cards that we make for that: each ends a prekey of ours, and a server that
lies can show old cards as often as it likes."""


class OlderCards:
    """See the top of this file."""

    def __init__(self) -> None:
        self._held_at: dict[PeerId, float] = {}
        self._newest: dict[PeerId, tuple[Card, bytes]] = {}  # with the sealed one; only set aside
        self._anew_at = float("-inf")
        self._back_at: dict[PeerId, float] = {}

    def hold(self, card: Card, now: float) -> None:
        """This card counts from now on, or its owner is connected until now."""
        self._held_at[card.peer] = now
        newest = self._newest.get(card.peer)
        if newest is not None and card.sequence > newest[0].sequence:
            del self._newest[card.peer]  # its owner has counted on above it
            self._back_at.pop(card.peer, None)

    def shown(self, card: Card, now: float) -> None:
        """The card that counts was told: of one from an earlier run it is the beginning."""
        if card.peer not in self._held_at:
            self.hold(card, now)

    def counting(self, card: Card, peer: Peer, now: float) -> Card | None:
        """This card as it is to be taken in place of the one of this peer; None: it is not."""
        if self.is_newest(card, peer):
            return card
        if not self._counts(card, peer, now):
            return None
        newest, _ = self._newest.setdefault(card.peer, (peer.card, peer.sealed_card))
        if card.sequence == newest.sequence:
            return card
        known = {each.address.host for each in newest.candidates}
        known.update(place.host for place in peer.reach.remote.places)
        kept = (each for each in card.candidates if each.address.host in known or _is_inside(each))
        return replace(card, nick=newest.nick, candidates=tuple(kept))

    def is_newest(self, card: Card, peer: Peer) -> bool:
        """Whether it is above all that we know of this peer."""
        newest, _ = self._newest.get(card.peer, (peer.card, b""))
        return card.sequence > newest.sequence

    def begins_anew(self, now: float) -> bool:
        """Whether we make a new card because an older one counts now; takes it if so."""
        if now < self._anew_at + ANEW_EVERY_S:
            return False
        self._anew_at = now
        return True

    def newer_than_its_own(self, peer: PeerId) -> list[bytes]:
        """The sealed card that this peer does not know it has made, if there is one."""
        return [self._newest[peer][1]] if peer in self._newest else []

    def forget(self, peer: PeerId) -> None:
        for each in (self._held_at, self._newest, self._back_at):
            each.pop(peer, None)

    # --- private

    def _counts(self, card: Card, peer: Peer, now: float) -> bool:
        is_later = card.sequence > peer.card.sequence
        if is_later and card.prekey_public == peer.card.prekey_public:
            return True
        held_at = self._held_at.get(card.peer, float("-inf"))
        if not peer.presence.is_online and now >= held_at + HOLDS_S:
            return True
        if is_later and now >= self._back_at.get(card.peer, float("-inf")) + COMES_BACK_S:
            self._back_at[card.peer] = now
            return True
        return False


def _is_inside(candidate: Candidate) -> bool:
    return not is_public(candidate.address.host)
