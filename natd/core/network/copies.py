"""Others with our identity: an earlier life of a restored disk, or a daemon that runs a copy of it.

    a server shows a newer card of ours ──┬─► it has accepted ours before: a copy runs elsewhere
    a peer knew us by one (`older_cards`) ┴─► else an earlier life made it, or a copy
                                               └─► in each case our cards count on from there

Rules:
- Only a card that our own key has signed counts, so they can at worst show one that we made
  and keep the true order back.
- A restart and a change of address are neither: the numbers of a new run are above all others.
- Two who run the same identity take turns, a turn each: peers turn to the one with the newest card,
  so what either has to say leaves in its turn.
"""

from typing import Protocol

from natd.core.base.events import NewerCardOfOurs
from natd.core.base.types import DecodeError, NetworkId, PeerId
from natd.core.keys.card import Card, open_card
from natd.core.registration.events import OwnCardSeen

TURN_S = 30.0
"""How long the other is left in place before we count above it again: time enough to meet
everybody and to say what waits, and less than people wait before they try something else."""

HEADROOM = 1000
"""The other's card changes as its surroundings do: that shall not take the turn from us."""

HIGHEST = 2**63
"""Nobody counts so far (a card's number has 64 bits): above it we follow no thief of our key, who
would have us run out of numbers."""


class OwnCards(Protocol):
    """Our cards of this run (`own_card`)."""

    sequence: int

    @property
    def peer(self) -> PeerId: ...

    def has_made(self, card: Card) -> bool: ...

    def leap(self, above: int, now: float) -> None: ...


class Copies:
    """See the top of this file."""

    def __init__(self, network: NetworkId, key: bytes) -> None:
        """`key`: the network's."""
        self._network, self._key = network, key
        self._leapt_at = float("-inf")

    def see(self, seen: OwnCardSeen, own: OwnCards, now: float) -> tuple[NewerCardOfOurs, ...]:
        """A server or a peer shows a card of ours; `own` counts on above it when it is our turn.
        What it means, if anything."""
        try:
            card = open_card(seen.sealed_card, self._key)
        except DecodeError:
            return ()
        if card.peer != own.peer or own.has_made(card) or card.sequence < own.sequence:
            return ()
        if now < self._leapt_at + TURN_S:
            return ()
        self._leapt_at = now
        if card.sequence < HIGHEST:
            own.leap(card.sequence + HEADROOM, now)
        return (NewerCardOfOurs(self._network, seen.source, seen.seen, seen.was_accepted),)
