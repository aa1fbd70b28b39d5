"""Real daemons while no server lives: found on one LAN by multicast, and by a mutual peer."""

import asyncio
import time
from typing import Any

import pytest

from natctl.demo.witness import NotToldError
from natd.ipc import RequestError
from natd.members.networks import LAN_ANSWERS_S
from tests.natlab.kernel_internet import KernelInternet
from tests.natlab.programs import Programs
from tests.requirements import requires, requires_nat

requires_conntrack = requires("command:conntrack")

NOBODY = "45.9.9.9:8080"
"""No such network is routed in the laboratory."""

LINK_LIMIT_S = 3.0

START_S = 2.0
"""Between the starts of two daemons; who comes first calls before the second is there."""

MEET_LIMIT_S = 20.0
"""For three at once, on a machine that does other things, too."""

FOUND_LIMIT_S = 10.0

MEMBERS = ("alice", "bob", "carol")


@requires_nat
def test_two_daemons_on_one_lan_meet_and_chat_without_any_server(tmp_path):
    with lan_of_two() as lab:
        asyncio.run(meet(lab, tmp_path, "alice", "bob"))


@requires_nat
def test_two_daemons_in_a_network_that_has_no_server_meet_and_chat(tmp_path):
    """A server had to be named, though nobody was to ask it."""
    with lan_of_two() as lab:
        asyncio.run(meet(lab, tmp_path, "alice", "bob", servers=[]))


@requires_nat
def test_two_daemons_meet_in_a_configured_network_that_has_no_server(tmp_path):
    with lan_of_two() as lab:
        settings = tmp_path / "config" / "natd" / "natd.yaml"
        settings.parent.mkdir(parents=True)
        settings.write_text("networks: {home: {}}\n")
        asyncio.run(see_each_other(lab, tmp_path))


@requires_nat
def test_a_network_without_a_server_is_a_problem_once_the_lan_is_not_searched(tmp_path):
    with lan_of_two() as lab:
        asyncio.run(switch_off(lab, tmp_path))


@requires_nat
def test_two_daemons_of_one_machine_meet_without_any_server(tmp_path):
    with lan_of_two() as lab:
        asyncio.run(meet(lab, tmp_path, "alice", "alice"))


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


@requires_nat
@requires_conntrack
def test_who_is_restarted_while_every_server_is_dead_finds_the_others_by_a_mutual_peer(tmp_path):
    """Both routers forget everything meanwhile, and bob's lets in only whom bob has written to."""
    with KernelInternet() as lab:
        for name in ("alice", "bob"):
            lab.add_nat(f"nat-{name}")
            lab.add_host(name, behind=f"nat-{name}")
        lab.add_host("carol")
        lab.add_host("server")
        lab.start()
        asyncio.run(come_back(lab, tmp_path))


async def meet(lab, directory, first, second, servers=(NOBODY,)):
    """Both are there; from the second one's joining on they have three seconds."""
    # Each has programs of its own, since two of them may be on one host.
    async with Programs(lab, directory) as here, Programs(lab, directory) as there:
        resident = await here.start_peer(first, "resident")
        newcomer = await there.start_peer(second, "newcomer")
        asked: dict[str, Any] = {"network": "demo", "servers": list(servers), "lan": not servers}
        await resident.client.request("join", **asked, nick="resident")
        await asyncio.sleep(1.0)
        began = time.monotonic()
        await newcomer.client.request("join", **asked, nick="newcomer")
        sent = await newcomer.client.send("demo", "hello")
        await resident.witness.wait_for("message", LINK_LIMIT_S, message=sent["message"])
        assert time.monotonic() - began <= LINK_LIMIT_S
        _, online = await resident.witness.wait_for("peer_online", LINK_LIMIT_S)
        assert online["path"]["kind"] == "lan"
        for peer, other in ((resident, newcomer), (newcomer, resident)):
            told = await peer.client.request("doctor")
            heard = (await other.client.request("identity"))["id"]
            assert told["lan"] == {"listening": True, "heard": [heard]}
            (check,) = [check for check in told["checks"] if check["name"] == "lan"]
            assert check["ok"]
            assert f"#{heard[:4]}" in check["text"]


async def see_each_other(lab, directory):
    """Nothing is wrong there; a message to everybody is for who is there, not for who may come."""
    async with Programs(lab, directory) as programs:
        alice = await programs.start_peer("alice")
        await asyncio.sleep(LAN_ANSWERS_S + 0.5)
        with pytest.raises(RequestError) as alone:
            await alice.client.send("home", "anybody?")
        assert alone.value.code == "nobody_here"
        bob = await programs.start_peer("bob")
        for peer in (alice, bob):
            await peer.witness.wait_for("peer_online", LINK_LIMIT_S + START_S)
        sent = await alice.client.send("home", "hello", wait_s=LINK_LIMIT_S)
        assert len(sent["delivered"]) == 1
        status = await bob.client.request("status")
        assert status["problems"] == []
        assert status["networks"][0]["servers"] == []
        report = await bob.client.request("doctor")
        assert [check for check in report["checks"] if not check["ok"]] == []


async def switch_off(lab, directory):
    async with Programs(lab, directory) as programs:
        alice = await programs.start_peer("alice")
        await alice.join("home", [])
        assert (await alice.client.request("status"))["problems"] == []
        settings = directory / "config" / "natd" / "natd.yaml"
        settings.parent.mkdir(parents=True)
        settings.write_text("paths: {lan_discovery: false}\n")
        await alice.client.request("reload")
        (problem,) = (await alice.client.request("status"))["problems"]
        assert problem["code"] == "no_server"
        report = await alice.client.request("doctor")
        assert [check["name"] for check in report["checks"] if not check["ok"]] == ["server"]
        with pytest.raises(RequestError) as refused:
            await alice.join("other", [])
        assert refused.value.code == "usage"


async def come_back(lab, directory):
    async with Programs(lab, directory) as programs:
        await programs.start_server("server")
        peers = {name: await programs.start_peer(name) for name in MEMBERS}
        for peer in peers.values():
            await peer.join("demo", [programs.server])
        for name, peer in peers.items():
            for other in MEMBERS:
                if other != name:
                    await is_told_of(peer, other, MEET_LIMIT_S)
        programs.kill("server")
        await programs.stop_peer("alice")
        for router in ("nat-alice", "nat-bob"):
            lab.flush(router)
        # Bob's next word keeps its way to carol open; alice is gone, and gets none.
        await peers["bob"].client.send("demo", "carol?", to="carol")
        alice = await programs.start_peer("alice")
        for other in ("carol", "bob"):
            await is_told_of(alice, other, FOUND_LIMIT_S, run=2)
        sent = await alice.client.send("demo", "back again")
        await peers["bob"].witness.wait_for("message", FOUND_LIMIT_S, message=sent["message"])


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


async def is_told_of(peer, other, limit_s, run=1):
    """Until the event log has told so often, in this run or before, that the other is online."""
    deadline = asyncio.get_running_loop().time() + limit_s
    while len([e for e in peer.witness.all_of("peer_online") if nick(e) == other]) < run:
        if asyncio.get_running_loop().time() > deadline:
            raise NotToldError(f"{peer.name} is not told of {other}")
        await asyncio.sleep(0.02)


def nick(event):
    return event["peer"]["nick"]
