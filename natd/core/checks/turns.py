"""One expensive attempt at a time for the whole daemon, and the sockets that it may open.

An attempt that opens hundreds of flows would fill the table of a home router if several ran side
by side.  So they take turns, and each asks before every packet whether it still has the turn:

- An attempt that only waits, for answers or for its next wave, gives up its turn.
- A turn lasts `SLICE_S`, and longer while no attempt with a higher rank waits.  Attempts whose peer
  has shown a sign of life (`Claim`) rank first, then those that had fewer slices, then the longest
  waiting.  So a newcomer waits at most one slice, however many peers have vanished.
- An attempt that stops asking loses its turn and its place in the queue.
- If there are too many open sockets for one more attempt, the lowest-ranked attempt ends.

Ports that an attempt takes from our block count for all attempts until our NAT has surely
forgotten them.

A server names the host to guess at, and may name anybody's.  So a host that has never answered
gets what `strangers` allows, and all hosts together get what one attempt a minute takes.  A host
that has answered may be a peer whose router restarts: it gets what `answered_hosts` allows.  Half
of the total is reserved for peers that have shown a sign of life.
"""

from dataclasses import dataclass, field

from natd.core.base.local_ports import GUESSES_ALIKE
from natd.core.base.timers import TokenBucket
from natd.core.base.types import SocketId
from natd.core.checks.answered_hosts import AnsweredHosts
from natd.core.checks.limits import MOST_WAVE_PACKETS
from natd.core.checks.pace import Pace
from natd.core.checks.strangers import StrangerHosts

SLICE_S = 1.0
"""Four of five birthday attempts have succeeded by then."""

TURN_KEPT_S = 1.0
"""The holder of the turn sends every 20 ms, or waits 0.6 s for a server's answers."""

ASK_AGAIN_S = 0.1
ASK_LONGEST_S = 1.0
MANY = 8
"""For each so many that wait, an attempt asks again later by `ASK_AGAIN_S`."""

HELPER_SOCKETS = 256
MOST_SOCKETS = 768
"""Of all attempts together, if the system lets us: a process may have 1,024 files open."""

FIRST_HELPER = 0x100000
"""Above every socket id that asks for a port, and above those of single fresh sockets."""

MOST_ALIKE = 16
"""At most so many at once: a port is used again only after as many attempts, when NATs have
forgotten it."""

HOST_RATE, HOST_BURST = 1.0, 2.0 * MOST_WAVE_PACKETS
"""Packets a second for signs of life to a host that has answered, and at once: two waves."""

ALL_RATE, ALL_BURST = 34.0, 8_192.0
"""The same to all hosts together: the entries that a NAT keeps for half a minute fill half of
a home router's table of 16,384."""

RESERVED = ALL_BURST / 2
"""Reserved for peers that have shown a sign of life."""

MOST_HOSTS = 1_024

REMEMBERED_S = 125.0
"""How long a port of our block counts as taken after our last packet from it: a NAT should keep a
flow for at least two minutes (RFC 4787, section 4.3)."""


TURNS_TO_HOSTS_RATE, TURNS_TO_HOSTS_BURST = 1 / 30.0, 2.0
"""How often an attempt turns to another host, and at once: each time opens up to 512 flows, which
our NAT keeps for half a minute or longer.  So whatever servers say these are below 2,048."""


@dataclass(slots=True, eq=False)
class Claim:
    """One peer's rank in the queue and its credit for packets.

    A sign of life shows that the peer has not vanished: a server sees it at another address than
    before, or one of its checks has come.  Each sign pays for one wave, and so does being new.
    """

    signed: int = MOST_WAVE_PACKETS
    """Packets that the last sign of life still pays for."""
    slices: int = 0
    """Turns since that sign."""
    asked_at: float = 0.0
    """When it began to wait."""
    asks_until: float = 0.0
    """When it loses its place unless it asks again."""

    is_open: bool = False
    """Whether its network is an open one."""
    must_end: bool = False
    """Whether its sockets are needed for another attempt."""

    moves: TokenBucket = field(
        default_factory=lambda: TokenBucket(TURNS_TO_HOSTS_RATE, TURNS_TO_HOSTS_BURST)
    )

    def stays_at(self, host: str, said: str, now: float) -> bool:
        """Whether what is under way at `host` goes on although the peer is said to be elsewhere:
        it has moved too often."""
        return said != host and not self.moves.take(now)

    def sign(self) -> None:
        self.signed, self.slices = MOST_WAVE_PACKETS, 0

    def found(self) -> None:
        """A path was found.  If it falls silent, that alone is no sign of life."""
        self.signed = self.slices = 0

    @property
    def rank(self) -> tuple[bool, int]:
        """A lower value comes first."""
        return self.signed <= 0, self.slices


