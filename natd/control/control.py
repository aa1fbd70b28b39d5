"""The control socket: a table of commands, and the event log for subscribers.

A ZeroMQ ROUTER on a Unix socket; one UTF-8 JSON object a frame.

    -> {"v":1,"id":7,"do":"send","network":"demo","text":"hi"}
    <- {"v":1,"id":7,"ok":{...}}   or   {"v":1,"id":7,"error":{"code","text","hint"}}
    -> {"v":1,"id":8,"do":"subscribe","types":null,"since":4711,"cursor":"bot","credit":256}
    <- {"v":1,"id":8,"ok":{"after":4711,"oldest":1,"last":4760}}
    <- {"v":1,"event":{...}}
    -> {"v":1,"id":9,"do":"credit","n":128,"ack":4743}

Rules:
- Requests of one client take effect, and are answered, in the order in which they came
  (`natd.control.request_queue`); clients don't wait for one another.  Beyond the limits a request
  is refused at once.
- An event is sent only against credit, and is read from the log at that moment: a client that
  reads slowly or not at all costs nothing but its place in the log (`natd.control.subscription`).
- A lock file keeps a second daemon from the socket.
"""

import asyncio
import logging
import os
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from natd.control.admission import CONNECTIONS_LIMIT, Admission
from natd.control.command_table import (
    Command,
    CommandTable,
    Json,
    check_envelope,
    decode_request,
    event_frame,
    refusal,
)
from natd.control.connection import Connection
from natd.control.control_link import ControlLink
from natd.control.request_fields import check_fields
from natd.control.request_queue import SHARING, RequestQueue
from natd.control.subscription import EventLog, Subscription, credit_of, subscription_of
from natd.host.directories import RUNTIME_LOCK_NAME, DirectoryLock, prepare_directory
from natd.host.errors import CommandError, StartError
from natd.ipc.frames import PROTOCOL

PATH_LIMIT_BYTES = 107
"""sizeof(sun_path) less the closing zero, unix(7)."""

EVENT_BURST = 64
"""Events read for one subscriber before the next has its turn."""

CLIENT_REQUESTS_LIMIT = 4096
REQUESTS_LIMIT = 16384
"""Requests that were taken and not yet answered: of one client, and of all, gone ones too."""

CLIENT_REQUESTS_BYTES = 16 << 20
"""And their size: a request may wait for those before it, and a large one costs memory."""

CLIENT_NAME_CHARACTERS = 64

STOP_WAIT_S = 0.5
"""A stop gives running commands this long, and their replies REPLIES_LINGER_S; all has 2 s."""

GOODBYE_S = 0.05
"""A client that does not reconnect loses what it has not read the moment that we hang up
(libzmq 4.3.5: 1 reply in 100), so the last replies get a head start."""

_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Client:
    connection: Connection
    requests: RequestQueue
    name: str = ""
    """The program's, as its `hello` says, without the version; empty before."""
    subscription: Subscription | None = None


