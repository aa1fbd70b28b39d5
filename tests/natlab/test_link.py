"""Real daemons on one LAN, and no server anywhere: found by multicast."""

import asyncio
import time

import pytest

from natctl.witness import NotToldError
from tests.natlab.kernel_internet import KernelInternet
from tests.natlab.programs import Programs
from tests.requirements import requires_nat

NOBODY = "45.9.9.9:8080"
"""No such network is routed in the laboratory."""

MEET_LIMIT_S = 3.0


@requires_nat
def test_two_daemons_on_one_lan_meet_and_chat_without_any_server(tmp_path):
    with lan_of_two() as lab:
        asyncio.run(meet(lab, tmp_path, "alice", "bob"))


@requires_nat
def test_two_daemons_of_one_machine_meet_without_any_server(tmp_path):
    with lan_of_two() as lab:
        asyncio.run(meet(lab, tmp_path, "alice", "alice", states=("alice", "amy")))


@requires_nat
def test_two_daemons_on_one_lan_meet_by_link_local_ipv6_alone(tmp_path):
    with lan_of_two() as lab:
        for name in ("alice", "bob"):
            lab.run(name, ["ip", "-4", "address", "flush", "dev", "eth0"])
        wait_for_ipv6(lab, "alice", "bob")
        asyncio.run(meet(lab, tmp_path, "alice", "bob"))


@requires_nat
def test_where_either_has_it_switched_off_they_do_not_meet(tmp_path):
    with lan_of_two() as lab:
        settings = tmp_path / "config" / "natd" / "natd.yaml"
        settings.parent.mkdir(parents=True)
        settings.write_text("paths: {lan_discovery: false}\n")
        with pytest.raises(NotToldError):
            asyncio.run(meet(lab, tmp_path, "alice", "bob"))


async def meet(lab, directory, *hosts, states=("alice", "bob")):
    """Both are there; from the second one's joining on they have three seconds."""
    async with Programs(lab, directory) as programs:
        peers = [
            await programs.start_peer(host, state)
            for host, state in zip(hosts, states, strict=True)
        ]
        await peers[0].join("demo", [NOBODY])
        await asyncio.sleep(1.0)
        began = time.monotonic()
        await peers[1].client.request("join", network="demo", servers=[NOBODY], nick="newcomer")
        sent = await peers[1].client.send("demo", "hello")
        await peers[0].witness.wait_for("message", MEET_LIMIT_S, message=sent["message"])
        assert time.monotonic() - began <= MEET_LIMIT_S
        _, online = await peers[0].witness.wait_for("peer_online", MEET_LIMIT_S)
        assert online["path"]["kind"] == "lan"


# --- helpers -----------------------------------------------------------------------------------


def lan_of_two():
    lab = KernelInternet()
    lab.add_nat("router")
    for name in ("alice", "bob"):
        lab.add_host(name, behind="router")
    lab.start()
    return lab


def wait_for_ipv6(lab, *names):
    """Until an address has been found to be nobody else's (RFC 4862, section 5.4)."""
    deadline = time.monotonic() + 10.0
    for name in names:
        while "tentative" in (
            shown := lab.run(name, ["ip", "-6", "address", "show", "dev", "eth0"])
        ):
            assert time.monotonic() < deadline, shown
            time.sleep(0.1)
