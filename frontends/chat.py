"""The chat on a terminal: messages above, a status bar, and a line to write in.

    ── Thursday, 2026-01-01 ──
    12:01 bob: hi
    12:02 alice: hello ✓
     demo · alice  ● bob direct, 12 ms
    > _

Rules that a change must not break:

- What is shown comes from `chatview` through `scrollback`; nothing here reads an event.
- What is being typed is never touched by what comes in.
- The terminal is left as it was found, however one leaves.
- Where there is no terminal to draw on, the plain chat takes over (`frontends.plainchat`).
"""

import asyncio
import contextlib
import io
import os
import sys
from typing import TYPE_CHECKING

from prompt_toolkit.application import Application
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.data_structures import Point
from prompt_toolkit.filters import Condition, has_selection
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.input import Input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.layout import (
    BufferControl,
    ConditionalContainer,
    Dimension,
    HSplit,
    Layout,
    UIContent,
    UIControl,
    Window,
)
from prompt_toolkit.layout.controls import FormattedTextControl
from prompt_toolkit.mouse_events import MouseEvent, MouseEventType
from prompt_toolkit.output import ColorDepth, Output
from prompt_toolkit.styles import Style
from prompt_toolkit.utils import get_cwidth, suspend_to_background_supported

from frontends.chatinput import completed
from frontends.chatroom import ChatRoom, Natd
from frontends.entry import run_frontend
from frontends.leaving import leaving_on_signals
from frontends.plainchat import PlainChat
from frontends.scrollback import Scrollback
from frontends.statusbar import status_bar
from natd.ipc import Client

if TYPE_CHECKING:
    from prompt_toolkit.key_binding.key_bindings import NotImplementedOrNone

INPUT_ROWS = 5
"""What is being written shows at most so many rows, and less than half of a small screen."""

BAR_FROM_ROWS = 4
"""A screen with fewer rows has none to spare for the status bar."""

WHEEL_ROWS = 3

REDRAW_INTERVAL_S = 0.02
"""At most 50 drawings a second: a flood of messages costs no more than that."""

DUMB_TERMINALS = ("", "dumb", "unknown")

STYLE = Style.from_dict(
    {
        "time": "#808080",
        "me": "bold",
        "note": "#808080",
        "warn": "#d75f00 bold",
        "day": "#808080",
        "tick": "#808080",
        "tick-done": "#00af5f",
        "bar": "reverse",
        "bar-online": "reverse bold",
        "bar-punching": "reverse",
        "bar-offline": "reverse",
        "bar-blocked": "reverse",
        "bar-unknown": "reverse",
        "bar-alarm": "reverse bold",
        "prompt": "bold",
        "nick-0": "#d75f5f",
        "nick-1": "#5faf5f",
        "nick-2": "#af8700",
        "nick-3": "#5f87d7",
        "nick-4": "#af5faf",
        "nick-5": "#00afaf",
        "nick-6": "#d7875f",
        "nick-7": "#87875f",
        "nick-8": "#875fd7",
        "nick-9": "#d75f87",
        "nick-10": "#00875f",
        "nick-11": "#5f5fd7",
    }
)
"""Of middling lightness, so that they can be read on a dark and on a light ground."""


class Messages(UIControl):
    """The window onto the scrollback, filled from below."""

    def __init__(self, scrollback: Scrollback) -> None:
        self._scrollback = scrollback
        self.height = 1

    def create_content(self, width: int, height: int | None) -> UIContent:
        self.height = height or 1
        self._scrollback.resize(width)
        rows = self._scrollback.rows(self.height)
        above = self.height - len(rows)

        def row(index: int) -> StyleAndTextTuples:
            if index < above:
                return []
            return [
                (f"class:{style}" if style else "", text) for style, text in rows[index - above]
            ]

        return UIContent(row, line_count=self.height, cursor_position=Point(0, self.height - 1))

    def is_focusable(self) -> bool:
        return False

    def scroll(self, rows: int) -> None:
        """Towards the past when positive."""
        if rows > 0:
            self._scrollback.scroll_up(rows, self.height)
        else:
            self._scrollback.scroll_down(-rows)

    def mouse_handler(self, mouse_event: MouseEvent) -> "NotImplementedOrNone":
        if mouse_event.event_type == MouseEventType.SCROLL_UP:
            self.scroll(WHEEL_ROWS)
        elif mouse_event.event_type == MouseEventType.SCROLL_DOWN:
            self.scroll(-WHEEL_ROWS)
        else:
            return NotImplemented
        return None


