"""Independent STUN clients, behind NATs of every kind, against `natd --server`.

coturn's turnutils_natdiscovery and turnutils_stunclient speak RFC 5780, aioice plain STUN; what
they find out must be what the laboratory's NATs do.
"""

import asyncio
import contextlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from natctl.demo.namespaces import Topology
from natctl.demo.own_world import Namespaces
from natd.core.base.types import SURE
from tests.internet.nat import (
    ADDRESS_DEPENDENT,
    ADDRESS_RESTRICTED,
    FULL_CONE,
    PORT_RESTRICTED,
    SYMMETRIC_RANDOM,
    Dependence,
)
from tests.natlab.interpreter import python
from tests.natlab.programs import Peer, Programs
from tests.natlab.tun_internet import TunInternet
from tests.requirements import requires, requires_nat, requires_tun

requires_coturn = requires("command:turnutils_natdiscovery", "command:turnutils_stunclient")

PORT = 8080
LIMIT_S = 30.0
LEARN_S = 1.5
"""Registration takes 0.2 s here; a wrong answer would stay, so waiting for it is no use."""

DISCOVERY = ("turnutils_natdiscovery", "-m", "-f", "-p", str(PORT))
POLICIES = {
    "full-cone": FULL_CONE,
    "address-restricted": ADDRESS_RESTRICTED,
    "port-restricted": PORT_RESTRICTED,
    "address-dependent": ADDRESS_DEPENDENT,
    "symmetric": SYMMETRIC_RANDOM,
}
KERNEL = {"masquerade": "", "masq-random": "random"}
"""Flavours of the kernel's own NAT, by names of which an interface's can be made (15 bytes)."""

TOLD_S = 30.0
"""Four seconds of patience and eight of trials, on a machine that does other things, too."""

FILTERING = {
    Dependence.INDEPENDENT: "endpoint-independent",
    Dependence.ADDRESS: "address-dependent",
    Dependence.ADDRESS_AND_PORT: "address-and-port-dependent",
}
WORDS = {
    Dependence.INDEPENDENT: "Endpoint Independent",
    Dependence.ADDRESS: "Address Dependent",
    Dependence.ADDRESS_AND_PORT: "Address and Port Dependent",
}

pytestmark = [requires_tun, requires_nat]


@requires_coturn
def test_natdiscovery_finds_out_what_each_nat_does(lab: "Laboratory") -> None:
    expected = {
        name: (WORDS[policy.mapping], WORDS[policy.filtering]) for name, policy in POLICIES.items()
    }
    by_port = WORDS[Dependence.ADDRESS_AND_PORT]
    # It asks the third question where the second answer says there is another address, and that
    # is the first again (RFC 5780, table 1): it can't tell these two apart.  (To coturn's own
    # server the other address of the second is the second.)  See the next test.
    expected["address-dependent"] = by_port, by_port
    expected["masquerade"] = WORDS[Dependence.INDEPENDENT], by_port
    expected["masq-random"] = by_port, by_port
    asking = {name: lab.popen(name, *DISCOVERY, lab.first) for name in expected}
    found = {}
    for name, process in asking.items():
        output, _ = process.communicate(timeout=LIMIT_S)
        mapping = re.search("NAT with (.*) Mapping!", output)
        filtering = re.search("NAT with (.*) Filtering!", output)
        assert mapping, output
        assert filtering, output
        found[name] = (mapping[1], filtering[1])
    assert found == expected


def test_the_three_questions_of_rfc_5780_tell_the_mapping_from_either_address(
    lab: "Laboratory",
) -> None:
    expected = {name: policy.mapping for name, policy in POLICIES.items()}
    expected["masquerade"] = Dependence.INDEPENDENT
    expected["masq-random"] = Dependence.ADDRESS_AND_PORT
    for server in (lab.first, lab.second):
        asking = {name: lab.popen(name, *DISCOVER, server, str(PORT)) for name in expected}
        found = {name: process.communicate(timeout=LIMIT_S)[0] for name, process in asking.items()}
        assert {name: Dependence(text.strip()) for name, text in found.items()} == expected


@requires_coturn
def test_natdiscovery_sees_that_an_open_host_has_no_nat_and_both_addresses_of_the_server(
    lab: "Laboratory",
) -> None:
    for asked, other in ((lab.first, lab.second), (lab.second, lab.first)):
        output = lab.run("open", *DISCOVERY, "-L", lab.address("open"), asked)
        assert "No NAT! (Endpoint Independent Mapping)" in output
        assert "Response origin: : " + f"{asked}:{PORT}" in output
        assert f"Other addr: : {other}:{PORT + 1}" in output
        assert "NAT with Endpoint Independent Mapping!" in output
        assert "NAT with Endpoint Independent Filtering!" in output
        assert f"UDP reflexive addr: {lab.address('open')}:" in output
        assert "No ALG: Mapped == XOR-Mapped" in output
        assert "error" not in output


