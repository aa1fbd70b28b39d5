"""The mapping of a port at real routers: miniupnpd in namespaces, asked by real daemons."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from natd.ipc import UnreachableError
from natd.net.portmap import NO_ROUTER, NONE_OFFERED, OFF, default_gateway
from tests.natlab.kernel_internet import KernelInternet
from tests.natlab.port_mapper import ALL, NAT_PMP, PCP, PortMapper
from tests.natlab.programs import Peer, Programs
from tests.natlab.tun_internet import TunInternet
from tests.requirements import requires, requires_nat, requires_tun

requires_router = requires("command:miniupnpd", "command:ss", "command:conntrack")

EXTERNAL = "45.1.1.10"
"""The router's, as `KernelInternet` gives it."""

STOP_S = 2.0

OLD_S = 8.0
"""How long a router runs before it is restarted: more than the slack of its epoch, and than the
pause between two announcements that we heed."""


@requires_nat
@requires_router
@pytest.mark.parametrize("protocol", ALL)
def test_each_protocol_alone_maps_our_port_and_gives_it_back(protocol, tmp_path):
    with _home() as lab:
        router = PortMapper(lab, "nat", tmp_path, protocol)
        router.start()

        asyncio.run(_map_and_give_back(lab, router, tmp_path, protocol))


@requires_nat
@requires_router
@pytest.mark.parametrize("protocol", ALL)
def test_two_machines_with_the_same_port_get_different_ones_at_the_router(protocol, tmp_path):
    config = tmp_path / "config" / "natd" / "natd.yaml"
    config.parent.mkdir(parents=True)
    config.write_text("port: 40000\n")
    with _home("alice", "bob") as lab:
        router = PortMapper(lab, "nat", tmp_path, protocol)
        router.start()

        async def test():
            async with Programs(lab, tmp_path) as programs:
                alice = await programs.start_peer("alice")
                await _until_doctor_says(alice, f"{protocol}, {EXTERNAL}:40000")
                bob = await programs.start_peer("bob")
                await _until(lambda: _is_mapped(bob, protocol), 10.0)
                inside = sorted(mapping.partition(" -> ")[2] for mapping in router.mappings())
                assert inside == ["192.168.1.2:40000", "192.168.1.3:40000"]
                assert "40000 -> 192.168.1.2:40000" in router.mappings()

        asyncio.run(test())


@requires_nat
@requires_router
def test_a_router_that_speaks_all_three_makes_one_mapping_of_them(tmp_path):
    with _home() as lab:
        router = PortMapper(lab, "nat", tmp_path)
        router.start()

        asyncio.run(_map_and_give_back(lab, router, tmp_path, "PCP, NAT-PMP, UPnP"))


@requires_nat
@requires_router
def test_a_router_that_offers_nothing_delays_nothing_and_doctor_says_so(tmp_path):
    with _home() as lab:

        async def test():
            async with Programs(lab, tmp_path) as programs:
                alice = await programs.start_peer("alice")
                began = time.monotonic()
                assert await _told(alice)
                assert time.monotonic() - began < 1.0
                await _until_doctor_says(alice, NONE_OFFERED)
                began = time.monotonic()
                await programs.stop_peer("alice")
                assert time.monotonic() - began < STOP_S

        asyncio.run(test())


@requires_nat
@requires_router
@pytest.mark.parametrize("protocol", [NAT_PMP, PCP])
def test_a_router_that_has_rebooted_maps_our_port_again_at_once(protocol, tmp_path):
    with _home() as lab:
        router = PortMapper(lab, "nat", tmp_path, protocol)
        router.start()

        async def test():
            async with Programs(lab, tmp_path) as programs:
                alice = await programs.start_peer("alice")
                await _until_doctor_says(alice, f"{protocol}, {EXTERNAL}:{await _port(alice)}")
                await asyncio.sleep(OLD_S)
                await asyncio.to_thread(router.reboot)
                await _until(lambda: _has(router, alice), 15.0)

        asyncio.run(test())


@requires_nat
@requires_router
def test_a_daemon_that_was_killed_gets_its_own_mapping_back(tmp_path):
    with _home() as lab:
        router = PortMapper(lab, "nat", tmp_path, PCP)
        router.start()

        async def test():
            async with Programs(lab, tmp_path) as programs:
                alice = await programs.start_peer("alice")
                port = await _port(alice)
                await _until_doctor_says(alice, f"PCP, {EXTERNAL}:{port}")
                programs.kill("alice")
                await _until(lambda: _is_gone(alice), 10.0)
                await programs.stop_peer("alice")
                assert router.mappings() == [f"{port} -> 192.168.1.2:{port}"]
                alice = await programs.start_peer("alice")
                await _until_doctor_says(alice, f"PCP, {EXTERNAL}:{port}")
                await programs.stop_peer("alice")
                assert router.mappings() == []

        asyncio.run(test())


