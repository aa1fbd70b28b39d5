"""From a line typed to a message accepted: once each, in order, across restarts of the daemon.

    put -> waiting -> asked -> Accepted | Refused
                        '-> no answer -> was it accepted? -> Accepted, or asked again

Rules that a change must not break:

- One request at a time, so that messages are accepted in the order in which they were put.
- A request that got no answer may have been accepted all the same.  The daemon's history says
  so: a message of ours with that text that was not there before we asked.
- A text leaves the queue only with its outcome; who leaves early still holds what is waiting.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Protocol

from natd.ipc import RequestError, UnreachableError

Json = dict[str, Any]

RESEND_FIRST_S = 0.1
RESEND_LIMIT_S = 2.0
"""Waits between looks for a daemon that went away; `retry` ends one at once."""

HISTORY_ROWS = 200
"""How far back an unanswered request is looked for: what other programs of this user may have
sent while the daemon restarted."""


WAITING_LIMIT = 100
"""Texts waiting at which `has_room` holds back; `put` itself refuses nobody."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """It is on the daemon's disk."""

    text: str
    to: str | None
    reply: Json
    """`message`, `delivered`, `queued` as `send` answers them."""


@dataclass(frozen=True, slots=True)
class Refused:
    """It is not, and never will be."""

    text: str
    to: str | None
    error: RequestError


class Messenger(Protocol):
    """What of `natd.ipc.Client` it takes to send."""

    async def send(self, network: str | None, text: str, *, to: str | None = None) -> Json: ...

    async def history(self, network: str | None = None, *, limit: int = 100) -> Json: ...


@dataclass(frozen=True, slots=True)
class _Waiting:
    text: str
    to: str | None


class Sending:
    """The texts that no daemon has accepted yet."""

    def __init__(self, client: Messenger, network: str) -> None:
        self._client = client
        self._network = network
        self._waiting: deque[_Waiting] = deque()
        self._wanted = asyncio.Event()
        self._retry = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._done = asyncio.Event()
        self._done.set()
        self._accepted: set[str] = set()

    @property
    def waiting(self) -> list[str]:
        return [item.text for item in self._waiting]

    def put(self, text: str, to: str | None = None) -> None:
        """`to`: a peer as natctl takes it; None is the network."""
        self._waiting.append(_Waiting(text, to))
        self._done.clear()
        self._wanted.set()
        if len(self._waiting) >= WAITING_LIMIT:
            self._room.clear()

    def message_sent(self, message: str) -> None:
        """A `sent` event: that one was accepted before whatever is asked from here on."""
        self._accepted.add(message)

    def retry(self) -> None:
        """The daemon is back."""
        self._retry.set()

    async def has_room(self) -> None:
        """Returns when another may be put: a file is read no faster than it is accepted."""
        await self._room.wait()

    async def all_accepted(self) -> None:
        """Returns once nothing is waiting."""
        await self._done.wait()

    async def outcomes(self) -> AsyncIterator[Accepted | Refused]:
        """What becomes of each text, in order, for ever."""
        while True:
            await self._wanted.wait()
            item = self._waiting[0]
            outcome = await self._outcome(item)
            self._waiting.popleft()
            self._room.set()
            if not self._waiting:
                self._wanted.clear()
            yield outcome
            if not self._waiting:
                self._done.set()

    async def _outcome(self, item: _Waiting) -> Accepted | Refused:
        wait_s = RESEND_FIRST_S
        before: frozenset[str] | None = None
        while True:
            try:
                reply = None if before is None else await self._found(item, before)
                if reply is None:
                    before = frozenset(self._accepted) if before is None else before
                    reply = await self._client.send(self._network, item.text, to=item.to)
                self._accepted.add(str(reply.get("message")))
                return Accepted(item.text, item.to, reply)
            except RequestError as error:
                return Refused(item.text, item.to, error)
            except UnreachableError:
                self._retry.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await self._retry.wait()
                wait_s = min(RESEND_LIMIT_S, wait_s * 2)

    async def _found(self, item: _Waiting, before: frozenset[str]) -> Json | None:
        """The answer to a request that got none; None: it never arrived."""
        rows = (await self._client.history(self._network, limit=HISTORY_ROWS))["messages"]
        for row in rows:
            is_ours = row.get("direction") == "out" and row.get("text") == item.text
            if is_ours and str(row.get("message")) not in before:
                delivered = list(row.get("delivered") or ())
                queued = [peer for peer in row.get("to") or () if peer not in delivered]
                return {"message": row["message"], "delivered": delivered, "queued": queued}
        return None
