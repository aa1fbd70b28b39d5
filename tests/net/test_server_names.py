"""From the names of servers to addresses."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable

import pytest

from natd.core.base.types import Address, NamedServer
from natd.net import server_names
from natd.net.server_names import Server, ServerNames, in_turn, one_of_each_family, pause_s

CHAT = "chat.example.net:8080"
OLD, NEW = Address("192.0.2.1", 8080), Address("198.51.100.1", 8080)


def test_literal_addresses_are_there_at_once_and_need_no_looking_up() -> None:
    async def scenario() -> None:
        names = ServerNames(fail, resolver=Dns())
        found = names.follow("demo", ("192.0.2.1:8080", "[2001:db8::1]:9", "[::ffff:192.0.2.2]:7"))
        assert found == (
            Address("192.0.2.1", 8080),
            Address("2001:db8::1", 9),
            Address("192.0.2.2", 7),
        )
        assert names.problems == {}
        assert names.unresolved(("192.0.2.1:8080",)) == []

    asyncio.run(scenario())


def test_a_name_gives_all_its_addresses() -> None:
    """A dead first address of two was the only one that was ever asked."""
    dns = Dns("192.0.2.1", "192.0.2.2", "192.0.2.1", "2001:db8::1")
    [found] = asyncio.run(first_found((CHAT,), dns))
    assert found == NamedServer(
        CHAT, (OLD, Address("2001:db8::1", 8080), Address("192.0.2.2", 8080))
    )


def test_the_families_take_turns_and_eight_addresses_are_enough() -> None:
    ipv4 = [Address(f"192.0.2.{n}", 1) for n in range(1, 9)]
    ipv6 = [Address(f"2001:db8::{n}", 1) for n in range(1, 9)]
    assert in_turn([*ipv6, *ipv4]) == tuple(
        address for pair in zip(ipv6[:4], ipv4[:4], strict=True) for address in pair
    )
    assert in_turn([*ipv4, *ipv6])[:2] == (ipv4[0], ipv6[0])
    assert in_turn([ipv4[0], *ipv6], ipv6=False) == (ipv4[0],)
    assert in_turn(ipv4) == tuple(ipv4)


def test_a_stun_server_is_asked_at_one_address_of_each_family() -> None:
    named = NamedServer("stun.example.net:3478", (OLD, Address("2001:db8::1", 8080), NEW))
    assert one_of_each_family([NEW, named]) == (NEW, OLD, Address("2001:db8::1", 8080))


def test_a_name_without_an_address_is_looked_for_until_it_is_found_or_can_not_be() -> None:
    async def scenario() -> None:
        dns = Dns()
        dns.hold()
        names = ServerNames(lambda *_: None, resolver=dns)
        servers = ("192.0.2.9:1", CHAT)
        names.follow("demo", servers)
        assert names.unresolved(servers) == [(CHAT, "resolving")]
        dns.release()
        await until(lambda: names.unresolved(servers) == [(CHAT, "unresolvable")])
        dns.hosts = ["192.0.2.1"]
        names.look_again()
        await until(lambda: names.unresolved(servers) == [])
        names.close()

    asyncio.run(scenario())


def test_without_ipv6_a_name_gives_ipv4_only() -> None:
    [found] = asyncio.run(first_found((CHAT,), Dns("2001:db8::1", "192.0.2.1"), ipv6=False))
    assert found == NamedServer(CHAT, (OLD,))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (socket.gaierror(socket.EAI_NONAME, ""), "there is no such name"),
        (socket.gaierror(socket.EAI_NODATA, ""), "the name has no address"),
        (socket.gaierror(socket.EAI_AGAIN, ""), "DNS has failed, or does not answer"),
        (UnicodeError(), "not a host name"),
        (OSError(5, "Input/output error"), "Input/output error"),
        (None, "chat.example.net has no address that this machine could use"),
    ],
)
def test_why_a_name_can_not_be_found_is_told(error: Exception | None, words: str) -> None:
    async def scenario() -> None:
        names = ServerNames(fail, resolver=Dns(error=error))
        names.follow("demo", (CHAT,))
        await until(lambda: CHAT in names.problems)
        assert names.problems[CHAT].endswith(words)
        names.forget("demo")
        assert names.problems == {}

    asyncio.run(scenario())


def test_a_name_that_can_not_be_found_is_a_problem_until_it_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server_names, "RESOLVE_RETRY_FIRST_S", 0.01)

    async def scenario() -> None:
        dns = Dns(error=socket.gaierror(socket.EAI_NONAME, ""))
        found: list[tuple[Server, ...]] = []
        names = ServerNames(lambda _, servers: found.append(servers), resolver=dns)
        literal = Address("192.0.2.9", 1)
        assert names.follow("demo", (CHAT, "192.0.2.9:1")) == (literal,)
        await until(lambda: CHAT in names.problems)
        dns.hosts, dns.error = ["192.0.2.1"], None
        await until(lambda: bool(found))
        assert found == [(NamedServer(CHAT, (OLD,)), literal)]
        assert names.problems == {}
        names.close()

    asyncio.run(scenario())


def test_a_name_that_was_found_once_keeps_its_address_while_dns_is_away() -> None:
    async def scenario() -> None:
        dns = Dns("192.0.2.1")
        told: list[tuple[Server, ...]] = []
        names = ServerNames(lambda _, servers: told.append(servers), resolver=dns)
        names.follow("demo", (CHAT,))
        await until(lambda: bool(told))
        dns.error = socket.gaierror(socket.EAI_AGAIN, "")
        names.lost(OLD)
        await until(lambda: CHAT in names.problems)
        assert told == [(NamedServer(CHAT, (OLD,)),)]
        assert names.follow("other", (CHAT,)) == told[0]
        names.close()

    asyncio.run(scenario())


def test_a_server_that_falls_silent_is_looked_up_at_once_and_then_on_a_ladder() -> None:
    """A server that came back under another address was found after five minutes."""

    async def scenario() -> None:
        dns = Dns("192.0.2.1")
        told: list[tuple[Server, ...]] = []
        names = ServerNames(lambda _, servers: told.append(servers), resolver=dns)
        names.follow("demo", (CHAT,))
        await until(lambda: bool(told))
        names.answered(OLD)
        await asyncio.sleep(0.05)
        assert dns.asked == 1
        names.lost(OLD)
        await until(lambda: dns.asked == 2)
        dns.hosts = ["198.51.100.1"]
        await until(lambda: len(told) == 2)  # with the ladder's first step, a second later
        assert told[1] == (NamedServer(CHAT, (NEW,)),)
        names.close()

    asyncio.run(scenario())
    silent = [pause_s(attempt, has_failed=False, is_silent=True) for attempt in range(8)]
    assert silent == [1, 2, 4, 8, 16, 30, 30, 30]
    failed = [pause_s(attempt, has_failed=True, is_silent=False) for attempt in range(8)]
    assert failed == [1, 2, 4, 8, 16, 32, 60, 60]
    assert pause_s(0, has_failed=False, is_silent=False) == 300


def test_the_name_of_a_silent_server_that_gives_another_address_each_time_stays_on_the_ladder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It was looked up, and the addresses asked, each second without end."""
    attempts: list[int] = []

    def pause(attempt: int, *, has_failed: bool, is_silent: bool) -> float:
        if is_silent:
            attempts.append(attempt)
        return 0.001 if is_silent else 300.0

    monkeypatch.setattr(server_names, "pause_s", pause)

    async def scenario() -> None:
        dns = Dns("192.0.2.1")
        told: list[tuple[Server, ...]] = []

        def found(_: str, servers: tuple[Server, ...]) -> None:
            told.append(servers)
            dns.hosts = [f"198.51.100.{len(told)}"]

        names = ServerNames(found, resolver=dns)
        names.follow("demo", (CHAT,))
        await until(lambda: bool(told))
        names.lost(OLD)
        await until(lambda: len(told) > 5)
        names.close()

    asyncio.run(scenario())
    assert attempts[:5] == [0, 1, 2, 3, 4]


