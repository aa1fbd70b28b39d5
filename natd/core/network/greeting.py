"""Greetings: a card sent directly to a peer, without a server.

Used where a peer's address is known from before, as after a restart while no server answers.
The card is sealed and signed as always, so it means the same whichever way it came.

    0x06 | version 1 | flags | 4 network tag | sealed card | padding
                        bit 0: an answer is wanted

Rules:
- A greeting that wants an answer is padded to the size of the largest card, so that an answer
  to a forged source is never longer than what caused it.
- The network tag only selects the key to try; a card that does not open causes no packet.
- A connected peer is not greeted.  A greeting from it with the card that we have is ignored: it
  is a recording.
- A lost peer is greeted, too: if it was restarted it can't read our checks, and has no other way
  to learn where we are.
- In an open network everybody knows the tag and can seal a card.  Opening one costs up to half a
  millisecond, so at most `OPENED_RATE` a second are opened, and of one host only a part of those.
  A card sealed with another key is rejected cheaply and takes no place of these.
"""

import struct
from dataclasses import dataclass
from hashlib import blake2s
from random import Random

from natd.core.base.timers import KeyedTokenBuckets, TokenBucket, backed_off, earliest, jittered
from natd.core.base.types import Address, DecodeError, PeerId
from natd.core.keys.card import SEALED_CARD_LIMIT_BYTES

GREETING_MAGIC = 0x06
GREETING_VERSION = 1
TAG_AT = 3
NETWORK_TAG_BYTES = 4
PADDED_GREETING_BYTES = 9 + SEALED_CARD_LIMIT_BYTES

GREET_AFTER_S = 0.5
"""A live server has introduced us by then, so no greeting is needed."""

MISSED_AFTER = 3
"""Greetings without an answer, within two seconds: the peer is not where it was, or its NAT does
not let us in at our address."""

GREET_AGAIN_S = 0.5
LONGEST_WAIT_S = 60.0
GREET_JITTER = 0.2

OPENED_RATE, OPENED_BURST = 32.0, 64.0
"""Cards a second, and at once: when a whole network comes back without a server, the rest is
greeted again a second later."""

STRANGERS_RATE, STRANGERS_BURST = 4.0, 16.0
"""Most peers that greet were met before, and a stranger costs a handshake."""

LOOKED_AT_RATE, LOOKED_AT_BURST = 1_024.0, 1_024.0
"""Tests whether a card is sealed with our key at all: 23 us each, so 2 % of a core."""

CALLS_LOOKED_AT_RATE, CALLS_LOOKED_AT_BURST = 4_096.0, 1_024.0
"""The same for calls on our link, so that a neighbour's flood leaves alone what comes to our own
socket.  More, since among 20,000 a second one in five is to be looked at: who calls every second
is then heard in some seconds."""

OPENED_OF_HOST_RATE, OPENED_OF_HOST_BURST = 8.0, 32.0
STRANGERS_OF_HOST_RATE, STRANGERS_OF_HOST_BURST = 1.0, 8.0
"""From one host: a household behind one address that comes back at once."""

MOST_GREETING_HOSTS = 256
"""Hosts heard from in the last seconds; more than a link has."""

_HEAD = struct.Struct(">BBB4sH")
_WANTS_ANSWER = 0x01


@dataclass(frozen=True, slots=True)
class Greeting:
    """A decoded greeting."""

    network_tag: bytes
    sealed_card: bytes
    wants_answer: bool


def network_tag(network_key: bytes) -> bytes:
    """4 bytes by which members recognise their network; they reveal nothing to others."""
    return blake2s(network_key, digest_size=NETWORK_TAG_BYTES, person=b"greeting").digest()


def encode_greeting(greeting: Greeting) -> bytes:
    flags = _WANTS_ANSWER if greeting.wants_answer else 0
    size = len(greeting.sealed_card)
    data = (
        _HEAD.pack(GREETING_MAGIC, GREETING_VERSION, flags, greeting.network_tag, size)
        + greeting.sealed_card
    )
    return data.ljust(PADDED_GREETING_BYTES, b"\x00") if greeting.wants_answer else data


