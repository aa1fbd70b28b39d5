"""A daemon of straw: the documented IPC on a real ROUTER, with canned answers.

It runs in a thread of the test.  `answers[do]` is a dict (the `ok`), a `Refusal`, or a
function of the request that returns either; `requests` holds what came in.  `publish` gives
an event to every subscriber that has credit, and keeps it for later ones.
"""

import contextlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import zmq

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Refusal:
    code: str
    text: str = "that is not possible"
    hint: str | None = None


Answer = Json | Refusal | Callable[[Json], "Json | Refusal"]


@dataclass(slots=True)
class _Subscriber:
    after: int
    types: list[str] | None
    credit: int
    cursor: str | None


@dataclass(slots=True)
class FakeDaemon:
    path: Path
    answers: dict[str, Answer] = field(default_factory=dict)
    requests: list[Json] = field(default_factory=list)
    cursors: dict[str, int] = field(default_factory=dict)
    log: list[Json] = field(default_factory=list)
    hello: Answer = field(
        default_factory=lambda: {"protocol": 1, "version": "0.3.0", "features": []}
    )
    silent: bool = False
    """Take requests and answer none."""
    _subscribers: dict[bytes, _Subscriber] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)
    _ready: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._stop.clear()
        self._ready.clear()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(30.0)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        assert self._thread is not None
        self._thread.join(30.0)
        self._subscribers.clear()

    def publish(self, type_: str, **fields: Any) -> Json:
        with self._lock:
            event = {
                "v": 1,
                "id": len(self.log) + 1,
                "ts": "2026-01-02T03:04:05.678Z",
                "type": type_,
                **fields,
            }
            self.log.append(event)
        return event

    def asked(self, do: str) -> list[Json]:
        """The requests of that name, oldest first."""
        return [request for request in tuple(self.requests) if request.get("do") == do]

    def _run(self) -> None:
        context = zmq.Context()
        router = context.socket(zmq.ROUTER)
        router.setsockopt(zmq.LINGER, 0)
        router.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self.path.unlink(missing_ok=True)
        router.bind(f"ipc://{self.path}")
        self._ready.set()
        while not self._stop.is_set():
            if router.poll(5):
                sender, data = router.recv_multipart()
                request = json.loads(data)
                self.requests.append(request)
                if not self.silent:
                    reply = {"v": 1, "id": request.get("id"), **self._answer(sender, request)}
                    with contextlib.suppress(zmq.ZMQError):  # it has hung up
                        router.send_multipart([sender, json.dumps(reply).encode()])
            self._push(router)
        router.close()
        context.term()
        self.path.unlink(missing_ok=True)

    def _answer(self, sender: bytes, request: Json) -> Json:
        do = request["do"]
        answer: Answer
        if do == "subscribe":
            answer = self._subscribe(sender, request)
        elif do == "credit":
            answer = self._credit(sender, request)
        elif do == "hello":
            answer = self.hello
        else:
            unknown = Refusal("unknown_command", f"unknown command {do!r}")
            answer = self.answers.get(do, unknown)
        if callable(answer):
            answer = answer(request)
        if isinstance(answer, Refusal):
            return {"error": {"code": answer.code, "text": answer.text, "hint": answer.hint}}
        return {"ok": answer}

    def _subscribe(self, sender: bytes, request: Json) -> Json:
        cursor = request.get("cursor")
        after = request.get("since")
        if after is None and cursor is not None:
            after = self.cursors.get(cursor)
        last = len(self.log)
        after = last if after is None else after
        if cursor is not None:
            self.cursors.setdefault(cursor, after)
        self._subscribers[sender] = _Subscriber(after, request["types"], request["credit"], cursor)
        return {"after": after, "oldest": 1, "last": last}

    def _credit(self, sender: bytes, request: Json) -> Json:
        subscriber = self._subscribers.get(sender)
        if subscriber is None:  # it has hung up since
            return {}
        subscriber.credit += request["n"]
        if subscriber.cursor is not None and request.get("ack") is not None:
            self.cursors[subscriber.cursor] = request["ack"]
        return {}

    def _push(self, router: "zmq.Socket[bytes]") -> None:
        for sender, subscriber in tuple(self._subscribers.items()):
            for event in self.log[subscriber.after :]:
                if subscriber.credit == 0:
                    break
                subscriber.after = event["id"]
                types = subscriber.types
                if types is not None and event["type"] not in (*types, "gap"):
                    continue
                subscriber.credit -= 1
                try:
                    router.send_multipart([sender, json.dumps({"v": 1, "event": event}).encode()])
                except zmq.ZMQError:
                    del self._subscribers[sender]
                    break
