"""A disk that is full, read-only, frozen, damaged or gone: refused with the reason, and alive."""

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from natd.ipc import RequestError
from tests.daemon.disks import ext4, frozen, problems, remount, shut_down, tmpfs
from tests.processes import Daemon, Server, until
from tests.requirements import requires_root

MANY = [f"{number}" for number in range(60)]


def test_a_state_directory_that_is_moved_takes_nothing_until_it_is_back(tmp_path: Path) -> None:
    with pair_on(tmp_path / "state", tmp_path) as (alice, bob):
        (tmp_path / "state").rename(tmp_path / "elsewhere")
        with pytest.raises(RequestError, match="was moved or removed"):
            bob.request("send", network="demo", text="nobody gets this")
        assert "moved or removed" in problems(bob)["storage"]
        alice.request("send", network="demo", text="waits")
        time.sleep(0.5)
        assert alice.request("status")["networks"][0]["queued"] == 1
        (tmp_path / "elsewhere").rename(tmp_path / "state")
        until(lambda: bob.texts() == ["waits"])
        until(lambda: alice.request("status")["networks"][0]["queued"] == 0)
        bob.request("send", network="demo", text="back", wait_s=10)
        assert alice.texts() == ["back"]
        assert "storage" not in problems(bob)


def test_a_state_directory_that_is_removed_leaves_the_daemon_alive_and_it_can_be_stopped(
    tmp_path: Path,
) -> None:
    with pair_on(tmp_path / "state", tmp_path) as (_, bob):
        shutil.rmtree(tmp_path / "state")
        with pytest.raises(RequestError, match="was moved or removed"):
            bob.request("send", network="demo", text="nobody gets this")
        assert "storage" in problems(bob)
        with pytest.raises(RequestError, match="can't be read"):
            bob.request("history", network="demo")
        assert bob.stop() == 0
        assert "Traceback" not in bob.log


@requires_root
def test_a_disk_that_dies_refuses_with_the_reason_and_acknowledges_nothing(tmp_path: Path) -> None:
    with ext4(tmp_path) as disk, pair_on(disk / "state", tmp_path) as (alice, bob):
        shut_down(disk)
        alice.request("send", network="demo", text="waits")
        with pytest.raises(RequestError, match=r"natd\.db"):
            bob.request("send", network="demo", text="nobody gets this")
        assert "storage" in problems(bob)
        assert bob.request("peers", network="demo")["peers"][0]["state"] == "online"
        assert alice.request("status")["networks"][0]["queued"] == 1
        assert bob.stop() == 0
        assert "Traceback" not in bob.log


@requires_root
def test_on_a_disk_that_is_read_only_natd_does_not_start_and_says_why(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "disk") as disk:
        alice = Daemon(tmp_path / "alice", "--state-dir", str(disk / "state"))
        with alice:
            alice.stop()
            remount(disk, "ro")
            assert "read-only file system" in refusal(alice)


@requires_root
def test_on_a_disk_of_one_mebibyte_nothing_that_is_accepted_or_acknowledged_is_lost(
    tmp_path: Path,
) -> None:
    with (
        tmpfs(tmp_path / "disk", "1m") as disk,
        pair_on(disk / "state", tmp_path) as (alice, bob),
    ):
        texts = [f"{number} {'x' * 15_000}" for number in range(100)]
        for text in texts:
            alice.request("send", network="demo", text=text)
        until(lambda: "storage" in problems(bob))
        with pytest.raises(RequestError, match="full"):
            bob.request("send", network="demo", text="y" * 16_000)
        left = alice.request("status")["networks"][0]["queued"]
        assert 30 < left < 100
        bob.kill()
        remount(disk, "size=16m")
        bob.start()
        until(lambda: len(bob.texts()) >= 100, 30)
        assert bob.texts() == texts


@requires_root
def test_a_disk_that_hangs_stops_neither_status_nor_the_sessions(tmp_path: Path) -> None:
    with ext4(tmp_path) as disk, pair_on(disk / "state", tmp_path) as (alice, bob):
        with frozen(disk):
            for text in MANY:
                alice.request("send", network="demo", text=text)
            until(lambda: "has not answered" in problems(bob).get("storage", ""), 20)
            begun = time.monotonic()
            with pytest.raises(RequestError, match="has not answered"):
                bob.request("send", network="demo", text="nobody gets this")
            assert bob.request("peers", network="demo")["peers"][0]["state"] == "online"
            assert bob.request("ping", network="demo", peer="alice")["rtt_ms"] < 5000
            assert time.monotonic() - begun < 5, "nothing of that waits for the disk"
            assert alice.request("status")["networks"][0]["queued"] == len(MANY)
        until(lambda: bob.texts() == MANY)
        until(lambda: "storage" not in problems(bob))


