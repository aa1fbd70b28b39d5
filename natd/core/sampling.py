"""Which of a server's sampling ports to ask next, and what they saw of our main socket.

Every port is a new destination to our NAT.  Four answers in the first round trip show whether
it maps by destination; one more now and then shows drift and poisoning.
"""

from natd.core.rendezvous import SAMPLES_LIMIT
from natd.core.schedule import Ladder
from natd.core.types import Address

SAMPLE_LADDER_S = (0.2, 0.4, 0.8)
"""For the ports that have not answered: after this a port counts as closed to us."""

ASSUMED_PORTS = 3
"""Before the server has told its ports: those after its own."""


class Sampling:
    """The sampling ports of one server."""

    def __init__(self, server_port: int) -> None:
        first = server_port + 1
        self.ports = tuple(port for port in range(first, first + ASSUMED_PORTS) if port < 65536)
        self.ladder = Ladder(SAMPLE_LADDER_S)
        self._unanswered: set[int] = set()
        self._turn = 0
        self._seen: dict[int, Address] = {}

    def begin(self, now: float) -> tuple[int, ...]:
        """Forget what was seen; the ports to ask at once."""
        self._seen.clear()
        self._unanswered = set(self.ports)
        if self.ports:
            self.ladder.start(now)
        return self.ports

    def again(self, now: float) -> list[int]:
        """When the ladder is due: the ports to ask again."""
        if not self._unanswered:
            self.ladder.stop()
        elif self.ladder.climb(now):
            return sorted(self._unanswered)
        return []

    def next_port(self) -> int | None:
        """The ports in turn; None when the server has none."""
        if not self.ports:
            return None
        self._turn = (self._turn + 1) % len(self.ports)
        return self.ports[self._turn]

    def add(self, port: int, observed: Address) -> None:
        """What `port` saw of the main socket."""
        self._unanswered.discard(port)
        self._seen.pop(port, None)
        self._seen[port] = observed

    def freshest(self) -> tuple[Address, ...]:
        """Distinct addresses, the freshest last."""
        newest_first = dict.fromkeys(reversed(self._seen.values()))
        return tuple(newest_first)[:SAMPLES_LIMIT][::-1]
