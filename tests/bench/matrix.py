"""Every pair of NATs, in three laboratories: the table of tests/bench/README.md.

    python -m tests.bench.matrix --all --json FILE --readme tests/bench/README.md
                                                        the whole table and the population score
    python -m tests.bench.matrix --virtual --seeds 50   real nodes in virtual time
    python -m tests.bench.matrix --real --runs 20       real daemons, userspace NATs over TUN
    python -m tests.bench.matrix --kernel --runs 20     real daemons behind the kernel's own NAT
    python -m tests.bench.matrix --cells 'birthday*' block --json FILE
    python -m tests.bench.matrix --virtual --secret     the same in networks with a secret
    python -m tests.bench.matrix --virtual --delay 5 --hops 4
                                                        nearer, with more routers between
    python -m tests.bench.matrix --markdown FILE...     that table, of what was measured

All networks are open, as `natctl join demo --server ...` makes them, but for `--secret`.  `--seeds`
counts for each cell; `--runs` for each row, whose cells share them.  With `--json` the file is
written anew after each cell; cells that were in it and are not measured in this call stay.

`--all` is the virtual internet, in open networks and, with a tenth of the seeds, in secret ones;
then real daemons; then the kernel's NATs.  What `FILE` has of this very commit already is not
measured again, so it goes on where it was stopped.  The exit status is 1 where a target is missed.

The cells: `tests/bench/rows.py`; their limits: `tests/bench/cells.py`; what is counted:
`tests/bench/figures.py`.
"""

import argparse
import fnmatch
import gc
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

from natctl.demo.own_world import WorldError
from tests.bench import population, real_grounds, real_matrix, virtual_matrix
from tests.bench.cells import HOPS, NO_HOP, SETTLED_S, Cell
from tests.bench.figures import LABS, Figures, Run, all_met, line, load_all
from tests.bench.ledger import Ledger
from tests.bench.record import Figure, add_record_option, commit, record
from tests.bench.rows import ROWS
from tests.bench.tables import insert, markdown, report
from tests.internet.fabric import ACCESS_DELAY_S

SEEDS = 1_000
RUNS = 100

CHUNK = 50
"""Seeds of one cell that a process plays in one go."""

RUNS_IN_A_LAB = 25
"""Runs of one cell that one laboratory serves.  To build one takes as long as two runs."""

SEEDS_AT_REST = 2
"""Of each cell: so many pairs are watched when they have nothing to say."""

ALLOCATIONS_UNTIL_COLLECTED = 200_000

VERDICT_SHARE = 0.2
EARLY_SHARE = 0.25
"""Of the runs with real daemons.  A verdict takes long and differs little; what an early packet
costs has no target."""

VARIANT_SHARE = 0.1
"""Of the seeds: cells with an early packet have no target, and a secret changes little."""

WAITING_LABS = 3
"""Times as many laboratories as else where a verdict is waited for: they do nothing meanwhile, and
no such target is tight."""


def chosen(*patterns: str) -> list[Cell]:
    """The cells whose name, or whose row's, fits one of them."""
    return [
        cell
        for row in ROWS
        for cell in row.all_cells
        if any(
            fnmatch.fnmatchcase(name, pattern)
            for name in (cell.name, cell.row)
            for pattern in patterns
        )
    ]


def secret(cells: Iterable[Cell]) -> list[Cell]:
    """The table's own cells, in networks with a secret."""
    return [replace(cell, is_secret=True) for cell in cells if not cell.variant]


def measure_virtual(cells: Sequence[Cell], seeds: int, jobs: int, ledger: Ledger) -> None:
    """All cells, cut into pieces for several processes."""
    wanted = [cell for cell in cells if not ledger.has(cell, "virtual", _seeds(cell, seeds))]
    ledger.keep((cell, "virtual") for cell in cells if cell not in wanted)
    with ProcessPoolExecutor(jobs, initializer=_collect_seldom) as pool:
        pieces = [
            (cell, [pool.submit(play_seeds, cell, piece) for piece in _pieces(cell, seeds)])
            for cell in wanted
        ]
        for cell, futures in pieces:
            ledger.add(cell, "virtual", [run for future in futures for run in future.result()])


def measure_real(lab: str, runs: int, cells: Sequence[Cell], labs: int, ledger: Ledger) -> bool:
    """The runs of a row, shared by its cells; so many laboratories side by side.  Whether all
    laboratories could be built."""
    playable = [cell for cell in cells if _plays(lab, cell)]
    shares = {cell: _share(cell, playable, runs) for cell in playable}
    wanted = [cell for cell in playable if not ledger.has(cell, lab, shares[cell])]
    ledger.keep((cell, lab) for cell in playable if cell not in wanted)
    complete = True
    for waits in (False, True):
        side_by_side = labs * WAITING_LABS if waits else labs
        with ProcessPoolExecutor(side_by_side) as pool:
            pieces = [
                (cell, [pool.submit(real_matrix.play, lab, cell, piece) for piece in ranges])
                for cell in wanted
                if cell.wants_verdict == waits
                for ranges in [_ranges(shares[cell], RUNS_IN_A_LAB)]
            ]
            for cell, futures in pieces:
                complete &= _collected(cell, lab, futures, ledger)
    return complete


