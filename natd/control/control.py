"""The control socket: a table of commands, and the event log for subscribers.

One ZeroMQ ROUTER on a Unix socket; one UTF-8 JSON object a frame.

    -> {"v":1,"id":7,"do":"send","network":"demo","text":"hi"}
    <- {"v":1,"id":7,"ok":{...}}   or   {"v":1,"id":7,"error":{"code","text","hint"}}
    -> {"v":1,"id":8,"do":"subscribe","types":null,"since":4711,"cursor":"bot","credit":256}
    <- {"v":1,"id":8,"ok":{"after":4711,"oldest":1,"last":4760}}
    <- {"v":1,"event":{...}}
    -> {"v":1,"id":9,"do":"credit","n":128,"ack":4743}

Rules:
- Requests of one client are started in the order in which they came and run concurrently, so
  a hundred sends share one commit.  A reply comes when its command is done.
- An event is sent only against credit, and is read from the log at that moment: a client that
  reads slowly or not at all costs nothing but its place in the log (`natd.control.subscription`).
- A lock file keeps a second daemon from the socket.
"""

import asyncio
import logging
import os
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from natd.control.command_table import (
    Command,
    CommandTable,
    Json,
    check_envelope,
    decode_request,
    event_frame,
    refusal,
)
from natd.control.control_link import ControlLink
from natd.control.subscription import EventLog, Subscription, credit_of, subscription_of
from natd.host.directories import RUNTIME_LOCK_NAME, DirectoryLock
from natd.host.errors import CommandError, StartError
from natd.ipc.frames import PROTOCOL

PATH_LIMIT_BYTES = 107
"""sizeof(sun_path) less the closing zero, unix(7)."""

CLIENTS_LIMIT = 64

RECEIVE_BURST = 64
"""Requests taken at one wake-up, before the network has its turn."""

EVENT_BURST = 64
"""Events read for one subscriber before the next has its turn."""

CLIENT_REQUESTS_LIMIT = 4096
REQUESTS_LIMIT = 16384
"""Requests that were taken and not yet answered: of one client, and of all, gone ones too."""

BACKLOG_LIMIT_BYTES = 4 << 20
"""Replies kept for a client that does not read; with more than this it is given up."""

QUEUE_RETRY_FIRST_S = 0.002
QUEUE_RETRY_LIMIT_S = 0.1
"""A full queue gives no sign when it has room again, so it is tried again, ever more slowly."""

STOP_WAIT_S = 0.5
"""A stop gives running commands this long, and their replies LINGER_MS: the daemon has 2 s."""

GOODBYE_S = 0.05
"""A client that does not reconnect loses what it has not read the moment that we hang up
(libzmq 4.3.5: 1 reply in 100), so the last replies get a head start."""

