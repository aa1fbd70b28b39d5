"""Every pair of NATs that must be traversed is, 20 times of 20: real nodes, virtual time.

The pairs are those of the first row in tests/bench/README.md; loss strikes every packet, the
server's too.  A run that fails prints its seed, and the seed replays it.
"""

from dataclasses import replace
from itertools import combinations_with_replacement

import pytest

from tests.core.world.village import Village
from tests.internet.fabric import Weather
from tests.internet.nat import (
    ADDRESS_RESTRICTED,
    FULL_CONE,
    LINUX,
    LINUX_ACCEPTING,
    PORT_RESTRICTED,
    Hairpin,
)

RUNS = 20

EASY = {
    "open": None,
    "full-cone": FULL_CONE,
    "address-restricted": ADDRESS_RESTRICTED,
    "port-restricted": PORT_RESTRICTED,
    "linux": LINUX,
}

LOSSES = (0.0, 0.05)

LIMIT_S = 12.0
"""Lost packets are sent again; who has not met after this long has failed."""


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("pair", list(combinations_with_replacement(EASY, 2)), ids=" x ".join)
def test_every_pair_meets_directly_20_times_of_20(pair, loss):
    for seed in range(RUNS):
        village = Village(seed, Weather(loss=loss, jitter_s=0.002))
        internet = village.internet
        # Who was there first takes turns: the newcomer dials, so the roles differ.
        names = pair if seed % 2 else pair[::-1]
        policies = [EASY[name] for name in names]
        nats = [internet.add_nat(policy) if policy else None for policy in policies]
        meet(village, *nats)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("hairpin", [Hairpin.NONE, Hairpin.EXTERNAL_SOURCE])
def test_two_behind_one_lan_meet_20_times_of_20(hairpin, loss):
    for seed in range(RUNS):
        village = Village(seed, Weather(loss=loss, jitter_s=0.002))
        nat = village.internet.add_nat(replace(PORT_RESTRICTED, hairpin=hairpin))
        meet(village, nat, nat)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("policy", [PORT_RESTRICTED, LINUX], ids=["port-restricted", "linux"])
def test_two_layers_of_nat_on_both_sides_are_traversed_20_times_of_20(policy, loss):
    for seed in range(RUNS):
        village = Village(seed, Weather(loss=loss, jitter_s=0.002))
        internet = village.internet
        homes = [
            internet.add_nat(policy, internet.add_nat(policy, lan=f"100.64.{number}"))
            for number in range(2)
        ]
        meet(village, *homes)


@pytest.mark.parametrize("jitter_s", [0.0, 0.02])
def test_linux_with_an_accepting_input_on_both_sides_is_traversed_20_times_of_20(jitter_s):
    for seed in range(RUNS):
        village = Village(seed, Weather(jitter_s=jitter_s))
        nats = [village.internet.add_nat(LINUX_ACCEPTING) for _ in range(2)]
        meet(village, *nats)


def meet(village, resident_nat, newcomer_nat):
    """Bob comes to alice and speaks; both are answered, and a path is in use."""
    internet = village.internet
    alice = village.member("alice", resident_nat)
    bob = village.member("bob", newcomer_nat, port=40001)
    alice.start()
    internet.run(2.0)
    bob.start()
    bob.send("hello")
    came = internet.run_until(lambda: alice.texts() == ["hello"], LIMIT_S)
    assert came, f"seed {village.seed}: no message; alice {alice.verdicts}, bob {bob.verdicts}"
    alice.send("welcome")
    came = internet.run_until(lambda: bob.texts() == ["welcome"], LIMIT_S)
    assert came, f"seed {village.seed}: no answer; alice {alice.verdicts}, bob {bob.verdicts}"
    online = internet.run_until(lambda: bob.is_online(alice) and alice.is_online(bob), LIMIT_S)
    assert online, f"seed {village.seed}: messages went over and yet nobody is online"
    return alice, bob


@pytest.mark.parametrize("jitter_s", [0.001, 0.004])
def test_two_accepting_routers_close_by_are_traversed_20_times_of_20(jitter_s):
    """Round trips of a millisecond: the next introduction comes before the agreed ports' turn,
    and a newcomer that knows no round trip yet escalates later than the resident."""
    for seed in range(20, 20 + RUNS):
        village = Village(seed, Weather(jitter_s=jitter_s))
        village.server_host.delay_s = 0.0003
        nats = [village.internet.add_nat(LINUX_ACCEPTING, delay_s=0.0003) for _ in range(2)]
        meet(village, *nats)


@pytest.mark.parametrize("seed", [178, 179, 279, 340, 350])
def test_two_who_come_at_the_same_time_meet_soon_though_an_introduction_is_lost(seed):
    """Introductions that cross may give the roles differently; then nobody had dialled for 8 s."""
    village = Village(seed, Weather(loss=0.05, jitter_s=0.001))
    internet = village.internet
    alice = village.member("a", internet.add_nat(PORT_RESTRICTED))
    bob = village.member("b", internet.add_nat(LINUX), port=40001)
    alice.start()
    internet.run(0.05)
    bob.start()
    assert internet.run_until(lambda: alice.is_online(bob) and bob.is_online(alice), 2.0)
