"""Where the demonstration plays: behind two NATs of the kernel, or on loopback.

    alice -- nat-a -- provider-a --+            +-- provider-b -- nat-b -- bob
                     45.1.1.0/24   |  distance  |   45.1.2.0/24
                                   +-- server --+

`distance` is a switch that takes 50 ms for each crossing (`natctl/demo/delay_line.py`): 25 ms for
either access line, so a round trip between any two takes 100 ms.  Without the right to have
namespaces of one's own the same programs run on loopback, with no NAT and no distance.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from natctl.demo.namespaces import Topology
from natctl.demo.own_world import ADMINISTRATORS_PATH, Namespaces, WorldError
from natctl.demo.ready_call import ReadyCall

CROSSING_MS = 50.0

SERVER_PORT = 8080

SERVER_PORTS = 4
"""The server's own and its three sampling ports."""

ACTOR_STOP_LIMIT_S = 3.0

SHORT_BYTES = 60
"""A directory's name that leaves room below it for a control socket: its path may have 107."""

TOOLS = ("unshare", "nsenter", "setpriv", "ip", "nft", "sysctl")

PEERS = ("alice", "bob")

NAT_ADDRESS = {"alice": "45.1.1.10", "bob": "45.1.2.10"}

SERVER_ADDRESS = "45.0.0.3"


