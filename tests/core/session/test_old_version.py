"""A node of today and one of an earlier version understand each other.

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
from typing import Any

import pytest

from natd.core.base import events
from natd.core.keys.card import Card, open_card
from tests.core.world.village import KEY, Village
from tests.internet.nat import PORT_RESTRICTED

ROOT = Path(__file__).resolve().parents[3]

EARLIER = "88ba9a823085ad2b58a77d36e9154c3533e694d2"
"""The last commit before the wings: version 0.1."""

PACKAGE = "natd_of_version_0_1"

LINES = 20


@pytest.mark.parametrize("old_is_first", [False, True], ids=["today's first", "earlier first"])
def test_lines_go_both_ways_in_order_and_are_acknowledged(old: Any, old_is_first: bool) -> None:
    village, today, earlier = _connected(old, old_is_first)
    for number in range(LINES):
        today.send(f"of today {number}", to=earlier)
        earlier.send(f"of earlier {number}", to=today)
        village.internet.run(0.02)

    def is_done() -> bool:
        return not today.disk.outbox[earlier.peer] and not earlier.disk.outbox[today.peer]

    assert village.internet.run_until(is_done, 10.0)
    assert earlier.texts() == [f"of today {number}" for number in range(LINES)]
    assert today.texts() == [f"of earlier {number}" for number in range(LINES)]


def test_what_was_not_acknowledged_is_said_again_on_the_next_session(old: Any) -> None:
    village, today, earlier = _connected(old)
    for one, other in ((today, earlier), (earlier, today)):
        one.kill()
        for number in range(LINES):
            other.send(f"to one who is away {number}", to=one)
        village.internet.run(2.0)
        one.start()
        assert village.internet.run_until(lambda: len(one.texts()) == LINES, 40.0)  # noqa: B023
        assert one.texts() == [f"to one who is away {number}" for number in range(LINES)]


def test_a_newer_card_is_taken_over_the_session(old: Any) -> None:
    village, today, earlier = _connected(old)
    village.kill_server()
    for one, other in ((today, earlier), (earlier, today)):
        before = _card(other, one)
        addresses = (*one.host.addresses, "192.168.77.7")
        one.node.set_local_addresses(addresses, one.port, village.internet.now)
        village.internet.run(2.0)
        after = _card(other, one)
        assert after.sequence > before.sequence
        assert "192.168.77.7" in {candidate.address.host for candidate in after.candidates}


def test_each_hears_the_others_goodbye(old: Any) -> None:
    for leaves_first, reason in enumerate(("left", "said goodbye")):
        village, *both = _connected(old)
        village.internet.run(1.0)
        leaving, staying = both[leaves_first], both[1 - leaves_first]
        attached = staying.attached
        leaving.stop()
        village.internet.run(1.0)
        gone = [e for _, e in attached.events if type(e).__name__ == "PeerDisconnected"]
        assert [event.reason for event in gone] == [reason]


def test_a_mutual_peer_of_the_earlier_version_introduces_two_of_today(old: Any) -> None:
    village, today, earlier = _connected(old)
    village.internet.run(1.0)
    today.stop()
    third = village.member("third", village.internet.add_nat(PORT_RESTRICTED))
    third.start()
    assert village.internet.run_until(lambda: earlier.peer in third.connected, 10.0)
    village.internet.run(1.0)
    village.kill_server()
    village.internet.run(60.0)
    assert today.peer not in third.disk.cards, "else the two would need nobody"
    today.start()
    assert village.internet.run_until(lambda: third.peer in today.connected, 60.0)


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
    path.write_text(source, encoding="utf-8")


def _connected(old: Any, old_is_first: bool = False) -> tuple[Village, Any, Any]:
    """One of today and one of the earlier version, in one session."""
    village = Village(seed=3)
    internet = village.internet
    today = village.member("today", internet.add_nat(PORT_RESTRICTED))
    earlier = old.Member(village, "earlier", internet.add_nat(PORT_RESTRICTED), KEY, 40001)
    first, second = (earlier, today) if old_is_first else (today, earlier)
    first.start()
    internet.run(2.0)
    second.start()

    def is_done() -> bool:
        return earlier.peer in today.connected and today.peer in earlier.connected

    assert internet.run_until(is_done, 10.0)
    assert isinstance(today.connected[earlier.peer], events.PeerConnected)
    assert not isinstance(earlier.connected[today.peer], events.PeerConnected), "of another module"
    return village, today, earlier


def _card(reader: Any, owner: Any) -> Card:
    return open_card(reader.disk.cards[owner.peer], KEY)
