"""From a line typed to a message accepted: once each, in order, across restarts of the daemon.

    put, named -> waiting -> asked -> Accepted | Refused
                               '-> no answer -> asked again, by name

Rules that a change must not break:

- One request at a time, so that messages are accepted in the order in which they were put.
- A request that got no answer may have been accepted all the same, now or when the daemon goes
  on.  So each text has a name, under which the daemon accepts one message, however often asked.
- A text leaves the queue only with its outcome; who leaves early still holds what is waiting.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import chain, repeat
from typing import Any, Protocol

from natd.ipc import RequestError, UnreachableError
from natd.ipc.frames import new_name

Json = dict[str, Any]

RESEND_FIRST_S = 0.1
RESEND_LIMIT_S = 2.0
"""Waits between looks for a daemon that went away; `retry` ends one at once."""

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

    async def send(
        self, network: str | None, text: str, *, to: str | None = None, id: str | None = None
    ) -> Json: ...


@dataclass(frozen=True, slots=True)
class _Waiting:
    text: str
    to: str | None
    name: str = field(default_factory=new_name)


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
        self.is_in_doubt = False
        """The first that waits was asked for without an answer: it may be accepted yet."""

    @property
    def waiting(self) -> list[str]:
        return [item.text for item in self._waiting]

    def unsent(self) -> list[str]:
        """On leaving: what to say of each text that waits."""
        doubt = ["perhaps not sent, natd did not answer"] * self.is_in_doubt
        whys = chain(doubt, repeat("not sent"))
        return [f"{why}: {text}" for why, text in zip(whys, self.waiting, strict=False)]

    def put(self, text: str, to: str | None = None) -> None:
        """`to`: a peer as natctl takes it; None is the network."""
        self._waiting.append(_Waiting(text, to))
        self._done.clear()
        self._wanted.set()
        if len(self._waiting) >= WAITING_LIMIT:
            self._room.clear()

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
            self.is_in_doubt = False
            self._room.set()
            if not self._waiting:
                self._wanted.clear()
            yield outcome
            if not self._waiting:
                self._done.set()

    async def _outcome(self, item: _Waiting) -> Accepted | Refused:
        wait_s = RESEND_FIRST_S
        while True:
            try:
                sent = self._client.send(self._network, item.text, to=item.to, id=item.name)
                return Accepted(item.text, item.to, await sent)
            except RequestError as error:
                return Refused(item.text, item.to, error)
            except UnreachableError as error:
                self.is_in_doubt |= error.is_in_doubt
                self._retry.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await self._retry.wait()
                wait_s = min(RESEND_LIMIT_S, wait_s * 2)
