"""Nothing is lost, doubled, reordered, forged or untruly told, whatever strikes.

The long version: `python -m tests.nemesis --seeds 1000`.
"""

import logging
from collections.abc import Iterator

import pytest

from tests.nemesis import nemesis, strikes

SEEDS = 150
AT_ONCE = 10
"""Seeds of one test: small enough to be shared out among workers."""


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """The daemons have a lot to say."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("first", range(0, SEEDS, AT_ONCE))
def test_whatever_strikes_each_message_arrives_once_in_order_and_is_truly_told(first: int) -> None:
    for seed in range(first, first + AT_ONCE):
        outcome = nemesis.run(seed)
        again = f"python -m tests.nemesis --seeds 1 --first-seed {seed} -v"
        assert outcome.wrong == [], again


def test_a_seed_plays_again_as_it_was() -> None:
    first, second = nemesis.run(5), nemesis.run(5)
    assert first == second


TOGETHER = {
    "in a commit": {"dies_before_commit", "dies_after_commit", "killed"},
    "in bad weather": {"killed", "stops", "weather"},
    "disks that go back": {"restored", "backup", "killed", "stops"},
    "full disks": {"disk_full", "killed"},
}
"""Strikes that meet one defence each: without it a few of these seeds fail."""


@pytest.mark.parametrize("kinds", TOGETHER)
def test_strikes_that_belong_together_do_no_harm(kinds: str) -> None:
    for seed in range(8):
        assert nemesis.run(seed, only=frozenset(TOGETHER[kinds])).wrong == [], seed


@pytest.mark.parametrize("kind", strikes.names())
def test_each_kind_of_strike_is_played_alone_and_does_no_harm(kind: str) -> None:
    """`backup` gives `restored` something to put back."""
    only = frozenset({kind, "backup"}) if kind == "restored" else frozenset({kind})
    played = 0
    for seed in range(20):
        outcome = nemesis.run(seed, only=only)
        assert outcome.wrong == [], (kind, seed)
        played += sum(outcome.faults.values())
        if played >= 2:
            return
    raise AssertionError(f"{kind} was played {played} times in 20 runs")
