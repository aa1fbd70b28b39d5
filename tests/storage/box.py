"""A mailbox with its store and log, for tests."""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from natd.core.base.events import MessageArrived
from natd.core.base.types import NetworkId, PeerId
from natd.storage.conversation import Conversation
from natd.storage.event_log import EventLog
from natd.storage.mailbox import Mailbox
from natd.storage.store import Store

NETWORK = NetworkId(b"n" * 16)
ALICE = PeerId(b"a" * 32)
BOB = PeerId(b"b" * 32)


class Box:
    """A mailbox with its store and log."""

    def __init__(self, directory: Path) -> None:
        self.store = Store(directory)
        self.log = EventLog(self.store)
        self.mailbox = Mailbox(self.store, self.log)
        self.store.start(lambda: None)

    def accept(
        self, text: str, peers: Iterable[PeerId], *, is_open: bool = False
    ) -> "asyncio.Future[str]":
        fields = {"network": "demo", "text": text}
        return self.mailbox.accept(
            NETWORK, peers, text=text, nick="me", is_open=is_open, kind="text", fields=fields
        )

    def arrive(
        self, peer: PeerId, seq: int, outbox: int = 1, id_: str = "", text: str = ""
    ) -> bool:
        text, id_ = text or str(seq), id_ or f"m{seq:03}"
        arrived = MessageArrived(NETWORK, peer, "alice", id_, 9, seq, 0, "text", text, outbox)
        return self.mailbox.arrive(arrived, "new", {"network": "demo", "text": text})

    async def grow_old(self, message: str, days: int) -> None:
        """As if it had been kept for so many days of own time."""
        sql = "UPDATE messages SET kept_at_s = kept_at_s - ? WHERE message = ?"
        await self.store.execute(sql, (days * 86_400, message))

    def conversation(self, peer: PeerId) -> Conversation:
        conversation = self.mailbox.find(NETWORK, peer)
        assert conversation is not None
        return conversation

    def outbound(self) -> list[tuple[PeerId, int, str]]:
        return [(c.peer, m.seq, m.body) for c, m in self.mailbox.take_outbound()]

    def give_all(self) -> None:
        for conversation, message in self.mailbox.take_outbound():
            self.mailbox.given(NETWORK, conversation.peer, message)

    async def events(self, type_: str) -> list[dict[str, Any]]:
        return await self.log.read_events(0, 999, frozenset({type_}))

    async def texts(self, type_: str) -> list[str]:
        return [event["text"] for event in await self.events(type_)]

    async def close(self) -> None:
        await self.store.close()
