"""Real daemons behind the kernel's own NATs, with few routers between them or none."""

import asyncio

import pytest

from tests.natlab.kernel_internet import KernelInternet
from tests.natlab.test_daemons import meet_again_and_again
from tests.requirements import requires, requires_nat

requires_conntrack = requires("command:conntrack")


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


def play(lab, directory, routers):
    lab.add_host("server")
    lab.start()

    def forget():
        for router in routers:
            lab.flush(router)

    asyncio.run(meet_again_and_again(lab, directory, ["a", "b"], forget))
