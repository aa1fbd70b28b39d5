"""Real daemons that may open few files, and programs that open many connections to them."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from natd.host.descriptors import raise_descriptor_limit
from natd.ipc import RequestError
from tests.processes import SOURCE, Daemon, Process, Server


@pytest.mark.parametrize("descriptors", [64, 1024])
def test_5000_idle_connections_leave_a_daemon_alive_and_it_says_so(
    tmp_path: Path, descriptors: int
) -> None:
    if raise_descriptor_limit() < 6000:
        pytest.skip("this test holds 5,000 connections, and may not open so many")
    with chatting(tmp_path, descriptors) as (alice, bob), ExitStack() as held:
        for _ in range(5000):
            idle = held.enter_context(socket.socket(socket.AF_UNIX))
            idle.connect(str(alice.socket))
        problems = alice.request("status")["problems"]
        assert "too_many_clients" in [problem["code"] for problem in problems]
        assert alice.log.count("connections to natd at a time") == 1
        bob.request("send", network="demo", text="hi", to=None, wait_s=5.0)
        assert alice.texts() == ["hi"]
        assert natctl(alice, "status").returncode == 0
        assert natctl(alice, "shutdown").returncode == 0


@pytest.mark.parametrize("descriptors", [64, 1024])
def test_programs_that_take_all_places_do_not_lock_the_owner_out(
    tmp_path: Path, descriptors: int
) -> None:
    with chatting(tmp_path, descriptors) as (alice, _), ExitStack() as held:
        for _ in range(64):
            front_end = held.enter_context(alice.connect())
            with suppress(RequestError):
                front_end.events()
        late = natctl(alice, "events")
        assert late.returncode == 1
        assert f"process {os.getpid()} (" in late.stderr
        told = natctl(alice, "status")
        assert told.returncode == 0
        assert "all places are taken" in told.stdout
        assert natctl(alice, "peers").returncode == 0
        assert natctl(alice, "shutdown").returncode == 0


@pytest.mark.parametrize("descriptors", [5, 20, 50])
def test_a_daemon_that_may_open_too_few_files_says_so_in_one_line(
    tmp_path: Path, descriptors: int
) -> None:
    told = ended(Daemon(tmp_path), descriptors)
    assert re.fullmatch(
        r"natd: natd may open only \d+ files here, and needs 48; start it with a higher .*\n",
        told,
    )


@pytest.mark.parametrize("descriptors", [5, 8, 12])
def test_a_server_that_may_open_too_few_files_says_so_in_one_line(
    tmp_path: Path, descriptors: int
) -> None:
    told = ended(Server(tmp_path), descriptors)
    assert re.fullmatch(r"natd: natd may open only \d+ files here, and needs 16; .*\n", told)


def test_a_daemon_with_64_files_names_what_it_can_do_less(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path)
    daemon.descriptors = 64
    with daemon:
        (problem,) = [
            each for each in daemon.request("status")["problems"] if each["code"] == "descriptors"
        ]
        assert "natd may open only 64 files here" in problem["text"]
        assert re.search(r"\d+ sockets of 256 to get through a hard NAT", problem["text"])


# --- helpers


@contextmanager
def chatting(directory: Path, descriptors: int) -> Iterator[tuple[Daemon, Daemon]]:
    """Alice, who may open so many files, and bob, connected."""
    alice = Daemon(directory / "alice")
    alice.descriptors = descriptors
    with Server(directory / "server") as server, alice, Daemon(directory / "bob") as bob:
        alice.join("demo", server.address, "alice")
        bob.join("demo", server.address, "bob")
        alice.wait()
        bob.wait()
        yield alice, bob


def ended(process: Process, descriptors: int) -> str:
    """What it has said when it could not start."""
    process.descriptors = descriptors
    process.spawn()
    assert process.process is not None
    assert process.process.wait(20.0) == 1
    return process.log


def natctl(daemon: Daemon, *command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "natctl", "--socket", str(daemon.socket), *command],
        cwd=SOURCE,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
