"""The population score is arithmetic on measured cells, and on nothing else."""

from dataclasses import replace

import pytest

from tests.bench.figures import Run, save, summarise
from tests.bench.population import (
    ACCESS,
    BLOCK,
    BLOCKED,
    HARD_SHARE,
    OPEN,
    PORT,
    RANDOM,
    main,
    measured_shares,
    population,
    score,
)
from tests.bench.rows import ROWS

CELLS = {cell.name: cell for row in ROWS for cell in row.cells}


def test_the_weights_add_up_to_all_users():
    assert sum(ACCESS.values()) == pytest.approx(1.0)
    assert sum(population().values()) == pytest.approx(1.0)


def test_the_hard_ones_are_as_many_as_was_published():
    weights = population()
    hard = sum(ACCESS[access] * share for access, share in HARD_SHARE.items())
    assert weights[RANDOM] + weights[BLOCK] == pytest.approx(hard)


def test_a_score_is_the_sum_over_all_ordered_pairs():
    weights = {OPEN: 0.2, PORT: 0.5, RANDOM: 0.2, BLOCKED: 0.1}
    shares = {
        (OPEN, OPEN): 1.0,
        (OPEN, PORT): 1.0,
        (PORT, OPEN): 0.9,
        (PORT, PORT): 0.8,
        (OPEN, RANDOM): 1.0,
        (RANDOM, OPEN): 1.0,
        (PORT, RANDOM): 0.6,
        (RANDOM, PORT): 0.5,
    }
    found = score(weights, shares)
    natted = 0.25 * 0.8 + 0.10 * 0.6 + 0.10 * 0.5
    assert found.both_behind_nat == pytest.approx(natted / 0.64)
    assert found.all_pairs == pytest.approx(0.04 + 0.10 + 0.10 * 0.9 + 0.04 + 0.04 + natted)
    assert found.missing == ()


def test_a_pair_that_nobody_measured_counts_as_never_and_is_told():
    found = score({PORT: 0.5, BLOCK: 0.5}, {(PORT, PORT): 1.0, (PORT, BLOCK): 1.0})
    assert found.all_pairs == pytest.approx(0.5)
    assert found.missing == ((BLOCK, PORT), (BLOCK, BLOCK))


def test_shares_come_from_the_measured_cells_and_the_worse_laboratory_counts():
    cell = CELLS["birthday: random x port-restricted"]
    figures = [
        summarise(cell, "virtual", [Run(1.0)] * 10),
        summarise(cell, "real", [Run(1.0)] * 9 + [Run(None)]),
        summarise(replace(cell, is_early=True), "real", [Run(None)]),
        summarise(CELLS["hopeless: random x random"], "real", [Run(None, verdict_s=1.0)]),
        summarise(CELLS["two blocks, full: block x block"], "real", [Run(1.0)]),
        summarise(CELLS["two blocks, half: block x block"], "real", [Run(1.0), Run(None)]),
        summarise(CELLS["nested: port-restricted x port-restricted"], "real", [Run(None)]),
    ]
    assert measured_shares(figures) == {(RANDOM, PORT): 0.9, (BLOCK, BLOCK): 0.5}


def test_every_pair_of_the_population_has_a_cell(tmp_path, capsys):
    figures = [summarise(cell, "virtual", [Run(0.1)]) for cell in CELLS.values()]
    path = tmp_path / "figures.json"
    save(path, figures)
    assert main([str(path)]) == 0
    assert "not measured" not in capsys.readouterr().out
