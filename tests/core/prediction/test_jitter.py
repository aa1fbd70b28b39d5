"""Two NATs that count their ports up, where packets overtake one another: the newcomer is
introduced before all servers' ports have shown what its NAT does."""

from dataclasses import replace
from statistics import median

import pytest

from tests.core.world.village import Village
from tests.internet.fabric import Weather
from tests.internet.nat import SYMMETRIC_SEQUENTIAL

SEEDS = 11
LOADED = replace(SYMMETRIC_SEQUENTIAL, taken_share=0.3)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("jitter_s", [0.003, 0.010])
def test_two_sequences_meet_in_their_first_round_in_spite_of_jitter(stride, jitter_s):
    policy = replace(LOADED, stride=stride)
    assert median(_took_s(policy, jitter_s, seed) for seed in range(SEEDS)) <= 1.2


def _took_s(policy, jitter_s, seed):
    village = Village(seed, Weather(jitter_s=jitter_s))
    alice, bob = (
        village.member(name, village.internet.add_nat(policy)) for name in ("alice", "bob")
    )
    alice.start()
    village.internet.run(3.0)
    began = village.internet.now
    bob.start()
    bob.send("hello")
    assert village.internet.run_until(lambda: alice.texts() == ["hello"], 15.0)
    return village.internet.now - began
