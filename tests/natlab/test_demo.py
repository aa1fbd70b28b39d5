"""`natctl demo` as a user starts it: on real NATs, without rights, on loopback, interrupted."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from tests.natlab.interpreter import REPOSITORY
from tests.processes import started
from tests.requirements import requires_nat, requires_root

LIMIT_S = 20.0
LINE_LIMIT_S = 60.0

NATCTL = [sys.executable, "-m", "natctl"]

AS_SOMEBODY = ["unshare", "--user", "--map-user=1000", "--map-group=1000"]
"""A user without any rights, who may still read this interpreter's files."""


@requires_nat
def test_the_demo_shows_a_first_message_and_a_chat_without_server_behind_real_nats(workplace):
    began = time.monotonic()
    done = run(workplace, [*NATCTL, "--json", "demo"])
    assert time.monotonic() - began < LIMIT_S
    assert done.returncode == 0, done.stderr
    reply = json.loads(done.stdout)
    assert reply["behind_nats"] is True
    steps = reply["timeline"]
    names = [step["name"] for step in steps]
    for name in ("registered", "introduced", "first flight", "first message", "opened"):
        assert names.count(name) == 1
    first = steps[names.index("first message")]
    assert 1.5 <= first["round_trips"] < 4.0
    after = names[names.index("server killed") + 1 :]
    assert after == ["chat"] * 4


@requires_nat
@requires_root
def test_the_demo_needs_no_rights(workplace):
    done = run(workplace, [*AS_SOMEBODY, *NATCTL, "--json", "demo"])
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["behind_nats"] is True


def test_the_demo_runs_on_loopback_where_namespaces_are_not_to_be_had_and_says_so(workplace):
    done = run(workplace, [*NATCTL, "demo"], PATH="/nonexistent")
    assert done.returncode == 0, done.stderr
    assert "on loopback" in done.stderr
    assert "first message" in done.stdout
    assert "server killed" in done.stdout


def test_the_demo_says_that_its_chat_is_not_for_programs(workplace):
    done = run(workplace, [*NATCTL, "demo", "--json", "--chat"])
    assert done.returncode == 2
    assert "--chat" in done.stderr


@requires_nat
def test_the_chat_of_the_demo_is_answered_after_the_server_has_gone(workplace):
    with start(workplace, [*NATCTL, "demo", "--chat"], stdin=subprocess.PIPE) as process:
        wait_for_line(process, "you are alice")
        process.stdin.write("hello bob\n")
        process.stdin.flush()
        wait_for_line(process, "bob: I hear you: hello bob")
        process.stdin.close()
        assert process.wait(LIMIT_S) == 0


@requires_nat
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_demo_that_is_stopped_leaves_no_process_behind(workplace, end):
    with start(workplace, [*NATCTL, "demo"]) as process:
        wait_for_line(process, "registered")
        children = descendants(process.pid)
        assert len(children) >= 4
        process.send_signal(end)
        process.wait(LIMIT_S)
        # What nobody reads must not hold up who writes it.
        process.stdout.close()
    deadline = time.monotonic() + 5.0
    while (left := [pid for pid in children if is_alive(pid)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left == []


# --- helpers ---------------------------------------------------------------------------


@pytest.fixture
def workplace(request):
    """A home and a temporary directory of its own; nothing but kill -9 may leave files there."""
    with tempfile.TemporaryDirectory(prefix="natd-test-") as directory:
        (Path(directory) / "tmp").mkdir()
        yield Path(directory)
        left = list((Path(directory) / "tmp").iterdir())
        assert left == [] or request.node.callspec.params["end"] is signal.SIGKILL


def environment(workplace, **changes):
    kept = {key: value for key, value in os.environ.items() if not key.startswith("NATD_")}
    places = {"HOME": str(workplace), "TMPDIR": str(workplace / "tmp")}
    return kept | places | {"PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"} | changes


def run(workplace, argv, **changes):
    return subprocess.run(
        argv,
        capture_output=True,
        text=True,
        timeout=2 * LIMIT_S,
        check=False,
        env=environment(workplace, **changes),
    )


@contextlib.contextmanager
def start(workplace, argv, **options):
    """It and its children end with the block."""
    options |= {"stdout": subprocess.PIPE, "text": True, "env": environment(workplace)}
    with started(argv, **options) as process:
        try:
            yield process
        except BaseException:
            end_all(process.pid)
            raise


def wait_for_line(process, wanted):
    """End a command that is silent for too long, and its children: they hold the pipe."""
    watch = threading.Timer(LINE_LIMIT_S, end_all, [process.pid])
    watch.start()
    try:
        for line in process.stdout:
            if wanted in line:
                return
    finally:
        watch.cancel()
    raise AssertionError(f"it ended before it said {wanted!r}")


def end_all(pid):
    for each in [*descendants(pid), pid]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)


def descendants(pid):
    found = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it may end meanwhile
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in map(int, children.read_text().split()):
                found += [child, *descendants(child)]
    return found


def is_alive(pid):
    try:
        return "zombie" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):  # it may end while it is read
        return False
