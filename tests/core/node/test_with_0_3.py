"""Nodes and servers of today and those of 0.3.0 go together: both speak protocol 2.

A peer of 0.3.0 tells no time when it registers, so a server of today introduces it one round trip
later.  0.3.0 is taken from the repository's history.
"""

import importlib
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from tests.core.world.earlier import earlier
from tests.core.world.village import KEY, Village
from tests.internet.nat import PORT_RESTRICTED

RELEASED = "3101afea8bbde0745d6ed6f1f192424d5771e992"
PACKAGE = "natd_of_version_0_3"


@pytest.mark.parametrize("server", ["today", "released"])
@pytest.mark.parametrize("first", ["today", "released"])
def test_the_two_meet_at_a_server_of_either_and_chat(old: Any, server: str, first: str) -> None:
    village = Village(seed=3)
    internet = village.internet
    if server == "released":
        module = importlib.import_module(f"{PACKAGE}.core.coordinator.coordinator")
        seat = internet._attached[village.server_host]
        seat.core = module.Coordinator(bytes(16), Random(1))
    today = village.member("today", internet.add_nat(PORT_RESTRICTED))
    released = old.Member(village, "released", internet.add_nat(PORT_RESTRICTED), KEY, 40001)
    places = {today: village.servers, released: [old.Address(*at) for at in village.servers]}
    resident, newcomer = (today, released) if first == "today" else (released, today)
    resident.start(places[resident])
    internet.run(5.0)
    began = internet.now
    newcomer.start(places[newcomer])
    newcomer.send("hello")
    assert internet.run_until(lambda: resident.texts() == ["hello"], 5.0)
    took_s = internet.now - began
    slow = server == "today" and first == "today"
    assert took_s < (0.35 if slow else 0.25), "a round trip more where no time is told"
    resident.send("and back", to=newcomer)
    assert internet.run_until(lambda: newcomer.texts() == ["and back"], 5.0)


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The shell of its tests, over its cores."""
    root = tmp_path_factory.mktemp("released")
    village = "tests/core/world/village.py"
    with earlier(RELEASED, PACKAGE, village=village, root=root) as module:
        yield module
