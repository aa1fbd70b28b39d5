"""Questions to a server that are answered from several places at once (see `filtering`).

    ours    SAMPLE -----> a port of the server
            <--- SAMPLED  from there, which says what else was sent
            <--- SAMPLED  from another port, from the other address, or to another port of ours

Each answer repeats the transaction, which only the server knows; what we want to learn is where
it comes from.  A question stays open as long as there is room: its last answer may never come.
"""

from dataclasses import dataclass
from random import Random

from natd.core.base.types import MAIN_SOCKET, Address, Datagram, SocketId
from natd.core.codec import rendezvous_codec
from natd.core.codec.rendezvous import PREFIX_BYTES, TRANSACTION_BYTES, Elsewhere, Sample, Sampled

OPEN_LIMIT = 16
"""Two rounds of trials."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One question."""

    number: int
    """Which trial it belongs to."""
    elsewhere: Elsewhere
    socket: SocketId = MAIN_SOCKET
    asker_port: int = 0


@dataclass(frozen=True, slots=True)
class Probed:
    """One answer."""

    probe: Probe
    asked: Address
    source: Address
    socket: SocketId
    """Our socket that it arrived at."""
    observed: Address
    elsewhere: Elsewhere
    """What the server says it has sent besides the answer from where it was asked."""


class Probes:
    """The questions of one registration, whose prefix begins their transactions."""

    def __init__(self, prefix: bytes, random: Random) -> None:
        self._prefix = prefix
        self._random = random
        self._open: dict[bytes, tuple[Probe, Address]] = {}

    def ask(self, probe: Probe, place: Address) -> Datagram:
        """The datagram to that port of the server."""
        transaction = self._prefix + self._random.randbytes(TRANSACTION_BYTES - PREFIX_BYTES)
        self._open[transaction] = (probe, place)
        if len(self._open) > OPEN_LIMIT:
            del self._open[next(iter(self._open))]
        data = rendezvous_codec.encode(Sample(transaction, probe.elsewhere, probe.asker_port))
        return Datagram(data, place, None, probe.socket)

    def answered_by(self, answer: Sampled, source: Address, socket: SocketId) -> Probed | None:
        """What an answer tells; None if it answers none of these questions."""
        asked = self._open.get(answer.transaction)
        if asked is None:
            return None
        return Probed(*asked, source, socket, answer.observed, answer.elsewhere)

    def clear(self) -> None:
        self._open.clear()
