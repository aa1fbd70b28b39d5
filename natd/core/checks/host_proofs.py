"""At which hosts one peer surely is: there, and nowhere else, ports may be guessed.

    a server has got the peer's token back from the host       believed for `PROVED_FOR_S`
    the peer has answered an authenticated check from there    believed for `ANSWERED_FOR_S`

So with an honest server nobody can be aimed at who did not answer from the host himself, in an open
network as in a secret one; and a peer whose router restarts is found although every server is dead.

Rules:
- Neither a card, nor a mutual peer, nor the source of a datagram proves anything.
- Where a server says that the peer is, and that this is not proved yet, few plain checks may go
  (`unproved_hosts`).
- Proofs are of a host, not of a port: a NAT may give every destination another port.
"""

from collections.abc import Iterable

PROVED_FOR_S = 600.0
"""As long as an attempt goes on guessing; each introduction proves it again."""

ANSWERED_FOR_S = 7 * 86_400.0
"""As long as a message waits for the peer."""

MOST_PROOFS = 16
"""Hosts of one peer: those of its networks of a week."""


class HostProofs:
    """See the top of this file."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}
        self._said: dict[str, None] = {}  # by servers without a proof, the latest last

    def told(self, proved: Iterable[str], unproved: Iterable[str], now: float) -> None:
        """A server says that the peer is at these hosts, and of some that it has proved it."""
        for host in unproved:
            if not self.holds(host, now):
                self._said.pop(host, None)
                self._said[host] = None
        for host in list(self._said)[:-MOST_PROOFS]:
            del self._said[host]
        self.proved(proved, now)

    def are_wanting(self, host: str, now: float) -> bool:
        """Whether only a server says that the peer is there, and not that it receives there."""
        return host in self._said and not self.holds(host, now)

    def proved(self, hosts: Iterable[str], now: float) -> None:
        """A server says so."""
        for host in hosts:
            self._believe(host, now + PROVED_FOR_S)

    def answered(self, host: str, now: float, *, s_ago: float = 0.0) -> float:
        """The peer answered from there so long ago; gives until when that counts."""
        until = now - s_ago + ANSWERED_FOR_S
        if until > now:
            self._believe(host, until)
        return until

    def holds(self, host: str, now: float) -> bool:
        return now < self._until.get(host, now)

    def _believe(self, host: str, until: float) -> None:
        self._said.pop(host, None)
        self._until[host] = max(until, self._until.pop(host, until))
        if len(self._until) > MOST_PROOFS:
            del self._until[min(self._until, key=self._until.__getitem__)]
