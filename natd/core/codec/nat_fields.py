"""What a card says of its owner's NAT: two pieces of its body, integers big-endian.

    head    mapping (1) | filtering (1) | allocation (1) | confidence * 255 (1)
            stride (1) | lowest port (2) | highest port (2)
    tail    confidence of the allocation * 255 (1) | flags (1): 1 = keeps parity
            load per s * 16 (2)
            taken ports of a block: count (1), each port (2)
            confidence of the filtering * 255 (1)

A reader takes classes that it does not know as `unknown`; the tail may end after any of its lines,
and may go on with what a later version adds.
"""

import struct

from natd.core.base.types import Allocation, Filtering, Mapping, NatReport

_HEAD = struct.Struct(">5B2H")
_TAIL = struct.Struct(">2BH")
HEAD_BYTES = _HEAD.size
TAKEN_PORTS_LIMIT = 16
_KEEPS_PARITY = 1
_LOAD_UNITS = 16
_MOST_LOAD = 0xFFFF

_MAPPINGS = (
    Mapping.UNKNOWN,
    Mapping.OPEN,
    Mapping.INDEPENDENT,
    Mapping.DEPENDENT,
    Mapping.ADDRESS_DEPENDENT,
)
_FILTERINGS = (
    Filtering.UNKNOWN,
    Filtering.INDEPENDENT,
    Filtering.DEPENDENT,
    Filtering.ADDRESS_DEPENDENT,
)
_ALLOCATIONS = (
    Allocation.UNKNOWN,
    Allocation.PRESERVING,
    Allocation.SEQUENTIAL,
    Allocation.RANDOM,
    Allocation.BLOCK,
)
# The place of a value in these tuples is its code on the wire: append, never reorder.


def pack_nat(nat: NatReport) -> tuple[bytes, bytes]:
    """Head and tail; of the taken ports the newest."""
    head = _HEAD.pack(
        _MAPPINGS.index(nat.mapping),
        _FILTERINGS.index(nat.filtering),
        _ALLOCATIONS.index(nat.allocation),
        _share_byte(nat.confidence),
        nat.stride,
        nat.low,
        nat.high,
    )
    load = round(min(_MOST_LOAD, max(0.0, nat.load_per_s * _LOAD_UNITS)))
    parity = _KEEPS_PARITY if nat.keeps_parity else 0
    taken = nat.taken_ports[-TAKEN_PORTS_LIMIT:]
    tail = _TAIL.pack(_share_byte(nat.allocation_confidence), parity, load)
    tail += struct.pack(f">B{len(taken)}H", len(taken), *taken)
    return head, tail + bytes((_share_byte(nat.filtering_confidence),))


def unpack_nat(head: bytes, tail: bytes) -> NatReport:
    """From a head of `HEAD_BYTES` and whatever there is of a tail."""
    mapping, filtering, allocation, confidence, stride, *ports = _HEAD.unpack(head)
    at = _TAIL.size
    sure, flags, load = _TAIL.unpack_from(tail) if len(tail) >= at else (0, 0, 0)
    count = min(tail[at], TAKEN_PORTS_LIMIT) if len(tail) > at else 0
    rest = tail[at + 1 :]
    if len(rest) < 2 * count:
        count = 0
    after = rest[2 * count :]
    return NatReport(
        mapping=_MAPPINGS[mapping] if mapping < len(_MAPPINGS) else Mapping.UNKNOWN,
        filtering=_FILTERINGS[filtering] if filtering < len(_FILTERINGS) else Filtering.UNKNOWN,
        allocation=_ALLOCATIONS[allocation]
        if allocation < len(_ALLOCATIONS)
        else Allocation.UNKNOWN,
        confidence=confidence / 255,
        stride=stride,
        low=min(ports),
        high=max(ports),
        allocation_confidence=sure / 255,
        keeps_parity=bool(flags & _KEEPS_PARITY),
        load_per_s=load / _LOAD_UNITS,
        taken_ports=struct.unpack(f">{count}H", rest[: 2 * count]),
        filtering_confidence=after[0] / 255 if after else 0.0,
    )


def _share_byte(share: float) -> int:
    return round(255 * min(1.0, max(0.0, share)))
