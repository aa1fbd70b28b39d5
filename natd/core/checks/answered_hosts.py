"""How long ports are guessed at a host that has answered once and is silent now.

It may be a peer whose router restarts: worth a full search.  But its address may belong to somebody
else by now, a whole carrier's NAT perhaps, and nobody tells us.  So after an hour we only look
again now and then: in the long run no more packets than plain checks may have.

    a search of an hour ─► closed ─► a wave has come together ─► that wave ─► closed …

Rules:
- An answer from there gives all of it back.
- What a sign of life pays for is not counted here.
"""

from dataclasses import dataclass

from natd.core.checks.limits import MOST_WAVE_PACKETS

SILENT_RATE = 1.0
"""Packets a second in the long run: 60 a minute, as for plain checks."""

SILENT_BURST = 24 * MOST_WAVE_PACKETS
"""What `prediction/birthday.py` takes of an hour: while a router starts, then in rare waves."""

MOST_SILENT_HOSTS = 1_024


@dataclass(slots=True)
class _Host:
    left: float
    counted_at: float
    is_closed: bool = False

    def count(self, now: float) -> None:
        self.left = min(SILENT_BURST, self.left + SILENT_RATE * (now - self.counted_at))
        self.counted_at = now
        self.is_closed = self.is_closed and self.left < MOST_WAVE_PACKETS


class AnsweredHosts:
    """See the top of this file."""

    def __init__(self) -> None:
        self._hosts: dict[str, _Host] = {}

    def take(self, host: str, now: float) -> bool:
        """Whether one more guess may go there; takes it if so."""
        found = self._hosts.get(host)
        if found is None:
            if len(self._hosts) >= MOST_SILENT_HOSTS:
                self._sweep(now)
            if len(self._hosts) >= MOST_SILENT_HOSTS:
                return False
            found = self._hosts[host] = _Host(SILENT_BURST, now)
        found.count(now)
        if found.is_closed:
            return False
        found.left -= 1.0
        found.is_closed = found.left < 1.0
        return True

    def answered(self, host: str) -> None:
        """An authenticated answer has come from there."""
        self._hosts.pop(host, None)

    def _sweep(self, now: float) -> None:
        for host, found in list(self._hosts.items()):
            found.count(now)
            if found.left >= SILENT_BURST:
                del self._hosts[host]
