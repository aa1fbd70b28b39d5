"""Show every promise, and print the tables with a measured column."""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.processes import SOURCE, run_pytest
from tests.promises import LONG, MEASURED
from tests.promises.rows import TABLES, Row

README = SOURCE / "tests" / "README.md"
BEGIN, END = "<!-- promises: begin -->", "<!-- promises: end -->"

ROW_LIMIT_S = 3600.0


@dataclass(frozen=True, slots=True)
class Shown:
    row: Row
    held: bool
    measured: str


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.promises", description=__doc__)
    parser.add_argument("--short", action="store_true", help="as `make test` runs them")
    parser.add_argument("--only", metavar="WORD", help="rows with this word")
    parser.add_argument("--write", action="store_true", help="put the tables into tests/README.md")
    chosen = parser.parse_args()
    tables: dict[str, list[Shown]] = {}
    for title, rows in TABLES.items():
        for row in rows:
            if chosen.only is None or chosen.only in f"{row.promise} {row.tests}":
                shown = show(row, is_long=not chosen.short)
                print(f"{'held' if shown.held else 'BROKEN':7}{row.promise}: {shown.measured}")
                sys.stdout.flush()
                tables.setdefault(title, []).append(shown)
    text = told(tables)
    print(text)
    if chosen.write:
        before, _, rest = README.read_text().partition(BEGIN)
        _, _, after = rest.partition(END)
        README.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}")
    return 0 if all(shown.held for rows in tables.values() for shown in rows) else 1


def show(row: Row, *, is_long: bool) -> Shown:
    """Run the tests of a row; what they have measured, or how many have passed."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "measured"
        file.touch()
        environ = {MEASURED: str(file), LONG: "1" if is_long else "0", "CI": "true"}
        code, _, last = run_pytest(row.tests, SOURCE, ROW_LIMIT_S, environ)
        lines = [json.loads(line)["measured"] for line in file.read_text().splitlines()]
    held, measured = code == 0, "; ".join(dict.fromkeys(lines)) or last.strip("= ")
    if is_long and row.program:
        held_long, measured = run_at_length(row.program)
        held = held and held_long
    return Shown(row, held, measured if held else f"{last}; {measured}")


def run_at_length(program: Sequence[str]) -> tuple[bool, str]:
    """Whether it ended well, and its last line."""
    done = subprocess.run(
        [sys.executable, "-m", *program],
        cwd=SOURCE,
        capture_output=True,
        text=True,
        timeout=ROW_LIMIT_S,
        check=False,
    )
    return done.returncode == 0, (done.stdout.strip().splitlines() or [done.stderr[-200:]])[-1]


def told(tables: dict[str, list[Shown]]) -> str:
    """Markdown."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=SOURCE,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    parts = []
    for title, shown in tables.items():
        parts += [f"**{title}** (measured at {commit})", ""]
        parts += table([(each.row.promise, each.row.figure, each.measured) for each in shown])
        parts.append("")
    return "\n".join(parts)


def table(rows: Sequence[tuple[str, str, str]]) -> list[str]:
    head = ["| promise | figure | measured |", "|---|---|---|"]
    return head + [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows]


if __name__ == "__main__":
    sys.exit(main())
