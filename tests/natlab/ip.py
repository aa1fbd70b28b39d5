"""IPv4 and IPv6 packets with UDP inside, as a TUN device gives and takes them.

IPv4  0x45 tos length(2) id(2) fragment(2) ttl 17 checksum(2) source(4) destination(4)
IPv6  0x6. .. .. .. length(2) 17 hop-limit source(16) destination(16)
      an option of 4 bytes, if there is one: 68 4 5 overflows(4 bits) 0
UDP   source port(2) destination port(2) length(2) checksum(2) payload
"""

import array
import struct
import sys
from socket import AF_INET6, inet_ntoa, inet_ntop, inet_pton

from natd.core.base.types import Address
from tests.internet.fabric import Packet

UDP = 17
TIMESTAMP = 68
"""The option whose overflows are counted (RFC 791); of others nothing is kept."""

_IPV4 = struct.Struct("!BBHHHBBH4s4s")
_IPV6 = struct.Struct("!IHBB16s16s")
_UDP = struct.Struct("!HHHH")


def parse(raw: bytes) -> Packet | None:
    """The UDP datagram in an IP packet; None for anything else, fragments included."""
    version = raw[0] >> 4 if raw else 0
    if version == 4 and len(raw) >= 28:
        start = (raw[0] & 15) * 4
        _, _, length, _, fragment, ttl, protocol, _, source, destination = _IPV4.unpack_from(raw)
        if protocol != UDP or fragment & 0x3FFF:
            return None
        hosts = inet_ntoa(source), inet_ntoa(destination)
    elif version == 6 and len(raw) >= 48:
        start = 40
        _, length, protocol, ttl, source, destination = _IPV6.unpack_from(raw)
        length += start
        if protocol != UDP:
            return None
        hosts = inet_ntop(AF_INET6, source), inet_ntop(AF_INET6, destination)
    else:
        return None
    overflows = None
    if version == 4 and start > 20 and raw[20] == TIMESTAMP:
        overflows = raw[23] >> 4
    source_port, destination_port, _, _ = _UDP.unpack_from(raw, start)
    return Packet(
        Address(hosts[0], source_port),
        Address(hosts[1], destination_port),
        raw[start + 8 : length],
        ttl,
        overflows,
    )


def build(packet: Packet) -> bytes:
    """The reverse.  An IPv4 datagram goes without the UDP checksum, which is optional there."""
    length = 8 + len(packet.data)
    if packet.source.is_ipv6:
        source = inet_pton(AF_INET6, packet.source.host)
        destination = inet_pton(AF_INET6, packet.destination.host)
        pseudo = source + destination + struct.pack("!IxxxB", length, UDP)
        udp = _UDP.pack(packet.source.port, packet.destination.port, length, 0) + packet.data
        checksum = _checksum(pseudo + udp) or 0xFFFF
        header = _IPV6.pack(6 << 28, length, UDP, packet.ttl, source, destination)
        return header + udp[:6] + checksum.to_bytes(2, "big") + packet.data
    option = b""
    if packet.overflows is not None:
        option = bytes([TIMESTAMP, 4, 5, packet.overflows << 4])
    header = _IPV4.pack(
        0x45 + len(option) // 4,
        0,
        20 + len(option) + length,
        0,
        0x4000,
        packet.ttl,
        UDP,
        0,
        _ipv4(packet.source.host),
        _ipv4(packet.destination.host),
    )
    header = header[:10] + _checksum(header + option).to_bytes(2, "big") + header[12:] + option
    return header + _UDP.pack(packet.source.port, packet.destination.port, length, 0) + packet.data


def _ipv4(host: str) -> bytes:
    return bytes(map(int, host.split(".")))


def _checksum(data: bytes) -> int:
    """RFC 1071."""
    words = array.array("H", data + b"\0" if len(data) % 2 else data)
    total = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    if sys.byteorder == "little":
        total = (total & 0xFF) << 8 | total >> 8
    return ~total & 0xFFFF
