"""Real daemons in both laboratories: who meets, and what they survive.

All pairs of a laboratory meet at once, in one network; then they all leave, the NATs forget,
and they meet again in another.  `NATLAB_RUNS` says how often (20 for the figures in
tests/bench/README.md; CI has less time, and the bulk of the runs in virtual time,
`tests/core/node/test_pairs.py`).
"""

import asyncio
import os
import time
from pathlib import Path

import pytest

from natd.ipc import IpcError
from tests.internet.fabric import Weather
from tests.internet.nat import ADDRESS_RESTRICTED, FULL_CONE, LINUX, PORT_RESTRICTED
from tests.natlab.kernel_internet import KernelInternet
from tests.natlab.programs import Programs
from tests.natlab.tun_internet import TunInternet
from tests.requirements import requires, requires_nat, requires_tun

requires_conntrack = requires("command:conntrack")

RUNS = int(os.environ.get("NATLAB_RUNS", "1"))

MEET_LIMIT_S = 25.0
"""For all pairs at once.  45 meetings take 1.7 s of CPU, which a machine that does other things
may take half a minute to give: what a daemon waited for a CPU does not count."""

PATIENCE_S = 120.0
"""However long it waited."""

CHAT_LIMIT_S = 10.0

MOST_TOLD = 6
"""Pairs of which everything is told where a run has failed."""

EASY = {
    "open": None,
    "cone": FULL_CONE,
    "address": ADDRESS_RESTRICTED,
    "port": PORT_RESTRICTED,
    "linux": LINUX,
}


@requires_tun
@pytest.mark.parametrize("loss", [0.0, 0.05])
def test_every_pair_of_easy_nats_meets_directly_with_real_daemons(loss, tmp_path):
    with TunInternet(seed=1, weather=Weather(loss=loss)) as lab:
        nats, hosts = [], []
        for name, policy in EASY.items():
            for number in (1, 2):
                nat = lab.fabric.add_nat(policy, name=f"nat-{name}{number}") if policy else None
                nats += [nat] if nat else []
                lab.fabric.add_host(nat, name=f"{name}{number}")
                hosts.append(f"{name}{number}")
        lab.fabric.add_host(name="server")
        lab.start()

        def forget():
            for nat in nats:
                lab.reboot(nat)

        asyncio.run(meet_again_and_again(lab, tmp_path, hosts, forget))


@requires_nat
@requires_conntrack
def test_real_daemons_meet_behind_the_kernels_own_nat(tmp_path):
    with KernelInternet() as lab:
        lab.add_nat("plain1")
        lab.add_nat("plain2")
        lab.add_nat("accepting", accepts_input=True)
        lab.add_nat("carrier")
        lab.add_nat("home", parent="carrier")
        lab.add_host("public")
        behind = {"a": "plain1", "b": "plain1", "c": "plain2", "d": "accepting", "e": "home"}
        for host, nat in behind.items():
            lab.add_host(host, behind=nat)
        lab.add_host("server")
        lab.start()

        def forget():
            for nat in ("plain1", "plain2", "accepting", "carrier", "home"):
                lab.flush(nat)

        asyncio.run(meet_again_and_again(lab, tmp_path, [*behind, "public"], forget))


@requires_nat
@requires_conntrack
def test_two_routers_that_accept_input_are_both_traversed(tmp_path):
    with KernelInternet() as lab:
        for name in "ab":
            lab.add_nat(f"nat-{name}", accepts_input=True)
            lab.add_host(name, behind=f"nat-{name}")
        lab.add_host("server")
        lab.start()
        forget = [lambda name=name: lab.flush(f"nat-{name}") for name in "ab"]
        asyncio.run(
            meet_again_and_again(lab, tmp_path, ["a", "b"], lambda: [each() for each in forget])
        )


@requires_nat
@requires_conntrack
def test_masquerade_random_meets_a_public_host(tmp_path):
    with KernelInternet() as lab:
        lab.add_nat("nat-a", "random")
        lab.add_host("a", behind="nat-a")
        lab.add_host("public")
        lab.add_host("server")
        lab.start()
        asyncio.run(
            meet_again_and_again(lab, tmp_path, ["a", "public"], lambda: lab.flush("nat-a"))
        )


@requires_nat
@requires_conntrack
def test_a_chat_outlives_the_server_and_a_reboot_of_either_router(tmp_path):
    with KernelInternet() as lab:
        for name in ("alice", "bob"):
            lab.add_nat(f"nat-{name}")
            lab.add_host(name, behind=f"nat-{name}")
        lab.add_host("server")
        lab.start()
        asyncio.run(chat_on(lab, tmp_path))


