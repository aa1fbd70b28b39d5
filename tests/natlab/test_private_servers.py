"""Servers that see a private address: real daemons behind the kernel's own NAT.

alice ── nat-a ──┐            the server's ports are forwarded into a LAN: alice's own one,
                 ├── bob's    or that of a host which hides every source, as the proxy of a
server ─ host ───┘            container does
"""

import asyncio
import json

from natd.core.base.verdict import VerdictCode
from tests.natlab.kernel_internet import KernelInternet
from tests.natlab.programs import SERVER_PORT, Programs
from tests.requirements import requires_nat

STUN_PORTS = "8080-8083"
MET_LIMIT_S = 5.0
"""They meet in a quarter of a second where the machine is idle."""

VERDICT_LIMIT_S = 30.0


@requires_nat
def test_a_server_in_a_peers_own_lan(tmp_path):
    """Alice knows it by its LAN address, bob by the router's.  No STUN server is named."""
    with KernelInternet() as lab:
        lab.add_nat("nat-a")
        lab.add_nat("nat-b")
        lab.add_host("server", behind="nat-a")
        lab.add_host("alice", behind="nat-a")
        lab.add_host("bob", behind="nat-b")
        lab.start()
        _forward(lab, "nat-a", "server")

        async def test():
            async with Programs(lab, tmp_path) as programs:
                await programs.start_server("server")
                alice = await programs.start_peer("alice")
                await alice.join("demo", [programs.server])
                await alice.witness.wait_for("server_up", MET_LIMIT_S)
                bob = await programs.start_peer("bob")
                await bob.join("demo", [f"{lab.address('nat-a')}:{SERVER_PORT}"])
                await bob.witness.wait_for("peer_online", MET_LIMIT_S)

        asyncio.run(test())


@requires_nat
def test_a_server_in_a_container_that_hides_every_source(tmp_path):
    """It is named; with a STUN server outside the same two meet."""
    with KernelInternet() as lab:
        for name in ("nat-a", "nat-b", "host"):
            lab.add_nat(name)
        lab.add_host("server", behind="host")
        lab.add_host("stun")
        lab.add_host("alice", behind="nat-a")
        lab.add_host("bob", behind="nat-b")
        lab.start()
        _forward(lab, "host", "server")
        hide = "add rule ip forwarded p oifname lan masquerade"
        lab.run("host", ["nft", *hide.split()])

        async def test():
            async with Programs(lab, tmp_path) as programs:
                await programs.start_server("stun")
                stun = programs.server
                await programs.start_server("server")
                outside = [f"{lab.address('host')}:{SERVER_PORT}"]
                peers = [await programs.start_peer(name) for name in ("alice", "bob")]
                for peer in peers:
                    await peer.join("demo", outside)
                for peer in peers:
                    _, told = await peer.witness.wait_for("verdict", VERDICT_LIMIT_S)
                    assert told["code"] == VerdictCode.SERVER_SEES_PRIVATE
                    problems = (await peer.client.request("status"))["problems"]
                    assert VerdictCode.SERVER_SEES_PRIVATE in {each["code"] for each in problems}
                config = tmp_path / "config" / "natd" / "natd.yaml"
                config.parent.mkdir(parents=True)
                config.write_text(json.dumps({"stun_servers": [stun]}))
                for peer in peers:
                    await peer.client.request("reload")
                for peer in peers:
                    await peer.witness.wait_for("peer_online", VERDICT_LIMIT_S)

        asyncio.run(test())


def _forward(lab, nat, server):
    """The router passes the server's ports on to its LAN."""
    rules = (
        "add table ip forwarded",
        "add chain ip forwarded d { type nat hook prerouting priority dstnat ; }",
        "add chain ip forwarded p { type nat hook postrouting priority srcnat ; }",
        f"add rule ip forwarded d iifname wan udp dport {STUN_PORTS} dnat to {lab.address(server)}",
        "flush chain ip natd_lab forward",
    )
    for rule in rules:
        lab.run(nat, ["nft", rule])