class Stage:
    """Runs a coordination server and two daemons, and takes everything away again."""

    round_trip_ms: float | None = None
    """Between any two of them; None where there is no distance."""

    def __init__(self) -> None:
        self.directory = _short_directory()
        self._started: list[subprocess.Popen[Any]] = []
        self._server: subprocess.Popen[Any] | None = None
        self._calls: dict[str, ReadyCall] = {}

    @property
    def server(self) -> str:
        """HOST:PORT as a peer is told."""
        raise NotImplementedError

    def start_server(self) -> None:
        self._server = self._start("server", ["--server", self.server.rpartition(":")[2]])

    def kill_server(self) -> None:
        assert self._server is not None
        self._server.send_signal(signal.SIGKILL)
        self._server.wait()
        self._started.remove(self._server)

    def start_peer(self, name: str) -> None:
        self._start(
            name,
            ["--state-dir", f"{self.directory}/{name}", "--runtime-dir", self.runtime(name)],
        )

    def runtime(self, name: str) -> str:
        return f"{self.directory}/{name}-run"

    def control_socket(self, name: str) -> Path:
        return Path(self.runtime(name)) / "control.sock"

    def is_ready(self, name: str) -> bool:
        """Whether the program of this name (`server`, or a peer's) has said so."""
        return self._calls[name].heard()

    def any_ended(self) -> bool:
        """Whether a program has ended though nobody asked it to."""
        return any(process.poll() is not None for process in self._started)

    def last_words(self) -> str:
        logs = sorted(self.directory.glob("*.log"), key=lambda log: log.stat().st_mtime)
        lines = [line for log in logs for line in log.read_text(errors="replace").splitlines()]
        return lines[-1] if lines else "nothing was logged"

    def wire(self) -> str:
        """What the distance saw, as JSON lines; empty where nothing watches."""
        return ""

    def close(self) -> None:
        for call in self._calls.values():
            call.close()
        for process in self._started:
            if process.poll() is None:
                process.terminate()
        for process in self._started:
            try:
                process.wait(ACTOR_STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _start(self, name: str, arguments: Sequence[str]) -> "subprocess.Popen[Any]":
        call = self._calls[name] = ReadyCall(self.directory / f"{name}.ready")
        with (self.directory / f"{name}.log").open("ab") as log:
            process = self._popen(
                name,
                [sys.executable, "-m", "natd", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment(name) | call.environment,
            )
        self._started.append(process)
        return process

    def _popen(self, name: str, argv: Sequence[str], **options: Any) -> "subprocess.Popen[Any]":
        raise NotImplementedError

    def _environment(self, name: str) -> dict[str, str]:
        """Ours without anything that would make a daemon read the user's own settings."""
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith("NATD_") and not key.endswith("_DIRECTORY")
        }
        return kept | {"XDG_CONFIG_HOME": str(self.directory / f"{name}-config")}


class LoopbackStage(Stage):
    """No NAT, no distance: the same programs on this machine."""

    def __init__(self) -> None:
        super().__init__()
        self._port = _free_ports()

    @property
    def server(self) -> str:
        return f"127.0.0.1:{self._port}"

    def _popen(
        self,
        name: str,  # noqa: ARG002  (all are on this machine)
        argv: Sequence[str],
        **options: Any,
    ) -> "subprocess.Popen[Any]":
        # Where it is installed, the kernel ends them when we die without a word.
        with_us = ["setpriv", "--pdeathsig=KILL"] if shutil.which("setpriv") else []
        return subprocess.Popen([*with_us, *argv], **options)


class NamespaceStage(Stage):
    """Two NATs of the kernel, two providers, and distance.  Raises WorldError."""

    round_trip_ms = 2 * CROSSING_MS

    def __init__(self) -> None:
        path = f"{os.environ.get('PATH', os.defpath)}:{ADMINISTRATORS_PATH}"
        missing = [tool for tool in TOOLS if shutil.which(tool, path=path) is None]
        if missing:
            raise WorldError(f"not installed: {', '.join(missing)}")
        self._namespaces = Namespaces()
        try:
            self._namespaces.build(_two_sites())
        except WorldError:
            self._namespaces.close()
            raise
        super().__init__()
        self._wire = self.directory / "wire.jsonl"
        with self._wire.open("wb") as wire:
            self._namespaces.popen(
                "distance",
                [sys.executable, "-m", "natctl.demo.delay_line", str(CROSSING_MS), "a", "b", "s"],
                stdin=subprocess.DEVNULL,
                stdout=wire,
            )

    @property
    def server(self) -> str:
        return f"{SERVER_ADDRESS}:{SERVER_PORT}"

    def wire(self) -> str:
        return self._wire.read_text()

    def close(self) -> None:
        super().close()
        self._namespaces.close()

    def _popen(self, name: str, argv: Sequence[str], **options: Any) -> "subprocess.Popen[Any]":
        return self._namespaces.popen(name, argv, **options)


def _short_directory() -> Path:
    place = tempfile.gettempdir()
    return Path(tempfile.mkdtemp("", "natd-demo-", place if len(place) <= SHORT_BYTES else "/tmp"))


def _two_sites() -> Topology:
    topology = Topology()
    topology.namespace("distance")
    topology.namespace("server")
    topology.cable("server", "eth0", f"{SERVER_ADDRESS}/24", "distance", "s", "")
    for number, (peer, port) in enumerate(zip(PEERS, ("a", "b"), strict=True), start=1):
        nat, provider, other = f"nat-{port}", f"provider-{port}", 3 - number
        topology.namespace(peer)
        topology.router(nat)
        topology.router(provider)
        lan, site = f"192.168.{number}", f"45.1.{number}"
        topology.cable(peer, "eth0", f"{lan}.2/24", nat, "lan", f"{lan}.1/24")
        topology.cable(nat, "wan", f"{site}.10/24", provider, "site", f"{site}.1/24")
        topology.cable(provider, "ix", f"45.0.0.{number}/24", "distance", port, "")
        topology.route(peer, "default", f"{lan}.1")
        topology.route(nat, "default", f"{site}.1")
        topology.route(provider, f"45.1.{other}.0/24", f"45.0.0.{other}")
        topology.route("server", f"{site}.0/24", f"45.0.0.{number}")
        topology.masquerade(nat, "wan")
    return topology


def _free_ports() -> int:
    """The first of four neighbouring UDP ports on loopback that nobody holds."""
    with contextlib.ExitStack() as held:
        while True:
            probe = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            probe.bind(("127.0.0.1", 0))
            first: int = probe.getsockname()[1]
            if first + SERVER_PORTS > 65535:
                continue
            with contextlib.suppress(OSError), contextlib.ExitStack() as rest:
                for port in range(first + 1, first + SERVER_PORTS):
                    rest.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)).bind(
                        ("127.0.0.1", port)
                    )
                return first
