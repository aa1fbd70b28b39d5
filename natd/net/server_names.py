"""From `HOST:PORT`, as the user wrote it, to the addresses that a node can use.

    follow ─► look up ──┬─► found ─► again after RESOLVE_EVERY_S ──────────────┐
               ▲        └─► not found, or the server is silent ─► on a ladder ─┤
               └───────────────────────────────────────────────────────────────┘

Rules:
- A literal address is there at once; each name is looked up on its own, for as long as the daemon
  runs, so that one that hangs delays no other.
- The system's resolver blocks, for half a minute where no DNS server answers.  It has a thread that
  nobody waits for: neither the loop nor a stop.
- What a name was found to be holds while it can't be looked up.
- A server that falls silent may have moved, so its name is looked up at once (dynamic DNS).  Only
  an answer from a new address ends the ladder: the name of a silent one may give another each time.
"""

import asyncio
import contextlib
import encodings.idna  # noqa: F401 - the resolver wants it, perhaps when no file can be opened
import ipaddress
import socket
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import zip_longest

from natd.core.base.timers import backed_off
from natd.core.base.types import ADDRESSES_OF_A_NAME, Address, NamedServer, canonical_host
from natd.settings.names import parse_server

RESOLVE_RETRY_FIRST_S = 1.0
RESOLVE_RETRY_LIMIT_S = 60.0
"""Between attempts at a name that can't be found: a laptop's network may come any second."""

SILENT_RETRY_LIMIT_S = 30.0
"""The same for the name of a server that does not answer: it may get another address any minute."""

RESOLVE_EVERY_S = 300.0
"""Between looks at a name that was found: servers move, but not often."""

DNS_PATIENCE_S = 5.0
"""A look-up that takes longer is told as a problem; its answer is taken whenever it comes."""

BROADCAST = "255.255.255.255"

MOST_THREADS = 3
"""Of one name: an answer from before the network changed may be out of date, so another look-up
begins beside one that hangs."""

Server = Address | NamedServer
Resolver = Callable[[str, int], list[str]]
"""Blocks until it gives the addresses of a host, likeliest first; OSError or UnicodeError."""


@dataclass(slots=True, eq=False)
class _Name:
    """One name, for all networks whose servers it is among."""

    text: str
    found: tuple[Address, ...] = ()
    problem: str | None = None
    """Why it could not be found the last time."""
    asked: "asyncio.Future[list[str] | Exception] | None" = None
    """The look-up that runs; None: none does."""
    threads: int = 0
    answering: set[Address] = field(default_factory=set)
    is_silent: bool = False
    """Whether the server was given up at all its addresses."""
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    """Look it up now."""


class ServerNames:
    """`on_found(network, servers)` is called when the addresses of a network's servers are others
    than before."""

    def __init__(
        self,
        on_found: Callable[[str, tuple[Server, ...]], None],
        *,
        ipv6: bool = True,
        resolver: Resolver | None = None,
    ) -> None:
        self._on_found = on_found
        self._ipv6 = ipv6
        self._resolver = resolver or resolve
        self._followed: dict[str, tuple[str, ...]] = {}
        self._names: dict[str, _Name] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def follow(self, network: str, servers: tuple[str, ...]) -> tuple[Server, ...]:
        """Look the servers of a network up from now on; gives those that are known already."""
        self._followed[network] = servers
        self._keep_followed()
        return self._known(servers)

    def forget(self, network: str) -> None:
        self._followed.pop(network, None)
        self._keep_followed()

    @property
    def problems(self) -> dict[str, str]:
        """Server -> why it can't be looked up."""
        return {n.text: n.problem for n in self._names.values() if n.problem is not None}

    def why_without_address(self, servers: tuple[str, ...]) -> str:
        """Why none of a network's servers can be asked, in words."""
        problems = self.problems
        found = (problems[text] for text in servers if text in problems)
        return next(found, "the network's server has no address yet")

    def unresolved(self, servers: tuple[str, ...]) -> list[tuple[str, str]]:
        """Names without an address: whether each is still being looked up, or was not found."""
        states = []
        for text in servers:
            name = self._names.get(text)
            if _literal(text) is not None or (name is not None and name.found):
                continue
            has_failed = name is not None and name.problem is not None
            states.append((text, "unresolvable" if has_failed else "resolving"))
        return states

    def look_again(self) -> None:
        """The machine's network has changed: what could not be found may be there now."""
        for name in self._names.values():
            if name.problem is not None or name.is_silent:
                name.asked = None
                name.wake.set()

    def answered(self, address: Address) -> None:
        """A server answers there."""
        for name in self._names.values():
            if address in name.found:
                name.answering.add(address)
                name.is_silent = False

    def lost(self, address: Address) -> None:
        """A server no longer answers there."""
        for name in self._names.values():
            name.answering.discard(address)
            if address in name.found and not name.answering and not name.is_silent:
                name.is_silent = True
                name.wake.set()

    def close(self) -> None:
        self._followed.clear()
        self._keep_followed()

    def _keep_followed(self) -> None:
        """Follow every name of a network, and no other."""
        wanted = {t: None for texts in self._followed.values() for t in texts if not _literal(t)}
        for text in [text for text in self._names if text not in wanted]:
            self._tasks.pop(text).cancel()
            del self._names[text]
        for text in wanted:
            if text not in self._names:
                name = self._names[text] = _Name(text)
                self._tasks[text] = asyncio.create_task(self._follow(name))

    def _known(self, servers: tuple[str, ...]) -> tuple[Server, ...]:
        known: list[Server] = []
        for text in servers:
            literal, name = _literal(text), self._names.get(text)
            if literal is not None:
                known.append(literal)
            elif name is not None and name.found:
                known.append(NamedServer(text, name.found))
        return tuple(known)

    async def _follow(self, name: _Name) -> None:
        attempt = 0
        while True:
            before = set(name.found)
            await self._look_up(name)
            if set(name.found) != before:
                name.answering.intersection_update(name.found)
                for network, servers in tuple(self._followed.items()):
                    if name.text in servers:
                        self._on_found(network, self._known(servers))
            wait_s = pause_s(attempt, has_failed=name.problem is not None, is_silent=name.is_silent)
            attempt += 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await name.wake.wait()
                    attempt = 0
            if wait_s == RESOLVE_EVERY_S:
                attempt = 0
            name.wake.clear()

    async def _look_up(self, name: _Name) -> None:
        host, port = parse_server(name.text)
        if name.asked is None and name.threads < MOST_THREADS:
            name.asked = self._ask(name, host, port)
        asked = name.asked
        if asked is None or not (await asyncio.wait({asked}, timeout=DNS_PATIENCE_S))[0]:
            if asked is not None:
                asked.add_done_callback(lambda _: name.wake.set())
            name.problem = f"{host} can't be resolved: DNS has not answered yet"
            return
        if asked is name.asked:
            name.asked = None
        answer = asked.result()
        if isinstance(answer, Exception):
            name.problem = f"{host} can't be resolved: {_reason(answer)}"
            return
        places = (Address(each, port) for each in answer if may_be_a_server(each))
        addresses = in_turn(places, ipv6=self._ipv6)
        if not addresses:
            name.problem = f"{host} has no address that this machine could use"
            return
        name.problem = None
        if set(addresses) != set(name.found):
            name.found = addresses

    def _ask(self, name: _Name, host: str, port: int) -> "asyncio.Future[list[str] | Exception]":
        loop = asyncio.get_running_loop()
        asked: asyncio.Future[list[str] | Exception] = loop.create_future()

        def take(answer: list[str] | Exception) -> None:
            name.threads -= 1
            if not asked.cancelled():
                asked.set_result(answer)

        def run() -> None:
            answer: list[str] | Exception
            try:
                answer = self._resolver(host, port)
            except (OSError, UnicodeError) as error:
                answer = error
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(take, answer)

        name.threads += 1
        threading.Thread(target=run, name="natd-dns", daemon=True).start()
        return asked


