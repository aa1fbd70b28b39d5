"""The coordination server as a process, over loopback sockets."""

import asyncio
import contextlib
import re
import signal
import subprocess
import time
from pathlib import Path
from random import Random

import pytest

from natctl.demo.namespaces import Topology
from natctl.demo.own_world import Namespaces
from natd.core.base.events import MembersListed, ServerAnswered
from natd.core.base.types import Address, NetworkId
from natd.core.codec import rendezvous_codec, stun
from natd.core.codec.rendezvous import Sample
from natd.core.codec.rendezvous import Sampled as SampledDatagram
from natd.core.coordinator import registry
from natd.core.registration.events import Introduced, SocketSampled
from natd.net.listeners import Listeners
from natd.server import Server
from tests.daemon.server_process import (
    LIMIT_S,
    Client,
    address_of,
    run_to_end,
    running,
    udp_socket,
)
from tests.natlab.interpreter import python
from tests.processes import free_ports
from tests.requirements import requires, requires_namespaces

NETWORK = NetworkId(b"n" * 16)
T = bytes(range(12))


def test_two_peers_register_and_are_introduced_over_ipv4_and_over_ipv6(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        for host in ("127.0.0.1", "::1"):
            network = NetworkId(host.encode().ljust(16))
            with Client(host, server.port, network, 1) as alice:
                alice.run_until(MembersListed)
                with Client(host, server.port, network, 2) as bob:
                    bob.run_until(MembersListed)
                    alice.run_until(Introduced)
                    (leased,) = bob.of(ServerAnswered)
                    assert leased.observed == bob.address
                    assert {event.observed for event in bob.of(SocketSampled)} == {bob.address}
                    assert alice.of(Introduced)[0].addresses == (bob.address,)
                    assert bob.of(Introduced)[0].we_dial


def test_each_port_answers_samples_and_binding_requests(tmp_path: Path) -> None:
    with running(tmp_path) as server, udp_socket("127.0.0.1") as client:
        for port in range(server.port, server.port + 4):
            client.sendto(rendezvous_codec.encode(Sample(T)), ("127.0.0.1", port))
            data, source = client.recvfrom(2048)
            assert source[1] == port
            assert rendezvous_codec.decode(data) == SampledDatagram(T, address_of(client))
            client.sendto(stun.encode_binding_request(T), ("127.0.0.1", port))
            data, source = client.recvfrom(2048)
            assert source[1] == port
            assert stun.decode(data).mapped_address() == address_of(client)


def test_it_listens_only_where_it_is_bound_to(tmp_path: Path) -> None:
    with running(tmp_path, "--bind", "127.0.0.2", "--bind", "127.0.0.3") as server:
        for host in ("127.0.0.2", "127.0.0.3"):
            with Client(host, server.port, NETWORK, ord(host[-1])) as client:
                client.run_until(MembersListed)
                assert client.registration.server.host == host
        with udp_socket("127.0.0.1") as stranger:
            stranger.sendto(rendezvous_codec.encode(Sample(T)), ("127.0.0.1", server.port))
            stranger.settimeout(0.2)
            with pytest.raises(TimeoutError):
                stranger.recvfrom(2048)


@pytest.mark.parametrize("binds", [(), ("--bind", "0.0.0.0")])
def test_a_server_on_every_address_answers_from_the_one_that_was_asked(
    tmp_path: Path, binds: tuple[str, ...]
) -> None:
    with running(tmp_path, *binds) as server, udp_socket("127.0.0.1") as client:
        for port in range(server.port, server.port + 4):
            for host in ("127.0.0.2", "127.0.0.3", "127.0.0.2"):
                client.sendto(rendezvous_codec.encode(Sample(T)), (host, port))
                data, source = client.recvfrom(2048)
                assert source == (host, port)
                assert rendezvous_codec.decode(data) == SampledDatagram(T, address_of(client))


def test_a_peer_is_introduced_by_the_address_of_the_server_that_it_registered_at(
    tmp_path: Path,
) -> None:
    """The introduction to the resident is no answer: its lease remembers the address."""
    with (
        running(tmp_path) as server,
        Client("127.0.0.2", server.port, NETWORK, 1) as alice,
        Client("127.0.0.3", server.port, NETWORK, 2) as bob,
    ):
        alice.run_until(MembersListed)
        bob.run_until(MembersListed)
        alice.run_until(Introduced)
        assert alice.of(Introduced)[0].addresses == (bob.address,)
        assert bob.of(Introduced)[0].addresses == (alice.address,)


@requires_namespaces
@requires("command:ip")
def test_a_server_on_every_address_answers_ipv6_from_the_one_that_was_asked() -> None:
    """Over a link, whose routes would choose another source address than the one asked."""
    topology = Topology()
    for name in ("server", "client"):
        topology.namespace(name)
    topology.cable("server", "eth0", "10.0.0.1/24", "client", "eth0", "10.0.0.2/24")
    port, asked = 8080, ["10.0.0.1", "10.0.0.9", "2001:db8::1", "2001:db8::9"]
    with Namespaces() as namespaces:
        namespaces.build(topology)
        for name, host in ("server", asked[1]), *(("server", host) for host in asked[2:]):
            length = "128" if ":" in host else "32"
            add = ["ip", "addr", "add", f"{host}/{length}", "dev", "eth0"]
            namespaces.run(name, [*add, "nodad"] if ":" in host else add)
        namespaces.run("client", ["ip", "addr", "add", "2001:db8::2/64", "dev", "eth0", "nodad"])
        back = ["ip", "route", "add", "2001:db8::/64", "dev", "eth0"]
        namespaces.run("server", back)
        process = namespaces.popen(
            "server", python("-m", "natd", "--server", str(port)), stderr=subprocess.PIPE
        )
        assert process.stderr is not None
        assert b"started" in process.stderr.readline()
        told = namespaces.run("client", python("-c", ASK_EACH, str(port), *asked))
    assert told.split() == asked


def test_both_wildcards_can_be_bound_side_by_side(tmp_path: Path) -> None:
    with running(tmp_path, "--bind", "::", "--bind", "0.0.0.0") as server:
        for host in ("127.0.0.1", "::1"):
            with Client(host, server.port, NETWORK, len(host)) as client:
                client.run_until(ServerAnswered)


def test_a_port_in_use_is_told_in_one_line_and_ends_with_1(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        ended = run_to_end("--server", str(server.port))
        assert ended.returncode == 1
        assert re.fullmatch(rf"natd: UDP port {server.port} on :: is in use; .+\n", ended.stderr)


def test_a_sampling_port_in_use_is_told_with_what_to_do(tmp_path: Path) -> None:
    port = free_ports(4)
    with udp_socket("0.0.0.0", port + 2):
        ended = run_to_end("--server", str(port))
        assert ended.returncode == 1
        assert ended.stderr.count("\n") == 1
        assert f"UDP port {port + 2} on :: is in use" in ended.stderr
        assert "--sample-ports" in ended.stderr
        with running(tmp_path, "--sample-ports", "1", port=port):
            pass


def test_an_address_of_another_machine_is_told_in_one_line(tmp_path: Path) -> None:
    ended = run_to_end("--server", str(free_ports(4)), "--bind", "203.0.113.77")
    assert ended.returncode == 1
    assert "203.0.113.77 is not an address of this machine" in ended.stderr
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_ready_and_stopping_and_ends_cleanly_within_2_s(
    tmp_path: Path, number: signal.Signals
) -> None:
    with running(tmp_path) as server:
        began = time.monotonic()
        server.process.send_signal(number)
        assert server.process.wait(LIMIT_S) == 0
        assert time.monotonic() - began < 2.0
        assert "STOPPING=1" in server.notifications()


def test_the_event_loop_feeds_the_watchdog(tmp_path: Path) -> None:
    with running(tmp_path, WATCHDOG_USEC="200000") as server:
        fed = 0
        while fed < 3:
            fed += server.notifications().count("WATCHDOG=1")


def test_the_start_is_logged_and_registrations_by_the_hundred(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        with contextlib.ExitStack() as stack:
            for number in range(105):
                client = Client("127.0.0.1", server.port, NetworkId(bytes([number]) * 16), number)
                stack.enter_context(client).run_until(ServerAnswered)
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(LIMIT_S)
        lines = server.log.read_text().splitlines()
    assert len(lines) == 3, lines
    assert f"coordination server started on UDP [::]:{server.port}" in lines[0]
    assert "sampling ports" in lines[0]
    assert "100 registrations so far; leases: 100, networks: 100" in lines[1]


def test_a_restarted_server_has_everyone_back(tmp_path: Path) -> None:
    with running(tmp_path) as server, Client("127.0.0.1", server.port, NETWORK, 1) as client:
        client.run_until(MembersListed)
        server.process.send_signal(signal.SIGKILL)
        server.process.wait(LIMIT_S)
        with running(tmp_path, port=server.port):
            client.events.clear()
            # The instant of the next refresh has come: a core takes any time that grows.
            client.ahead_s = 26.0
            client.run_until(ServerAnswered)


def test_what_is_not_refreshed_expires_by_the_shells_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "LEASE_S", 0.5)

    async def serve_until_empty() -> None:
        port = free_ports(4)
        with Listeners(port, (), 3) as listeners:
            server = Server(listeners)
            with Client("127.0.0.1", port, NETWORK, 1) as client:
                await asyncio.to_thread(client.run_until, ServerAnswered)
                assert server.coordinator.lease_count == 1
                async with asyncio.timeout(LIMIT_S):
                    while server.coordinator.lease_count:
                        await asyncio.sleep(0.05)
            server.close()

    asyncio.run(serve_until_empty())


def test_a_server_for_every_address_uses_two_of_its_own_without_being_told() -> None:
    """And answers from the one that was asked, or from the other where that is asked for."""

    async def ask() -> None:
        port = free_ports(4)
        own = ("127.0.0.1", "127.0.0.2")
        with Listeners(port, (), 3, own) as listeners, udp_socket("127.0.0.1") as client:
            server = Server(listeners)
            client.setblocking(False)
            loop = asyncio.get_running_loop()
            for asked, other in (own, own[::-1]):
                for flags, answers in ((0, (asked, port)), (6, (other, port + 1))):
                    change = (stun.CHANGE_REQUEST, bytes((0, 0, 0, flags)))
                    request = stun.encode_binding_request(bytes(12), extra=(change,))
                    client.sendto(request, (asked, port))
                    async with asyncio.timeout(LIMIT_S):
                        data, source = await loop.sock_recvfrom(client, 2048)
                    assert source == answers
                    named = stun.decode(data).get(stun.OTHER_ADDRESS)
                    assert named == stun.encode_address(Address(other, port + 1))
            server.close()

    asyncio.run(ask())


def test_a_flood_of_junk_does_not_keep_peers_from_registering(tmp_path: Path) -> None:
    random = Random(4)
    junk = [bytes((first,)) + random.randbytes(60) for first in range(256)]
    with running(tmp_path) as server, udp_socket("127.0.0.1") as flooder:
        for number in range(20):
            for data in junk * 4:
                flooder.sendto(data, ("127.0.0.1", server.port))
            with Client("127.0.0.1", server.port, NETWORK, number) as client:
                client.run_until(ServerAnswered)
        assert server.process.poll() is None


ASK_EACH = """
import socket, sys
from natd.core.codec import stun
for host in sys.argv[2:]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as udp:
        udp.settimeout(5.0)
        udp.sendto(stun.encode_binding_request(bytes(12)), (host, int(sys.argv[1])))
        print(udp.recvfrom(2048)[1][0])
"""
"""Who answers when each of these is asked."""
