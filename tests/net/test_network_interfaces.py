"""Looking at the machine's addresses, and looking again at the kernel's signal."""

import asyncio
import ipaddress
import os
import subprocess
import sys

import pytest

from natd.net import network_interfaces
from natd.net.network_interfaces import NetworkWatch, local_addresses
from tests.requirements import requires


def test_addresses_are_canonical_and_none_is_loopback_or_link_local() -> None:
    for host in local_addresses():
        ip = ipaddress.ip_address(host)
        assert str(ip) == host
        assert not ip.is_loopback
        assert not ip.is_link_local


def test_the_same_addresses_are_no_change() -> None:
    async def scenario() -> None:
        heard: list[tuple[str, ...]] = []
        looks = iter([("10.0.0.1",), ("10.0.0.1",), ("10.0.0.2",)])
        watch = NetworkWatch(heard.append, lambda: next(looks))
        watch.start()
        watch._look_again()
        assert heard == []
        watch._look_again()
        assert heard == [("10.0.0.2",)]
        watch.close()

    asyncio.run(scenario())


def test_without_the_route_socket_the_list_is_looked_at_from_time_to_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(network_interfaces, "_open_route_socket", lambda: None)
    monkeypatch.setattr(network_interfaces, "POLL_S", 0.01)

    async def scenario() -> None:
        changed = asyncio.Event()
        looks = iter([("10.0.0.1",), ("10.0.0.1",), ("10.0.0.2",)] + [("10.0.0.2",)] * 999)
        watch = NetworkWatch(lambda _: changed.set(), lambda: next(looks))
        watch.start()
        async with asyncio.timeout(5):
            await changed.wait()
        watch.close()

    asyncio.run(scenario())


WATCH_IN_A_NAMESPACE = """
import asyncio, subprocess
COMMANDS = (
    "link add e0 type veth peer name e1",
    "link set e0 up",
    "link set e1 up",
    "addr add 198.51.100.7/24 dev e0",
)
from natd.net.network_interfaces import NetworkWatch
async def main():
    changed = asyncio.Event()
    watch = NetworkWatch(lambda addresses: changed.set())
    watch.start()
    print(watch.addresses)
    for command in COMMANDS:
        subprocess.run(["ip", *command.split()], check=True)
    await asyncio.wait_for(changed.wait(), 5)
    print(watch.addresses)
    watch.close()
asyncio.run(main())
"""


@requires("namespaces", "command:ip")
def test_an_address_that_comes_is_seen_by_the_kernels_signal() -> None:
    flags = "-n" if os.geteuid() == 0 else "-Urn"
    done = subprocess.run(
        ["unshare", flags, sys.executable, "-c", WATCH_IN_A_NAMESPACE],
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.stdout.splitlines() == ["()", "('198.51.100.7',)"], done.stderr
