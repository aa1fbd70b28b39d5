"""Every pair of NATs, in three laboratories: the table of tests/bench/README.md.

    python -m tests.bench.matrix                        all of it: takes an hour and more
    python -m tests.bench.matrix --virtual --seeds 50   real nodes in virtual time
    python -m tests.bench.matrix --real --runs 20       real daemons, userspace NATs over TUN
    python -m tests.bench.matrix --kernel --runs 20     real daemons behind the kernel's own NAT
    python -m tests.bench.matrix --cells 'birthday*' block --json FILE
    python -m tests.bench.matrix --markdown FILE...     that table, of what was measured

`--seeds` counts for each cell; `--runs` for each row, whose cells share them.  With `--json` the
file is written anew after each cell; cells that were in it and are not measured in this call stay,
so a long measurement can be done in parts.  The exit status is 1 where a target is missed.

The cells: `tests/bench/rows.py`; their limits: `tests/bench/cells.py`; what is counted:
`tests/bench/figures.py`.
"""

import argparse
import fnmatch
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from natctl.demo.own_world import WorldError
from tests.bench import real_grounds, real_matrix, virtual_matrix
from tests.bench.cells import Cell
from tests.bench.figures import (
    LABS,
    Figures,
    Run,
    all_met,
    line,
    load,
    load_all,
    save,
    summarise,
)
from tests.bench.record import Figure, add_record_option, commit, record
from tests.bench.rows import ROWS
from tests.bench.tables import markdown, report

SEEDS = 1_000
RUNS = 100

CHUNK = 50
"""Seeds of one cell that a process plays in one go."""

SEEDS_AT_REST = 2
"""Of each cell: so many pairs are watched when they have nothing to say."""

VERDICT_SHARE = 0.2

EARLY_SHARE = 0.1
"""Of the seeds: cells with an early packet have no target."""


class Ledger:
    """What is measured in this call, on top of what the file has already."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._commit = commit()
        self._figures: dict[tuple[str, str], Figures] = {}
        if path is not None and path.exists():
            self._figures = {(figures.lab, figures.cell): figures for figures in load(path)}
        self.fresh: list[Figures] = []

    def add(self, cell: Cell, lab: str, runs: Sequence[Run]) -> None:
        figures = summarise(cell, lab, runs, self._commit)
        self.fresh.append(figures)
        self._figures[lab, cell.name] = figures
        if self._path is not None:
            save(self._path, self._figures.values())
        count = figures.verdicts if cell.wants_verdict else figures.direct
        told = "" if figures.median_s is None else f", median {figures.median_s:.3f} s"
        print(
            f"{lab:8}{cell.name}: {count} of {figures.runs}{told}"
            f"{'' if figures.met or figures.early else '  MISSED'}",
            file=sys.stderr,
            flush=True,
        )


def chosen(*patterns: str) -> list[Cell]:
    """The cells whose name, or whose row's, fits one of them."""
    return [
        cell
        for row in ROWS
        for cell in (*row.cells, *row.early_cells)
        if any(
            fnmatch.fnmatchcase(name, pattern)
            for name in (cell.name, cell.row)
            for pattern in patterns
        )
    ]


def measure_virtual(
    cells: Sequence[Cell], seeds: int, settled_s: float, jobs: int, ledger: Ledger
) -> None:
    """All cells, cut into pieces for several processes."""
    with ProcessPoolExecutor(jobs) as pool:
        pieces = [
            (
                cell,
                [pool.submit(play_seeds, cell, piece, settled_s) for piece in _pieces(cell, seeds)],
            )
            for cell in cells
        ]
        for cell, futures in pieces:
            ledger.add(cell, "virtual", [run for future in futures for run in future.result()])


