"""What is made of the runs of the matrix: shares, medians, targets, tables."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.bench.figures import (
    Figures,
    Line,
    Run,
    all_met,
    fewest,
    line,
    load,
    load_all,
    percentile,
    save,
    summarise,
)
from tests.bench.rows import ROWS
from tests.bench.tables import insert, markdown, report

CELLS = [cell for row in ROWS for cell in row.cells]


def test_a_share_and_a_median_have_to_be_met():
    cell = next(c for c in CELLS if c.name == "two sequences: sequential x sequential")
    fast, slow, never = Run(0.2), Run(3.0), Run(None)
    assert summarise(cell, "virtual", [fast] * 95 + [never] * 5).met
    assert not summarise(cell, "virtual", [fast] * 94 + [never] * 6).met
    assert summarise(cell, "virtual", [fast] * 51 + [slow] * 49).met
    assert not summarise(cell, "virtual", [fast] * 49 + [slow] * 51).met
    assert not summarise(cell, "virtual", []).met


def test_what_comes_too_late_is_not_direct():
    cell = next(c for c in CELLS if c.name == "two sequences: sequential x sequential")
    assert summarise(cell, "virtual", [Run(cell.target.within_s + 0.1)]).direct == 0


def test_where_a_verdict_is_wanted_a_path_is_a_miss():
    cell = next(c for c in CELLS if c.wants_verdict)
    told = Run(None, verdict_s=2.0)
    assert summarise(cell, "virtual", [told, told]).met
    assert not summarise(cell, "virtual", [told, Run(1.0, verdict_s=2.0)]).met
    assert not summarise(cell, "virtual", [told, Run(None)]).met


@pytest.mark.parametrize(
    ("resident", "newcomer", "limit_ms"),
    [
        ("port-restricted", "port-restricted", 150),
        ("random", "full-cone", 200),
        ("full-cone", "random", 150),
        ("random", "address-restricted", 200),
        ("port-restricted", "random", 150),
    ],
)
def test_the_limit_is_that_of_the_direction(resident, newcomer, limit_ms):
    (cell,) = {
        c.limit_s
        for c in CELLS
        if (c.resident.name, c.newcomer.name, c.place) == (resident, newcomer, "apart")
    }
    assert cell == pytest.approx(limit_ms / 1000)


def test_percentiles_are_values_that_were_measured():
    assert percentile([0.3], 0.95) == 0.3
    assert percentile(list(range(1, 101)), 0.95) == 95
    assert percentile(list(range(1, 21)), 0.95) == 19


def test_a_row_shows_its_worst_cell():
    row = next(r for r in ROWS if r.name == "two sequences")
    good = summarise(row.cells[0], "virtual", [Run(0.2)] * 100)
    poor = summarise(row.cells[1], "virtual", [Run(0.5)] * 94 + [Run(None)] * 6)
    found = row_of([good, poor])
    assert (found.direct, found.runs, found.median_s, found.met) == (94, 100, 0.5, False)
    assert not all_met([good, poor])
    assert (row_of([good, good]).direct, row_of([good, good]).runs) == (200, 200)
    assert all_met([good, good])
    assert line([]) is None


def test_fewer_runs_than_a_hundred_miss_a_share_only_beyond_bad_luck():
    row = next(r for r in ROWS if r.name == "two sequences")
    came, never = [Run(0.5)], [Run(None)]

    def of(missed, runs):
        return summarise(row.cells[0], "real", came * (runs - missed) + never * missed)

    assert of(1, 10).met, "of ten, 40 % of such pairs lack one and more"
    assert not of(4, 10).met
    assert not of(6, 100).met
    assert (row_of([of(2, 25)] * 4).direct, row_of([of(2, 25)] * 4).runs) == (92, 100)
    assert not row_of([of(2, 25)] * 4).met, "each of the four is no proof, the hundred are"
    everyone = next(c for c in CELLS if c.target.share == 1.0)
    assert not summarise(everyone, "real", came * 9 + never).met


def test_cells_of_few_runs_are_taken_together_where_their_limit_is_the_same():
    row = next(r for r in ROWS if r.name == "random")
    by_name = {cell.name: cell for cell in row.cells}
    quick, slow = [Run(0.16)] * 3, [Run(0.25)]
    outward = [
        summarise(by_name["random: open x random"], "real", quick),
        summarise(by_name["random: full-cone x random"], "real", slow),
    ]
    assert row_of(outward).met, "one slow run of four in another cell than the three"
    inward = summarise(by_name["random: random x open"], "real", [Run(0.25)])
    found = row_of([*outward, inward])
    assert (found.direct, found.runs, found.median_s, found.met) == (5, 5, 0.25, False)


def test_figures_come_back_from_the_disk_and_make_both_tables(tmp_path):
    cell = next(c for c in CELLS if c.row == "birthday")
    told = next(c for c in CELLS if c.wants_verdict)
    figures = [
        summarise(cell, "virtual", [Run(1.25, entries=300, idle_a_minute=8.0)]),
        summarise(cell, "real", [Run(1.5)], commit="abc"),
        summarise(replace(cell, is_early=True), "virtual", [Run(1.75)]),
        summarise(told, "virtual", [Run(None, verdict_s=3.0)]),
    ]
    path = tmp_path / "figures.json"
    save(path, figures)
    assert load(path) == figures
    later = tmp_path / "later.json"
    save(later, [summarise(cell, "virtual", [Run(1.0)])])
    assert [f.median_s for f in load_all([path, later])] == [1.0, 1.5, 1.75, 3.0]
    for table in (markdown(figures), report(figures)):
        assert "1 of 1" in table
        assert "verdict 1 of 1" in table
        assert "1.25 s" in table
        assert "1.75 s" in table
        assert "300" in table
    assert "| real abc |" in markdown(figures)


def test_a_secret_has_a_column_only_where_it_makes_a_difference():
    cell = next(c for c in CELLS if c.row == "birthday")
    hidden = replace(cell, is_secret=True)
    openly = summarise(cell, "virtual", [Run(0.80)] * 100)
    for runs, differs in (
        ([Run(0.85)] * 10, False),
        ([Run(0.50)] * 10, True),
        ([Run(0.80)] * 5 + [Run(None)] * 5, True),
    ):
        table = markdown([openly, summarise(hidden, "virtual", runs)])
        assert ("network with a secret" in table) is differs
        told = sum(run.took_s is not None for run in runs)
        assert (f"virtual {told} of 10" in table) is differs


def test_no_hop_between_has_to_meet_its_target_and_an_early_packet_is_only_told():
    row = next(r for r in ROWS if r.name == "accepting")
    good = summarise(row.cells[0], "virtual", [Run(0.2)] * 100)
    near = summarise(row.no_hop_cells[0], "kernel", [Run(4.0)] * 100)
    early = summarise(row.early_cells[0], "virtual", [Run(None)])
    assert all_met([good, early])
    assert not all_met([good, near])
    assert "kernel 100 of 100, 4.00 s" in markdown([good, near])
    assert "**missed**" in markdown([good, near])
    assert "**missed**" not in markdown([good, early])


def test_a_table_replaces_what_stood_between_its_marks(tmp_path):
    path = tmp_path / "README.md"
    path.write_text("a\n<!-- matrix: begin -->\nold\n<!-- matrix: end -->\nb\n")
    insert(path, "matrix", "new\n")
    assert path.read_text() == "a\n<!-- matrix: begin -->\nnew\n<!-- matrix: end -->\nb\n"
    with pytest.raises(ValueError, match="population: begin"):
        insert(path, "population", "")


@pytest.mark.parametrize(
    ("changes", "limit_ms"),
    [({}, 150), ({"delay_s": 0.060}, 290), ({"delay_s": 0.005, "hops": 5}, 70)],
)
def test_the_limit_follows_the_distance(changes, limit_ms):
    cell = replace(next(c for c in CELLS if c.row == "easy"), **changes)
    assert cell.limit_s == pytest.approx(limit_ms / 1000)
    assert (cell.variant == "") is not changes


def row_of(cells: Sequence[Figures]) -> Line:
    found = line(cells)
    assert found is not None
    return found


def test_luck_is_reckoned_for_thousands_of_runs_too():
    assert 930 < fewest(0.95, 1000) < 940
    assert 9_400 < fewest(0.95, 10_000) < 9_500
    assert (fewest(0.0, 5000), fewest(1.0, 5000)) == (0, 5000)
