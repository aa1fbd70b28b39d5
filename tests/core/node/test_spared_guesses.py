"""What a resident knows of its NAT's filter spares a newcomer with a hard NAT most of the guessing.

The limits are between the figures of tests/bench/README.md and those of a resident that knows
nothing of its filter yet.
"""

import pytest

from natd.core.base.types import Filtering
from natd.core.keys.secrets import network_key
from tests.core.world.village import Village
from tests.internet.nat import (
    ADDRESS_RESTRICTED,
    FULL_CONE,
    PORT_RESTRICTED,
    SYMMETRIC_BLOCK,
    SYMMETRIC_RANDOM,
    NatPolicy,
)

KEY = network_key("demo", b"0123456789abcdef")
"""Of a secret network: under an open one nothing is guessed."""

SETTLED_S = 20.0
FIRST_SECOND_S = 1.0


@pytest.mark.parametrize("resident", [FULL_CONE, ADDRESS_RESTRICTED])
@pytest.mark.parametrize(
    ("newcomer", "entries", "packets"), [(SYMMETRIC_RANDOM, 10, 60), (SYMMETRIC_BLOCK, 20, 70)]
)
def test_a_newcomer_is_let_in_at_once_and_takes_few_ports_of_its_nat(
    resident: NatPolicy, newcomer: NatPolicy, entries: int, packets: int
) -> None:
    """One server, so that the two filters can't be told apart: there is no need to."""
    for seed in range(5):
        took_s, made, sent = meet(seed, resident, newcomer, SETTLED_S)
        assert took_s < 0.21
        assert made <= entries
        assert sent <= packets


def test_a_resident_that_knows_nothing_of_its_filter_yet_costs_more() -> None:
    took_s, made, _ = meet(1, FULL_CONE, SYMMETRIC_RANDOM, 3.0)
    assert took_s < 0.21
    assert made > 40, "or the tests above tell nothing"


def test_where_the_filter_is_not_what_it_was_ports_are_guessed_after_all() -> None:
    for seed in range(5):
        took_s, made, _ = meet(seed, FULL_CONE, SYMMETRIC_RANDOM, SETTLED_S, flips=True)
        assert took_s < 15.0
        assert made > 250


def meet(
    seed: int, resident: NatPolicy, newcomer: NatPolicy, settled_s: float, *, flips: bool = False
) -> tuple[float, int, int]:
    """Seconds until the two are connected, entries of the newcomer's NAT, and packets of the
    busier of the two in the first second.  `flips`: the filter is by port when they meet."""
    village = Village(seed)
    internet = village.internet
    gateways = [internet.add_nat(policy) for policy in (resident, newcomer)]
    alice, bob = (
        village.member(name, gateway, key=KEY)
        for name, gateway in zip(("alice", "bob"), gateways, strict=True)
    )
    alice.start()
    internet.run(settled_s)
    assert (alice.nat.filtering is Filtering.UNKNOWN) == (settled_s < SETTLED_S)
    if flips:
        gateways[0].nat.policy = PORT_RESTRICTED
    began = internet.now
    trace = internet.trace = []
    bob.start()
    assert internet.run_until(lambda: alice.peer in bob.connected, 15.0)
    took_s = internet.now - began
    internet.run(FIRST_SECOND_S)
    early = [sent for sent in trace if sent.at < began + FIRST_SECOND_S]
    packets = max(sum(sent.host is member.host for sent in early) for member in (alice, bob))
    return took_s, gateways[1].nat.entries_made, packets
