"""The asyncio client of the daemon's control socket, for front ends and programs.

    async with Client() as natd:
        await natd.send("demo", "hi")
        async for event in natd.events(cursor="bot"):
            ...

Rules:
- A socket is probed by a plain connect first and never reconnects by itself: a message to a
  dead daemon would be given to a later one.  A monitor tells when the daemon has gone.
- A subscription has a connection to itself, so its credit is its own and closing it ends it.
- A closed client makes no connection: one made while it closes would keep ZeroMQ's context, and
  with it the whole program, from ever ending.
- An event is acknowledged when the next one is asked for, never before: a program that dies while
  handling it is given it again.  With a named cursor that holds across restarts.
- A message is sent once: its request is named, and what got no answer is asked for again by name.
- Importing this module loads neither asyncio nor zmq.asyncio; `Client` does when it opens.
"""

import contextlib
import os
from collections.abc import AsyncGenerator, Iterable
from itertools import chain
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import zmq

from natd.ipc.errors import UnreachableError
from natd.ipc.frames import (
    ACKNOWLEDGE_EVERY,
    ASK_AGAIN_TIMES,
    CLIENT_NAME,
    CREDIT,
    REQUEST_TIMEOUT_S,
    WAIT_AT_LEAST_S,
    Json,
    check_hello,
    decode_reply,
    encode_request,
    gone,
    new_name,
    outcome,
    silent,
)
from natd.ipc.places import live_socket

if TYPE_CHECKING:
    import zmq.asyncio

DRAIN = 64
"""Frames taken at one wake-up, before others have their turn."""

GOODBYE_MS = 300
"""How long a closing subscription may take to hand its last acknowledgement over."""

RECONNECT_FIRST_S = 0.1
RECONNECT_LIMIT_S = 2.0
"""Waits between looks for a daemon that went away: at once when it is just restarting, and
cheap when it stays away."""


