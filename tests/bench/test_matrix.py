"""The matrix in small: every cell of the virtual internet yields what the table wants."""

from dataclasses import replace

import pytest

from tests.bench.figures import fewest, summarise
from tests.bench.matrix import secret
from tests.bench.rows import ROWS
from tests.bench.virtual_matrix import play

SEEDS = 5

MOST_PACKETS_A_SECOND = 500
"""An escalation's budget, and what else is said beside it: checks, sessions, server."""

MOST_IDLE_A_MINUTE = 20
"""A check and its answer each 15 s on the path in use and on a standby, where there is one, and
some to learn for how much longer the NATs keep a flow."""

MOST_ENTRIES = 2_048

HARD_ROWS = [
    "birthday",
    "birthday by address",
    "sequence",
    "two sequences",
    "block",
    "two blocks, full",
    "block and sequence, full",
]

CELLS = [cell for row in ROWS for cell in row.cells]


HARD = [next(c for c in CELLS if c.row == row) for row in HARD_ROWS]
"""A cell of each row in which ports are guessed."""


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_every_cell_yields_what_the_table_wants_in_an_open_network(cell):
    runs = [play(cell, seed) for seed in range(SEEDS)]
    figures = summarise(cell, "virtual", runs)
    if cell.wants_verdict:
        assert (figures.direct, figures.verdicts) == (0, SEEDS), figures
    else:
        assert figures.direct >= fewest(cell.target.share, SEEDS), figures
    assert figures.packets_a_second <= MOST_PACKETS_A_SECOND
    if cell.target.within_s < 60.0:
        assert figures.entries <= MOST_ENTRIES, "of one attempt"


@pytest.mark.parametrize("cell", secret(HARD), ids=lambda cell: cell.name)
def test_a_secret_takes_no_hard_pair_apart(cell):
    runs = [play(cell, seed) for seed in range(SEEDS)]
    assert summarise(cell, "virtual", runs).direct >= fewest(cell.target.share, SEEDS)


@pytest.mark.parametrize("cell", [c for row in ROWS for c in row.early_cells], ids=lambda c: c.name)
def test_one_early_packet_keeps_nobody_apart(cell):
    assert all(play(cell, seed).took_s is not None for seed in range(2))


@pytest.mark.parametrize(
    "name",
    [
        "easy: port-restricted x port-restricted",
        "birthday: random x port-restricted",
        "sequence: port-restricted x sequential",
        "block: block x port-restricted",
        "PCP: random with PCP x random with PCP",
    ],
)
def test_a_pair_that_has_met_is_quiet(name):
    cell = next(c for c in CELLS if c.name == name)
    idle = play(cell, 1, looks_at_rest=True).idle_a_minute
    assert idle is not None
    assert idle <= MOST_IDLE_A_MINUTE


@pytest.mark.parametrize(
    "changes",
    [
        {"delay_s": 0.005},
        {"delay_s": 0.060},
        {"hops": 1},
        {"hops": 7},
        {"more_jitter_s": 0.010},
        {"settled_s": 20.0},
    ],
    ids=str,
)
@pytest.mark.parametrize("row", ["easy", *HARD_ROWS])
def test_the_distance_between_the_two_keeps_nobody_apart(row, changes):
    cell = replace([c for c in CELLS if c.row == row][-1], **changes)
    took = [run.took_s for run in (play(cell, seed) for seed in range(3))]
    assert sum(took_s is not None for took_s in took) >= 2, cell.name


def test_the_same_seed_plays_the_same_run():
    cell = next(c for c in CELLS if c.row == "birthday")
    assert play(cell, 3) == play(cell, 3) != play(cell, 4)