_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Client:
    routing_id: bytes
    descriptor: int
    """Of its connection in this process: how the monitor names it when it hangs up."""
    requests: int = 0
    """Taken and not yet answered."""
    backlog: deque[bytes] = field(default_factory=deque)
    """Replies that ZeroMQ's queue had no room for; events never wait here."""
    backlog_bytes: int = 0
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
    ) -> None:
        self._path = path
        self._table = CommandTable(commands)
        self._log = log
        self._mode = mode
        self._version = version
        self._lock = DirectoryLock(path.parent / RUNTIME_LOCK_NAME)
        self._clients: dict[bytes, _Client] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        # None until `start` and after `stop`.
        self._link: ControlLink | None = None
        self._is_stopping = False
        self._is_receive_due = False
        self._is_publish_due = False
        # None while no client's queue is full.
        self._retry: asyncio.TimerHandle | None = None
        self._retry_s = QUEUE_RETRY_FIRST_S

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
            self._link = ControlLink(self._path, self._mode)
        except OSError as error:
            self._lock.release()
            raise StartError(
                f"the control socket {self._path} can't be made: {error.strerror}",
                "use another --runtime-dir",
            ) from None
        loop = asyncio.get_running_loop()
        loop.add_reader(self._link.descriptor, self._receive)
        loop.add_reader(self._link.monitor_descriptor, self._forget_hung_up)

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
        loop = asyncio.get_running_loop()
        loop.remove_reader(link.descriptor)
        loop.remove_reader(link.monitor_descriptor)
        running = {task for task in self._tasks if task is not asyncio.current_task()}
        if running:
            await asyncio.wait(running, timeout=STOP_WAIT_S)
        for task in running:
            task.cancel()
        if self._clients:
            await asyncio.sleep(GOODBYE_S)
        self._link = None
        if self._retry is not None:
            self._retry.cancel()
        await asyncio.to_thread(link.close)
        # libzmq leaves the file there; the lock is still ours.
        self._path.unlink(missing_ok=True)
        self._clients.clear()
        self._lock.release()

    # Requests in.

    def _receive(self) -> None:
        """Take a burst of requests.

        ZeroMQ's descriptor signals edges, and any send may swallow one: so this is also called
        after each send, and again while there is more.
        """
        self._is_receive_due = False
        link = self._link
        if link is None or self._is_stopping:
            return
        for _ in range(RECEIVE_BURST):
            received = link.receive(self._clients)
            if received is None:
                return
            routing_id, body, descriptor = received
            client = self._clients.get(routing_id)
            if client is None:
                client = self._welcome(routing_id, descriptor)
            if client is not None:
                self._take(client, body)
        self._receive_again()

    def _receive_again(self) -> None:
        if not self._is_receive_due:
            self._is_receive_due = True
            asyncio.get_running_loop().call_soon(self._receive)

    def _welcome(self, routing_id: bytes, descriptor: int) -> _Client | None:
        """A client's first request; None when there are too many of them, or where it speaks a
        ZeroMQ older than 3.0, whose hang-up we are not told of."""
        if descriptor < 0:
            return None
        self._forget_hung_up()
        client = _Client(routing_id, descriptor)
        if len(self._clients) >= CLIENTS_LIMIT:
            text = f"natd serves at most {CLIENTS_LIMIT} clients at a time"
            refused = CommandError("too_many_clients", text, "close one of them")
            self._reply(client, refusal({}, refused))
            return None
        assert self._link is not None
        if self._link.is_connected(descriptor):
            self._clients[routing_id] = client
        return client

    def _forget_hung_up(self) -> None:
        if self._link is None:
            return
        gone = self._link.hang_ups()
        if gone:
            for client in [each for each in self._clients.values() if each.descriptor in gone]:
                del self._clients[client.routing_id]

    def _take(self, client: _Client, body: bytes | None) -> None:
        """Start what one request asks for, or refuse it."""
        request: Json = {}
        try:
            request = decode_request(body)
            check_envelope(request)
            if client.requests >= CLIENT_REQUESTS_LIMIT or len(self._tasks) >= REQUESTS_LIMIT:
                text = f"more than {CLIENT_REQUESTS_LIMIT} requests are waiting for their replies"
                raise CommandError("busy", text, "wait for some replies first")
            command = self._command_for(client, request)
        except CommandError as error:
            self._reply(client, refusal(request, error))
            return
        client.requests += 1
        task = asyncio.get_running_loop().create_task(self._run(client, request, command))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _command_for(self, client: _Client, request: Json) -> Command:
        match request.get("do"):
            case "hello":
                return self._hello
            case "subscribe":
                return partial(self._subscribe, client)
            case "credit":
                return partial(self._add_credit, client)
            case _:
                return self._table.find(request)

    async def _run(self, client: _Client, request: Json, command: Command) -> None:
        frame = await self._table.run(request, command)
        client.requests -= 1
        self._reply(client, frame)

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
        if not client.backlog and self._send(client, frame):
            return
        if client.backlog_bytes + len(frame) > BACKLOG_LIMIT_BYTES:
            _logger.warning("disconnected a program that does not read its answers")
            self._clients.pop(client.routing_id, None)
            client.backlog.clear()
            client.backlog_bytes = 0
            return
        client.backlog.append(frame)
        client.backlog_bytes += len(frame)
        self._try_later()

    def _publish(self) -> None:
        """Send each subscriber what it has credit for, a burst each."""
        self._is_publish_due = False
        for client in list(self._clients.values()):
            if client.subscription is not None and not client.backlog:
                self._publish_to(client, client.subscription)

    def _publish_to(self, client: _Client, subscription: Subscription) -> None:
        for event in subscription.next_events(EVENT_BURST):
            if not self._send(client, event_frame(event)):
                self._try_later()
                return
            subscription.sent(event)
        subscription.page_sent()
        if subscription.is_behind:
            self.wake()

    def _send(self, client: _Client, frame: bytes) -> bool:
        """False: its queue is full.  A frame for a client that has gone counts as sent."""
        if self._link is None:
            return True
        self._receive_again()
        try:
            return self._link.send(client.routing_id, frame)
        except ConnectionError:
            self._clients.pop(client.routing_id, None)
            client.subscription = None
            return True

    def _try_later(self) -> None:
        if self._retry is None and self._link is not None:
            loop = asyncio.get_running_loop()
            self._retry = loop.call_later(self._retry_s, self._try_again)
            self._retry_s = min(QUEUE_RETRY_LIMIT_S, 2 * self._retry_s)

    def _try_again(self) -> None:
        self._retry = None
        for client in list(self._clients.values()):
            while client.backlog and self._send(client, client.backlog[0]):
                client.backlog_bytes -= len(client.backlog.popleft())
            if client.backlog:
                self._try_later()
        self._publish()
        if self._retry is None:
            self._retry_s = QUEUE_RETRY_FIRST_S
