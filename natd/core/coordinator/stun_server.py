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

A SAMPLE asks for the same in fewer bytes, and for all answers at once: see `sampled`.

RESPONSE-PORT sends the answer to another port of the asker's host, and PADDING makes it as long
as the question, which shows what a NAT does with fragments.

Rules that a change must not break:

- Anyone may ask, under anyone's address, so an answer has no byte that it need not have: a
  FINGERPRINT only where the question had one, MAPPED-ADDRESS, by which a client could find a
  NAT that rewrites payloads, only where the question pays for it, and PADDING up to the length
  of the question.  IPv4 answers stay within three times the question; IPv6 ones do when its 48
  bytes of headers are counted.
- An answer goes to the host that asked, nowhere else.  (Its port tells nothing more about who
  asked: a sender that forges its host can forge its port, too.)
- What must be understood and is not is refused (420): among it CHANGE-REQUEST where there is no
  second address and port.
"""

import ipaddress
import struct
from collections.abc import Iterable

from natd.core.base.types import LOWEST_PORT, Address, Datagram, SocketId
from natd.core.codec import rendezvous_codec, stun
from natd.core.codec.rendezvous import NOWHERE_ELSE, Elsewhere, Sample, Sampled

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
        stun.PADDING,
        stun.RESPONSE_PORT,
    )
)
"""Of RFC 8489, RFC 8445 and RFC 5780; CHANGE-REQUEST depends on what addresses there are."""

CHANGE_IP, CHANGE_PORT = 4, 2

BAD_REQUEST, UNKNOWN_ATTRIBUTE = bytes((0, 0, 4, 0)), bytes((0, 0, 4, 20))
"""The values of ERROR-CODE for 400 and 420; a reason phrase is for people and costs bytes."""

_PORT = struct.Struct(">H")

PAYS_FOR = 3
"""Bytes out for a byte in, at most."""


class StunServer:
    """Answers STUN requests from the server's addresses; keeps no state."""

    def __init__(self, hosts: tuple[str, ...], ports: tuple[int, ...]) -> None:
        """`hosts` are the bound addresses, of which `::` and `0.0.0.0` have no other, nor has "";
        sockets are numbered as the coordinator's."""
        self._ports = ports
        self.use(hosts)

    def use(self, hosts: tuple[str, ...]) -> None:
        """The server has these addresses from now on; a row keeps its place."""
        self._hosts = hosts
        self._other_rows = _other_rows(hosts) if len(self._ports) > 1 else {}

    def other_address(self, socket: SocketId) -> Address | None:
        """Where the server's other host, if it has one, is asked for what `socket`'s can't show."""
        host = self.other_host(socket)
        return None if host is None else Address(host, self._ports[0])

    def other_host(self, socket: SocketId) -> str | None:
        """The other address for this socket's address; None: there is none."""
        row = self._other_rows.get(socket // len(self._ports))
        return None if row is None else self._hosts[row]

    def sampled(self, sample: Sample, source: Address, socket: SocketId) -> list[Datagram]:
        """The answers to a SAMPLE: its source address, sent from the asked port and from the other
        places that it wants and we have.  Each answer lists them all."""
        row, column = divmod(socket, len(self._ports))
        other = self._other_column(column)
        ways: list[tuple[Elsewhere, Address, int]] = [(NOWHERE_ELSE, source, socket)]
        if other != column:
            ways.append((Elsewhere.PORT, source, row * len(self._ports) + other))
        if (other_row := self._other_rows.get(row)) is not None:
            ways.append((Elsewhere.HOST, source, other_row * len(self._ports) + other))
        if sample.asker_port >= LOWEST_PORT:
            ways.append((Elsewhere.ASKER_PORT, source._replace(port=sample.asker_port), socket))
        wanted = [way for way in ways if way[0] in sample.elsewhere]
        elsewhere = Elsewhere(sum(how for how, _, _ in wanted))
        data = rendezvous_codec.encode(Sampled(sample.transaction, source, elsewhere))
        return [Datagram(data, address, None, SocketId(by)) for _, address, by in wanted]

    def answer(
        self, request: stun.StunMessage, size_bytes: int, source: Address, socket: SocketId
    ) -> Datagram:
        """The answer to a Binding request of so many bytes."""
        row, column = divmod(socket, len(self._ports))
        other_row = self._other_rows.get(row)
        understood = UNDERSTOOD if other_row is None else UNDERSTOOD | {stun.CHANGE_REQUEST}
        types = dict.fromkeys(kind for kind, _ in request.attributes if kind < REQUIRED_BELOW)
        if unknown := [kind for kind in types if kind not in understood]:
            listed = b"".join(map(_PORT.pack, unknown))
            refusal = [(stun.ERROR_CODE, UNKNOWN_ATTRIBUTE), (stun.UNKNOWN_ATTRIBUTES, listed)]
            return Datagram(_error(request, refusal), source, None, socket)
        flags, port = _flags(request), _response_port(request, source)
        if flags is None or port is None:
            refusal = [(stun.ERROR_CODE, BAD_REQUEST)]
            return Datagram(_error(request, refusal), source, None, socket)
        extra: list[tuple[int, bytes]] = []
        if other_row is not None:
            other_column = self._other_column(column)
            other = self._address(other_row, other_column)
            row = other_row if flags & CHANGE_IP else row
            column = other_column if flags & CHANGE_PORT else column
            extra = [
                (stun.RESPONSE_ORIGIN, stun.encode_address(self._address(row, column))),
                (stun.OTHER_ADDRESS, stun.encode_address(other)),
            ]
        data = _success(request, size_bytes, source, extra)
        leaves_by = SocketId(row * len(self._ports) + column)
        return Datagram(data, Address(source.host, port), None, leaves_by)

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
    if not host:
        return False
    ip = ipaddress.ip_address(host)
    return ip.version == version and not (ip.is_unspecified or ip.is_link_local)


def _flags(request: stun.StunMessage) -> int | None:
    """Of its CHANGE-REQUEST; None when that is none."""
    change = request.get(stun.CHANGE_REQUEST)
    if change is None:
        return 0
    return change[3] if len(change) == 4 else None


def _response_port(request: stun.StunMessage, source: Address) -> int | None:
    """Where the answer goes; None where none may go (RFC 5780, sections 6.1 and 7.5)."""
    wanted = request.get(stun.RESPONSE_PORT)
    if wanted is None:
        return source.port
    if len(wanted) not in (2, 4) or request.get(stun.PADDING) is not None:
        return None
    return int(_PORT.unpack_from(wanted)[0]) or None


def _success(
    request: stun.StunMessage, size_bytes: int, source: Address, extra: list[tuple[int, bytes]]
) -> bytes:
    data = _encode_success(request, source, extra)
    if extra:
        whole = [*extra, (stun.MAPPED_ADDRESS, stun.encode_address(source))]
        longer = _encode_success(request, source, whole)
        if len(longer) <= PAYS_FOR * size_bytes:
            data, extra = longer, whole
    room = size_bytes - len(data) - stun.ATTRIBUTE_HEADER_BYTES
    if request.get(stun.PADDING) is not None and room > 0:
        return _encode_success(request, source, [*extra, (stun.PADDING, bytes(room))])
    return data


def _encode_success(
    request: stun.StunMessage, source: Address, extra: Iterable[tuple[int, bytes]]
) -> bytes:
    return stun.encode_binding_response(
        request.transaction, source, extra=extra, fingerprint=_has_fingerprint(request)
    )


def _error(request: stun.StunMessage, attributes: Iterable[tuple[int, bytes]]) -> bytes:
    return stun.encode(
        stun.BINDING,
        stun.MessageClass.ERROR,
        request.transaction,
        attributes,
        fingerprint=_has_fingerprint(request),
    )


def _has_fingerprint(request: stun.StunMessage) -> bool:
    return request.get(stun.FINGERPRINT) is not None
