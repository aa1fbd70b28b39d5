"""The tables of the matrix: one for a terminal, one for tests/bench/README.md; see `figures` for
what is in them."""

from collections.abc import Sequence
from statistics import median

from tests.bench.cells import Row
from tests.bench.figures import FEW, LABS, Figures, Line, line
from tests.bench.rows import ROWS


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
    """The table of tests/bench/README.md."""
    lines = [
        "Of each laboratory: direct or told the truth, then median / p95 / worst, of the worst "
        "pair of the row.",
        "",
        "| pair | target | limit | real daemons | virtual internet | kernel NAT "
        "| with one early inbound packet | entries, packets/s | | measured at |",
        "|---|---|---|---|---|---|---|---|---|---|",
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
        columns.append(_commits(of_row))
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
