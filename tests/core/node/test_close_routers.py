"""Two Linux routers with an accepting INPUT, and few routers between them or none.

A packet that comes to such a NAT before one has left for where it came from spoils that port, and
without a router between, no TTL keeps an opener from coming.
"""

from dataclasses import replace

import pytest

from tests.core.node.test_pairs import meet
from tests.core.world.village import Village
from tests.internet.fabric import Weather
from tests.internet.nat import LINUX, LINUX_ACCEPTING, LINUX_RANDOM

RUNS = 20
LIMIT_S = 3.0


@pytest.mark.parametrize("delay_s", [0.000025, 0.001])
@pytest.mark.parametrize("hops", [(0, 0), (0, 1), (1, 1), (1, 2)])
def test_accepting_routers_are_traversed_whatever_is_between(hops, delay_s):
    for seed in range(RUNS):
        meet_soon(neighbours(seed, hops, delay_s))


@pytest.mark.parametrize("accepting", [0, 1])
def test_one_router_that_accepts_and_one_that_drops_are_traversed_on_one_segment(accepting):
    for seed in range(RUNS):
        policies = [LINUX, LINUX]
        policies[accepting] = LINUX_ACCEPTING
        meet_soon(neighbours(seed, (0, 0), 0.00005, policies))


@pytest.mark.parametrize("hops", [(0, 1), (1, 1)])
def test_where_routers_refuse_options_one_router_between_is_enough(hops):
    refusing = replace(LINUX_ACCEPTING, refuses_options=True)
    for seed in range(RUNS):
        meet_soon(neighbours(seed, hops, 0.0005, (refusing, refusing)), 3 * LIMIT_S)


@pytest.mark.parametrize("hard", [0, 1])
@pytest.mark.parametrize("hops", [(0, 0), (0, 1)])
def test_a_router_that_accepts_and_one_with_random_ports_meet_whatever_is_between(hops, hard):
    """One opener that arrives spoils all that is sent after it."""
    took = []
    for seed in range(RUNS):
        policies = [LINUX_ACCEPTING, LINUX_ACCEPTING]
        policies[hard] = LINUX_RANDOM
        village, *nats = neighbours(seed, hops, 0.00005, policies)
        meet(village, *nats)
        took.append(village.internet.now - 1002.0)
    assert sorted(took)[RUNS // 2] < LIMIT_S
    assert sum(took_s < 15.0 for took_s in took) >= RUNS - 1


@pytest.mark.parametrize("hops", [0, 1, 2])
def test_two_layers_of_accepting_routers_are_traversed(hops):
    for seed in range(RUNS):
        village = Village(seed, Weather(jitter_s=0.0002))
        internet = village.internet
        village.server_host.delay_s = 0.0001
        homes = [
            internet.add_nat(
                LINUX_ACCEPTING,
                internet.add_nat(
                    LINUX_ACCEPTING,
                    lan=f"100.64.{number}",
                    delay_s=0.0001,
                    hops=(hops + number) // 2,
                ),
            )
            for number in range(2)
        ]
        meet_soon((village, *homes), 2 * LIMIT_S)


@pytest.mark.parametrize("rebooting", [(0,), (1,), (0, 1)], ids=["a", "b", "both"])
@pytest.mark.parametrize("drops", [False, True], ids=["accepting", "then dropping"])
def test_a_path_on_one_segment_is_found_again_after_routers_have_forgotten_it(rebooting, drops):
    """The packet that comes first spoils the path's ports, and every new flow of the main socket
    then shows a random port: a router that keeps ports was called random, and never met again."""
    for seed in range(RUNS):
        village, *nats = neighbours(seed, (0, 0), 0.00005)
        internet = village.internet
        alice, bob = meet(village, *nats)
        internet.run(3.0)
        for number in rebooting:
            nats[number].reboot()
        if drops:
            for nat in nats:
                nat.nat.policy = LINUX
        began = internet.now
        for sender in (alice, bob):
            sender.send("again")
        came = internet.run_until(
            lambda pair=(alice, bob): all("again" in who.texts() for who in pair), LIMIT_S
        )
        assert came, f"seed {seed}: not within {internet.now - began:.2f} s"


def neighbours(seed, hops, delay_s, policies=(LINUX_ACCEPTING, LINUX_ACCEPTING)):
    village = Village(seed, Weather(jitter_s=delay_s / 5))
    village.server_host.delay_s = delay_s
    nats = [
        village.internet.add_nat(policy, delay_s=delay_s, hops=count)
        for policy, count in zip(policies, hops, strict=True)
    ]
    return village, *nats


def meet_soon(where, limit_s=LIMIT_S):
    village, *nats = where
    meet(village, *nats)
    came_s = village.internet.now - 1000.0
    assert came_s < 2.0 + limit_s, f"seed {village.seed} took {came_s - 2.0:.2f} s"