def resolve(host: str, port: int) -> list[str]:
    """The system's resolver, with /etc/hosts and all; in the order of RFC 6724."""
    answers = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    return [canonical_host(str(sockaddr[0])) for *_, sockaddr in answers]


def may_be_a_server(host: str) -> bool:
    """Whether one machine may be there, and only one: 0.0.0.0 is what blocklists give, and would
    reach ourselves."""
    ip = ipaddress.ip_address(host)
    return not (ip.is_multicast or ip.is_unspecified or host == BROADCAST)


def in_turn(addresses: Iterable[Address], *, ipv6: bool = True) -> tuple[Address, ...]:
    """Each once, the families in turn, not too many (RFC 8305, section 4)."""
    each_once = tuple(dict.fromkeys(addresses))
    families = [
        [a for a in each_once if a.is_ipv6 and ipv6],
        [a for a in each_once if not a.is_ipv6],
    ]
    if each_once and not each_once[0].is_ipv6:
        families.reverse()
    turns = zip_longest(*families)
    return tuple(a for turn in turns for a in turn if a is not None)[:ADDRESSES_OF_A_NAME]


def one_of_each_family(servers: Iterable[Server]) -> tuple[Address, ...]:
    """For those who ask a server now and then, without need for the others."""
    found: dict[tuple[Server, bool], Address] = {}
    for server in servers:
        for address in (server,) if isinstance(server, Address) else server.addresses:
            found.setdefault((server, address.is_ipv6), address)
    return tuple(found.values())


def pause_s(attempt: int, *, has_failed: bool, is_silent: bool) -> float:
    """How long until a name is looked up again, after so many attempts that brought nothing new."""
    if is_silent:
        return backed_off(attempt, RESOLVE_RETRY_FIRST_S, SILENT_RETRY_LIMIT_S)
    if has_failed:
        return backed_off(attempt, RESOLVE_RETRY_FIRST_S, RESOLVE_RETRY_LIMIT_S)
    return RESOLVE_EVERY_S


def _literal(text: str) -> Address | None:
    """None when the host is a name."""
    host, port = parse_server(text)
    try:
        return Address(canonical_host(str(ipaddress.ip_address(host))), port)
    except ValueError:
        return None


def _reason(error: Exception) -> str:
    """In words, of what the resolver tells by a number (getaddrinfo(3))."""
    if not isinstance(error, OSError):
        return "not a host name"
    if not isinstance(error, socket.gaierror):
        return error.strerror or str(error)
    if error.errno == socket.EAI_NONAME:
        return "there is no such name"
    if error.errno == socket.EAI_NODATA:
        return "the name has no address"
    if error.errno == socket.EAI_AGAIN:
        return "DNS has failed, or does not answer"
    return error.strerror or str(error)
