"""The task that talks to UPnP routers, at a router of our own making on loopback.

How it fares with a real one is in `tests/net/test_portmap.py`; here are the routers that no package
plays: those that map for ever only, that refuse everything, that talk nonsense or not at all.
"""

import asyncio
import contextlib
import re
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

from natd.core.base.types import Address
from natd.net.upnp import Upnp, UpnpAnswer

OUTSIDE = "203.0.113.5"
PORTS = (40000, 51000, 52000)

_DESCRIPTION = """<?xml version="1.0"?>
<root xmlns="urn:schemas-upnp-org:device-1-0"><device>
<deviceType>urn:schemas-upnp-org:device:InternetGatewayDevice:1</deviceType>
<deviceList><device>
<deviceType>urn:schemas-upnp-org:device:WANDevice:1</deviceType>
<deviceList><device>
<deviceType>urn:schemas-upnp-org:device:WANConnectionDevice:1</deviceType>
<serviceList><service>
<serviceType>urn:schemas-upnp-org:service:WANIPConnection:1</serviceType>
<controlURL>/control</controlURL><SCPDURL>/scpd</SCPDURL><eventSubURL>/event</eventSubURL>
</service></serviceList></device></deviceList></device></deviceList></device></root>
"""


def test_a_router_maps_the_port_we_wish_for_as_long_as_we_wish():
    with Router() as router:
        answer = _map(router)
        assert answer == UpnpAnswer(Address(OUTSIDE, 40000), 1800)
        assert router.mapped == {}, "and it was taken back at the end"
        assert router.asked_lifetimes == [1800]


def test_a_router_that_maps_for_ever_only_is_asked_for_that_and_renewed_all_the_same():
    with Router(permanent_only=True) as router:
        assert _map(router) == UpnpAnswer(Address(OUTSIDE, 40000), 1800)
        assert router.asked_lifetimes == [1800, 0]
        assert router.mapped == {}


def test_another_port_is_taken_when_somebody_has_ours():
    with Router(taken={40000, 51000}) as router:
        assert _map(router) == UpnpAnswer(Address(OUTSIDE, 52000), 1800)


def test_when_every_port_is_taken_the_router_is_not_asked_for_ever():
    with Router(taken=set(PORTS)) as router:
        assert _map(router) == UpnpAnswer(None, refusal="the port is taken")
        assert len(router.asked_lifetimes) == 3


def test_a_router_that_refuses_is_quoted():
    with Router(refuses=606) as router:
        assert _map(router) == UpnpAnswer(None, refusal="not authorized")


def test_a_router_without_an_address_of_its_own_maps_our_port_all_the_same():
    for host in ("", "nonsense", "::1"):
        with Router(host=host) as router:
            assert _map(router) == UpnpAnswer(Address("0.0.0.0", 40000), 1800)


def test_nonsense_and_nobody_are_refusals():
    with Router(description="<html>") as router:
        assert _map(router).external is None
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{unused.getsockname()[1]}/"
    assert _map(nobody).external is None


def test_a_router_that_never_answers_keeps_nobody_from_ending():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()

        async def test() -> None:
            upnp = Upnp("127.0.0.1", "127.0.0.1", lambda answer: None, lambda: None)
            upnp.map(f"http://127.0.0.1:{silent.getsockname()[1]}/", 40000, PORTS, 1800)
            upnp.end()
            await asyncio.sleep(0.05)

        began = time.monotonic()
        asyncio.run(test())
        assert time.monotonic() - began < 1.0


def _map(router: "Router | str") -> UpnpAnswer:
    """One mapping, made and taken back."""

    async def test() -> UpnpAnswer:
        answered: asyncio.Future[UpnpAnswer] = asyncio.get_running_loop().create_future()
        released = asyncio.Event()
        upnp = Upnp("127.0.0.1", "127.0.0.1", answered.set_result, released.set)
        upnp.map(router if isinstance(router, str) else router.location, 40000, PORTS, 1800)
        async with asyncio.timeout(15.0):
            answer = await answered
            upnp.release()
            await released.wait()
        return answer

    return asyncio.run(test())


class Router:
    """An HTTP server that speaks as much of WANIPConnection:1 as is asked of it."""

    def __init__(
        self,
        *,
        host: str = OUTSIDE,
        taken: set[int] | None = None,
        refuses: int = 0,
        permanent_only: bool = False,
        description: str = _DESCRIPTION,
    ) -> None:
        self.mapped: dict[int, int] = {}
        self.asked_lifetimes: list[int] = []
        self._host = host
        self._taken = taken or set()
        self._refuses = refuses
        self._permanent_only = permanent_only
        self._description = description

    def __enter__(self) -> "Router":
        self._running = contextlib.ExitStack()
        server = self._running.enter_context(HTTPServer(("127.0.0.1", 0), _handler(self)))
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        self._running.callback(thread.join)
        self._running.callback(server.shutdown)
        self.location = f"http://127.0.0.1:{server.server_address[1]}/rootDesc.xml"
        return self

    def __exit__(self, *error: object) -> None:
        self._running.close()

    def describe(self) -> str:
        return self._description

    def act(self, action: str, body: str) -> tuple[int, str]:
        """The status and the body of the answer."""
        said = dict(re.findall(r"<(New\w+)>([^<]*)</", body))
        port = int(said.get("NewExternalPort", 0))
        if action == "GetExternalIPAddress":
            return _yes(action, f"<NewExternalIPAddress>{self._host}</NewExternalIPAddress>")
        if action == "DeletePortMapping":
            self.mapped.pop(port, None)
            return _yes(action)
        lifetime_s = int(said["NewLeaseDuration"])
        self.asked_lifetimes.append(lifetime_s)
        if self._refuses:
            return _no(self._refuses)
        if port in self._taken:
            return _no(718)
        if self._permanent_only and lifetime_s:
            return _no(725)
        self.mapped[port] = int(said["NewInternalPort"])
        return _yes(action)


def _handler(router: Router) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(200, router.describe())

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            action = self.headers["SOAPAction"].strip('"').partition("#")[2]
            self._answer(*(router.act(action, body) if self.path == "/control" else (404, "")))

        def log_message(self, *arguments: object) -> None:
            pass

        def _answer(self, status: int, text: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "text/xml")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

    return Handler


def _yes(action: str, values: str = "") -> tuple[int, str]:
    service = "urn:schemas-upnp-org:service:WANIPConnection:1"
    answer = f'<u:{action}Response xmlns:u="{service}">{values}</u:{action}Response>'
    return 200, f"<s:Envelope><s:Body>{answer}</s:Body></s:Envelope>"


def _no(code: int) -> tuple[int, str]:
    fault = f"<UPnPError><errorCode>{code}</errorCode></UPnPError>"
    return 500, f"<s:Envelope><s:Body><s:Fault>{fault}</s:Fault></s:Body></s:Envelope>"
