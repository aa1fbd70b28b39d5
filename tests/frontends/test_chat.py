"""The full-screen chat, typed into through a pipe and read off a terminal emulator."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pyte
import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.data_structures import Size
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.output.vt100 import Vt100_Output

from frontends.chat import ChatScreen
from frontends.chatroom import REFRESH_S
from natd.ipc import RequestError, UnreachableError

Json = dict[str, Any]

OWN_ID = "alic" + "a" * 48
BOB = {"nick": "bob", "id": "bobb" + "b" * 48, "tag": "bobb", "trust": "new"}
PATH = {"kind": "direct", "address": "198.51.100.7:4242", "rtt_ms": 12.4, "technique": "re-roll"}


def test_the_history_and_who_is_here_are_on_the_first_screen() -> None:
    async def scenario(chat: "Chat") -> None:
        await chat.shows("bob: said before")
        await chat.shows("* you are alice#alic in demo; here: bob (direct, 12 ms)")
        assert "demo · alice  ● bob direct, 12 ms" in chat.row(-2)
        assert chat.row(-1) == ">"

    with_chat(scenario)


def test_a_line_typed_is_sent_and_its_tick_grows_in_place() -> None:
    async def scenario(chat: "Chat") -> None:
        chat.type("hello\r")
        await chat.shows("alice: hello ·")
        chat.natd.publish("delivered", message="m0", peer=BOB)
        await chat.shows("alice: hello ✓")
        assert chat.text.count("hello") == 1
        assert chat.natd.texts == ["hello"]

    with_chat(scenario)


def test_what_is_being_typed_survives_what_comes_in() -> None:
    async def scenario(chat: "Chat") -> None:
        chat.type("half a li")
        await chat.shows("> half a li")
        for number in range(50):
            chat.natd.says(f"message {number}")
        await chat.shows("message 49")
        assert chat.row(-1) == "> half a li"
        chat.type("ne\r")
        await chat.shows("alice: half a line")

    with_chat(scenario)


def test_escape_sequences_of_a_peer_stay_text() -> None:
    async def scenario(chat: "Chat") -> None:
        chat.natd.says("\x1b[2J\x1b]0;owned\x07 bad \u202e x")
        await chat.shows("bob: ␛[2J␛]0;owned␇ bad <U+202E> x")
        await chat.shows("said before")
        assert chat.screen.title != "owned"

    with_chat(scenario)


def test_commands_answer_in_the_chat_and_send_nothing() -> None:
    async def scenario(chat: "Chat") -> None:
        chat.type("/help\r")
        await chat.shows("/msg PEER TEXT  say it to one peer only")
        chat.type("/peers\r")
        await chat.shows("bob#bobb: online, direct, 12 ms, 198.51.100.7:4242, re-roll")
        chat.type("/ping bob\r")
        await chat.shows("bob answers in 7.0 ms by direct, 198.51.100.7:4242")
        chat.type("/png\r")
        await chat.shows("did you mean /ping?")
        assert chat.natd.texts == []

    with_chat(scenario)


def test_msg_goes_to_one_peer() -> None:
    async def scenario(chat: "Chat") -> None:
        chat.type("/msg bob psst\r")
        await chat.shows("alice to bob: psst")
        assert [row["asked_to"] for row in chat.natd.rows] == ["bob"]

    with_chat(scenario)


def test_a_refused_text_comes_back_to_be_mended() -> None:
    async def scenario(chat: "Chat") -> None:
        chat.natd.refuses = RequestError("too_long", "the text is too long", "write less")
        chat.type("very long\r")
        await chat.shows("* not sent: the text is too long (write less)")
        await chat.shows("> very long")

    with_chat(scenario)


def test_what_was_refused_comes_back_for_whom_it_was_meant() -> None:
    async def scenario(chat: "Chat") -> None:
        chat.natd.refuses = RequestError("unknown_peer", "no peer 'bobb' here")
        chat.type("/msg bobb a secret\r")
        await chat.shows("> /msg bobb a secret")

    with_chat(scenario)


def test_a_daemon_that_goes_away_and_comes_back_loses_nothing() -> None:
    async def scenario(chat: "Chat") -> None:
        chat.natd.is_away = True
        chat.natd.report("daemon_lost")
        await chat.shows("natd has gone away")
        await chat.shows("? bob")
        assert "●" not in chat.row(-2)
        chat.type("meanwhile\r")
        await chat.shows("natd is away  1 unsent")
        chat.natd.is_away = False
        chat.natd.report("daemon_back")
        await chat.shows("* natd is back")
        await chat.shows("alice: meanwhile")
        await chat.shows("● bob direct")
        assert "away" not in chat.row(-2)
        assert chat.natd.texts == ["meanwhile"]

    with_chat(scenario)


def test_who_is_here_is_shown_as_soon_as_a_daemon_that_is_back_has_told() -> None:
    async def scenario(chat: "Chat") -> None:
        chat.natd.report("daemon_lost")
        await chat.shows("? bob")
        chat.natd.takes_s = 0.2
        chat.natd.report("daemon_back")
        await chat.shows("● bob direct", REFRESH_S / 2)

    with_chat(scenario)


def test_page_up_holds_its_place_and_writing_returns_to_the_end() -> None:
    async def scenario(chat: "Chat") -> None:
        for number in range(100):
            chat.natd.says(f"message {number}.")
        await chat.shows("message 99.")
        chat.type("\x1b[5~")
        await chat.shows("↓")
        top = chat.row(0)
        chat.natd.says("one more")
        await chat.shows("↓ 1 new")
        assert chat.row(0) == top
        chat.type("\x1b[6~\x1b[6~")
        await chat.shows("one more")
        assert "↓" not in chat.row(-2)
        chat.type("\x1b[5~\x1b[5~")
        await chat.shows("↓")
        chat.type("back\r")
        await chat.shows("alice: back")

    with_chat(scenario)


def test_the_mouse_wheel_scrolls() -> None:
    async def scenario(chat: "Chat") -> None:
        for number in range(100):
            chat.natd.says(f"message {number}.")
        await chat.shows("message 99.")
        chat.type("\x1b[<64;5;5M")
        await chat.shows("↓")
        assert "message 99." not in chat.text
        chat.type("\x1b[<65;5;5M")
        await chat.shows("message 99.")

    with_chat(scenario)


def test_several_lines_pasted_are_one_message() -> None:
    async def scenario(chat: "Chat") -> None:
        chat.type("\x1b[200~one\r\ntwo\x1b[201~")
        await chat.shows("> one")
        chat.type("\r")
        await chat.shows("alice: one")
        assert chat.natd.texts == ["one\ntwo"]

    with_chat(scenario)


def test_tab_completes_a_nick() -> None:
    async def scenario(chat: "Chat") -> None:
        chat.type("bo\thi\r")
        await chat.shows("alice: bob: hi")

    with_chat(scenario)


@pytest.mark.parametrize("keys", ["\x03", "\x04", "/quit\r", "half a line\x03"])
def test_leaving_is_clean_by_every_door(keys: str) -> None:
    async def scenario(chat: "Chat") -> None:
        await chat.shows("you are alice")
        chat.type(keys)
        assert await asyncio.wait_for(chat.task, 5.0) == 0
        for switch in ("1049", "1000", "1006", "2004"):  # alternate screen, mouse, mouse, paste
            assert chat.written.rfind(f"\x1b[?{switch}l") > chat.written.rfind(f"\x1b[?{switch}h")

    with_chat(scenario)


def test_a_terminal_that_is_gone_ends_the_chat() -> None:
    async def scenario(chat: "Chat") -> None:
        await chat.shows("you are alice")
        chat.keyboard.close()
        assert await asyncio.wait_for(chat.task, 5.0) == 0

    with_chat(scenario)


def test_leaving_with_something_unsent_says_what(capsys: pytest.CaptureFixture[str]) -> None:
    async def scenario(chat: "Chat") -> None:
        await chat.shows("you are alice")
        chat.natd.is_away = True
        chat.natd.report("daemon_lost")
        chat.type("precious\r")
        await chat.shows("1 unsent")
        chat.type("\x03")
        assert await asyncio.wait_for(chat.task, 5.0) == 1

    with_chat(scenario)
    assert "not sent: precious" in capsys.readouterr().err


@pytest.mark.parametrize(("columns", "rows"), [(40, 10), (20, 4), (12, 3), (10, 2), (5, 1), (1, 1)])
def test_a_small_terminal_shows_what_it_can(columns: int, rows: int) -> None:
    async def scenario(chat: "Chat") -> None:
        chat.natd.says("a text that must be wrapped in a small window")
        chat.type("x")
        await asyncio.sleep(0.1)
        chat.resize(columns, rows)
        chat.type("y\r")
        await until(lambda: chat.natd.texts == ["xy"])
        if rows >= 4:
            await chat.shows("demo")
        if columns >= 10 and rows > 1:
            await chat.shows("xy")
        chat.resize(80, 24)
        await chat.shows("alice: xy")

    with_chat(scenario)


def test_a_flood_of_messages_is_drawn_no_more_often_than_one_can_see() -> None:
    async def scenario(chat: "Chat") -> None:
        for number in range(5000):
            chat.natd.says(f"flood {number}.")
        await chat.shows("flood 4999.", wait_s=20.0)
        assert chat.drawings < 500

    with_chat(scenario)


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


async def until(condition: Callable[[], bool], wait_s: float = 5.0) -> None:
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

    async def shows(self, text: str, wait_s: float = 5.0) -> None:
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

    async def send(self, network: str | None, text: str, *, to: str | None = None) -> Json:
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
