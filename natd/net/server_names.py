"""From `HOST:PORT`, as the user wrote it, to the addresses that a node can use.

A literal address is there at once; a name is looked up off the loop, and again for as long as
the daemon runs: soon when it could not be found, rarely when it could.
"""

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Callable

from natd.core.base.timers import backed_off
from natd.core.base.types import Address, canonical_host
from natd.settings.names import parse_server

RESOLVE_RETRY_FIRST_S = 1.0
RESOLVE_RETRY_LIMIT_S = 60.0
"""Between attempts at a name that can't be found: a laptop's network may come any second."""

RESOLVE_EVERY_S = 300.0
"""Between looks at a name that was found: servers move, but not often."""

ADDRESSES_OF_A_NAME = 2
"""One of each family: a name may have dozens, and each would be registered with."""


class ServerNames:
    """`on_found(network, addresses)` is called when the addresses of a network's servers are
    others than before."""

    def __init__(
        self, on_found: Callable[[str, tuple[Address, ...]], None], *, ipv6: bool = True
    ) -> None:
        self.problems: dict[str, str] = {}
        """Server -> why it has no address."""
        self._on_found = on_found
        self._families = (socket.AF_INET, socket.AF_INET6) if ipv6 else (socket.AF_INET,)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._followed: dict[str, tuple[str, ...]] = {}
        # What a name was found to be last, for when it can't be found for a while.
        self._found: dict[str, list[Address]] = {}
        self._changed = asyncio.Event()

    def follow(self, network: str, servers: tuple[str, ...]) -> tuple[Address, ...]:
        """Look the servers of a network up from now on; the literal ones are given at once."""
        self.forget(network)
        self._followed[network] = servers
        parsed = [parse_server(text) for text in servers]
        literal = tuple(a for host, port in parsed if (a := _literal(host, port)) is not None)
        if len(literal) < len(parsed):
            self._tasks[network] = asyncio.create_task(self._follow(network, servers, literal))
        return literal

    def forget(self, network: str) -> None:
        for text in self._followed.pop(network, ()):
            self.problems.pop(text, None)
        task = self._tasks.pop(network, None)
        if task is not None:
            task.cancel()

    def unresolved(self, servers: tuple[str, ...]) -> list[tuple[str, str]]:
        """Names without an address: whether each is still being looked up, or was not found."""
        return [
            (text, "unresolvable" if text in self.problems else "resolving")
            for text in servers
            if text in self.problems
            or (text not in self._found and _literal(*parse_server(text)) is None)
        ]

    def look_again(self) -> None:
        """The machine's network has changed: what could not be found may be there now."""
        if self.problems:
            self._changed.set()
            self._changed = asyncio.Event()

    def close(self) -> None:
        for network in tuple(self._tasks):
            self.forget(network)

    async def _follow(
        self, network: str, servers: tuple[str, ...], known: tuple[Address, ...]
    ) -> None:
        attempt = 0
        while True:
            found: list[Address] = []
            for text in servers:
                found += await self._look_up(text)
            if tuple(found) != known and found:
                known = tuple(found)
                self._on_found(network, known)
            if any(text in self.problems for text in servers):
                wait_s = backed_off(attempt, RESOLVE_RETRY_FIRST_S, RESOLVE_RETRY_LIMIT_S)
                attempt += 1
            else:
                wait_s, attempt = RESOLVE_EVERY_S, 0
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()

    async def _look_up(self, text: str) -> list[Address]:
        host, port = parse_server(text)
        literal = _literal(host, port)
        if literal is not None:
            return [literal]
        try:
            answers = await asyncio.get_running_loop().getaddrinfo(
                host, port, type=socket.SOCK_DGRAM
            )
        except (OSError, UnicodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else None
            self.problems[text] = f"{host} can't be resolved: {reason or 'not a host name'}"
            return self._found.get(text, [])
        found = {}
        for family, _, _, _, sockaddr in answers:
            if family in self._families and family not in found:
                found[family] = Address(canonical_host(str(sockaddr[0])), port)
        if not found:
            self.problems[text] = f"{host} has no address that this machine could use"
            return []
        self.problems.pop(text, None)
        self._found[text] = [found[family] for family in sorted(found)][:ADDRESSES_OF_A_NAME]
        return self._found[text]


def _literal(host: str, port: int) -> Address | None:
    """None when the host is a name."""
    try:
        return Address(canonical_host(str(ipaddress.ip_address(host))), port)
    except ValueError:
        return None
