"""Cards of a peer that are older than the one we know.

    a newer card comes           ─► it counts, at once
    an older one, told by others ─┬─► the newer one was shown a moment ago: it is a recording
                                  └─► nothing shows the newer one any more: the older one counts,
                                       and the first session tells its owner of the newer one

A peer may not know its own newest card: an earlier life of a restored disk has made it, or a copy
that has gone, and the server that could tell has been restarted.  It holds the keys of the older
card only, so who stayed with the newer one would never hear it again.

Meanwhile that peer has tried in vain, and may have spent what it may send us unanswered, or spoilt
its own router's mapping: so we make a new card, too, by which both begin anew.

An introduction by a card of the past gains nobody anything: checks and sessions still need the
owner's keys, and whoever shows an old card could as well have shown none.
"""

from natd.core.base.types import PeerId
from natd.core.keys.card import Card
from natd.core.peer.peer import Peer

HOLDS_S = 5.0
"""How long a card that its owner or an introducer has shown keeps older ones away: several servers
don't learn of a new card at the same time, and an attempt with it has to end first."""

ANEW_EVERY_S = 300.0
"""Least time between two cards that we make for that: each ends a prekey of ours, and a server that
lies can show old cards as often as it likes."""


class OlderCards:
    """See the top of this file."""

    def __init__(self) -> None:
        self._shown_at: dict[PeerId, float] = {}
        self._newest: dict[PeerId, tuple[int, bytes]] = {}  # sequence and sealed; only set aside
        self._anew_at = float("-inf")

    def shown(self, card: Card, now: float) -> None:
        """The card that counts was told, or its owner is connected until now."""
        self._shown_at[card.peer] = now
        if card.sequence > self._newest.get(card.peer, (card.sequence, b""))[0]:
            del self._newest[card.peer]  # its owner has counted on above it

    def counts(self, peer: Peer, now: float) -> bool:
        """Whether an older card than the one of this peer is to be taken for it."""
        shown_at = self._shown_at.get(peer.card.peer, float("-inf"))
        if peer.presence.is_online or now < shown_at + HOLDS_S:
            return False
        self._newest.setdefault(peer.card.peer, (peer.card.sequence, peer.sealed_card))
        return True

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
        self._shown_at.pop(peer, None)
        self._newest.pop(peer, None)
