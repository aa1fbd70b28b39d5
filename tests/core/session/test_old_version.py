"""A node of today and one of protocol version 1 do not talk, and each is told why.

The earlier version is taken from the repository's history; both stand on today's virtual internet.
"""

import importlib
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from natd.core.base import events
from tests.core.world.earlier import earlier
from tests.core.world.village import KEY, Village
from tests.internet.nat import PORT_RESTRICTED

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
    village, _, before = _both(old)
    before.start()
    village.internet.run(1.0)
    [lost, *_] = [e for _, e in before.attached.events if type(e).__name__ == "ServerLost"]
    assert "version" in lost.reason


def test_the_two_cost_each_other_no_packet_and_no_error(old: Any) -> None:
    village, today, before = _both(old)
    today.start()
    before.start()
    village.internet.run(60.0)
    assert not today.connected
    assert not before.connected
    assert today.membership.peers == {}


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The shell of the earlier version's tests, over its cores."""
    root = tmp_path_factory.mktemp("earlier")
    with earlier(EARLIER, PACKAGE, village="tests/core/village.py", root=root) as village:
        yield village


def _both(old: Any) -> tuple[Village, Any, Any]:
    """One of today and one of the earlier version."""
    village = Village(seed=3)
    internet = village.internet
    today = village.member("today", internet.add_nat(PORT_RESTRICTED))
    before = old.Member(village, "earlier", internet.add_nat(PORT_RESTRICTED), KEY, 40001)
    return village, today, before
