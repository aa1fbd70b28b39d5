"""Processes that end with their test, and real `natd` processes on loopback.

Each daemon lives in one directory of its own, for state and control socket, and has the
environment of nobody: HOME and XDG variables of the machine's user play no part.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from natd.ipc import Connection, UnreachableError

SOURCE = Path(__file__).resolve().parent.parent

START_LIMIT_S = 20.0
"""Far more than a start takes: the tests' machine may be busy with others."""


END_LIMIT_S = 30.0
"""For a process that was killed to be gone, on such a machine."""


@contextlib.contextmanager
def started(argv: Sequence[str | Path], **options: Any) -> "Iterator[subprocess.Popen[Any]]":
    """A program that does not outlive the block: a test that fails leaves nothing to the next."""
    process = subprocess.Popen(argv, **options)
    try:
        yield process
    finally:
        end(process)


def end(process: "subprocess.Popen[Any]") -> None:
    """Killed unless it has ended, waited for, its pipes closed.  Again is harmless."""
    if process.poll() is None:
        process.kill()
    process.wait(END_LIMIT_S)
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):  # what it was sent and has not read
                pipe.close()


class Process:
    """One `natd` process and its log."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.directory = directory
        self.arguments = arguments
        self.descriptors: int | None = None
        """Of `ulimit -n`; None: what we have ourselves."""
        self.process: subprocess.Popen[bytes] | None = None
        self.environ: dict[str, str] = {}
        """Beside what every daemon of the tests has."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text()

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def spawn(self) -> None:
        """Start without waiting for anything."""
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.directory),
            "NATD_PATHS_PORT_MAPPING": "false",
            "NATD_PATHS_LAN_DISCOVERY": "false",
            **self.environ,
        }
        limited = ["sh", "-c", f'ulimit -n {self.descriptors} && exec "$@"', "sh"]
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(limited if self.descriptors is not None else ()),
                    *(sys.executable, "-m", "natd", *self.arguments),
                ],
                cwd=SOURCE,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def start(self) -> None:
        self.spawn()
        until(self.is_ready, START_LIMIT_S, lambda: self.log)

    def is_ready(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"natd ended with {self.process.returncode}: {self.log}")
        return self.serves()

    def serves(self) -> bool:
        raise NotImplementedError

    def stop(self, number: int = signal.SIGTERM, limit_s: float = 10.0) -> int:
        """Ask to stop; the exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(limit_s)

    def kill(self) -> None:
        """kill -9, and again is harmless."""
        if self.process is not None:
            end(self.process)

    def memory_mib(self) -> float:
        """Resident set size."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) / 1024


class Server(Process):
    """`natd --server` on four free ports of 127.0.0.1."""

    def __init__(self, directory: Path, port: int | None = None) -> None:
        self.port = port or free_ports(4)
        super().__init__(directory, "--server", str(self.port), "--bind", "127.0.0.1")

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def serves(self) -> bool:
        return "started" in self.log


class Daemon(Process):
    """A peer daemon."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.socket = directory / "control.sock"
        places = ("--state-dir", str(directory), "--runtime-dir", str(directory))
        super().__init__(directory, *places, *arguments)

    def serves(self) -> bool:
        try:
            with self.connect():
                return True
        except UnreachableError:
            return False

    def connect(self, timeout_s: float = 20.0) -> Connection:
        return Connection(self.socket, timeout_s=timeout_s)

    def request(self, do: str, **fields: Any) -> dict[str, Any]:
        with self.connect() as connection:
            reply: dict[str, Any] = connection.request(do, **fields)
            return reply

    def join(self, network: str, server: str, nick: str, secret: str | None = None) -> None:
        self.request("join", network=network, servers=[server], nick=nick, secret=secret)

    def wait(self, peers: int = 1, network: str | None = None) -> None:
        self.request("wait", network=network, peers=peers, timeout_s=15.0)

    def texts(self, type_: str = "message") -> list[str]:
        """The texts of all events of a type, in order."""
        return [event["text"] for event in self.events(type_)]

    def events(self, *types: str) -> list[dict[str, Any]]:
        """All events of these types up to now."""
        with self.connect() as connection:
            last = connection.request("subscribe", types=[], since=0, credit=0)["last"]
        found: list[dict[str, Any]] = []
        if last == 0:
            return found
        with self.connect() as connection:
            stream = connection.events(since=0)
            for event in stream:
                if event["type"] in types:
                    found.append(event)
                if event["id"] >= last:
                    break
        return found


@contextlib.contextmanager
def pair(directory: Path) -> Iterator[tuple[Server, Daemon, Daemon]]:
    """A server, and alice and bob, connected in the network `demo`."""
    with (
        Server(directory / "server") as server,
        Daemon(directory / "alice") as alice,
        Daemon(directory / "bob") as bob,
    ):
        alice.join("demo", server.address, "alice")
        bob.join("demo", server.address, "bob")
        alice.wait()
        bob.wait()
        yield server, alice, bob


def run_pytest(
    tests: Sequence[str], source: Path, limit_s: float, environ: dict[str, str] | None = None
) -> tuple[int, str, str]:
    """Its exit code, what it printed, and the last line of that; `environ` beside our own."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests],
        cwd=source,
        env=os.environ | (environ or {}),
        capture_output=True,
        text=True,
        timeout=limit_s,
        check=False,
    )
    last = (done.stdout.strip().splitlines() or ["nothing was printed"])[-1]
    return done.returncode, done.stdout, last


def until(
    condition: Callable[[], bool], limit_s: float = 15.0, explain: Callable[[], object] = str
) -> None:
    """Wait for a condition; AssertionError with `explain` when it does not come true."""
    end = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {limit_s} s: {explain()}")
        time.sleep(0.01)


def free_ports(count: int) -> int:
    """The first of several UDP ports in a row that are free on every address now."""
    dual = socket.has_dualstack_ipv6()
    family, everywhere = (socket.AF_INET6, "::") if dual else (socket.AF_INET, "0.0.0.0")
    while True:
        with contextlib.ExitStack() as stack:
            first = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
            first.bind((everywhere, 0))
            port: int = first.getsockname()[1]
            try:
                for offset in range(1, count):
                    other = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
                    other.bind((everywhere, port + offset))
            except (OSError, OverflowError):
                continue
            return port
