"""The tables of the matrix: one for a terminal, one for tests/bench/README.md; see `figures` for
what is in them."""

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from statistics import median

from tests.bench.cells import EARLY, NO_HOP, OVER_LIMIT, SECRET, Row, Target
from tests.bench.figures import FEW, LABS, Figures, Line, fewest, line
from tests.bench.rows import ROWS

NOTICED, NOTICED_S = 0.25, 0.02
"""By which share, and by which time, two medians have to differ before a secret is said to make a
difference: those of a hundred birthday attempts differ by a tenth by chance."""


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
        for variant, lab in product(dict.fromkeys(f.variant for f in of_row), LABS):
            cells = [f for f in of_row if (f.lab, f.variant) == (lab, variant)]
            found = line(cells)
            if found is None:
                continue
            told = ["ok" if found.met else "MISSED"] if cells[0].is_judged else []
            told += [variant] if variant else []
            lines.append(
                f"  {lab:8}{_told(found):16}{_ms(found.median_s):>8}{_ms(found.p95_s):>8}"
                f"{_ms(found.worst_s):>8}{_limits(found):>10}{found.entries:>9}"
                f"{found.packets_a_second:>10}{_one(found.idle_a_minute):>9}  {', '.join(told)}"
            )
            if len(cells) > 1 and cells[0].is_judged:
                lines += [
                    f"      {f.cell}: {_count(f)} of {f.runs}, median {_ms(f.median_s)}"
                    for f in cells
                    if not f.met and (f.runs >= FEW or _count(f) < f.runs)
                ]
    return "\n".join(lines)


def markdown(measured: Sequence[Figures]) -> str:
    """The table of tests/bench/README.md."""
    secret = any(_differs(measured, row) for row in ROWS)
    columns = ["pair", "target", "limit", "real daemons", "virtual internet", "kernel NAT"]
    columns += ["no hop between the NATs", "with one early inbound packet"]
    columns += ["network with a secret"] * secret + ["entries, packets/s", "", "measured at"]
    lines = [
        "Of each laboratory: direct or told the truth, then median / p95 / worst, of the worst "
        "pair of the row.",
        "",
        f"| {' | '.join(columns)} |",
        "|---" * len(columns) + "|",
    ]
    for row in ROWS:
        of_row = [f for f in measured if f.row == row.name]
        lines += [f"| {' | '.join(_columns(row, of_row, secret=secret))} |"] if of_row else []
    idle = [f.idle_a_minute for f in measured if f.idle_a_minute is not None and not f.variant]
    if idle:
        lines += [
            "",
            f"Idle packets a minute per peer, both ways: {min(idle):.1f} to {max(idle):.1f} "
            f"(median of the cells {median(idle):.1f}).",
        ]
    return "\n".join(lines) + "\n"


def insert(path: Path, name: str, text: str) -> None:
    """Replace what stands between `<!-- NAME: begin -->` and `<!-- NAME: end -->` in a document;
    ValueError if it has no such lines."""
    document = path.read_text()
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->\n"
    if document.count(begin) != 1 or document.count(end) != 1:
        raise ValueError(f"{path}: {begin.strip()} and {end.strip()} have to be there, once")
    before, _, rest = document.partition(begin)
    path.write_text(f"{before}{begin}{text.rstrip()}\n{end}{rest.partition(end)[2]}")


def _columns(row: Row, of_row: Sequence[Figures], *, secret: bool) -> list[str]:
    by_lab = _lines(of_row, "")
    near = _lines(of_row, NO_HOP)
    found = [*by_lab.values(), *near.values()]
    columns = [row.title, _target(row), _limits(next(iter(by_lab.values()))) if by_lab else ""]
    for lab in ("real", "virtual", "kernel"):
        one = by_lab.get(lab)
        columns.append("" if one is None else f"{_told(one)}; {_times(one)}")
    columns += [_in_short(near), _in_short(_lines(of_row, EARLY))]
    if secret:
        columns.append(_in_short(_lines(of_row, SECRET)) if _differs(of_row, row) else "")
    columns.append(
        f"{max(one.entries for one in found)}, {max(one.packets_a_second for one in found)}"
        if found
        else ""
    )
    columns.append("met" if found and all(one.met for one in found) else "**missed**")
    columns.append(_commits(of_row))
    return columns


def _lines(of_row: Sequence[Figures], variant: str) -> dict[str, Line]:
    """By laboratory, those that measured this variant of the row."""
    lines = {lab: line([f for f in of_row if (f.lab, f.variant) == (lab, variant)]) for lab in LABS}
    return {lab: found for lab, found in lines.items() if found is not None}


def _in_short(lines: Mapping[str, Line]) -> str:
    return "; ".join(f"{lab} {_told(found)}, {_ms(found.median_s)}" for lab, found in lines.items())


def _differs(measured: Sequence[Figures], row: Row) -> bool:
    """Whether a secret changes what the row shows in some laboratory: its share by more than bad
    luck, or its median by more than `NOTICED` and `NOTICED_S`."""
    of_row = [f for f in measured if f.row == row.name]
    openly, secretly = _lines(of_row, ""), _lines(of_row, SECRET)
    return any(_are_unlike(openly[lab], secretly[lab]) for lab in openly.keys() & secretly.keys())


def _are_unlike(openly: Line, secretly: Line) -> bool:
    share = openly.direct / openly.runs
    fewest_met = fewest(share, secretly.runs)
    fewest_missed = fewest(1.0 - share, secretly.runs)
    if not fewest_met <= secretly.direct <= secretly.runs - fewest_missed:
        return True
    if openly.median_s is None or secretly.median_s is None:
        return openly.median_s is not secretly.median_s
    apart_s = abs(openly.median_s - secretly.median_s)
    return apart_s > NOTICED_S and apart_s > NOTICED * openly.median_s


def _median_of(target: Target) -> str:
    if target.median_s:
        return f"{target.median_s:g} s"
    if target.later_s is None:
        return f"{OVER_LIMIT:.2f} × limit"
    return f"limit + {_ms(target.later_s)}"


def _target(row: Row) -> str:
    cell = row.cells[0]
    target = cell.target
    if target.share is None:
        return f"verdict ≤ {target.within_s:g} s"
    share = f"≥ {target.share * 100:g} of 100" if target.share < 1.0 else "100 of 100"
    if not target.is_timed:
        return share
    share += f", ≤ {_median_of(target)}"
    return share + (f", p95 ≤ {target.p95_s:g} s" if target.p95_s else "")


def _commits(measured: Sequence[Figures]) -> str:
    """Of each laboratory, the commits at which a row's cells were measured."""
    by_lab = {
        lab: sorted({f.commit for f in measured if f.lab == lab and f.commit}) for lab in LABS
    }
    return ", ".join(f"{lab} {' and '.join(found)}" for lab, found in by_lab.items() if found)


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
