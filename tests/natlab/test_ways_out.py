"""Real daemons whose way out comes late, moves or is gone, and servers whose names have several
addresses or move."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.natlab.kernel_internet import KernelInternet
from tests.natlab.programs import Peer, Programs
from tests.requirements import requires_nat

SOON_S = 2.0
"""What a route that comes or moves may take; and what a machine that does other things adds."""
SLACK_S = 3.0

SERVER_GIVEN_UP_S = 12.0
"""A server that never answers is given up after nine seconds."""


@requires_nat
def test_a_default_route_that_comes_after_the_address_is_used_at_once(tmp_path: Path) -> None:
    """The server was asked again when its turn came, up to fifteen seconds later, and blamed."""
    asyncio.run(route_comes_late(tmp_path))


@requires_nat
def test_a_default_route_that_moves_takes_the_conversation_with_it(tmp_path: Path) -> None:
    asyncio.run(route_moves(tmp_path))


@requires_nat
def test_an_interface_that_goes_down_and_up_is_back_at_once(tmp_path: Path) -> None:
    asyncio.run(goes_down_and_up(tmp_path))


@requires_nat
def test_a_dead_first_address_of_a_name_costs_a_quarter_of_a_second(tmp_path: Path) -> None:
    asyncio.run(first_address_is_dead(tmp_path))


@requires_nat
def test_a_name_that_moves_is_followed_while_its_old_address_is_silent(tmp_path: Path) -> None:
    """It was looked up every five minutes, whatever happened."""
    asyncio.run(name_moves(tmp_path))


@requires_nat
def test_twenty_addresses_of_a_cluster_on_both_sides_cost_no_path(tmp_path: Path) -> None:
    """They took every place of the card, so the one LAN that both are on was never told."""
    asyncio.run(meet_beside_a_cluster(tmp_path))


async def route_comes_late(directory: Path) -> None:
    with world() as lab:
        lab.run("alice", ["ip", "route", "del", "default"])
        async with Programs(lab, directory) as programs:
            await programs.start_server("server")
            alice = await programs.start_peer("alice")
            await alice.join("demo", [programs.server])
            assert await says_offline(alice) == ["offline"]
            report = await alice.client.request("doctor")
            assert report["verdict"] == "This machine is offline."
            assert report["verdict_code"] == "offline"
            assert [c["name"] for c in report["checks"] if not c["ok"]] == ["network"]
            _, down = await alice.witness.wait_for("server_down", SERVER_GIVEN_UP_S)
            assert down["reason"].startswith("this machine is offline")
            await asyncio.sleep(4.0)  # the waits between tries have grown
            lab.run("alice", ["ip", "route", "add", "default", "via", "45.1.2.1"])
            await until(lambda: is_registered(alice), SOON_S + SLACK_S)
            assert await says_offline(alice) == []


async def route_moves(directory: Path) -> None:
    """Two uplinks; the first dies, and then the route moves.  No address changes."""
    with world() as lab:
        for setting in ("all", "wan", "wan2"):
            lab.run("alice", ["sysctl", "-qw", f"net.ipv4.conf.{setting}.rp_filter=0"])
        async with Programs(lab, directory) as programs:
            await programs.start_server("server")
            alice, bob = [await programs.start_peer(name) for name in ("alice", "bob")]
            for peer in (alice, bob):
                await peer.join("demo", [programs.server])
            for peer in (alice, bob):
                await peer.witness.wait_for("peer_online", 15.0)
            lab.run("alice", ["ip", "route", "del", "default"])
            lab.run("provider2", ["ip", "link", "set", "site", "down"])
            await asyncio.sleep(1.0)
            lab.run("alice", ["ip", "route", "add", "default", "via", "45.9.9.1"])
            began = time.monotonic()
            sent = await bob.client.send("demo", "after", wait_s=30.0)
            assert len(sent["delivered"]) == 1
            assert time.monotonic() - began < SOON_S + SLACK_S


async def goes_down_and_up(directory: Path) -> None:
    with world() as lab:
        async with Programs(lab, directory) as programs:
            await programs.start_server("server")
            alice = await programs.start_peer("alice")
            await alice.join("demo", [programs.server])
            await until(lambda: is_registered(alice), 10.0)
            for device in ("wan", "wan2"):
                lab.run("alice", ["ip", "link", "set", device, "down"])
            await until(lambda: has_given_up(alice), 60.0)
            assert await says_offline(alice) == ["offline"]
            lab.run("alice", ["ip", "link", "set", "wan", "up"])
            lab.run("alice", ["ip", "route", "add", "default", "via", "45.1.2.1"])
            await until(lambda: is_registered(alice), SOON_S + SLACK_S)


async def first_address_is_dead(directory: Path) -> None:
    with world() as lab:
        async with Programs(lab, directory) as programs:
            await programs.start_server("server")
            hosts = directory / "hosts"
            write_hosts(hosts, "45.1.1.77", "45.1.1.78", lab.address("server"))
            alice = await programs.start_peer("alice", hosts=hosts)
            await alice.join("demo", ["rendezvous.test:8080"])
            await until(lambda: is_registered(alice), SOON_S + SLACK_S)
            [server] = (await alice.client.request("status"))["networks"][0]["servers"]
            assert server["address"] == programs.server
            assert server["name"] == "rendezvous.test:8080"
            report = await alice.client.request("doctor")
            assert report["verdict"] == "All is well."
            [row] = [c["text"] for c in report["checks"] if c["name"] == "server"]
            assert f"answers at {programs.server}" in row


async def name_moves(directory: Path) -> None:
    with world() as lab:
        async with Programs(lab, directory) as programs:
            await programs.start_server("server")
            hosts = directory / "hosts"
            write_hosts(hosts, lab.address("server"))
            alice = await programs.start_peer("alice", hosts=hosts)
            await alice.join("demo", ["rendezvous.test:8080"])
            await until(lambda: is_registered(alice), 10.0)
            programs.kill("server")
            await programs.start_server("bob")
            write_hosts(hosts, lab.address("bob"))
            await until(lambda: is_registered(alice, programs.server), 60.0)


async def meet_beside_a_cluster(directory: Path) -> None:
    settings = directory / "config" / "natd" / "natd.yaml"
    settings.parent.mkdir(parents=True)
    settings.write_text("paths: {lan_discovery: false, port_mapping: false}\n")
    lab = KernelInternet()
    lab.add_host("server")
    lab.add_nat("home", "random")
    names = ("alice", "bob")
    for name in names:
        lab.add_host(name, behind="home")
    with lab:
        lab.start()
        for name in names:
            lab.run(name, ["ip", "link", "add", "cali0", "type", "veth", "peer", "name", "cali1"])
            for number in range(1, 21):
                lab.run(name, f"ip address add 10.96.0.{number}/24 dev cali0".split())
            for device in ("cali0", "cali1"):
                lab.run(name, f"ip link set {device} up".split())
        async with Programs(lab, directory) as programs:
            await programs.start_server("server")
            for name in names:
                peer = await programs.start_peer(name)
                await peer.join("demo", [programs.server])
            _, online = await peer.witness.wait_for("peer_online", SOON_S + SLACK_S)
            assert online["path"]["kind"] == "lan"
            assert online["path"]["address"].startswith(lab.address("alice"))


# --- helpers -----------------------------------------------------------------------------------


def world() -> KernelInternet:
    """A server, alice with a second uplink that no route uses, and bob."""
    lab = KernelInternet()
    for name in ("server", "alice", "bob"):
        lab.add_host(name)
    lab.add_second_uplink("alice", "45.9.9")
    lab.start()
    return lab


def write_hosts(hosts: Path, *addresses: str) -> None:
    """In place: the file is mounted over /etc/hosts."""
    hosts.write_text("".join(f"{address} rendezvous.test\n" for address in addresses))


async def servers_of(peer: Peer) -> list[dict[str, Any]]:
    status = await peer.client.request("status")
    servers: list[dict[str, Any]] = status["networks"][0]["servers"]
    return servers


async def is_registered(peer: Peer, address: str | None = None) -> bool:
    return any(
        server["state"] == "registered" and address in (None, server["address"])
        for server in await servers_of(peer)
    )


async def has_given_up(peer: Peer) -> bool:
    return {server["state"] for server in await servers_of(peer)} == {"lost"}


async def says_offline(peer: Peer) -> list[str]:
    status = await peer.client.request("status")
    return [problem["code"] for problem in status["problems"]]


async def until(holds: Callable[[], Any], limit_s: float) -> None:
    async with asyncio.timeout(limit_s):
        while not await holds():
            await asyncio.sleep(0.05)
