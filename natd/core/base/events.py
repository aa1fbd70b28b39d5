"""The events of a node, given by `Node.next_event`.

Each is a fact.  If something must be on disk before the protocol goes on, the event says so and
names the input that confirms it.
"""

from dataclasses import dataclass

from natd.core.base.types import Address, NatReport, NetworkId, PathReport, PeerId, SocketId
from natd.core.base.verdict import VerdictCode


@dataclass(frozen=True, slots=True)
class OutboundMessage:
    """A message on our disk, addressed to one peer, with its place in their order."""

    message_id: str
    """The same for every recipient: 26 characters or fewer of ASCII."""
    outbox: int
    """64 bits, drawn when this conversation's outbox began; never reused by the sender."""
    seq: int
    """1, 2, 3, ... within the outbox, without gaps."""
    sent_at_unix_ms: int
    kind: str
    """`text`, or `private` for one peer alone."""
    body: str


@dataclass(frozen=True, slots=True)
class ConversationState:
    """What the store remembers of one conversation across restarts."""

    outbox: int
    first_unacknowledged: int
    """Sequence number of the oldest message that the peer has not acknowledged (or the next
    one to be given out when all are)."""
    heard_outbox: int | None = None
    """The peer's; None until its first message."""
    heard_seq: int = 0
    """Highest sequence number of that outbox on disk."""
    last_seq: int = 0
    """The highest that was ever given out here."""


# --- servers ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ServerAnswered:
    """First answer of a server after silence: `server_up`."""

    network: NetworkId
    server: Address
    observed: Address
    rtt_s: float | None


@dataclass(frozen=True, slots=True)
class ServerLost:
    """A server stopped answering, refused us, or speaks another protocol: `server_down`."""

    network: NetworkId
    server: Address
    reason: str
    """For people: what happened and what to do, in one sentence."""
    code: VerdictCode | None = None
    """What the silence of all servers means; None where another one answers, or this one
    does, too."""


@dataclass(frozen=True, slots=True)
class ServerSuspected:
    """A server introduces peers whose cards no member can have made: worth a warning."""

    network: NetworkId
    server: Address
    reason: str


@dataclass(frozen=True, slots=True)
class NewerCardOfOurs:
    """There is a card of ours that this run has not made, and that is newer than ours: an earlier
    run made it, which our disk does not know, or another daemon with our identity."""

    network: NetworkId
    source: Address | PeerId
    """The server that holds it, or a peer that knew us by it."""
    seen: tuple[Address, ...]
    """Where a server sees its owner."""
    is_of_a_copy: bool
    """Whether it was surely made after ours had been the newest: then another daemon runs."""


@dataclass(frozen=True, slots=True)
class MembersListed:
    """A server's first answer is complete: all members it had then have been introduced.

    A message given to the network before this is addressed to every member met until now.
    """

    network: NetworkId


@dataclass(frozen=True, slots=True)
class NatObserved:
    """Our NAT report or our external addresses have changed."""

    report: NatReport
    observed: tuple[Address, ...]


# --- peers -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PeerMet:
    """A verified card of a peer, new or newer than the last: worth keeping on disk.

    `first_contact` says that the node did not know this peer.  The shell answers with
    `Dialogue.open_conversation` once it knows the conversation's state, and before that, where the
    disk has yet to take it, with `Dialogue.allow_session`.  Until then a path is looked for, but no
    session begun; and until the conversation is open, nothing is said to the peer.
    """

    network: NetworkId
    peer: PeerId
    nick: str
    sealed_card: bytes
    first_contact: bool


@dataclass(frozen=True, slots=True)
class PeerForgotten:
    """A peer had to give its place to another.  If it was never reached, remove it from disk,
    unless a message waits for it; else it may come back, and finds there what it left."""

    network: NetworkId
    peer: PeerId


@dataclass(frozen=True, slots=True)
class NetworkFull:
    """A newcomer was turned away because nobody could give it a place, the first in a while."""

    network: NetworkId
    peer: PeerId
    nick: str
    places: int
    """As many as there are."""


@dataclass(frozen=True, slots=True)
class PeerConnected:
    """A session is established on a direct path: `peer_online`."""

    network: NetworkId
    peer: PeerId
    nick: str
    path: PathReport
    connect_s: float
    """From the introduction (or the first attempt) to now."""


@dataclass(frozen=True, slots=True)
class PeerDisconnected:
    """`peer_offline`."""

    network: NetworkId
    peer: PeerId
    nick: str
    reason: str


@dataclass(frozen=True, slots=True)
class PathChanged:
    """Another path is in use: keep its address on disk as a last-good one."""

    network: NetworkId
    peer: PeerId
    path: PathReport


@dataclass(frozen=True, slots=True)
class VerdictReached:
    """An attempt ended without a path: one sentence that says why and what would help.

    Another follows when something was learned that gives another reason.
    """

    network: NetworkId
    peer: PeerId
    verdict: str
    code: VerdictCode


@dataclass(frozen=True, slots=True)
class PingAnswered:
    """The answer to `Peer.ping`."""

    network: NetworkId
    peer: PeerId
    token: int
    rtt_s: float


# --- messages --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MessageArrived:
    """A message, in order, that is new in this session.  The shell commits it, unless a message
    of this peer's with this id is on disk already, and then calls
    `Dialogue.message_committed(epoch, seq)`; only then it is acknowledged."""

    network: NetworkId
    peer: PeerId
    nick: str
    message_id: str
    epoch: int
    seq: int
    sent_at_unix_ms: int
    kind: str
    body: str
    outbox: int = 0
    """The peer's, for `ConversationState.heard_outbox`."""


@dataclass(frozen=True, slots=True)
class MessagesAcknowledged:
    """The peer has everything up to `seq` on its disk (cumulative)."""

    network: NetworkId
    peer: PeerId
    seq: int


@dataclass(frozen=True, slots=True)
class OutboxWentBack:
    """The peer holds messages of our outbox that our own disk does not know: it was restored from
    an older copy, or a copy of it runs elsewhere.  Told once; nothing is lost by it."""

    network: NetworkId
    peer: PeerId
    messages: int


@dataclass(frozen=True, slots=True)
class MessagesMissing:
    """The peer is done with messages that our disk does not have: ours was restored from an older
    copy, or the peer has given them up.  The shell keeps `seq` as the highest that was heard."""

    network: NetworkId
    peer: PeerId
    outbox: int
    seq: int
    messages: int


@dataclass(frozen=True, slots=True)
class NothingToRepeat:
    """The peer knows that we have all that has come of its outbox: it says none of it again, so the
    shell need not know those messages by their ids any longer."""

    network: NetworkId
    peer: PeerId


@dataclass(frozen=True, slots=True)
class OutboxWanted:
    """The conversation has room: give it up to `count` messages after `after_seq` by
    `Dialogue.send_message`."""

    network: NetworkId
    peer: PeerId
    after_seq: int
    count: int


# --- sockets ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SocketDropped:
    """The node no longer uses this socket; the shell closes it."""

    socket: SocketId


Event = (
    ServerAnswered
    | ServerLost
    | ServerSuspected
    | NewerCardOfOurs
    | MembersListed
    | NatObserved
    | PeerMet
    | PeerForgotten
    | NetworkFull
    | PeerConnected
    | PeerDisconnected
    | PathChanged
    | VerdictReached
    | PingAnswered
    | MessageArrived
    | MessagesAcknowledged
    | OutboxWentBack
    | MessagesMissing
    | NothingToRepeat
    | OutboxWanted
    | SocketDropped
)
