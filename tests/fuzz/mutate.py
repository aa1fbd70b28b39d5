"""Bytes that are almost right: what a fuzzer makes of a datagram that was right."""

from collections.abc import Callable, Sequence
from random import Random

TELLING = (0x00, 0x01, 0x7F, 0x80, 0xFF, 0x05, 0x06, 0x40, 0xC0)
"""Bytes at which decoders decide."""

LONGEST_BYTES = 2048
"""What a socket of the daemon's reads of one datagram."""


def mutate(data: bytes, random: Random, others: Sequence[bytes]) -> bytes:
    """One to four changes; `others` lend their parts."""
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        random.choice(_CHANGES)(changed, random, others)
    return bytes(changed[:LONGEST_BYTES])


def _flip(data: bytearray, random: Random, _others: Sequence[bytes]) -> None:
    if data:
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)


def _flip_early(data: bytearray, random: Random, _others: Sequence[bytes]) -> None:
    """Where headers are."""
    if data:
        data[random.randrange(min(len(data), 24))] ^= 1 << random.randrange(8)


def _set(data: bytearray, random: Random, _others: Sequence[bytes]) -> None:
    if data:
        data[random.randrange(len(data))] = random.choice(TELLING)


def _length(data: bytearray, random: Random, _others: Sequence[bytes]) -> None:
    """Two bytes that may be a length."""
    if len(data) >= 2:
        at = random.randrange(len(data) - 1)
        size = random.choice((0, 1, len(data), len(data) - at - 2, 0x7FFF, 0xFFFF))
        data[at : at + 2] = (size & 0xFFFF).to_bytes(2, "big")


def _cut(data: bytearray, random: Random, _others: Sequence[bytes]) -> None:
    del data[random.randint(0, len(data)) :]


def _cut_out(data: bytearray, random: Random, _others: Sequence[bytes]) -> None:
    at = random.randint(0, len(data))
    del data[at : at + random.randint(1, 16)]


def _insert(data: bytearray, random: Random, _others: Sequence[bytes]) -> None:
    at = random.randint(0, len(data))
    data[at:at] = random.randbytes(random.randint(1, 16))


def _grow(data: bytearray, random: Random, _others: Sequence[bytes]) -> None:
    data += bytes(random.choice((1, 4, 200, 1200)))


def _repeat(data: bytearray, random: Random, _others: Sequence[bytes]) -> None:
    at = random.randint(0, len(data))
    data[at:at] = data[at : at + random.randint(1, 64)]


def _splice(data: bytearray, random: Random, others: Sequence[bytes]) -> None:
    """The beginning of this one, the end of another."""
    if others:
        other = random.choice(others)
        at = random.randint(0, len(data))
        data[at:] = other[random.randint(0, len(other)) :]


def _graft(data: bytearray, random: Random, others: Sequence[bytes]) -> None:
    """The header of another before what is here."""
    if others:
        other = random.choice(others)
        size = random.randint(0, min(len(other), len(data), 48))
        data[:size] = other[:size]


_CHANGES: tuple[Callable[[bytearray, Random, Sequence[bytes]], None], ...] = (
    _flip,
    _flip_early,
    _set,
    _length,
    _cut,
    _cut_out,
    _insert,
    _grow,
    _repeat,
    _splice,
    _graft,
)
