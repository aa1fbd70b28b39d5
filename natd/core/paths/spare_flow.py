"""A second flow to a peer beside the path in use: another socket of ours, the same address.

    opening ──an answer, or the end of a ladder that takes it for granted──► open
       └──the ladder has ended──► failed

A filtering NAT at the peer lets in only packets from where it has sent to, and the peer does not
know the spare socket.  So we ask the peer, on the path in use, to open its NAT to a port of ours:
the socket's local port, which most NATs keep, and then the port that a server has seen.

Rules:
- The peer makes no path of a spare flow: its checks ask for an answer and nothing else.
- All checks go to the proved address of the path in use, and they are few.
- A server is asked once.  Behind a NAT that gives each destination a different port its answer is
  useless, and we would go on asking for ever.
- A lesson asks the server first, because an idle path has few packets to spare, and does not wait
  to see the flow open: what the peer answers after a silence shows that, too.
"""

from natd.core.base.types import Address, Datagram, SocketId
from natd.core.checks.checks import NO_DELAY, OPEN_TO, CheckAnswer, Checks, two_bytes

LADDER = ("check", "ask", "check", "sample", "check", "ask", "check", "check")
"""What to send at each step.  If the peer's NAT filters nothing, the first check suffices.  Without
an answer to two checks our external port is unknown: a server is asked."""

TRUSTING_LADDER = ("sample", "ask")
"""Open at its end, without a proof: a check that asks for a delayed answer is the next packet."""

SAMPLE_S = 0.4
"""How long a ladder that begins with a sample waits for it: no server may be there."""

STEP_PAUSE_S = 0.06
"""Added to half or a whole round trip between steps: the peer has done its part by then."""


class SpareFlow:
    """See the top of this file."""

    def __init__(
        self,
        socket: SocketId,
        port: int,
        live: tuple[Address, SocketId],
        rtt_s: float,
        now: float,
        ladder: tuple[str, ...] = LADDER,
    ) -> None:
        """`port`: what `socket` is bound to; `live` is the path in use."""
        self.socket = socket
        self.address = live[0]
        self.begun_at = now
        self.is_open = False
        self.rtt_s = rtt_s
        self._live = live
        self._port = port
        self._ladder = ladder
        self._step = 0
        self._at: float | None = now  # None: nothing more is due
        self._wants_sample = False
        self._was_sampled = False

    @property
    def failed(self) -> bool:
        return not self.is_open and self._at is None

    def due(self, checks: Checks, now: float) -> list[Datagram]:
        """What to send now."""
        if self._at is None or self._at > now:
            return []
        if self._step == len(self._ladder):
            self._at = None
            self.is_open = self._ladder is TRUSTING_LADDER
            return []
        step = self._ladder[self._step]
        self._step += 1
        if step == "sample":
            self._wants_sample = True
            if self._step > 1:
                return self.due(checks, now)
            self._at = now + SAMPLE_S
            return []
        self._at = now + STEP_PAUSE_S + (self.rtt_s if step == "check" else self.rtt_s / 2)
        if self._step == len(self._ladder) - 1:
            self._at += self.rtt_s
        if step == "ask":
            asks = (OPEN_TO, two_bytes(self._port))
            return [checks.request(*self._live, now, asks=asks)]
        return [checks.request(self.address, self.socket, now, asks=NO_DELAY)]

    def answered(self, answer: CheckAnswer) -> bool:
        """Take an answer to a check from the spare socket, which is then open; False: it is
        none."""
        if (answer.address, answer.socket) != (self.address, self.socket):
            return False
        self.is_open, self._at, self.rtt_s = True, None, answer.rtt_s
        return True

    def take_sample_wish(self) -> bool:
        """Whether to ask a server where it sees the socket; true once."""
        wants, self._wants_sample = self._wants_sample, False
        return wants and not self.is_open and not self._was_sampled

    def sampled(self, port: int, now: float) -> None:
        """A server sees the spare socket at this port."""
        if self.is_open or self._at is None or self._was_sampled:
            return
        self._was_sampled = True
        if port != self._port or self._step == 1:
            self._port = port
            self._step, self._at = self._ladder.index("ask"), now

    def get_timer(self) -> float | None:
        return self._at
