"""Requests of an attempt to its owners: a sample or an introduction from a server, a fresh socket
from the node; and what one peer asks the other, over a server, before it guesses more ports:

    guesser  ask: the number of the wave, and a nonce of its own  ─►  the other
    guesser  ◄─  word: the same, signed by the other              the other

Anybody can be named as the host to guess at; only who is there, and wants it, gives the word.

Rules:
- A request may stay unanswered; the attempt goes on without it.
"""

from dataclasses import dataclass

from natd.core.base.types import Address, SocketId

WAVE_NONCE_BYTES = 8


@dataclass(frozen=True, slots=True)
class Ask:
    """May I send another wave of guesses to your host?"""

    wave: int
    """From 2 to 255: the first is free."""
    nonce: bytes


@dataclass(frozen=True, slots=True)
class Word:
    """You may: the answer to one ask."""

    wave: int
    nonce: bytes
    signature: bytes
    """See `natd.core.keys.wave_words`."""


@dataclass(frozen=True, slots=True)
class SampleWanted:
    """Ask a server port that has no flow yet how `socket` appears now."""

    socket: SocketId


@dataclass(frozen=True, slots=True)
class IntroductionWanted:
    """Ask the servers to introduce the two of us again, with these freshest addresses."""

    samples: tuple[Address, ...]
    ask: Ask | None = None
    """What the peer shall be asked with it: then it is no new begin for either side."""
    word: Word | None = None
    """The same, as our answer to an ask of the peer's."""

    @property
    def is_aside(self) -> bool:
        return self.ask is not None or self.word is not None


@dataclass(frozen=True, slots=True)
class FreshSocketWanted:
    """This attempt needs a socket of its own: the owner answers with `use_socket`."""

    is_alike: bool = False
    """On a port of the main socket's parity, so that a NAT that keeps it counts on from there."""