def test_addresses_of_a_name_that_are_no_machine_are_left_out() -> None:
    dns = Dns("0.0.0.0", "224.0.0.251", "255.255.255.255", "::", "ff02::fb", "192.0.2.1")
    [found] = asyncio.run(first_found((CHAT,), dns))
    assert found == NamedServer(CHAT, (OLD,))


def test_a_family_that_never_answers_makes_no_server_silent_that_answers_by_the_other() -> None:
    async def scenario() -> None:
        dns = Dns("2001:db8::1", "192.0.2.1")
        names = ServerNames(lambda *_: None, resolver=dns)
        names.follow("demo", (CHAT,))
        await until(lambda: names.unresolved((CHAT,)) == [])
        names.answered(OLD)
        names.lost(Address("2001:db8::1", 8080))
        await asyncio.sleep(0.05)
        assert dns.asked == 1
        names.close()

    asyncio.run(scenario())


def test_an_answer_in_another_order_is_no_news() -> None:
    async def scenario() -> None:
        dns = Dns("192.0.2.1", "198.51.100.1")
        told: list[tuple[Server, ...]] = []
        names = ServerNames(lambda _, servers: told.append(servers), resolver=dns)
        names.follow("demo", (CHAT,))
        await until(lambda: bool(told))
        dns.hosts.reverse()
        names.lost(OLD)
        await until(lambda: dns.asked == 2)
        await asyncio.sleep(0.05)
        assert told == [(NamedServer(CHAT, (OLD, NEW)),)]
        names.close()

    asyncio.run(scenario())


