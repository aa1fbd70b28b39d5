"""A front end asks again after a pause of the daemon, and each line is sent once.

Real daemons and real front ends.  Their patience is cut to a fraction of a second, so that they ask
many times while the daemon is stopped.
"""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from natd.ipc import Client, RequestError
from tests.daemon.test_pipelined import asked
from tests.processes import SOURCE, Daemon, pair, started, until
from tests.promises import scaled

PATIENCE_S = 0.4

STOPPED_S = float(scaled(3, 60))
"""As long as the front end asks seven times, or a hundred and fifty."""

PLAIN = f"run(None, sys.argv[1], True, timeout_s={PATIENCE_S})"
PIPE = f"run(None, sys.argv[1], timeout_s={PATIENCE_S})"


@pytest.mark.parametrize("front_end", ["chat", "pipe"])
def test_a_line_typed_while_the_daemon_is_stopped_is_sent_once(
    tmp_path: Path, front_end: str
) -> None:
    with pair(tmp_path) as (_, alice, bob), writing(alice, front_end) as lines:
        lines.write("before")
        until(lambda: bob.texts() == ["before"])
        os.kill(alice.pid, signal.SIGSTOP)
        lines.write("under it")
        lines.write("and another")
        time.sleep(STOPPED_S)
        os.kill(alice.pid, signal.SIGCONT)
        lines.write("after")
        until(lambda: "after" in bob.texts(), 30.0, bob.texts)
        time.sleep(1.0)
        assert bob.texts() == ["before", "under it", "and another", "after"]
        assert alice.texts("sent") == bob.texts()


@pytest.mark.parametrize("front_end", ["chat", "pipe"])
def test_lines_typed_while_the_daemon_is_killed_again_and_again_are_sent_once_each(
    tmp_path: Path, front_end: str
) -> None:
    texts = [str(number) for number in range(150)]
    with pair(tmp_path) as (_, alice, bob), writing(alice, front_end) as lines:
        typing = threading.Thread(target=lines.write_all, args=(texts, 0.02))
        typing.start()
        for _ in range(3):
            time.sleep(0.5)
            alice.kill()
            alice.start()
        typing.join()
        until(lambda: texts[-1] in bob.texts(), 60.0, bob.texts)
        time.sleep(0.5)
        assert bob.texts() == texts
        assert alice.texts("sent") == texts


def test_a_programs_message_is_sent_once_while_the_daemon_is_stopped(tmp_path: Path) -> None:
    async def send(path: Path) -> list[str]:
        async with Client(path, timeout_s=PATIENCE_S) as natd:
            await natd.status()
            os.kill(alice.pid, signal.SIGSTOP)
            loop = asyncio.get_running_loop()
            loop.call_later(STOPPED_S, os.kill, alice.pid, signal.SIGCONT)
            wait_s = STOPPED_S + 20.0
            replies = await asyncio.gather(*(natd.send("demo", "hi", wait_s=wait_s) for _ in "ab"))
            return [reply["message"] for reply in replies]

    with pair(tmp_path) as (_, alice, bob):
        messages = asyncio.run(send(alice.socket))
        assert len(set(messages)) == 2  # two calls are two messages
        time.sleep(0.5)
        assert bob.texts() == ["hi", "hi"]


def test_a_restarted_program_that_names_its_message_sends_it_once(tmp_path: Path) -> None:
    with pair(tmp_path) as (_, alice, bob):
        first = natctl(alice, "send", "--id", "backup-1", "demo", "done")
        assert first.returncode == 0, first.stderr
        alice.kill()
        alice.start()
        again = natctl(alice, "send", "--id", "backup-1", "--wait", "20", "demo", "done")
        assert again.returncode == 0, again.stderr
        assert "delivered to 1 peer" in again.stdout
        other = natctl(alice, "send", "--id", "backup-1", "demo", "undone")
        assert other.returncode == 1
        assert "names another message" in other.stderr
        assert bob.texts() == ["done"]


def test_the_answer_to_who_asks_again_is_the_first_one_as_it_stands_now(tmp_path: Path) -> None:
    with pair(tmp_path) as (_, alice, bob):
        bob_id = bob.request("identity")["id"]
        first = alice.request("send", text="hi", id="one", wait_s=10.0)
        assert first["delivered"] == [bob_id]
        bob.kill()
        again = alice.request("send", text="hi", id="one", wait_s=10.0)
        assert again == first
        waits = alice.request("send", text="ho", id="two")
        assert waits["queued"] == [bob_id]
        with pytest.raises(RequestError) as caught:
            alice.request("send", text="ho", id="two", wait_s=0.2)
        assert caught.value.code == "not_delivered"
        bob.start()
        until(lambda: alice.request("send", text="ho", id="two")["delivered"] == [bob_id], 30.0)
        assert bob.texts() == ["hi", "ho"]


def test_a_name_counts_for_one_program_whatever_its_version(tmp_path: Path) -> None:
    with pair(tmp_path) as (_, alice, bob):
        send = {"id": "one", "do": "send", "text": "hi"}
        told = set()
        for program in ("bot/1.0", "bot/2.0", "other/1.0", "bot"):
            answers = asked(alice, {"do": "hello", "client": program}, send)
            told.add(answers[1]["ok"]["message"])
        assert len(told) == 2
        until(lambda: bob.texts() == ["hi", "hi"])


class Lines:
    """What is typed into a front end."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process

    def write_all(self, texts: Iterable[str], wait_s: float) -> None:
        for text in texts:
            self.write(text)
            time.sleep(wait_s)

    def write(self, text: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{text}\n".encode())
        self._process.stdin.flush()


@contextmanager
def writing(daemon: Daemon, front_end: str) -> Iterator[Lines]:
    module, call = {"chat": ("chat", PLAIN), "pipe": ("pipe", PIPE)}[front_end]
    code = f"import sys; from frontends.{module} import run; sys.exit({call})"
    with (
        (daemon.directory / "front end").open("wb") as output,
        started(
            [sys.executable, "-c", code, str(daemon.socket)],
            cwd=SOURCE,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
        ) as process,
    ):
        yield Lines(process)


def natctl(daemon: Daemon, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "natctl", "--socket", str(daemon.socket), *arguments]
    return subprocess.run(
        command, cwd=SOURCE, capture_output=True, text=True, timeout=60.0, check=False
    )
