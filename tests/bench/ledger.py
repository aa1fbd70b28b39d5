"""What was measured of the matrix so far, on disk after every cell.

A measurement that was stopped can go on where it was: then a cell that has its runs at this very
commit is not measured again.  The commit of a tree with changes on top says nothing of its code,
so there everything is.
"""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.bench.cells import Cell
from tests.bench.figures import Figures, Run, load, save, summarise
from tests.bench.record import CHANGED


class Ledger:
    """What is measured in this call, on top of what the file has already."""

    def __init__(self, path: Path | None, commit: str, *, resumes: bool = False) -> None:
        self._path = path
        self._commit = commit
        self._resumes = resumes and not commit.endswith(CHANGED)
        self._figures: dict[tuple[str, str], Figures] = {}
        if path is not None and path.exists():
            self._figures = {(figures.lab, figures.cell): figures for figures in load(path)}
        self.fresh: list[Figures] = []

    def has(self, cell: Cell, lab: str, runs: int) -> bool:
        """Whether this cell was measured at this commit, with as many runs."""
        found = self._figures.get((lab, cell.name))
        if found is None or not self._resumes:
            return False
        return found.commit == self._commit and found.runs >= runs

    def keep(self, cells: Iterable[tuple[Cell, str]]) -> None:
        """Count what was measured in an earlier call as measured in this one."""
        self.fresh += [self._figures[lab, cell.name] for cell, lab in cells]

    def add(self, cell: Cell, lab: str, runs: Sequence[Run]) -> None:
        figures = summarise(cell, lab, runs, self._commit)
        self.fresh.append(figures)
        self._figures[lab, cell.name] = figures
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            save(self._path, self._figures.values())
        count = figures.verdicts if cell.wants_verdict else figures.direct
        told = "" if figures.median_s is None else f", median {figures.median_s:.3f} s"
        print(
            f"{lab:8}{cell.name}: {count} of {figures.runs}{told}"
            f"{'' if figures.met or not figures.is_judged else '  MISSED'}",
            file=sys.stderr,
            flush=True,
        )
