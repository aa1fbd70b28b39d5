"""Turns the node's events into rows of the event log, and does what each event requires.

    PeerMet           the address book; then the conversation, once its epoch is on disk
    PeerForgotten     removed from both, unless it was reached once, there are messages, or the user
                      has marked the peer; how many stay in all: `crowd`
    MessageArrived    the mailbox; then the acknowledgement, once it is on disk
    OutboxWanted      messages from the disk
    what people would notice: an event in the log

What must be on disk first comes back through `committed`.
"""

import asyncio
import logging
import time
from collections.abc import Coroutine, Mapping
from typing import Any

from natd.core.base import events
from natd.core.base.types import (
    MAIN_SOCKET,
    Address,
    NatReport,
    NetworkId,
    PathReport,
    PeerId,
    peer_id_text,
)
from natd.core.base.verdict import VerdictCode
from natd.core.network.roster import FORGOTTEN
from natd.members import crowd
from natd.members.copy_words import copy_words, missing_words, older_words, restored_words
from natd.members.named import name_of, network_name, peer_ref
from natd.members.parts import Parts
from natd.storage.address_book import KnownPeer
from natd.storage.store import StoreError

OUTBOX_PAGE = 128
"""Messages read from disk at once: the node may refuse the rest, and each may have 16 KiB."""

READ_AGAIN_S = 5.0
"""After a disk could not be read."""

COPY_TOLD_S = 300.0
"""A copy that was not noticed for so long has stopped; while it runs, each turn is noticed."""

LEAVING = "this daemon has left the network"

EXPIRED = "not delivered within 7 days"

FORBIDDEN = "this machine's own firewall forbids natd to send"

logger = logging.getLogger(__name__)


