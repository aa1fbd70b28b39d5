"""The daemon's UDP door, on loopback."""

import asyncio
import errno
import socket
import sys
import time
from collections.abc import Coroutine
from typing import Any

import pytest

from natd.core.base.types import LOWEST_ANY_PORT_SOCKET, MAIN_SOCKET, Address, Datagram, SocketId
from natd.net.udp import DRAIN_LIMIT, UdpSockets
from tests.processes import free_ports

IP_RECVTTL = 12
IP_RECVOPTS = 6
IP_MTU_DISCOVER, IP_PMTUDISC_DONT = 10, 0
"""From linux/in.h; the socket module has no names for them."""


def test_an_ipv4_source_on_the_dual_stack_socket_is_seen_as_ipv4() -> None:
    async def scenario() -> None:
        with Door() as door, plain_socket(socket.AF_INET) as peer:
            peer.sendto(b"hello", ("127.0.0.1", door.sockets.port))
            await door.arrived(1)
            assert door.datagrams == [(b"hello", Address(*peer.getsockname()), MAIN_SOCKET)]

    run(scenario())


def test_an_ipv6_source_is_seen_as_it_is() -> None:
    async def scenario() -> None:
        with Door() as door, plain_socket(socket.AF_INET6) as peer:
            peer.sendto(b"hello", ("::1", door.sockets.port))
            await door.arrived(1)
            assert door.datagrams[0][1] == Address("::1", peer.getsockname()[1])

    run(scenario())


def test_both_families_are_answered_through_the_one_socket() -> None:
    async def scenario() -> None:
        with (
            Door() as door,
            plain_socket(socket.AF_INET) as four,
            plain_socket(socket.AF_INET6) as six,
        ):
            door.sockets.send(
                [
                    Datagram(b"4", Address(*four.getsockname())),
                    Datagram(b"6", Address(*six.getsockname()[:2])),
                ]
            )
            assert four.recvfrom(99) == (b"4", ("127.0.0.1", door.sockets.port))
            assert six.recvfrom(99)[0] == b"6"

    run(scenario())


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_the_hop_limit_is_that_of_the_one_packet(family: socket.AddressFamily) -> None:
    async def scenario() -> None:
        with Door() as door, plain_socket(family) as peer:
            if family == socket.AF_INET:
                peer.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
            else:
                peer.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
            address = Address(*peer.getsockname()[:2])
            door.sockets.send([Datagram(b"low", address, 3), Datagram(b"usual", address)])
            limits = []
            for _ in range(2):
                _, controls, _, _ = peer.recvmsg(99, 99)
                limits.append(int.from_bytes(controls[0][2], "little"))
            assert limits[0] == 3
            assert limits[1] > 3

    run(scenario())


@pytest.mark.skipif(sys.platform != "linux", reason="an option for one packet is Linux's")
def test_a_strict_limit_is_counted_by_the_overflows_of_a_time_stamp_option_too() -> None:
    """A second router can't count to 16.  The receiver here has counted one itself."""

    async def scenario() -> None:
        with Door() as door, plain_socket(socket.AF_INET) as peer:
            peer.setsockopt(socket.IPPROTO_IP, IP_RECVOPTS, 1)
            address = Address(*peer.getsockname())
            for ttl in (2, 3):
                door.sockets.send([Datagram(b"opener", address, ttl, is_strict=True)])
                data, controls, _, _ = peer.recvmsg(99, 99)
                assert data == b"opener"
                assert [value.hex() for _, _, value in controls] == [f"440405{17 - ttl:x}0"]

    run(scenario())


