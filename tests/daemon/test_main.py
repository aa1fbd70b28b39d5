"""Every way to start wrongly ends with its documented exit code and one line that says why."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from natd.ipc import Connection, UnreachableError
from tests import processes
from tests.processes import free_ports

START_LIMIT_S = 20.0
"""For a machine with much other work: a start takes well below a second."""

STOP_LIMIT_S = 2.0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--prot", "1"], "No such option"),
        (["--port"], "Option '--port' requires an argument"),
        (["--port", "x"], "--port: expected a whole number from 0 to 65535, got 'x'"),
        (["--port", "65536"], "--port: expected a whole number from 0 to 65535, got 65536"),
        (["--port", "-1"], "--port: expected a whole number from 0 to 65535, got -1"),
        (["--log-level", "loud"], "--log-level: expected debug, info, warning or error"),
        (["chat"], "Got unexpected extra argument (chat)"),
        (["--bind", "::1"], "--bind belongs to natd --server"),
        (["--sample-ports", "1"], "--sample-ports belongs to natd --server"),
        (["--server", "0"], "--server: expected a whole number from 1 to 65535, got 0"),
        (["--server", "http"], "--server: expected a whole number from 1 to 65535, got 'http'"),
        (["--server", "8080", "--port", "1"], "--port belongs to the peer daemon"),
        (["--server", "8080", "--bind", "localhost"], "--bind: expected an IP address"),
        (["--server", "8080", "--sample-ports", "16"], "--sample-ports: expected a whole number"),
        (["--server", "65533"], "--server 65533 leaves no room for 3 extra ports"),
    ],
)
def test_a_wrong_flag_is_usage(tmp_path: Path, arguments: list[str], told: str) -> None:
    ended = natd(tmp_path, *arguments)
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert ended.stderr.startswith(f"natd: {told}"), ended.stderr
    assert "natd --help" in ended.stderr


@pytest.mark.parametrize("server", [[], ["--server", "8080"]])
def test_a_configuration_with_problems_tells_each_on_a_line(
    tmp_path: Path, server: list[str]
) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text("prot: 1\nlog_level: loud\n")
    for check in ([], ["--check-config"]):
        ended = natd(tmp_path, *server, "--config", str(file), *check)
        assert ended.returncode == 78
        first, second = ended.stderr.splitlines()
        assert first.startswith(f"natd: {file}:1: prot: unknown key")
        assert second.startswith(f"natd: {file}:2: log_level: expected debug")


def test_a_secret_that_others_may_read_is_configuration(tmp_path: Path) -> None:
    (tmp_path / "demo.secret").write_text("hunter2")
    (tmp_path / "demo.secret").chmod(0o644)
    file = tmp_path / "natd.yaml"
    file.write_text("networks: {demo: {servers: ['127.0.0.1:9'], secret_file: demo.secret}}\n")
    ended = natd(tmp_path, "--config", str(file))
    assert ended.returncode == 78
    assert ended.stderr.count("\n") == 1
    assert "its mode is 0644: chmod 600 it" in ended.stderr
    assert "hunter2" not in ended.stderr


def test_a_missing_configuration_is_an_error_only_where_it_was_named(tmp_path: Path) -> None:
    ended = natd(tmp_path, "--config", "/nope.yaml", "--check-config")
    assert (ended.returncode, ended.stderr) == (78, "natd: /nope.yaml: there is no such file\n")
    ended = natd(tmp_path, "--check-config", NATD_CONFIG="/nope.yaml")
    assert ended.returncode == 78
    ended = natd(tmp_path, "--check-config")
    assert ended.returncode == 0
    assert "the defaults are used" in ended.stdout
    assert ended.stderr == ""


def test_a_good_configuration_is_said_to_be_good(tmp_path: Path) -> None:
    documented = Path(__file__).parents[2] / "config"
    for server, name in ([], "natd.yaml"), (["--server", "8080"], "server.yaml"):
        ended = natd(tmp_path, *server, "--check-config", "--config", str(documented / name))
        assert (ended.returncode, ended.stderr) == (0, "")
        assert ended.stdout == f"{documented / name}: good\n"


def test_a_variable_with_a_mistake_is_configuration_and_named(tmp_path: Path) -> None:
    ended = natd(tmp_path, NATD_PORT="x")
    assert ended.returncode == 78
    assert ended.stderr.startswith("natd: NATD_PORT: expected a whole number")


def test_help_and_version_load_nothing_heavy(tmp_path: Path) -> None:
    for flag in ("--help", "--version"):
        assert natd(tmp_path, flag).returncode == 0
    probe = (
        "import sys; sys.argv = ['natd', '--version']; import natd.__main__ as m; m.run(); "
        "heavy = {'qh3', 'zmq', 'yaml', 'cryptography', 'asyncio', 'sqlite3'} & set(sys.modules); "
        "sys.exit(repr(heavy) if heavy else 0)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.stderr == ""


def test_a_directory_that_can_not_be_written_is_told(tmp_path: Path) -> None:
    for flag in ("--state-dir", "--runtime-dir"):
        ended = natd(tmp_path, flag, "/proc/natd")
        assert ended.returncode == 1
        assert ended.stderr.count("\n") == 1
        assert ended.stderr.startswith("natd: the directory /proc/natd can't be made")
        assert flag in ended.stderr


def test_a_runtime_directory_with_too_long_a_path_is_told(tmp_path: Path) -> None:
    ended = natd(tmp_path, "--runtime-dir", str(tmp_path / ("d" * 100)))
    assert ended.returncode == 1
    assert "at most 107 are possible" in reason(ended)
    assert "--runtime-dir" in reason(ended)


def test_a_port_in_use_is_told(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as taken:
        taken.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        taken.bind(("::", 0))
        port = str(taken.getsockname()[1])
        ended = natd(tmp_path, "--port", port)
        assert ended.returncode == 1
        assert port in reason(ended)
        ended = natd(tmp_path, "--server", port)
        assert ended.returncode == 1
        assert port in reason(ended)


def test_a_daemon_starts_answers_and_stops_within_two_seconds(tmp_path: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        with running(tmp_path) as daemon:
            with Connection(tmp_path / "run/control.sock") as connection:
                status = connection.request("status")
            assert status["pid"] == daemon.pid
            assert stopped(daemon, number) == 0


def test_a_second_daemon_on_either_directory_is_told_the_first_ones_pid(tmp_path: Path) -> None:
    with running(tmp_path) as first:
        for flag in ("--state-dir", "--runtime-dir"):
            ended = natd(tmp_path, flag, str(tmp_path / "other"))
            assert ended.returncode == 1
            assert f"another natd (pid {first.pid})" in reason(ended)
            assert "natctl shutdown" in reason(ended)
        assert stopped(first, signal.SIGTERM) == 0


def test_a_daemon_that_was_killed_leaves_no_obstacle(tmp_path: Path) -> None:
    with running(tmp_path) as first:
        first.kill()
        first.wait()
    assert (tmp_path / "run/control.sock").exists()
    with running(tmp_path) as second:
        assert stopped(second, signal.SIGTERM) == 0


def test_a_hang_up_signal_reloads_and_a_bad_file_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "natd.yaml"
    file.write_text("limits: {history_days: 3}\n")
    with running(tmp_path, "--config", str(file)) as daemon:
        file.write_text("limits: {history_days: 4}\n")
        daemon.send_signal(signal.SIGHUP)
        wait_until(lambda: shown(tmp_path)["limits"]["history_days"] == 4)
        file.write_text("limits: {history_days: x}\n")
        daemon.send_signal(signal.SIGHUP)
        daemon.send_signal(signal.SIGHUP)
        wait_until(lambda: "history_days: expected" in log_of(tmp_path))
        assert shown(tmp_path)["limits"]["history_days"] == 4
        assert stopped(daemon, signal.SIGTERM) == 0


def test_a_server_starts_and_stops_within_two_seconds(tmp_path: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        with notified(tmp_path, "--server", str(free_ports(4))) as server:
            assert stopped(server, number) == 0


@contextmanager
def running(directory: Path, *arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A peer daemon that answers; killed at the end if it is still there."""
    with started(directory, *arguments) as daemon:
        wait_until(lambda: daemon.poll() is not None or answers(directory))
        assert daemon.poll() is None, log_of(directory)
        yield daemon