class Recorder:
    """Takes every event of the node, and is told of every commit."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._pings: dict[int, asyncio.Future[float]] = {}
        self._last_ping = 0
        self._presence = asyncio.Event()
        self._readings: set[asyncio.Task[None]] = set()

    # --- what the daemon calls

    def take(self, event: events.Event, now: float) -> None:
        """Handle one event of the node."""
        parts = self._parts
        match event:
            case events.MessageArrived():
                self._arrive(event, now)
            case events.MessagesAcknowledged(network=network, peer=peer, seq=seq):
                name, ref = self._name(network), peer_ref(parts.book, network, peer)
                fields = {"network": name, "peer": ref}
                parts.mailbox.acknowledge(network, peer, seq, fields)
                crowd.say_if_wanted(parts, network, peer, now)
            case events.OutboxWentBack(network=network, peer=peer, messages=messages):
                self._went_back(network, peer, messages)
            case events.MessagesMissing():
                self._missing(event)
            case events.NothingToRepeat(network=network, peer=peer):
                parts.mailbox.nothing_to_repeat(network, peer)
            case events.OutboxWanted(network=network, peer=peer, after_seq=after, count=count):
                self._start(self._give(network, peer, after, count))
            case events.PeerMet():
                self._meet(event, now)
            case events.PeerForgotten(network=network, peer=peer):
                crowd.put_out(parts, network, peer)
            case events.NetworkFull():
                crowd.turned_away(parts, event)
            case events.PeerConnected():
                self._connect(event, now)
            case events.PeerDisconnected():
                self._disconnect(event, now)
            case events.PathChanged(network=network, peer=peer, path=path):
                known = parts.book.peer(network, peer)
                if known is not None:
                    parts.book.heard(known, path.address)
                self._log("path_changed", network, peer, {"path": path_row(path, now)})
            case events.VerdictReached(network=network, peer=peer, verdict=verdict, code=code):
                self._log("verdict", network, peer, {"verdict": verdict, "code": str(code)})
            case events.ServerAnswered():
                row = {"rtt_ms": ms(event.rtt_s), "observed": str(event.observed)}
                self._log_server("server_up", event.network, str(event.server), row)
            case events.ServerLost():
                is_ours = event.code is VerdictCode.UDP_BLOCKED and parts.sockets.is_forbidden
                reason = FORBIDDEN if is_ours else event.reason
                row = {"reason": reason, "code": event.code and str(event.code)}
                self._log_server("server_down", event.network, str(event.server), row)
            case events.ServerSuspected():
                logger.warning("%s: %s", self._name(event.network), event.reason)
                row = {"reason": event.reason}
                self._log_server("server_suspected", event.network, str(event.server), row)
            case events.NewerCardOfOurs():
                self._own_card(event, now)
            case events.MembersListed(network=network):
                parts.listed.add(network)
                parts.mailbox.close_open(network)
            case events.NatObserved(report=report, observed=observed):
                seen = [str(address) for address in observed]
                parts.log.append("nat_changed", {"nat": nat_row(report), "observed": seen})
            case events.PingAnswered(token=token, rtt_s=rtt_s):
                waiting = self._pings.get(token)
                if waiting is not None and not waiting.done():
                    waiting.set_result(rtt_s)

    def committed(self, now: float) -> None:
        """A group of writes is on disk: give the node what waited for it."""
        parts, mailbox = self._parts, self._parts.mailbox
        for conversation in mailbox.take_begun():
            peer = parts.peer(conversation.network, conversation.peer, now)
            if peer is not None:
                peer.dialogue.open_conversation(conversation.state(), now)
        for conversation, message in mailbox.take_outbound():
            peer = parts.peer(conversation.network, conversation.peer, now)
            if peer is not None and peer.dialogue.send_message(message):
                mailbox.given(conversation.network, conversation.peer, message)
        for conversation in mailbox.take_arrived():
            peer = parts.peer(conversation.network, conversation.peer, now)
            if peer is not None:
                peer.dialogue.message_committed(*conversation.arrived)
        mailbox.tell_delivered()
        self.release(now)

    def release(self, now: float) -> None:
        """Take again what peers say for whom there was no room on the disk."""
        for conversation in self._parts.mailbox.take_released():
            peer = self._parts.peer(conversation.network, conversation.peer, now)
            if peer is not None:
                peer.dialogue.release_messages(now)

    def still_here(self) -> None:
        """Keep on disk that the peers that are here are here: a crash may come at any time."""
        for network, online in self._parts.online.items():
            for peer in online:
                if (known := self._parts.book.peer(network, peer)) is not None:
                    self._parts.book.heard(known)

    async def give_up(self) -> None:
        """Give up messages that nobody came for, and tell of them; StoreError."""
        parts = self._parts

        def is_absent(network: NetworkId, peer: PeerId) -> bool:
            return peer not in parts.online.get(network, ())

        for conversation, seq, messages in await parts.mailbox.give_up(is_absent):
            network, peer = conversation.network, conversation.peer
            now = time.monotonic()
            if (found := parts.peer(network, peer, now)) is not None:
                found.dialogue.give_up(seq, now)
            row = {"messages": messages, "reason": EXPIRED}
            self._log("expired", network, peer, row)

    # --- what networks and commands call

    def open_conversation(self, known: KnownPeer, now: float) -> None:
        """Let the node talk with a peer: at once if the conversation is on disk."""
        conversation = self._parts.mailbox.find(known.network, known.peer)
        if conversation is None:
            self._parts.mailbox.begin(known.network, known.peer)
            if (peer := self._parts.peer(known.network, known.peer, now)) is not None:
                peer.dialogue.allow_session(now)
        else:
            if (peer := self._parts.peer(known.network, known.peer, now)) is not None:
                peer.dialogue.open_conversation(conversation.state(), now)

    def departures(self, network: NetworkId) -> list[dict[str, Any]]:
        """The `peer_offline` rows to log when we leave this network, made while its name and its
        peers' names are still known."""
        return [
            {
                "network": self._name(network),
                "peer": peer_ref(self._parts.book, network, peer),
                "reason": LEAVING,
            }
            for peer in sorted(self._parts.online.get(network, ()))
        ]

    def forget_presence(self, network: NetworkId) -> None:
        """We have left this network."""
        self._parts.online.pop(network, None)
        self._parts.listed.discard(network)
        self._tell_presence()

    async def ping(self, network: NetworkId, peer: PeerId, every_s: float) -> float:
        """Ask until there is an answer; its round trip in seconds."""
        answered: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        tokens = []
        try:
            while not answered.done():
                self._last_ping += 1
                tokens.append(self._last_ping)
                self._pings[self._last_ping] = answered
                now = time.monotonic()
                if (found := self._parts.peer(network, peer, now)) is not None:
                    found.ping(self._last_ping, now)
                self._parts.pump()
                await asyncio.wait([answered], timeout=every_s)
            return answered.result()
        finally:
            for token in tokens:
                del self._pings[token]

    async def presence_changed(self) -> None:
        """Return when a peer comes or goes."""
        await self._presence.wait()

    def forget(self, known: KnownPeer, now: float) -> int:
        """The user forgets a peer: it is a stranger from now on.  Gives how many messages waited
        for it; they are not sent.  History stays."""
        parts, network = self._parts, known.network
        if known.peer in parts.online.get(network, ()):
            parts.online[network].discard(known.peer)
            self._log("peer_offline", network, known.peer, {"reason": FORGOTTEN})
            self._tell_presence()
        return crowd.forget(parts, known, now)

    # --- inside

    def _start(self, reading: Coroutine[Any, Any, None]) -> None:
        """Nobody waits for it."""
        task = asyncio.get_running_loop().create_task(reading)
        self._readings.add(task)
        task.add_done_callback(self._readings.discard)

    def _arrive(self, event: events.MessageArrived, now: float) -> None:
        known = self._parts.book.peer(event.network, event.peer)
        trust = "new" if known is None else known.trust
        id_text = peer_id_text(event.peer) if known is None else known.id_text
        sender = {"nick": event.nick, "id": id_text, "trust": trust}
        fields = {
            "network": self._name(event.network),
            "from": sender,
            "message": event.message_id,
            "kind": event.kind,
            "text": event.body,
            "sent_at_unix_ms": event.sent_at_unix_ms,
        }
        if self._parts.mailbox.arrive(event, trust, fields):
            return
        peer = self._parts.peer(event.network, event.peer, now)
        if peer is not None:
            peer.dialogue.hold_messages()

    def _went_back(self, network: NetworkId, peer: PeerId, messages: int) -> None:
        """Our disk is older than what the peer has of us."""
        self._parts.restored[network, peer] = time.monotonic()
        reason = restored_words(name_of(self._parts.book, network, peer))
        logger.warning("%s: %s", self._name(network), reason)
        self._log("state_restored", network, peer, {"messages": messages, "reason": reason})

    def _own_card(self, event: events.NewerCardOfOurs, now: float) -> None:
        """A copy of us runs, or our disk is older than what the server knows."""
        noticed = self._parts.copies if event.is_of_a_copy else self._parts.older
        words = copy_words if event.is_of_a_copy else older_words
        text = words(
            name_of(self._parts.book, event.network, event.source), ", ".join(map(str, event.seen))
        )
        before = noticed.get(event.network)
        noticed[event.network] = (now, text)
        if before is not None and now < before[0] + COPY_TOLD_S:
            return
        logger.warning("%s: %s", self._name(event.network), text)
        row = {"reason": text, "seen": [str(address) for address in event.seen]}
        type_ = "identity_used_twice" if event.is_of_a_copy else "state_restored"
        if isinstance(event.source, Address):
            self._log_server(type_, event.network, str(event.source), row)
        else:
            self._log(type_, event.network, event.source, row)

    def _missing(self, event: events.MessagesMissing) -> None:
        parts = self._parts
        parts.mailbox.heard_of(event.network, event.peer, event.outbox, event.seq)
        reason = missing_words(event.messages, name_of(parts.book, event.network, event.peer))
        logger.warning("%s: %s", self._name(event.network), reason)
        fields = {"messages": event.messages, "reason": reason}
        self._log("messages_missing", event.network, event.peer, fields)

    async def _give(self, network: NetworkId, peer: PeerId, after: int, count: int) -> None:
        """Give all that the node wants, or all there is: it asks again only for later messages."""
        mailbox, end = self._parts.mailbox, after + count
        while after < end and self._parts.peer(network, peer, time.monotonic()) is not None:
            try:
                page = await mailbox.waiting(network, peer, after, min(OUTBOX_PAGE, end - after))
            except StoreError as error:
                logger.warning("messages wait for the disk: %s", error)
                await asyncio.sleep(READ_AGAIN_S)
                continue
            found = self._parts.peer(network, peer, time.monotonic())
            for message in page:
                if found is None or not found.dialogue.send_message(message):
                    return
                mailbox.given(network, peer, message)
            self._parts.pump()
            if len(page) < OUTBOX_PAGE:
                return
            after = page[-1].seq

    def _meet(self, event: events.PeerMet, now: float) -> None:
        parts = self._parts
        connected = parts.online.get(event.network, set())
        is_stranger = parts.book.peer(event.network, event.peer) is None
        known, previous = parts.book.meet(event, connected)
        if event.peer in connected:
            crowd.heard(parts, known, now)
        if previous is not None:
            row = {"previous_id": peer_id_text(previous)}
            self._log("peer_changed", event.network, event.peer, row)
        elif is_stranger:
            self._log("peer_met", event.network, event.peer, {})
        if is_stranger:
            crowd.drop_surplus(parts, event.network)
        if known.may_hear_us:
            self.open_conversation(known, now)
            if event.network in parts.listed:
                parts.mailbox.close_open(event.network)
        else:
            parts.block(event.network, event.peer, now)

    def _connect(self, event: events.PeerConnected, now: float) -> None:
        parts = self._parts
        parts.online.setdefault(event.network, set()).add(event.peer)
        known = parts.book.peer(event.network, event.peer)
        if known is not None:
            crowd.heard(parts, known, now, event.path.address)
        fields = {"path": path_row(event.path, event.path.since), "connect_ms": ms(event.connect_s)}
        self._log("peer_online", event.network, event.peer, fields)
        self._tell_presence()

    def _disconnect(self, event: events.PeerDisconnected, now: float) -> None:
        parts = self._parts
        online = parts.online.get(event.network, set())
        if parts.book.network_of(event.network) is None or event.peer not in online:
            return  # We have left it, or forgotten the peer, and have logged that it is gone.
        online.discard(event.peer)
        known = parts.book.peer(event.network, event.peer)
        if known is not None:
            crowd.heard(parts, known, now)
        self._log("peer_offline", event.network, event.peer, {"reason": event.reason})
        self._tell_presence()

    def _tell_presence(self) -> None:
        self._presence.set()
        self._presence = asyncio.Event()

    def _name(self, network: NetworkId) -> str:
        return network_name(self._parts.book, network)

    def _log(self, type_: str, network: NetworkId, peer: PeerId, fields: Mapping[str, Any]) -> None:
        row = {
            "network": self._name(network),
            "peer": peer_ref(self._parts.book, network, peer),
            **fields,
        }
        self._parts.log.append(type_, row)

    def _log_server(
        self, type_: str, network: NetworkId, server: str, fields: Mapping[str, Any]
    ) -> None:
        row = {"network": self._name(network), "server": server, **fields}
        self._parts.log.append(type_, row)


def ms(seconds: float | None) -> float | None:
    """Milliseconds with one decimal, as every interface shows them."""
    return None if seconds is None else round(seconds * 1000, 1)


def path_row(path: PathReport, now: float) -> dict[str, Any]:
    """A path as interfaces show it."""
    return {
        "kind": str(path.kind),
        "address": str(path.address),
        "rtt_ms": ms(path.rtt_s),
        "technique": path.technique,
        "socket": "main" if path.socket == MAIN_SOCKET else "helper",
        "age_s": round(max(0.0, now - path.since), 1),
    }


def nat_row(report: NatReport) -> dict[str, Any]:
    """A NAT report as interfaces show it."""
    return {
        "mapping": str(report.mapping),
        "filtering": str(report.filtering),
        "filtering_confidence": round(report.filtering_confidence, 2),
        "allocation": str(report.allocation),
        "confidence": round(report.confidence, 2),
        "stride": report.stride,
        "ports": [report.low, report.high],
    }