class Turns:
    """Shared by all attempts of a daemon."""

    def __init__(self) -> None:
        self.helper_sockets = HELPER_SOCKETS
        """How many fresh sockets an attempt may open; twice as many to fill a block."""
        self.most_sockets = MOST_SOCKETS
        """How many all attempts together may have open, waiting ones included."""
        self.fills_whole_blocks = False
        """Whether an attempt may use all ports of our block, which starves its other users."""
        self.spares_blocks = False
        """Whether an attempt may use no ports of our block, not even half."""
        self.pace = Pace()
        """Paces guesses and checks together."""
        self.strangers = StrangerHosts()
        """What may go to hosts that have never answered."""
        self._blocks: dict[object, tuple[int, float]] = {}  # ports taken, and until when
        self._holder: Claim | None = None  # None: nobody has the turn
        self._since = self._until = 0.0
        self._waiting: list[Claim] = []
        self._last_socket = FIRST_HELPER
        self._alike = 0
        self._sockets: dict[Claim, int] = {}
        self._hosts: dict[str, TokenBucket] = {}
        self._all = TokenBucket(ALL_RATE, ALL_BURST)
        self._answered_hosts = AnsweredHosts()
        self._answered: dict[str, float] = {}  # hosts that answered, and until when that counts

    def allow_sockets(self, most: int | None) -> None:
        """So many, and no more than the usual number, may be open at a time; None: that many."""
        self.most_sockets = MOST_SOCKETS if most is None else min(MOST_SOCKETS, most)

    def take(self, claim: Claim, now: float) -> bool:
        """Whether it is this claim's turn now; if not, it is queued."""
        self._waiting = [other for other in self._waiting if other.asks_until > now]
        has_it = self._holder is claim and now < self._until
        if not (has_it and now < self._since + SLICE_S) and not self._is_next(claim, now):
            if has_it:
                self._holder = None
            self._wait(claim, now)
            return False
        if not has_it or now >= self._since + SLICE_S:
            self._holder, self._since = claim, now
            claim.slices += 1
        self._until = now + TURN_KEPT_S
        self._stop_waiting(claim)
        return True

    def is_free(self, now: float) -> bool:
        """Whether nobody has the turn or waits for it."""
        is_wanted = any(claim.asks_until > now for claim in self._waiting)
        return not is_wanted and (self._holder is None or now >= self._until)

    def ask_in_s(self) -> float:
        """When an attempt that was refused should ask again."""
        return min(ASK_LONGEST_S, ASK_AGAIN_S * (1 + len(self._waiting) // MANY))

    def give_back(self, claim: Claim) -> None:
        """Give up the turn, or the place in the queue."""
        self._stop_waiting(claim)
        if self._holder is claim:
            self._holder = None

    def end(self, claim: Claim) -> None:
        """The attempt has ended, and its sockets are closed."""
        self.give_back(claim)
        self._sockets.pop(claim, None)
        claim.must_end = False

    def _is_next(self, claim: Claim, now: float) -> bool:
        """Whether no waiting claim ranks higher."""
        holder = self._holder if self._holder is not None and now < self._until else claim
        is_slice_over = now >= self._since + SLICE_S
        if holder is not claim and not (is_slice_over and claim.rank < holder.rank):
            return False
        others = [other for other in self._waiting if other is not claim]
        if claim not in self._waiting:
            return all(claim.rank < other.rank for other in others)
        return all(_place(claim) <= _place(other) for other in others)

    def _wait(self, claim: Claim, now: float) -> None:
        if claim not in self._waiting:
            claim.asked_at = now
            self._waiting.append(claim)
        claim.asks_until = now + 2.0 * self.ask_in_s()

    def _stop_waiting(self, claim: Claim) -> None:
        self._waiting = [other for other in self._waiting if other is not claim]

    @property
    def block_sockets(self) -> int:
        """How many fresh sockets may be opened in our block: each takes one port."""
        return self.helper_sockets * (2 if self.fills_whole_blocks else 1)

    def take_ports(self, who: object, count: int, now: float) -> None:
        """This attempt has sent from `count` ports of our block, the last of them now."""
        self._blocks[who] = (count, now + REMEMBERED_S)

    def ports_taken(self, now: float) -> int:
        """How many ports of our block attempts may still hold."""
        self._blocks = {who: taken for who, taken in self._blocks.items() if taken[1] > now}
        return sum(count for count, _ in self._blocks.values())

    def may_send(self, host: str, now: float, *, is_signed: bool, is_open: bool = False) -> bool:
        """Whether one more packet may go to this host; takes it if so.  `is_signed`: the peer that
        may be there has shown a sign of life; `is_open`: in an open network."""
        has_spare = self._all.left(now) > RESERVED
        if not is_signed and not has_spare:
            return False
        if not self.has_answered(host, now):
            return self._all.left(now) >= 1.0 and (
                self.strangers.take(host, now, is_open=is_open) and self._all.take(now)
            )
        bucket = self._bucket(host, now) if is_signed else None
        is_paid = bucket is not None and bucket.take(now)
        if not is_paid and not (has_spare and self._answered_hosts.take(host, now)):
            return False
        return self._all.take(now)

    def has_answered(self, host: str, now: float) -> bool:
        """Whether any peer has authenticated itself there within `ANSWERED_FOR_S`."""
        return now < self._answered.get(host, now)

    def left_for(self, host: str, now: float, *, is_open: bool) -> int | None:
        """How many guesses may still go to this host; None: it is no stranger."""
        if self.has_answered(host, now):
            return None
        return self.strangers.left(host, now, is_open=is_open)

    def answered(self, host: str, until: float, now: float) -> None:
        """A peer has authenticated itself at this host, which counts until that instant."""
        if host not in self._answered and len(self._answered) >= MOST_HOSTS:
            self._answered = {h: end for h, end in self._answered.items() if end > now}
        if host not in self._answered and len(self._answered) >= MOST_HOSTS:
            del self._answered[min(self._answered, key=self._answered.__getitem__)]
        self._answered[host] = max(until, self._answered.get(host, until))
        self.strangers.answered(host)

    def found(self, claim: Claim, host: str) -> None:
        """A path to this host was found: a peer is there and wants our packets."""
        claim.found()
        self._hosts.pop(host, None)
        self._answered_hosts.answered(host)

    def _bucket(self, host: str, now: float) -> TokenBucket | None:
        """None when too many hosts are being counted already."""
        if host not in self._hosts and len(self._hosts) >= MOST_HOSTS:
            self._hosts = {h: left for h, left in self._hosts.items() if not left.is_full(now)}
        if host not in self._hosts and len(self._hosts) < MOST_HOSTS:
            self._hosts[host] = TokenBucket(HOST_RATE, HOST_BURST)
        return self._hosts.get(host)

    def fresh_sockets(
        self, claim: Claim, count: int, like: int | None = None
    ) -> tuple[SocketId, ...]:
        """Unused ids of sockets on any port, which stay open until the attempt ends; a few of them
        on ports of the parity of `like` that have not been used for a while."""
        self._sockets[claim] = count
        others = [other for other in self._sockets if other is not claim]
        others.sort(key=lambda other: other.rank)
        while others and sum(self._sockets.values()) > self.most_sockets:
            others[-1].must_end = True
            del self._sockets[others.pop()]
        if like is not None and count <= MOST_ALIKE:
            turns = range(self._alike, self._alike + count)
            self._alike += count
            alike = GUESSES_ALIKE[like % 2 :: 2]
            return tuple(SocketId(alike[n % len(alike)]) for n in turns)
        first = self._last_socket + 1
        self._last_socket += count
        return tuple(SocketId(number) for number in range(first, first + count))


def _place(claim: Claim) -> tuple[tuple[bool, int], float]:
    """The place in the queue."""
    return claim.rank, claim.asked_at
