"""What a daemon that was started by hand gives up, as under systemd."""

import contextlib
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import Daemon, Process, Server

PROGRAM = """
import ctypes, os, sys
from natd.host.hardening import harden
if os.getuid() == 0:
    os.setuid(65534)
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # as a program is that nobody has hardened
ours, theirs = os.pipe()
held, holds = os.pipe()
child = os.fork()
if child == 0:
    if sys.argv[1] == "hard":
        harden()
    os.write(theirs, b".")
    os.close(holds)
    os.read(held, 1)
    os._exit(0)
os.read(ours, 1)
for name in ("environ", "mem", "maps"):
    try:
        open(f"/proc/{child}/{name}", "rb").close()
        print(name)
    except PermissionError:
        pass
print(open(f"/proc/{child}/status").readline().partition(":")[0])
os.close(holds)
os.waitpid(child, 0)
"""


@pytest.mark.parametrize("kind", [Daemon, Server])
def test_no_new_privileges_and_no_core_file_for_whoever_starts_it(
    kind: type[Process], tmp_path: Path
) -> None:
    with cores_allowed(), kind(tmp_path) as process:
        status = Path(f"/proc/{process.pid}/status").read_text()
        assert "NoNewPrivs:\t1\n" in status
        limits = Path(f"/proc/{process.pid}/limits").read_text().splitlines()
        (line,) = [line for line in limits if line.startswith("Max core file size")]
        assert line.split()[4:6] == ["0", "0"]


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT])
@pytest.mark.parametrize("kind", [Daemon, Server])
def test_a_crash_leaves_no_core(kind: type[Process], number: int, tmp_path: Path) -> None:
    with cores_allowed(), kind(tmp_path) as process:
        os.kill(process.pid, number)
        _, status = os.waitpid(process.pid, 0)
        assert os.WTERMSIG(status) == number
        assert not os.WCOREDUMP(status)


def test_programs_of_the_same_user_can_not_look_into_it() -> None:
    assert seen("soft") == ["environ", "mem", "maps", "Name"]
    assert seen("hard") == ["Name"], "and everybody still sees that it is there"


def seen(how: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True
    )
    return done.stdout.split()


@contextlib.contextmanager
def cores_allowed() -> Iterator[None]:
    """For the programs that are started meanwhile, as on a developer's machine."""
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))
