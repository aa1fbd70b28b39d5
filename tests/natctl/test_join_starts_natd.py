"""The daemon that `natctl join` starts where none is running."""

import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from natctl.__main__ import run
from tests.processes import started

JOIN = ["join", "demo", "--server", "192.0.2.1:8080", "--name", "alice"]
ROOT = Path(__file__).resolve().parents[2]


def test_a_join_starts_a_daemon_that_outlives_it(home: dict[str, str], tmp_path: Path) -> None:
    first = natctl(home, "join", "demo", "--server", "127.0.0.1:9", "--json")
    assert first.returncode == 0, first.stderr
    assert first.stderr.startswith("natd was not running: it was started for you (pid ")
    log = tmp_path / "run" / "natd.log"
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    status_reply = json.loads(natctl(home, "status", "--json").stdout)
    assert f"(pid {status_reply['pid']}, " in first.stderr
    assert [network["name"] for network in status_reply["networks"]] == ["demo"]

    second = natctl(home, "join", "other", "--server", "127.0.0.1:9", "--json")
    assert (second.returncode, second.stderr) == (0, "")
    assert json.loads(natctl(home, "status", "--json").stdout)["pid"] == status_reply["pid"]

    assert natctl(home, "shutdown").stdout == "stopped\n"
    assert natctl(home, "status").returncode == 3


def test_a_join_without_server_and_lan_is_refused_and_leaves_no_daemon(
    home: dict[str, str],
) -> None:
    """It was refused, and the daemon that had been started for it stayed."""
    alone = home | {"NATD_PATHS_LAN_DISCOVERY": "false"}
    refused = natctl(alone, "join", "demo", "--lan")
    assert refused.returncode == 2
    assert "demo needs a server: paths.lan_discovery is false" in refused.stderr
    assert "stopping natd again, because it was started for this command" in refused.stderr
    limit = time.monotonic() + 30.0
    while natctl(home, "status").returncode != 3:
        assert time.monotonic() < limit


def test_two_joins_at_once_end_up_with_one_daemon(home: dict[str, str]) -> None:
    with contextlib.ExitStack() as stack:
        joins = [
            stack.enter_context(
                started(
                    [*COMMAND, "join", name, "--server", "127.0.0.1:9", "--json"],
                    env=home,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                )
            )
            for name in ("one", "two")
        ]
        told = [join.communicate(timeout=60) for join in joins]
    assert [join.returncode for join in joins] == [0, 0], told
    networks = json.loads(natctl(home, "networks", "--json").stdout)["networks"]
    assert sorted(network["name"] for network in networks) == ["one", "two"]


def test_a_daemon_that_can_not_be_started_is_told_with_its_reason(
    home: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in home.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "executable", "/nowhere/python3")
    assert run(JOIN) == 1
    assert "can't be started with /nowhere/python3: No such file" in capsys.readouterr().err


def test_a_daemon_that_can_not_start_is_quoted(home: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(exist_ok=True)
    (tmp_path / "state" / "identity.key").write_bytes(b"too short")
    refused = natctl(home, "join", "demo", "--server", "127.0.0.1:9")
    assert refused.returncode == 1
    assert "natd can't start: " in refused.stderr
    assert "identity.key" in refused.stderr
    assert str(tmp_path / "run" / "natd.log") in refused.stderr


def test_a_runtime_directory_open_to_others_is_not_used(
    home: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run").chmod(0o777)
    refused = natctl(home, "join", "demo", "--server", "127.0.0.1:9")
    assert refused.returncode == 1
    assert "writable by, another user" in refused.stderr
    assert list((tmp_path / "run").iterdir()) == []


def test_a_socket_of_another_name_is_a_place_where_none_can_be_started(
    home: dict[str, str], tmp_path: Path
) -> None:
    elsewhere = str(tmp_path / "some.sock")
    refused = natctl(home, "--socket", elsewhere, "join", "demo", "--server", "127.0.0.1:9")
    assert refused.returncode == 3
    assert "control.sock" in refused.stderr


COMMAND = (sys.executable, "-m", "natctl")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An environment whose daemon lives in `tmp_path`; it is ended afterwards."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "NATD_SOCKET": str(tmp_path / "run" / "control.sock"),
        "NATD_STATE_DIR": str(tmp_path / "state"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
    }
    yield environment
    answer = natctl(environment, "status", "--json")
    if answer.returncode == 0:
        os.kill(json.loads(answer.stdout)["pid"], signal.SIGKILL)


def natctl(environment: dict[str, str], *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*COMMAND, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
