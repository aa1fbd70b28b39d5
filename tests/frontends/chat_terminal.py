"""The full-screen chat at a terminal emulator, with a daemon of straw."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pyte
from prompt_toolkit.application import create_app_session
from prompt_toolkit.data_structures import Size
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.output.vt100 import Vt100_Output

from frontends.chat import ChatScreen
from natd.ipc import RequestError, UnreachableError

Json = dict[str, Any]
OWN_ID = "alic" + "a" * 48
BOB = {"nick": "bob", "id": "bobb" + "b" * 48, "tag": "bobb", "trust": "new"}
PATH = {"kind": "direct", "address": "198.51.100.7:4242", "rtt_ms": 12.4, "technique": "re-roll"}


def with_chat(scenario: Callable[["Chat"], Awaitable[None]]) -> None:
    """Run it with a chat of 80 by 24 that stands open."""

    async def run() -> None:
        with create_pipe_input() as keyboard, create_app_session(input=keyboard):
            chat = Chat(keyboard)
            try:
                await asyncio.wait_for(scenario(chat), 30.0)
            finally:
                chat.task.cancel()
                await asyncio.gather(chat.task, return_exceptions=True)

    asyncio.run(run())


async def until(condition: Callable[[], bool], wait_s: float = 20.0) -> None:
    async with asyncio.timeout(wait_s):
        while not condition():
            await asyncio.sleep(0.01)


class Chat:
    """The chat, its keyboard, its daemon and its screen."""

    def __init__(self, keyboard: PipeInput) -> None:
        self.natd = Daemon()
        self.keyboard = keyboard
        self.drawings = 0
        self.written = ""
        self._size = Size(rows=24, columns=80)
        self.screen = pyte.Screen(80, 24)
        self._stream = pyte.Stream(self.screen)
        output = Vt100_Output(
            self,  # type: ignore[arg-type]
            lambda: self._size,
            term="xterm-256color",
            default_color_depth=ColorDepth.DEPTH_8_BIT,
        )
        self.app = ChatScreen(self.natd, "demo", input=keyboard, output=output)
        self.task = asyncio.create_task(self.app.run())

    # What prompt_toolkit asks of a standard output.
    encoding = "utf-8"

    def write(self, text: str) -> int:
        self._stream.feed(without_private(text))
        self.written += text
        self.drawings += 1
        return len(text)

    def flush(self) -> None: ...

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return -1

    def type(self, keys: str) -> None:
        self.keyboard.send_text(keys)

    def resize(self, columns: int, rows: int) -> None:
        self._size = Size(rows=rows, columns=columns)
        self.screen.resize(rows, columns)
        self.screen.reset()
        self.app.app._on_resize()

    @property
    def text(self) -> str:
        return "\n".join(row.rstrip() for row in self.screen.display)

    def row(self, number: int) -> str:
        return self.screen.display[number].rstrip()

    async def shows(self, text: str, wait_s: float = 20.0) -> None:
        try:
            await until(lambda: text in self.text, wait_s)
        except TimeoutError:
            if self.task.done():
                self.task.result()
            raise AssertionError(f"{text!r} is not on the screen:\n{self.text}") from None


def without_private(text: str) -> str:
    """pyte takes what only newer terminals know (`CSI > …`) for something else."""
    return text.replace("\x1b[>4;1m", "").replace("\x1b[>4;m", "")


class Daemon:
    """What of `natd.ipc.Client` a chat takes, without a socket."""

    def __init__(self) -> None:
        self.is_away = False
        self.takes_s = 0.0
        """A request."""
        self.refuses: RequestError | None = None
        self.rows: list[Json] = []
        self._ids = itertools.count(101)
        self._events: asyncio.Queue[Json] = asyncio.Queue()
        self._past = self._message("said before")

    @property
    def texts(self) -> list[str]:
        return [row["text"] for row in self.rows]

    def says(self, text: str) -> None:
        self._events.put_nowait(self._message(text))

    def publish(self, type_: str, **fields: Any) -> None:
        self._events.put_nowait(self._event(type_, **fields))

    def report(self, type_: str) -> None:
        """What the client itself puts among the events."""
        self._events.put_nowait({"v": 1, "type": type_})

    async def request(self, do: str, *, waiting_s: float = 0.0, **fields: Any) -> Json:
        if self.is_away:
            raise UnreachableError("natd went away")
        if self.takes_s:
            await asyncio.sleep(self.takes_s)
        peer = {**BOB, "state": "online", "path": PATH, "verdict": None, "queued": 0}
        network = {"name": "demo", "nick": "alice", "servers": []}
        answers: dict[str, Json] = {
            "subscribe": {"after": 100, "oldest": 1, "last": 100},
            "status": {"self": {"nick": "alice", "id": OWN_ID}, "networks": [network]},
            "peers": {"network": "demo", "peers": [peer]},
            "ping": {"peer": BOB, "rtt_ms": 7.0, "path": PATH},
        }
        return answers[do]

    async def history(self, network: str | None = None, *, limit: int = 100) -> Json:
        if self.is_away:
            raise UnreachableError("natd went away")
        return {"messages": [{**self._past, "direction": "in"}, *self.rows]}

    async def send(
        self, network: str | None, text: str, *, to: str | None = None, id: str | None = None
    ) -> Json:
        if self.is_away:
            raise UnreachableError("natd went away")
        if self.refuses is not None:
            raise self.refuses
        message = f"m{len(self.rows)}"
        event = self._event("sent", message=message, text=text, to=[BOB["id"]])
        self.rows.append({**event, "direction": "out", "delivered": [], "asked_to": to})
        self._events.put_nowait(event)
        return {"message": message, "delivered": [], "queued": [BOB["id"]]}

    async def events(
        self, *, since: int | None = None, report_restarts: bool = False
    ) -> AsyncIterator[Json]:
        assert since == 100
        assert report_restarts
        while True:
            yield await self._events.get()

    def _message(self, text: str) -> Json:
        return self._event("message", message=text, kind="text", text=text, **{"from": BOB})

    def _event(self, type_: str, **fields: Any) -> Json:
        head = {"v": 1, "id": next(self._ids), "ts": "2026-01-02T03:04:05.678Z"}
        return {**head, "type": type_, "network": "demo", **fields}
