"""A gateway that lies: what it describes leads elsewhere, or never ends.

On loopback, where every 127.x.y.z is a host: 127.0.0.1 is the gateway, 127.0.0.66 somebody else.
A real daemon meets such a gateway in `tests/natlab/test_lying_router.py`.
"""

import asyncio
import contextlib
import gc
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator

import pytest

from natd.net.upnp import Upnp, UpnpAnswer

GATEWAY, ELSEWHERE = "127.0.0.1", "127.0.0.66"
IP = "urn:schemas-upnp-org:service:WANIPConnection:1"
MIB = 1 << 20

Say = Callable[[socket.socket, bytes], None]
"""What a host answers, given the connection and the request."""


@pytest.mark.parametrize(
    ("base", "control"),
    [
        ("", "http://127.0.0.66:{port}/ctl"),
        ("http://127.0.0.66:{port}/", "/ctl"),
        ("", "//127.0.0.66:{port}/ctl"),
        ("", "http://127.0.0.1@127.0.0.66:{port}/ctl"),
        ("http://127.0.0.66:{port}/", "http://127.0.0.66:{port}/ctl"),
    ],
)
def test_a_description_that_leads_elsewhere_is_a_refusal_and_nobody_else_is_asked(base, control):
    with Host(ELSEWHERE, whole("")) as victim:
        text = description(base.format(port=victim.port), control.format(port=victim.port))
        with Host(GATEWAY, whole(text)) as gateway:
            answer, _ = order(gateway)
            assert answer == UpnpAnswer(None, refusal="it names another host")
            assert gateway.asked == [b"GET /d.xml HTTP/1.1"]
        assert victim.asked == []


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
@pytest.mark.parametrize("of", [b"GET", b"POST"])
def test_a_redirect_is_followed_nowhere(status, of):
    with Host(ELSEWHERE, whole("")) as victim:
        moved = whole("", status, f"Location: http://{ELSEWHERE}:{victim.port}/\r\n")
        honest = whole(description("", "/ctl"))
        says = {b"GET": honest, b"POST": honest, of: moved}
        with Host(GATEWAY, lambda link, asked: says[asked.split()[0]](link, asked)) as gateway:
            answer, _ = order(gateway)
            assert answer.external is None
            assert all(b" /d.xml " in line or b" /ctl " in line for line in gateway.asked)
        assert victim.asked == []


ENDLESS = {
    "a body without end": b"HTTP/1.1 200 OK\r\n\r\n",
    "a body of 2 GB": b"HTTP/1.1 200 OK\r\nContent-Length: 2000000000\r\n\r\n",
    "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "one chunk of 4 GB": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n",
    "a header": b"HTTP/1.1 200 OK\r\nX: ",
    "headers": b"HTTP/1.1 200 OK\r\n",
    "a first line": b"HTTP/1.1 200 ",
}


@pytest.mark.parametrize("kind", ENDLESS)
@pytest.mark.parametrize("of", [b"GET", b"POST"])
def test_an_answer_without_end_costs_less_than_a_mebibyte_and_ends_at_once(kind, of):
    unit = {"chunks": b"1000\r\n" + b"x" * 4096 + b"\r\n", "headers": b"X: yyyyyyyy\r\n" * 300}

    def flood(link: socket.socket, asked: bytes) -> None:
        link.sendall(ENDLESS[kind])
        for _ in range(10_000):
            link.sendall(unit.get(kind, b"x" * 4096))

    says = {b"GET": whole(description("", "/ctl")), of: flood}
    with Host(GATEWAY, lambda link, asked: says[asked.split()[0]](link, asked)) as gateway:
        began = time.monotonic()
        answer, peak = order(gateway)
        assert time.monotonic() - began < 2.0
        assert answer.external is None
        assert peak < MIB


def test_an_answer_that_drips_is_given_up_in_time():
    def drip(link: socket.socket, asked: bytes) -> None:
        link.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n")
        for _ in range(600):
            link.sendall(b"x")
            time.sleep(0.05)

    with Host(GATEWAY, drip) as gateway:
        began = time.monotonic()
        answer, _ = order(gateway)
        assert time.monotonic() - began < 7.0
        assert answer == UpnpAnswer(None, refusal="no answer in time")


@pytest.mark.parametrize("location", ["http://127.0.0.66:{port}/d.xml", "http://localhost/d.xml"])
def test_a_location_that_is_not_the_gateways_is_not_fetched(location):
    with Host(ELSEWHERE, whole(description("", "/ctl"))) as victim:
        answer, _ = order(location.format(port=victim.port))
        assert answer.external is None
        assert victim.asked == []


def order(gateway: "Host | str") -> tuple[UpnpAnswer, int]:
    """The answer to one order, and the most memory in bytes that it took."""
    location = gateway if isinstance(gateway, str) else f"http://{GATEWAY}:{gateway.port}/d.xml"

    async def ask() -> UpnpAnswer:
        answered: asyncio.Future[UpnpAnswer] = asyncio.get_running_loop().create_future()
        upnp = Upnp(GATEWAY, GATEWAY, answered.set_result, lambda: None)
        upnp.map(location, 40000, (40000,), 1800)
        upnp.end()
        async with asyncio.timeout(30.0):
            return await answered

    gc.collect()
    with _traced():
        before, _ = tracemalloc.get_traced_memory()
        answer = asyncio.run(ask())
        _, peak = tracemalloc.get_traced_memory()
    return answer, peak - before


@contextlib.contextmanager
def _traced() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()


def whole(body: str, status: str = "200 OK", fields: str = "") -> Say:
    answer = f"HTTP/1.1 {status}\r\n{fields}Content-Length: {len(body)}\r\n\r\n{body}".encode()
    return lambda link, _: link.sendall(answer)


def description(base: str, control: str) -> str:
    said = f"<URLBase>{base}</URLBase>" if base else ""
    kind = f"<serviceType>{IP}</serviceType>"
    return f"<root>{said}<service>{kind}<controlURL>{control}</controlURL></service></root>"


class Host:
    """A web server that says what the test wants, and keeps the first lines that it was sent."""

    def __init__(self, host: str, says: Say) -> None:
        self.asked: list[bytes] = []
        self._says = says
        self._ears = socket.socket()
        self._ears.bind((host, 0))
        self._ears.listen()
        self.port = self._ears.getsockname()[1]
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> "Host":
        self._start(self._listen)
        return self

    def __exit__(self, *error: object) -> None:
        self._ears.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10.0)
        self._ears.close()

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        self._threads.append(threading.Thread(target=target, args=arguments, daemon=True))
        self._threads[-1].start()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._start(self._answer, self._ears.accept()[0])

    def _answer(self, link: socket.socket) -> None:
        with link, contextlib.suppress(OSError):
            link.settimeout(10.0)
            asked = b""
            while b"\r\n\r\n" not in asked and (more := link.recv(4096)):
                asked += more
            line = asked.partition(b"\r\n")[0]
            self.asked.append(line)
            self._says(link, line)
