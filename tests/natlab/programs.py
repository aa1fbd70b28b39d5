"""Real daemons and a real server in a laboratory, and what they tell.

async with Programs(lab, directory) as programs:
    await programs.start_server("server")
    alice = await programs.start_peer("alice")
    await alice.join("demo", [programs.server])
    sent = await alice.client.send("demo", "hello")
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from natctl.demo.ready_call import ReadyCall
from natctl.demo.witness import Witness
from natd.ipc import Client
from tests.natlab.interpreter import python

SERVER_PORT = 8080

START_LIMIT_S = 15.0

ANSWER_LIMIT_S = 60.0
"""What follows readiness, 0.2 s of CPU, goes before the first answer: a machine that does other
things gives it later than people would wait."""

STOP_LIMIT_S = 4.0


class Laboratory(Protocol):
    """What the kernel's and the TUN internet have in common."""

    def popen(self, name: str, argv: Any, **options: Any) -> Any: ...

    def run(self, name: str, argv: Any, **options: Any) -> str: ...

    def address(self, name: str) -> str: ...


class Peer:
    """One daemon: its process, a client of it, and everything its event log tells."""

    def __init__(self, name: str, process: "subprocess.Popen[Any]", socket: Path) -> None:
        self.name = name
        self.process = process
        self.socket = socket
        self.client = Client(socket, timeout_s=ANSWER_LIMIT_S)
        self.witness = Witness(name)
        self._listening: asyncio.Task[None] | None = None

    async def open(self) -> None:
        await self.client.open()
        self._listening = await self.witness.start(self.client)

    @property
    def is_heard(self) -> bool:
        """Whether its events still come."""
        return self._listening is not None and not self._listening.done()

    async def close(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._listening
        await self.client.close()

    async def join(self, network: str, servers: list[str], secret: str | None = None) -> None:
        await self.client.request(
            "join",
            network=network,
            servers=servers,
            lan=not servers,
            nick=self.name,
            secret=secret,
        )


class Programs:
    """Starts and ends them; logs and state are in `directory`."""

    def __init__(self, lab: Laboratory, directory: Path) -> None:
        self._lab = lab
        self._directory = directory
        self._runtime = tempfile.TemporaryDirectory(prefix="natd-lab-")
        self._processes: dict[str, subprocess.Popen[Any]] = {}
        self._peers: dict[str, Peer] = {}
        self.server = ""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for name in list(self._peers):
            await self.stop_peer(name)
        for process in self._processes.values():
            await _stopped(process)
        self._runtime.cleanup()

    async def start_server(self, host: str) -> None:
        """On this host; returns when it is ready to answer."""
        self.server = f"{self._lab.address(host)}:{SERVER_PORT}"
        log = self._directory / f"{host}.log"
        arguments = ["--server", str(SERVER_PORT)]
        self._processes[host] = await self._ready(host, arguments, log)

    def kill(self, name: str) -> None:
        """kill -9."""
        process = self._peers[name].process if name in self._peers else self._processes[name]
        process.send_signal(signal.SIGKILL)
        process.wait()

    async def start_peer(
        self,
        name: str,
        state: str | None = None,
        *,
        port: int | None = None,
        hosts: Path | None = None,
        descriptors: int | None = None,
    ) -> Peer:
        """A daemon on the host `name`.  The same `state` is the same identity; `hosts` is its
        /etc/hosts, `descriptors` its `ulimit -n`."""
        state = state or name
        # A socket's path may have 107 bytes, and pytest's directories use most of them.
        socket = Path(self._runtime.name) / state / "control.sock"
        log = self._directory / f"{state}.log"
        arguments = ["--state-dir", str(self._directory / state)]
        arguments += ["--runtime-dir", str(socket.parent)]
        if port is not None:
            arguments += ["--port", str(port)]
        process = await self._ready(name, arguments, log, hosts, descriptors)
        peer = Peer(name, process, socket)
        self._peers[name] = peer
        await peer.open()
        return peer

    async def meet(self, *names: str, limit_s: float) -> list[Peer]:
        """A server on the host `server`, and a daemon on each of these: they join the network
        `demo` in this order, and each sees another come."""
        await self.start_server("server")
        peers = [await self.start_peer(name) for name in names]
        for peer in peers:
            await peer.join("demo", [self.server])
        for peer in peers:
            await peer.witness.wait_for("peer_online", limit_s)
        return peers

    async def stop_peer(self, name: str) -> None:
        peer = self._peers.pop(name)
        await peer.close()
        await _stopped(peer.process)

    async def drop_peer(self, name: str) -> None:
        """kill -9, and nothing of it stays behind: it is never started again."""
        self.kill(name)
        await self.stop_peer(name)

    async def _ready(
        self,
        name: str,
        arguments: list[str],
        log: Path,
        hosts: Path | None = None,
        descriptors: int | None = None,
    ) -> "subprocess.Popen[Any]":
        """Start `natd` there and wait until it says that it is ready."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("NATD_")}
        kept["XDG_CONFIG_HOME"] = str(self._directory / "config")
        with contextlib.ExitStack() as stack:
            path = Path(self._runtime.name) / f"{name}.ready"
            path.unlink(missing_ok=True)
            call = stack.enter_context(contextlib.closing(ReadyCall(path)))
            output = stack.enter_context(log.open("ab"))
            command = [str(word) for word in python("-m", "natd", *arguments)]
            if hosts is not None:
                mounted = f'mount --bind {hosts} /etc/hosts && exec "$@"'
                command = ["unshare", "-m", "sh", "-c", mounted, "sh", *command]
            if descriptors is not None:
                limited = f'ulimit -n {descriptors} && exec "$@"'
                command = ["sh", "-c", limited, "sh", *command]
            process: subprocess.Popen[Any] = self._lab.popen(
                name,
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=kept | call.environment,
            )
            deadline = time.monotonic() + START_LIMIT_S
            while not call.heard():
                if process.poll() is not None or time.monotonic() > deadline:
                    process.kill()
                    process.wait()
                    raise AssertionError(f"{name} did not start: {log.read_text()[-2000:]}")
                await asyncio.sleep(0.01)
        return process


async def _stopped(process: "subprocess.Popen[Any]") -> None:
    if process.poll() is None:
        process.terminate()
    try:
        await asyncio.to_thread(process.wait, STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
