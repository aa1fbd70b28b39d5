"""What the runs of a cell come to, and the cells of a row.

A run is what one meeting showed; `Figures` is a cell of the table.  A row shows its worst cell:
of shares the least, of times the longest.  A cell with few runs (`FEW`) has no median worth the
name, so those of a row with the same physical limit are taken together first.  A share is asked of
a hundred runs: fewer have missed it only if so few successes would be no bad luck (`fewest`).

The JSON of a laboratory is `{"v": 2, "cells": [...]}`, a cell as `Figures` has it; only cells that
were measured are in it.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from math import exp, lgamma, log, log1p
from pathlib import Path
from statistics import median

from tests.bench.cells import NO_HOP, Cell

VERSION = 2
"""Of the file.  Version 1 was of networks with a secret, and had `early` for `variant`."""

FEW = 20

ENOUGH = 100
"""Runs that tell of a share, as the table's targets ask for it."""

LUCK = 0.01
"""What has its share is said to have missed it with less than this probability."""

LABS = ("virtual", "real", "kernel")


@dataclass(frozen=True, slots=True)
class Run:
    """One meeting.  Times are from the newcomer's first packet on."""

    took_s: float | None
    """Until the resident had read the message; None: it has not come in time."""
    verdict_s: float | None = None
    """Until both sides had a true verdict, or the newcomer where it is alone; None: never."""
    entries: int = 0
    """Made in the table of one side's NAT, the larger number of the two."""
    packets_a_second: int = 0
    """The most that one side sent in any second."""
    idle_a_minute: float | None = None
    """Packets of a minute at rest, both ways; None: not looked at."""
    technique: str = ""
    codes: tuple[str, ...] = ()
    """The verdicts' of both sides, where there was no path."""


@dataclass(frozen=True, slots=True)
class Figures:
    """A cell, measured."""

    cell: str
    row: str
    lab: str
    commit: str
    variant: str
    """What it measures beside the table's own cell: see `Cell.variant`."""
    runs: int
    direct: int
    verdicts: int
    median_s: float | None
    p95_s: float | None
    worst_s: float | None
    limit_s: float
    target_share: float | None
    target_median_s: float | None
    target_p95_s: float | None
    within_s: float
    met: bool
    entries: int
    packets_a_second: int
    idle_a_minute: float | None
    techniques: dict[str, int]
    times_s: list[float]
    """What the median is of, in order."""
    codes: dict[str, int]
    """What was told for a reason where there was no path, and how often."""

    @property
    def is_judged(self) -> bool:
        """Whether it has to meet its target; with an early packet, or elsewhere, it is told."""
        return self.variant in ("", NO_HOP)


def percentile(times: Sequence[float], share: float) -> float:
    """By the nearest rank: a value that was measured."""
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]


def summarise(cell: Cell, lab: str, runs: Sequence[Run], commit: str = "") -> Figures:
    """A cell's runs, of the code as it was at `commit`."""
    target = cell.target
    took = [r.took_s for r in runs if r.took_s is not None and r.took_s <= target.within_s]
    told = [r.verdict_s for r in runs if r.verdict_s is not None and r.verdict_s <= target.within_s]
    # Where a verdict is wanted, a path is a miss.
    times = sorted(() if cell.wants_verdict and took else told if cell.wants_verdict else took)
    grade = _grade(times, len(runs), target.share, cell.median_target_s, target.p95_s)
    idle = [r.idle_a_minute for r in runs if r.idle_a_minute is not None]
    return Figures(
        cell=cell.name,
        row=cell.row,
        lab=lab,
        commit=commit,
        variant=cell.variant,
        runs=len(runs),
        direct=len(took),
        verdicts=len(told),
        median_s=grade.median_s,
        p95_s=grade.p95_s,
        worst_s=grade.worst_s,
        limit_s=round(cell.limit_s, 4),
        target_share=target.share,
        target_median_s=_rounded(cell.median_target_s),
        target_p95_s=target.p95_s,
        within_s=target.within_s,
        met=grade.met,
        entries=max((r.entries for r in runs), default=0),
        packets_a_second=max((r.packets_a_second for r in runs), default=0),
        idle_a_minute=round(sum(idle) / len(idle), 1) if idle else None,
        times_s=[round(time_s, 4) for time_s in times],
        techniques=_counted(r.technique for r in runs if r.technique),
        codes=_counted(code for r in runs for code in r.codes),
    )


@dataclass(frozen=True, slots=True)
class _Grade:
    """What some runs come to, against their target."""

    runs: int
    counted: int
    median_s: float | None
    p95_s: float | None
    worst_s: float | None
    met: bool


def _grade(
    times: Sequence[float],
    runs: int,
    share: float | None,
    median_target_s: float | None,
    p95_target_s: float | None,
) -> _Grade:
    """`times` are those of the runs that count; `share` None: all have to."""
    median_s = median(times) if times else None
    p95_s = percentile(times, 0.95) if times else None
    met = (
        _has_share(len(times), runs, share)
        and _within(median_s, median_target_s)
        and _within(p95_s, p95_target_s)
    )
    worst_s = max(times, default=None)
    return _Grade(runs, len(times), _rounded(median_s), _rounded(p95_s), _rounded(worst_s), met)


