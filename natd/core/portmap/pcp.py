"""PCP (RFC 6887): asking a router or a carrier's NAT for a port.

To port 5351 of the default gateway; integers big-endian, lifetimes and epochs in seconds,
addresses in 16 bytes, an IPv4 one mapped into IPv6:

    request   2 (1) | opcode (1) | 0 (2) | lifetime (4) | our address (16) | payload
    answer    2 (1) | 128 + opcode (1) | 0 (1) | result (1) | lifetime (4) | epoch (4) | 0 (12)
              | payload
    payload of ANNOUNCE (opcode 0): nothing
    payload of MAP (opcode 1): nonce (12) | protocol (1) | 0 (3) | internal port (2)
              | external port (2) | external address (16)

A result other than 0 is a refusal, and the lifetime then how long it will stand.  A lifetime of
0 takes a mapping away; only who knows the mapping's nonce may renew or take it.  The answer to an
ANNOUNCE is also what a router that has just started multicasts to 224.0.0.1:5350.
"""

import ipaddress
import struct
from dataclasses import dataclass

from natd.core.base.types import ANY_HOST, Address, DecodeError

PCP_VERSION = 2

_ANSWER = 128
_ANNOUNCE, _MAP = 0, 1
_UDP = 17
_REQUEST_HEAD = struct.Struct(">BBHI16s")
_ANSWER_HEAD = struct.Struct(">BBBBII12x")
_PAYLOAD = struct.Struct(">12sB3xHH16s")

_RESULTS = {
    1: "unsupported version",
    2: "not authorized",
    3: "malformed request",
    4: "unsupported operation",
    5: "unsupported option",
    6: "malformed option",
    7: "the router has no network itself",
    8: "out of resources",
    9: "unsupported protocol",
    10: "this host has too many mappings",
    11: "the port is not available",
    12: "another NAT stands between",
    13: "too many remote peers",
}


@dataclass(frozen=True, slots=True)
class MapAnswer:
    """A mapping, granted, or taken away when its lifetime is 0."""

    epoch_s: int
    nonce: bytes
    internal_port: int
    external: Address
    lifetime_s: int


@dataclass(frozen=True, slots=True)
class Announcement:
    """The router is there, and has been for `epoch_s`."""

    epoch_s: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """No to a mapping."""

    epoch_s: int
    nonce: bytes
    reason: str


Answer = MapAnswer | Announcement | Refusal


def encode_announce_request(client: str) -> bytes:
    """Ask a router whether it still is the one it was; `client` is our own address."""
    return _REQUEST_HEAD.pack(PCP_VERSION, _ANNOUNCE, 0, 0, _packed(client))


def encode_map_request(
    client: str, nonce: bytes, internal_port: int, external: Address | None, lifetime_s: int
) -> bytes:
    """`external` is a wish, None for no wish at all."""
    host, port = external or (ANY_HOST, 0)
    head = _REQUEST_HEAD.pack(PCP_VERSION, _MAP, 0, lifetime_s, _packed(client))
    return head + _PAYLOAD.pack(nonce, _UDP, internal_port, port, _packed(host))


def decode(data: bytes) -> Answer:
    """One answer; DecodeError for anything else.  Options after it are left alone."""
    if len(data) < _ANSWER_HEAD.size:
        raise DecodeError(f"a PCP answer of {len(data)} bytes")
    version, opcode, _, result, lifetime_s, epoch_s = _ANSWER_HEAD.unpack_from(data)
    if version != PCP_VERSION:
        raise DecodeError(f"PCP of version {version}")
    if opcode == _ANSWER + _ANNOUNCE:
        return Announcement(epoch_s)
    if opcode != _ANSWER + _MAP:
        raise DecodeError(f"a PCP answer of opcode {opcode}")
    if len(data) < _ANSWER_HEAD.size + _PAYLOAD.size:
        raise DecodeError("a PCP map answer that ends too early")
    nonce, protocol, internal_port, port, host = _PAYLOAD.unpack_from(data, _ANSWER_HEAD.size)
    if protocol != _UDP:
        raise DecodeError(f"a PCP mapping of protocol {protocol}")
    if result != 0:
        return Refusal(epoch_s, nonce, _RESULTS.get(result, f"result {result}"))
    ip = ipaddress.IPv6Address(host)
    external = Address(str(ip.ipv4_mapped or ip), port)
    return MapAnswer(epoch_s, nonce, internal_port, external, lifetime_s)


def _packed(host: str) -> bytes:
    ip = ipaddress.ip_address(host)
    if ip.version == 4:
        return ipaddress.IPv6Address(f"::ffff:{ip}").packed
    return ip.packed
