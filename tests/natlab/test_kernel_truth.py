"""The kernel's NAT is the truth for `tests/internet/conntrack.py`: same packets, same facts."""

import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import pytest

from natd.core.base.types import Address
from tests.internet.conntrack import ConntrackNat
from tests.internet.nat import LINUX, LINUX_RANDOM
from tests.natlab import mirror
from tests.natlab.interpreter import python
from tests.natlab.kernel_internet import KernelInternet
from tests.requirements import requires_nat

MIRROR = Path(mirror.__file__)
OURS, OUTSIDE = 5555, (7000, 7001, 7002, 7003)
LOW, HIGH = 20_000, 20_511
RANGE = (LOW, HIGH)


@dataclass(frozen=True, slots=True)
class Facts:
    """What can be told of a NAT from the ports that two hosts with the same port are seen at."""

    keeps_ports: bool
    one_for_all: bool
    """Every destination sees one host at one port."""
    is_in_range: bool
    neighbour_differs: bool
    """The second host, that wants the same port towards the same destination, gets another."""


@requires_nat
@pytest.mark.parametrize(
    ("flavour", "policy"),
    [
        ("", LINUX),
        ("random", LINUX_RANDOM),
        ("fully-random", LINUX_RANDOM),
        (f"to :{LOW}-{HIGH}", replace(LINUX, port_range=RANGE)),
        (f"to :{LOW}-{HIGH} random", replace(LINUX_RANDOM, port_range=RANGE)),
        (f"to :{LOW}-{HIGH} fully-random", replace(LINUX_RANDOM, port_range=RANGE)),
    ],
)
def test_the_model_and_the_kernel_give_out_ports_by_the_same_rule(flavour, policy):
    assert by_the_kernel(flavour) == by_the_model(policy)


def test_facts_tell_the_kinds_apart():
    kinds = [LINUX, LINUX_RANDOM, replace(LINUX, port_range=RANGE)]
    assert len({by_the_model(policy) for policy in kinds}) == len(kinds)


def by_the_model(policy):
    nat = ConntrackNat(policy, ("45.1.1.10",), Random(1))

    def seen(host: str, port: int) -> int:
        external = nat.outbound(Address(host, OURS), Address("45.1.2.10", port), 1000.0)
        assert external is not None
        return external.port

    return facts(
        [[seen(host, port) for port in OUTSIDE] for host in ("192.168.1.2", "192.168.1.3")]
    )


def by_the_kernel(flavour):
    with KernelInternet() as lab:
        lab.add_nat("nat", flavour)
        for name in ("alice", "bob"):
            lab.add_host(name, behind="nat")
        lab.add_host("server")
        lab.start()
        for port in OUTSIDE:
            mirrored = python(MIRROR, "serve", str(port))
            assert lab.popen("server", mirrored, stdout=subprocess.PIPE).stdout.readline()
        server = lab.address("server")
        return facts(
            [
                [
                    int(
                        lab.run(
                            name, python(MIRROR, "ask", server, str(port), str(OURS), "1")
                        ).split()[1]
                    )
                    for port in OUTSIDE
                ]
                for name in ("alice", "bob")
            ]
        )


def facts(seen):
    """Of the ports that each of two hosts was seen at, by destination."""
    alice, bob = seen
    return Facts(
        keeps_ports=set(alice) == {OURS},
        one_for_all=len(set(alice)) == 1,
        is_in_range=all(LOW <= port <= HIGH for port in (*alice, *bob)),
        neighbour_differs=all(a != b for a, b in zip(alice, bob, strict=True)),
    )
