"""The population score is arithmetic on measured cells, and on nothing else."""

from dataclasses import replace

import pytest

from tests.bench.figures import Run, save, summarise
from tests.bench.population import (
    ACCESS,
    AS_PUBLISHED,
    BLOCK,
    BLOCKED,
    HARD_SHARE,
    OPEN,
    PLAIN,
    PORT,
    RANDOM,
    Inputs,
    Kind,
    Measured,
    main,
    measured,
    missed,
    population,
    score,
    told,
)
from tests.bench.rows import ROWS

CELLS = {cell.name: cell for row in ROWS for cell in row.cells}

EVERYTHING_MET = [
    summarise(cell, "virtual", [Run(None if cell.wants_verdict else 0.1)])
    for cell in CELLS.values()
]


@pytest.mark.parametrize("inputs", [PLAIN, AS_PUBLISHED, Inputs(1.0, 1.0, 0.0)])
def test_the_weights_add_up_to_all_users(inputs):
    assert sum(ACCESS.values()) == pytest.approx(1.0)
    assert sum(population(inputs).values()) == pytest.approx(1.0)


def test_the_hard_ones_are_as_many_as_was_published():
    weights = population()
    hard = sum(ACCESS[access] * share for access, share in HARD_SHARE.items())
    assert weights[Kind(RANDOM)] + weights[Kind(BLOCK)] == pytest.approx(hard)
    assert HARD_SHARE == {"home": 0.02, "fixed carrier": 0.11, "cellular": 0.40}


@pytest.mark.parametrize(("all_ports_share", "random"), [(0.0, 0.010), (0.5, 0.061), (1.0, 0.112)])
def test_who_draws_from_all_ports_is_an_input(all_ports_share, random):
    weights = population(Inputs(all_ports_share=all_ports_share))
    assert weights[Kind(RANDOM)] == pytest.approx(random)
    assert weights.get(Kind(BLOCK), 0.0) == pytest.approx(0.112 - random)


def test_a_score_is_of_the_pairs_whose_networks_let_udp_out_and_the_share_of_all_is_beside_it():
    weights = {Kind(OPEN): 0.2, Kind(PORT): 0.5, Kind(RANDOM): 0.2, Kind(BLOCKED): 0.1}
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
    found = score(weights, Measured(shares))
    natted = 0.25 * 0.8 + 0.10 * 0.6 + 0.10 * 0.5
    met = 0.04 + 0.10 + 0.10 * 0.9 + 0.04 + 0.04 + natted
    assert found.of_all == pytest.approx(met)
    assert found.direct == pytest.approx(met / 0.81)
    assert found.both_behind_nat == pytest.approx(natted / 0.49)
    assert found.unmeasured == ()


def test_what_is_missing_is_named_with_its_share_and_adds_up():
    weights = {Kind(PORT): 0.6, Kind(RANDOM): 0.3, Kind(BLOCKED): 0.1}
    shares = {(PORT, PORT): 1.0, (PORT, RANDOM): 0.9, (RANDOM, PORT): 0.8}
    found = score(weights, Measured(shares))
    assert list(found.lost) == [(RANDOM, RANDOM), (PORT, RANDOM), (PORT, PORT)]
    assert found.lost[RANDOM, RANDOM] == pytest.approx(0.09 / 0.81)
    assert found.lost[PORT, RANDOM] == pytest.approx(0.18 * 0.3 / 0.81)
    assert found.direct + sum(found.lost.values()) == pytest.approx(1.0)


def test_ipv6_helps_a_pair_in_which_both_have_it_and_a_mapped_port_one_in_which_either_has():
    weights = {Kind(RANDOM): 0.25, Kind(RANDOM, has_ipv6=True): 0.5, Kind(RANDOM, True): 0.25}
    found = score(weights, Measured({}, mapped=0.96, ipv6=0.8))
    ipv6 = 0.5 * 0.5 * 0.8
    mapped = (1.0 - 0.75 * 0.75) * 0.96
    assert found.direct == pytest.approx(ipv6 + mapped)


def test_nothing_comes_of_ipv6_or_mapped_ports_that_nobody_measured():
    weights = population(AS_PUBLISHED)
    pairs = Measured(measured(EVERYTHING_MET).by_pair)
    assert score(weights, pairs).direct == pytest.approx(score(population(), pairs).direct)


def test_a_pair_that_nobody_measured_counts_as_never_and_is_told():
    weights = {Kind(PORT): 0.5, Kind(BLOCK): 0.5}
    found = score(weights, Measured({(PORT, PORT): 1.0, (PORT, BLOCK): 1.0}))
    assert found.direct == pytest.approx(0.5)
    assert found.unmeasured == ((BLOCK, PORT), (BLOCK, BLOCK))
    figures = [f for f in EVERYTHING_MET if f.cell != "birthday: random x port-restricted"]
    assert "Not measured, counted as never: random × port-restricted." in told(figures)


def test_shares_come_from_the_tables_own_cells_and_the_worse_laboratory_counts():
    cell = CELLS["birthday: random x port-restricted"]
    mapped = CELLS["hopeless, mapped: random with PCP x random"]
    figures = [
        summarise(cell, "virtual", [Run(1.0)] * 10),
        summarise(cell, "real", [Run(1.0)] * 9 + [Run(None)]),
        summarise(replace(cell, is_early=True), "real", [Run(None)]),
        summarise(replace(cell, is_secret=True), "real", [Run(None)]),
        summarise(CELLS["hopeless: random x random"], "real", [Run(None, verdict_s=1.0)]),
        summarise(CELLS["two blocks, full: block x block"], "real", [Run(1.0)]),
        summarise(CELLS["two blocks, half: block x block"], "real", [Run(1.0), Run(None)]),
        summarise(CELLS["two blocks, half, 6 min: block x block"], "virtual", [Run(100.0)]),
        summarise(CELLS["nested: port-restricted x port-restricted"], "real", [Run(None)]),
        summarise(mapped, "real", [Run(1.0)] * 4 + [Run(None)]),
    ]
    found = measured(figures)
    assert found == Measured({(RANDOM, PORT): 0.9, (BLOCK, BLOCK): 0.5}, mapped=0.8)
    assert measured(figures, "within 6 min").by_pair[BLOCK, BLOCK] == 1.0


def test_where_every_cell_meets_only_two_of_whom_one_draws_from_all_ports_are_missing():
    found = score(population(), measured(EVERYTHING_MET))
    assert found.unmeasured == ()
    lost = [pair for pair, share in found.lost.items() if share > 0.0]
    assert lost == [(BLOCK, RANDOM), (RANDOM, RANDOM)]
    assert missed(EVERYTHING_MET) == []


def test_a_score_below_its_target_is_told(tmp_path, capsys):
    path = tmp_path / "figures.json"
    save(path, EVERYTHING_MET)
    assert main([str(path)]) == 0
    poor = summarise(CELLS["birthday: random x port-restricted"], "real", [Run(None)])
    save(path, [*EVERYTHING_MET, poor])
    assert main([str(path)]) == 1
    assert "98 % wanted" in capsys.readouterr().err
