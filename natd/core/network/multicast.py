"""Members on the same link find each other by calling out, with no server at all.

A call is a greeting that wants an answer (`natd/core/network/greeting.py`), sent to a multicast
group which no router passes on; each member answers to where the call came from.

    main socket ─► 239.255.110.97, ff12::6e61:7464, port 28260 ─► link socket of the others
    main socket ◄───────────────── their card ─────────────────── main socket of the others

What strangers on the link learn by it: from which address somebody speaks, and a tag of 4 bytes
that is the same for all members of a network, on whatever link.  The card itself is sealed; that
of an open network opens to everybody who knows its name.

Rules:
- A call leaves from the main socket, so that the answer already comes on the path that is wanted.
- What the group hears is a greeting or nothing: no check and no session is answered there.
- One source is answered once a second, however often it calls.
- A private address counts as one of our link where the call was heard on it, or while answers to
  a call of ours are to be expected; never for what somebody else says.
"""

from random import Random

from natd.core.base.local_ports import LINK_PORT
from natd.core.base.timers import jittered
from natd.core.base.types import Address, SocketId

LINK_SOCKET = SocketId(LINK_PORT)
"""The socket of ours that hears the group; nothing is ever sent from it."""

GROUP = Address("239.255.110.97", LINK_PORT)
"""Of the IPv4 local scope (RFC 2365, section 6.1); hop limit 1 keeps it on the link."""

GROUP_IPV6 = Address("ff12::6e61:7464", LINK_PORT)
"""Link-local scope, not permanently assigned (RFC 4291, section 2.7)."""

GROUP_TTL = 1

FIRST_CALLS_S = (0.0, 0.6, 1.3)
"""Waits before the calls after a start: three in two seconds, for a radio network loses more of
what is multicast than of all else, which is sent again."""

CALL_EVERY_S = 60.0
QUIET_EVERY_S = 300.0
"""While every member that we know of is connected.  Who comes calls, and is heard by all who are
here: our own calls are for links that grow together."""

CALL_JITTER = 0.25

ANSWERS_WITHIN_S = 2.0
"""A loaded machine on a slow radio network answers within that."""

ANSWER_AGAIN_S = 0.25
"""One call is heard by several sockets at once; who has not heard our answer greets again after
0.4 s at the soonest."""
MOST_CALLERS = 256
"""Whose last answer is remembered; with more in one second than any link has, nobody else gets
one."""


class MulticastCalls:
    """When to call out, and whom to answer."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._step = 0
        self._called_at: float | None = None  # None: not yet
        self._answered: dict[str, float] = {}  # host -> when, oldest first
        self.due_at: float | None = None
        """None: there is no link to call out on."""

    def start(self, now: float) -> None:
        """A network is joined, or the link is another one: call at once and twice more."""
        self._step = 0
        self.due_at = now + FIRST_CALLS_S[0]

    def stop(self) -> None:
        self.due_at = None

    def is_due(self, now: float) -> bool:
        return self.due_at is not None and self.due_at <= now

    def call(self, now: float, *, is_complete: bool) -> None:
        """A call leaves at this instant: set the next turn.  `is_complete` while every member
        that we know is connected."""
        self._called_at = now
        self._step = min(self._step + 1, len(FIRST_CALLS_S))
        if self._step < len(FIRST_CALLS_S):
            wait_s = FIRST_CALLS_S[self._step]
        else:
            wait_s = QUIET_EVERY_S if is_complete else CALL_EVERY_S
        self.due_at = now + jittered(wait_s, CALL_JITTER, self._random)

    def expects_answers(self, now: float) -> bool:
        return self._called_at is not None and now - self._called_at <= ANSWERS_WITHIN_S

    def may_answer(self, source: Address, now: float) -> bool:
        """Whether a call from there gets an answer; it counts as given if so."""
        while self._answered:
            host, at = next(iter(self._answered.items()))
            if now - at < ANSWER_AGAIN_S:
                break
            del self._answered[host]
        if source.host in self._answered or len(self._answered) >= MOST_CALLERS:
            return False
        self._answered[source.host] = now
        return True
