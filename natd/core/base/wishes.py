"""Requests of an attempt to its owners: a sample or an introduction from a server, a fresh socket
from the node.

Rules:
- A request may stay unanswered; the attempt goes on without it.
"""

from dataclasses import dataclass

from natd.core.base.types import Address, SocketId


@dataclass(frozen=True, slots=True)
class SampleWanted:
    """Ask a server port that has no flow yet how `socket` appears now."""

    socket: SocketId


@dataclass(frozen=True, slots=True)
class IntroductionWanted:
    """Ask the servers to introduce the two of us again, with these freshest addresses."""

    samples: tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class FreshSocketWanted:
    """This attempt needs a socket of its own: the owner answers with `use_socket`."""

    is_alike: bool = False
    """On a port of the main socket's parity, so that a NAT that keeps it counts on from there."""
