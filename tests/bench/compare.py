"""What got worse between two recordings.

    python -m tests.bench.compare OLD.json NEW.json [--tolerance 1.05]

A ratio says how many times worse the new figure is: new / old where less is better, old / new
where more is.  The exit status is 1 where one is above the tolerance.  A figure that only one of
the two has is told and decides nothing.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path

from tests.bench.record import Figure, Recording, load

TOLERANCE = 1.05
"""Of quiet machines; medians of some twenty runs differ by less from run to run."""


@dataclass(frozen=True, slots=True)
class Change:
    """A figure in both recordings."""

    name: str
    old: Figure
    new: Figure

    @property
    def ratio(self) -> float:
        """Above 1: it got worse."""
        less, more = self.new.value, self.old.value
        if self.new.better == "more":
            less, more = more, less
        if more == 0.0:
            return 1.0 if less == 0.0 else inf
        return less / more


def changes(old: Mapping[str, Figure], new: Mapping[str, Figure]) -> list[Change]:
    """In the order of the new recording."""
    return [Change(name, old[name], figure) for name, figure in new.items() if name in old]


def table(found: Sequence[Change], tolerance: float) -> str:
    """A line for each."""
    width = max((len(change.name) for change in found), default=4)
    lines = [f"{'name':{width}}  {'old':>12}  {'new':>12}  {'ratio':>6}"]
    for change in found:
        worse = "  WORSE" if change.ratio > tolerance else ""
        lines.append(
            f"{change.name:{width}}  {_number(change.old.value):>12}  "
            f"{_number(change.new.value):>12}  {change.ratio:6.3f}  {change.new.unit}{worse}"
        )
    return "\n".join(lines)


def verdict(found: Sequence[Change], tolerance: float) -> int:
    """The exit status: 1 where something got worse, or where nothing can be compared."""
    if not found:
        print("no figure is in both", file=sys.stderr)
        return 1
    return 1 if any(change.ratio > tolerance for change in found) else 0


def other_machines(old: Recording, new: Recording) -> list[str]:
    """What differs between the two machines: then the ratios say little about the code."""
    names = dict.fromkeys((*old.machine, *new.machine))
    return [
        f"another {name}: {old.machine.get(name)} -> {new.machine.get(name)}"
        for name in names
        if old.machine.get(name) != new.machine.get(name)
    ]


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="what got worse between two recordings")
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--tolerance", type=float, default=TOLERANCE)
    given = parser.parse_args(arguments)
    old, new = load(given.old), load(given.new)
    print(f"old {old.commit}, new {new.commit}")
    found = changes(old.figures, new.figures)
    print(table(found, given.tolerance))
    for name in sorted(old.figures.keys() ^ new.figures.keys()):
        print(f"only in the {'old' if name in old.figures else 'new'}: {name}")
    for line in other_machines(old, new):
        print(line)
    return verdict(found, given.tolerance)


if __name__ == "__main__":
    sys.exit(main())
