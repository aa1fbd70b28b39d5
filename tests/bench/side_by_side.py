"""Two checkouts, measured in turns on one machine: is the new one slower?

    python -m tests.bench.side_by_side --old DIR [--new DIR] [--rounds 5] [--only first_message]

In every round each checkout runs its own benches with its own `.venv`, and the one that comes
first takes turns, so that a busy moment of the machine meets both.  The ratios are of the medians
over all rounds; the matrix runs in virtual time, where a seed gives the same run always, so once
is enough.  The exit status is as that of `compare`.

    matrix          the easy rows in virtual time
    first_message   real daemons over TUN
    startup         natctl status, natd
    local           two daemons on this machine

Of an older checkout only what it prints is used.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

from tests.bench.compare import TOLERANCE, changes, table, verdict
from tests.bench.record import REPOSITORY, Figure

Figures = dict[str, Figure]

SEEDS = 50
EASY_ROWS = (
    "easy",
    "accepting",
    "by address",
    "random",
    "block, easy",
    "same LAN",
    "IPv6",
    "nested",
)
RUNS = 10
"""First messages of each pair and speaker in a round."""

STARTUP_LINES = {
    r"natctl status .*\((\d+) ms, \d+ ms\)": ("startup: natctl status", "ms"),
    r"natctl status +([\d.]+) x": ("startup: natctl status, of an empty Python", "x"),
    r"natd ready +(\d+) ms": ("startup: natd ready", "ms"),
    r"natd idle +([\d.]+) MiB": ("startup: natd idle", "MiB"),
}


def run(checkout: Path, *arguments: str) -> str:
    """What a bench of a checkout prints.  Whether it met its targets is not asked here."""
    done = subprocess.run(
        [checkout / ".venv" / "bin" / "python", "-m", *arguments],
        cwd=checkout,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 1) or not done.stdout:
        raise SystemExit(f"{checkout}: {' '.join(arguments)} ended with {done.returncode}")
    return done.stdout


def matrix(checkout: Path) -> Figures:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "figures.json"
        options = ("--virtual", "--seeds", str(SEEDS), "--cells", *EASY_ROWS, "--json", str(path))
        run(checkout, "tests.bench.matrix", *options)
        cells = json.loads(path.read_text())["cells"]
    figures: Figures = {}
    for cell in cells:
        name = f"matrix: {cell['cell']}"
        figures[f"{name}, direct"] = Figure(cell["direct"] / cell["runs"], "of 1", "more")
        if cell["median_s"] is not None:
            figures[f"{name}, median"] = Figure(cell["median_s"], "s")
    return figures


def first_message(checkout: Path) -> Figures:
    told = run(checkout, "tests.bench.first_message", "--runs", str(RUNS), "--json")
    return {
        f"first message: {result['pair']}, {result['speaker']} speaks": Figure(
            result["median_ms"], "ms"
        )
        for result in json.loads(told)["results"]
    }


def startup(checkout: Path) -> Figures:
    told = run(checkout, "tests.bench.startup")
    figures: Figures = {}
    for pattern, (name, unit) in STARTUP_LINES.items():
        found = re.search(pattern, told)
        if found is None:
            raise SystemExit(f"{checkout}: startup does not tell {name}: {told}")
        figures[name] = Figure(float(found[1]), unit)
    return figures


def local(checkout: Path) -> Figures:
    told: dict[str, float] = json.loads(run(checkout, "tests.bench.local"))
    more = {name for name in told if name.endswith("_per_s")}
    return {
        f"local: {name}": Figure(value, "", "more" if name in more else "less")
        for name, value in told.items()
    }


BENCHES: dict[str, Callable[[Path], Figures]] = {
    "matrix": matrix,
    "first_message": first_message,
    "startup": startup,
    "local": local,
}

ONCE = ("matrix",)


def measure(checkouts: Sequence[Path], bench: str, rounds: int) -> list[Figures]:
    """For each checkout the medians over all rounds."""
    found: dict[Path, list[Figures]] = {checkout: [] for checkout in checkouts}
    for number in range(1 if bench in ONCE else rounds):
        for checkout in checkouts if number % 2 == 0 else reversed(checkouts):
            print(f"{bench}, round {number + 1}: {checkout}", file=sys.stderr, flush=True)
            found[checkout].append(BENCHES[bench](checkout))
    return [medians(found[checkout]) for checkout in checkouts]


def medians(rounds: Sequence[Mapping[str, Figure]]) -> Figures:
    return {
        name: replace(figure, value=median(each[name].value for each in rounds))
        for name, figure in rounds[0].items()
        if all(name in each for each in rounds)
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="two checkouts, measured in turns")
    parser.add_argument("--old", type=Path, required=True, metavar="DIR")
    parser.add_argument("--new", type=Path, default=REPOSITORY, metavar="DIR")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=BENCHES, default=list(BENCHES))
    parser.add_argument("--tolerance", type=float, default=TOLERANCE)
    given = parser.parse_args()
    checkouts = (given.old.resolve(), given.new.resolve())
    old: Figures = {}
    new: Figures = {}
    for checkout in checkouts:  # who runs first would pay for the byte code
        subprocess.run(
            [checkout / ".venv/bin/python", "-m", "compileall", "-q", "natd", "natctl", "tests"],
            cwd=checkout,
            check=True,
        )
    for bench in given.only:
        before, after = measure(checkouts, bench, given.rounds)
        old |= before
        new |= after
    found = changes(old, new)
    print(table(found, given.tolerance))
    return verdict(found, given.tolerance)


if __name__ == "__main__":
    sys.exit(main())
