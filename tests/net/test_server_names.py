"""From the names of servers to addresses."""

import asyncio
import socket
from typing import Any

import pytest

from natd.core.base.types import Address
from natd.net import server_names
from natd.net.server_names import ServerNames


def test_literal_addresses_are_there_at_once_and_need_no_looking_up() -> None:
    async def scenario() -> None:
        names = ServerNames(fail)
        found = names.follow("demo", ("192.0.2.1:8080", "[2001:db8::1]:9", "[::ffff:192.0.2.2]:7"))
        assert found == (
            Address("192.0.2.1", 8080),
            Address("2001:db8::1", 9),
            Address("192.0.2.2", 7),
        )
        assert names._tasks == {}

    asyncio.run(scenario())


def test_a_name_gives_one_address_of_each_family() -> None:
    async def scenario() -> None:
        asyncio.get_running_loop().getaddrinfo = answers(  # type: ignore[method-assign]
            [("192.0.2.1", 4), ("192.0.2.2", 4), ("2001:db8::1", 6)]
        )
        found = await first_found(("chat.example.net:8080",))
        assert found == (Address("192.0.2.1", 8080), Address("2001:db8::1", 8080))

    asyncio.run(scenario())


def test_a_name_without_an_address_is_looked_for_until_it_is_found_or_can_not_be() -> None:
    async def scenario() -> None:
        servers = ("192.0.2.9:1", "chat.example.net:8080")
        names = ServerNames(lambda network, addresses: None)
        assert names.unresolved(servers) == [("chat.example.net:8080", "resolving")]
        names.problems["chat.example.net:8080"] = "it can't be"
        assert names.unresolved(servers) == [("chat.example.net:8080", "unresolvable")]
        names.problems.clear()
        asyncio.get_running_loop().getaddrinfo = answers(  # type: ignore[method-assign]
            [("192.0.2.1", 4)]
        )
        await names._look_up("chat.example.net:8080")
        assert names.unresolved(servers) == []

    asyncio.run(scenario())


def test_without_ipv6_a_name_gives_ipv4_only() -> None:
    async def scenario() -> None:
        asyncio.get_running_loop().getaddrinfo = answers(  # type: ignore[method-assign]
            [("192.0.2.1", 4), ("2001:db8::1", 6)]
        )
        found = await first_found(("chat.example.net:8080",), ipv6=False)
        assert found == (Address("192.0.2.1", 8080),)

    asyncio.run(scenario())


def test_a_name_that_can_not_be_found_is_a_problem_until_it_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server_names, "RESOLVE_RETRY_FIRST_S", 0.01)

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        loop.getaddrinfo = answers(None)  # type: ignore[method-assign]
        found: asyncio.Queue[tuple[Address, ...]] = asyncio.Queue()
        names = ServerNames(lambda _, addresses: found.put_nowait(addresses))
        assert names.follow("demo", ("gone.example.net:1", "192.0.2.9:1")) == (
            Address("192.0.2.9", 1),
        )
        async with asyncio.timeout(5):
            while "gone.example.net:1" not in names.problems:
                await asyncio.sleep(0.001)
            assert "gone.example.net" in names.problems["gone.example.net:1"]
            loop.getaddrinfo = answers([("192.0.2.1", 4)])  # type: ignore[method-assign]
            assert await found.get() == (Address("192.0.2.1", 1), Address("192.0.2.9", 1))
        assert names.problems == {}
        names.close()

    asyncio.run(scenario())


def test_a_name_that_was_found_once_keeps_its_address_while_dns_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server_names, "RESOLVE_EVERY_S", 0.01)
    monkeypatch.setattr(server_names, "RESOLVE_RETRY_FIRST_S", 0.01)

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        loop.getaddrinfo = answers([("192.0.2.1", 4)])  # type: ignore[method-assign]
        told: list[tuple[Address, ...]] = []
        names = ServerNames(lambda _, addresses: told.append(addresses))
        names.follow("demo", ("chat.example.net:1",))
        async with asyncio.timeout(5):
            while not told:
                await asyncio.sleep(0.001)
            loop.getaddrinfo = answers(None)  # type: ignore[method-assign]
            while not names.problems:
                await asyncio.sleep(0.001)
        assert told == [(Address("192.0.2.1", 1),)]
        names.forget("demo")
        assert names.problems == {}

    asyncio.run(scenario())


async def first_found(servers: tuple[str, ...], *, ipv6: bool = True) -> tuple[Address, ...]:
    found: asyncio.Future[tuple[Address, ...]] = asyncio.get_running_loop().create_future()
    names = ServerNames(lambda _, addresses: found.set_result(addresses), ipv6=ipv6)
    assert names.follow("demo", servers) == ()
    async with asyncio.timeout(5):
        addresses = await found
    names.close()
    return addresses


def answers(hosts: list[tuple[str, int]] | None) -> Any:
    """A stand-in for the loop's resolver; None: no such name."""

    async def getaddrinfo(*_: object, **__: object) -> list[Any]:
        if hosts is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        families = {4: socket.AF_INET, 6: socket.AF_INET6}
        return [(families[kind], 2, 17, "", (host, 0)) for host, kind in hosts]

    return getaddrinfo


def fail(network: str, addresses: tuple[Address, ...]) -> None:
    raise AssertionError((network, addresses))
