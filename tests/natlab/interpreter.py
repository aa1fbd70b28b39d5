"""Command lines of the interpreter that runs the tests, with our packages importable."""

import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def python(*arguments: str | Path) -> list[str | Path]:
    return ["env", f"PYTHONPATH={REPOSITORY}", sys.executable, *arguments]
