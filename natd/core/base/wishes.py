"""What the attempts to reach a peer ask of others: servers for a sample or another introduction,
the network for a socket.

Rules:
- A wish may stay without an answer; an attempt goes on without one.
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