class ChatScreen:
    """The full-screen chat of one network."""

    def __init__(
        self,
        natd: Natd,
        network: str,
        *,
        input: Input | None = None,
        output: Output | None = None,
    ) -> None:
        self.room = ChatRoom(natd, network, changed=self._show, returned=self._give_back)
        self._network = network
        self._scrollback = Scrollback(get_cwidth)
        self._messages = Messages(self._scrollback)
        self._buffer = Buffer(multiline=True, history=InMemoryHistory())
        self.app: Application[None] = Application(
            layout=self._layout(),
            key_bindings=self._keys(),
            style=STYLE,
            color_depth=ColorDepth.DEPTH_1_BIT if os.environ.get("NO_COLOR") else None,
            full_screen=True,
            mouse_support=True,
            min_redraw_interval=REDRAW_INTERVAL_S,
            input=input,
            output=output,
        )

    async def run(self) -> int:
        """Until its user leaves; 1 when something typed was not accepted by then."""
        await self.room.open()
        following = asyncio.create_task(self.room.run())
        following.add_done_callback(self._leave)
        try:
            # A terminal that is gone is the end of the input.
            with leaving_on_signals(self._leave), contextlib.suppress(EOFError):
                await self.app.run_async(handle_sigint=False)
        finally:
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await following
        self.room.warn_of_unsent()
        for line in self.room.view.lines():
            print(line.plain, file=sys.stderr)
        return 1 if self.room.sending.waiting else 0

    # --- what is shown -----------------------------------------------------------------

    def _show(self) -> None:
        for line in self.room.view.lines():
            self._scrollback.add(line)
        self.app.invalidate()

    def _bar(self) -> StyleAndTextTuples:
        alarms = []
        if self.room.is_daemon_away:
            alarms.append("natd is away")
        elif self.room.is_daemon_silent:
            alarms.append("natd does not answer")
        elif self.room.view.is_offline:
            alarms.append("offline")
        elif self.room.view.lost_servers:
            alarms.append("server lost")
        waiting = len(self.room.sending.waiting)
        is_held = self.room.is_daemon_away or self.room.is_daemon_silent
        if waiting > 1 or (waiting and is_held):
            alarms.append(f"{waiting} unsent")
        if not self._scrollback.is_at_end:
            unseen = self._scrollback.unseen
            alarms.append(f"↓ {unseen} new" if unseen else "↓")
        view, width = self.room.view, self.app.output.get_size().columns
        spans = status_bar(self._network, view.own_name, view.presence(), alarms, width, get_cwidth)
        return [(f"class:{style}", text) for style, text in spans]

    def _layout(self) -> Layout:
        bar = Window(FormattedTextControl(self._bar), height=1, style="class:bar")
        typing = Window(
            BufferControl(self._buffer),
            height=self._input_height,
            wrap_lines=True,
            dont_extend_height=True,
            get_line_prefix=lambda number, wrapped: [
                ("class:prompt", "> " if number == 0 and wrapped == 0 else "  ")
            ],
        )
        rows = HSplit(
            [
                ConditionalContainer(Window(self._messages), Condition(lambda: self._rows > 1)),
                ConditionalContainer(bar, Condition(lambda: self._rows >= BAR_FROM_ROWS)),
                typing,
            ],
            window_too_small=Window(),
        )
        return Layout(rows, focused_element=typing)

    def _input_height(self) -> Dimension:
        return Dimension(min=1, max=max(1, min(INPUT_ROWS, self._rows // 2 - 1)))

    @property
    def _rows(self) -> int:
        return self.app.output.get_size().rows

    # --- what is typed -----------------------------------------------------------------

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()

        @keys.add("enter")
        def _(_event: KeyPressEvent) -> None:
            self._enter()

        @keys.add("escape", "enter")
        def _(_event: KeyPressEvent) -> None:
            self._buffer.insert_text("\n")

        @keys.add("tab")
        def _(_event: KeyPressEvent) -> None:
            self._complete()

        @keys.add("pageup")
        def _(_event: KeyPressEvent) -> None:
            self._messages.scroll(max(1, self._messages.height - 1))

        @keys.add("pagedown")
        def _(_event: KeyPressEvent) -> None:
            self._messages.scroll(-max(1, self._messages.height - 1))

        @keys.add("c-up")
        @keys.add("s-up")
        def _(_event: KeyPressEvent) -> None:
            self._messages.scroll(1)

        @keys.add("c-down")
        @keys.add("s-down")
        def _(_event: KeyPressEvent) -> None:
            self._messages.scroll(-1)

        @keys.add("c-end")
        def _(_event: KeyPressEvent) -> None:
            self._scrollback.scroll_to_end()

        @keys.add("c-l")
        def _(_event: KeyPressEvent) -> None:
            self.app.renderer.clear()

        @keys.add("c-c", filter=~has_selection)
        @keys.add("c-d", filter=Condition(lambda: not self._buffer.text))
        def _(_event: KeyPressEvent) -> None:
            self._leave()

        @keys.add("c-z", filter=Condition(suspend_to_background_supported))
        def _(event: KeyPressEvent) -> None:
            event.app.suspend_to_background()

        return keys

    def _enter(self) -> None:
        typed = self._buffer.text
        self._buffer.reset(append_to_history=bool(typed.strip()))
        self._scrollback.scroll_to_end()
        if not self.room.enter(typed):
            self._leave()

    def _complete(self) -> None:
        before = self._buffer.document.text_before_cursor
        after = completed(before, self.room.view.names())
        if after != before:
            self._buffer.delete_before_cursor(len(before))
            self._buffer.insert_text(after)

    def _give_back(self, typed: str) -> None:
        """A refused line returns to the input, unless something else is being written."""
        if not self._buffer.text:
            self._buffer.insert_text(typed)

    def _leave(self, *_: object) -> None:
        if self.app.is_running and not self.app.is_done:
            self.app.exit()


def run(
    network: str | None, socket_path: str | None, plain: bool, *, timeout_s: float | None = None
) -> int:
    """Open the chat and stay in it; the exit code of `natctl chat`."""

    async def front_end(natd: Client, chosen: str) -> int:
        if plain or not can_draw():
            return await PlainChat(natd, chosen, sys.stdout).run(sys.stdin.fileno())
        return await ChatScreen(natd, chosen).run()

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    return run_frontend(front_end, network, socket_path, timeout_s)


def can_draw() -> bool:
    """There is a terminal at both ends that knows how to place a cursor."""
    is_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    return is_terminal and os.environ.get("TERM", "") not in DUMB_TERMINALS