class Control:
    """The control socket of one daemon.

    `commands` maps `do` to an async function from the request to what goes under `ok`; it
    raises CommandError to refuse.  `hello`, `subscribe` and `credit` are answered here.
    """

    def __init__(
        self,
        path: Path,
        commands: Mapping[str, Command],
        log: EventLog,
        *,
        mode: int = 0o600,
        version: str = "0",
        connections: int = CONNECTIONS_LIMIT,
    ) -> None:
        """`connections`: how many there may be at a time, idle ones too."""
        self._path = path
        self._table = CommandTable(commands)
        self._log = log
        self._mode = mode
        self._version = version
        self._lock = DirectoryLock(path.parent / RUNTIME_LOCK_NAME)
        self._admission = Admission[Connection](connections)
        # Those that have asked for something.
        self._clients: dict[Connection, _Client] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._unanswered = 0  # of all clients, gone ones too
        # None until `start` and after `stop`.
        self._link: ControlLink | None = None
        self._is_stopping = False
        self._is_publish_due = False

    async def start(self) -> None:
        """Lock, bind, listen; StartError says who holds it or why it can't be."""
        size = len(os.fsencode(self._path))
        if size > PATH_LIMIT_BYTES:
            raise StartError(
                f"the socket path has {size} bytes, at most {PATH_LIMIT_BYTES} are possible: "
                f"{self._path}",
                "use a shorter --runtime-dir",
            )
        self._lock.acquire()
        try:
            self._link = ControlLink(
                self._path,
                self._mode,
                self._admission,
                keep_place=self._keep_place,
                on_request=self._receive,
                on_gone=self._forget,
                on_room=self._go_on,
            )
        except OSError as error:
            self._lock.release()
            raise StartError(
                f"the control socket {self._path} can't be made: {error.strerror}",
                "use another --runtime-dir",
            ) from None

    def problem(self) -> Json | None:
        """`code`, `text` and `hint` where somebody finds no place; None where all is well."""
        return None if self._link is None else self._link.problem()

    def wake(self) -> None:
        """There are new events in the log."""
        if not self._is_publish_due and self._link is not None:
            self._is_publish_due = True
            asyncio.get_running_loop().call_soon(self._publish)

    async def stop(self) -> None:
        """Let running commands end and their replies leave, then close; again is harmless."""
        link = self._link
        if link is None or self._is_stopping:
            return
        self._is_stopping = True
        running = {task for task in self._tasks if task is not asyncio.current_task()}
        if running:
            await asyncio.wait(running, timeout=STOP_WAIT_S)
        for task in running:
            task.cancel()
        if self._clients:
            await asyncio.sleep(GOODBYE_S)
        self._link = None
        await link.close()
        self._clients.clear()
        self._lock.release()

    # Requests in.

    def _receive(self, connection: Connection, body: bytes | None) -> None:
        if self._is_stopping:
            return
        client = self._clients.get(connection)
        if client is None:
            client = self._clients[connection] = self._client(connection)
        self._take(client, body)

    def _client(self, connection: Connection) -> _Client:
        def answer(frame: bytes) -> None:
            self._unanswered -= 1
            self._reply(client, frame)

        def has_room() -> bool:
            return connection.has_room

        client = _Client(connection, RequestQueue(self._begin, answer, has_room))
        return client

    def _go_on(self, connection: Connection) -> None:
        """It has read what kept its requests and its events waiting."""
        if (client := self._clients.get(connection)) is not None:
            client.requests.go_on()
        self.wake()

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _forget(self, connection: Connection) -> None:
        client = self._clients.pop(connection, None)
        if client is not None:
            client.subscription = None

    def _keep_place(self) -> None:
        if not self._lock.is_in_place:
            prepare_directory(self._path.parent, "--runtime-dir")
            self._lock.renew()

    def _take(self, client: _Client, body: bytes | None) -> None:
        """Put one request behind those that came before it, or refuse it."""
        request: Json = {}
        queue, size_bytes = client.requests, len(body or b"")
        is_busy = (
            queue.count >= CLIENT_REQUESTS_LIMIT
            or queue.size_bytes + size_bytes > CLIENT_REQUESTS_BYTES
            or self._unanswered >= REQUESTS_LIMIT
        )
        try:
            request = decode_request(body)
            check_envelope(request)
            command = self._command_for(client, request)
            check_fields(request)
            # For commands that tell clients' programs apart; nobody can send it.
            request["client"] = client.name
            if is_busy:
                text = (
                    f"more than {CLIENT_REQUESTS_LIMIT} requests, or {CLIENT_REQUESTS_BYTES >> 20} "
                    "MiB of them, are waiting for their replies"
                )
                raise CommandError("busy", text, "wait for some replies first")
        except CommandError as error:
            if is_busy:
                self._reply(client, refusal(request, error))
            else:
                self._unanswered += 1
                queue.refuse(refusal(request, error))
            return
        self._unanswered += 1
        work = partial(self._table.run, request, command)
        queue.put(work, size_bytes, shares=request["do"] in SHARING)

    def _command_for(self, client: _Client, request: Json) -> Command:
        now = asyncio.get_running_loop().time()
        self._admission.admit(client.connection, request.get("do"), self._clients, now)
        match request.get("do"):
            case "hello":
                client.name = _program_of(request)
                return self._hello
            case "subscribe":
                return partial(self._subscribe, client)
            case "credit":
                return partial(self._add_credit, client)
            case _:
                return self._table.find(request)

    async def _hello(self, _request: Json) -> Json:
        features = sorted({*self._table.names, "subscribe", "credit"})
        return {"protocol": PROTOCOL, "version": self._version, "features": features}

    async def _subscribe(self, client: _Client, request: Json) -> Json:
        subscription = subscription_of(request, self._log)
        await subscription.open()
        client.subscription = subscription
        self.wake()
        return {
            "after": subscription.after,
            "oldest": self._log.oldest_event_id(),
            "last": self._log.last_event_id(),
        }

    async def _add_credit(self, client: _Client, request: Json) -> Json:
        subscription = client.subscription
        if subscription is None:
            raise CommandError(
                "usage", "there is no subscription to give credit to: subscribe first"
            )
        events, acknowledged = credit_of(request, subscription)
        subscription.add_credit(events)
        self.wake()
        if acknowledged is not None:
            await subscription.acknowledge(acknowledged)
        return {"credit": subscription.credit}

    # Replies and events out.

    def _reply(self, client: _Client, frame: bytes) -> None:
        connection = client.connection
        connection.send(frame)
        if not client.requests.count:
            self._admission.answered(connection, asyncio.get_running_loop().time())

    def _publish(self) -> None:
        """Send each subscriber what it has credit for, a burst each."""
        self._is_publish_due = False
        for client in list(self._clients.values()):
            if client.subscription is not None and client.connection.has_room:
                self._publish_to(client, client.subscription)

    def _publish_to(self, client: _Client, subscription: Subscription) -> None:
        for event in subscription.next_events(EVENT_BURST):
            if not client.connection.has_room:
                return
            client.connection.send(event_frame(event))
            subscription.sent(event)
        subscription.page_sent()
        if subscription.is_behind:
            self.wake()


def _program_of(hello: Json) -> str:
    """The program that says hello, without its version."""
    name = hello.get("client") or ""
    if not isinstance(name, str) or len(name) > CLIENT_NAME_CHARACTERS:
        text = f"expected client as text of at most {CLIENT_NAME_CHARACTERS} characters"
        raise CommandError("usage", text)
    return name.partition("/")[0]
