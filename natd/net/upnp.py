"""Talking to a UPnP router: one order after the other, in a task of its own.

    description  ─► its services that map ports     (`natd/core/portmap/igd.py`)
    orders       ─► the first of them that has an external address

Rules that a change must not break:

- Everything goes to the gateway, by `natd/net/gateway_http.py`: no URL of a description leads
  elsewhere.  (miniupnpc follows `URLBase` and absolute control URLs to any host and holds a body
  of any length in memory, so it has no place here.)
- An order takes at most `ORDER_S` and is answered once.
- A router that does not answer does not delay the stop.
"""

import asyncio
import ipaddress
import logging
from collections.abc import Callable
from dataclasses import dataclass

from natd.core.base.types import ANY_HOST, Address, DecodeError
from natd.core.portmap import igd
from natd.core.portmap.gateway_url import parse_gateway_url
from natd.net import gateway_http
from natd.net.gateway_http import GatewayError, HttpAnswer

logger = logging.getLogger(__name__)

ORDER_S = 20.0
"""A dozen exchanges with a web server that takes its time."""

_OK = 200


@dataclass(frozen=True, slots=True)
class UpnpAnswer:
    """`external` is None where there is no mapping, for the reason in `refusal`."""

    external: Address | None
    lifetime_s: int = 0
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class _Order:
    location: str
    internal_port: int
    external_ports: tuple[int, ...]
    lifetime_s: int


@dataclass(frozen=True, slots=True)
class _End:
    take_back: bool


class Upnp:
    """The task, and the way to it and back."""

    def __init__(
        self,
        client: str,
        gateway: str,
        on_answer: Callable[[UpnpAnswer], None],
        on_release: Callable[[], None],
    ) -> None:
        """`client` is our own address towards `gateway`, the only host that is spoken to."""
        self._client = client
        self._gateway = gateway
        self._on_answer = on_answer
        self._on_release = on_release
        self._orders: asyncio.Queue[_Order | _End] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None  # None: nothing was ever ordered
        self._mapped: tuple[igd.Service, int] | None = None  # service and external port

    def map(
        self, location: str, internal_port: int, external_ports: tuple[int, ...], lifetime_s: int
    ) -> None:
        """Map our port to the first external one that nobody has; `on_answer` follows."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
        self._orders.put_nowait(_Order(location, internal_port, external_ports, lifetime_s))

    def release(self) -> None:
        """Take away what is mapped and end; `on_release` follows if anything was ordered."""
        self._orders.put_nowait(_End(take_back=True))

    def end(self) -> None:
        """End when the last order is carried out."""
        self._orders.put_nowait(_End(take_back=False))

    # --- in the task

    async def _run(self) -> None:
        while isinstance(order := await self._orders.get(), _Order):
            self._on_answer(await self._carry_out(order))
        if order.take_back and self._mapped is not None:
            service, port = self._mapped
            try:
                await _order(service, "DeletePortMapping", igd.encode_unmap_order(service, port))
            except GatewayError as error:
                logger.debug("UPnP: port %d stays mapped: %s", port, error)
        self._on_release()

    async def _carry_out(self, order: _Order) -> UpnpAnswer:
        try:
            async with asyncio.timeout(ORDER_S):
                service, host = await _find_service(order.location, self._gateway)
                return await self._add(service, host, order)
        except TimeoutError:
            return UpnpAnswer(None, refusal="no answer in time")
        except (GatewayError, DecodeError) as error:
            return UpnpAnswer(None, refusal=str(error))

    async def _add(self, service: igd.Service, host: str, order: _Order) -> UpnpAnswer:
        ports, lifetime_s = list(order.external_ports), order.lifetime_s
        code = igd.PORT_IS_TAKEN
        while ports:
            body = igd.encode_map_order(
                service, ports[0], self._client, order.internal_port, lifetime_s
            )
            before, self._mapped = self._mapped, (service, ports[0])  # as long as nobody says no
            answer = await _order(service, "AddPortMapping", body)
            if answer.status == _OK:
                return UpnpAnswer(Address(host, ports[0]), order.lifetime_s)
            self._mapped = before
            code = igd.decode_fault(answer.body)
            if code == igd.PERMANENT_ONLY and lifetime_s:
                lifetime_s = 0
            elif code == igd.PORT_IS_TAKEN:
                ports.pop(0)
            else:
                break
        return UpnpAnswer(None, refusal=igd.fault_words(code))


async def _find_service(location: str, gateway: str) -> tuple[igd.Service, str]:
    """The service to order from, and its external address; `ANY_HOST` where none has or tells
    one: it may map ports all the same."""
    url = parse_gateway_url(location, gateway)
    answer = await gateway_http.get(url.address, url.path)
    if answer.status != _OK:
        raise GatewayError(f"no description: HTTP {answer.status}")
    services = igd.decode_description(answer.body, url)
    for service in services:
        host = await _external_host(service)
        if host != ANY_HOST:
            return service, host
    return services[0], ANY_HOST


async def _external_host(service: igd.Service) -> str:
    try:
        answer = await _order(service, "GetExternalIPAddress", igd.encode_external_order(service))
        return str(ipaddress.IPv4Address(igd.decode_external(answer.body)))
    except (GatewayError, ValueError):
        return ANY_HOST


async def _order(service: igd.Service, action: str, body: bytes) -> HttpAnswer:
    url = service.control
    return await gateway_http.post(url.address, url.path, f"{service.kind}#{action}", body)
