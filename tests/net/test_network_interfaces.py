"""Looking at the machine's addresses and routes, and looking again at the kernel's signal."""

import asyncio
import ipaddress
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from natd.net import network_interfaces
from natd.net.network_interfaces import NetworkWatch, OwnNetwork, asleep_s, local_addresses
from natd.net.routes import Route
from tests.requirements import requires


def test_addresses_are_canonical_and_none_is_loopback_or_link_local() -> None:
    for host in local_addresses():
        ip = ipaddress.ip_address(host)
        assert str(ip) == host
        assert not ip.is_loopback
        assert not ip.is_link_local


def test_the_same_network_is_no_change() -> None:
    async def scenario() -> None:
        heard: list[tuple[OwnNetwork, bool]] = []
        one, other = OwnNetwork(("10.0.0.1",)), OwnNetwork(("10.0.0.2",))
        looks = iter([one, one, other])
        watch = NetworkWatch(lambda *change: heard.append(change), lambda: next(looks))
        watch.start()
        watch.look_now()
        assert heard == []
        watch.look_now()
        assert heard == [(other, False)]
        watch.close()

    asyncio.run(scenario())


def test_a_way_that_comes_or_is_another_has_moved_and_one_that_is_lost_has_not() -> None:
    none, one, other = ways(None), ways(WAY), ways(replace(WAY, gateway="10.0.0.254"))
    assert one.has_moved(none)
    assert other.has_moved(one)
    assert not none.has_moved(one)
    assert not one.has_moved(one)


def test_a_host_that_is_asked_about_for_the_first_time_has_not_moved() -> None:
    assert not ways(WAY).has_moved(OwnNetwork())


def test_a_machine_is_offline_when_there_is_no_way_to_any_host() -> None:
    assert ways(None).is_offline
    assert not ways(WAY).is_offline
    assert not OwnNetwork((), {"198.51.100.1": None, "10.0.0.9": WAY}).is_offline


def test_without_the_route_socket_the_network_is_looked_at_from_time_to_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(network_interfaces, "_open_route_socket", lambda: None)
    monkeypatch.setattr(network_interfaces, "POLL_S", 0.01)

    async def scenario() -> None:
        changed = asyncio.Event()
        looks = iter([("10.0.0.1",), ("10.0.0.1",), ("10.0.0.2",)] + [("10.0.0.2",)] * 999)
        watch = NetworkWatch(lambda *_: changed.set(), lambda: OwnNetwork(next(looks)))
        watch.start()
        async with asyncio.timeout(5):
            await changed.wait()
        watch.close()

    asyncio.run(scenario())


def test_a_machine_that_was_suspended_begins_anew_though_nothing_else_has_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every keepalive was late by the whole night, and came when its own timer did."""
    monkeypatch.setattr(network_interfaces, "RESUME_LOOK_S", 0.01)

    async def scenario() -> None:
        heard: list[tuple[OwnNetwork, bool]] = []
        slept = [100.0]
        watch = NetworkWatch(
            lambda *change: heard.append(change), lambda: ways(WAY), lambda: slept[0]
        )
        watch.start()
        for nap_s in (0.0, 4.0, 3600.0, 0.0):
            slept[0] += nap_s
            await asyncio.sleep(0.1)
        assert heard == [(ways(WAY), True)]
        watch.close()

    asyncio.run(scenario())
    assert asleep_s() > -1.0


WATCH_IN_A_NAMESPACE = """
import asyncio, subprocess, time
from natd.net.network_interfaces import NetworkWatch, look_around

def ip(command):
    subprocess.run(["ip", *command.split()], check=True)

async def main():
    changes = asyncio.Queue()
    look = lambda: look_around(["198.51.100.99"])
    watch = NetworkWatch(lambda *change: changes.put_nowait(change), look)

    async def seen(step):
        began = time.monotonic()
        network, has_moved = await asyncio.wait_for(changes.get(), 5)
        assert time.monotonic() - began < 2
        state = "offline" if network.is_offline else "online"
        print(step, *network.addresses, state, "moved" if has_moved else "stays")

    watch.start()
    print(*watch.network.addresses, "offline" if watch.network.is_offline else "online")
    for name in ("a", "b"):
        ip(f"link add {name}0 type veth peer name {name}1")
        ip(f"link set {name}1 up")
    ip("link set a0 up")
    ip("addr add 198.51.100.7/24 dev a0")
    await seen("address")
    ip("link set b0 up")
    ip("addr add 203.0.113.7/24 dev b0")
    await seen("another")
    ip("route add default via 198.51.100.1")
    await seen("route")
    ip("route replace default via 203.0.113.1")
    await seen("other route")
    ip("route replace default via 203.0.113.2")
    await seen("other gateway")
    ip("route add default via 198.51.100.1 metric 10")
    await asyncio.sleep(1)
    print("worse route", changes.qsize())
    ip("route del default via 203.0.113.2")
    await seen("next route")
    ip("link set a1 down")
    await seen("no carrier")
    watch.close()

asyncio.run(main())
"""

SEEN_IN_A_NAMESPACE = """\
offline
address 198.51.100.7 online moved
another 198.51.100.7 203.0.113.7 online stays
route 198.51.100.7 203.0.113.7 online moved
other route 203.0.113.7 198.51.100.7 online moved
other gateway 203.0.113.7 198.51.100.7 online moved
worse route 0
next route 198.51.100.7 203.0.113.7 online moved
no carrier 203.0.113.7 offline stays
"""


@requires("namespaces", "command:ip")
def test_addresses_routes_and_cables_that_come_and_go_are_seen_by_the_kernels_signal() -> None:
    """A default route that came after the address was noticed only by the next try at a server."""
    flags = "-n" if os.geteuid() == 0 else "-Urn"
    done = subprocess.run(
        ["unshare", flags, sys.executable, "-c", WATCH_IN_A_NAMESPACE],
        capture_output=True,
        text=True,
        timeout=40,
    )
    assert done.stdout == SEEN_IN_A_NAMESPACE, done.stderr


WAY = Route(2, "10.0.0.1", "10.0.0.7")


def ways(route: Route | None) -> OwnNetwork:
    return OwnNetwork((), {"198.51.100.1": route})


def test_a_sandbox_that_hides_proc_net_costs_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """As ProcSubset=pid of systemd.exec(5) does."""
    known = local_addresses()

    def hidden() -> None:
        raise FileNotFoundError("/proc/net/dev")

    monkeypatch.setattr("psutil.net_if_stats", hidden)
    assert local_addresses() == known
    assert network_interfaces.multicast_links() == ()
