"""What people may call things: networks, nicks, servers.

The same rules hold for the configuration file and for requests over IPC.  A check gives what
was expected, for the error line, or None when the name will do.  Lengths are in UTF-8 bytes,
because that is what the card on the wire limits.
"""

import ipaddress
import re
import unicodedata

from natd.ipc.terminal_text import printable

NAME_LIMIT_BYTES = 64
"""Longest nick that a card carries; a network's name keeps the same limit."""

PORT_LIMIT = 65535

HOST_LIMIT_CHARACTERS = 253
"""RFC 1035, section 2.3.4: the longest name that DNS resolves."""

_HOST = re.compile(r"[^\s/@\[\]:#?%,;\"'\\<>|(){}=&!*~^`$+]+")
_HIDDEN_CATEGORIES = ("C", "Z")
"""Unicode's control, format, unassigned and separator characters: they hide or imitate."""

NICK_RULE = f"a nick of 1 to {NAME_LIMIT_BYTES} bytes without spaces, control characters or #"
NETWORK_RULE = (
    f"a network name of 1 to {NAME_LIMIT_BYTES} bytes without spaces, control characters or /, "
    "not beginning with -"
)
SERVER_RULE = "a server as HOST:PORT, like chat.example.net:8080 or [2001:db8::1]:8080"

ADDRESS_RULE = "an IP address of this machine, like 192.0.2.1 or 2001:db8::1"


def nick_problem(text: str) -> str | None:
    """What a nick has to be, when `text` is none."""
    return None if _is_plain(text) and "#" not in text else NICK_RULE


def network_name_problem(text: str) -> str | None:
    """What a network's name has to be, when `text` is none."""
    return None if _is_plain(text) and "/" not in text and text[0] != "-" else NETWORK_RULE


def parse_server(text: str) -> tuple[str, int]:
    """`HOST:PORT` to host and port; ValueError says what was expected.

    An IPv6 address stands in brackets and comes back without them.
    """
    host, colon, port_text = text.rpartition(":")
    if not colon or not port_text.isascii() or not port_text.isdigit() or len(port_text) > 5:
        raise ValueError(SERVER_RULE)
    port = int(port_text)
    if not 0 < port <= PORT_LIMIT:
        raise ValueError(f"a server's port from 1 to {PORT_LIMIT}")
    if host.startswith("[") and host.endswith("]"):
        try:
            return str(ipaddress.IPv6Address(host[1:-1])), port
        except ValueError:
            raise ValueError(SERVER_RULE) from None
    if len(host) > HOST_LIMIT_CHARACTERS or _HOST.fullmatch(host) is None:
        raise ValueError(SERVER_RULE)
    return host, port


def server_problem(text: str) -> str | None:
    """What a server has to be, when `text` is none."""
    try:
        parse_server(text)
    except ValueError as error:
        return str(error)
    return None


def address_problem(text: str) -> str | None:
    """What an address to listen on has to be, when `text` is none."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return ADDRESS_RULE
    return None


def _is_plain(text: str) -> bool:
    """Whether it has a name's length, and every character of it is seen as what it is."""
    if not 0 < len(text.encode("utf-8", "surrogatepass")) <= NAME_LIMIT_BYTES:
        return False
    hidden = any(unicodedata.category(each)[0] in _HIDDEN_CATEGORIES for each in text)
    return not hidden and printable(text) == text
