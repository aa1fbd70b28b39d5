"""Two NATs with port blocks that may be filled: how soon they meet, whatever their blocks are."""

from dataclasses import replace

import pytest

from tests.core.prediction.test_hard_pairs import Pair
from tests.internet.nat import SYMMETRIC_BLOCK, NatPolicy

SEEDS = 11
WITHIN_S = 60.0


def block(low: int, size: int, *, lends_ports: bool = False) -> NatPolicy:
    """The first `size` ports from `low` on."""
    return replace(
        SYMMETRIC_BLOCK,
        port_range=(low, low + size - 1),
        block_size=size,
        block_aligned=False,
        lends_ports=lends_ports,
    )


@pytest.mark.parametrize(
    ("left", "right", "median_s", "least"),
    [
        pytest.param(block(20480, 512), block(20480, 512), 2.2, 10, id="512-512"),
        pytest.param(block(20000, 512), block(33333, 512), 2.4, 9, id="not-aligned"),
        pytest.param(block(1024, 64), block(65472, 64), 1.3, 8, id="64-64"),
        pytest.param(block(65024, 512), block(1024, 128), 2.2, 9, id="512-128"),
        pytest.param(block(40960, 1024), block(20480, 256), 3.0, 9, id="1024-256"),
        pytest.param(block(20480, 512), block(40960, 2048), 4.0, 9, id="512-2048"),
    ],
)
def test_half_of_the_pairs_of_filled_blocks_have_met_in_four_seconds(left, right, median_s, least):
    for policies in ((left, right), (right, left)):
        times = times_of(*policies)
        assert sorted(times)[SEEDS // 2] <= median_s
        assert sum(time_s < WITHIN_S for time_s in times) >= least


def test_a_block_whose_ports_are_lent_to_several_flows_is_drawn_from_again_and_again():
    """The spray takes the port that matters by chance only: each socket is another chance."""
    lent = block(20480, 512, lends_ports=True)
    times = times_of(lent, lent)
    assert sum(time_s <= 5.0 for time_s in times) >= 9
    assert sorted(times)[SEEDS // 2] <= 3.0


def times_of(left: NatPolicy, right: NatPolicy) -> list[float]:
    pairs = [Pair(left, right, seed, fill_blocks="full") for seed in range(SEEDS)]
    times = [pair.meet(WITHIN_S) or WITHIN_S for pair in pairs]
    for pair in pairs:
        pair.assert_packets_within_budget()
    return times
