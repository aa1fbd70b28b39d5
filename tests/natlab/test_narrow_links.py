"""Real daemons over links that carry less than others, with the kernel's own NAT and fragments.

alice ── nat-a ── provider1 ──┬── provider2 ═══ nat-b ── bob       ═══ the narrow link
                              └── provider3 ─── server

A link is narrow by its MTU.  Where it is a hole, ICMP and fragments are dropped at both its ends;
an IPv6 link can't have less than 1,280 bytes, so there a router drops what is longer.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from natd.core.base.verdict import VerdictCode
from tests.natlab.kernel_internet import KernelInternet
from tests.natlab.programs import Peer, Programs
from tests.requirements import requires_nat

LARGEST = "x" * 16_384
MET_LIMIT_S = 10.0
TOLD_LIMIT_S = 20.0

ENDS = (("nat-b", "wan"), ("provider2", "site"))
HOLE = """
table ip hole {{
 chain fragments {{ type filter hook prerouting priority -450;
  iifname "{device}" ip frag-off & 0x3fff != 0 drop
 }}
 chain silence {{ type filter hook output priority filter;
  icmp type destination-unreachable drop
 }}
}}
"""
COUNTERS = """
table ip counted {
 counter every {}
 counter unsplittable {}
 chain passing { type filter hook prerouting priority -450;
  meta l4proto udp counter name every
  meta l4proto udp ip frag-off & 0x4000 != 0 counter name unsplittable
 }
}
"""


@requires_nat
@pytest.mark.parametrize("most_bytes", [1492, 1228])
def test_pppoe_and_the_least_ipv4_carry_the_largest_messages(tmp_path, most_bytes):
    """No packet of ours asks not to be split, and none has to be."""
    with internet() as lab:
        narrow(lab, most_bytes, is_hole=True)

        async def test():
            async with met(lab, tmp_path) as (alice, bob):
                await exchange(alice, bob)

        lab.run("provider1", ["nft", COUNTERS])
        asyncio.run(test())
        assert counted(lab, "every") > 40
        assert counted(lab, "unsplittable") == 0
        assert splits(lab) == 0


@requires_nat
def test_below_that_routers_split_our_packets_and_a_session_is_all_the_same(tmp_path):
    with internet() as lab:
        narrow(lab, 1200, is_hole=False)

        async def test():
            async with met(lab, tmp_path) as (alice, bob):
                await exchange(alice, bob)

        asyncio.run(test())
        assert splits(lab) > 10


@requires_nat
def test_where_neither_fragments_nor_icmp_pass_both_sides_are_told_the_size(tmp_path):
    """The server is asked with 1,000 bytes, and is not blamed."""
    with internet() as lab:
        narrow(lab, 1200, is_hole=True)

        async def test():
            async with started(lab, tmp_path) as (alice, bob):
                for peer in (alice, bob):
                    _, told = await peer.witness.wait_for("verdict", TOLD_LIMIT_S)
                    assert told["code"] == VerdictCode.PATH_TOO_NARROW
                    assert "1,228 bytes" in told["verdict"]
                    assert not peer.witness.all_of("server_down")
                    assert not peer.witness.all_of("peer_online")
                doctor = await bob.client.request("doctor")
                assert "1,228 bytes" in doctor["verdict"]
                [row] = [check for check in doctor["checks"] if check["name"] == "server"]
                assert row["ok"]

        asyncio.run(test())


@requires_nat
def test_where_1_028_bytes_are_lost_the_size_is_told_and_the_server_is_not_blamed(tmp_path):
    with internet() as lab:
        narrow(lab, 1000, is_hole=True)

        async def test():
            async with Programs(lab, tmp_path) as programs:
                await programs.start_server("server")
                bob = await programs.start_peer("bob")
                await bob.join("demo", [programs.server])
                _, down = await bob.witness.wait_for("server_down", TOLD_LIMIT_S)
                assert down["code"] == VerdictCode.PATH_TOO_NARROW
                assert "1,028 bytes" in down["reason"]
                doctor = await bob.client.request("doctor")
                assert doctor["verdict_code"] == VerdictCode.PATH_TOO_NARROW
                assert "1,028 bytes" in doctor["verdict"]
                [problem] = (await bob.client.request("status"))["problems"]
                assert problem["verdict_code"] == VerdictCode.PATH_TOO_NARROW
                assert "1,028 bytes" in problem["text"]

        asyncio.run(test())


@requires_nat
def test_a_path_that_shrinks_is_told_while_small_messages_pass(tmp_path):
    with internet() as lab:
        narrow(lab, 1500, is_hole=True)

        async def test():
            async with met(lab, tmp_path) as (_, bob):
                shrink(lab, 1180)
                await bob.client.send("demo", LARGEST)
                _, told = await bob.witness.wait_for("verdict", TOLD_LIMIT_S)
                assert told["code"] == VerdictCode.PATH_TOO_NARROW
                asked = await bob.client.request("doctor", peer="alice", network="demo")
                assert asked["verdict_code"] == VerdictCode.PATH_TOO_NARROW
                assert "1,228 bytes" in asked["verdict"]
                assert not bob.witness.all_of("peer_offline")
                shrink(lab, 1500)

        asyncio.run(test())


@requires_nat
def test_ipv6_of_1_280_bytes_carries_the_largest_messages(tmp_path):
    with two_families() as lab:
        for name, device in (("alice", "wan"), ("exchange", "site1")):
            lab.run(name, f"ip link set {device} mtu 1280".split())
        for name in ("alice", "bob"):
            lab.run(name, ["ip", "-4", "address", "flush", "dev", "wan"])

        async def test():
            async with met(lab, tmp_path, "[2a0e::3:2]:8080") as (alice, bob):
                assert (await path_of(bob))["kind"] == "ipv6"
                await exchange(alice, bob)

        asyncio.run(test())
        for name in ("alice", "bob", "server", "exchange"):
            assert splits_ipv6(lab, name) == 0


@requires_nat
def test_ipv6_below_1_248_bytes_is_named_by_its_own_size(tmp_path):
    with two_families() as lab:
        for name in ("alice", "bob"):
            lab.run(name, ["ip", "-4", "address", "flush", "dev", "wan"])
        drop_longer(lab, 1240)

        async def test():
            async with started(lab, tmp_path, "[2a0e::3:2]:8080") as (alice, bob):
                for peer in (alice, bob):
                    _, told = await peer.witness.wait_for("verdict", TOLD_LIMIT_S)
                    assert told["code"] == VerdictCode.PATH_TOO_NARROW
                    assert "1,248 bytes" in told["verdict"]
                    assert not peer.witness.all_of("server_down")

        asyncio.run(test())


@requires_nat
def test_ipv6_that_shrinks_is_left_for_ipv4(tmp_path):
    with two_families() as lab:

        async def test():
            async with met(lab, tmp_path) as (_, bob):
                async with asyncio.timeout(MET_LIMIT_S):
                    while (await path_of(bob))["kind"] != "ipv6":
                        await asyncio.sleep(0.1)
                drop_longer(lab, 1180)
                sent = await bob.client.send("demo", LARGEST, wait_s=TOLD_LIMIT_S)
                assert len(sent["delivered"]) == 1
                assert (await path_of(bob))["kind"] != "ipv6"
                assert not bob.witness.all_of("verdict")

        asyncio.run(test())


# --- helpers -----------------------------------------------------------------------------------


@contextlib.contextmanager
def internet():
    with KernelInternet() as lab:
        for name in ("nat-a", "nat-b"):
            lab.add_nat(name)
        lab.add_host("server")
        lab.add_host("alice", behind="nat-a")
        lab.add_host("bob", behind="nat-b")
        lab.start()
        yield lab


@contextlib.contextmanager
def two_families():
    """Three hosts at one router, with public addresses of both families."""
    with KernelInternet(hops=1) as lab:
        names = ("alice", "bob", "server")
        for name in names:
            lab.add_host(name)
        lab.start()
        lab.run("exchange", ["sysctl", "-qw", "net.ipv6.conf.all.forwarding=1"])
        for number, name in enumerate(names, 1):
            net = f"2a0e::{number}"
            add = "ip -6 address add {}/112 dev {} nodad"
            lab.run("exchange", add.format(f"{net}:1", f"site{number}").split())
            lab.run(name, add.format(f"{net}:2", "wan").split())
            lab.run(name, f"ip -6 route add default via {net}:1".split())
        yield lab


def narrow(lab: KernelInternet, most_bytes: int, *, is_hole: bool) -> None:
    shrink(lab, most_bytes)
    if is_hole:
        for name, device in ENDS:
            lab.run(name, ["nft", HOLE.format(device=device)])


def shrink(lab: KernelInternet, most_bytes: int) -> None:
    for name, device in ENDS:
        lab.run(name, f"ip link set {device} mtu {most_bytes}".split())


def drop_longer(lab: KernelInternet, most_bytes: int) -> None:
    rule = f"meta length > {most_bytes} drop"
    chain = f"chain ip6 hole longer {{ type filter hook forward priority filter; {rule}; }}"
    lab.run("exchange", ["nft", f"add table ip6 hole; add {chain}"])


def counted(lab: KernelInternet, name: str) -> int:
    listed = lab.run("provider1", ["nft", "list", "counter", "ip", "counted", name]).split()
    return int(listed[listed.index("packets") + 1])


def splits(lab: KernelInternet) -> int:
    """Fragments made, by whomever (`FragCreates` of RFC 1213)."""
    made = 0
    for name in ("alice", "bob", "server", "nat-a", "nat-b", "provider1", "provider2", "provider3"):
        rows = [line.split() for line in lab.run(name, ["cat", "/proc/net/snmp"]).splitlines()]
        names, values = [row for row in rows if row[0] == "Ip:"]
        made += int(values[names.index("FragCreates")])
    return made


def splits_ipv6(lab: KernelInternet, name: str) -> int:
    words = lab.run(name, ["cat", "/proc/net/snmp6"]).split()
    return int(words[words.index("Ip6FragCreates") + 1])


@contextlib.asynccontextmanager
async def started(
    lab: KernelInternet, directory: Path, server: str | None = None
) -> AsyncIterator[tuple[Peer, Peer]]:
    async with Programs(lab, directory) as programs:
        await programs.start_server("server")
        peers = await asyncio.gather(*(programs.start_peer(name) for name in ("alice", "bob")))
        for peer in peers:
            await peer.join("demo", [server or programs.server])
        yield peers[0], peers[1]


@contextlib.asynccontextmanager
async def met(
    lab: KernelInternet, directory: Path, server: str | None = None
) -> AsyncIterator[tuple[Peer, Peer]]:
    async with started(lab, directory, server) as peers:
        for peer in peers:
            await peer.witness.wait_for("peer_online", MET_LIMIT_S)
        yield peers


async def exchange(alice: Peer, bob: Peer) -> None:
    for sender in (alice, bob):
        sent = await sender.client.send("demo", LARGEST, wait_s=MET_LIMIT_S)
        assert len(sent["delivered"]) == 1


async def path_of(peer: Peer) -> dict[str, object]:
    [other] = (await peer.client.request("peers", network="demo"))["peers"]
    path: dict[str, object] = other["path"]
    return path
