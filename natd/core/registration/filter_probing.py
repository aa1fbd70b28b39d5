"""Finding out what our NAT lets in: rounds of trials at the servers of a network.

    round ─► fresh socket ─► trial ─► trial ─► ...  sure, or enough ─► the model is told

A server with a second address answers a trial from there, too.  If it has none, another server is
asked from the main socket to answer to the fresh socket's external port: the fresh socket has sent
nothing to that host either.

Rules:
- The main socket gets only what it has asked for.  An unexpected packet would spoil its mappings
  on a router whose INPUT accepts (early-inbound poisoning).
- One round at a time in a network.  None begins before a server has registered us, nor in the
  first seconds after that, which are for meeting peers.
- A server counts as silent only if it says that it has answered from there.
- The external port of the fresh socket is no sample of the port allocation.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from natd.core.base.types import SURE, Address, SocketId
from natd.core.codec.rendezvous import NOWHERE_ELSE, Elsewhere
from natd.core.nat.filtering import TRIALS, Known, Trial, are_enough, confirms, judge
from natd.core.nat.model import NatModel
from natd.core.registration.filter_probes import Probe, Probed
from natd.core.registration.registration import Registration

SPACING_S = (0.4, 0.6, 0.8)
"""Between trials, the last for all that follow: one burst of loss does not take all answers, and
jitter does not make one look lost."""

SPACING_ROUND_TRIPS = 1.5
"""At least between trials, in round trips to all servers that are asked."""


@dataclass(slots=True)
class _Trial:
    """What is known of one so far; of the flags only PORT and HOST are used."""

    external: Address | None = None
    """Where the fresh socket was seen; None: no answer yet."""
    sent: Elsewhere = NOWHERE_ELSE
    came: Elsewhere = NOWHERE_ELSE

    @property
    def outcome(self) -> Trial:
        return Trial(self._about(Elsewhere.PORT), self._about(Elsewhere.HOST))

    def _about(self, way: Elsewhere) -> bool | None:
        return True if way in self.came else False if way in self.sent else None


@dataclass(slots=True)
class _Round:
    """One fresh socket, and the trials made from it."""

    socket: SocketId
    server: Registration
    helper: Registration | None
    """A server at another host that is asked to answer, too; None: there is none, or no need."""
    known: Known
    """What was known before."""
    next_at: float
    trials: dict[int, _Trial] = field(default_factory=dict)

    @property
    def outcomes(self) -> list[Trial]:
        """Of the trials that tell anything."""
        outcomes = (trial.outcome for trial in self.trials.values())
        return [outcome for outcome in outcomes if outcome != Trial()]

    @property
    def host(self) -> str:
        """The external address of the fresh socket; empty: not seen yet."""
        seen = [t.external.host for t in self.trials.values() if t.external is not None]
        return seen[-1] if seen else ""

    @property
    def asks_hosts(self) -> bool:
        return self.helper is not None or self.server.sampling.other is not None

    @property
    def is_confirmed(self) -> bool:
        return are_enough(self.known, self.outcomes, asks_hosts=self.asks_hosts)

    @property
    def is_over(self) -> bool:
        """Whether a further trial would tell nothing new, or is one too many."""
        if len(self.trials) >= TRIALS or self.is_confirmed:
            return True
        if not self.asks_hosts and any(outcome.from_port for outcome in self.outcomes):
            return True
        return judge(self.outcomes)[1] >= SURE


class Probing:
    """See the top of this file."""

    def __init__(self, nat: NatModel) -> None:
        self._nat = nat
        self._round: _Round | None = None  # None: none is under way
        self.socket: SocketId | None = None
        """The fresh socket, to be kept open while a round is under way; None: none is."""
        self._count = 0

    # --- inputs: each returns the registrations that have something to send because of it

    def handle_timer(
        self, registrations: Iterable[Registration], now: float
    ) -> tuple[Registration, ...]:
        if self._round is None:
            self._go_on(self._begin(registrations, now))
        else:
            self._nat.filters.put_off(now)
        if self._round is None or now < self._round.next_at:
            return ()
        if self._round.is_over:
            self._conclude(self._round)
            self._go_on(None)
            return ()
        return self._ask(self._round, now)

    def heard(self, registration: Registration, told: Probed) -> tuple[Registration, ...]:
        """What a server has answered."""
        current, number = self._round, told.probe.number
        trial = None if current is None else current.trials.get(number)
        if current is None or trial is None:
            return ()
        if registration is not current.server:
            self._heard_helper(current, trial, told)
        elif told.socket == current.socket:
            return self._heard_server(current, trial, told)
        return ()

    def clear(self) -> None:
        """Another network: answers to what was asked on the last one tell nothing."""
        self._go_on(None)

    # --- outputs

    @property
    def next_at(self) -> float | None:
        """When a round that is under way goes on; None: none is."""
        return None if self._round is None else self._round.next_at

    # --- private

    def _go_on(self, current: _Round | None) -> None:
        self._round = current
        self.socket = None if current is None else current.socket

    def _begin(self, registrations: Iterable[Registration], now: float) -> _Round | None:
        """At the server that tells most about the NAT that the model reports."""
        asked = [r for r in registrations if r.state == "registered" and r.observed is not None]
        asked.sort(key=self._rank)
        socket = self._nat.take_filter_round(now) if asked else None
        if socket is None or (observed := asked[0].observed) is None:
            return None
        server, *others = asked
        far = [r for r in others if r.server.host != server.server.host]
        far = [r for r in far if r.server.is_ipv6 == server.server.is_ipv6]
        helper = far[0] if far and server.sampling.other is None else None
        return _Round(socket, server, helper, self._nat.filters.known_at(observed.host), now)

    def _rank(self, registration: Registration) -> tuple[bool, bool, bool]:
        """The lower, the more it tells about the NAT that the model reports."""
        observed = registration.observed
        is_far = observed is not None and not self._nat.is_ours(observed.host)
        return registration.server.is_ipv6, not is_far, registration.sampling.other is None

    def _ask(self, current: _Round, now: float) -> tuple[Registration, ...]:
        self._count += 1
        current.trials[self._count] = _Trial()
        elsewhere = Elsewhere.PORT
        if current.server.sampling.other is not None:
            elsewhere |= Elsewhere.HOST
        current.server.probe(Probe(self._count, elsewhere, current.socket))
        rtts_s = [r.rtt_s or 0.0 for r in (current.server, current.helper) if r is not None]
        spacing_s = SPACING_S[min(len(current.trials), len(SPACING_S)) - 1]
        current.next_at = now + max(spacing_s, SPACING_ROUND_TRIPS * sum(rtts_s))
        return (current.server,)

    def _heard_server(
        self, current: _Round, trial: _Trial, told: Probed
    ) -> tuple[Registration, ...]:
        """Each answer says where the server saw us, and which other answers it has sent."""
        is_first, trial.external = trial.external is None, told.observed
        trial.sent |= told.elsewhere & (Elsewhere.PORT | Elsewhere.HOST)
        if told.source.host != told.asked.host:
            trial.came |= Elsewhere.HOST
        elif told.source != told.asked:
            trial.came |= Elsewhere.PORT
        if current.helper is None or not is_first:
            return ()
        wanted = Elsewhere.ASKER_PORT
        current.helper.probe(Probe(told.probe.number, wanted, asker_port=told.observed.port))
        return (current.helper,)

    def _heard_helper(self, current: _Round, trial: _Trial, told: Probed) -> None:
        """Its silence counts only if it sees us at the address that it was to answer to."""
        sees_us_there = trial.external is not None and told.observed.host == trial.external.host
        if told.socket == current.socket:
            trial.came |= Elsewhere.HOST
        elif sees_us_there and Elsewhere.ASKER_PORT in told.elsewhere:
            trial.sent |= Elsewhere.HOST

    def _conclude(self, current: _Round) -> None:
        """A result that agrees with less confidence does not replace what was known."""
        known, (filtering, confidence) = current.known, judge(current.outcomes)
        is_vaguer = filtering is known.filtering and confidence <= known.confidence
        if not is_vaguer and not all(confirms(known, outcome) for outcome in current.outcomes):
            self._nat.conclude_filtering(Known(filtering, confidence, current.host))
