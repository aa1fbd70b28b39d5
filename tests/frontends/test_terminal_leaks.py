"""The chat on a whole screen, its plain lines and the pipe, when all that they hear is hostile."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from natd.ipc import RequestError, printable
from tests.frontends.chat_terminal import PATH, Chat, with_chat
from tests.frontends.straw_chat import StrawChat
from tests.ipc.sequences import EVERY_SEQUENCE, assert_harmless, assert_no_leak

ROOT = Path(__file__).parents[2]
POISON = "".join(f"<{number}:{sequence}>" for number, sequence in enumerate(EVERY_SEQUENCE))
END = "the end of it"

OWN_SEQUENCES = re.compile(r"\x1b(\[[0-9;?>]*[A-Za-z]|\]2;[^\x07\x1b]*\x07|[=>])")
"""What prompt_toolkit itself writes: it places the cursor and changes colours."""


def test_on_a_whole_screen_every_sequence_is_shown_and_none_carried_out() -> None:
    async def scenario(chat: Chat) -> None:
        await chat.shows("said before")
        told = [each for each in EVERY_SEQUENCE if "\n" not in each]
        for first in range(0, len(told), 18):
            page = [f"({first}.{each})" for each in told[first : first + 18]]
            for text in (*page, f"page {first}"):
                chat.natd.says(text)
            await chat.shows(f"bob: page {first}\n")
            assert [text for text in page if printable(text) not in chat.text] == []
        for text in (f"\x1b]2;owned\x07{POISON}", POISON):
            who = {"nick": text, "id": text, "tag": text, "trust": "new"}
            for kind in ("peer_met", "peer_online", "peer_offline", "verdict", "server_down"):
                words: dict[str, Any] = dict.fromkeys(("text", "reason", "server", "code"), text)
                chat.natd.publish(kind, peer=who, path=PATH, **words)
        chat.natd.refuses = RequestError(POISON, POISON, POISON)
        chat.type("hello\r")
        chat.natd.refuses = None
        chat.natd.says(END)
        await chat.shows(END)
        assert chat.screen.title == ""
        assert_no_leak(OWN_SEQUENCES.sub("", chat.written).replace("\r", "\n").replace("\b", "\n"))
        await chat.shows("bob")

    with_chat(scenario)


def test_plain_lines_show_every_sequence_and_carry_out_none(tmp_path: Path) -> None:
    with StrawChat(tmp_path / "s") as straw:
        straw.peer("bob")
        hostile(straw)
        output = said_by(
            "from frontends.chat import run; sys.exit(run(None, sys.argv[1], True))", straw
        )
    assert END in output
    assert "<0:" in output
    assert_no_leak(output)


def test_the_pipe_writes_json_that_a_terminal_can_be_shown(tmp_path: Path) -> None:
    with StrawChat(tmp_path / "s") as straw:
        straw.peer("bob")
        straw.cursors["bot"] = 0
        hostile(straw)
        program = "from frontends.pipe import run; sys.exit(run(None, sys.argv[1], cursor='bot'))"
        output = said_by(program, straw)
    for line in output.splitlines():
        assert_harmless(line)
        assert line.isascii()


def test_the_bot_of_the_documentation_prints_nothing_raw() -> None:
    """Programs of others get the same function, and the example shows it."""
    example = (ROOT / "natd" / "ipc" / "README.md").read_text().partition("```python")[2]
    code = example.partition("```")[0]
    assert "from natd.ipc import Client, printable" in code
    (line,) = [line for line in code.splitlines() if "print(" in line]
    event = {"from": {"nick": POISON}, "text": POISON}
    shown: list[str] = []
    exec(line.strip(), {"printable": printable, "event": event, "print": shown.append})
    assert_harmless("".join(shown))


def hostile(straw: StrawChat) -> None:
    for nick in ("bob", POISON):
        straw.says(nick, POISON)
        straw.comes(nick)
        straw.goes(nick, POISON)
    for kind in ("verdict", "server_down", "server_up", "peer_changed", POISON):
        who = {"nick": POISON, "id": POISON, "tag": POISON}
        straw.publish(kind, network="demo", peer=who, text=POISON, reason=POISON, server=POISON)
    straw.says("bob", END)


def said_by(program: str, straw: StrawChat) -> str:
    """All that it writes until it is told to quit."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {program}", str(straw.path)],
        input="/peers\n/quit\n",
        capture_output=True,
        encoding="utf-8",
        cwd=ROOT,
        timeout=30,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert_no_leak(done.stderr)
    return done.stdout
