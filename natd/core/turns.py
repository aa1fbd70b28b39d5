"""One expensive attempt at a time for the whole daemon, and the sockets that it may open.

An attempt that opens hundreds of flows would fill the table of a home router if several ran side
by side.  Whoever has the turn keeps it until the attempt is over, but not for longer than
`LONGEST_S`; the others ask again with their next round.
"""

from natd.core.types import SocketId

LONGEST_S = 30.0
HELPER_SOCKETS = 256
FIRST_HELPER = 0x100000
"""Above every socket id that asks for a port, and above those of single fresh sockets."""


class Turns:
    """Shared by all attempts of a daemon."""

    def __init__(self) -> None:
        self.helper_sockets = HELPER_SOCKETS
        """How many fresh sockets an attempt may open."""
        self.fills_whole_blocks = False
        """Whether all ports of a block of ours may be used up, which starves its other users."""
        self.spares_blocks = False
        """Whether a port block of ours may not be used up at all, not even by half."""
        self._holder: object | None = None  # None: free
        self._until = 0.0
        self._last_socket = FIRST_HELPER

    def take(self, who: object, now: float) -> bool:
        """Whether it is this attempt's turn now."""
        if self._holder is not None and self._holder is not who and now < self._until:
            return False
        self._holder, self._until = who, now + LONGEST_S
        return True

    def give_back(self, who: object) -> None:
        if self._holder is who:
            self._holder = None

    def fresh_sockets(self, count: int) -> tuple[SocketId, ...]:
        """Ids that nobody has used, of sockets on any port."""
        first = self._last_socket + 1
        self._last_socket += count
        return tuple(SocketId(number) for number in range(first, first + count))
