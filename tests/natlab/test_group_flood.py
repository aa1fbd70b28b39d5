"""A neighbour floods the multicast group with 20,000 packets a second; two others want to meet."""

import asyncio
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.natlab.interpreter import REPOSITORY, python
from tests.natlab.kernel_internet import KernelInternet
from tests.natlab.programs import Programs
from tests.requirements import requires_nat

PROGRAM = REPOSITORY / "tests" / "natlab" / "group_flood.py"
RATE = 20_000
FLOOD_S = 7.0
VICTIM = "198.51.100.66"
"""Under its address calls are forged; it is on no link of ours."""


@requires_nat
@pytest.mark.parametrize(
    "kind",
    ["junk", "unreadable", "replay", "aimed"],
)
def test_members_meet_while_a_neighbour_floods_the_group(kind, tmp_path):
    """And the flood costs packets, memory and time within bounds, and nobody else anything."""
    with lan_of_three() as lab:
        told = asyncio.run(flooded(lab, tmp_path, kind, has_newcomer=True))
        assert told["to_victim"] == 0
        assert told["sent"] <= 500
        assert told["grown_kib"] <= 4096
        assert told["core"] <= 0.6


@requires_nat
def test_of_an_open_network_made_up_members_cost_no_more_and_the_flood_once_over_all_meet(tmp_path):
    """Everybody can make up members of it, under every address, and none of them is told from a
    true newcomer."""
    with lan_of_three() as lab:
        told = asyncio.run(flooded(lab, tmp_path, "strangers", has_newcomer=False))
        assert told["sent"] <= 2_000
        assert told["grown_kib"] <= 8192
        assert told["core"] <= 0.6


async def flooded(
    lab: KernelInternet, directory: Path, kind: str, *, has_newcomer: bool
) -> dict[str, float]:
    """What the flood costs alice.  With a newcomer, bob joins in the midst of it, else after it."""
    settings = directory / "config" / "natd" / "natd.yaml"
    settings.parent.mkdir(parents=True)
    settings.write_text("paths: {port_mapping: false}\n")
    async with Programs(lab, directory) as programs:
        alice = await programs.start_peer("alice")
        await alice.join("demo", [])
        bob = await programs.start_peer("bob")
        await asyncio.sleep(2.0)  # our own three calls are over
        words = (kind, "demo", str(RATE), str(FLOOD_S), lab.address("mallory"), VICTIM)
        process: subprocess.Popen[Any] = lab.popen(
            "mallory", python(PROGRAM, *words), stdout=subprocess.PIPE, text=True
        )
        try:
            assert process.stdout is not None
            assert await asyncio.to_thread(process.stdout.readline) == "ready\n"
            before = Cost(lab, alice.process.pid)
            if has_newcomer:
                await asyncio.sleep(1.0)
                await bob.join("demo", [])
                await alice.witness.wait_for("peer_online", FLOOD_S - 1.5)
            flood = int(await asyncio.to_thread(process.stdout.readline))
            assert flood >= RATE * FLOOD_S / 4, "a flood was wanted"
            told = before.until_now()
        finally:
            process.kill()
            process.communicate()
        if not has_newcomer:
            await asyncio.sleep(2.0)
            await bob.join("demo", [])
            await alice.witness.wait_for("peer_online", 10.0)
        return told


class Cost:
    """What a daemon on the host alice takes from here on."""

    def __init__(self, lab: KernelInternet, pid: int) -> None:
        self._lab = lab
        self._process = Path(f"/proc/{pid}")
        self._before = self._now()

    def until_now(self) -> dict[str, float]:
        now = self._now()
        since = {name: now[name] - self._before[name] for name in now}
        since["core"] = since.pop("cpu_s") / since.pop("at")
        return since

    def _now(self) -> dict[str, float]:
        fields = self._process.joinpath("stat").read_text().rpartition(")")[2].split()
        status = self._process.joinpath("status").read_text()
        (held,) = [line for line in status.splitlines() if line.startswith("VmRSS:")]
        devices = self._lab.run("alice", ["cat", "/proc/net/dev"]).splitlines()
        (device,) = [line for line in devices if "eth0:" in line]
        counted = self._lab.run("alice", ["nft", "list", "table", "ip", "counted"])
        return {
            "at": time.monotonic(),
            "cpu_s": (int(fields[11]) + int(fields[12])) / 100,
            "grown_kib": int(held.split()[1]),
            "sent": int(device.partition(":")[2].split()[9]),
            "to_victim": int(counted.partition("packets ")[2].split()[0]),
        }


def lan_of_three() -> KernelInternet:
    """Behind one router; what alice sends to `VICTIM` is counted."""
    lab = KernelInternet()
    lab.add_nat("nat")
    for name in ("alice", "bob", "mallory"):
        lab.add_host(name, behind="nat")
    lab.start()
    lab.run(
        "alice",
        [
            "nft",
            "add table ip counted; "
            "add chain ip counted out { type filter hook output priority 0; }; "
            f"add rule ip counted out ip daddr {VICTIM} counter",
        ],
    )
    return lab
