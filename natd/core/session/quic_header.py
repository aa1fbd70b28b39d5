"""How a QUIC datagram begins, as far as it can be read without a key.

Datagrams find their session by destination connection id (RFC 9000, section 17):

    long header   1 | 4 version | 1 length | destination id | ...      first byte & 0x80
    short header  1 | 8 destination id | ...

The dialler's first destination id, 20 bytes, is `initial_connection_id`: it names the pair and
is authenticated, so that junk is dropped before there is a session.

Rules:
- Whatever the bytes, nothing here raises; what is true of a header proves nothing of its maker.
"""

from natd.core.keys.secrets import INITIAL_CONNECTION_ID_BYTES
from natd.core.session.quic import CONNECTION_ID_BYTES

_LONG_HEADER = 0x80
_PACKET_TYPE = 0x30
_INITIAL, _ZERO_RTT, _RETRY = 0x00, 0x10, 0x30
_VERSION_1 = b"\x00\x00\x00\x01"


def destination_connection_id(data: bytes) -> bytes | None:
    """By which a QUIC datagram finds its session; None when it is too short to have one."""
    if not data:
        return None
    if data[0] & _LONG_HEADER:
        if len(data) < 7 or len(data) < 6 + data[5]:
            return None
        return data[6 : 6 + data[5]]
    if len(data) < 1 + CONNECTION_ID_BYTES:
        return None
    return data[1 : 1 + CONNECTION_ID_BYTES]


def may_open_session(data: bytes) -> bool:
    """Whether a datagram has the shape of a part of a dialler's first flight."""
    return (
        len(data) > 6 + INITIAL_CONNECTION_ID_BYTES
        and data[0] & _LONG_HEADER != 0
        and data[0] & _PACKET_TYPE in (_INITIAL, _ZERO_RTT)
        and data[1:5] == _VERSION_1
        and data[5] == INITIAL_CONNECTION_ID_BYTES
    )


def is_version_1(data: bytes) -> bool:
    """Neither Version Negotiation nor Retry is ever sent by us; both can be forged by anyone
    who saw the first flight, and would end or restart the handshake."""
    if not data:
        return False
    if not data[0] & _LONG_HEADER:
        return True
    return data[1:5] == _VERSION_1 and data[0] & _PACKET_TYPE != _RETRY


def begins_with_initial(data: bytes) -> bool:
    """Whether the first packet of a datagram is one that begins a handshake."""
    return bool(data) and data[0] & (_LONG_HEADER | _PACKET_TYPE) == _LONG_HEADER | _INITIAL
