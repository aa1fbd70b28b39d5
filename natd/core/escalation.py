"""One escalation against one peer: a plan, its volley, and the daemon's turn for it.

Rules:
- It begins when plain checks have failed or both NATs are known to defeat them, and only where
  the larger budget is allowed: under a secret network, or towards a peer known from before.
- Another report of either NAT ends it, too: its plan follows from the reports alone.
- It goes to an address that plain checks may go to, too, and no further than `turns` lets it.
- It ends by itself when its packets are spent; a path ends it at once.
- An answer to one of its checks is a path like any other, and names the technique.
"""

from collections.abc import Sequence
from random import Random

from natd.core.candidates import is_private
from natd.core.checks import LOW_TTL, Checks
from natd.core.plans import is_hard, make_plan
from natd.core.turns import Turns
from natd.core.types import Address, Datagram, NatReport, SocketId
from natd.core.volley import Volley

LINGER_S = 3.0
"""After the last probe: answers and the peer's probes may still be under way."""


class Escalation:
    """See the top of this file."""

    def __init__(self, checks: Checks, turns: Turns, random: Random) -> None:
        self.allowed = False
        """Whether the larger budget may be spent on this peer."""
        self._checks = checks
        self._turns = turns
        self._random = random
        self._volley: Volley | None = None  # None: nothing is under way
        self._reports = (NatReport(), NatReport())  # what the plan under way follows from
        self._linger_until: float | None = None  # None: probes are still to be sent
        self._datagrams: list[Datagram] = []

    # --- inputs

    def begin(
        self,
        ours: NatReport,
        theirs: NatReport,
        seen: Sequence[Address],
        main: SocketId,
        now: float,
    ) -> bool:
        """Carry out our half of what the two reports demand; False where that is nothing.

        `seen` are the peer's addresses as servers saw them, freshest first.
        """
        places = [a for a in seen if not a.is_ipv6 and not is_private(a.host)]
        if self._volley is not None and self._reports != (ours, theirs):
            self.stop()
        if not self.allowed or self._volley is not None or not places:
            return False
        if not (is_hard(ours) or is_hard(theirs)) or not self._turns.is_free(self, now):
            return False
        plan = make_plan(
            ours,
            theirs,
            their_ports=[a.port for a in places if a.host == places[0].host],
            we_are_lower=self._checks.we_open,
            turns=self._turns,
            random=self._random,
        )
        if plan is None or not self._turns.take(self, now):
            return False
        self._reports = (ours, theirs)
        helpers = self._turns.fresh_sockets(plan.helpers)
        self._volley = Volley(plan, places[0], main, helpers, now)
        self._linger_until = None
        self.handle_timer(now)
        return True

    def found(self, address: Address) -> None:
        """A path stands to there."""
        self._turns.found(address.host)

    def stop(self) -> None:
        """A path stands, or the peer is gone."""
        self._volley = self._linger_until = None
        self._turns.give_back(self)

    def handle_timer(self, now: float) -> None:
        if self._volley is None:
            return
        if self._linger_until is not None and self._linger_until <= now:
            self.stop()
            return
        self._volley.handle_timer(now)
        for address, socket, is_opener in self._volley.to_send():
            if self._turns.may_send(address.host, now):
                ttl = LOW_TTL if is_opener else None
                self._datagrams.append(self._checks.request(address, socket, now, ttl))
        if self._volley.is_over and self._linger_until is None:
            self._linger_until = now + LINGER_S

    # --- outputs

    def datagrams_to_send(self) -> list[Datagram]:
        datagrams, self._datagrams = self._datagrams, []
        return datagrams

    def get_timer(self) -> float | None:
        if self._volley is None:
            return None
        timer = self._volley.get_timer()
        return timer if timer is not None else self._linger_until

    @property
    def technique(self) -> str | None:
        """What a path found now owes to it; None when nothing is under way."""
        return None if self._volley is None else self._volley.technique

    @property
    def sockets(self) -> frozenset[SocketId]:
        return frozenset() if self._volley is None else self._volley.sockets