def fewest(share: float, runs: int) -> int:
    """The number of successes that `runs` attempts fall short of with probability `LUCK`."""
    if share in (0.0, 1.0):
        return round(share * runs)
    below, count = 0.0, 0
    while count < runs:
        ways = lgamma(runs + 1) - lgamma(count + 1) - lgamma(runs - count + 1)
        below += exp(ways + count * log(share) + (runs - count) * log1p(-share))
        if below > LUCK:
            break
        count += 1
    return count


def _has_share(counted: int, runs: int, share: float | None) -> bool:
    if share is None or share == 1.0:
        return 0 < runs == counted
    least = fewest(share, runs) if runs < ENOUGH else share * runs - 1e-9
    return runs > 0 and counted >= least


def _least_share(cells: Sequence[Figures]) -> float | None:
    shares = [f.target_share for f in cells if f.target_share is not None]
    return min(shares, default=None)


def _within(value: float | None, most: float | None) -> bool:
    return most is None or (value is not None and value <= most)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 4)


def _counted(words: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for word in words:
        counts[word] = counts.get(word, 0) + 1
    return counts


# --- on disk


def save(path: Path, measured: Iterable[Figures]) -> None:
    """All of it, in one go: what was there before is replaced."""
    value = {"v": VERSION, "cells": [asdict(figures) for figures in measured]}
    aside = path.with_suffix(".new")
    aside.write_text(json.dumps(value, ensure_ascii=False) + "\n")
    aside.replace(path)


def load(path: Path) -> list[Figures]:
    """What `save` has written; ValueError if it was something else."""
    value = json.loads(path.read_text())
    if value.get("v") != VERSION:
        raise ValueError(f"{path}: not a file of figures of version {VERSION}")
    return [Figures(**cell) for cell in value["cells"]]


def load_all(paths: Iterable[Path]) -> list[Figures]:
    """Of a cell that is in several files, what the last of them has."""
    latest = {(f.lab, f.cell): f for path in paths for f in load(path)}
    return list(latest.values())


# --- rows


@dataclass(frozen=True, slots=True)
class Line:
    """A row of one laboratory: its worst cells."""

    runs: int
    direct: int
    median_s: float | None
    p95_s: float | None
    worst_s: float | None
    limits_s: tuple[float, ...]
    met: bool
    entries: int
    packets_a_second: int
    idle_a_minute: float | None
    wants_verdict: bool

    @property
    def share(self) -> str:
        return f"{self.direct} of {self.runs}"


def line(cells: Sequence[Figures]) -> Line | None:
    """None where nothing was measured."""
    if not cells:
        return None
    grades = [_grade_together(group) for group in _groups(cells)]
    worst = min(grades, key=lambda grade: grade.counted / max(1, grade.runs))
    shown = [worst] if worst.counted < worst.runs and worst.runs >= ENOUGH else grades
    runs, counted = sum(grade.runs for grade in shown), sum(grade.counted for grade in shown)
    return Line(
        runs=runs,
        direct=counted,
        median_s=_most(grade.median_s for grade in grades),
        p95_s=_most(grade.p95_s for grade in grades),
        worst_s=_most(grade.worst_s for grade in grades),
        limits_s=tuple(sorted({f.limit_s for f in cells})),
        met=all(grade.met for grade in grades) and _has_share(counted, runs, _least_share(cells)),
        entries=max(f.entries for f in cells),
        packets_a_second=max(f.packets_a_second for f in cells),
        idle_a_minute=_most(f.idle_a_minute for f in cells),
        wants_verdict=cells[0].target_share is None,
    )


def all_met(measured: Sequence[Figures]) -> bool:
    """Whether every row of every laboratory has its target, on one segment, too."""
    judged = [f for f in measured if f.is_judged]
    rows = {(f.row, f.lab, f.variant) for f in judged}
    lines = [line([f for f in judged if (f.row, f.lab, f.variant) == row]) for row in rows]
    return all(found is None or found.met for found in lines)


def _groups(cells: Sequence[Figures]) -> list[list[Figures]]:
    if all(f.runs >= FEW for f in cells):
        return [[f] for f in cells]
    targets = {(f.limit_s, f.target_share, f.target_median_s): None for f in cells}
    return [
        [f for f in cells if (f.limit_s, f.target_share, f.target_median_s) == target]
        for target in targets
    ]


def _grade_together(cells: Sequence[Figures]) -> _Grade:
    """Cells of one row with one limit and one target."""
    first = cells[0]
    times = sorted(time_s for f in cells for time_s in f.times_s)
    runs = sum(f.runs for f in cells)
    return _grade(times, runs, first.target_share, first.target_median_s, first.target_p95_s)


def _most(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)
