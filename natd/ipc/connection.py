"""A blocking connection to the daemon, for one-shot commands.

Rules:
- An event is acknowledged when the next one is asked for, never before: a program that dies while
  handling it is given it again.  With a named cursor that holds across restarts.
- A daemon that goes away is noticed at once, and nothing connects again behind our back.
"""

import os
import time
from collections import deque
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Self

from natd.ipc.frames import (
    ACKNOWLEDGE_EVERY,
    CLIENT_NAME,
    CREDIT,
    REQUEST_TIMEOUT_S,
    Json,
    check_hello,
    decode_reply,
    encode_request,
    gone,
    outcome,
    silent,
)
from natd.ipc.places import connect
from natd.ipc.zmtp import Dealer, Hangup

HELLO = 1
"""The number of the greeting; its answer is read on the way to that of the first request."""


class Connection:
    """Raises UnreachableError, DeniedError or RequestError, from the constructor too."""

    def __init__(
        self,
        socket_path: str | os.PathLike[str] | None = None,
        *,
        timeout_s: float = REQUEST_TIMEOUT_S,
        client: str = CLIENT_NAME,
    ) -> None:
        self._timeout_s = timeout_s
        self._number = HELLO
        self._events: deque[Json] = deque()
        stream = connect(socket_path)
        try:
            self._dealer = Dealer(stream, time.monotonic() + timeout_s)
            self._dealer.send(encode_request(HELLO, "hello", {"client": client}))
        except Hangup:
            stream.close()
            raise gone() from None
        except TimeoutError:
            stream.close()
            raise silent() from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._dealer.close()

    def request(self, do: str, *, waiting_s: float = 0.0, **fields: Any) -> Json:
        """One request; what stands under `ok`.  `waiting_s`: how long the daemon was asked to
        wait, on top of the time that an answer takes.  A `send` may have an `id`, which names its
        message: see `natd.ipc.client.Client.send`."""
        number = self._send(do, fields)
        limit = time.monotonic() + self._timeout_s + waiting_s
        while True:
            try:
                reply = self._receive(limit)
            except TimeoutError:
                raise silent() from None
            if "event" in reply:
                self._events.append(reply["event"])
            elif reply.get("id") == number:
                return outcome(reply)

    def events(
        self,
        *,
        types: Iterable[str] | None = None,
        since: int | None = None,
        cursor: str | None = None,
    ) -> "EventStream":
        """Subscribe to the events after id `since`, else after the named cursor, else from
        now on."""
        answer = self.request(
            "subscribe",
            types=None if types is None else sorted(types),
            since=since,
            cursor=cursor,
            credit=CREDIT,
        )
        return EventStream(self, answer)

    def next_event(self, limit: float | None) -> Json:
        """The next event of the subscription.  Raises TimeoutError at `limit`."""
        while not self._events:
            reply = self._receive(limit)
            if "event" in reply:
                self._events.append(reply["event"])
        return self._events.popleft()

    def has_event(self) -> bool:
        return bool(self._events) or self._dealer.has_input()

    def credit(self, count: int, handled: int) -> None:
        """Allow `count` more events; everything up to id `handled` has been handled."""
        self._send("credit", {"n": count, "ack": handled})

    def _send(self, do: str, fields: Json) -> int | str:
        self._number += 1
        number: int | str = fields.get("id") or self._number
        try:
            self._dealer.send(encode_request(number, do, fields))
        except Hangup:
            raise gone() from None
        return number

    def _receive(self, limit: float | None) -> Json:
        try:
            reply = decode_reply(self._dealer.receive(limit))
        except Hangup:
            raise gone() from None
        if reply.get("id") == HELLO:
            check_hello(outcome(reply))
        return reply


class EventStream:
    """The events of one subscription, oldest first, for ever."""

    def __init__(self, connection: Connection, answer: Json) -> None:
        self._connection = connection
        self._handled = 0
        # The event that is being handled; None before the first and after `acknowledge`.
        self._given: int | None = None
        self.after: int = answer.get("after", 0)
        """Events begin behind this one."""
        self.last: int = answer.get("last", 0)
        """The newest event there was when the subscription began."""

    def __iter__(self) -> Iterator[Json]:
        while True:
            yield self.next(None)

    def next(self, limit: float | None) -> Json:
        """The next event.  Asking for it acknowledges the one before.  Raises TimeoutError at
        `limit`, on time.monotonic."""
        if self._given is not None:
            self._handled += 1
            if self._handled >= ACKNOWLEDGE_EVERY or not self._connection.has_event():
                self._connection.credit(self._handled, self._given)
                self._handled = 0
            self._given = None
        event = self._connection.next_event(limit)
        self._given = event["id"]
        return event

    def acknowledge(self) -> None:
        """Everything that was given has been handled; returns once the daemon knows."""
        if self._given is not None:
            self._connection.request("credit", n=self._handled + 1, ack=self._given)
            self._handled, self._given = 0, None