@contextmanager
def notified(directory: Path, *arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A natd that has sent READY=1 to its service manager."""
    path = directory / "notify.sock"
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(START_LIMIT_S)
        with started(directory, *arguments, NOTIFY_SOCKET=str(path)) as daemon:
            while b"READY=1" not in manager.recv(4096):
                pass
            yield daemon


@contextmanager
def started(
    directory: Path, *arguments: str, **environ: str
) -> Iterator["subprocess.Popen[bytes]"]:
    with (
        (directory / "log").open("ab") as log,
        processes.started(
            [sys.executable, "-m", "natd", *arguments],
            stderr=log,
            env=environment(directory) | environ,
        ) as daemon,
    ):
        yield daemon


def natd(directory: Path, *arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    """Run one that is expected to end by itself."""
    return subprocess.run(
        [sys.executable, "-m", "natd", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=environment(directory) | environ,
    )


def environment(directory: Path) -> dict[str, str]:
    """Of a user who never used natd, whose directories are in the test's."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    return kept | {
        "HOME": str(directory),
        "NATD_STATE_DIR": str(directory / "state"),
        "NATD_RUNTIME_DIR": str(directory / "run"),
        "NATD_PATHS_PORT_MAPPING": "false",
    }


def reason(ended: "subprocess.CompletedProcess[str]") -> str:
    """The last line: what was logged on the way there comes before it."""
    return ended.stderr.splitlines()[-1]


def stopped(daemon: "subprocess.Popen[bytes]", number: signal.Signals) -> int:
    daemon.send_signal(number)
    return daemon.wait(STOP_LIMIT_S)


def answers(directory: Path) -> bool:
    try:
        with Connection(directory / "run/control.sock") as connection:
            connection.request("identity")
    except UnreachableError:
        return False
    return True


def shown(directory: Path) -> dict[str, dict[str, int]]:
    with Connection(directory / "run/control.sock") as connection:
        config: dict[str, dict[str, int]] = connection.request("config_show")["config"]
    return config


def log_of(directory: Path) -> str:
    return (directory / "log").read_text()


def wait_until(condition: object) -> None:
    limit = time.monotonic() + START_LIMIT_S
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < limit
        time.sleep(0.02)
