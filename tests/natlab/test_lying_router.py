"""Real daemons whose router lies to them by UPnP."""

import asyncio
import contextlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.natlab.interpreter import REPOSITORY, python
from tests.natlab.kernel_internet import KernelInternet
from tests.natlab.programs import Peer, Programs
from tests.requirements import requires_nat

PROGRAM = REPOSITORY / "tests" / "natlab" / "lying_router.py"
NOTED_PORT = 8088
ASKED_WITHIN_S = 10.0


@requires_nat
def test_a_router_whose_description_leads_elsewhere_sends_no_daemon_there(tmp_path):
    with home() as lab, contextlib.ExitStack() as running:
        victim = lab.address("victim")
        noted = running.enter_context(program(lab, "victim", tmp_path, "note", NOTED_PORT))
        lie = ("router", "192.168.1.1", "elsewhere", victim, NOTED_PORT)
        running.enter_context(program(lab, "nat", tmp_path, *lie))

        async def test() -> None:
            async with Programs(lab, tmp_path) as programs:
                alice = await programs.start_peer("alice")
                await refused(alice, "UPnP: it names another host")

        asyncio.run(test())
        assert noted.read_text() == "ready\n"


@requires_nat
def test_a_router_whose_description_never_ends_costs_a_daemon_less_than_a_mebibyte(tmp_path):
    config = tmp_path / "config" / "natd" / "natd.yaml"
    config.parent.mkdir(parents=True)
    config.write_text("nick: alice\n")
    with home() as lab, program(lab, "nat", tmp_path, "router", "192.168.1.1", "endless"):

        async def test() -> None:
            async with Programs(lab, tmp_path) as programs:
                alice = await programs.start_peer("alice")
                words = "UPnP: an answer without end"
                await refused(alice, words)
                config.write_text("paths: {port_mapping: false}\n")
                await alice.client.request("reload")
                memory = Memory(alice.process.pid)
                config.write_text("paths: {port_mapping: true}\n")
                await alice.client.request("reload")
                await refused(alice, words)
                assert memory.grown_kib() < 1024

        asyncio.run(test())


def home() -> KernelInternet:
    """alice behind a router that takes what comes from inside, and a host on the internet."""
    lab = KernelInternet()
    lab.add_nat("nat")
    lab.add_host("alice", behind="nat")
    lab.add_host("victim")
    lab.start()
    return lab


@contextlib.contextmanager
def program(lab: KernelInternet, host: str, directory: Path, *words: object) -> Iterator[Path]:
    """Runs there; gives the file with what it prints."""
    printed = directory / f"{host}.printed"
    with printed.open("wb") as output:
        arguments = python(PROGRAM, *map(str, words))
        process: subprocess.Popen[Any] = lab.popen(host, arguments, stdout=output)
    try:
        deadline = time.monotonic() + 5.0
        while printed.read_text() != "ready\n":
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield printed
    finally:
        process.kill()
        process.wait()


async def refused(peer: Peer, words: str) -> None:
    """Until doctor gives these words as the router's."""
    deadline = time.monotonic() + ASKED_WITHIN_S
    told = ""
    while words not in told:
        assert time.monotonic() < deadline, told
        await asyncio.sleep(0.05)
        checks = (await peer.client.request("doctor", peer=None))["checks"]
        (told,) = [str(each["detail"]) for each in checks if each["name"] == "router"]


class Memory:
    """The most that a process holds from here on (proc(5), clear_refs), beyond what it holds."""

    def __init__(self, pid: int) -> None:
        self._process = Path(f"/proc/{pid}")
        self._process.joinpath("clear_refs").write_text("5")
        self._held = self._kib("VmRSS")

    def grown_kib(self) -> int:
        return self._kib("VmHWM") - self._held

    def _kib(self, name: str) -> int:
        lines = self._process.joinpath("status").read_text().splitlines()
        (line,) = [line for line in lines if line.startswith(f"{name}:")]
        return int(line.split()[1])
