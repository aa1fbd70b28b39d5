"""Staying registered: one network at one address of one coordination server.

    starting --REGISTERED--> registered --silence, ERROR--> lost --REGISTERED--> registered

Rules that a change must not break:

- The card to the server's port and a SAMPLE to each port after it leave together: one round trip
  shows our address and our NAT's mapping, and introduces us to the first peers.
- Only an answer from the address that we asked, with the transaction of our request, is read; an
  INTRODUCE must come from the server's host and repeat the transaction of one of our REGISTERs.
- Every request is repeated on a ladder until it is answered; every transmission has its own
  transaction, so every answer gives a true round-trip time.
- The server says how many members our `have` did not name.  While fewer were introduced, we ask
  again.  So a lost introduction and a network too large for one datagram's budget both resolve.
- When a server restarts, all its peers come back at once, so each waits a random time.
- A lost server is tried again for ever, every 15 s at least.
"""

from collections import Counter, deque
from collections.abc import Iterable
from random import Random

from natd.core.base import events
from natd.core.base.timers import WallClock, earliest
from natd.core.base.types import (
    MAIN_SOCKET,
    Address,
    Datagram,
    DecodeError,
    NetworkId,
    PeerId,
    SocketId,
)
from natd.core.base.verdict import Verdict
from natd.core.base.wishes import IntroductionWanted
from natd.core.checks.meetings import Meetings
from natd.core.codec import rendezvous, rendezvous_codec
from natd.core.codec.rendezvous import ChallengeReason, ErrorCode
from natd.core.keys.card import Identity
from natd.core.keys.membership_key import MembershipKey
from natd.core.nat.lifetime import FlowWatch, Lifetimes
from natd.core.registration import events as news
from natd.core.registration import reasons
from natd.core.registration.filter_probes import Probe, Probes
from natd.core.registration.lease import Lease, LeaseAction, RegisterAction, RegisterRetries
from natd.core.registration.member_sync import ConnectRequests, MemberSync, Tidings
from natd.core.registration.places import Places
from natd.core.registration.sampling import Sampling
from natd.core.registration.transactions import Transaction, Transactions


