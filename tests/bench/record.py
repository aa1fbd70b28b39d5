"""What a bench measured, on disk: figures with the commit and the machine they are of.

    python -m tests.bench.record            begin build/bench-COMMIT.json and print its path
    python -m tests.bench.X --record FILE   every bench adds its figures to such a file
    python -m tests.bench.compare OLD NEW   what got worse

    {"v": 1, "commit": "88ba9a8b1c2d", "machine": {"cpu", "cores", "python", "system"},
     "figures": {"local: latency, median": {"value": 2.1, "unit": "ms", "better": "less"}}}

A commit that ends in `+` had changes on top, in something other than documents.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

VERSION = 1

CHANGED = "+"
"""Behind a commit: the code, its settings or its tests had changes on top."""

REPOSITORY = Path(__file__).resolve().parents[2]

CPU_INFO = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True)
class Figure:
    """One number, and which way it gets better."""

    value: float
    unit: str
    better: Literal["less", "more"] = "less"


@dataclass(frozen=True, slots=True)
class Recording:
    """All figures of one commit on one machine."""

    commit: str
    machine: dict[str, str]
    figures: dict[str, Figure]


def begin(path: Path) -> None:
    """A file without figures; what was there before is replaced."""
    _save(path, Recording(commit(), machine(), {}))


def record(path: Path, figures: Mapping[str, Figure]) -> None:
    """Add figures; one that was there already is replaced."""
    if not path.exists():
        begin(path)
    recording = load(path)
    recording.figures.update(figures)
    _save(path, recording)


def load(path: Path) -> Recording:
    """ValueError if it is no such file."""
    value = json.loads(path.read_text())
    if not isinstance(value, dict) or value.get("v") != VERSION or "machine" not in value:
        raise ValueError(f"{path}: not a recording of version {VERSION}")
    figures = {name: Figure(**figure) for name, figure in value["figures"].items()}
    return Recording(value["commit"], value["machine"], figures)


def _save(path: Path, recording: Recording) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(".new")
    value = {"v": VERSION} | asdict(recording)
    aside.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n")
    aside.replace(path)


def commit() -> str:
    """The commit of this tree, with `CHANGED` where something in it differs, documents apart."""
    described = _git("describe", "--always", "--abbrev=12")
    if described.returncode != 0:
        return "unknown"
    differs = _git("diff", "--quiet", "HEAD", "--", ".", ":!*.md").returncode != 0
    return described.stdout.strip() + CHANGED * differs


def _git(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["git", "-C", str(REPOSITORY), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def machine() -> dict[str, str]:
    """What figures depend on besides the code."""
    return {
        "cpu": _cpu_model(),
        "cores": str(len(os.sched_getaffinity(0))),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
    }


def _cpu_model() -> str:
    for line in CPU_INFO.read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def add_record_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--record", type=Path, metavar="FILE", help="add the figures to this file")


def main() -> int:
    path = REPOSITORY / "build" / f"bench-{commit()}.json"
    begin(path)
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
