"""What CI does with a test that is skipped, who runs beside whom, and what is measured."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ONE_WORKER, UNMEASURED

SOURCE = Path(__file__).parent.parent

SKIPPING = """
import pytest
from tests.requirements import requires

@requires("command:no-such-command")
def test_with_a_requirement(): ...

@pytest.mark.skip(reason="marked so")
def test_marked(): ...

def test_that_skips_itself():
    pytest.skip("itself")
"""


def test_a_skipped_test_tells_its_reason_and_fails_in_ci(tmp_path: Path) -> None:
    for ci, code in ("false", 0), ("true", 1):
        ended = run_pytest(tmp_path, ci)
        assert ended.returncode == code, ended.stdout
        for reason in "there is no command no-such-command", "marked so", "itself":
            assert reason in ended.stdout
        assert ("3 skipped" in ended.stdout) == (ci == "false")


def test_of_two_workers_one_runs_all_that_waits_for_real_processes() -> None:
    """A version of pytest that names tests otherwise must not scatter them without a word."""
    some = ["tests/host/test_notify.py", "tests/core/base/test_timers.py"]
    options = ["-v", "--numprocesses", "2", "-p", "no:cacheprovider"]
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *some],
        cwd=SOURCE,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    ran = re.findall(r"^\[(gw\d)\].* PASSED tests/(\w+)/", ended.stdout, re.MULTILINE)
    assert len([where for _, where in ran if where == "host"]) >= 6, ended.stdout
    assert len({worker for worker, where in ran if where == "host"}) == 1
    assert {worker for worker, _ in ran} == {"gw0", "gw1"}


@pytest.mark.parametrize("beginning", ONE_WORKER + UNMEASURED)
def test_what_is_named_for_its_cost_is_still_there(beginning: str) -> None:
    """A file that was renamed would run slowly without a word."""
    file, _, test = beginning.partition("::")
    assert (SOURCE / file).exists()
    assert not test or f"\ndef {test}" in (SOURCE / file).read_text()


def run_pytest(directory: Path, ci: str) -> "subprocess.CompletedProcess[str]":
    (directory / "test_skipping.py").write_text(SKIPPING)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-ra", "-p", "tests.conftest", "test_skipping.py"],
        cwd=directory,
        env=os.environ | {"CI": ci, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
