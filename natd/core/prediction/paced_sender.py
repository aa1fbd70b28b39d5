"""Carrying out one wave of a plan: many packets at a bounded rate, from few sockets or from many.

Rules:
- Never more than `limits.MOST_WAVE_PACKETS` in all, repetitions included.
- A tick sends its share of a second's packets, so a late timer causes no burst.
- It sends no more than `Pace` has room for, which keeps any second within its limit: other packets
  wait for the next tick.
- What fresh sockets send for a plan that `opens_at_once` leaves faster, for a port that is probed
  before it is open is not probed again.
- Answers are not seen here: each has the transaction of its check, and the owner stops the wave.
"""

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from natd.core.base.types import Address, SocketId
from natd.core.checks.limits import MOST_WAVE_PACKETS, RATE
from natd.core.prediction.plan import Plan, PlannedPacket, Technique

TICK_S = 0.02
SHORTEST_TICK_S = TICK_S / 2
"""After a tick that came late, so that timers which are always late by a little, as real ones are,
don't add up to a lower rate."""

MISSED_AFTER_S = 0.3
"""From the begin of a plan: half of a prediction is sent, and most round trips are over."""

AGAIN_S = 3.0
"""How old a round must be to be repeated without its pause: more than two introductions of the same
moment can be apart."""

SLOW_S = 0.2
SLOW_RATE = 200
"""Packets a second at first, where they arrive unasked: a NAT that takes them for an attack has
seen few when the first answer ends the wave."""

FAST_RATE = 500
"""Packets a second after that: what the slow begin has left of the first second's."""

OPENING_RATE = 1_600
"""Packets a second: 256 openers leave in a sixth of a second.  Those that a line of one megabit a
second can't take yet are less than a hundred then, and its router holds them."""


HASTY_RATE = 900
"""Packets a second to ports that are tried at once: between two that look for each other, what
leaves early in a second meets more of the other's.  `Pace` holds the second's sum."""


class PacketDue(NamedTuple):
    """One packet to send, as a check."""

    address: Address
    socket: SocketId
    is_opener: bool


class PacedSender:
    """One wave under way."""

    def __init__(
        self,
        plan: Plan,
        target: Address,
        main: SocketId,
        helpers: Sequence[SocketId],
        now: float,
        rounds: int | None = None,
    ) -> None:
        """`target` is where the peer is seen; `helpers` are `plan.helpers` fresh sockets;
        `rounds` replaces the plan's."""
        self.sent = 0
        self._plan = plan
        self._target = target
        self._places = (main, *helpers)
        self._rounds = plan.rounds if rounds is None else rounds
        self._began = now + plan.begins_after_s
        self._waiting: deque[PlannedPacket] = deque(plan.packets)
        self._round, self._began_round = 1, self._began
        self._has_followed = False
        self._due_at: float | None = self._began  # None: all is sent
        self._due: list[PacketDue] = []

    def handle_timer(self, now: float, room: int) -> None:
        """`room`: how many packets may leave now at most."""
        if self._due_at is None or self._due_at > now:
            return
        if not self._waiting:
            self._waiting.extend(self._plan.packets)
            self._round += 1
            self._began_round = now
        opens = self._opens_at_once
        for _ in range(min(round(self._rate(now) * TICK_S), room)):
            if not self._waiting or self._opens_at_once is not opens:
                break
            self._take_out(self._waiting.popleft())
        self._go_on(now)

    def follow(self, target: Address, now: float) -> None:
        """The peer is seen at this port."""
        if self._plan.follows and target != self._target and not self._has_followed:
            self._target, self._has_followed = target, True
            self._waiting = deque(self._plan.packets)
            self._round, self._began_round, self._due_at = 1, now, now

    def cut(self, now: float) -> None:
        """Leave out the rest of this round."""
        self._waiting.clear()
        self._go_on(now)

    def hurry(self, now: float) -> None:
        """The last round may have been in vain: repeat it now."""
        if self.is_resting and self._began_round <= now - AGAIN_S and self._has_room:
            self._rounds += 1
            self._due_at = now

    def to_send(self) -> list[PacketDue]:
        """Drain."""
        due, self._due = self._due, []
        return due

    def get_timer(self) -> float | None:
        return self._due_at

    def has_missed(self, now: float) -> bool:
        """Whether a plan that is sure should have met by now; of a prediction the likelier half
        leaves first."""
        wanted, is_likely_first = (
            len(self._plan.packets),
            self._plan.technique is Technique.PREDICTION,
        )
        is_sent = self.sent == wanted or (is_likely_first and 2 * self.sent > wanted)
        return self._plan.is_sure and is_sent and now - self._began >= MISSED_AFTER_S

    @property
    def is_over(self) -> bool:
        return self._due_at is None

    @property
    def is_resting(self) -> bool:
        """Whether a round is sent and the next one is not due yet."""
        return self._due_at is not None and not self._waiting

    @property
    def _opens_at_once(self) -> bool:
        """Whether the next packet opens a fresh socket and should leave at once."""
        return self._plan.opens_at_once and bool(self._waiting) and self._waiting[0].helper > 0

    def _rate(self, now: float) -> int:
        """Packets a second."""
        if self._opens_at_once:
            return OPENING_RATE
        if self._plan.is_careful:
            return SLOW_RATE if now - self._began < SLOW_S else FAST_RATE
        return HASTY_RATE if self._plan.opens_at_once else RATE

    def _go_on(self, now: float) -> None:
        if self._waiting:
            due_at = now if self._due_at is None else self._due_at
            self._due_at = max(due_at + TICK_S, now + SHORTEST_TICK_S)
        elif self._round < self._rounds and self._has_room:
            self._due_at = now + max(TICK_S, self._plan.pause_s)
        else:
            self._due_at = None

    @property
    def _has_room(self) -> bool:
        """For one more round."""
        return self.sent + len(self._plan.packets) <= MOST_WAVE_PACKETS

    def _take_out(self, packet: PlannedPacket) -> None:
        port = self._target.port if packet.port is None else packet.port
        address = Address(self._target.host, port)
        self._due.append(PacketDue(address, self._places[packet.helper], packet.is_opener))
        self.sent += 1