def test_a_name_that_hangs_delays_no_other_is_told_and_holds_up_no_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Names were looked up one after the other, in threads that a stop waited for."""
    monkeypatch.setattr(server_names, "DNS_PATIENCE_S", 0.05)
    release = threading.Event()

    def resolver(host: str, port: int) -> list[str]:
        if host.startswith("hangs"):
            release.wait(60)
        return ["192.0.2.1"]

    async def scenario() -> None:
        found: list[tuple[Server, ...]] = []
        names = ServerNames(lambda _, servers: found.append(servers), resolver=resolver)
        names.follow("demo", ("hangs.example.net:1", CHAT))
        await until(lambda: bool(found))
        assert found == [(NamedServer(CHAT, (OLD,)),)]
        await until(lambda: "hangs.example.net:1" in names.problems)
        assert "DNS has not answered yet" in names.problems["hangs.example.net:1"]
        for _ in range(10):  # whenever the network changes
            names.look_again()
            await asyncio.sleep(0.01)
        hanging = [each for each in threading.enumerate() if each.name == "natd-dns"]
        assert 1 <= len(hanging) <= 3
        names.close()

    began = time.monotonic()
    asyncio.run(scenario())
    release.set()
    assert time.monotonic() - began < 10


def test_an_answer_that_comes_late_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_names, "DNS_PATIENCE_S", 0.02)

    async def scenario() -> None:
        dns = Dns("192.0.2.1")
        dns.hold()
        names = ServerNames(lambda *_: None, resolver=dns)
        names.follow("demo", (CHAT,))
        await until(lambda: CHAT in names.problems)
        dns.release()
        await until(lambda: names.problems == {})
        assert dns.asked == 1
        names.close()

    asyncio.run(scenario())


class Dns:
    """A resolver that blocks, like the system's."""

    def __init__(self, *hosts: str, error: Exception | None = None) -> None:
        self.hosts = list(hosts)
        self.error = error
        self.asked = 0
        self._free = threading.Event()
        self._free.set()

    def hold(self) -> None:
        self._free.clear()

    def release(self) -> None:
        self._free.set()

    def __call__(self, host: str, port: int) -> list[str]:
        self._free.wait(60)
        self.asked += 1
        if self.error is not None:
            raise self.error
        return list(self.hosts)


async def first_found(
    servers: tuple[str, ...], dns: Dns, *, ipv6: bool = True
) -> tuple[Server, ...]:
    found: asyncio.Future[tuple[Server, ...]] = asyncio.get_running_loop().create_future()
    names = ServerNames(lambda _, each: found.set_result(each), ipv6=ipv6, resolver=dns)
    assert names.follow("demo", servers) == ()
    async with asyncio.timeout(5):
        answer = await found
    names.close()
    return answer


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.005)


def fail(network: str, servers: tuple[Server, ...]) -> None:
    raise AssertionError((network, servers))
