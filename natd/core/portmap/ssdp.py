"""Finding a UPnP router by SSDP (UPnP Device Architecture 1.1, section 1.3).

A search is an HTTP request in one datagram, multicast to 239.255.255.250:1900 and sent to port
1900 of the gateway itself, which may answer at once; the answer is an HTTP response whose
LOCATION is where the router describes itself.

Anybody in the LAN can answer, and we fetch what LOCATION names: so it counts only when both the
datagram and the URL are of the gateway that our packets go to anyway.
"""

from natd.core.base.types import Address, DecodeError
from natd.core.portmap.gateway_url import parse_gateway_url

PORT = 1900
SSDP_GROUP = Address("239.255.255.250", PORT)

GATEWAY_TYPE = "urn:schemas-upnp-org:device:InternetGatewayDevice:"
VERSIONS = (1, 2)
"""Of gateways.  A device of version 2 has to answer to 1 as well; not all do."""

ANSWER_LIMIT_BYTES = 2048


def encode_search(version: int, to: Address = SSDP_GROUP) -> bytes:
    """A search for gateways of this version."""
    lines = (
        "M-SEARCH * HTTP/1.1",
        f"HOST: {to}",
        'MAN: "ssdp:discover"',
        "MX: 1",
        f"ST: {GATEWAY_TYPE}{version}",
    )
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode("ascii")


def decode_location(data: bytes, gateway: str) -> str:
    """The URL that a gateway's answer gives; DecodeError unless it is that gateway's own."""
    if len(data) > ANSWER_LIMIT_BYTES or not data.startswith(b"HTTP/1.1 200 "):
        raise DecodeError("no answer to a search")
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError as error:
        raise DecodeError("a search's answer that is not ASCII") from error
    fields = {}
    for line in text.split("\r\n")[1:]:
        name, _, value = line.partition(":")
        fields[name.strip().upper()] = value.strip()
    if not fields.get("ST", "").startswith(GATEWAY_TYPE):
        raise DecodeError("a search's answer that is not a gateway's")
    location = fields.get("LOCATION", "")
    parse_gateway_url(location, gateway)
    return location
