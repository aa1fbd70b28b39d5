"""A test that fails leaves no process to the next, where it would fail that one, too."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import end, started

TESTS = Path(__file__).parent

ENDING_THEIRS = {
    "processes.py": "`started`, and `Process`, which is a context manager",
    "bench/startup.py": "a bench: no test runs it",
    "frontends/test_plain_and_pipe.py": "a fixture of every test there",
    "natctl/test_natctl_daemon.py": "the fixture of the module",
    "systemd/container.py": "`Container`, which is a context manager",
}

WAITS = [sys.executable, "-c", "input()"]


def test_a_program_ends_with_the_block_that_failed() -> None:
    def fail() -> None:
        pipe = subprocess.PIPE
        with started(WAITS, stdin=pipe, stdout=pipe, text=True) as process:
            begun.append(process)
            assert process.stdin is not None
            process.stdin.write("not flushed")
            raise AssertionError("what the test is about")

    begun: list[subprocess.Popen[str]] = []
    with pytest.raises(AssertionError, match="what the test is about"):
        fail()
    (process,) = begun
    assert process.returncode is not None
    assert process.stdin is not None
    assert process.stdin.closed
    end(process)


def test_every_program_is_started_by_who_ends_it() -> None:
    """Others take `tests.processes.started`, or a laboratory's `popen`."""
    starting = {
        str(path.relative_to(TESTS))
        for path in TESTS.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("subprocess.Popen")
    }
    assert starting == ENDING_THEIRS.keys()