class Registration:
    """`prefix` (4 bytes) begins every transaction: the owner routes answers by it."""

    def __init__(
        self,
        *,
        network: NetworkId,
        membership: MembershipKey,
        identity: Identity,
        server: Address,
        prefix: bytes,
        lifetimes: Lifetimes,
        random: Random,
        clock: WallClock,
        others: tuple[Address, ...] = (),
        meetings: Meetings | None = None,
    ) -> None:
        """`lifetimes` learns from the flow to the server, which may have `others` as addresses."""
        self.server = server
        """The address that is asked."""
        self.places = Places((server, *others))
        self.state = "starting"
        """`starting`, `registered`, `lost` or `stopped`."""
        self.refusal: Verdict | None = None
        """Why a server that answers does not let us register; None: it does, or is silent."""
        self.observed: Address | None = None
        """Where the server last saw us; None before its first answer."""
        self.rtt_s: float | None = None
        self.last_answer_at: float | None = None
        self.dropped: Counter[str] = Counter()
        self._network, self._peer = network, identity.peer
        self.prefix, self._random = prefix, random
        self._card, self._sequence, self._token = b"", 0, b""
        self._lease = Lease(random)
        self._announces = True
        """Whether to report the next REGISTERED even if our address is the same."""
        self._retries = RegisterRetries(random)
        self._is_stale = False  # whether the last REGISTER was refused for a newer card of ours
        self._members = MemberSync(meetings or Meetings())
        self.sampling = Sampling(server)
        """Samples from the server's other ports, and how old they are."""
        self.transactions = Transactions(membership, identity, server, prefix, random, clock)
        self._connects = ConnectRequests(self.transactions)
        self._flow, self._probes = FlowWatch(lifetimes), Probes(prefix, random)
        self._outgoing: list[Datagram] = []
        self._events: deque[news.RegistrationEvent] = deque()

    # --- commands ---

    def start(self, sealed_card: bytes, sequence: int, now: float) -> None:
        self._card, self._sequence = sealed_card, sequence
        self._begin_afresh(now)

    def renew_card(self, sealed_card: bytes, sequence: int, now: float) -> None:
        """Deposit a newer card, at once if no answer has come yet; it causes no introductions."""
        self._card, self._sequence = sealed_card, sequence
        if self.state == "starting":
            self._send_register(now)
        elif self.state == "registered" or (self.state == "lost" and self.refusal):
            self._begin(now)

    def use_addresses(self, addresses: tuple[Address, ...], now: float) -> None:
        """The server's name has these addresses; register anew if it has moved."""
        if not self.places.replace(addresses):
            return
        self._say_bye()
        self._ask_at(self.places.asked)
        if self.places.may_begin(now):
            self.state = "starting"
            self._begin_afresh(now)
        elif self.state != "lost":
            reason = reasons.silence_reason(self.server, has_answered=False, tried=addresses)
            self._lose(reason, now)

    def network_changed(self, now: float) -> None:
        """Our address has probably changed: register again at once, with new introductions."""
        if self.state != "stopped":
            self._flow.forget()
            self.transactions.network_changed()
            self._begin_afresh(now)

    def connect(self, peer: PeerId, wanted: IntroductionWanted, now: float) -> None:
        """Ask for another introduction; without a lease the next registration gives it."""
        if (lease_id := self._lease.lease_id) is not None:
            if not wanted.is_aside:
                self._members.want_again(peer)
            self._outgoing.append(self._connects.add(lease_id, peer, wanted, now))

    def sample(self, socket: SocketId, now: float) -> None:
        """One SAMPLE from `socket` to the next of the server's sampling ports."""
        if self.state != "stopped" and (place := self.sampling.next_place()) is not None:
            self._outgoing.append(self.transactions.sample(place, socket, now))

    def probe(self, probe: Probe) -> None:
        """One SAMPLE that another port or host answers, too.  A fresh socket asks a sampling port;
        the main socket, to which every port of the server may answer, the server's own."""
        place = self.server if probe.socket == MAIN_SOCKET else self.sampling.probed_place
        if self._lease.lease_id is not None and place is not None:
            self._outgoing.append(self._probes.ask(probe, place))

    def stop(self) -> None:
        """Send BYE and stop for good."""
        self._say_bye()
        self._retries.end()
        self.sampling.ladder.stop()
        self.transactions.clear()
        self._probes.clear()
        self.state = "stopped"

    # --- the contract of a core ---

    def receive_datagram(
        self, data: bytes, address: Address, now: float, socket: SocketId = MAIN_SOCKET
    ) -> None:
        other = self.sampling.other
        of_server = address.host in self.places.hosts
        if not of_server and (other is None or address.host != other.host):
            self.dropped["answer-not-from-the-server"] += 1
            return
        try:
            message = rendezvous_codec.decode(data)
        except rendezvous_codec.ForeignVersionError as foreign:
            if self.transactions.close(foreign.transaction):
                self.last_answer_at = now
                self._lose(reasons.other_version(self.server, foreign.version), now)
            else:
                self.dropped["server-of-another-version"] += 1
            return
        except DecodeError:
            self.dropped["rendezvous-malformed"] += 1
            return
        if isinstance(message, rendezvous.Introduce) and of_server:
            self._receive_introduce(message, now)
            return
        if isinstance(message, rendezvous.Sampled) and (
            told := self._probes.answered_by(message, address, socket)
        ):
            self._events.append(told)
            return
        if (question := self.transactions.answered_by(message, address, now)) is None:
            self.dropped["answer-to-no-question"] += 1
            return
        self.last_answer_at = now
        self._take_answer(message, question, now)

    def handle_timer(self, now: float) -> None:
        match self._retries.take_due(now):
            case RegisterAction.REGISTER:
                self._ask_at(self.places.next())
                self._send_register(now)
            case RegisterAction.GIVE_UP:
                self._lose_silent(now)
        self._renew_lease(now)
        if self._members.take_ask(now):
            self._send_ask(now)
        self._tell_listed(now)
        if self.sampling.ladder.is_due(now):
            self._send_samples(self.sampling.again(now), now)
        self._events += self._connects.unanswered(self.last_answer_at, self.rtt_s, now)
        self._outgoing += self._connects.take_due(self._lease.lease_id, now)

    def datagrams_to_send(self) -> list[Datagram]:
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def next_event(self) -> news.RegistrationEvent | None:
        return self._events.popleft() if self._events else None

    def get_timer(self) -> float | None:
        return earliest(
            self._lease.refresh_at,
            self._lease.ladder.due_at,
            self._retries.paused_until,
            self._retries.ladder.due_at,
            self._members.due_at,
            self.sampling.ladder.due_at,
            self._connects.due_at,
        )

    # --- registering ---

    def _begin_afresh(self, now: float) -> None:
        self._announces = True
        self._token = b""
        self._retries.forget_failures()
        self._members.reset()
        if self.state != "registered":
            self.state = "starting"
        self._send_samples(self.sampling.begin(now), now)
        self._begin(now)

    def _begin(self, now: float) -> None:
        self.places.begin()
        self._retries.use(self.places.ladder_s)
        self._send_register(now)
        self._retries.begin(now)

    def _ask_at(self, place: Address) -> None:
        if place != self.server:
            self.server = self.transactions.server = place
            self.sampling = self.sampling.moved_to(place)
            self._token = b""
            self._flow.forget()

    def _take_answer(self, message: rendezvous.Message, question: Transaction, now: float) -> None:
        if question.kind is rendezvous.Register:
            if not self.places.settle(question.asked):
                self.dropped["answer-of-another-address"] += 1
                return
            self._ask_at(question.asked)
            if self.sampling.began_at is None:
                self._send_samples(self.sampling.begin(now), now)
        match message:
            case rendezvous.Challenge():
                self._receive_challenge(message, question, now)
            case rendezvous.Registered():
                self._receive_registered(message, question, now)
            case rendezvous.Refreshed():
                self._receive_refreshed(message, question, now)
            case rendezvous.Sampled(_, observed) if question.asked != self.server:
                if question.socket == MAIN_SOCKET:
                    self.sampling.add(question.asked, observed)
                self._events.append(news.SocketSampled(question.socket, observed, question.asked))
            case rendezvous.Error(_, ErrorCode.ABSENT, _) if question.peer is not None:
                self._connects.remove(question.peer)
                self._events.append(news.PeerAbsent(self.server, question.peer))
            case rendezvous.Error(_, ErrorCode.STALE, _) if not self._is_stale:
                self._is_stale = True  # We know by its introduction; a newer card follows.
                self._retries.begin_soon(now, is_restart=True)
            case rendezvous.Error():
                self._lose(reasons.refused(self.server, message), now)

    def _receive_challenge(
        self, challenge: rendezvous.Challenge, question: Transaction, now: float
    ) -> None:
        if question.kind is rendezvous.Register:
            if question.token != self._token:
                return  # a challenged retransmission: the answer to it is on its way
            self.rtt_s = now - question.sent_at
            self._token = challenge.token
            self._retries.challenged(now)
        elif question.lease_id == self._lease.lease_id:
            self._end_lease()
            self._announces = True
            self._token = challenge.token
            moved = challenge.reason is ChallengeReason.MOVED
            self._retries.begin_soon(now, is_restart=not moved)

    def _receive_registered(
        self, answer: rendezvous.Registered, question: Transaction, now: float
    ) -> None:
        moved = self.observed is not None and self.observed != answer.observed
        if self.state == "lost":
            # Earlier samples of its ports, if any, are outdated.
            self._send_samples(self.sampling.begin(now), now)
        self.state, self.refusal, self._is_stale = "registered", None, False
        self.observed = answer.observed
        self.rtt_s = now - question.sent_at
        self._token = answer.token
        self._send_samples(self.sampling.learn(answer.sample_ports, answer.other, now), now)
        self._flow.heard(answer.observed, now)
        if question.sequence >= self._sequence:
            self._retries.end()
        self._lease.begin(answer.lease_id, now)
        if self._announces or moved:
            self._events.append(
                events.ServerAnswered(self._network, self.server, answer.observed, self.rtt_s)
            )
        if moved:
            self._events.append(news.OurAddressMoved())
        if self._announces:
            self._announces = False
            self._members.begin_listing(now)
        self._count_unseen(answer.missing, question, now)

    def _send_register(self, now: float) -> None:
        card, told = (self._card, self._sequence), (self.sampling.freshest(), self._members.have())
        self._outgoing += self.transactions.register(*card, self._token, *told, now)
        if self.refusal and self.refusal.is_narrow and not self.transactions.hears_small(now):
            self.refusal = None  # It may be down by now.

    # --- being introduced ---

    def _receive_introduce(self, message: rendezvous.Introduce, now: float) -> None:
        if not self.transactions.has_register(message):
            self.dropped["answer-to-no-question"] += 1
            return
        self.last_answer_at = now
        if message.peer == self._peer:
            told = (message.card, message.observed, self.observed is not None)
            self._events.append(news.OwnCardSeen(self.server, *told))
            return
        is_aside = self._connects.is_aside(message.peer)
        tidings = self._members.add(message, now, is_aside=is_aside)
        is_news = tidings is Tidings.NEWS
        if is_news or is_aside:
            self._connects.remove(message.peer)
        if tidings is not Tidings.NOTHING:
            self._events.append(news.introduced_by(self.server, message, is_news=is_news))
        self._tell_listed(now)

    def _count_unseen(self, missing: int, question: Transaction, now: float) -> None:
        if self._members.count(missing, question.have, now, asked=question.asks):
            self._send_ask(now)
        self._tell_listed(now)

    def _tell_listed(self, now: float) -> None:
        if self._members.take_listed(now):
            self._events.append(events.MembersListed(self._network))

    def _send_ask(self, now: float) -> None:
        if (lease_id := self._lease.lease_id) is not None:
            have, few = self._members.have(), self._members.wants_few
            self._outgoing.append(self.transactions.ask(lease_id, have, now, few=few))

    # --- staying registered ---

    def _renew_lease(self, now: float) -> None:
        renewal, lease_id = self._lease.take_due(now), self._lease.lease_id
        if renewal is LeaseAction.GIVE_UP:
            self._lose_silent(now)
        elif renewal is not None and lease_id is not None:
            self._outgoing += self.transactions.refresh(lease_id, now)
            if renewal is LeaseAction.REFRESH_AND_SAMPLE:
                self._send_samples(self.sampling.next_places(), now)

    def _receive_refreshed(
        self, answer: rendezvous.Refreshed, question: Transaction, now: float
    ) -> None:
        if self._lease.lease_id is None:
            return
        self.rtt_s = now - question.sent_at
        self._flow.heard(answer.observed, now)
        self._lease.renewed(now)
        self._count_unseen(answer.missing, question, now)

    def _send_samples(self, places: Iterable[Address], now: float) -> None:
        self._outgoing += [self.transactions.sample(place, MAIN_SOCKET, now) for place in places]

    # --- losing the server ---

    def _lose_silent(self, now: float) -> None:
        had_lease, is_narrow = self._lease.lease_id is not None, self.transactions.hears_small(now)
        heard, tried = self.last_answer_at is not None, self.places.all
        why = reasons.silence_reason(self.server, has_answered=heard, tried=tried)
        self._lose(reasons.too_narrow(self.server) if is_narrow else why, now)
        if had_lease and len(self.places.all) > 1:
            self._ask_at(self.places.next())
            self._begin(now)

    def _lose(self, why: Verdict | str, now: float) -> None:
        self._end_lease()
        self.places.unsettle()
        self._flow.forget()
        self.sampling.ladder.stop()
        self._announces, was_lost = True, self.state == "lost"
        self.state, self.refusal = "lost", None if isinstance(why, str) else why
        self._retries.retry_later(now, is_refused=self.refusal is not None)
        if not was_lost:
            self._events.append(reasons.lost(self._network, self.server, why))

    def _say_bye(self) -> None:
        if self._lease.lease_id is not None:
            self._outgoing.append(self.transactions.bye(self._lease.lease_id))
        self._end_lease()

    def _end_lease(self) -> None:
        self._lease.end()
        self._connects.clear()
        self._members.reset()
