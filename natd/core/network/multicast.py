"""Members on the same link find each other by multicast calls, without a server.

A call is a greeting that wants an answer (`natd/core/network/greeting.py`), sent to a multicast
group that routers do not forward; each member answers to the source of the call.

    main socket ─► 239.255.110.97, ff12::6e61:7464, port 28260 ─► link socket of the others
    main socket ◄───────────────── their card ─────────────────── main socket of the others

Strangers on the link learn the sender's address and a tag of 4 bytes that is the same for all
members of a network on every link.  The card itself is sealed; in an open network everybody who
knows the network's name can open it.

Rules:
- A call leaves from the main socket, so that the answer already comes on the wanted path.
- On the group's socket only greetings are accepted: checks and sessions get no answer there.
- What an answer costs is bounded for each source, for each member whose call it seems to be, and
  in all: a call can be recorded and sent again under any address, and datagrams to hosts that
  aren't there wait in our socket for seconds and crowd out all others.
- While more calls come than we can look at, we call every second: any one of them may be missed
  then, on both sides.
- A private address counts as on our link if the call was heard there, or while answers to a call
  of ours are expected; never because somebody says so.
"""

from random import Random

from natd.core.base.local_ports import LINK_PORT
from natd.core.base.timers import KeyedTokenBuckets, TokenBucket, jittered
from natd.core.base.types import Address, PeerId, SocketId

LINK_SOCKET = SocketId(LINK_PORT)
"""The socket of ours that hears the group; nothing is ever sent from it."""

GROUP = Address("239.255.110.97", LINK_PORT)
"""Of the IPv4 local scope (RFC 2365, section 6.1); hop limit 1 keeps it on the link."""

GROUP_IPV6 = Address("ff12::6e61:7464", LINK_PORT)
"""Link-local scope, not permanently assigned (RFC 4291, section 2.7)."""

GROUP_TTL = 1

FIRST_CALLS_S = (0.0, 0.6, 1.3)
"""Waits before the calls after a start: three in two seconds, because a radio network repeats lost
unicast frames but not lost multicast."""

CALL_EVERY_S = 60.0
QUIET_EVERY_S = 300.0
"""While every known member is connected.  A newcomer calls by itself and all members here hear it:
our own calls are for links that get joined together."""

CALL_JITTER = 0.25

ANSWERS_WITHIN_S = 2.0
"""Even a loaded machine on a slow radio network answers within this time."""

ANSWER_AGAIN_S = 0.25
"""Several sockets may hear one call at once; a member that missed our answer greets again after
0.4 s at the earliest."""

ANSWERS_OF_PEER_RATE, ANSWERS_OF_PEER_BURST = 2.0, 4.0
"""A member with several addresses calls from each."""

ANSWERS_RATE, ANSWERS_BURST = 32.0, 64.0
"""In all.  The kernel keeps a datagram to an absent neighbour for 3 s, so at most 160 of ours wait
for such: half of what a socket may hold."""

CALL_AGAIN_S = 1.0
"""In a flood: one that hides all but one call in five is got through in some seconds."""
FLOOD_TOLD_S = 5.0

_MOST_PEERS = 256
"""Members answered in the last seconds; more than `ANSWERS_RATE` allows."""


class MulticastCalls:
    """When to call out, and which calls to answer."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._step = 0
        self._called_at: float | None = None  # None: not yet
        self._flooded_at: float | None = None  # None: never
        self._answered: dict[str, float] = {}  # host -> when, oldest first
        self._answers = TokenBucket(ANSWERS_RATE, ANSWERS_BURST)
        self._answers_of = KeyedTokenBuckets(
            ANSWERS_OF_PEER_RATE, ANSWERS_OF_PEER_BURST, _MOST_PEERS
        )
        self.due_at: float | None = None
        """None: there is no link to call out on."""

    def start(self, now: float) -> None:
        """A network was joined, or the link has changed: call at once and twice more."""
        self._step = 0
        self.due_at = now + FIRST_CALLS_S[0]

    def stop(self) -> None:
        self.due_at = None

    def is_due(self, now: float) -> bool:
        return self.due_at is not None and self.due_at <= now

    def call(self, now: float, *, is_complete: bool) -> None:
        """A call leaves now: set the next turn.  `is_complete` while every known member is
        connected."""
        self._called_at = now
        self._step = min(self._step + 1, len(FIRST_CALLS_S))
        if self._step < len(FIRST_CALLS_S):
            wait_s = FIRST_CALLS_S[self._step]
        else:
            wait_s = QUIET_EVERY_S if is_complete else CALL_EVERY_S
            if self._flooded_at is not None and now - self._flooded_at <= FLOOD_TOLD_S:
                wait_s = CALL_AGAIN_S
        self.due_at = now + jittered(wait_s, CALL_JITTER, self._random)

    def expects_answers(self, now: float) -> bool:
        return self._called_at is not None and now - self._called_at <= ANSWERS_WITHIN_S

    def flooded(self, now: float) -> None:
        """Calls come that we can't look at or can't answer: call soon, and often."""
        if self._flooded_at is None or now - self._flooded_at >= CALL_AGAIN_S:
            self._flooded_at = now
            if self.due_at is not None:
                self.due_at = min(
                    self.due_at, now + jittered(CALL_AGAIN_S, CALL_JITTER, self._random)
                )

    def may_answer(self, peer: PeerId, source: Address, now: float) -> bool:
        """Whether to answer a call of this member's from this address; notes the answer if so."""
        while self._answered:
            host, at = next(iter(self._answered.items()))
            if now - at < ANSWER_AGAIN_S:
                break
            del self._answered[host]
        if source.host in self._answered or not self._answers_of.take(peer, now):
            return False
        if not self._answers.take(now):
            self.flooded(now)
            return False
        self._answered[source.host] = now
        return True
