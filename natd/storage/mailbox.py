"""Messages of every conversation: what was accepted, what came, what was delivered.

Rules that a change must not break:

- A sequence number is given by the commit: 1, 2, 3, ... without gaps, also when the disk
  refused a message in between.
- The name of a conversation's outbox is on disk before it is sent to anybody.
- A message of a peer's is kept once, whatever its number: it is known by its id.  What may be said
  again, for as long as its sender keeps it, leaves at least its id here.
- An open message (given before a server told who is here) is addressed to each peer that is
  met, before anything that is accepted later.
- A conversation lives as long as its network is not purged and its peer not forgotten: leaving and
  joining again goes on with the same numbers.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from random import Random
from typing import Any

from natd.core.base.events import MessageArrived, OutboundMessage
from natd.core.base.types import PRIVATE, NetworkId, PeerId
from natd.storage import housekeeping
from natd.storage.asked import AskedNames, Asking
from natd.storage.conversation import Conversation, Outbound, signed
from natd.storage.delivery import Delivery
from natd.storage.event_log import EventEntry, EventLog
from natd.storage.housekeeping import Expired
from natd.storage.mailbox_writes import (
    SET_HEARD,
    Acceptance,
    Acknowledgement,
    Arrival,
    Beginning,
    Released,
)
from natd.storage.quota import Quota, row_bytes
from natd.storage.store import Store, StoreError

QUOTA_HINT = (
    "raise limits.disk_mib, or keep less: lower limits.history_days, natctl leave NETWORK --purge"
)

_ID_TIME_MASK = (1 << 48) - 1
_chance = Random()

_LOAD = (
    "SELECT id, network, peer, outbound_epoch, next_seq, first_unacknowledged, inbound_epoch, "
    "inbound_seq, stored_bytes, done_id FROM conversations "
    "WHERE is_aside = 0"
)
_PRIVATE = (
    "SELECT conversations.network, conversations.peer, max(seq) FROM conversations "
    "JOIN outbox ON outbox.conversation = conversations.id AND seq >= first_unacknowledged "
    "JOIN messages ON messages.id = outbox.message WHERE kind = ? AND is_aside = 0 "
    "GROUP BY conversations.id"
)
_SET_ASIDE = "UPDATE conversations SET first_unacknowledged = ?, is_aside = 1 WHERE id = ?"
_PURGE_OUTBOX = (
    "DELETE FROM outbox WHERE conversation IN (SELECT id FROM conversations WHERE network = ?)"
)
_WAITING = (
    "SELECT seq, messages.message, sent_at_unix_ms, kind, body FROM outbox JOIN messages "
    "ON messages.id = outbox.message WHERE outbox.conversation = ? AND seq > ? "
    "ORDER BY seq LIMIT ?"
)
_UNHEARD = (
    "SELECT network, count(*) FROM messages WHERE is_open = 1 "
    "AND NOT EXISTS (SELECT 1 FROM outbox WHERE outbox.message = messages.id) GROUP BY network"
)


def new_message_id(now_ms: int) -> str:
    """26 hex digits that sort by time: 48 bits of milliseconds, then 56 random bits.

    Unique, not secret: who can read an id can read the message.
    """
    return f"{now_ms & _ID_TIME_MASK:012x}{_chance.getrandbits(56):014x}"


class Mailbox:
    """The conversations of all networks; see the module's head."""

    def __init__(self, store: Store, log: EventLog) -> None:
        self._store = store
        self._log = log
        self.asked = AskedNames(store)
        self._released = Released()
        self._conversations: dict[tuple[NetworkId, PeerId], Conversation] = {}
        self.quota = Quota()
        """The owner sets its limits."""
        self._held: set[Conversation] = set()
        last_id = store.query("SELECT coalesce(max(id), 0) FROM messages")[0][0]
        for *row, stored_bytes, done_id in store.query(_LOAD):
            self._conversations[row[1], row[2]] = conversation = Conversation(*row)
            conversation.stored_bytes = stored_bytes
            conversation.done_id = conversation.stored_done_id = done_id
            conversation.last_id = last_id
        for network, peer, seq in store.query(_PRIVATE, (PRIVATE,)):
            self._conversations[network, peer].private_seq = seq
        self._last_id = store.query("SELECT coalesce(max(id), 0) FROM conversations")[0][0]
        self._with_open: set[NetworkId] = {
            NetworkId(network)
            for (network,) in store.query("SELECT DISTINCT network FROM messages WHERE is_open = 1")
        }
        self._unheard: dict[NetworkId, int] = dict(store.query(_UNHEARD))
        """How many messages are addressed to nobody yet; they stay open until they are."""
        self._deliveries: dict[str, list[Delivery]] = {}

    def find(self, network: NetworkId, peer: PeerId) -> Conversation | None:
        """The conversation, if it can be opened as it is: on disk, no open message missing."""
        conversation = self._conversations.get((network, peer))
        if conversation is None or not conversation.is_stored or network in self._with_open:
            return None
        return conversation

    def begin(self, network: NetworkId, peer: PeerId) -> None:
        """Make it so that the conversation can be opened; `take_begun` tells when it can."""
        self._store.submit(Beginning(self._released, self._conversation(network, peer)))
        self._unheard.pop(network, None)

    def forget(self, network: NetworkId, peer: PeerId) -> bool:
        """A peer is forgotten, and its conversation with it; False where anything was said."""
        conversation = self._conversations.get((network, peer))
        if conversation is None:
            return True
        if not conversation.is_untouched:
            return False
        del self._conversations[network, peer]
        self._store.post("DELETE FROM conversations WHERE id = ?", (conversation.id,))
        return True

    def accept(
        self,
        network: NetworkId,
        peers: Iterable[PeerId],
        *,
        text: str,
        nick: str,
        is_open: bool,
        kind: str,
        fields: Mapping[str, Any],
        asking: Asking | None = None,
    ) -> "asyncio.Future[str]":
        """Take a message for these peers; the future gives its id once it is on disk, or
        StoreError.  `fields` are those of the event `sent`, which gains `message`.

        `asking`: of a message that its client has named.  If one was accepted under that name
        before, this is not; the future gives the id of that one, or CommandError where it is
        another.
        """
        self._require_room()
        now_ms = time.time_ns() // 1_000_000
        message = new_message_id(now_ms)
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        recipients = [self._conversation(network, peer) for peer in peers]
        entry = self._log.entry("sent", {**fields, "message": message})
        row = (network, message, now_ms, nick, kind, text, is_open)
        if is_open:
            self._with_open.add(network)
            if not recipients:
                self._unheard[network] = self._unheard.get(network, 0) + 1
                future.add_done_callback(lambda _: self._count_unheard(network, message, future))
        if asking is not None:
            self.asked.expect(asking, future)
        kept_at_s = self._store.own_time.now_s
        write = Acceptance(self._released, row, recipients, entry, kept_at_s, future, asking)
        self._store.submit(write)
        return future

    def arrive(self, arrived: MessageArrived, trust: str, fields: Mapping[str, Any]) -> bool:
        """Keep a message that came; `take_arrived` tells when it is on disk.

        False: there is no room for what this peer says, now and until `take_released` gives its
        conversation.
        """
        conversation = self._conversation(arrived.network, arrived.peer)
        self.quota.used_bytes = self._store.used_bytes
        if conversation.is_held or not self.quota.takes(
            conversation.stored_bytes, row_bytes(arrived.body)
        ):
            conversation.is_held = True
            self._held.add(conversation)
            return False
        entry = self._log.entry("message", fields)
        kept_at_s = self._store.own_time.now_s
        self._store.submit(
            Arrival(self._released, conversation, arrived, trust, entry, kept_at_s, self.quota)
        )
        return True

    def held(self, network: NetworkId) -> list[Conversation]:
        """Those of which nothing more is taken."""
        return [conversation for conversation in self._held if conversation.network == network]

    def take_released(self) -> list[Conversation]:
        """Drain the conversations for which there is room again."""
        if not self._held:
            return []
        self.quota.used_bytes = self._store.used_bytes
        released = [each for each in self._held if self.quota.releases(each.stored_bytes)]
        for conversation in released:
            conversation.is_held = False
            self._held.discard(conversation)
        return released

    def acknowledge(
        self, network: NetworkId, peer: PeerId, seq: int, fields: Mapping[str, Any]
    ) -> None:
        """The peer has all up to `seq`; `fields` are those of the event `delivered`."""
        conversation = self._conversations.get((network, peer))
        if conversation is None:
            return
        seq = min(seq, conversation.next_seq - 1)
        before = conversation.acknowledged_seq
        if seq <= before:
            return
        conversation.acknowledged_seq = seq
        flight = conversation.in_flight
        count = next((n for n, (number, _) in enumerate(flight) if number > seq), len(flight))
        messages = [message for number, message in flight[:count] if number > before]
        del flight[:count]

        def entry_of(message: str) -> EventEntry:
            return self._log.entry("delivered", {**fields, "message": message})

        # Acknowledged although not given since the start: it went before a crash.
        known = messages if len(messages) == seq - before else None
        self._store.submit(
            Acknowledgement(self._released, conversation, (before, seq), known, entry_of)
        )

    async def waiting(
        self, network: NetworkId, peer: PeerId, after_seq: int, limit: int
    ) -> list[OutboundMessage]:
        """Messages in the outbox with numbers above `after_seq`, in order; StoreError."""
        conversation = self._conversations.get((network, peer))
        if conversation is None:
            return []
        outbox, after = conversation.unsigned_outbox, max(after_seq, conversation.acknowledged_seq)
        if conversation.next_seq - 1 <= after:
            # Every session asks at its start: where nothing waits, the disk is not read.
            return []
        rows = await self._store.read(_WAITING, (conversation.id, after, limit))
        return [
            OutboundMessage(message, outbox, seq, sent_at, kind, body)
            for seq, message, sent_at, kind, body in rows
        ]

    def given(self, network: NetworkId, peer: PeerId, message: OutboundMessage) -> None:
        """The node has taken this message."""
        conversation = self._conversations[network, peer]
        if message.seq > conversation.given_seq:
            conversation.given_seq = message.seq
            conversation.in_flight.append((message.seq, message.message_id))

    def take_begun(self) -> list[Conversation]:
        """Drain the conversations that can be opened; before `take_outbound`."""
        begun, self._released.begun = self._released.begun, []
        return begun

    def take_outbound(self) -> list[Outbound]:
        """Drain what was accepted and is on disk, in order."""
        outbound, self._released.outbound = self._released.outbound, []
        if self._deliveries:
            for conversation, message in outbound:
                for delivery in self._deliveries.get(message.message_id, ()):
                    delivery.missing.add(conversation.peer)
        return outbound

    def take_arrived(self) -> list[Conversation]:
        """Drain the conversations whose `arrived` is on disk."""
        arrived = list(self._released.arrived)
        self._released.arrived.clear()
        return arrived

    def tell_delivered(self) -> None:
        """Wake all that wait for deliveries that are on disk."""
        for message, peer in self._released.delivered:
            for delivery in self._deliveries.get(message, ()):
                delivery.take(peer)
        self._released.delivered.clear()

    @contextlib.contextmanager
    def following(self, message: str, delivery: Delivery) -> Iterator[None]:
        """Keep `delivery` up to date; its `done` comes when everybody that the message is addressed
        to has it, one peer at least.

        To be entered as soon as `accept` has given the message's id.
        """
        followed = self._deliveries.setdefault(message, [])
        followed.append(delivery)
        try:
            yield
        finally:
            followed.remove(delivery)
            if not followed:
                del self._deliveries[message]

    def queued(self, network: NetworkId, peer: PeerId | None = None) -> int:
        """Undelivered messages; of a network: counted once for each recipient, and once where
        they wait for the first who comes."""
        if peer is not None:
            conversation = self._conversations.get((network, peer))
            return 0 if conversation is None else conversation.queued
        queued = sum(c.queued for c in self._conversations.values() if c.network == network)
        return queued + self._unheard.get(network, 0)

    def is_written_to(self, network: NetworkId, peer: PeerId) -> bool:
        """Whether a message waits that was given for this peer alone."""
        conversation = self._conversations.get((network, peer))
        return conversation is not None and conversation.private_seq > conversation.acknowledged_seq

    def put_aside(self, network: NetworkId, peer: PeerId) -> int:
        """The peer is forgotten: what waits is not sent any more.  Gives how many messages waited.

        What was said stays on disk.  Should the peer be met again, its new conversation takes that
        over, and so knows a message that is said again.
        """
        conversation = self._conversations.get((network, peer))
        if conversation is None or self.forget(network, peer):
            return 0
        queued, last = conversation.queued, conversation.next_seq - 1
        conversation.acknowledged_seq = conversation.given_seq = last
        conversation.in_flight.clear()
        self._held.discard(conversation)
        self._store.post(_SET_ASIDE, (last + 1, conversation.id))
        if not conversation.pending:
            del self._conversations[network, peer]
        return queued

    def close_open(self, network: NetworkId) -> None:
        """Everybody here has been met: open messages of the network get no more recipients,
        except that one with none at all waits for the first."""
        if network in self._with_open and network not in self._unheard:
            self._with_open.discard(network)
            self._store.post(
                "UPDATE messages SET is_open = 0 WHERE is_open = 1 AND network = ?", (network,)
            )

    async def purge(self, network: NetworkId) -> None:
        """Forget the network's conversations, outbox and history."""
        await self._store.flush()
        self._with_open.discard(network)
        self._unheard.pop(network, None)
        for key in [key for key in self._conversations if key[0] == network]:
            del self._conversations[key]
        await self._store.execute(_PURGE_OUTBOX, (network,))
        await self._store.execute("DELETE FROM conversations WHERE network = ?", (network,))
        await self._store.execute("DELETE FROM messages WHERE network = ?", (network,))
        await self.asked.purge(network)

    async def give_up(self, absent: Callable[[NetworkId, PeerId], bool]) -> list[Expired]:
        """Give up what has waited longer than `MESSAGES_KEPT_DAYS` for peers who are absent;
        StoreError."""
        chosen = [c for c in self._conversations.values() if absent(c.network, c.peer)]
        return await housekeeping.give_up(self._store, chosen)

    async def forget_empty(self) -> None:
        """Conversations of forgotten peers that nothing is left of go, before any is opened;
        StoreError."""
        await housekeeping.forget_empty(self._store)

    def heard_of(self, network: NetworkId, peer: PeerId, outbox: int, seq: int) -> None:
        """The peer is done with its messages up to `seq`, whether we have them or not."""
        conversation = self._conversations.get((network, peer))
        if conversation is not None:
            conversation.heard_outbox, conversation.heard_seq = signed(outbox), seq
            self._store.post(SET_HEARD, (signed(outbox), seq, conversation.id))

    def nothing_to_repeat(self, network: NetworkId, peer: PeerId) -> None:
        """The peer knows that we have all that is on disk of it: it says none of that again."""
        conversation = self._conversations.get((network, peer))
        if conversation is not None:
            conversation.done_id = conversation.last_id

    async def prune(self, before_s: int) -> None:
        """Delete history that was kept before this instant of own time; see `housekeeping`."""
        await housekeeping.prune(self._store, self._conversations.values(), before_s)

    def _require_room(self) -> None:
        """StoreError where nothing can be accepted now."""
        if self._store.is_hanging and (problem := self._store.problem) is not None:
            raise problem
        self.quota.used_bytes = self._store.used_bytes
        if self.quota.is_full:
            full = StoreError(self.quota.full_words)
            full.hint = QUOTA_HINT
            raise full

    def _count_unheard(
        self, network: NetworkId, message: str, accepted: "asyncio.Future[str]"
    ) -> None:
        """A message for the first who comes was accepted, or it was not and waits for nobody."""
        is_given = not accepted.cancelled() and accepted.exception() is None
        if is_given and accepted.result() == message:
            return
        if (count := self._unheard.pop(network, 0)) > 1:
            self._unheard[network] = count - 1

    def _conversation(self, network: NetworkId, peer: PeerId) -> Conversation:
        conversation = self._conversations.get((network, peer))
        if conversation is None:
            self._last_id += 1
            outbox = int.from_bytes(os.urandom(8), "big", signed=True)
            conversation = Conversation(self._last_id, network, peer, outbox, is_stored=False)
            self._conversations[network, peer] = conversation
        return conversation
