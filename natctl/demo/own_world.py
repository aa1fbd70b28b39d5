"""Network namespaces that leave no trace, and programs run in them.

A keeper process holds a mount namespace with its own /run and with it every named network
namespace of one laboratory.  It lives until its standard input closes, so a program that is killed
takes its laboratory with it; programs started here die with the thread that started them.

Tools: unshare, nsenter and setpriv of util-linux, `ip`, `nft`, `sysctl`.
"""

import contextlib
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from natctl.demo.namespaces import PREPARE, Topology, own_world

ADMINISTRATORS_PATH = "/usr/local/sbin:/usr/sbin:/sbin"
"""Where the tools are that not every user has on the PATH."""

UNLESS_ORPHANED = 'test "$PPID" = "$0" && exec "$@"'
"""A parent that was killed before the death signal was asked for can't send it any more."""

WORLD_START_LIMIT_S = 20.0
STOP_LIMIT_S = 5.0


class WorldError(Exception):
    """There can be no such namespaces here; the text is what the tool said."""


class Namespaces:
    """A set of network namespaces, by name.  Closing it ends what was started in them."""

    def __init__(self) -> None:
        self._root = os.geteuid() == 0
        self._started: list[subprocess.Popen[Any]] = []
        self._environment = os.environ | {
            "PATH": f"{os.environ.get('PATH', os.defpath)}:{ADMINISTRATORS_PATH}"
        }
        try:
            keeper = subprocess.Popen(
                own_world(["sh", "-c", f"{PREPARE} && echo $$ && read -r end"], root=self._root),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=self._environment,
            )
        except FileNotFoundError as error:
            raise WorldError(f"{error.filename} is not installed") from error
        assert keeper.stdout is not None
        self._keeper = keeper
        line = keeper.stdout.readline().strip()
        if not line.isdigit():
            keeper.kill()
            _, errors = keeper.communicate()
            raise WorldError(f"no namespaces of our own: {errors.strip()}")
        self._pid = int(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def build(self, topology: Topology) -> None:
        """Make what the topology describes."""
        done = subprocess.run(
            self._inside(None, ["sh", "-e"]),
            input=topology.script(),
            capture_output=True,
            text=True,
            timeout=WORLD_START_LIMIT_S,
            check=False,
            env=self._environment,
        )
        if done.returncode != 0:
            raise WorldError(done.stderr.strip())

    def popen(
        self, name: str | None, argv: Sequence[str | Path], **options: Any
    ) -> "subprocess.Popen[Any]":
        """Start a program in a namespace (None: the keeper's own).  Its pid is the program's."""
        options.setdefault("env", self._environment)
        process = subprocess.Popen(self._inside(name, argv), **options)
        self._started.append(process)
        return process

    def run(
        self,
        name: str | None,
        argv: Sequence[str | Path],
        *,
        timeout_s: float = WORLD_START_LIMIT_S,
    ) -> str:
        """Run a program to its end and give its standard output."""
        done = subprocess.run(
            self._inside(name, argv),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            env=self._environment,
        )
        if done.returncode != 0:
            raise WorldError(f"{argv[0]}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def close(self) -> None:
        """End everything.  Harmless when it was done already."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
        for process in self._started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_LIMIT_S)
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    with contextlib.suppress(BrokenPipeError):
                        pipe.close()
        self._started.clear()
        if self._keeper.poll() is None:
            with contextlib.suppress(BrokenPipeError):
                self._keeper.communicate(timeout=STOP_LIMIT_S)

    def _inside(self, name: str | None, argv: Sequence[str | Path]) -> list[str]:
        users = [] if self._root else ["--user", "--preserve-credentials"]
        network = "--net" if name is None else f"--net=/proc/{self._pid}/root/run/netns/{name}"
        return [
            "nsenter",
            f"--target={self._pid}",
            *users,
            "--mount",
            network,
            f"--wd={os.getcwd()}",
            "setpriv",
            "--pdeathsig=KILL",
            *("sh", "-c", UNLESS_ORPHANED, str(os.getpid())),
            *(str(argument) for argument in argv),
        ]
