"""The ear on the link, with real multicast: on the loopback interface, which carries it as well."""

import asyncio
import logging
import socket
from collections.abc import Coroutine
from ipaddress import IPv4Network

import pytest

from natd.core.base.types import Address, SocketId
from natd.core.network.multicast import GROUP, GROUP_IPV6, LINK_SOCKET
from natd.net.lan import MOST_LINKS, Lan
from natd.net.network_interfaces import Link, multicast_links
from natd.net.udp import UdpSockets

ANYWHERE = (IPv4Network("0.0.0.0/0"),)
"""A call out of the loopback interface has the address of another one."""

LOOPBACK = Link("lo", socket.if_nametoindex("lo"), True, False, ANYWHERE)
ABSENT = Link("gone", 9999, has_ipv4=True, has_ipv6=True)


def test_a_call_is_heard_by_every_daemon_of_the_machine_and_comes_from_the_main_socket() -> None:
    async def scenario() -> None:
        caller, neighbour = Ear(), Ear()
        try:
            assert caller.follow()
            assert neighbour.follow()
            caller.lan.call(b"anybody?", caller.sockets)
            await neighbour.hears(1)
            [(data, source, socket_id)] = neighbour.heard
            assert (data, source.port, socket_id) == (b"anybody?", caller.port, LINK_SOCKET)
            await caller.hears(1)
        finally:
            caller.close()
            neighbour.close()

    run(scenario())


def test_what_is_sent_to_the_port_and_not_to_the_group_is_not_heard() -> None:
    async def scenario() -> None:
        ear = Ear()
        try:
            assert ear.follow()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
                stranger.sendto(b"psst", ("127.0.0.1", GROUP.port))
            ear.lan.call(b"anybody?", ear.sockets)
            await ear.hears(1)
            assert [data for data, _, _ in ear.heard] == [b"anybody?"]
        finally:
            ear.close()

    run(scenario())


def test_a_call_whose_source_is_on_none_of_our_links_is_counted_and_not_heard() -> None:
    """It could be a recording that is to make us answer somebody far away."""

    async def scenario() -> None:
        ear = Ear(Link("lo", LOOPBACK.index, True, False, (IPv4Network("127.0.1.0/24"),)))
        try:
            assert ear.follow()
            for host in ("127.0.0.1", "127.0.1.255", "127.0.2.1", "127.0.1.7"):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
                    stranger.bind((host, 0))
                    at_lo = socket.inet_aton("127.0.0.1")
                    stranger.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, at_lo)
                    stranger.sendto(host.encode(), GROUP)
            await ear.hears(2)
            assert [data for data, _, _ in ear.heard] == [b"127.0.1.255", b"127.0.1.7"]
            assert ear.lan.dropped == {"call-from-off-the-link": 2}
        finally:
            ear.close()

    run(scenario())


def test_to_an_ipv6_group_only_a_link_local_source_counts() -> None:
    async def scenario() -> None:
        ear = Ear(Link("lo", LOOPBACK.index, True, True, ANYWHERE))
        try:
            assert ear.follow()
            with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as stranger:
                stranger.sendto(b"psst", ("::1", GROUP_IPV6.port))
            ear.lan.call(b"anybody?", ear.sockets)
            await ear.hears(1)
            assert [data for data, _, _ in ear.heard] == [b"anybody?"]
        finally:
            ear.close()

    run(scenario())


def test_following_the_same_links_again_changes_nothing_and_a_new_one_is_joined() -> None:
    async def scenario() -> None:
        links: list[Link] = []
        ear = Ear()
        ear.lan._look = lambda: tuple(links)
        try:
            assert not ear.follow()
            links.append(LOOPBACK)
            assert ear.follow()
            assert ear.follow()
            ear.lan.call(b"anybody?", ear.sockets)
            await ear.hears(1)
            links.clear()
            assert not ear.follow()
            links.append(LOOPBACK)
            assert ear.follow()
        finally:
            ear.close()

    run(scenario())


def test_switched_off_nothing_is_heard_or_sent_and_it_can_be_switched_on_again() -> None:
    async def scenario() -> None:
        ear = Ear()
        try:
            assert ear.follow()
            assert not ear.lan.follow(wanted=False, ipv6=True)
            ear.lan.call(b"anybody?", ear.sockets)
            assert ear.follow()
            ear.lan.call(b"again?", ear.sockets)
            await ear.hears(1)
            assert [data for data, _, _ in ear.heard] == [b"again?"]
        finally:
            ear.close()

    run(scenario())


def test_without_multicast_one_line_is_logged_and_everything_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        ear = Ear(ABSENT)
        try:
            assert not ear.follow()
            assert not ear.follow()
            ear.lan.call(b"anybody?", ear.sockets)
        finally:
            ear.close()

    with caplog.at_level(logging.INFO):
        run(scenario())
    assert len([line for line in caplog.messages if "does not look for" in line]) == 1


def test_of_many_interfaces_only_the_first_are_listened_to() -> None:
    async def scenario() -> None:
        ear = Ear(*[Link(f"veth{number}", 9000 + number, True, False) for number in range(50)])
        try:
            ear.follow()
            assert len(ear.lan._links) == MOST_LINKS
        finally:
            ear.close()

    run(scenario())


def test_links_are_real_interfaces_and_loopback_is_none() -> None:
    for link in multicast_links():
        assert link.index == socket.if_nametoindex(link.name)
        assert link.name != "lo"


class Ear:
    """One daemon's share: its main socket, its ear, and what came in by it."""

    def __init__(self, *links: Link) -> None:
        self.heard: list[tuple[bytes, Address, SocketId]] = []
        self.sockets = UdpSockets(lambda *_: None, lambda: None)
        self.sockets.open(0)
        self.lan = Lan(
            lambda *datagram: self.heard.append(datagram),
            lambda: None,
            lambda: links or (LOOPBACK,),
        )

    @property
    def port(self) -> int:
        return self.sockets.port

    def follow(self) -> bool:
        return self.lan.follow(wanted=True, ipv6=True)

    async def hears(self, count: int) -> None:
        async with asyncio.timeout(5.0):
            while len(self.heard) < count:
                await asyncio.sleep(0.005)

    def close(self) -> None:
        self.lan.close()
        self.sockets.close()


def run(scenario: Coroutine[object, object, None]) -> None:
    asyncio.run(scenario)
