"""A node of today and one of protocol version 1 do not talk, and each is told why.

The earlier version is taken from the repository's history, under another package name, with the
shell that its own tests drove it by; both stand on today's virtual internet.
"""

import importlib
import io
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from natd.core.base import events
from tests.core.world.village import KEY, Village
from tests.internet.nat import PORT_RESTRICTED

ROOT = Path(__file__).resolve().parents[3]

EARLIER = "88ba9a823085ad2b58a77d36e9154c3533e694d2"
"""The last commit before the wings: version 0.1."""

PACKAGE = "natd_of_version_0_1"


def test_a_peer_is_told_that_the_server_speaks_an_earlier_version(old: Any) -> None:
    village, today, _ = _both(old)
    server = importlib.import_module(f"{PACKAGE}.core.coordinator")
    seat = village.internet._attached[village.server_host]
    seat.core = server.Coordinator(bytes(16), Random(1))
    today.start()
    assert village.internet.run_until(lambda: today.attached.events_of(events.ServerLost), 1.0)
    [lost, *_] = today.attached.events_of(events.ServerLost)
    assert "an older version of natd" in lost.reason
    assert "update" in lost.reason


def test_a_peer_of_an_earlier_version_is_told_so_by_the_server(old: Any) -> None:
    village, _, earlier = _both(old)
    earlier.start()
    village.internet.run(1.0)
    [lost, *_] = [e for _, e in earlier.attached.events if type(e).__name__ == "ServerLost"]
    assert "version" in lost.reason


def test_the_two_cost_each_other_no_packet_and_no_error(old: Any) -> None:
    village, today, earlier = _both(old)
    today.start()
    earlier.start()
    village.internet.run(60.0)
    assert not today.connected
    assert not earlier.connected
    assert today.membership.peers == {}


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The shell of the earlier version's tests, over its cores."""
    wanted = ("natd/__init__.py", "natd/core", "tests/core/village.py")
    try:
        archive = _git("archive", "--format=tar", EARLIER, "--", *wanted)
    except FileNotFoundError:
        pytest.skip("git is not installed")
    if archive.returncode != 0 and _git("fetch", "--quiet", "--unshallow").returncode == 0:
        archive = _git("archive", "--format=tar", EARLIER, "--", *wanted)
    if archive.returncode != 0:
        said = archive.stderr.decode(errors="replace").strip()
        pytest.skip(f"the repository's history does not reach back to {EARLIER[:7]}: {said}")
    root = tmp_path_factory.mktemp("earlier")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        for member in files.getmembers():
            if member.isfile() and (content := files.extractfile(member)) is not None:
                _write_renamed(root, member.name, content.read().decode())
    sys.path.insert(0, str(root))
    try:
        yield importlib.import_module(f"{PACKAGE}.village")
    finally:
        sys.path.remove(str(root))
        for name in [name for name in sys.modules if name.split(".")[0] == PACKAGE]:
            del sys.modules[name]


def _git(*arguments: str) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        ("git", "-C", str(ROOT), *arguments), check=False, capture_output=True, timeout=120
    )


def _write_renamed(root: Path, name: str, source: str) -> None:
    """As a part of `PACKAGE`, on today's virtual internet."""
    path = root / re.sub(r"^(natd|tests/core)/", f"{PACKAGE}/", name)
    path.parent.mkdir(parents=True, exist_ok=True)
    source = re.sub(r"\bnatd\.core\b", f"{PACKAGE}.core", source)
    source = re.sub(r"\bfrom natd import\b", f"from {PACKAGE} import", source)
    source = re.sub(r"\btests\.(fabric|nat|net)\b", r"tests.internet.\1", source)
    # Today's internet asks this of a datagram; the earlier version had no such packets.
    source = source.replace(
        "    ttl: int | None = None\n", "    ttl: int | None = None\n    is_strict = False\n", 1
    )
    path.write_text(source, encoding="utf-8")


def _both(old: Any) -> tuple[Village, Any, Any]:
    """One of today and one of the earlier version."""
    village = Village(seed=3)
    internet = village.internet
    today = village.member("today", internet.add_nat(PORT_RESTRICTED))
    earlier = old.Member(village, "earlier", internet.add_nat(PORT_RESTRICTED), KEY, 40001)
    return village, today, earlier
