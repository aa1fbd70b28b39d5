"""Two behind NATs, with no server any more, of whom now one and now the other is killed."""

from random import Random

import pytest

from tests.core.world.village import KEY, Member, Village
from tests.internet.nat import PORT_RESTRICTED

BACK_S = 5.0


@pytest.mark.parametrize("seed", [2, 13, 17, 25])
def test_who_is_killed_again_and_again_is_back_each_time(seed: int) -> None:
    chance, village = Random(seed), Village(seed)
    alice, bob = (
        village.member(name, village.internet.add_nat(PORT_RESTRICTED), key=KEY, port=40001 + port)
        for port, name in enumerate(("alice", "bob"))
    )
    alice.start()
    bob.start()
    assert village.internet.run_until(lambda: _are_online(alice, bob), 10.0)
    village.internet.run(2.0)
    village.kill_server()
    village.internet.weather.loss = 0.05
    for _ in range(40):
        for _ in range(2):
            killed = chance.choice((alice, bob))
            other = bob if killed is alice else alice
            killed.kill()
            village.internet.run(0.4 + 0.3 * chance.random())
            killed.start()
            began = village.internet.now
            is_back = village.internet.run_until(
                lambda: _are_online(killed, other),  # noqa: B023
                BACK_S,
            )
            assert is_back, f"killed at {began:.1f}"
        village.internet.run(chance.random())


def _are_online(one: Member, other: Member) -> bool:
    found = one.membership.peer(other.peer, one.village.internet.now) if one.membership else None
    return found is not None and found.presence.is_online
