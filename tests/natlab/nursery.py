"""Daemons that start at once: forked from a process that has loaded everything already.

    with TunInternet() as lab:
        ...
        lab.start()
        programs = Programs(Nurseries(lab), directory)

A start of `natd` is 0.4 s of loading modules, the same in every run; a measurement of a hundred
runs has better uses for a machine with two cores.  What is forked is `natd` from its command line
on, in a process of its own, with its own state; nothing but modules was loaded before.

Each namespace has a nursery, a program that is started when it is first asked for one.  It reads
a line of JSON for each child, `{"arguments", "environment", "log"}`, answers with its pid, and
reaps it.
"""

import contextlib
import ctypes
import gc
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from tests.natlab.interpreter import python

_PR_SET_PDEATHSIG = 1


class Child:
    """What is used of `subprocess.Popen`, of a process that somebody else's child is."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._pidfd: int | None = os.pidfd_open(pid)

    def poll(self) -> int | None:
        """0 when it has ended; nobody but its parent knows its exit code."""
        return 0 if self._ended(0.0) else None

    def wait(self, timeout: float | None = None) -> int:
        if not self._ended(timeout):
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
        return 0

    def send_signal(self, number: int) -> None:
        if self._pidfd is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _ended(self, timeout: float | None) -> bool:
        if self._pidfd is None:
            return True
        ready, _, _ = select.select([self._pidfd], [], [], timeout)
        if ready:
            os.close(self._pidfd)
            self._pidfd = None
        return bool(ready)


class Nurseries:
    """A laboratory in which `natd` is forked; every other program is started as ever."""

    def __init__(self, lab: Any) -> None:
        self._lab = lab
        self._nurseries: dict[str, subprocess.Popen[bytes]] = {}

    def popen(self, name: str, argv: Sequence[str | Path], **options: Any) -> Any:
        command = [str(word) for word in argv]
        natd = [str(word) for word in python("-m", "natd")]
        if command[: len(natd)] != natd or "--server" in command:
            return self._lab.popen(name, argv, **options)
        return self._fork(name, command[len(natd) :], options["env"], Path(options["stdout"].name))

    def run(self, name: str, argv: Sequence[str | Path], **options: Any) -> str:
        return str(self._lab.run(name, argv, **options))

    def address(self, name: str) -> str:
        return str(self._lab.address(name))

    def _fork(self, name: str, arguments: list[str], environment: Any, log: Path) -> Child:
        if name not in self._nurseries:
            self._nurseries[name] = self._lab.popen(
                name,
                python("-m", "tests.natlab.nursery"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
        nursery = self._nurseries[name]
        assert nursery.stdin is not None
        assert nursery.stdout is not None
        order = {"arguments": arguments, "environment": dict(environment), "log": str(log)}
        nursery.stdin.write(json.dumps(order).encode() + b"\n")
        nursery.stdin.flush()
        return Child(int(nursery.stdout.readline()))


def serve(orders: IO[bytes], answers: IO[bytes]) -> None:
    """Fork a daemon for each line, until there are no more."""
    import psutil  # noqa: F401
    import zmq.asyncio  # noqa: F401

    import natd.daemon.daemon
    import natd.daemon.engine  # noqa: F401
    from natd.__main__ import run
    from natd.core.session.session import prepare_sessions

    prepare_sessions()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.freeze()
    for line in orders:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _become(order)
            os._exit(run(order["arguments"]))
        answers.write(b"%d\n" % pid)
        answers.flush()


def _become(order: dict[str, Any]) -> None:
    """A process of its own, as one that was just executed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(order["environment"])
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for target, source in ((0, nothing), (1, log), (2, log)):
        os.dup2(source, target)
    os.close(log)
    os.close(nothing)


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
