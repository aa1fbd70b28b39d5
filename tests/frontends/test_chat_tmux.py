"""The chat in a real terminal: tmux types and reads the screen."""

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.frontends.straw_chat import StrawChat

ROOT = Path(__file__).parents[2]
WAIT_S = 15.0


@pytest.fixture
def natd(tmp_path: Path) -> Iterator[StrawChat]:
    with StrawChat(tmp_path / "s") as straw:
        straw.peer("bob")
        straw.peer("carol", "punching")
        straw.says("bob", "said before")
        yield straw


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator["Terminal"]:
    opened = Terminal(tmp_path / "tmux")
    yield opened
    opened.tmux("kill-server")


def test_a_chat_from_the_first_screen_to_the_shell_prompt(
    natd: StrawChat, terminal: "Terminal"
) -> None:
    terminal.open(natd, 80, 24)
    terminal.shows("bob: said before")
    terminal.type("hello", "Enter")
    terminal.shows("alice: hello 1/2")
    natd.says("bob", "evil \x1b[2J\x1b]2;owned\x07 text")
    terminal.shows("bob: evil ␛[2J␛]2;owned␇ text")
    terminal.type("/quit", "Enter")
    terminal.shows("exit code 0")
    assert "said before" not in terminal.text()  # the screen from before the chat is back
    assert terminal.shell_echoes()


@pytest.mark.parametrize(("columns", "rows"), [(40, 10), (200, 50), (12, 3)])
def test_a_resize_wraps_anew_and_keeps_what_is_typed(
    natd: StrawChat, terminal: "Terminal", columns: int, rows: int
) -> None:
    terminal.open(natd, 80, 24)
    natd.says("bob", "a long text that needs two rows where there are forty columns")
    terminal.type("half")
    terminal.shows("> half")
    terminal.tmux("resize-window", "-t", "chat", "-x", str(columns), "-y", str(rows))
    terminal.until(lambda: all(len(row) <= columns for row in terminal.text().splitlines()))
    terminal.shows("> half")
    terminal.type("!", "Enter")
    assert natd.until(lambda: natd.texts == ["half!"])
    terminal.tmux("resize-window", "-t", "chat", "-x", "80", "-y", "24")
    terminal.shows("alice: half! 1/2")


def test_page_up_and_wheel_and_the_way_back(natd: StrawChat, terminal: "Terminal") -> None:
    terminal.open(natd, 80, 24)
    for number in range(100):
        natd.says("bob", f"message {number}.")
    terminal.shows("message 99.")
    terminal.type("PPage")
    terminal.shows("↓")
    natd.says("bob", "below")
    terminal.shows("↓ 1 new")
    assert "below" not in terminal.text()
    terminal.type("NPage", "NPage")
    terminal.shows("bob: below")


def test_the_daemon_goes_and_comes_back_while_the_chat_is_open(
    natd: StrawChat, terminal: "Terminal"
) -> None:
    terminal.open(natd, 80, 24)
    terminal.shows("you are alice")
    natd.__exit__(None, None, None)
    terminal.shows("natd has stopped")
    terminal.type("meanwhile", "Enter")
    terminal.shows("natd is away  1 unsent")
    natd.says("bob", "missed")
    natd.__enter__()
    terminal.shows("* natd is back")
    terminal.shows("bob: missed")
    terminal.shows("alice: meanwhile")
    assert natd.texts == ["meanwhile"]


@pytest.mark.parametrize("key", ["C-c", "C-d"])
def test_leaving_by_a_key_restores_the_terminal(
    natd: StrawChat, terminal: "Terminal", key: str
) -> None:
    terminal.open(natd, 80, 24)
    terminal.shows("you are alice")
    terminal.type(key)
    terminal.shows("exit code 0")
    assert terminal.shell_echoes()


def test_a_termination_signal_restores_the_terminal(natd: StrawChat, terminal: "Terminal") -> None:
    terminal.open(natd, 80, 24)
    terminal.shows("you are alice")
    os.kill(terminal.child(), signal.SIGTERM)
    terminal.shows("exit code 0")
    assert terminal.shell_echoes()


def test_a_window_that_is_closed_ends_the_chat(natd: StrawChat, terminal: "Terminal") -> None:
    terminal.open(natd, 80, 24)
    terminal.shows("you are alice")
    chat = Path(f"/proc/{terminal.child()}/cmdline")
    terminal.tmux("new-session", "-d", "-s", "other", "cat")
    terminal.tmux("kill-session", "-t", "chat")
    terminal.until(lambda: not chat.exists() or not chat.read_bytes())


def test_a_dumb_terminal_gets_plain_lines(natd: StrawChat, terminal: "Terminal") -> None:
    terminal.open(natd, 80, 24, term="dumb")
    terminal.shows("* you are alice")
    terminal.type("hello", "Enter")
    terminal.shows("alice: hello")
    terminal.type("C-d")
    terminal.shows("exit code 0")
    assert "said before" in terminal.text()


class Terminal:
    """One tmux server with one window; `text` is what a person would see."""

    def __init__(self, socket: Path) -> None:
        self._socket = str(socket)

    def open(self, natd: StrawChat, columns: int, rows: int, *, term: str | None = None) -> None:
        code = "import sys; from frontends.chat import run; sys.exit(run(None, sys.argv[1], False))"
        program = shlex.join([sys.executable, "-c", code, str(natd.path)])
        exported = f"export TERM={term};" if term else ""
        script = f"cd {ROOT}; {exported} {program}; echo exit code $?; exec cat"
        size = ("-x", str(columns), "-y", str(rows))
        self.tmux("-f", "/dev/null", "new-session", "-d", "-s", "chat", *size, script)

    def tmux(self, *arguments: str) -> str:
        # tmux asks the shell to start what it is given; a service user has nologin for one.
        environment = {**os.environ, "LC_ALL": "C.UTF-8", "TZ": "UTC", "SHELL": "/bin/sh"}
        environment.pop("TMUX", None)
        command = ["tmux", "-S", self._socket, *arguments]
        done = subprocess.run(
            command, env=environment, capture_output=True, encoding="utf-8", timeout=20
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def type(self, *keys: str) -> None:
        self.tmux("send-keys", "-t", "chat", *keys)

    def text(self) -> str:
        return self.tmux("capture-pane", "-p", "-t", "chat")

    def shows(self, text: str) -> None:
        try:
            self.until(lambda: text in self.text())
        except TimeoutError:
            raise AssertionError(f"{text!r} is not on the screen:\n{self.text()}") from None

    def until(self, condition: Callable[[], bool]) -> None:
        limit = time.monotonic() + WAIT_S
        while not condition():
            if time.monotonic() > limit:
                raise TimeoutError
            time.sleep(0.03)

    def shell_echoes(self) -> bool:
        """The terminal shows what is typed and makes lines of it again."""
        self.type("typed afterwards", "Enter")
        self.until(lambda: self.text().count("typed afterwards") == 2)  # its echo and cat's
        return True

    def child(self) -> int:
        """The chat's process id: the one child of the window's shell."""
        shell = self.tmux("display-message", "-p", "-t", "chat", "#{pane_pid}").strip()
        children = Path(f"/proc/{shell}/task/{shell}/children").read_text()
        return int(children.split()[0])
