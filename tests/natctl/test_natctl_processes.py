"""natctl as a process of its own: terminals, pipes, signals, and what it loads."""

import json
import os
import pty
import select
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from natctl.__main__ import run
from tests.ipc.fake_daemon import FakeDaemon
from tests.natctl.answers import BOB
from tests.processes import started

ROOT = Path(__file__).resolve().parents[2]


def test_colours_are_for_terminals_only_and_not_with_no_color(natd: FakeDaemon) -> None:
    assert b"\x1b[" in at_a_terminal(["status"])
    assert b"\x1b[" not in at_a_terminal(["status", "--no-color"])
    assert b"\x1b[" not in at_a_terminal(["status"], NO_COLOR="1")
    assert b"\x1b[" not in at_a_terminal(["status"], TERM="dumb")


def test_an_encoding_without_our_signs_is_no_obstacle(natd: FakeDaemon) -> None:
    shown = natctl("peers", env={"PYTHONIOENCODING": "ascii"})
    assert shown.returncode == 0
    assert b"*  bob#bbbb" in shown.stdout


def test_a_reader_that_goes_away_early_gets_no_complaint(natd: FakeDaemon) -> None:
    for number in range(2000):
        natd.publish("message", network="demo", text=str(number), **{"from": BOB})
    shown = subprocess.run(
        f"{shlex.join(COMMAND)} events --since 0 | head -n 1",
        shell=True,
        capture_output=True,
        timeout=30,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert shown.returncode == 0
    assert shown.stdout.endswith(b" 0\n")
    assert shown.stderr == b""


def test_an_interruption_is_exit_code_130_and_no_traceback(natd: FakeDaemon) -> None:
    with started(
        [*COMMAND, "events"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:
        wait_until(lambda: bool(natd.asked("subscribe")))
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out, err) == (130, b"", b"")


def test_status_watch_shows_it_again_until_interrupted(natd: FakeDaemon) -> None:
    with started(
        [*COMMAND, "--json", "status", "--watch"],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:
        wait_until(lambda: len(natd.asked("status")) >= 3)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert [json.loads(line)["pid"] for line in out.splitlines()[:2]] == [4711, 4711]


def test_shutdown_returns_when_the_daemon_is_gone(
    natd: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(_: dict[str, Any]) -> dict[str, Any]:
        natd._stop.set()
        return {"stopping": True}

    natd.answers["shutdown"] = stop
    assert run(["shutdown"]) == 0
    assert capsys.readouterr().out == "stopped\n"


def test_shutdown_waits_until_the_process_has_ended(natd: FakeDaemon, tmp_path: Path) -> None:
    """It said that it had stopped while its process was still there, with the state locked."""
    path = tmp_path / "slow" / "control.sock"
    path.parent.mkdir()
    with started(
        [sys.executable, "-c", SLOW_TO_END, str(path)], stdout=subprocess.PIPE, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        assert run(["--socket", str(path), "shutdown"]) == 0
        assert process.poll() == 0


def test_status_loads_nothing_that_it_does_not_need(natd: FakeDaemon) -> None:
    script = (
        "import sys\nfrom natctl.__main__ import run\nrun(['-q', 'status'])\n"
        "heavy = {'asyncio', 'zmq', 'pathlib', 'msgspec', 'subprocess', 'natd.core', 'yaml'}\n"
        "print(sorted(heavy.intersection(sys.modules)), file=sys.stderr)"
    )
    shown = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        timeout=30,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
    )
    assert shown.stderr.strip() == b"[]"


COMMAND = (sys.executable, "-m", "natctl")

PATIENCE_S = 30.0
"""Nothing here is judged by its time."""

SLOW_TO_END = """
import sys, threading, time
from pathlib import Path
from tests.ipc.fake_daemon import FakeDaemon
asked = threading.Event()
answers = {"shutdown": lambda _: asked.set() or {"stopping": True}}
with FakeDaemon(Path(sys.argv[1]), answers=answers):
    print("ready", flush=True)
    asked.wait()
    time.sleep(0.1)
time.sleep(0.5)
"""
"""A daemon whose process goes on for a while after its socket is closed."""


def natctl(*arguments: str, env: dict[str, str]) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        timeout=30,
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
        check=False,
    )


def at_a_terminal(arguments: list[str], **env: str) -> bytes:
    """What a command writes to a terminal."""
    environment = {**os.environ, "TERM": "xterm", "PYTHONPATH": str(ROOT), **env}
    if "NO_COLOR" not in env:
        environment.pop("NO_COLOR", None)
    ours, its = pty.openpty()
    with started([*COMMAND, *arguments], stdout=its, env=environment) as process:
        os.close(its)
        shown = b""
        while select.select([ours], [], [], 20.0)[0]:
            try:
                shown += os.read(ours, 4096)
            except OSError:  # the terminal has been left
                break
        process.wait(PATIENCE_S)
    os.close(ours)
    assert process.returncode == 0
    return shown


def wait_until(condition: Any, limit_s: float = PATIENCE_S) -> None:
    limit = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.005)