def recorded(measured: Sequence[Figures]) -> dict[str, Figure]:
    """Of each row of each laboratory the share that has what the table wants, and the median."""
    found = {}
    for row, lab in dict.fromkeys((f.row, f.lab) for f in measured if not f.variant):
        summary = line([f for f in measured if (f.row, f.lab, f.variant) == (row, lab, "")])
        assert summary is not None
        share = summary.direct / summary.runs
        found[f"matrix, {lab}: {row}, share"] = Figure(share, "of 1", "more")
        if summary.median_s is not None:
            found[f"matrix, {lab}: {row}, median"] = Figure(summary.median_s, "s")
    return found


def _collected(cell: Cell, lab: str, futures: Sequence[Future[list[Run]]], ledger: Ledger) -> bool:
    try:
        ledger.add(cell, lab, [run for future in futures for run in future.result()])
    except (WorldError, AssertionError, OSError) as error:
        print(f"{lab:8}{cell.name}: {error}", file=sys.stderr)
        return False
    return True


def _plays(lab: str, cell: Cell) -> bool:
    if cell.only_virtual:
        return False
    if lab == "kernel":
        return real_grounds.plays(cell)
    return NO_HOP not in cell.variant  # two real routers on one segment are the kernel's


def _share(cell: Cell, cells: Sequence[Cell], runs: int) -> int:
    if cell.wants_verdict:
        runs = max(1, round(runs * VERDICT_SHARE))
    elif cell.is_early:
        runs = max(1, round(runs * EARLY_SHARE))
    siblings = sum((c.row, c.variant) == (cell.row, cell.variant) for c in cells)
    return -(-runs // siblings)


def play_seeds(cell: Cell, seeds: range) -> list[Run]:
    return [
        virtual_matrix.play(cell, seed, looks_at_rest=seed < SEEDS_AT_REST and not cell.variant)
        for seed in seeds
    ]


def _collect_seldom() -> None:
    """A meeting leaves little behind, and looking for it often takes a tenth of the time."""
    gc.freeze()
    gc.set_threshold(ALLOCATIONS_UNTIL_COLLECTED)


def _seeds(cell: Cell, seeds: int) -> int:
    if cell.is_early or cell.is_secret:
        return max(1, round(seeds * VARIANT_SHARE))
    return seeds


def _pieces(cell: Cell, seeds: int) -> Iterator[range]:
    return _ranges(_seeds(cell, seeds), CHUNK)


def _ranges(count: int, most: int) -> Iterator[range]:
    for first in range(0, count, most):
        yield range(first, min(first + most, count))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="every pair of NATs in three laboratories")
    for lab in LABS:
        parser.add_argument(f"--{lab}", action="store_true")
    parser.add_argument("--all", action="store_true", help="the whole table, going on where it was")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="of each virtual cell")
    parser.add_argument("--runs", type=int, default=RUNS, help="of each row with real daemons")
    parser.add_argument("--secret", action="store_true", help="in networks with a secret")
    parser.add_argument(
        "--delay",
        type=float,
        default=ACCESS_DELAY_S * 1000,
        metavar="MS",
        help="one way, at each access",
    )
    parser.add_argument("--hops", type=int, default=HOPS, help="routers between the NATs")
    parser.add_argument(
        "--jitter", type=float, default=0.0, metavar="MS", help="more, of every packet"
    )
    parser.add_argument(
        "--settled",
        type=float,
        default=SETTLED_S,
        metavar="S",
        help="how long the virtual resident has been there",
    )
    parser.add_argument("--jobs", type=int, default=2, help="processes for the virtual internet")
    parser.add_argument("--labs", type=int, default=2, help="laboratories at once, real and kernel")
    parser.add_argument("--cells", nargs="+", default=["*"], metavar="GLOB", help="cells or rows")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--readme", type=Path, metavar="FILE", help="put the tables into this file")
    add_record_option(parser)
    parser.add_argument("--markdown", type=Path, nargs="+", metavar="FILE")
    return parser


def _varied(cells: Iterable[Cell], given: argparse.Namespace) -> list[Cell]:
    """The cells as the options want them; those of one segment stay there."""
    if given.secret:
        cells = secret(cells)
    return [
        cell
        if NO_HOP in cell.variant
        else replace(
            cell,
            delay_s=given.delay / 1000,
            hops=given.hops,
            settled_s=given.settled,
            more_jitter_s=given.jitter / 1000,
        )
        for cell in cells
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.markdown:
        print(markdown(load_all(given.markdown)), end="")
        return 0
    labs = [lab for lab in LABS if getattr(given, lab)] or list(LABS)
    cells = _varied(chosen(*given.cells), given)
    if not cells:
        parser.error(f"no cell is named {' or '.join(given.cells)}")
    ledger = Ledger(given.json, commit(), resumes=given.all)
    began_at = time.monotonic()
    complete = True
    if "virtual" in labs:
        measure_virtual(cells, given.seeds, given.jobs, ledger)
        if given.all and not given.secret:
            measure_virtual(secret(cells), given.seeds, given.jobs, ledger)
    for lab in ("real", "kernel"):
        if lab in labs:
            complete &= measure_real(lab, given.runs, cells, given.labs, ledger)
    print(report(ledger.fresh))
    print(f"took {(time.monotonic() - began_at) / 60:.0f} minutes")
    if given.readme:
        insert(given.readme, "matrix", markdown(ledger.fresh))
        insert(given.readme, "population", population.told(ledger.fresh))
    if given.record:
        record(given.record, recorded(ledger.fresh))
    return 0 if complete and all_met(ledger.fresh) else 1


if __name__ == "__main__":
    sys.exit(main())