def test_where_the_system_has_no_options_the_limit_is_the_ttl_alone() -> None:
    class Refusing(socket.socket):
        def sendmsg(self, buffers: Any, controls: Any, *rest: Any) -> int:  # type: ignore[override]
            if len(controls) > 1:
                raise OSError(errno.EINVAL, "invalid argument")
            return super().sendmsg(buffers, controls, *rest)

    async def scenario() -> None:
        with Door() as door, plain_socket(socket.AF_INET) as peer:
            address = Address(*peer.getsockname())
            with Refusing(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                for text in (b"one", b"two"):
                    controls = door.sockets._hop_limits(address, 2, is_strict=True)
                    door.sockets._send_limited(sock, text, controls, peer.getsockname())
                    assert peer.recv(99) == text

    run(scenario())


def test_a_burst_is_drained_in_portions_and_each_wake_up_ends_once() -> None:
    async def scenario() -> None:
        with Door() as door, plain_socket(socket.AF_INET) as peer:
            for number in range(DRAIN_LIMIT + 10):
                peer.sendto(b"%d" % number, ("127.0.0.1", door.sockets.port))
            await door.arrived(DRAIN_LIMIT + 10)
            assert [data for data, _, _ in door.datagrams] == [
                b"%d" % number for number in range(DRAIN_LIMIT + 10)
            ]
            assert door.portions == [DRAIN_LIMIT, 10]

    run(scenario())


def test_a_helper_socket_opens_on_first_use_and_answers_come_back_under_its_id() -> None:
    async def scenario() -> None:
        with Door() as door, plain_socket(socket.AF_INET) as peer:
            helper = SocketId(free_ports(1))
            door.sockets.send([Datagram(b"q", Address(*peer.getsockname()), None, helper)])
            _, source = peer.recvfrom(99)
            assert source[1] == helper != door.sockets.port, "the id names the port"
            peer.sendto(b"a", source)
            await door.arrived(1)
            assert door.datagrams[0][2] == helper
            door.sockets.drop(helper)
            assert door.sockets.count == 1

    run(scenario())


def test_no_more_helpers_are_opened_than_the_process_has_descriptors_for() -> None:
    async def scenario() -> None:
        with Door(most_helpers=2) as door, plain_socket(socket.AF_INET) as peer:
            place = Address(*peer.getsockname())
            for number in range(4):
                helper = SocketId(LOWEST_ANY_PORT_SOCKET + number)
                door.sockets.send([Datagram(b"q", place, None, helper)])
            assert door.sockets.count == 3
            assert door.sockets.errors == {"EMFILE": 2}
            door.sockets.drop(SocketId(LOWEST_ANY_PORT_SOCKET))
            door.sockets.send([Datagram(b"q", place, None, SocketId(LOWEST_ANY_PORT_SOCKET + 9))])
            assert door.sockets.count == 3

    run(scenario())


def test_the_port_of_a_closed_helper_is_not_drawn_again_soon() -> None:
    """A NAT may still have its mapping: an old one, or one that an early packet has spoilt."""

    async def scenario() -> None:
        with Door() as door, plain_socket(socket.AF_INET) as peer:
            to = Address(*peer.getsockname())
            first, second = SocketId(0x100000), SocketId(0x100001)
            door.sockets.send([Datagram(b"q", to, None, first)])
            _, (_, used) = peer.recvfrom(99)
            door.sockets.drop(first)
            real = socket.socket.bind
            drawn: list[int] = []

            def bind(sock: socket.socket, place: Any) -> None:
                drawn.append(used if len(drawn) < 2 else 0)
                real(sock, (*place[:1], drawn[-1]))

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("socket.socket.bind", bind)
                door.sockets.send([Datagram(b"q", to, None, second)])
            assert drawn == [used, used, 0]
            assert peer.recvfrom(99)[1][1] != used
            assert door.sockets.count == 2

    run(scenario())


def test_the_main_socket_is_not_dropped() -> None:
    async def scenario() -> None:
        with Door() as door:
            door.sockets.drop(MAIN_SOCKET)
            assert door.sockets.count == 1

    run(scenario())


def test_what_can_not_be_sent_is_counted_and_the_rest_still_goes() -> None:
    async def scenario() -> None:
        with Door() as door, plain_socket(socket.AF_INET) as peer:
            target = Address(*peer.getsockname())
            door.sockets.send(
                [
                    Datagram(b"x" * 70_000, target),
                    Datagram(b"x", Address("fe80::1%no-such-interface", 9)),
                    Datagram(b"x", Address("255.255.255.255", 9)),
                    Datagram(b"ok", target),
                ]
            )
            assert peer.recv(99) == b"ok"
            assert door.sockets.errors["EMSGSIZE"] == 1
            assert door.sockets.errors.total() == 3

    run(scenario())


def test_a_refusal_of_this_system_is_forgotten_after_a_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario() -> None:
        with Door() as door:
            assert not door.sockets.is_forbidden
            door.sockets.send([Datagram(b"x", Address("255.255.255.255", 9))])  # EACCES
            assert door.sockets.is_forbidden
            real = time.monotonic
            monkeypatch.setattr(time, "monotonic", lambda: real() + 61)
            is_forbidden = door.sockets.is_forbidden
            monkeypatch.undo()
            assert not is_forbidden

    run(scenario())


def test_without_ipv6_the_socket_is_ipv4_only(monkeypatch: pytest.MonkeyPatch) -> None:
    class NoIpv6(socket.socket):
        def __init__(self, family: int = -1, *arguments: int) -> None:
            if family == socket.AF_INET6:
                raise OSError(errno.EAFNOSUPPORT, "no IPv6 in this kernel")
            super().__init__(family, *arguments)

    async def scenario() -> None:
        with plain_socket(socket.AF_INET) as peer:
            monkeypatch.setattr("natd.net.udp.socket.socket", NoIpv6)
            with Door() as door:
                monkeypatch.undo()
                assert not door.sockets.has_ipv6
                door.sockets.send(
                    [
                        Datagram(b"x", Address("::1", 9)),
                        Datagram(b"ok", Address(*peer.getsockname()), 5),
                    ]
                )
                data, source = peer.recvfrom(99)
                assert (data, source) == (b"ok", ("127.0.0.1", door.sockets.port))
                assert door.sockets.errors == {"EAFNOSUPPORT": 1}
                peer.sendto(b"back", source)
                await door.arrived(1)
                assert door.datagrams[0][1] == Address(*peer.getsockname())

    run(scenario())


def test_a_port_that_is_taken_is_an_error_for_the_caller() -> None:
    async def scenario() -> None:
        with Door() as door, pytest.raises(OSError, match="in use") as caught:
            UdpSockets(door.take, door.drained).open(door.sockets.port)
        assert caught.value.errno == errno.EADDRINUSE

    run(scenario())


class Door:
    """UdpSockets on any port, and what came in."""

    def __init__(self, most_helpers: int = 1024) -> None:
        self.sockets = UdpSockets(self.take, self.drained, most_helpers=most_helpers)
        self.datagrams: list[tuple[bytes, Address, SocketId]] = []
        self.portions: list[int] = []
        self._wanted: tuple[int, asyncio.Event] | None = None

    def __enter__(self) -> "Door":
        self.sockets.open(0)
        return self

    def __exit__(self, *_: object) -> None:
        self.sockets.close()

    def take(self, data: bytes, address: Address, socket_id: SocketId) -> None:
        self.datagrams.append((data, address, socket_id))

    def drained(self) -> None:
        self.portions.append(len(self.datagrams) - sum(self.portions))
        if self._wanted is not None and len(self.datagrams) >= self._wanted[0]:
            self._wanted[1].set()

    async def arrived(self, count: int) -> None:
        self._wanted = (count, asyncio.Event())
        async with asyncio.timeout(5):
            await self._wanted[1].wait()


def plain_socket(family: socket.AddressFamily) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.settimeout(5)
    sock.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
    return sock


def run(scenario: Coroutine[object, object, None]) -> None:
    asyncio.run(scenario)


def test_routers_may_split_what_both_kinds_of_socket_send() -> None:
    """With the don't-fragment bit, a narrow tunnel whose ICMP is filtered would be a hole."""

    async def scenario() -> None:
        with Door() as door:
            found = door.sockets._sockets[MAIN_SOCKET]
            assert found.getsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER) == IP_PMTUDISC_DONT

    run(scenario())