class Client:
    """An asyncio client.  `async with Client() as natd: ...`

    Requests may be made concurrently.  After the daemon has been restarted the next request
    connects again.  Methods raise UnreachableError, DeniedError or RequestError.
    """

    def __init__(
        self,
        socket_path: str | os.PathLike[str] | None = None,
        *,
        timeout_s: float = REQUEST_TIMEOUT_S,
        client: str = CLIENT_NAME,
    ) -> None:
        self._socket_path = socket_path
        self._timeout_s = timeout_s
        self._client = client
        self._context: zmq.asyncio.Context | None = None
        self._link: _Link | None = None
        self._links: set[_Link] = set()
        self._is_closed = False

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Connect and greet."""
        self._is_closed = False
        await self._main_link()

    async def close(self) -> None:
        """End every subscription and the connection."""
        self._is_closed = True
        while self._links:
            link = next(iter(self._links))
            await link.close()
            self._links.discard(link)
        self._link = None
        if self._context is not None:
            self._context.term()
            self._context = None

    async def request(self, do: str, *, waiting_s: float = 0.0, **fields: Any) -> Json:
        """Any request; what stands under `ok`.  `waiting_s`: how long the daemon was asked to
        wait, on top of the time that an answer takes."""
        link = await self._main_link()
        return await link.request(do, fields, self._timeout_s + waiting_s)

    async def send(
        self,
        network: str | None,
        text: str,
        *,
        to: str | None = None,
        wait_s: float | None = None,
        id: str | None = None,
    ) -> Json:
        """`{"message","network","accepted":true,"delivered":[ids],"queued":[ids]}`, once the
        message is on disk, and with `wait_s` once it is delivered.

        `id` names the message, in at most 64 characters: asked again within a day under the same
        name, also after a restart of either side, the daemon sends nothing and gives the same
        answer.  Without it the message is named here, and asked for again where no answer came,
        for up to `ASK_AGAIN_TIMES` the time that one may take; then UnreachableError.
        """
        fields: Json = {"network": network, "text": text, "to": to, "wait_s": wait_s}
        if id is not None:
            return await self.request("send", id=id, waiting_s=wait_s or 0.0, **fields)
        return await self._ask_until_answered(fields | {"id": new_name()}, wait_s)

    async def _ask_until_answered(self, fields: Json, wait_s: float | None) -> Json:
        import asyncio

        began = asyncio.get_running_loop().time()
        give_up_at = began + ASK_AGAIN_TIMES * self._timeout_s + (wait_s or 0.0)
        is_asked, retry_s = False, RECONNECT_FIRST_S
        while True:
            try:
                link = await self._main_link()
                is_asked = True
                left_s = 0.0
                if wait_s is not None:
                    left_s = max(
                        WAIT_AT_LEAST_S, began + wait_s - asyncio.get_running_loop().time()
                    )
                    fields["wait_s"] = left_s
                return await link.request("send", fields, self._timeout_s + left_s)
            except UnreachableError:
                now = asyncio.get_running_loop().time()
                if not is_asked or self._is_closed or now >= give_up_at:
                    raise
            await asyncio.sleep(retry_s)
            retry_s = min(RECONNECT_LIMIT_S, retry_s * 2)

    async def status(self) -> Json:
        return await self.request("status")

    async def networks(self) -> Json:
        return await self.request("networks")

    async def peers(self, network: str | None = None) -> Json:
        return await self.request("peers", network=network)

    async def identity(self) -> Json:
        return await self.request("identity")

    async def history(
        self,
        network: str | None = None,
        *,
        peer: str | None = None,
        search: str | None = None,
        since_unix_s: float | None = None,
        limit: int = 100,
    ) -> Json:
        """`{"messages":[...]}`, oldest first."""
        return await self.request(
            "history",
            network=network,
            peer=peer,
            search=search,
            since_unix_s=since_unix_s,
            limit=limit,
        )

    async def ping(self, peer: str, *, network: str | None = None, timeout_s: float = 5.0) -> Json:
        """`{"peer","rtt_ms","path"}`; RequestError with code `no_path` when none answered."""
        return await self.request(
            "ping", network=network, peer=peer, timeout_s=timeout_s, waiting_s=timeout_s
        )

    async def events(
        self,
        *,
        types: Iterable[str] | None = None,
        since: int | None = None,
        cursor: str | None = None,
        reconnect: bool = True,
        report_restarts: bool = False,
    ) -> AsyncGenerator[Json, None]:
        """Every event: those after id `since`, else after the named cursor, else from now on.

        When the daemon goes away this waits for it to come back and goes on after the last
        event it gave, unless `reconnect` is false: then UnreachableError is raised.  With
        `report_restarts` such a pause shows as two events of our own that have no `id`:
        `{"v":1,"type":"daemon_lost"}` and `{"v":1,"type":"daemon_back"}`.
        """
        import asyncio

        wanted = None if types is None else sorted(types)
        after = since
        lost = False
        retry_s = RECONNECT_FIRST_S
        while True:
            try:
                link = await self._new_link()
            except UnreachableError:
                if not lost or self._is_closed:
                    raise
                await asyncio.sleep(retry_s)
                retry_s = min(RECONNECT_LIMIT_S, retry_s * 2)
                continue
            try:
                fields = {"types": wanted, "since": after, "cursor": cursor, "credit": CREDIT}
                answer = await link.request("subscribe", fields, self._timeout_s)
                if after is None and cursor is None:
                    after = answer.get("last")
                if lost and report_restarts:
                    yield {"v": 1, "type": "daemon_back"}
                lost, retry_s = False, RECONNECT_FIRST_S
                handled = 0
                while (event := await link.next_event()) is not None:
                    yield event
                    after = event["id"]
                    handled += 1
                    if handled >= ACKNOWLEDGE_EVERY or not link.has_events:
                        await link.send("credit", {"n": handled, "ack": after})
                        handled = 0
            except UnreachableError:
                if not reconnect:
                    raise
            finally:
                await link.close()
                self._links.discard(link)
            if not reconnect:
                raise gone()
            if report_restarts and not lost:
                yield {"v": 1, "type": "daemon_lost"}
            lost = True

    async def _main_link(self) -> "_Link":
        if self._link is None or self._link.is_lost:
            if self._link is not None:
                await self._link.close()
                self._links.discard(self._link)
                self._link = None
            self._link = await self._new_link()
        return self._link

    async def _new_link(self) -> "_Link":
        import zmq.asyncio

        path = live_socket(self._socket_path)
        if self._is_closed:
            raise gone()
        if self._context is None:
            self._context = zmq.asyncio.Context()
        link = _Link(self._context, f"ipc://{path}")
        self._links.add(link)
        try:
            check_hello(await link.request("hello", {"client": self._client}, self._timeout_s))
        except BaseException:
            await link.close()
            self._links.discard(link)
            raise
        return link


class _Link:
    """One DEALER of an asyncio client, with the task that reads it."""

    def __init__(self, context: "zmq.asyncio.Context", endpoint: str) -> None:
        import asyncio

        self.is_lost = False
        self._ids = 0
        self._replies: dict[int | str, list[asyncio.Future[Json]]] = {}
        """Who waits for an answer, oldest first: one name may be asked about twice."""
        self._events: asyncio.Queue[Json | None] = asyncio.Queue()
        self._socket = context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RECONNECT_IVL, -1)
        self._monitor = self._socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        self._socket.connect(endpoint)
        self._reader = asyncio.create_task(self._read())

    @property
    def has_events(self) -> bool:
        return not self._events.empty()

    async def request(self, do: str, fields: Json, timeout_s: float) -> Json:
        import asyncio

        if self.is_lost:
            raise gone()
        self._ids += 1
        number = fields.get("id") or self._ids
        answer: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        waiting = self._replies.setdefault(number, [])
        waiting.append(answer)
        try:
            await self._send(number, do, fields)
            # Not wait_for(): Python 3.11's swallows a cancellation that comes with the answer.
            async with asyncio.timeout(timeout_s):
                return outcome(await answer)
        except TimeoutError:
            raise silent() from None
        finally:
            if answer in waiting:
                waiting.remove(answer)
            if not waiting and self._replies.get(number) is waiting:
                del self._replies[number]

    async def send(self, do: str, fields: Json) -> None:
        self._ids += 1
        await self._send(self._ids, do, fields)

    async def _send(self, number: int | str, do: str, fields: Json) -> None:
        try:
            frame = encode_request(number, do, fields)
            await self._socket.send(frame, zmq.NOBLOCK)
        except zmq.Again:  # nobody is connected any more
            raise gone() from None

    async def next_event(self) -> Json | None:
        """None when the daemon has gone."""
        return await self._events.get()

    async def close(self) -> None:
        import asyncio

        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
        self._lose()
        if not self._socket.closed:
            self._socket.disable_monitor()
            self._monitor.close(linger=0)
            self._socket.close(linger=GOODBYE_MS)

    async def _read(self) -> None:
        import zmq.asyncio

        poller = zmq.asyncio.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._monitor, zmq.POLLIN)
        try:
            while self._socket in (ready := dict(await poller.poll())) or not ready:
                with contextlib.suppress(zmq.Again):
                    for _ in range(DRAIN):
                        self._take(decode_reply(await self._socket.recv(zmq.NOBLOCK)))
        finally:
            self._lose()

    def _take(self, frame: Json) -> None:
        if "event" in frame:
            self._events.put_nowait(frame["event"])
            return
        for answer in self._replies.get(frame.get("id", 0), ()):
            if not answer.done():
                answer.set_result(frame)
                break

    def _lose(self) -> None:
        self.is_lost = True
        for answer in chain.from_iterable(self._replies.values()):
            if not answer.done():
                answer.set_exception(gone())
        self._events.put_nowait(None)
