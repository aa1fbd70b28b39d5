"""A daemon of straw at the socket that natctl finds by itself."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ipc.fake_daemon import FakeDaemon
from tests.natctl.answers import ANSWERS


@pytest.fixture
def natd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDaemon]:
    path = tmp_path / "control.sock"
    monkeypatch.setenv("NATD_SOCKET", str(path))
    with FakeDaemon(path, answers=dict(ANSWERS)) as daemon:
        yield daemon
