"""Whether the suite reaches as much of the source as it did: `python -m tests.coverage_floors`.

Reads what `pytest --cov` left in .coverage, prints both figures and exits 1 where one is below its
floor.  What runs in processes that tests start (daemons, commands) does not count.

Floors only go up: raise `FLOOR` when the whole is a percent above it.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.conftest import CORE_CONTEXT

FLOOR = 86.0
"""Per cent of the whole source, lines and branches together."""

CORE_FLOOR = 95.0
"""Per cent of the lines of natd/core, and of its branches, by the tests of tests/core alone."""

CORE_CONTEXTS = f"^$,^{CORE_CONTEXT}$"
"""The first is the import of the modules, before any test."""


def totals(*options: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "coverage.json"
        command = [sys.executable, "-m", "coverage", "json", "-q", "-o", str(path), *options]
        subprocess.run(command, check=True)
        found: dict[str, Any] = json.loads(path.read_text())["totals"]
        return found


def main() -> int:
    core = totals("--include=natd/core/*", f"--contexts={CORE_CONTEXTS}")
    figures = (
        ("the whole", totals()["percent_covered"], FLOOR),
        ("lines of natd/core by tests/core", core["percent_statements_covered"], CORE_FLOOR),
        ("branches of natd/core by tests/core", core["percent_branches_covered"], CORE_FLOOR),
    )
    for name, covered, floor in figures:
        low = "" if covered >= floor else "  TOO LOW"
        print(f"coverage of {name}: {covered:.2f} %, floor {floor:.0f} %{low}")
    return 1 if any(covered < floor for _, covered, floor in figures) else 0


if __name__ == "__main__":
    sys.exit(main())
