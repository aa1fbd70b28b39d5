"""The patches of this folder: read, applied to a copy of the source, and their tests run there."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.processes import SOURCE, run_pytest

FOLDER = Path(__file__).parent

TEST_LIMIT_S = 300.0

FAILED = 1
"""What pytest ends with when tests have failed; anything else is no red test."""


@dataclass(frozen=True, slots=True)
class Patch:
    name: str
    promise: str
    tests: tuple[str, ...]
    text: str


def patches() -> list[Patch]:
    """By name; ValueError for one without its head."""
    return [_read(path) for path in sorted(FOLDER.glob("*.patch"))]


def _read(path: Path) -> Patch:
    text = path.read_text()
    head = text.partition("diff --git")[0].splitlines()
    promises = [line.partition(":")[2].strip() for line in head if line.startswith("Promise:")]
    tests = [line.partition(":")[2].strip() for line in head if line.startswith("Test:")]
    if len(promises) != 1 or not tests:
        raise ValueError(f"{path.name}: expected one line `Promise:` and lines `Test:` at its head")
    return Patch(path.stem, promises[0], tuple(tests), text)


def applies(patch: Patch, source: Path) -> str | None:
    """Why it can't be applied there; None if it can.  Changes nothing."""
    return _git_apply(patch, source, "--check")


def turns_red(patch: Patch, directory: Path) -> str | None:
    """Apply it to a copy of the source in `directory`; why its tests show nothing, or None."""
    copy_of_source(directory)
    if (problem := _git_apply(patch, directory)) is not None:
        return problem
    code, printed, last = run_pytest(patch.tests, directory, TEST_LIMIT_S)
    green = [test for test in patch.tests if f"FAILED {test}" not in printed]
    if code == FAILED and not green:
        return None
    return f"pytest ended with {code}; not red: {', '.join(green)}; {last}"


def copy_of_source(directory: Path) -> None:
    """What git knows of, and what is new and not ignored, as it stands here."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=SOURCE,
        capture_output=True,
        check=True,
    ).stdout.decode()
    for name in filter(None, listed.split("\0")):
        if (SOURCE / name).is_file():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).write_bytes((SOURCE / name).read_bytes())
            (directory / name).chmod((SOURCE / name).stat().st_mode & 0o777)


def _git_apply(patch: Patch, directory: Path, *flags: str) -> str | None:
    done = subprocess.run(
        ["git", "apply", *flags, "-"],
        cwd=directory,
        input=patch.text,
        capture_output=True,
        text=True,
        # A copy below another repository is no part of it.
        env={"GIT_CEILING_DIRECTORIES": str(directory.parent), "PATH": "/usr/bin:/bin"},
        check=False,
    )
    return None if done.returncode == 0 else f"does not apply: {done.stderr.strip()}"