async def chat_on(lab, directory):
    async with Programs(lab, directory) as programs:
        alice, bob = await programs.meet("alice", "bob", limit_s=MEET_LIMIT_S)
        await chat(alice, bob)
        programs.kill("server")
        for _ in range(5):
            await asyncio.sleep(0.5)
            await chat(alice, bob)
        # The router in front of who speaks first, and of who is spoken to.
        for router in ("nat-alice", "nat-bob"):
            lab.flush(router)
            began = time.monotonic()
            await chat(alice, bob, limit_s=20.0)
            assert time.monotonic() - began < 20.0
        assert alice.process.poll() is None
        assert bob.process.poll() is None


# --- helpers ---------------------------------------------------------------------------


async def meet_again_and_again(lab, directory, hosts, forget):
    async with Programs(lab, directory) as programs:
        await programs.start_server("server")
        peers = [await programs.start_peer(name) for name in hosts]
        for run in range(RUNS):
            forget()
            await everybody_meets(peers, f"network-{run}", programs.server)


async def everybody_meets(peers, network, server):
    for peer in peers:
        await peer.join(network, [server])
    time_is_up = limit(peers, MEET_LIMIT_S)
    while (missing := not_online(peers, network)) and not time_is_up():
        await asyncio.sleep(0.05)
    assert not missing, await what_is_known(peers, network, missing)
    sent = await peers[0].client.send(network, f"hello {network}")
    time_is_up = limit(peers, CHAT_LIMIT_S)
    while (deaf := not_told(peers, sent["message"])) and not time_is_up():
        await asyncio.sleep(0.05)
    assert not deaf, await what_is_known(peers, network, deaf)
    for peer in peers:
        await peer.client.request("leave", network=network, purge=True)


def limit(peers, limit_s):
    """Tells whether so much time has passed since, without what some daemon waited for a CPU."""
    began, before = time.monotonic(), {peer: starved_s(peer) for peer in peers}

    def time_is_up():
        passed_s = time.monotonic() - began
        waited_s = max(starved_s(peer) - before[peer] for peer in peers)
        return passed_s > PATIENCE_S or passed_s - waited_s > limit_s

    return time_is_up


def starved_s(peer):
    """For how long a daemon's loop could have run and was not let; 0 where it has ended, or where
    the kernel does not count it."""
    try:
        _, waited_ns, _ = Path(f"/proc/{peer.process.pid}/schedstat").read_text().split()
    except OSError:
        return 0.0
    return int(waited_ns) / 1e9


def not_online(peers, network):
    """Who does not yet say that whom is online."""
    missing = []
    for peer in peers:
        online = {
            event["peer"]["nick"]
            for event in peer.witness.all_of("peer_online")
            if event["network"] == network
        }
        missing += [
            (peer.name, other.name)
            for other in peers
            if other is not peer and other.name not in online
        ]
    return missing


def not_told(peers, message):
    """Of the first one's message: who has not heard it."""
    return [
        (peers[0].name, peer.name)
        for peer in peers[1:]
        if peer.witness.first("message", message=message) is None
    ]


async def what_is_known(peers, network, missing):
    """What each side of the pairs that are missing says of the other, what each daemon has used
    of the machine, and how loaded that is."""
    by_name = {peer.name: peer for peer in peers}
    lines = [f"{network}, of {len(peers)} peers {len(missing)} words are missing: {missing}"]
    lines.append(f"load {os.getloadavg()}")
    lines += [f"{p.name}: CPU {cpu_s(p):.2f} s, starved {starved_s(p):.1f} s" for p in peers]
    for name, other in missing[:MOST_TOLD]:
        for asked, about in ((name, other), (other, name)):
            try:
                reply = await by_name[asked].client.request("doctor", network=network, peer=about)
            except IpcError as error:
                lines.append(f"{asked} of {about}: {error}")
                continue
            lines.append(f"{asked} of {about}: {reply['state']}, {reply['verdict']}")
            lines += [f"    {step}" for step in (reply["attempt"] or {}).get("steps", [])]
            lines += [f"    {check}" for check in reply["checks"] if not check["ok"]]
            if not by_name[asked].is_heard:
                lines.append("    its events are not heard any more")
    return "\n".join(lines)


def cpu_s(peer):
    """What a daemon has used so far; 0 where it has ended."""
    try:
        fields = Path(f"/proc/{peer.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def chat(one, other, limit_s=CHAT_LIMIT_S):
    for speaker, listener in ((one, other), (other, one)):
        sent = await speaker.client.send("demo", "are you there?")
        await listener.witness.wait_for("message", limit_s, message=sent["message"])
        await speaker.witness.wait_for("delivered", limit_s, message=sent["message"])
