"""Real daemons behind the kernel's own NATs, with few routers between them or none."""

import asyncio

import pytest

from tests.natlab.kernel_internet import KernelInternet
from tests.natlab.programs import Programs
from tests.natlab.test_daemons import meet_again_and_again
from tests.requirements import requires, requires_nat

requires_conntrack = requires("command:conntrack")

HEAL_LIMIT_S = 15.0
"""1.2 s on a machine that does nothing else."""


@requires_nat
@requires_conntrack
@pytest.mark.parametrize("hops", [0, 1, 3])
def test_two_routers_that_accept_input_are_traversed_whatever_is_between(tmp_path, hops):
    with KernelInternet(hops) as lab:
        routers = []
        for name in "ab":
            lab.add_nat(f"nat-{name}", accepts_input=True)
            lab.add_host(name, behind=f"nat-{name}")
            routers.append(f"nat-{name}")
        play(lab, tmp_path, routers)


@requires_nat
@requires_conntrack
@pytest.mark.parametrize("hops", [0, 2])
def test_containers_behind_dockers_own_rules_meet_on_one_machine_and_on_two(tmp_path, hops):
    with KernelInternet(hops) as lab:
        for machine, containers in (("one", "ac"), ("two", "b")):
            lab.add_docker(machine)
            for container in containers:
                lab.add_host(container, behind=machine)
        play(lab, tmp_path, ["one", "two"], "abc")


@requires_nat
@requires_conntrack
@pytest.mark.parametrize("hops", [0, 1])
def test_two_layers_of_such_routers_are_traversed_whatever_is_between(tmp_path, hops):
    with KernelInternet(hops) as lab:
        routers = []
        for name in "ab":
            lab.add_nat(f"carrier-{name}", accepts_input=True)
            lab.add_nat(f"nat-{name}", accepts_input=True, parent=f"carrier-{name}")
            lab.add_host(name, behind=f"nat-{name}")
            routers += [f"carrier-{name}", f"nat-{name}"]
        play(lab, tmp_path, routers)


@requires_nat
@requires_conntrack
def test_a_path_on_one_segment_is_found_again_after_both_routers_have_forgotten_it(tmp_path):
    with KernelInternet(0) as lab:
        for name in "ab":
            lab.add_nat(f"nat-{name}", accepts_input=True)
            lab.add_host(name, behind=f"nat-{name}")
        lab.add_host("server")
        lab.start()
        asyncio.run(forget_and_chat_on(lab, tmp_path))


async def forget_and_chat_on(lab, directory):
    async with Programs(lab, directory) as programs:
        await programs.start_server("server")
        a, b = [await programs.start_peer(name) for name in "ab"]
        for peer in (a, b):
            await peer.join("demo", [programs.server])
        await a.witness.wait_for("peer_online", HEAL_LIMIT_S)
        await a.client.send("demo", "first")
        await b.witness.wait_for("message", HEAL_LIMIT_S, text="first")
        for name in "ab":
            lab.flush(f"nat-{name}")
        await a.client.send("demo", "second")
        await b.client.send("demo", "third")
        await b.witness.wait_for("message", HEAL_LIMIT_S, text="second")
        await a.witness.wait_for("message", HEAL_LIMIT_S, text="third")


def play(lab, directory, routers, hosts="ab"):
    lab.add_host("server")
    lab.start()

    def forget():
        for router in routers:
            lab.flush(router)

    asyncio.run(meet_again_and_again(lab, directory, list(hosts), forget))
