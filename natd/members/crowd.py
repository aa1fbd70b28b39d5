"""How many peers stay on disk, and what is said where there is no place for one more.

    met ─► in the address book ─► more than `KNOWN_OF_A_PLACE` for each place ─► some are dropped

A place is in memory (`natd/core/network/places.py`).  Who has given one up stays on disk, because
it may come back: its trust, what waits for it, how long it is known.  In an open network that are
as many as somebody cares to make up, so these are bounded, too.

Rules:
- Dropped are, first to last, those who were never connected, then who was, the longest gone first.
- Nobody is dropped who has a place, whom the user has blocked or marked, or for whom alone a
  message waits.  For whom a message to all waits stays, until there are `QUEUED_OF_A_PLACE` for
  each place: beyond that the longest gone are dropped with what waits for them, and it is told.
- History stays, also of those who are dropped.
"""

import logging
import time
from collections.abc import Collection

from natd.core.base.events import NetworkFull
from natd.core.base.types import Address, NetworkId, PeerId, peer_id_text, peer_tag
from natd.core.network.roster import FORGOTTEN
from natd.core.network.standing import Standing
from natd.members.named import network_name
from natd.members.parts import Parts
from natd.storage.address_book import CHANGED, NEW, AddressBook, KnownPeer, full_name
from natd.storage.mailbox import Mailbox

KNOWN_OF_A_PLACE = 4
"""With 256 places 1,024 peers of a network on disk: 1.5 MB."""

QUEUED_OF_A_PLACE = 16
"""And 4,096 with those for whom something waits: 6 MB."""

LOOKED_AT_EVERY = 16
"""So many newcomers at a time, because all that are known are sorted."""

CROWDED = "more strangers have come than are remembered"

logger = logging.getLogger(__name__)


def full_words(places: int) -> str:
    """Why somebody was turned away."""
    return (
        f"there is no place for one more: the network has {places} here, and they are taken by "
        "peers that are connected or wanted"
    )


def turned_away_words(parts: Parts, network: NetworkId) -> str | None:
    """That newcomers find no place here, and who was the last; None: nobody was turned away
    lately."""
    membership = parts.node.membership(network)
    if membership is None or not membership.roster.places.is_full(time.monotonic()):
        return None
    words = full_words(parts.config.limits.peers_per_network)
    return f"{words}; {membership.roster.places.turned_away} was not let in"


def drop_surplus(parts: Parts, network: NetworkId) -> None:
    """A stranger was met: drop others if there are too many."""
    membership = parts.node.membership(network)
    here = () if membership is None else tuple(membership.peers)
    places = parts.config.limits.peers_per_network
    own_now_s = parts.store.own_time.now_s
    for known in surplus_of(parts.book, parts.mailbox, network, here, places, own_now_s):
        if _forget(parts, known, CROWDED):
            name = network_name(parts.book, network)
            logger.warning("%s: %s is forgotten: %s", name, full_name(known), CROWDED)


def surplus_of(
    book: AddressBook,
    mailbox: Mailbox,
    network: NetworkId,
    here: Collection[PeerId],
    places: int,
    own_now_s: int,
) -> list[KnownPeer]:
    """Whom to drop; `here`: those that have a place, of so many; `own_now_s`: in own time."""
    peers = book.peers(network)
    surplus = len(peers) - KNOWN_OF_A_PLACE * places
    if surplus <= 0 or len(peers) % LOOKED_AT_EVERY:
        return []
    free = [p for p in peers if p.peer not in here and not (p.is_blocked or p.is_marked)]
    free.sort(key=lambda known: _worth(known, own_now_s))
    waited_for = [known for known in free if mailbox.queued(network, known.peer)]
    dropped = [known for known in free if not mailbox.queued(network, known.peer)][:surplus]
    excess = len(peers) - len(dropped) - QUEUED_OF_A_PLACE * places
    for known in waited_for:
        if excess > 0 and not mailbox.is_written_to(network, known.peer):
            dropped.append(known)
            excess -= 1
    return dropped


def heard(parts: Parts, known: KnownPeer, now: float, address: Address | None = None) -> None:
    """It is or was connected just now, at this address; None: at the last."""
    parts.book.heard(known, address)
    membership = parts.node.membership(known.network)
    met = None if membership is None else membership.roster.acquaintance(known.peer, now)
    if met is not None:
        parts.book.keep_acquaintance(known, met)


def say_if_wanted(parts: Parts, network: NetworkId, peer: PeerId, now: float) -> None:
    """Tell the node whether a message still waits for this peer alone."""
    if (membership := parts.node.membership(network)) is not None:
        is_addressed = parts.mailbox.is_written_to(network, peer)
        membership.roster.want(peer, is_addressed=is_addressed, now=now)


def put_out(parts: Parts, network: NetworkId, peer: PeerId) -> None:
    """It had to give its place to another: one with whom nothing ever was is forgotten."""
    known = parts.book.peer(network, peer)
    if known is None or known.is_blocked or known.trust != NEW or known.heard_at_s is not None:
        return
    if parts.mailbox.forget(network, peer):
        parts.book.forget_peer(known)


def turned_away(parts: Parts, event: NetworkFull) -> None:
    """A newcomer found no place, the first in a while."""
    name, reason = network_name(parts.book, event.network), full_words(event.places)
    logger.warning("%s: %s#%s: %s", name, event.nick, peer_tag(event.peer), reason)
    peer = {"nick": event.nick, "id": peer_id_text(event.peer), "tag": peer_tag(event.peer)}
    row = {"network": name, "peer": peer, "places": event.places, "reason": reason}
    parts.log.append("network_full", row)


def forget(parts: Parts, known: KnownPeer, now: float) -> int:
    """The user forgets a peer: it is a stranger from now on, and history stays.  Gives how many
    messages waited for it."""
    if (membership := parts.node.membership(known.network)) is not None:
        membership.forget(known.peer, now)
    parts.restored.pop((known.network, known.peer), None)
    return _forget(parts, known, FORGOTTEN)


def _worth(known: KnownPeer, own_now_s: int) -> tuple[bool, tuple[int, float]]:
    met = known.acquaintance(own_now_s)
    standing = Standing() if met is None else Standing.of(met, own_now_s)
    return known.trust != CHANGED, standing.worth(own_now_s)


def _forget(parts: Parts, known: KnownPeer, reason: str) -> int:
    queued = parts.mailbox.put_aside(known.network, known.peer)
    parts.book.forget_peer(known)
    if queued or reason == FORGOTTEN:
        name = network_name(parts.book, known.network)
        peer = {"nick": known.nick, "id": known.id_text, "tag": known.tag, "trust": known.trust}
        row = {"network": name, "peer": peer, "queued": queued, "reason": reason}
        parts.log.append("peer_forgotten", row)
    return queued