@requires_root
def test_a_daemon_whose_disk_hangs_says_goodbye_when_it_is_asked_to_stop(tmp_path: Path) -> None:
    with ext4(tmp_path) as disk, pair_on(disk / "state", tmp_path) as (alice, bob):
        with frozen(disk):
            for text in MANY:
                alice.request("send", network="demo", text=text)
            until(lambda: "storage" in problems(bob), 20)
            assert bob.process is not None
            bob.process.send_signal(signal.SIGTERM)
            until(lambda: not bob.socket.exists(), 5)
            until(lambda: not is_online(alice, "bob"), 5)
            until(lambda: "stopped without waiting for it" in bob.log, 5)
        assert bob.process.wait(10) == 0, "the kernel lets it go when the disk answers"
        bob.start()
        until(lambda: len(bob.texts()) >= len(MANY), 30)
        assert bob.texts() == MANY


def test_an_identity_without_its_database_is_one_line(tmp_path: Path) -> None:
    with Daemon(tmp_path / "alice") as alice:
        alice.stop()
        (tmp_path / "alice" / "natd.db").unlink()
        assert "natd.db is missing" in refusal(alice)
        assert "touch" in refusal(alice)


def test_a_database_without_its_identity_is_one_line(tmp_path: Path) -> None:
    with Daemon(tmp_path / "alice") as alice:
        alice.stop()
        (tmp_path / "alice" / "identity.key").unlink()
        assert "identity.key is missing" in refusal(alice)


def test_a_database_of_somebody_else_is_one_line(tmp_path: Path) -> None:
    with Daemon(tmp_path / "alice") as alice, Daemon(tmp_path / "bob") as bob:
        alice.stop()
        bob.stop()
        shutil.copy(tmp_path / "bob" / "natd.db", tmp_path / "alice" / "natd.db")
        assert "belongs to the identity" in refusal(alice)


@pytest.mark.parametrize("mib", [2, 12])
def test_a_damaged_database_is_one_line(tmp_path: Path, mib: int) -> None:
    with Daemon(tmp_path / "alice") as alice:
        alice.stop()
        grow(tmp_path / "alice" / "natd.db", mib)
        with (tmp_path / "alice" / "natd.db").open("r+b") as file:
            file.seek(4096)
            file.write(os.urandom(mib << 19))
        assert "is damaged" in refusal(alice)


def test_damage_in_a_database_too_large_to_be_looked_at_first_is_named(tmp_path: Path) -> None:
    with Daemon(tmp_path / "alice") as alice:
        alice.stop()
        grow(tmp_path / "alice" / "natd.db", 70)
        with (tmp_path / "alice" / "natd.db").open("r+b") as file:
            file.seek(40 << 20)
            file.write(os.urandom(1 << 20))
        alice.start()
        until(lambda: "is damaged" in problems(alice).get("storage-damaged", ""), 30)


def test_rows_that_are_damaged_are_named(tmp_path: Path) -> None:
    with pair_on(tmp_path / "state", tmp_path) as (_, bob):
        bob.stop()
        with contextlib.closing(sqlite3.connect(tmp_path / "state" / "natd.db")) as connection:
            connection.execute("UPDATE peers SET last_good = 'xx'")
            connection.commit()
        bob.start()
        until(lambda: "1 of peers" in problems(bob).get("storage-damaged", ""))


def is_online(daemon: Daemon, nick: str) -> bool:
    peers = daemon.request("peers", network="demo")["peers"]
    return any(peer["nick"] == nick and peer["state"] == "online" for peer in peers)


@contextlib.contextmanager
def pair_on(state: Path, directory: Path) -> Iterator[tuple[Daemon, Daemon]]:
    """Alice, and bob who keeps his state there; connected, and the server is gone."""
    with (
        Server(directory / "server") as server,
        Daemon(directory / "alice") as alice,
        Daemon(directory / "bob", "--state-dir", str(state)) as bob,
    ):
        alice.join("demo", server.address, "alice")
        bob.join("demo", server.address, "bob")
        alice.wait()
        bob.wait()
        server.kill()
        yield alice, bob


def refusal(daemon: Daemon) -> str:
    """Why it does not start: one line."""
    daemon.spawn()
    assert daemon.process is not None
    before = len(daemon.log)
    try:
        assert daemon.process.wait(20) == 1
    except subprocess.TimeoutExpired:
        raise AssertionError(f"it runs: {daemon.log}") from None
    told = daemon.log[before:] or daemon.log.splitlines()[-1]
    assert "Traceback" not in daemon.log
    return told.strip().splitlines()[-1]


def grow(path: Path, mib: int) -> None:
    sql = "INSERT INTO events (at_unix_ms, type, body, kept_at_s) VALUES (0, 'x', ?, 0)"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        for _ in range(mib):
            connection.execute(sql, ("y" * (1 << 20),))
        connection.commit()
