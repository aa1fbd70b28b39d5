"""What is said to a UPnP router: its description, and orders to it, as text.

    description   XML at the URL that SSDP told; of it we read the services that map ports
    order         SOAP in an HTTP POST to the service's control URL (UPnP Device Architecture 1.1,
                  section 3.2.1; WANIPConnection:1, sections 2.4.16 to 2.4.18)
    answer        SOAP: the values asked for, or a fault with an `errorCode`

Rules:
- Routers write bad XML, and a lying one writes worse.  So nothing is parsed as XML: elements are
  picked out in one pass whose time grows with the length alone, and no entity is ever expanded but
  the five of every document.
- A service counts only if its control URL is the gateway's own, `URLBase` or not.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from natd.core.base.types import DecodeError
from natd.core.portmap.gateway_url import GatewayUrl

MOST_SERVICES = 4
"""A router has one, or one for each kind of line that it could have."""

DESCRIPTION = "natd"
"""What the router's user sees in its list of mappings."""

PORT_IS_TAKEN = 718
PERMANENT_ONLY = 725

_FOREIGN = "it names another host"

_SERVICE_TYPE = re.compile(r"urn:schemas-upnp-org:service:WAN(IP|PPP)Connection:[0-9]{1,2}")

_ELEMENT = re.compile(r"<(/?)([\w.:-]++)[^<>]*+>([^<]*+)", re.ASCII)
"""A tag and the text behind it.  Possessive throughout: nothing is read twice."""

_ENTITIES = (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&apos;", "'"), ("&amp;", "&"))

_FAULTS = {
    401: "it doesn't know the order",
    402: "it doesn't understand the order",
    501: "the order failed",
    606: "not authorized",
    PORT_IS_TAKEN: "the port is taken",
    724: "it maps a port only to the same one",
    PERMANENT_ONLY: "it maps ports for ever only",
    728: "it has too many mappings",
}


@dataclass(frozen=True, slots=True)
class Service:
    """One connection of a router to the internet; `kind` is its URN."""

    control: GatewayUrl
    kind: str


def decode_description(data: bytes, location: GatewayUrl) -> tuple[Service, ...]:
    """The services of the description at `location` that map ports; DecodeError when there is
    none at the gateway."""
    base = location
    services: list[Service] = []
    fields: dict[str, str] = {}
    is_foreign = False
    for is_end, name, text in _elements(data):
        if is_end and name == "service":
            kind, control = fields.get("serviceType", ""), fields.get("controlURL", "")
            fields = {}
            if _SERVICE_TYPE.fullmatch(kind) and len(services) < MOST_SERVICES:
                try:
                    services.append(Service(base.join(control), kind))
                except DecodeError:
                    is_foreign = True
        elif not is_end and name == "URLBase" and text:
            base = _base(text, location)
        elif not is_end and name in ("serviceType", "controlURL"):
            fields[name] = text
    if not services:
        raise DecodeError(_FOREIGN if is_foreign else "it maps no ports")
    return tuple(services)


def encode_order(service: Service, action: str, **values: str | int) -> bytes:
    """The body of a POST; `values` are the action's arguments without their `New`, in order."""
    arguments = "".join(f"<New{name}>{value}</New{name}>" for name, value in values.items())
    return (
        '<?xml version="1.0"?>\r\n'
        '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"'
        ' s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body>'
        f'<u:{action} xmlns:u="{service.kind}">{arguments}</u:{action}>'
        "</s:Body></s:Envelope>\r\n"
    ).encode("ascii")


def encode_external_order(service: Service) -> bytes:
    """Ask for the router's external address: `NewExternalIPAddress` of the answer."""
    return encode_order(service, "GetExternalIPAddress")


def encode_map_order(
    service: Service, external_port: int, client: str, internal_port: int, lifetime_s: int
) -> bytes:
    """Map a UDP port to `internal_port` of `client`; a lifetime of 0 is for ever."""
    return encode_order(
        service,
        "AddPortMapping",
        RemoteHost="",
        ExternalPort=external_port,
        Protocol="UDP",
        InternalPort=internal_port,
        InternalClient=client,
        Enabled=1,
        PortMappingDescription=DESCRIPTION,
        LeaseDuration=lifetime_s,
    )


def encode_unmap_order(service: Service, external_port: int) -> bytes:
    return encode_order(
        service, "DeletePortMapping", RemoteHost="", ExternalPort=external_port, Protocol="UDP"
    )


def decode_external(data: bytes) -> str:
    """The external address as the router wrote it, "" for none."""
    return next((text for _, name, text in _elements(data) if name == "NewExternalIPAddress"), "")


def decode_fault(data: bytes) -> int:
    """The code of an answer that refuses (section 3.2.5 there), 0 where it has none."""
    code = next((text for _, name, text in _elements(data) if name == "errorCode"), "")
    return int(code) if code.isascii() and code.isdigit() and len(code) <= 5 else 0


def fault_words(code: int) -> str:
    """A refusal in words of ours: the router's own are nobody's to print."""
    return _FAULTS.get(code, f"error {code}" if code else "no reason given")


def _base(text: str, location: GatewayUrl) -> GatewayUrl:
    try:
        return location.join(text)
    except DecodeError:
        raise DecodeError(_FOREIGN) from None


def _elements(data: bytes) -> Iterator[tuple[bool, str, str]]:
    """Each tag: whether it ends an element, the name without its prefix, the text behind it."""
    for tag in _ELEMENT.finditer(data.decode("utf-8", "replace")):
        text = tag[3].strip()
        for entity, character in _ENTITIES:
            text = text.replace(entity, character)
        yield bool(tag[1]), tag[2].rpartition(":")[2], text