def decode_greeting(data: bytes) -> Greeting:
    """DecodeError for anything that `encode_greeting` does not make."""
    if len(data) < _HEAD.size:
        raise DecodeError("a greeting is longer")
    magic, version, flags, tag, size = _HEAD.unpack_from(data)
    sealed = data[_HEAD.size : _HEAD.size + size]
    if magic != GREETING_MAGIC or version != GREETING_VERSION or flags & ~_WANTS_ANSWER:
        raise DecodeError("not a greeting of this version")
    if len(sealed) != size or size > SEALED_CARD_LIMIT_BYTES:
        raise DecodeError("a greeting with less card than it says")
    wants_answer = bool(flags)
    if len(data) != (PADDED_GREETING_BYTES if wants_answer else _HEAD.size + size):
        raise DecodeError("a greeting of another length")
    if data[_HEAD.size + size :].strip(b"\x00"):
        raise DecodeError("padding that is not zeros")
    return Greeting(tag, sealed, wants_answer)


@dataclass(slots=True)
class _Absent:
    addresses: tuple[Address, ...]
    attempt: int
    due_at: float

    def turn(self) -> list[Address]:
        """One address of each host: its ports take turns, because a host has one budget."""
        of_host: dict[str, list[Address]] = {}
        for address in self.addresses:
            of_host.setdefault(address.host, []).append(address)
        return [ports[self.attempt % len(ports)] for ports in of_host.values()]


class GreetingSchedule:
    """When to greet which of the peers known from before."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._absent: dict[PeerId, _Absent] = {}
        self._missed: list[PeerId] = []
        self._openings = TokenBucket(OPENED_RATE, OPENED_BURST)
        self._strangers = TokenBucket(STRANGERS_RATE, STRANGERS_BURST)
        self._looks = TokenBucket(LOOKED_AT_RATE, LOOKED_AT_BURST)
        self._looks_at_calls = TokenBucket(CALLS_LOOKED_AT_RATE, CALLS_LOOKED_AT_BURST)
        self._openings_of = KeyedTokenBuckets(
            OPENED_OF_HOST_RATE, OPENED_OF_HOST_BURST, MOST_GREETING_HOSTS
        )
        self._strangers_of = KeyedTokenBuckets(
            STRANGERS_OF_HOST_RATE, STRANGERS_OF_HOST_BURST, MOST_GREETING_HOSTS
        )

    def may_look(self, now: float, *, is_call: bool) -> bool:
        """Whether one more card may be tested for our seal; takes it if so."""
        return (self._looks_at_calls if is_call else self._looks).take(now)

    def may_open(self, host: str, now: float) -> bool:
        """Whether one more card from this host may be opened; takes it if so."""
        return self._openings_of.take(host, now) and self._openings.take(now)

    def may_meet(self, host: str, now: float) -> bool:
        """Whether one more stranger from this host may be met; takes it if so."""
        return self._strangers_of.take(host, now) and self._strangers.take(now)

    def expect(self, peer: PeerId, addresses: tuple[Address, ...], now: float) -> None:
        if addresses:
            self._absent[peer] = _Absent(addresses, 0, now + GREET_AFTER_S)

    def met(self, peer: PeerId) -> None:
        self._absent.pop(peer, None)

    def hurry(self, now: float) -> None:
        """Our network has changed: greet all absent peers now."""
        for absent in self._absent.values():
            absent.attempt, absent.due_at = 0, now

    def due(self, now: float) -> list[Address]:
        """The addresses to greet now; sets each peer's next turn."""
        addresses: list[Address] = []
        for peer, absent in self._absent.items():
            if absent.due_at <= now:
                addresses += absent.turn()
                wait_s = backed_off(absent.attempt, GREET_AGAIN_S, LONGEST_WAIT_S)
                absent.attempt += 1
                if absent.attempt == MISSED_AFTER:
                    self._missed.append(peer)
                absent.due_at = now + jittered(wait_s, GREET_JITTER, self._random)
        return addresses

    def take_missed(self) -> list[PeerId]:
        """Drain: the peers that have not answered `MISSED_AFTER` greetings."""
        missed, self._missed = self._missed, []
        return [peer for peer in missed if peer in self._absent]

    def get_timer(self) -> float | None:
        return earliest(*(absent.due_at for absent in self._absent.values()))
