"""What was measured stays measured, as long as the code is the same."""

from tests.bench import matrix
from tests.bench.figures import Run, load
from tests.bench.ledger import Ledger
from tests.bench.rows import ROWS

EASY, OTHER = ROWS[0].cells[:2]
RUNS = [Run(0.15)] * 10


def test_a_measurement_that_was_stopped_goes_on_where_it_was(tmp_path):
    path = tmp_path / "build" / "figures.json"
    Ledger(path, "abc").add(EASY, "virtual", RUNS)
    again = Ledger(path, "abc", resumes=True)
    assert again.has(EASY, "virtual", 10)
    assert not again.has(EASY, "virtual", 11), "more runs are wanted"
    assert not again.has(EASY, "real", 10)
    assert not again.has(OTHER, "virtual", 10)
    again.keep([(EASY, "virtual")])
    again.add(OTHER, "virtual", RUNS)
    assert [figures.cell for figures in again.fresh] == [EASY.name, OTHER.name]
    assert [figures.cell for figures in load(path)] == [EASY.name, OTHER.name]


def test_what_another_commit_or_a_changed_tree_measured_is_measured_again(tmp_path):
    path = tmp_path / "figures.json"
    Ledger(path, "abc+").add(EASY, "virtual", RUNS)
    assert not Ledger(path, "abc+", resumes=True).has(EASY, "virtual", 10)
    Ledger(path, "abc").add(EASY, "virtual", RUNS)
    assert not Ledger(path, "def", resumes=True).has(EASY, "virtual", 10)
    assert not Ledger(path, "abc").has(EASY, "virtual", 10), "nobody asked to go on"


def test_the_whole_command_measures_each_cell_once_and_fills_the_document(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(matrix, "commit", lambda: "abc")
    path, readme = tmp_path / "figures.json", tmp_path / "README.md"
    names = ("matrix", "population")
    readme.write_text("".join(f"<!-- {n}: begin -->\nbefore\n<!-- {n}: end -->\n" for n in names))
    arguments = ["--all", "--virtual", "--seeds", "2", "--jobs", "1", "--cells", EASY.name]
    arguments += ["--json", str(path), "--readme", str(readme)]
    assert matrix.main(arguments) == 0
    assert sorted((f.cell, f.runs) for f in load(path)) == [
        (EASY.name, 2),
        (f"{EASY.name}, secret network", 1),
    ]
    filled = readme.read_text()
    assert "2 of 2" in filled
    assert "Missing with" in filled
    assert "before" not in filled
    capsys.readouterr()
    assert matrix.main(arguments) == 0
    assert f"virtual {EASY.name}" not in capsys.readouterr().err, "it was there already"
    assert readme.read_text() == filled