@requires_coturn
def test_what_is_longer_than_a_link_takes_is_answered_at_length() -> None:
    """stunclient's second question wants the answer at its next port; its third is padded, and
    so are all of natdiscovery -P.  (Over a cable: the TUN internet has no fragments.)"""
    topology = Topology()
    for name in ("server", "client"):
        topology.namespace(name)
    topology.cable("server", "eth0", "10.0.0.1/24", "client", "eth0", "10.0.0.2/24")
    with Namespaces() as namespaces:
        namespaces.build(topology)
        namespaces.run("server", ["ip", "addr", "add", "10.0.0.9/24", "dev", "eth0"])
        with serving(namespaces, "server", ("10.0.0.1", "10.0.0.9")):
            told = [
                namespaces.run("client", [*command, "-p", str(PORT), "10.0.0.1"])
                for command in (["turnutils_stunclient"], ["turnutils_natdiscovery", "-m", "-P"])
            ]
    assert "RFC 5780 response 3" in told[0]
    origins = re.findall(r"Response origin: : ([\d.]+:\d+)", told[0])
    assert list(dict.fromkeys(origins)) == [f"10.0.0.1:{PORT}", f"10.0.0.9:{PORT + 1}"]
    assert set(re.findall(r"reflexive addr: ([\d.]+):", told[0])) == {"10.0.0.2"}
    assert "NAT with Endpoint Independent Mapping!" in told[1]
    assert "error" not in "".join(told)


@requires_coturn
def test_a_server_of_one_address_is_for_both_a_stun_server_that_can_do_no_more(
    lab: "Laboratory",
) -> None:
    for name in POLICIES:
        output = lab.run(name, "turnutils_stunclient", "-p", str(PORT), lab.plain)
        assert f"UDP reflexive addr: {lab.outside(name)}:" in output
        assert "RFC 5780" not in output
    output = lab.run("open", *DISCOVERY, "-L", lab.address("open"), lab.plain)
    assert "No NAT! (Endpoint Independent Mapping)" in output
    assert "RFC 5780" not in output


def test_aioice_gathers_the_candidate_that_each_nat_shows(lab: "Laboratory") -> None:
    for name in (*POLICIES, *KERNEL):
        for server in (lab.first, lab.second, lab.plain):
            told = lab.run(name, sys.executable, "-c", GATHER, server, str(PORT))
            assert told.split() == [lab.outside(name)], (name, server)
    assert lab.run("open", sys.executable, "-c", GATHER, lab.first, str(PORT)).split() == [
        lab.address("open")
    ]


@pytest.mark.parametrize(
    ("name", "asked", "beside", "mapping"),
    [
        ("port-restricted", "first", False, "endpoint-independent"),
        ("address-dependent", "plain", False, "endpoint-independent"),
        ("address-dependent", "first", False, "address-dependent"),
        ("address-dependent", "plain", True, "address-dependent"),
    ],
)
def test_a_daemon_is_told_by_a_second_address_or_by_stun_servers_what_one_address_can_not_tell(
    lab: "Laboratory", name: str, asked: str, beside: bool, mapping: str, tmp_path: Path
) -> None:
    if beside:
        file = tmp_path / "config" / "natd" / "natd.yaml"
        file.parent.mkdir(parents=True)
        file.write_text(f'stun_servers: ["{lab.first}:{PORT}", "{lab.second}:{PORT + 1}"]\n')

    async def learn() -> str:
        async with Programs(lab.internet, tmp_path) as programs:
            peer = await programs.start_peer(name)
            await peer.join("demo", [f"{getattr(lab, asked)}:{PORT}"])
            await asyncio.sleep(LEARN_S)
            told = (await peer.client.request("status"))["self"]
            assert told["observed"][0].startswith(lab.outside(name))
            return str(told["nat"]["mapping"])

    assert asyncio.run(learn()) == mapping


