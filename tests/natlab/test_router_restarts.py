"""Real daemons whose router restarts while no server is left to tell where they are now.

How long that takes is held in virtual time (`tests/core/node/test_found_again.py`); this holds that
sockets, TTLs and files do what the virtual internet's do.
"""

import asyncio
from dataclasses import replace

import pytest

from tests.internet.nat import PORT_RESTRICTED, Ports
from tests.natlab.kernel_internet import KernelInternet
from tests.natlab.programs import Programs
from tests.natlab.tun_internet import TunInternet
from tests.requirements import requires, requires_nat, requires_tun

requires_conntrack = requires("command:conntrack")

RANDOM_PORTS = replace(PORT_RESTRICTED, ports=Ports.RANDOM)

MEET_LIMIT_S = 20.0
SETTLED_S = 3.0

AGAIN_LIMIT_S = 45.0
"""Far above what it takes, on a machine that does other things, too: a keepalive of 15 s, the
guesses, and once more."""


@requires_tun
@pytest.mark.parametrize("restarts", [False, True], ids=["router", "router and daemon"])
def test_two_whose_router_gives_out_another_port_meet_again_without_a_server(tmp_path, restarts):
    with TunInternet() as lab:
        routers = {}
        for name in ("alice", "bob"):
            routers[name] = lab.fabric.add_nat(RANDOM_PORTS, name=f"nat-{name}")
            lab.fabric.add_host(behind=routers[name], name=name)
        lab.fabric.add_host(name="server")
        lab.start()
        took_s = asyncio.run(strike(lab, tmp_path, lambda: lab.reboot(routers["alice"]), restarts))
        assert took_s <= AGAIN_LIMIT_S, took_s


@requires_nat
@requires_conntrack
@pytest.mark.parametrize("flavour", ["", "random", "fully-random"])
def test_behind_a_kernel_that_masquerades_they_meet_again_without_a_server(tmp_path, flavour):
    with KernelInternet() as lab:
        for name, how in (("alice", flavour), ("bob", "")):
            lab.add_nat(f"nat-{name}", how)
            lab.add_host(name, behind=f"nat-{name}")
        lab.add_host("server")
        lab.start()
        took_s = asyncio.run(strike(lab, tmp_path, lambda: lab.flush("nat-alice"), restarts=False))
        assert took_s <= AGAIN_LIMIT_S, took_s


async def strike(lab, directory, reboot, restarts):
    """After the server's death each says a line, and hears the other's once: seconds in all."""
    async with Programs(lab, directory) as programs:
        met = await programs.meet("alice", "bob", limit_s=MEET_LIMIT_S)
        peers = {peer.name: peer for peer in met}
        await asyncio.sleep(SETTLED_S)
        programs.kill("server")
        await asyncio.sleep(SETTLED_S)
        if restarts:
            await programs.drop_peer("alice")
        reboot()
        began = asyncio.get_running_loop().time()
        if restarts:
            peers["alice"] = await programs.start_peer("alice")
        for name, other in (("alice", "bob"), ("bob", "alice")):
            sent = await peers[name].client.send("demo", f"{name} again", to=other)
            await peers[other].witness.wait_for("message", AGAIN_LIMIT_S, message=sent["message"])
            heard = peers[other].witness.all_of("message")
            assert [event["message"] for event in heard].count(sent["message"]) == 1
        return asyncio.get_running_loop().time() - began
