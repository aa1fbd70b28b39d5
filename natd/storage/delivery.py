"""How far one message has come, for who waits for it."""

import asyncio
from collections.abc import Iterable

from natd.core.base.types import PeerId


class Delivery:
    """How far one message has come; made in a running loop."""

    def __init__(self, peers: Iterable[PeerId] | None) -> None:
        """Whom it waits for; None where `know` will tell."""
        self.missing = set(peers or ())
        self.delivered: list[PeerId] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._is_known = peers is not None

    def know(self, delivered: Iterable[PeerId], missing: Iterable[PeerId]) -> None:
        """How far it had come by the disk; what came meanwhile is known already."""
        self.delivered += [peer for peer in delivered if peer not in self.delivered]
        self.missing |= set(missing) - set(self.delivered)
        self._is_known = True
        self._look()

    def take(self, peer: PeerId) -> None:
        """It is on this peer's disk."""
        self.missing.discard(peer)
        if peer not in self.delivered:
            self.delivered.append(peer)
        self._look()

    def _look(self) -> None:
        is_done = self._is_known and self.delivered and not self.missing
        if is_done and not self.done.done():
            self.done.set_result(None)
