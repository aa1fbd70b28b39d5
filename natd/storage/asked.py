"""The names that clients gave their messages: who asks again is told what was done the first time.

    (network, program, name)  ->  the message, and a digest of what was asked

A client whose request got no answer can't know whether it was carried out.  It asks again under the
same name, over another connection or after a restart of either side, and the message is there once.

Rules that a change must not break:

- A name is looked for and written in the commit of its message, so that neither is on disk without
  the other, and no message twice.
- A name that is on its way to the disk is as good as one that is there.
- Names are kept for a day of own time: the clock on the wall decides nothing.
"""

import asyncio
import hashlib
import json
from dataclasses import dataclass, field

from natd.core.base.types import NetworkId, PeerId
from natd.host.errors import CommandError
from natd.storage.own_time import DAY_S
from natd.storage.store import Store
from natd.storage.transaction import Transaction

NAME_CHARACTERS = 64

DIGEST_BYTES = 16

_ASKED = "asked (network, program, name, digest, at_s, id, message)"
_FIND = "SELECT digest, message FROM asked WHERE network = ? AND program = ? AND name = ?"
_RECIPIENTS = (
    "SELECT peer, seq < first_unacknowledged FROM outbox JOIN conversations "
    "ON conversations.id = outbox.conversation WHERE outbox.message = "
    "(SELECT id FROM asked WHERE network = ? AND program = ? AND name = ?)"
)


@dataclass(frozen=True, slots=True)
class Name:
    """What a client calls its message."""

    network: NetworkId
    program: str
    """Of the client, without its version: names of one program mean nothing to another."""
    name: str

    @property
    def key(self) -> tuple[NetworkId, str, str]:
        return self.network, self.program, self.name


def name_of(network: NetworkId, program: str, given: object) -> Name | None:
    """The name under which a `send` asks: its `id` where that is text; CommandError.

    A number only tells which answer belongs to which request of a connection.
    """
    if not isinstance(given, str):
        return None
    if not (0 < len(given) <= NAME_CHARACTERS and given.isprintable()):
        text = f"expected id as a name of 1 to {NAME_CHARACTERS} printable characters, or a number"
        raise CommandError("usage", text)
    return Name(network, program, given)


@dataclass(slots=True)
class Asking:
    """A message that is asked for under a name."""

    name: Name
    digest: bytes
    """Of what is asked: another message under the same name is a mistake."""
    before: tuple[bytes, str] | None = field(default=None, init=False)
    """Digest and id of the message that has this name already; None where there is none."""

    def is_repeated(self, transaction: Transaction) -> bool:
        """Whether the name is on disk; on the writer's thread."""
        found = transaction.execute(_FIND, self.name.key)
        self.before = found[0] if found else None
        return self.before is not None

    def keep(self, transaction: Transaction, at_s: int, id_: int, message: str) -> None:
        """Write the name beside its message."""
        row = (*self.name.key, self.digest, at_s, id_, message)
        transaction.insert(_ASKED, row)

    def message_before(self) -> str:
        """The message that has the name; CommandError where it is another than this."""
        assert self.before is not None
        digest, message = self.before
        if digest != self.digest:
            name = self.name.name
            raise CommandError(
                "name_taken",
                f"the id {name!a} names another message, which was accepted within the last day",
                "give each message an id of its own",
            )
        return message

    def answer(self, accepted: "asyncio.Future[str]") -> None:
        """The name was on disk already."""
        if accepted.done():
            return
        try:
            accepted.set_result(self.message_before())
        except CommandError as error:
            accepted.set_exception(error)


def asking(name: Name, text: str, to: object) -> Asking:
    digest = hashlib.sha256(json.dumps([text, to]).encode()).digest()[:DIGEST_BYTES]
    return Asking(name, digest)


class AskedNames:
    """See the top of this file."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._on_the_way: dict[Name, tuple[bytes, asyncio.Future[str]]] = {}

    def expect(self, asked: Asking, accepted: "asyncio.Future[str]") -> None:
        """A message of this name is on its way to the disk."""
        self._on_the_way[asked.name] = asked.digest, accepted
        accepted.add_done_callback(lambda _: self._on_the_way.pop(asked.name, None))

    def on_the_way(self, asked: Asking) -> "asyncio.Future[str] | None":
        """What gives the message that was submitted under this name and is not on disk yet;
        CommandError where it is another."""
        found = self._on_the_way.get(asked.name)
        if found is None:
            return None
        asked.before = found[0], ""
        asked.message_before()
        return asyncio.shield(found[1])

    async def find(self, asked: Asking) -> str | None:
        """The message of this name that is on disk, as far as that can be read; CommandError where
        it is another."""
        if self._store.is_hanging:
            return None
        found = await self._store.read(_FIND, asked.name.key)
        if not found:
            return None
        asked.before = found[0]
        return asked.message_before()

    async def recipients(self, name: Name) -> tuple[list[PeerId], list[PeerId]]:
        """Who has the message of this name, and for whom it waits; StoreError."""
        rows = await self._store.read(_RECIPIENTS, name.key)
        delivered = [PeerId(peer) for peer, has_it in rows if has_it]
        return delivered, [PeerId(peer) for peer, has_it in rows if not has_it]

    async def prune(self) -> None:
        """Forget names that are older than a day; StoreError."""
        before_s = self._store.own_time.now_s - DAY_S
        await self._store.execute("DELETE FROM asked WHERE at_s < ?", (before_s,))

    async def purge(self, network: NetworkId) -> None:
        await self._store.execute("DELETE FROM asked WHERE network = ?", (network,))
