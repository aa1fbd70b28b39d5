"""What the service manager hears from us."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from natd.host.notify import Notifier


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(2)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield listener


@pytest.fixture
def notifier(manager: socket.socket) -> Iterator[Notifier]:
    notifier = Notifier()
    yield notifier
    notifier.close()


def test_without_a_service_manager_nothing_is_said_and_nothing_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    monkeypatch.setenv("WATCHDOG_USEC", "1000000")
    notifier = Notifier()
    notifier.ready()
    notifier.status("fine")
    notifier.stopping()
    assert notifier.watchdog_interval_s is None


def test_each_step_of_life_is_one_datagram(manager: socket.socket, notifier: Notifier) -> None:
    notifier.ready()
    notifier.watchdog()
    notifier.stopping()
    assert [manager.recv(999) for _ in range(3)] == [b"READY=1", b"WATCHDOG=1", b"STOPPING=1"]


def test_reloading_carries_the_monotonic_clock_in_microseconds(
    manager: socket.socket, notifier: Notifier
) -> None:
    notifier.reloading()
    first, second = manager.recv(999).decode().split("\n")
    assert first == "RELOADING=1"
    assert second.startswith("MONOTONIC_USEC=")
    assert int(second.partition("=")[2]) > 0


def test_a_status_is_one_ascii_line_and_never_forges_another_field(
    manager: socket.socket, notifier: Notifier
) -> None:
    notifier.status("peer Zoë 💬\nREADY=1")
    assert manager.recv(999) == b"STATUS=peer Zo? ? READY=1"


def test_the_same_status_is_told_once(manager: socket.socket, notifier: Notifier) -> None:
    notifier.status("one")
    notifier.status("one")
    notifier.status("two")
    assert [manager.recv(999) for _ in range(2)] == [b"STATUS=one", b"STATUS=two"]


def test_the_watchdog_is_fed_well_within_its_limit_and_only_by_the_watched_process(
    notifier: Notifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "10000000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    interval = notifier.watchdog_interval_s
    assert interval is not None
    assert 1 < interval <= 5
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    assert notifier.watchdog_interval_s == interval
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert notifier.watchdog_interval_s is None
