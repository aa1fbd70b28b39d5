"""Telling any STUN client where its request came from (RFC 8489), and what its NAT does (RFC 5780).

A server of one address answers Binding requests.  One that was given two of a family is also
what RFC 5780 wants: it says from where else it could answer, and does so when it is asked to.

    asked at Da:Dp     CHANGE-REQUEST     answers from     OTHER-ADDRESS
                       none               Da:Dp            Ca:Cp
                       change IP          Ca:Dp            Ca:Cp
                       change port        Da:Cp            Ca:Cp
                       both               Ca:Cp            Ca:Cp

Ports change in pairs, the first with the second, the third with the fourth; addresses go round,
which for two of a family is the exchange that the RFC has in mind.

Rules that a change must not break:

- Anyone may ask, under anyone's address, so an answer has no byte that it need not have: a
  FINGERPRINT only where the question had one, and MAPPED-ADDRESS, by which a client could find
  a NAT that rewrites payloads, only where the question pays for it.  IPv4 answers stay within
  three times the question; IPv6 ones do when its 48 bytes of headers are counted.
- What a client must not take as understood is refused (420): among it CHANGE-REQUEST, where
  there is no second address, and always RESPONSE-PORT and PADDING, which would let a question
  be answered elsewhere or at greater length.
"""

import ipaddress
from typing import NamedTuple

from natd.core import stun
from natd.core.types import Address, SocketId

REQUIRED_BELOW = 0x8000
"""Attribute types that a server must understand or refuse (RFC 8489, section 14)."""

_REALM, _NONCE, _PASSWORD_ALGORITHM, _USERHASH = 0x0014, 0x0015, 0x001D, 0x001E
UNDERSTOOD = frozenset(
    (
        stun.MAPPED_ADDRESS,
        stun.USERNAME,
        stun.MESSAGE_INTEGRITY,
        stun.ERROR_CODE,
        stun.UNKNOWN_ATTRIBUTES,
        _REALM,
        _NONCE,
        stun.MESSAGE_INTEGRITY_SHA256,
        _PASSWORD_ALGORITHM,
        _USERHASH,
        stun.XOR_MAPPED_ADDRESS,
        stun.PRIORITY,
        stun.USE_CANDIDATE,
    )
)
"""Of RFC 8489 and RFC 8445: nothing that changes an answer of ours."""

CHANGE_IP, CHANGE_PORT = 4, 2

UNKNOWN_ATTRIBUTE = bytes((0, 0, 4, 20))
"""The value of ERROR-CODE for 420; its reason phrase is for people and costs bytes."""

PAYS_FOR = 3
"""Bytes out for a byte in, at most."""


class Answer(NamedTuple):
    data: bytes
    socket: SocketId
    """The one that it leaves by, which need not be the one that was asked."""


class Reflector:
    """Knows the server's addresses; remembers nothing of anybody."""

    def __init__(self, hosts: tuple[str, ...], ports: tuple[int, ...]) -> None:
        """`hosts` are the bound addresses, of which `::` and `0.0.0.0` have no other; sockets
        are numbered as the coordinator's."""
        self._hosts = hosts
        self._ports = ports
        self._other_rows = _other_rows(hosts) if len(ports) > 1 else {}

    def other_host(self, socket: SocketId) -> str | None:
        """The address that goes with the one of this socket; None when there is none."""
        row = self._other_rows.get(socket // len(self._ports))
        return None if row is None else self._hosts[row]

    def answer(
        self, request: stun.StunMessage, size_bytes: int, source: Address, socket: SocketId
    ) -> Answer | None:
        """The answer to a Binding request of so many bytes; None when its CHANGE-REQUEST is
        none."""
        row, column = divmod(socket, len(self._ports))
        other_row = self._other_rows.get(row)
        fingerprint = request.get(stun.FINGERPRINT) is not None
        change = request.get(stun.CHANGE_REQUEST)
        understood = UNDERSTOOD if other_row is None else UNDERSTOOD | {stun.CHANGE_REQUEST}
        types = dict.fromkeys(kind for kind, _ in request.attributes if kind < REQUIRED_BELOW)
        if unknown := [kind for kind in types if kind not in understood]:
            return Answer(_refusal(request.transaction, unknown, fingerprint=fingerprint), socket)
        if change is not None and len(change) != 4:
            return None
        extra: list[tuple[int, bytes]] = []
        if other_row is not None:
            other_column = self._other_column(column)
            flags = 0 if change is None else change[3]
            other = self._address(other_row, other_column)
            row = other_row if flags & CHANGE_IP else row
            column = other_column if flags & CHANGE_PORT else column
            extra = [
                (stun.RESPONSE_ORIGIN, stun.encode_address(self._address(row, column))),
                (stun.OTHER_ADDRESS, stun.encode_address(other)),
            ]
        data = _success(request.transaction, source, extra, fingerprint=fingerprint)
        if extra:
            extra.append((stun.MAPPED_ADDRESS, stun.encode_address(source)))
            whole = _success(request.transaction, source, extra, fingerprint=fingerprint)
            data = whole if len(whole) <= PAYS_FOR * size_bytes else data
        return Answer(data, SocketId(row * len(self._ports) + column))

    def _address(self, row: int, column: int) -> Address:
        return Address(self._hosts[row], self._ports[column])

    def _other_column(self, column: int) -> int:
        """A last port without a neighbour changes to the first."""
        other = column ^ 1
        return other if other < len(self._ports) else 0


def _other_rows(hosts: tuple[str, ...]) -> dict[int, int]:
    rows: dict[int, int] = {}
    for version in (4, 6):
        alike = [row for row, host in enumerate(hosts) if _may_be_other(host, version)]
        if len(alike) > 1:
            rows |= zip(alike, alike[1:] + alike[:1], strict=True)
    return rows


def _may_be_other(host: str, version: int) -> bool:
    """A link-local address means nothing without an interface, which STUN can't tell."""
    ip = ipaddress.ip_address(host)
    return ip.version == version and not (ip.is_unspecified or ip.is_link_local)


def _success(
    transaction: bytes, source: Address, extra: list[tuple[int, bytes]], *, fingerprint: bool
) -> bytes:
    return stun.encode_binding_response(transaction, source, extra=extra, fingerprint=fingerprint)


def _refusal(transaction: bytes, unknown: list[int], *, fingerprint: bool) -> bytes:
    listed = b"".join(kind.to_bytes(2, "big") for kind in unknown)
    attributes = ((stun.ERROR_CODE, UNKNOWN_ATTRIBUTE), (stun.UNKNOWN_ATTRIBUTES, listed))
    return stun.encode(
        stun.BINDING, stun.MessageClass.ERROR, transaction, attributes, fingerprint=fingerprint
    )
