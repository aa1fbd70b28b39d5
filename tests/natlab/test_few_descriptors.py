"""Real daemons behind NATs that draw ports at random, with few files to open.

Guessing takes hundreds of sockets where there are enough; with fewer it succeeds less often, but a
daemon neither ends nor stops serving its user, and meets whom it can meet without.
"""

import asyncio
import os

import pytest

from tests.natlab.kernel_internet import KernelInternet
from tests.natlab.programs import Programs
from tests.requirements import requires, requires_nat

WATCHED_S = 5.0
"""Several attempts, with all that they open."""


@requires_nat
@requires("command:conntrack")
@pytest.mark.parametrize("descriptors", [64, 160])
def test_daemons_with_few_descriptors_live_on_behind_hard_nats(descriptors, tmp_path):
    with KernelInternet() as lab:
        for name in ("a", "b"):
            lab.add_nat(f"nat-{name}", "random")
            lab.add_host(name, behind=f"nat-{name}")
        lab.add_host("public")
        lab.add_host("server")
        lab.start()
        asyncio.run(guessing(lab, tmp_path, descriptors))


async def guessing(lab, directory, descriptors):
    async with Programs(lab, directory) as programs:
        await programs.start_server("server")
        hosts = ("a", "b", "public")
        peers = [await programs.start_peer(name, descriptors=descriptors) for name in hosts]
        for peer in peers:
            await peer.join("demo", [programs.server])
        most = 0
        for _ in range(int(WATCHED_S / 0.1)):
            await asyncio.sleep(0.1)
            most = max(most, *(open_files(peer) for peer in peers))
            for peer in peers:
                assert peer.process.poll() is None, (directory / f"{peer.name}.log").read_text()
        assert 20 < most <= descriptors
        sent = await peers[0].client.send("demo", "hi", to="public", wait_s=20.0)
        assert sent["delivered"]
        for peer in peers:
            status = await peer.client.request("status")
            assert "descriptors" in [problem["code"] for problem in status["problems"]]
            assert "Traceback" not in (directory / f"{peer.name}.log").read_text()


# --- helpers


def open_files(peer):
    try:
        return len(os.listdir(f"/proc/{peer.process.pid}/fd"))
    except OSError:
        return 0
