"""How many files may be open: the limit, the shares, and what is done where none is left."""

import subprocess
import sys
from pathlib import Path

import pytest

from natd.host.descriptors import require_descriptors, share_descriptors
from natd.host.errors import StartError
from tests.processes import SOURCE

PROGRAM = """
import resource
from natd.host.descriptors import raise_descriptor_limit
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
print(raise_descriptor_limit(), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(("soft", "hard"), [(64, 1000), (64, 64), (256, 512)])
def test_the_soft_limit_is_raised_to_the_hard_one(soft: int, hard: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(soft=soft, hard=hard)],
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == [str(hard)] * 3


@pytest.mark.parametrize(
    ("left", "connections", "helper_sockets"),
    [(48, 6, 6), (60, 12, 12), (157, 60, 61), (324, 144, 144), (1020, 144, 840)],
)
def test_connections_get_half_of_what_is_left_and_helper_sockets_the_rest(
    left: int, connections: int, helper_sockets: int
) -> None:
    shares = share_descriptors(1024, left, 144)
    assert (shares.connections, shares.helper_sockets) == (connections, helper_sockets)
    assert shares.lacks_connections == (connections < 144)


def test_too_few_are_told_with_both_numbers_and_what_to_do() -> None:
    with pytest.raises(StartError, match=r"may open only 0 files here, and needs 48; .*ulimit -n"):
        require_descriptors(0, 48)
    assert require_descriptors(1 << 20, 48) > 1 << 19


WITHOUT_ANY = """
import asyncio, os, resource
from pathlib import Path

from natd.core.base.types import Address
from natd.host.version import natd_version
from natd.net import gateway_http
from natd.net import network_interfaces as interfaces, portmap, routes
from natd.net.lan import Lan
from natd.net.portmap import PortMap
from natd.net.udp import UdpSockets
from natd.storage.own_time import WallClock
from natd.storage.store import Store, StoreError

def fails(kind, look):
    try:
        look()
    except kind:
        return
    raise AssertionError("nothing was raised")

async def main():
    changes = []
    watch = interfaces.NetworkWatch(lambda *change: changes.append(change))
    watch.start()
    known = watch.network
    lan, ports = Lan(print, print), PortMap(b"nonce", print)
    lan.follow(wanted=True, ipv6=True)
    ports.follow(40000, wanted=True)
    before = (lan._links, ports._asked)
    sockets = UdpSockets(print, print)
    sockets.open(0)
    os.mkdir("state", 0o700)
    store = Store(Path("state"))
    store.start(lambda: None)
    natd_version()
    clock = WallClock(None)
    clock.look()

    most = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = [os.dup(0)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (taken[0] + 1, most[1]))
    for look in (
        lambda: interfaces.look_around(()),
        interfaces.second_addresses,
        interfaces.multicast_links,
        lambda: routes.routes_to(["198.51.100.1"]),
        routes.gateway_interfaces,
        portmap._find_router,
    ):
        fails(OSError, look)
    watch.look_now()
    assert watch.network is known and not changes
    lan.follow(wanted=True, ipv6=True)
    ports.follow(40000, wanted=True)
    assert (lan._links, ports._asked) == before
    try:
        await gateway_http.get(Address("127.0.0.1", 9), "/")
        raise AssertionError("nothing was raised")
    except gateway_http.GatewayError:
        pass
    boot, *_ = clock.saved_text.split()
    assert clock.look() is None and clock.saved_text.split()[0] == boot != "-"
    natd_version()
    try:
        await store.query_apart("SELECT 1")
        raise AssertionError("nothing was raised")
    except StoreError:
        pass
    await store.execute("INSERT INTO meta VALUES ('a', 1)")

    resource.setrlimit(resource.RLIMIT_NOFILE, most)
    watch.network = interfaces.OwnNetwork()
    await asyncio.sleep(1.5)
    assert watch.network == known and len(changes) == 1
    assert await store.query_apart("SELECT 1") == [(1,)]
    print("fine")

asyncio.run(main())
"""


def test_what_can_not_be_looked_at_for_lack_of_a_descriptor_is_not_taken_for_gone(
    tmp_path: Path,
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_ANY],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stdout == "fine\n", done.stderr
    assert done.stderr == ""
