"""What got worse is told, and nothing else is."""

import json
from pathlib import Path

import pytest

from tests.bench.compare import main
from tests.bench.record import Figure, begin, commit, load, machine, record
from tests.bench.side_by_side import medians


@pytest.mark.parametrize(
    ("old", "new", "better", "is_worse"),
    [
        (100.0, 105.0, "less", False),
        (100.0, 105.2, "less", True),
        (100.0, 20.0, "less", False),
        (105.0, 100.0, "more", False),
        (105.2, 100.0, "more", True),
        (100.0, 500.0, "more", False),
        (0.0, 0.0, "less", False),
        (0.0, 1.0, "less", True),
        (1.0, 0.0, "more", True),
    ],
)
def test_five_per_cent_worse_passes_and_more_does_not(
    tmp_path: Path, old: float, new: float, better: str, is_worse: bool
) -> None:
    before = written(tmp_path / "old.json", {"wait": (old, better)})
    after = written(tmp_path / "new.json", {"wait": (new, better)})
    assert main([str(before), str(after)]) == int(is_worse)


def test_the_table_has_both_values_the_ratio_and_a_mark_where_it_is_worse(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = written(tmp_path / "old", {"wait": (20.0, "less"), "rate": (3000.0, "more")})
    after = written(tmp_path / "new", {"wait": (30.0, "less"), "rate": (6000.0, "more")})
    assert main([str(before), str(after)]) == 1
    head, name, wait, rate, *_ = capsys.readouterr().out.splitlines()
    assert head == f"old {commit()}, new {commit()}"
    assert name.split() == ["name", "old", "new", "ratio"]
    assert wait.split() == ["wait", "20", "30", "1.500", "ms", "WORSE"]
    assert rate.split() == ["rate", "3,000", "6,000", "0.500", "ms"]


def test_the_tolerance_can_be_chosen(tmp_path: Path) -> None:
    before = written(tmp_path / "old", {"wait": (20.0, "less")})
    after = written(tmp_path / "new", {"wait": (30.0, "less")})
    assert main([str(before), str(after), "--tolerance", "1.5"]) == 0
    assert main([str(before), str(after), "--tolerance", "1.49"]) == 1


def test_what_only_one_has_is_told_and_decides_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = written(tmp_path / "old", {"wait": (20.0, "less"), "gone": (1.0, "less")})
    after = written(tmp_path / "new", {"wait": (20.0, "less"), "fresh": (1.0, "less")})
    assert main([str(before), str(after)]) == 0
    told = capsys.readouterr().out
    assert "only in the old: gone" in told
    assert "only in the new: fresh" in told


def test_recordings_without_a_common_figure_show_nothing_and_fail(tmp_path: Path) -> None:
    before = written(tmp_path / "old", {"gone": (1.0, "less")})
    after = written(tmp_path / "new", {"fresh": (1.0, "less")})
    assert main([str(before), str(after)]) == 1


def test_another_machine_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = written(tmp_path / "old", {"wait": (20.0, "less")})
    after = written(tmp_path / "new", {"wait": (20.0, "less")})
    value = json.loads(after.read_text())
    value["machine"]["cores"] = "64"
    after.write_text(json.dumps(value))
    main([str(before), str(after)])
    assert f"another cores: {machine()['cores']} -> 64" in capsys.readouterr().out


def test_a_recording_names_commit_and_machine_and_takes_figures_bench_by_bench(
    tmp_path: Path,
) -> None:
    path = tmp_path / "build" / "bench.json"
    begin(path)
    record(path, {"one": Figure(1.0, "ms"), "two": Figure(2.0, "ms")})
    record(path, {"two": Figure(3.0, "ms", "more")})
    value = json.loads(path.read_text())
    assert value["commit"] == commit()
    assert value["machine"].keys() == {"cpu", "cores", "python", "system"}
    assert all(value["machine"].values())
    assert load(path).figures == {"one": Figure(1.0, "ms"), "two": Figure(3.0, "ms", "more")}


@pytest.mark.parametrize("text", ["[]", '{"v": 2, "machine": {}}', '{"v": 1, "cells": []}'])
def test_another_kind_of_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="not a recording"):
        load(path)


def test_side_by_side_takes_of_each_figure_the_median_of_all_rounds() -> None:
    rounds = [{"wait": Figure(value, "ms"), "rate": Figure(1.0, "")} for value in (9.0, 1.0, 2.0)]
    del rounds[1]["rate"]
    assert medians(rounds) == {"wait": Figure(2.0, "ms")}


def written(path: Path, figures: dict[str, tuple[float, str]]) -> Path:
    begin(path)
    record(
        path,
        {
            name: Figure(value, "ms", "more" if better == "more" else "less")
            for name, (value, better) in figures.items()
        },
    )
    return path
