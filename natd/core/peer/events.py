"""What one peer tells the membership that it belongs to.

    routes      RouteAdded, RouteDropped    by which its datagrams are found
    wishes      SampleWanted, …             for whoever can grant them: servers, the node
    the peer's  NewerCard, IntroduceArrived, SeekArrived, PeerSawUs
    news        events.Event                for the world, passed on as they are

Rules:
- A wish may stay without an answer; whoever has it goes on all the same.
- What the peer said is a claim of its own: the membership opens cards and sifts addresses.
"""

from dataclasses import dataclass

from natd.core.base import events
from natd.core.base.routes import RouteAdded, RouteDropped
from natd.core.base.types import NetworkId
from natd.core.base.wishes import FreshSocketWanted, IntroductionWanted, SampleWanted
from natd.core.chat.conversation import (
    Acknowledged,
    Arrived,
    IntroduceArrived,
    SeekArrived,
    Wanted,
)
from natd.core.keys.card import Card
from natd.core.peer.reach_events import PeerSawUs


@dataclass(frozen=True, slots=True)
class NewerCard:
    """The peer sent a card over the session: the owner verifies it like any other."""

    sealed: bytes


PeerEvent = (
    events.Event
    | NewerCard
    | RouteAdded
    | RouteDropped
    | SampleWanted
    | IntroductionWanted
    | FreshSocketWanted
    | IntroduceArrived
    | SeekArrived
    | PeerSawUs
)


def news_of_messages(
    network: NetworkId, card: Card, said: Arrived | Acknowledged | Wanted
) -> events.Event:
    """What a conversation says of its messages, as the world is told it."""
    match said:
        case Arrived(message):
            return events.MessageArrived(
                network,
                card.peer,
                card.nick,
                message.message_id,
                message.epoch,
                message.seq,
                message.sent_at_unix_ms,
                message.kind,
                message.body,
            )
        case Acknowledged(epoch, seq):
            return events.MessagesAcknowledged(network, card.peer, epoch, seq)
        case Wanted(after_seq, count):
            return events.OutboxWanted(network, card.peer, after_seq, count)
