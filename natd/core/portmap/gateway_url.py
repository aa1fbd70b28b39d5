"""A URL of the gateway: where it describes itself, and where it takes orders.

    http://192.168.1.1:5000/rootDesc.xml  →  GatewayUrl(192.168.1.1:5000, "/rootDesc.xml")

A gateway tells us what to fetch, and so does anybody who can forge its datagrams.  So
nothing but plain HTTP at the gateway's own IPv4 address is a URL here: no name, no other host, no
character that would end the line of a request.
"""

import re
from dataclasses import dataclass

from natd.core.base.types import Address, DecodeError

LIMIT_CHARACTERS = 512
"""Real ones have fewer than a hundred."""

_HTTP_PORT = 80
_PORT_LIMIT = 65535

_URL = re.compile(r"http://(?P<host>[0-9.]+)(:(?P<port>[1-9][0-9]{0,4}))?(?P<path>/[!-~]*)?", re.I)
_PATH = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True)
class GatewayUrl:
    """`address` is the gateway's; `path` begins with a slash and has printable ASCII only."""

    address: Address
    path: str

    def join(self, reference: str) -> "GatewayUrl":
        """What a reference in the document at this URL means (RFC 3986, section 5.2, as far as
        gateways use it); DecodeError unless it is the gateway's, too."""
        if "://" in reference.partition("?")[0] or reference.startswith("//"):
            return parse_gateway_url(reference, self.address.host)
        if len(reference) > LIMIT_CHARACTERS or _PATH.fullmatch(reference) is None:
            raise DecodeError("no path at the gateway")
        folder = "/" if reference.startswith("/") else self.path.rpartition("/")[0] + "/"
        return GatewayUrl(self.address, folder + reference.removeprefix("/"))


def parse_gateway_url(text: str, gateway: str) -> GatewayUrl:
    """DecodeError unless `text` is a URL at the host `gateway`."""
    found = _URL.fullmatch(text) if len(text) <= LIMIT_CHARACTERS else None
    if found is None or found["host"] != gateway:
        raise DecodeError("a URL that is not at the gateway")
    port = int(found["port"] or _HTTP_PORT)
    if port > _PORT_LIMIT:
        raise DecodeError(f"a URL with port {port}")
    return GatewayUrl(Address(gateway, port), found["path"] or "/")
