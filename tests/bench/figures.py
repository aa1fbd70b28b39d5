"""What the runs of a cell come to, and the tables made of that.

A run is what one meeting showed; `Figures` is a cell of the table.  A row shows its worst cell:
of shares the least, of times the longest.  A cell with few runs (`FEW`) has no median worth the
name, so those of a row with the same physical limit are taken together first.  The JSON of a
laboratory is `{"v": 1, "cells": [...]}`, a cell as `Figures` has it; only cells that were measured
are in it.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from tests.bench.cells import Cell, Row
from tests.bench.rows import ROWS

VERSION = 1

FEW = 20

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
    early: bool
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
        early=cell.is_early,
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
        runs > 0
        and len(times) >= (1.0 if share is None else share) * runs - 1e-9
        and _within(median_s, median_target_s)
        and _within(p95_s, p95_target_s)
    )
    worst_s = max(times, default=None)
    return _Grade(runs, len(times), _rounded(median_s), _rounded(p95_s), _rounded(worst_s), met)


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


# --- tables


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
    shown = [worst] if worst.counted < worst.runs else grades
    return Line(
        runs=sum(grade.runs for grade in shown),
        direct=sum(grade.counted for grade in shown),
        median_s=_most(grade.median_s for grade in grades),
        p95_s=_most(grade.p95_s for grade in grades),
        worst_s=_most(grade.worst_s for grade in grades),
        limits_s=tuple(sorted({f.limit_s for f in cells})),
        met=all(grade.met for grade in grades),
        entries=max(f.entries for f in cells),
        packets_a_second=max(f.packets_a_second for f in cells),
        idle_a_minute=_most(f.idle_a_minute for f in cells),
        wants_verdict=cells[0].target_share is None,
    )


def all_met(measured: Sequence[Figures]) -> bool:
    """Whether every row of every laboratory has its target."""
    timely = [f for f in measured if not f.early]
    rows = {(f.row, f.lab) for f in timely}
    lines = [line([f for f in timely if (f.row, f.lab) == row]) for row in rows]
    return all(found is None or found.met for found in lines)


def _groups(cells: Sequence[Figures]) -> list[list[Figures]]:
    if all(f.runs >= FEW for f in cells):
        return [[f] for f in cells]
    limits = sorted({f.limit_s for f in cells})
    return [[f for f in cells if f.limit_s == limit_s] for limit_s in limits]


def _grade_together(cells: Sequence[Figures]) -> _Grade:
    """Cells of one row with one limit, so with one target."""
    first = cells[0]
    times = sorted(time_s for f in cells for time_s in f.times_s)
    runs = sum(f.runs for f in cells)
    return _grade(times, runs, first.target_share, first.target_median_s, first.target_p95_s)


def _most(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def report(measured: Sequence[Figures]) -> str:
    """Every row of every laboratory, for a terminal; below a row of several cells that misses its
    target, the cells that do."""
    lines = [
        f"{'':8}{'direct or verdict':18}{'median':>8}{'p95':>8}{'worst':>8}{'limit':>10}"
        f"{'entries':>9}{'packets/s':>10}{'idle/min':>9}"
    ]
    for row in ROWS:
        of_row = [f for f in measured if f.row == row.name]
        if not of_row:
            continue
        lines.append(f"{row.title}  (target: {_target(row)})")
        for early in (False, True):
            for lab in LABS:
                cells = [f for f in of_row if f.lab == lab and f.early is early]
                found = line(cells)
                if found is None:
                    continue
                met = "early packet" if early else "ok" if found.met else "MISSED"
                lines.append(
                    f"  {lab:8}{_told(found):16}{_ms(found.median_s):>8}{_ms(found.p95_s):>8}"
                    f"{_ms(found.worst_s):>8}{_limits(found):>10}{found.entries:>9}"
                    f"{found.packets_a_second:>10}{_one(found.idle_a_minute):>9}  {met}"
                )
                if len(cells) > 1 and not early:
                    lines += [
                        f"      {f.cell}: {_count(f)} of {f.runs}, median {_ms(f.median_s)}"
                        for f in cells
                        if not f.met and (f.runs >= FEW or _count(f) < f.runs)
                    ]
    return "\n".join(lines)


def markdown(measured: Sequence[Figures]) -> str:
    """The README's table."""
    lines = [
        "Of each laboratory: direct or told the truth, then median / p95 / worst, of the worst "
        "pair of the row.",
        "",
        "| pair | target | limit | real daemons | virtual internet | kernel NAT "
        "| with one early inbound packet | entries, packets/s | |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in ROWS:
        of_row = [f for f in measured if f.row == row.name]
        if not of_row:
            continue
        by_lab = {lab: line([f for f in of_row if f.lab == lab and not f.early]) for lab in LABS}
        early = [line([f for f in of_row if f.lab == lab and f.early]) for lab in LABS]
        found = [one for one in by_lab.values() if one is not None]
        columns = [row.title, _target(row), _limits(found[0]) if found else ""]
        for lab in ("real", "virtual", "kernel"):
            one = by_lab[lab]
            columns.append("" if one is None else f"{_told(one)}; {_times(one)}")
        columns.append(
            "; ".join(
                f"{lab} {_told(one)}, {_ms(one.median_s)}"
                for lab, one in zip(LABS, early, strict=True)
                if one is not None
            )
        )
        columns.append(
            f"{max(one.entries for one in found)}, {max(one.packets_a_second for one in found)}"
            if found
            else ""
        )
        columns.append("met" if found and all(one.met for one in found) else "**missed**")
        lines.append("| " + " | ".join(columns) + " |")
    idle = [f.idle_a_minute for f in measured if f.idle_a_minute is not None]
    if idle:
        lines += [
            "",
            f"Idle packets a minute per peer, both ways: {min(idle):.1f} to {max(idle):.1f} "
            f"(median of the cells {median(idle):.1f}).",
        ]
    return "\n".join(lines) + "\n"


def _target(row: Row) -> str:
    cell = row.cells[0]
    target = cell.target
    if target.share is None:
        return f"verdict ≤ {target.within_s:g} s"
    share = f"≥ {target.share * 100:g} of 100" if target.share < 1.0 else "100 of 100"
    if not target.is_timed:
        return share
    share += f", ≤ {target.median_s:g} s" if target.median_s else ", ≤ limit + 40 ms"
    return share + (f", p95 ≤ {target.p95_s:g} s" if target.p95_s else "")


def _told(found: Line) -> str:
    return f"verdict {found.share}" if found.wants_verdict else found.share


def _count(figures: Figures) -> int:
    return figures.verdicts if figures.target_share is None else figures.direct


def _times(found: Line) -> str:
    return " / ".join(_ms(value) for value in (found.median_s, found.p95_s, found.worst_s))


def _limits(found: Line) -> str:
    if found.wants_verdict:
        return "–"
    return " or ".join(f"{round(limit * 1000)}" for limit in found.limits_s) + " ms"


def _ms(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    return f"{seconds * 1000:.0f} ms" if seconds < 1.0 else f"{seconds:.2f} s"


def _one(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
