"""The full-screen chat, typed into through a pipe and read off a terminal emulator."""

import asyncio

import pytest

from frontends.chatroom import STATUS_EVERY_S
from natd.ipc import RequestError
from tests.frontends.chat_terminal import (
    BOB,
    Chat,
    until,
    with_chat,
)


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
        await chat.shows("/msg PEER TEXT  send TEXT to one peer only")
        chat.type("/peers\r")
        await chat.shows("bob#bobb: online, direct, 12 ms, 198.51.100.7:4242")
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
        await chat.shows("● bob direct")
        chat.natd.is_away = True
        chat.natd.report("daemon_lost")
        await chat.shows("natd has stopped")
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
        await chat.shows("● bob direct", STATUS_EVERY_S / 2)

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
