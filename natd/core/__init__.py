"""The pure half of natd, and the contract that every core keeps.

A core knows neither sockets nor clocks nor disks.  It is fed and drained:

1. Inputs take `now`, seconds on the caller's monotonic clock: `receive_datagram`,
   `handle_timer`, and commands such as `send_text(..., now)`.
2. Outputs are drained: `datagrams_to_send()`, `next_event()`, `get_timer()`.  Draining
   twice in a row gives nothing the second time and has no other effect.
3. The owner drains after every input; a core survives an owner that drains late.
4. `now` never goes back.  A timer may fire early, late or twice.
5. Whatever the network delivers, no input raises: it is dropped and counted under a named
   reason.  Wrong use by our own code raises at once.
6. A core keeps no reference to its owner, takes no callback, reads no clock, and draws
   randomness only from what its constructor was given.  (Cryptographic keys are the
   exception: the TLS library makes its own.)

Cores form a tree of owners.  The owner calls down, drains up, and turns a child's event into the
next child's input; siblings don't know one another:

    node ─► network ──┬─► peer ──┬─► punch ─► prediction     finding a path
                      │          ├─► paths                   keeping it
                      │          └─► chat ─► session         what is said
                      └─► registration ─► nat                the servers, our own NAT

Each of these is a wing, a package whose `__init__.py` is its door: what it is for, its rooms, and
what others import.  The wings stand in one order, and each imports only those before it:

    base, codec, keys, portmap, coordinator, nat, checks, prediction, punch, paths,
    session, chat, peer, registration, network, node
"""

from typing import Any, Protocol

from natd.core.base.types import Address, Datagram


class Core(Protocol):
    """What the owner of any core may rely on."""

    def receive_datagram(self, data: bytes, address: Address, now: float) -> None:
        """Take one UDP payload that came from `address`.  Never raises."""

    def handle_timer(self, now: float) -> None:
        """Do what is due at `now`.  Harmless when nothing is."""

    def datagrams_to_send(self) -> list[Datagram]:
        """Drain what is to be sent, in order."""

    def next_event(self) -> Any | None:
        """Drain one event, oldest first; None when there is no more."""

    def get_timer(self) -> float | None:
        """The instant at which `handle_timer` is wanted; None for never."""