@pytest.mark.parametrize("beside", [False, True])
def test_daemons_find_out_whom_their_nats_let_in_and_natctl_tells(
    lab: "Laboratory", beside: bool, tmp_path: Path
) -> None:
    """By the server's two addresses; or by another server, which answers in the other's stead."""
    expected = {name: FILTERING[policy.filtering] for name, policy in POLICIES.items()}
    expected["masquerade"] = expected["masq-random"] = FILTERING[Dependence.ADDRESS_AND_PORT]
    expected["open"] = FILTERING[Dependence.INDEPENDENT]
    servers = [f"{host}:{PORT}" for host in ((lab.plain, lab.single) if beside else (lab.first,))]
    found = {}

    async def learn() -> None:
        async with Programs(lab.internet, tmp_path) as programs:
            peers = [await programs.start_peer(name) for name in expected]
            for peer in peers:
                await peer.join("demo", servers)
            for peer in peers:
                deadline = time.monotonic() + TOLD_S
                while (nat := status(peer))["filtering_confidence"] < SURE:
                    assert time.monotonic() < deadline, (peer.name, nat)
                    await asyncio.sleep(0.5)
                found[peer.name] = nat["filtering"]

    asyncio.run(learn())
    assert found == expected


def status(peer: Peer) -> dict[str, Any]:
    """What `natctl status --json` tells of its NAT."""
    command = [sys.executable, "-m", "natctl", "--socket", str(peer.socket), "status", "--json"]
    told = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=True)
    nat: dict[str, Any] = json.loads(told.stdout)["self"]["nat"]
    return nat


DISCOVER = python(
    "-c",
    """
import ipaddress, socket, sys
from natd.core.codec import stun
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.settimeout(5.0)

def ask(place):
    udp.sendto(stun.encode(stun.BINDING, stun.MessageClass.REQUEST, bytes(12)), place)
    told = stun.decode(udp.recv(2048))
    other = told.get(stun.OTHER_ADDRESS)
    port = int.from_bytes(other[2:4], "big")
    return told.mapped_address(), (str(ipaddress.IPv4Address(other[4:])), port)

server, port = sys.argv[1], int(sys.argv[2])
first, other = ask((server, port))
second, _ = ask((other[0], port))
print("EI" if first == second else "AD" if second == ask(other)[0] else "APD")
""",
)
"""RFC 5780, section 4.3."""

GATHER = """
import asyncio, sys
import aioice

async def gather():
    server = sys.argv[1], int(sys.argv[2])
    connection = aioice.Connection(ice_controlling=True, stun_server=server, use_ipv6=False)
    await connection.gather_candidates()
    print(*(c.host for c in connection.local_candidates if c.type == "srflx"))
    await connection.close()

asyncio.run(gather())
"""
"""The server-reflexive candidates, as ICE gathers them."""


@dataclass
class Laboratory:
    """One server with two addresses, two with one, an open host, and a host behind each NAT."""

    internet: TunInternet
    first: str
    second: str
    plain: str
    single: str

    def address(self, name: str) -> str:
        return self.internet.address(name)

    def outside(self, name: str) -> str:
        """The external address of the NAT that `name` is behind."""
        return self.address(f"{name}-nat") if name in KERNEL else self._gateways[name]

    @property
    def _gateways(self) -> dict[str, str]:
        gateways = self.internet.fabric.gateways()
        return {one.name.removesuffix("-nat"): one.addresses[0] for one in gateways}

    def run(self, name: str, *argv: str | Path) -> str:
        return self.internet.run(name, argv, timeout_s=LIMIT_S)

    def popen(self, name: str, *argv: str | Path) -> Any:
        return self.internet.popen(name, argv, stdout=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def lab() -> Iterator[Laboratory]:
    with TunInternet(seed=1) as internet:
        fabric = internet.fabric
        for name, policy in POLICIES.items():
            nat = fabric.add_nat(policy, name=f"{name}-nat")
            fabric.add_host(nat, name=name)
        for name, flavour in KERNEL.items():
            fabric.add_host(name=f"{name}-nat")
            internet.put_behind_kernel_nat(name, f"{name}-nat", flavour)
        fabric.add_host(name="open")
        server = fabric.add_host(name="server")
        second = fabric.add_address(server)
        plain, single = fabric.add_host(name="plain"), fabric.add_host(name="single")
        internet.start()
        hosts = (server.address, second, plain.address, single.address)
        laboratory = Laboratory(internet, *hosts)
        with contextlib.ExitStack() as stack:
            stack.enter_context(serving(internet, "server", (server.address, second)))
            stack.enter_context(serving(internet, "plain"))
            stack.enter_context(serving(internet, "single"))
            yield laboratory


@contextlib.contextmanager
def serving(
    lab: TunInternet | Namespaces, name: str, binds: tuple[str, ...] = ()
) -> Iterator[None]:
    flags = [word for host in binds for word in ("--bind", host)]
    process = lab.popen(
        name,
        python("-m", "natd", "--server", str(PORT), *flags),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert "coordination server started" in process.stderr.readline()
    yield
    process.kill()
