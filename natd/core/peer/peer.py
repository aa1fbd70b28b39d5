"""One remote peer in one network: its card, the pair's secrets, its reach and its dialogue.

    introduction ─► reach ─────────── finds and keeps paths, carries datagrams
         └────────► dialogue ──────── sessions and messages, knows no address

It owns both: it passes a session's datagrams to `reach`, tells it the source of authentic ones, and
makes the dialogue send again what was lost when a path comes up.

Rules:
- An input, here or straight to reach or dialogue, takes effect when the owner calls `settle`.
- A peer is online when its session is established and a path carries it.  A lost path leaves the
  session as it is, and the next path takes it up again.
- A blocked peer has no tag: none of its packets is routed here, and nothing is sent to it.
"""

from collections import Counter, deque
from random import Random

from natd.core.base import events
from natd.core.base.routes import CHECK, RouteAdded
from natd.core.base.surroundings import Surroundings
from natd.core.base.timers import TokenBucket, earliest
from natd.core.base.types import Address, Datagram, NetworkId, SocketId
from natd.core.base.wishes import FreshSocketWanted, IntroductionWanted, SampleWanted
from natd.core.chat.dialogue import Dialogue, DialogueEvent
from natd.core.checks.budget import TargetBudget
from natd.core.checks.checks import CheckAnswer
from natd.core.codec import stun
from natd.core.codec.frames import Bye, NewerCard
from natd.core.keys.card import Card, Identity
from natd.core.keys.secrets import (
    CHECK_TAG_BYTES,
    INITIAL_CONNECTION_ID_BYTES,
    Keyring,
    Prekey,
)
from natd.core.paths.events import (
    PathChosen,
    PathDown,
    PathMeasured,
    PathRecovered,
    PathResumed,
)
from natd.core.paths.flows import FlowsToPeer
from natd.core.peer.diagnosis import Diagnosis, PeerDiagnosis
from natd.core.peer.events import PeerEvent
from natd.core.peer.presence import PeerView, Presence, view_of
from natd.core.peer.reach import Reach
from natd.core.peer.reach_events import FlightDue, ReachEvent
from natd.core.punch.events import AttemptFailed
from natd.core.punch.remote_candidates import Source
from natd.core.punch.words_of_pair import WordsOfPair
from natd.core.session.events import HandshakeCompleted, SessionEnded

CARDS_RATE, CARDS_BURST = 1.0, 16.0
"""Cards over the session: a change of network makes a few, a prekey one an hour, and each costs
up to two milliseconds and a write to the disk."""

MOST_PINGS = 64
"""Most pings that wait for an answer; the oldest is forgotten."""


