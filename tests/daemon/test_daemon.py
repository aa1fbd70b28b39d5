"""The peer daemon as a process: starting, refusing to, reloading, stopping, and abuse."""

import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from natd.ipc import RequestError
from natd.storage.store import FILE_NAME
from tests.processes import SOURCE, Daemon, Server, pair, started, until

JUNK_SEED = 20_261
"""Printed nowhere: the same junk each time."""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_cleanly_within_two_seconds(tmp_path: Path, number: int) -> None:
    with pair(tmp_path) as (_, alice, bob):
        alice.request("send", network="demo", text="x", wait_s=10)
        started = time.monotonic()
        assert alice.stop(number) == 0
        assert time.monotonic() - started < 2.0
        # It said goodbye: nobody has to find out by silence.
        until(lambda: bob.request("status")["networks"][0]["peers"]["connected"] == 0, 2.0)


def test_the_command_shutdown_is_answered_and_stops_it(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        assert daemon.request("shutdown")["stopping"] is True
        assert daemon.process is not None
        assert daemon.process.wait(5) == 0


def test_a_stop_during_the_start_is_a_stop(tmp_path: Path) -> None:
    for wait_s in (0.0, 0.1, 0.3):
        daemon = Daemon(tmp_path)
        daemon.spawn()
        time.sleep(wait_s)
        # Before Python has its handlers the signal's default holds.
        assert daemon.stop(limit_s=10) in (0, -signal.SIGTERM)


def test_a_second_daemon_on_the_same_directories_says_who_holds_them(tmp_path: Path) -> None:
    with Daemon(tmp_path) as first:
        code, text = run_natd("--state-dir", str(tmp_path), "--runtime-dir", str(tmp_path))
        assert code == 1
        assert str(first.pid) in text
        assert len(text.splitlines()) == 1
        assert first.request("identity")["id"]


def test_a_port_that_is_taken_is_told_in_one_line(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as holder:
        holder.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        holder.bind(("", 0))
        port = holder.getsockname()[1]
        code, text = run_natd(*places(tmp_path), "--port", str(port))
    assert code == 1
    assert text.startswith(f"natd: UDP port {port} can't be used: Address already in use")
    assert "--port" in text


def test_the_port_is_kept_across_restarts_and_given_up_when_it_is_taken(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        first = udp_port(daemon)
        daemon.stop()
        daemon.start()
        assert udp_port(daemon) == first
        daemon.stop()
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as holder:
            holder.bind(("", first))
            daemon.start()
            assert udp_port(daemon) != first


@pytest.mark.parametrize("damage", ["not a database", "half a page"])
def test_a_store_that_can_not_be_read_is_refused_and_left_as_it_is(
    tmp_path: Path, damage: str
) -> None:
    with Daemon(tmp_path) as daemon:
        daemon.stop()
    file = tmp_path / FILE_NAME
    file.write_bytes(
        b"SQLite? no" * 1000 if damage == "not a database" else file.read_bytes()[:999]
    )
    before = file.read_bytes()
    code, text = run_natd(*places(tmp_path))
    assert code == 1
    assert FILE_NAME in text
    assert len(text.splitlines()) == 1
    assert file.read_bytes() == before


def test_an_identity_that_others_can_read_is_refused_and_never_made_anew(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        daemon.stop()
    key = tmp_path / "identity.key"
    seed = key.read_bytes()
    key.chmod(0o644)
    code, text = run_natd(*places(tmp_path))
    assert code == 1
    assert "chmod 600" in text
    assert key.read_bytes() == seed


def test_state_is_for_its_owner_alone(tmp_path: Path) -> None:
    with Daemon(tmp_path / "private") as daemon:
        for path in (daemon.directory, *daemon.directory.iterdir()):
            if path.name != "log":
                assert path.stat().st_mode & 0o077 == 0, path


def test_a_disk_without_room_refuses_sends_and_acknowledges_nothing(tmp_path: Path) -> None:
    with pair(tmp_path) as (_, alice, bob):
        with sqlite3.connect(bob.directory / FILE_NAME) as connection:
            connection.execute(
                "CREATE TRIGGER full BEFORE INSERT ON messages "
                "BEGIN SELECT RAISE(FAIL, 'database or disk is full'); END"
            )
        connection.close()
        with pytest.raises(RequestError) as caught:
            bob.request("send", network="demo", text="refused")
        assert caught.value.code == "storage"
        assert "full" in str(caught.value)
        alice.request("send", network="demo", text="not now")
        time.sleep(0.5)
        assert alice.request("status")["networks"][0]["queued"] == 1
        assert bob.request("identity")["id"]


def test_a_good_configuration_is_taken_at_sighup_and_a_bad_one_is_not(tmp_path: Path) -> None:
    file = tmp_path / "natd.yaml"
    with Server(tmp_path / "server") as server:
        file.write_text("nick: alice\n")
        with Daemon(tmp_path / "alice", "--config", str(file)) as alice:
            assert alice.request("networks")["networks"] == []
            file.write_text(f"nick: alice\nnetworks:\n  demo: {{servers: ['{server.address}']}}\n")
            os.kill(alice.pid, signal.SIGHUP)
            until(lambda: len(alice.request("networks")["networks"]) == 1)
            file.write_text("nick: [\n")
            os.kill(alice.pid, signal.SIGHUP)
            until(lambda: "old configuration stays" in alice.log)
            assert [n["name"] for n in alice.request("networks")["networks"]] == ["demo"]
            with pytest.raises(RequestError) as caught:
                alice.request("reload")
            assert caught.value.code == "config"
            assert str(file) in str(caught.value)
            file.write_text("nick: alice\n")
            assert alice.request("reload")["changed"] == ["networks.demo"]
            assert alice.request("networks")["networks"] == []


def test_a_configured_network_is_joined_at_the_start(tmp_path: Path) -> None:
    with Server(tmp_path / "server") as server:
        file = tmp_path / "natd.yaml"
        secret = tmp_path / "secret"
        secret.write_text("0123456789abcdef0123456789abcdef\n")
        secret.chmod(0o600)
        file.write_text(
            f"networks:\n  demo: {{servers: ['{server.address}'], secret_file: {secret}}}\n"
        )
        daemons = [Daemon(tmp_path / nick, "--config", str(file)) for nick in ("alice", "bob")]
        with daemons[0] as alice, daemons[1] as bob:
            alice.wait()
            bob.wait()
            (network,) = alice.request("networks")["networks"]
            assert network["open"] is False


def test_a_server_that_can_not_be_resolved_is_a_problem_and_no_reason_to_end(
    tmp_path: Path,
) -> None:
    with Daemon(tmp_path) as daemon:
        daemon.join("demo", "no-such-host.invalid:8080", "alice")
        until(lambda: daemon.request("status")["problems"] != [])
        (problem,) = daemon.request("status")["problems"]
        assert problem["code"] == "unresolvable"
        assert "no-such-host.invalid" in problem["text"]
        reply = daemon.request("send", network="demo", text="kept until somebody is there")
        assert reply["accepted"] is True


def test_junk_of_every_first_byte_harms_nothing(tmp_path: Path) -> None:
    junk = random.Random(JUNK_SEED)
    with pair(tmp_path) as (_, alice, bob):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as source:
            target = ("127.0.0.1", udp_port(bob))
            for first in range(256):
                for size in (0, 1, 19, 200, 1200):
                    source.sendto(bytes([first]) + junk.randbytes(size), target)
            source.sendto(b"", target)
            source.settimeout(0.3)
            with pytest.raises(TimeoutError):
                source.recv(2048)
        alice.request("send", network="demo", text="unharmed", wait_s=10)
        assert bob.texts() == ["unharmed"]
        assert "Traceback" not in bob.log


def test_the_service_manager_is_told_when_it_is_ready_reloads_and_stops(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(10)
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "NATD_PATHS_PORT_MAPPING": "false",
            "NATD_PATHS_LAN_DISCOVERY": "false",
            "NOTIFY_SOCKET": str(tmp_path / "notify"),
            "WATCHDOG_USEC": "500000",
        }
        with started(
            [sys.executable, "-m", "natd", *places(tmp_path)],
            cwd=SOURCE,
            env=environ,
            stderr=subprocess.DEVNULL,
        ) as natd:
            assert manager.recv(999) == b"READY=1"
            beats = [manager.recv(999) for _ in range(4)]
            assert beats.count(b"WATCHDOG=1") >= 3
            assert any(beat.startswith(b"STATUS=0 networks") for beat in beats)
            natd.send_signal(signal.SIGHUP)
            heard: list[bytes] = []
            while not heard or heard[-1] != b"READY=1":
                heard.append(manager.recv(999))
            assert any(text.startswith(b"RELOADING=1\nMONOTONIC_USEC=") for text in heard)
            natd.send_signal(signal.SIGTERM)
            while manager.recv(999) != b"STOPPING=1":
                pass
            assert natd.wait(5) == 0


def test_an_idle_daemon_fits_into_64_mib(tmp_path: Path) -> None:
    with pair(tmp_path) as (_, alice, _):
        assert alice.memory_mib() <= 64.0


def run_natd(*arguments: str) -> tuple[int, str]:
    """Exit code and stderr of a natd that should not start."""
    done = subprocess.run(
        [sys.executable, "-m", "natd", *arguments],
        cwd=SOURCE,
        capture_output=True,
        text=True,
        timeout=20,
    )
    return done.returncode, done.stderr


def places(directory: Path) -> tuple[str, ...]:
    return ("--state-dir", str(directory), "--runtime-dir", str(directory))


def udp_port(daemon: Daemon) -> int:
    return int(daemon.request("status")["self"]["udp"].rpartition(":")[2])
