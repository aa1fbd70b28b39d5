"""A disk that takes its time: what waits for it, and what does not."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from natd.storage.store import FILE_NAME
from tests.processes import Daemon, Server, free_ports, until

MEETING_LIMIT_S = 45.0
"""They ask the server every 15 s at least, and the machine may be busy."""


def test_a_session_does_not_wait_for_the_disk_and_what_is_said_in_it_does(tmp_path: Path) -> None:
    port = free_ports(4)
    with Daemon(tmp_path / "alice") as alice, Daemon(tmp_path / "bob") as bob:
        for name, daemon in (("alice", alice), ("bob", bob)):
            daemon.join("demo", f"127.0.0.1:{port}", name)
            daemon.request("send", network="demo", text=f"from {name}")
        with (
            _busy_disk(alice),
            _busy_disk(bob),
            Server(tmp_path / "server", port),
        ):
            until(lambda: _is_online(alice) and _is_online(bob), MEETING_LIMIT_S)
            assert alice.texts() == bob.texts() == []
        until(lambda: bob.texts() == ["from alice"], MEETING_LIMIT_S)
        until(lambda: alice.texts() == ["from bob"], MEETING_LIMIT_S)


@contextlib.contextmanager
def _busy_disk(daemon: Daemon) -> Iterator[None]:
    """Somebody else writes into the daemon's database all the time."""
    connection = sqlite3.connect(daemon.directory / FILE_NAME, isolation_level=None, timeout=20.0)
    with contextlib.closing(connection):
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


def _is_online(daemon: Daemon) -> bool:
    peers = daemon.request("peers", network="demo")["peers"]
    return [peer["state"] for peer in peers] == ["online"]