class Peer:
    """See the top of this file."""

    def __init__(
        self,
        network: NetworkId,
        network_key: bytes,
        card: Card,
        identity: Identity,
        budget: TargetBudget,
        random: Random,
        flows: FlowsToPeer,
        *,
        is_open: bool,
    ) -> None:
        """`is_open`: whether the network has no secret."""
        self.card = card
        self.sealed_card = b""
        """The card as it came, to pass on when we introduce the peer to others."""
        words = WordsOfPair(identity, network, card.peer, random, is_open=is_open)
        self.reach = Reach(budget, random, flows, words)
        self._network = network
        self._keyring = Keyring(identity, network_key, card)
        self.dialogue = Dialogue(
            network, card.peer, card.nick, random, ours_stay=identity.peer < card.peer
        )
        self._is_blocked = False
        self._meetings = budget.meetings
        self._cards = TokenBucket(CARDS_RATE, CARDS_BURST)
        self.presence = Presence()
        self.diagnosis = Diagnosis(budget.turns)
        self._pings: list[int] = []  # tokens that wait for an answer
        self._datagrams: list[Datagram] = []
        prefix = self.reach.transaction_prefix
        self._events: deque[PeerEvent] = deque([RouteAdded(CHECK + prefix)])
        self.reach.remote.describe_peer(card.candidates, card.nat)

    # --- commands

    def ping(self, token: int, now: float) -> None:
        """`PingAnswered` follows with the first answer to a check, on any path."""
        if len(self._pings) >= MOST_PINGS:
            self._pings.pop(0)
        self._pings.append(token)
        self.reach.probe(now)

    def say_bye(self, now: float) -> None:
        """We are leaving: tell the peer."""
        self.dialogue.say_bye(now)
        self.settle(now)
        self.reach.stop()

    def block(self, now: float, reason: str = "you blocked this peer") -> None:
        """The user blocks or forgets this peer: say goodbye and send nothing more."""
        self._is_blocked = True
        self.diagnosis.blocked(True)
        self.dialogue.shut_out(now)
        self.settle(now)
        self._keyring.clear()
        self._events += self._keyring.changes()
        self.reach.stop()
        self._go_offline(reason, now)

    def unblock(self, prekeys: tuple[Prekey, ...], now: float) -> None:
        """The user unblocks this peer; `prekeys` are ours, newest last."""
        if self._is_blocked:
            self._is_blocked = False
            self.diagnosis.blocked(False)
            self.use_prekeys(prekeys)
            self.reach.expect()
            self.reach.retry(now)

    # --- news from servers and others

    def update_card(self, card: Card, prekeys: tuple[Prekey, ...]) -> None:
        """Take a verified card, a newer one or the first; `prekeys` are ours, newest last."""
        if card.prekey_public != self.card.prekey_public:
            self.reach.expect()
        self.card = card
        self.dialogue.name_peer(card.nick)
        self.diagnosis.card_changed()
        self._keyring.take_card(card)
        self.reach.remote.describe_peer(card.candidates, card.nat)
        self.use_prekeys(prekeys)

    def use_prekeys(self, prekeys: tuple[Prekey, ...]) -> None:
        """Ours have changed: what we share with the peer follows from both sides' prekeys."""
        if not self._is_blocked:
            self._keyring.renew(prekeys)
            self._use_secrets()

    def introduced(
        self,
        seen: tuple[Address, ...],
        *,
        we_dial: bool,
        start_in_s: float,
        now: float,
        by: str = "by a card of its own",
        source: Source = None,
    ) -> None:
        """A server or a mutual peer introduces the two of us to each other at this instant.

        `seen`: the peer's addresses, freshest first.  `by`: the introducer's name, for people;
        `source`: the same for programs, None for the peer itself.
        """
        asked = not (we_dial and isinstance(source, Address))
        self.diagnosis.introduced(by, seen, now, asked=asked)
        if self._meet(we_dial, now):
            self.reach.introduced(seen, start_in_s, now, source)

    def found_on_link(self, address: Address, *, we_dial: bool, now: float) -> None:
        """The peer was heard at this address, on a link of ours."""
        self.diagnosis.introduced("by a call on this link", (address,), now)
        if self._meet(we_dial, now):
            self.reach.found_on_link(address, now)

    def set_surroundings(self, surroundings: Surroundings, now: float) -> None:
        """Our own side as servers see it has changed."""
        self.diagnosis.set_surroundings(surroundings, now)
        self.reach.set_surroundings(surroundings, now)

    def awaits(self, socket: SocketId) -> bool:
        """Whether a server is to tell how it sees this socket."""
        return self.diagnosis.awaits_sample == socket or self.reach.awaits_sample(socket)

    def sampled(self, socket: SocketId, observed: Address, *, poisoned: bool, now: float) -> None:
        self.diagnosis.sampled(socket, observed, poisoned, now)
        self.reach.sampled(socket, observed, poisoned=poisoned, now=now)

    # --- datagrams

    def receive_check(
        self,
        message: stun.StunMessage,
        tag: bytes,
        data: bytes,
        address: Address,
        socket: SocketId,
        now: float,
    ) -> None:
        """A Binding request that carries this tag of ours."""
        secrets = self._keyring.by_tag(tag)
        if secrets is not None:
            self.reach.receive_check(message, data, secrets, address, socket, now)

    def receive_session_datagram(
        self, data: bytes, connection_id: bytes, address: Address, socket: SocketId, now: float
    ) -> None:
        """A QUIC datagram for a session of ours, or a part of a first flight."""
        secrets = None
        if len(connection_id) == INITIAL_CONNECTION_ID_BYTES:
            secrets = self._keyring.by_tag(connection_id[:CHECK_TAG_BYTES])
        if self.dialogue.sessions.receive_datagram(data, connection_id, secrets, now):
            self.presence.answered()
            self.reach.heard(address, socket, now)

    def handle_timer(self, now: float) -> None:
        sessions = self.dialogue.sessions
        sessions.be_patient(self._meetings.patience_s)
        if sessions.is_established and not sessions.is_awaiting(now):
            self.reach.width.rest()
        self.reach.handle_timer(now)
        self.dialogue.sessions.handle_timer(now)
        path = self.reach.paths.current
        is_lost = self.presence.has_lost_session(None if path is None else path.heard_at, now)
        is_due = is_lost or self.presence.is_redial_due(self.dialogue.sessions.is_open, now)
        if is_due and (newest := self._keyring.newest) is not None:
            self.dialogue.redial(newest, now)

    # --- outputs

    def settle(self, now: float) -> None:
        """Pass the events of reach and dialogue to each other until there are none left."""
        while True:
            self.dialogue.settle(now)
            self._carry(now)
            if (reach_event := self.reach.next_event()) is not None:
                self._take_reach_event(reach_event, now)
            elif self.dialogue.events:
                self._take_dialogue_event(self.dialogue.events.popleft(), now)
            else:
                break
        datagrams = self.reach.datagrams_to_send()
        if datagrams and self.diagnosis.watches:
            search = self.reach.search
            self.diagnosis.sent(datagrams, search.punch.targets, search.technique, now)
        self._datagrams += datagrams
        self._notice_presence(now)
        if self.diagnosis.has_failed:
            self._tell_verdict(now)

    def datagrams_to_send(self) -> list[Datagram]:
        datagrams, self._datagrams = self._datagrams, []
        return datagrams

    def next_event(self) -> PeerEvent | None:
        return self._events.popleft() if self._events else None

    def get_timer(self) -> float | None:
        due_at = self.presence.redial_at, self.presence.doubted_at
        return earliest(self.reach.get_timer(), self.dialogue.sessions.get_timer(), *due_at)

    @property
    def is_lost(self) -> bool:
        """Whether it fell silent, and neither left nor ended its session."""
        has_gone = self.reach.has_left or not self.dialogue.sessions.is_open
        return self.reach.paths.in_use is None and not has_gone

    def view(self, now: float) -> PeerView:
        return view_of(
            self.card,
            self.reach,
            self.diagnosis.told,
            is_online=self.presence.is_online,
            is_blocked=self._is_blocked,
            now=now,
        )

    def diagnose(self, now: float) -> PeerDiagnosis:
        """What was tried, and why there is no path if there is none."""
        search = self.reach.search
        return self.diagnosis.report(
            self.card, may_guess=search.may_guess, lacks_place=search.lacks_place, now=now
        )

    @property
    def all_dropped(self) -> Counter[str]:
        """Packets of this peer that were dropped, by reason."""
        weak = Counter({"card-with-weak-keys": self._keyring.weak})
        return self.reach.dropped + self.dialogue.all_dropped + weak

    # --- private

    def _meet(self, we_dial: bool, now: float) -> bool:
        """We know where the peer may be; dial if that is our role.  False: no shared secrets."""
        newest = self._keyring.newest
        if newest is None:
            return False
        sessions = self.dialogue.sessions
        sessions.be_patient(self._meetings.patience_s)
        self.presence.begin(now)
        if not self.presence.is_online:
            self._meetings.begin(self, now)
        if self.presence.take_role(we_dial, newest.psk) and (
            sessions.psk != newest.psk or not sessions.is_established
        ):
            self.dialogue.dial(newest, now)
        return True

    def _carry(self, now: float) -> None:
        data = self.dialogue.sessions.datagrams_to_send()
        if data:
            if self.dialogue.sessions.has_asked(now):
                self.presence.asked(now)
            if self.dialogue.is_waiting:
                self.reach.paths.talk(now)
            self.reach.carry(data, now, awaiting=self.dialogue.sessions.is_awaiting(now))

    def _take_reach_event(self, event: ReachEvent, now: float) -> None:
        self.diagnosis.take(event, now)
        match event:
            case FlightDue():
                self.dialogue.sessions.renew(now)
                self.reach.carry(self.dialogue.sessions.flight, now, awaiting=True)
            case PathResumed() | PathMeasured(is_narrow=False):
                self.dialogue.sessions.path_changed(now)
            case PathChosen(path) | PathRecovered(path):
                if not (isinstance(event, PathChosen) and event.is_seamless):
                    place = (path.address, path.socket)
                    has_flight = self.reach.flight.has_flown(place, now - (path.rtt_s or 0.0))
                    self.dialogue.sessions.path_changed(now, has_flight=has_flight)
                    self.reach.carry(self.reach.flight.take_rest(place), now, awaiting=True)
                if not self.dialogue.sessions.is_established:
                    self.reach.width.expect_session(now)
                if self.presence.is_online:
                    self._events.append(events.PathChanged(self._network, self.card.peer, path))
            case PathDown():
                self._go_offline("stopped answering", now)
            case PathMeasured(is_certain=False):
                self.reach.retry(now)
            case AttemptFailed() | PathMeasured():
                pass
            case CheckAnswer():
                self._events.append(event)
                if not event.is_delayed:
                    self._answer_pings(event.rtt_s)
            case SampleWanted() | IntroductionWanted() | FreshSocketWanted():
                self._events.append(event)

    def _answer_pings(self, rtt_s: float) -> None:
        network, peer = self._network, self.card.peer
        self._events += [events.PingAnswered(network, peer, token, rtt_s) for token in self._pings]
        self._pings.clear()

    def _take_dialogue_event(self, event: DialogueEvent, now: float) -> None:
        match event:
            case NewerCard():
                if self._cards.take(now):
                    self._events.append(event)
            case Bye():
                self.reach.stop()
                self.diagnosis.left(now)
                self._go_offline("said goodbye", now)
            case SessionEnded(reason):
                self._keep_secrets()
                self._go_offline(f"session ended: {reason}", now)
            case HandshakeCompleted():
                self.diagnosis.session_established(now)
                self._keep_secrets()
            case events.MessageArrived() | events.MessagesAcknowledged():
                self.reach.paths.talk(now)
                self._events.append(event)
            case _:
                self._events.append(event)

    def _keep_secrets(self) -> None:
        sessions = self.dialogue.sessions
        self._keyring.keep(sessions.psk if sessions.is_established else None)
        self._use_secrets()

    def _use_secrets(self) -> None:
        """Without any, after cards with weak keys, nothing can be sent to the peer."""
        self._events += self._keyring.changes()
        if secrets := self._keyring.for_checks:
            self.reach.checks.use(*secrets)
        else:
            self.reach.stop()

    def _tell_verdict(self, now: float) -> None:
        search = self.reach.search
        verdict = self.diagnosis.next_verdict(
            self.card, may_guess=search.may_guess, lacks_place=search.lacks_place, now=now
        )
        if verdict is not None:
            network, peer = self._network, self.card.peer
            self._events.append(events.VerdictReached(network, peer, verdict.text, verdict.code))

    def _notice_presence(self, now: float) -> None:
        """Say that the peer is online once its session is established and a path carries it."""
        presence, sessions = self.presence, self.dialogue.sessions
        if presence.is_online and presence.redial_at is None and sessions.is_established:
            return
        path = self.reach.paths.report
        took_s = presence.notice(
            path,
            is_open=sessions.is_open,
            is_established=sessions.is_established,
            now=now,
            patience_s=2.0 * self._meetings.patience_s,
        )
        if path is not None and took_s is not None:
            self._meetings.end(self)
            self.diagnosis.is_here()
            self._events.append(
                events.PeerConnected(self._network, self.card.peer, self.card.nick, path, took_s)
            )

    def _go_offline(self, reason: str, now: float) -> None:
        if self.presence.go(now):
            self._events.append(
                events.PeerDisconnected(self._network, self.card.peer, self.card.nick, reason)
            )
