"""NAT-PMP (RFC 6886): asking a home router for a port, in 2 and 12 bytes.

To port 5351 of the default gateway, integers big-endian, lifetimes and epochs in seconds:

    address request   0 (1) | 0 (1)
    address answer    0 (1) | 128 (1) | result (2) | epoch (4) | external address (4)
    map request       0 (1) | 1 (1) | 0 (2) | internal port (2) | external port (2) | lifetime (4)
    map answer        0 (1) | 129 (1) | result (2) | epoch (4) | internal port (2)
                      | external port (2) | lifetime (4)

A result other than 0 refuses what was asked; 1 is also what a router without PCP says to a PCP
request.  A lifetime of 0 takes a mapping away.  The address answer is also what a router that has
just started multicasts to 224.0.0.1:5350.  The epoch counts from the router's start, so one that
falls behind our own clock tells of mappings that are gone.
"""

import ipaddress
import struct
from dataclasses import dataclass

from natd.core.base.types import DecodeError

NATPMP_VERSION = 0

_ANSWER = 128
_ADDRESS, _MAP_UDP = 0, 1
_MAP_REQUEST = struct.Struct(">BBHHHI")
_ANSWER_HEAD = struct.Struct(">BBHI")
_MAP_ANSWER = struct.Struct(">HHI")

_UNSUPPORTED_VERSION = 1
_RESULTS = {
    2: "not authorized",
    3: "the router has no address itself",
    4: "out of resources",
    5: "unsupported operation",
}


@dataclass(frozen=True, slots=True)
class AddressAnswer:
    """The router's external address."""

    epoch_s: int
    host: str


@dataclass(frozen=True, slots=True)
class MapAnswer:
    """A mapping of UDP, granted, or taken away when its lifetime is 0."""

    epoch_s: int
    internal_port: int
    external_port: int
    lifetime_s: int


@dataclass(frozen=True, slots=True)
class AddressRefusal:
    """The router does not tell its external address."""

    epoch_s: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """No to the map request."""

    epoch_s: int
    reason: str


@dataclass(frozen=True, slots=True)
class OtherVersion:
    """The router speaks NAT-PMP and was asked in another version."""

    epoch_s: int


Answer = AddressAnswer | AddressRefusal | MapAnswer | Refusal | OtherVersion


def encode_address_request() -> bytes:
    return bytes((NATPMP_VERSION, _ADDRESS))


def encode_map_request(internal_port: int, external_port: int, lifetime_s: int) -> bytes:
    """`external_port` is a wish; 0 for none, and where the lifetime is 0."""
    return _MAP_REQUEST.pack(NATPMP_VERSION, _MAP_UDP, 0, internal_port, external_port, lifetime_s)


def decode(data: bytes) -> Answer:
    """One answer; DecodeError for anything else.  Bytes after it are left alone."""
    if len(data) < _ANSWER_HEAD.size:
        raise DecodeError(f"a NAT-PMP answer of {len(data)} bytes")
    version, operation, result, epoch_s = _ANSWER_HEAD.unpack_from(data)
    if version != NATPMP_VERSION:
        raise DecodeError(f"NAT-PMP of version {version}")
    if result == _UNSUPPORTED_VERSION:
        return OtherVersion(epoch_s)
    operation -= _ANSWER
    if operation not in (_ADDRESS, _MAP_UDP):
        raise DecodeError(f"a NAT-PMP answer to operation {operation}")
    if result != 0 and operation == _ADDRESS:
        return AddressRefusal(epoch_s)
    if result != 0:
        reason = _RESULTS.get(result, f"result {result}")
        return Refusal(epoch_s, reason)
    body = data[_ANSWER_HEAD.size :]
    if operation == _ADDRESS:
        if len(body) < 4:
            raise DecodeError("a NAT-PMP address answer that ends too early")
        return AddressAnswer(epoch_s, str(ipaddress.IPv4Address(body[:4])))
    if len(body) < _MAP_ANSWER.size:
        raise DecodeError("a NAT-PMP map answer that ends too early")
    return MapAnswer(epoch_s, *_MAP_ANSWER.unpack_from(body))
