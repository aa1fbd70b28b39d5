"""Talking to a UPnP router by miniupnpc, which blocks: in a thread of its own.

Rules that a change must not break:

- The thread starts with the first order and is a daemon thread: a router that does not answer
  does not delay the stop.
- Orders are carried out one after the other; each is answered once, in the loop's thread.
- What miniupnpc raises as plain `Exception` is the router's word, not a failure of ours.
"""

import asyncio
import contextlib
import ipaddress
import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from natd.core.base.types import ANY_HOST, Address

logger = logging.getLogger(__name__)

DESCRIPTION = "natd"
"""What the router's user sees in its list of mappings."""

CONFLICT = "ConflictInMappingEntry"
PERMANENT_ONLY = "OnlyPermanentLeasesSupported"
"""As miniupnpc names the errors 718 and 725 (UPnP WANIPConnection:1, section 2.4.16)."""


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
    """The thread, and the way to it and back."""

    def __init__(
        self, on_answer: Callable[[UpnpAnswer], None], on_release: Callable[[], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_answer = on_answer
        self._on_release = on_release
        self._orders: queue.SimpleQueue[_Order | _End] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None  # None: nothing was ever ordered
        self._mapped: tuple[Any, int] | None = None  # the thread's: router and external port

    def map(
        self, location: str, internal_port: int, external_ports: tuple[int, ...], lifetime_s: int
    ) -> None:
        """Map our port to the first external one that nobody has; `on_answer` follows."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="upnp", daemon=True)
            self._thread.start()
        self._orders.put(_Order(location, internal_port, external_ports, lifetime_s))

    def release(self) -> None:
        """Take away what is mapped and end; `on_release` follows if anything was ordered."""
        self._orders.put(_End(take_back=True))

    def end(self) -> None:
        """End when the last order is carried out."""
        self._orders.put(_End(take_back=False))

    # --- in the thread

    def _run(self) -> None:
        while isinstance(order := self._orders.get(), _Order):
            self._tell(self._on_answer, self._carry_out(order))
        if order.take_back and self._mapped is not None:
            router, port = self._mapped
            with _RouterSays() as said:
                router.deleteportmapping(port, "UDP")
            if said.text is not None:
                logger.debug("UPnP: port %d stays mapped: %s", port, said.text)
        self._tell(self._on_release)

    def _tell(self, callback: Callable[..., None], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            self._loop.call_soon_threadsafe(callback, *arguments)

    def _carry_out(self, order: _Order) -> UpnpAnswer:
        import miniupnpc

        router = miniupnpc.UPnP()
        with _RouterSays() as said:
            router.selectigd(order.location)
            return self._add(router, _external_host(router), order)
        return UpnpAnswer(None, refusal=said.text or "no answer")

    def _add(self, router: Any, host: str, order: _Order) -> UpnpAnswer:
        ports, lifetime_s = list(order.external_ports), order.lifetime_s
        refusal = CONFLICT
        while ports:
            with _RouterSays() as said:
                router.addportmapping(
                    ports[0],
                    "UDP",
                    router.lanaddr,
                    order.internal_port,
                    DESCRIPTION,
                    "",
                    lifetime_s,
                )
                self._mapped = (router, ports[0])
                return UpnpAnswer(Address(host, ports[0]), order.lifetime_s)
            refusal = said.text or "no answer"
            if refusal == PERMANENT_ONLY and lifetime_s:
                lifetime_s = 0
            elif refusal == CONFLICT:
                ports.pop(0)
            else:
                break
        return UpnpAnswer(None, refusal=refusal)


def _external_host(router: Any) -> str:
    """The router's external address; `ANY_HOST` where it has or tells none: it may map ports all
    the same."""
    told = None
    with _RouterSays():
        told = router.externalipaddress()
    try:
        return str(ipaddress.IPv4Address(told))
    except ValueError:
        return ANY_HOST


class _RouterSays:
    """Takes plain `Exception`s and nothing else: their subclasses are mistakes of ours."""

    def __init__(self) -> None:
        self.text: str | None = None  # None: the router has not complained

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if kind is not Exception:
            return False
        self.text = str(error)
        return True
