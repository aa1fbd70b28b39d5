"""What goes to a host where a peer is said to be, before it has proved that it receives there.

    a server introduces a newcomer at once, its address not proved yet      10 packets, 1,200 bytes
    its token has come back, or it answers                                  the budget of any host

An honest newcomer proves its address one round trip later.  Who holds its REGISTER back, and sends
it under somebody else's address first, gets that much sent there by each member, once.

Rules:
- It holds over all peers and networks.  A host gets the next wave only after nothing was wanted
  there for `WAVE_AGAIN_S`.
- A full table refuses the new: they wait for the proof.
"""

from dataclasses import dataclass

WAVE_PACKETS_UNPROVED = 10
WAVE_BYTES_UNPROVED = 1_200

WAVE_AGAIN_S = 300.0
"""As long as the longest silence of a budget."""

MOST_UNPROVED = 4_096


@dataclass(slots=True)
class _Wave:
    wanted_at: float
    packets: int = 0
    size_bytes: int = 0


class FirstWaves:
    """See the top of this file."""

    def __init__(self) -> None:
        self._waves: dict[str, _Wave] = {}

    def take(self, host: str, size_bytes: int, now: float) -> bool:
        """Whether one more packet may go there before the proof; takes it if so."""
        wave = self._waves.get(host)
        if wave is None or now - wave.wanted_at >= WAVE_AGAIN_S:
            if wave is None and not self._has_room(now):
                return False
            wave = self._waves[host] = _Wave(now)
        wave.wanted_at = now
        fits = wave.size_bytes + size_bytes <= WAVE_BYTES_UNPROVED
        if wave.packets >= WAVE_PACKETS_UNPROVED or not fits:
            return False
        wave.packets += 1
        wave.size_bytes += size_bytes
        return True

    def _has_room(self, now: float) -> bool:
        if len(self._waves) >= MOST_UNPROVED:
            for host, wave in list(self._waves.items()):
                if now - wave.wanted_at >= WAVE_AGAIN_S:
                    del self._waves[host]
        return len(self._waves) < MOST_UNPROVED