@requires_nat
@requires_router
def test_switching_it_off_in_the_configuration_takes_the_mapping_back(tmp_path):
    config = tmp_path / "config" / "natd" / "natd.yaml"
    config.parent.mkdir(parents=True)
    config.write_text("nick: alice\n")
    with _home() as lab:
        router = PortMapper(lab, "nat", tmp_path)
        router.start()

        async def test():
            async with Programs(lab, tmp_path) as programs:
                alice = await programs.start_peer("alice")
                await _until(lambda: _has(router, alice), 10.0)
                config.write_text("paths: {port_mapping: false}\n")
                await alice.client.request("reload")
                assert await _told(alice) == OFF
                await _until(lambda: _is_empty(router), 5.0)
                config.write_text("paths: {port_mapping: true}\n")
                await alice.client.request("reload")
                await _until(lambda: _has(router, alice), 10.0)

        asyncio.run(test())


@requires_tun
@requires_nat
@requires_router
@pytest.mark.parametrize("protocol", ALL)
def test_two_random_nats_meet_at_a_port_that_a_real_router_maps(protocol, tmp_path):
    with TunInternet(seed=1) as lab:
        lab.fabric.add_host(name="server")
        for name in ("alice", "bob"):
            lab.fabric.add_host(name=f"nat-{name}")
            lab.put_behind_kernel_nat(name, f"nat-{name}", "fully-random")
        lab.start()
        for name in ("alice", "bob"):
            PortMapper(lab, f"nat-{name}", tmp_path, protocol).start()

        async def test():
            async with Programs(lab, tmp_path) as programs:
                await programs.start_server("server")
                alice = await programs.start_peer("alice")
                await alice.join("demo", [programs.server])
                await alice.witness.wait_for("server_up", 5.0)
                bob = await programs.start_peer("bob")
                await _told(bob)  # READY is told before QUIC is loaded, the answer comes after
                began = time.monotonic()
                await bob.join("demo", [programs.server])
                await bob.client.send("demo", "hello")
                at, _ = await alice.witness.wait_for("message", 10.0, text="hello")
                assert at - began < 1.0
                _, online = await alice.witness.wait_for("peer_online", 5.0)
                assert online["path"]["kind"] in ("mapped", "direct")

        asyncio.run(test())


def test_the_default_gateway_is_that_of_the_route_with_the_least_metric(tmp_path):
    routes = tmp_path / "route"
    routes.write_text(
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
        "wlan0\t00000000\t0202A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n"
        "eth0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
        "tun0\t00000000\t00000000\t0001\t0\t0\t50\t00000000\t0\t0\t0\n"
        "eth0\t0000A8C0\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
    )
    assert default_gateway(routes) == "192.168.1.1"


@pytest.mark.parametrize("text", ["", "Iface\tDestination\n"])
def test_without_a_default_route_there_is_no_gateway(text, tmp_path):
    routes = tmp_path / "route"
    assert default_gateway(routes) is None
    routes.write_text(text)
    assert default_gateway(routes) is None


@requires_nat
def test_a_machine_without_a_router_asks_nobody(tmp_path):
    with KernelInternet() as lab:
        lab.add_host("alice")
        lab.start()
        lab.run("alice", ["ip", "route", "del", "default"])

        async def test():
            async with Programs(lab, tmp_path) as programs:
                alice = await programs.start_peer("alice")
                assert await _told(alice) == NO_ROUTER

        asyncio.run(test())


async def _map_and_give_back(lab, router, directory, protocols):
    async with Programs(lab, directory) as programs:
        alice = await programs.start_peer("alice")
        port = await _port(alice)
        await _until_doctor_says(alice, f"{protocols}, {EXTERNAL}:{port}")
        assert router.mappings() == [f"{port} -> 192.168.1.2:{port}"]
        began = time.monotonic()
        await programs.stop_peer("alice")
        assert time.monotonic() - began < STOP_S
        assert router.mappings() == []


def _home(*names: str) -> KernelInternet:
    """Hosts behind a NAT that gives each destination a random port; alice alone, unless named."""
    lab = KernelInternet()
    lab.add_nat("nat", "fully-random")
    for name in names or ("alice",):
        lab.add_host(name, behind="nat")
    lab.start()
    return lab


async def _port(peer: Peer) -> int:
    status = await peer.client.request("status")
    return int(status["self"]["udp"].rpartition(":")[2])


async def _told(peer: Peer) -> str:
    """What doctor says of the mapping."""
    checks = (await peer.client.request("doctor", peer=None))["checks"]
    (check,) = [check for check in checks if check["name"] == "router"]
    assert check["ok"], "a router that maps nothing is no fault"
    return str(check["detail"]).removeprefix("port mapping: ")


async def _until_doctor_says(peer: Peer, text: str) -> None:
    async def says() -> bool:
        return await _told(peer) == text

    try:
        await _until(says, 10.0)
    except AssertionError:
        raise AssertionError(f"{text!r} was expected: {await _told(peer)}") from None


async def _is_gone(peer: Peer) -> bool:
    """Whether its client has noticed."""
    try:
        await peer.client.request("status")
    except UnreachableError:
        return True
    return False


async def _is_mapped(peer: Peer, protocol: str) -> bool:
    return (await _told(peer)).startswith(f"{protocol}, {EXTERNAL}:")


async def _has(router: PortMapper, peer: Peer) -> bool:
    port = await _port(peer)
    return f"{port} -> 192.168.1.2:{port}" in router.mappings()


async def _is_empty(router: PortMapper) -> bool:
    return router.mappings() == []


async def _until(condition: Callable[[], Awaitable[bool]], limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    while not await condition():
        assert time.monotonic() < deadline, "not in time"
        await asyncio.sleep(0.05)
