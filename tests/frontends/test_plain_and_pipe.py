"""The chat and the network as streams of lines, as processes against a daemon of straw."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.frontends.straw_chat import StrawChat
from tests.ipc.fake_daemon import Refusal
from tests.processes import end

PLAIN = "from frontends.chat import run; sys.exit(run(None, sys.argv[1], True))"
DRAWN = "from frontends.chat import run; sys.exit(run(None, sys.argv[1], False))"
PIPE = "from frontends.pipe import run; sys.exit(run(None, sys.argv[1]))"
BOT = "from frontends.pipe import run; sys.exit(run(None, sys.argv[1], cursor='bot'))"


@pytest.fixture
def natd(tmp_path: Path) -> Iterator[StrawChat]:
    with StrawChat(tmp_path / "s") as straw:
        straw.peer("bob")
        yield straw


STARTED: list["subprocess.Popen[str]"] = []


@pytest.fixture(autouse=True)
def _nothing_runs_on() -> Iterator[None]:
    """A test that fails leaves no process to fail another."""
    yield
    while STARTED:
        end(STARTED.pop())


def test_plain_lines_are_said_and_everything_is_written_once(natd: StrawChat) -> None:
    natd.says("bob", "before \x1b[2J")
    process = start(PLAIN, natd)
    assert "bob: before ␛[2J" in line_with(process, "before")
    assert "you are alice#alic in demo; here: bob (direct, 12 ms)" in line_with(process, "you are")
    say(process, "hello")
    assert line_with(process, "hello").endswith("alice: hello")
    natd.says("bob", "hi alice")
    assert line_with(process, "hi alice").endswith("bob: hi alice")
    natd.goes("bob")
    assert line_with(process, "is gone").endswith("* bob is gone: it said good-bye")
    output, errors = process.communicate(timeout=10)
    assert (process.returncode, errors, output.count("hello")) == (0, "", 0)


def test_plain_is_what_a_pipe_gets_without_being_asked(natd: StrawChat) -> None:
    process = start(DRAWN, natd)
    output, _ = process.communicate("from a pipe\n/quit\nnever said\n", timeout=10)
    assert "\x1b" not in output
    assert natd.texts == ["from a pipe"]
    assert process.returncode == 0


def test_a_refused_line_is_told_and_counts_as_failure(natd: StrawChat) -> None:
    natd.refuses = Refusal("too_long", "the text is too long", "write less")
    process = start(PLAIN, natd)
    output, _ = process.communicate("x\n", timeout=10)
    assert "* not sent: the text is too long (write less)" in output
    assert process.returncode == 1


def test_plain_survives_a_restart_of_the_daemon(natd: StrawChat) -> None:
    process = start(PLAIN, natd)
    line_with(process, "you are")
    natd.__exit__(None, None, None)
    line_with(process, "natd has stopped")
    say(process, "meanwhile")
    natd.publish("message", network="demo", message="b1", text="missed", **{"from": BOB})
    natd.__enter__()
    assert line_with(process, "missed").endswith("bob: missed")
    line_with(process, "alice: meanwhile")
    process.communicate(timeout=10)
    assert natd.texts == ["meanwhile"]


def test_the_pipe_sends_lines_as_they_are_and_writes_json(natd: StrawChat) -> None:
    process = start(PIPE, natd)
    say(process, "/quit is text here")
    wait_for(natd, "/quit is text here")
    natd.comes("bob")
    natd.says("bob", "\x1b[31m \u202e ü")
    line = line_with(process, "message")
    assert line.isascii()
    assert "\x1b" not in line
    event = json.loads(line)
    assert (event["v"], event["type"], event["text"]) == (1, "message", "\x1b[31m \u202e ü")
    output, errors = process.communicate("\nlast", timeout=10)
    assert (process.returncode, output, errors) == (0, "", "")
    assert natd.texts == ["/quit is text here", "last"]


@pytest.mark.parametrize("program", [PIPE, BOT])
def test_an_answer_to_the_first_line_is_written(natd: StrawChat, program: str) -> None:
    """It came between the line and the subscription, and was lost."""
    accept = natd.answers["send"]
    assert callable(accept)

    def answer(request: Any) -> Any:
        accepted = accept(request)
        natd.says("bob", "the answer")
        return accepted

    natd.answers["send"] = answer
    process = start(program, natd)
    say(process, "the question")
    line_with(process, "the answer")
    asked = [request["do"] for request in natd.requests]
    assert asked.index("subscribe") < asked.index("send")
    process.communicate(timeout=10)


def test_a_file_of_lines_arrives_whole_and_in_order(natd: StrawChat) -> None:
    lines = [f"line {number}" for number in range(300)]
    process = start(PIPE, natd)
    process.communicate("\r\n".join(lines), timeout=30)
    assert natd.texts == lines
    assert process.returncode == 0


def test_a_bot_that_is_killed_is_given_again_what_it_had_not_finished(natd: StrawChat) -> None:
    natd.cursors["bot"] = 0
    natd.says("bob", "one")
    process = start(BOT, natd)
    line_with(process, "one")
    process.kill()
    process.communicate()
    natd.says("bob", "two")
    process = start(BOT, natd)
    seen = [json.loads(process.stdout.readline())["text"]]  # type: ignore[union-attr]
    if seen == ["one"]:
        seen.append(json.loads(process.stdout.readline())["text"])  # type: ignore[union-attr]
    assert seen[-1] == "two"
    process.communicate(timeout=10)


def test_a_reader_that_hangs_up_ends_the_pipe_without_a_word(natd: StrawChat) -> None:
    process = start(PIPE, natd)
    say(process, "one")
    wait_for(natd, "one")
    assert process.stdout is not None
    process.stdout.close()
    natd.says("bob", "into the void")
    assert process.wait(10) == 0
    assert process.stderr is not None
    assert process.stderr.read() == ""


@pytest.mark.parametrize("program", [PLAIN, PIPE])
def test_without_a_daemon_it_is_exit_code_three_and_one_hint(program: str, tmp_path: Path) -> None:
    process = start(program, StrawChat(tmp_path / "none"))
    output, errors = process.communicate(timeout=10)
    assert (process.returncode, output) == (3, "")
    assert errors.startswith("natctl: no natd is running")
    assert len(errors.splitlines()) == 2


@pytest.mark.parametrize(
    ("networks", "words"),
    [([], "no network is joined"), (["a", "b"], "more than one network is joined: a, b")],
)
def test_without_a_choice_of_network_it_says_what_to_type(
    natd: StrawChat, networks: list[str], words: str
) -> None:
    natd.answers["networks"] = {"networks": [{"name": name} for name in networks]}
    process = start(PLAIN, natd)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 1
    assert words in errors
    assert "natctl" in errors.splitlines()[1]


BOB: dict[str, Any] = {"nick": "bob", "id": "bob" + "q" * 49, "trust": "new"}


def start(program: str, natd: StrawChat) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", f"import sys; {program}", str(natd.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        cwd=Path(__file__).parents[2],
        env={**os.environ, "TZ": "UTC", "PYTHONUNBUFFERED": "1"},
    )
    STARTED.append(process)
    watchdog = threading.Timer(30.0, process.kill)  # whatever hangs fails, and soon
    watchdog.daemon = True
    watchdog.start()
    return process


def say(process: "subprocess.Popen[str]", text: str) -> None:
    assert process.stdin is not None
    process.stdin.write(text + "\n")
    process.stdin.flush()


def line_with(process: "subprocess.Popen[str]", text: str) -> str:
    """Waits for it; a process that ends first, or says nothing more, fails the test."""
    assert process.stdout is not None
    for line in process.stdout:
        if text in line:
            return line.rstrip("\n")
    raise AssertionError(f"it ended without {text!r}: {process.communicate()[1]}")


def wait_for(natd: StrawChat, text: str) -> None:
    assert natd.until(lambda: text in natd.texts), natd.texts