def measure_real(lab: str, runs: int, cells: Sequence[Cell], labs: int, ledger: Ledger) -> None:
    """The runs of a row, shared by its cells; so many laboratories side by side."""
    playable = [c for c in cells if real_grounds.plays(c) or lab == "real"]
    playable = [c for c in playable if not c.only_virtual]
    with ProcessPoolExecutor(labs) as pool:
        futures = [
            (cell, pool.submit(real_matrix.play, lab, cell, range(_share(cell, playable, runs))))
            for cell in playable
        ]
        for cell, future in futures:
            try:
                ledger.add(cell, lab, future.result())
            except WorldError as error:
                print(f"{lab:8}{cell.name}: {error}", file=sys.stderr)


def recorded(measured: Sequence[Figures]) -> dict[str, Figure]:
    """Of each row of each laboratory the share that has what the table wants, and the median."""
    found = {}
    for row, lab in dict.fromkeys((f.row, f.lab) for f in measured if not f.early):
        summary = line([f for f in measured if (f.row, f.lab, f.early) == (row, lab, False)])
        assert summary is not None
        share = summary.direct / summary.runs
        found[f"matrix, {lab}: {row}, share"] = Figure(share, "of 1", "more")
        if summary.median_s is not None:
            found[f"matrix, {lab}: {row}, median"] = Figure(summary.median_s, "s")
    return found


def _share(cell: Cell, cells: Sequence[Cell], runs: int) -> int:
    """A verdict takes ten seconds and differs little, so those rows have fewer."""
    if cell.wants_verdict:
        runs = max(1, round(runs * VERDICT_SHARE))
    siblings = sum((c.row, c.is_early) == (cell.row, cell.is_early) for c in cells)
    return -(-runs // siblings)


def play_seeds(cell: Cell, seeds: range, settled_s: float) -> list[Run]:
    return [
        virtual_matrix.play(cell, seed, looks_at_rest=seed < SEEDS_AT_REST, settled_s=settled_s)
        for seed in seeds
    ]


def _pieces(cell: Cell, seeds: int) -> Iterator[range]:
    if cell.is_early:
        seeds = max(1, round(seeds * EARLY_SHARE))
    for first in range(0, seeds, CHUNK):
        yield range(first, min(first + CHUNK, seeds))


def main() -> int:
    parser = argparse.ArgumentParser(description="every pair of NATs in three laboratories")
    for lab in LABS:
        parser.add_argument(f"--{lab}", action="store_true")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="of each virtual cell")
    parser.add_argument(
        "--settled",
        type=float,
        default=virtual_matrix.SETTLED_S,
        metavar="S",
        help="how long the virtual resident has been there",
    )
    parser.add_argument("--runs", type=int, default=RUNS, help="of each row with real daemons")
    parser.add_argument("--jobs", type=int, default=2, help="processes for the virtual internet")
    parser.add_argument("--labs", type=int, default=2, help="laboratories at once, real and kernel")
    parser.add_argument("--cells", nargs="+", default=["*"], metavar="GLOB", help="cells or rows")
    parser.add_argument("--json", type=Path, metavar="FILE")
    add_record_option(parser)
    parser.add_argument("--markdown", type=Path, nargs="+", metavar="FILE")
    arguments = parser.parse_args()
    if arguments.markdown:
        print(markdown(load_all(arguments.markdown)), end="")
        return 0
    wanted = [lab for lab in LABS if getattr(arguments, lab)] or list(LABS)
    cells = chosen(*arguments.cells)
    if not cells:
        parser.error(f"no cell is named {' or '.join(arguments.cells)}")
    ledger = Ledger(arguments.json)
    if "virtual" in wanted:
        measure_virtual(cells, arguments.seeds, arguments.settled, arguments.jobs, ledger)
    for lab in ("real", "kernel"):
        if lab in wanted:
            measure_real(lab, arguments.runs, cells, arguments.labs, ledger)
    print(report(ledger.fresh))
    if arguments.record:
        record(arguments.record, recorded(ledger.fresh))
    return 0 if all_met(ledger.fresh) else 1


if __name__ == "__main__":
    sys.exit(main())
