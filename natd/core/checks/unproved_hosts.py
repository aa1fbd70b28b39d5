"""What goes to a host where a peer is said to be, before it has proved that it receives there.

    a server introduces a newcomer at once, its address not proved yet      10 packets, 1,200 bytes
    its token has come back, or it answers                                  the budget of any host

An honest newcomer proves its address one round trip later.  Who holds its REGISTER back, and sends
it under somebody else's address first, gets that much sent there by each member, once.

Rules:
- It holds over all peers and networks.  A host gets as much again only after nothing was wanted
  there for `AGAIN_AFTER_SILENCE_S`.
- A full table refuses the new: they wait for the proof.
"""

from dataclasses import dataclass

UNPROVED_PACKETS = 10
UNPROVED_BYTES = 1_200

AGAIN_AFTER_SILENCE_S = 300.0
"""As long as the longest silence of a budget."""

MOST_UNPROVED = 4_096


@dataclass(slots=True)
class _Sent:
    wanted_at: float
    packets: int = 0
    size_bytes: int = 0


class UnprovedHosts:
    """See the top of this file."""

    def __init__(self) -> None:
        self._sent: dict[str, _Sent] = {}

    def take(self, host: str, size_bytes: int, now: float) -> bool:
        """Whether one more packet may go there before the proof; takes it if so."""
        sent = self._sent.get(host)
        if sent is None or now - sent.wanted_at >= AGAIN_AFTER_SILENCE_S:
            if sent is None and not self._has_room(now):
                return False
            sent = self._sent[host] = _Sent(now)
        sent.wanted_at = now
        fits = sent.size_bytes + size_bytes <= UNPROVED_BYTES
        if sent.packets >= UNPROVED_PACKETS or not fits:
            return False
        sent.packets += 1
        sent.size_bytes += size_bytes
        return True

    def _has_room(self, now: float) -> bool:
        if len(self._sent) >= MOST_UNPROVED:
            for host, sent in list(self._sent.items()):
                if now - sent.wanted_at >= AGAIN_AFTER_SILENCE_S:
                    del self._sent[host]
        return len(self._sent) < MOST_UNPROVED
