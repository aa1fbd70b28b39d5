"""Looking for a path to one peer: plain checks, and guesses where they are bound to fail.

    candidates    which addresses to try
    punch         the checks, round by round
    escalation    guesses within a larger budget, when checks have failed
    succession    the same for another flow beside a path that stands

Rules:
- Nothing is guessed at a host where the peer has not proved to be (`checks/host_proofs.py`), nor as
  an easy side while our own samples are under way, at most until the first round has failed.
- While a path answers nothing is guessed, except its successor when the mapping at one end is about
  to end (`succeed`).
- A path that is found names its technique; the owner keeps the path.
- `Escalation` objects are made when first needed: between easy NATs never.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import replace
from random import Random

from natd.core.base.surroundings import Surroundings
from natd.core.base.timers import earliest
from natd.core.base.types import MAIN_SOCKET, Address, Allocation, Candidate, Datagram, SocketId
from natd.core.base.wishes import Ask, IntroductionWanted, SampleWanted, Word
from natd.core.checks.budget import TargetBudget
from natd.core.checks.checks import CheckAnswer, Checks
from natd.core.checks.host_proofs import ANSWERED_FOR_S, HostProofs
from natd.core.checks.turns import Claim
from natd.core.codec import stun
from natd.core.prediction.escalation import MOST_KNOWN, Escalation
from natd.core.prediction.samples import Endpoints, GuessHistory, NextStep
from natd.core.prediction.strategy import FOUND, Situation, as_unpredictable
from natd.core.punch.events import PathFound, PunchEvent
from natd.core.punch.first_flight import worth_checking
from natd.core.punch.punch import Punch
from natd.core.punch.remote_candidates import RemoteCandidates, Source, anchors_in
from natd.core.punch.words_of_pair import WordsOfPair

LATE_S = 30.0
"""A peer not reached after this time is shown as offline; attempts go on."""


class Search:
    """See the top of this file."""

    def __init__(
        self,
        checks: Checks,
        budget: TargetBudget,
        transaction_prefix: bytes,
        random: Random,
        words: WordsOfPair | None = None,
    ) -> None:
        """`words`: for further waves at a stranger's host, None where there are none."""
        self.remote = RemoteCandidates()
        self.proofs = HostProofs()
        """At which hosts the peer surely is."""
        self.punch = Punch(checks, budget, random, self.proofs)
        self.has_path = False
        """Whether there is a path that answers."""
        self.may_guess = False
        """Whether, when last asked, more than plain checks could be spent on this peer."""
        self.lacks_place = False
        """Whether, when last asked, other hosts had used up the guesses of this hour."""
        self.is_idle = True
        """Whether there is nothing to drain."""
        self._checks, self._budget = checks, budget
        self._prefix = transaction_prefix
        self._random = random
        self._words = words
        self._claim = Claim(is_open=words is not None and words.is_open)
        self._escalation: Escalation | None = None  # None: none was needed yet
        self._succession: Escalation | None = None  # None: the same
        self._seen: deque[Address] = deque(maxlen=MOST_KNOWN)  # where the peer was, until then
        self._guesses = GuessHistory()
        self._reached_from = MAIN_SOCKET  # our socket of the last path
        self._began = 0.0  # when the round began in which the peer opens its NAT
        # What guesses were wanted for that had to wait, for a proof or for our own samples.
        self._put_off: Situation | None = None
        self._wanted: tuple[Situation, str] | None = None  # what was begun last, and at which host
        self._answers: deque[Word] = deque()  # to the peer's asks
        # When the attempt to reach the peer began; None: reached, or never tried.
        self._since: float | None = None

    # --- inputs

    def introduce(
        self, source: Source, seen: tuple[Address, ...], now: float
    ) -> tuple[Address, ...]:
        """`source` reports the peer's addresses; gives those at which it was seen."""
        anchors, count = anchors_in(seen, self._checks.their_mark)
        if self.remote.introduce(source, seen[count:], anchors, now):
            self._sign()
        if self._escalation is not None:
            self._escalation.introduced(now)
        return seen[count:]

    def prove(self, hosts: Iterable[str], now: float, *, unproved: Iterable[str] = ()) -> None:
        """A server has proved that the peer is at these hosts, what waited for that begins; and not
        at the others that it tells."""
        self.proofs.told(hosts, unproved, now)
        if (put_off := self._put_off) is not None:
            self.is_idle = False
            self._escalate(put_off, now)

    def hear_words(self, ask: Ask | None, word: Word | None, now: float) -> None:
        """The peer asks for our word, and gives us its own for our next wave."""
        words, turns = self._words, self._budget.turns
        if words is None or self._since is None or self.has_path:
            return
        if word is not None and (host := words.take(word, now)) is not None:
            is_open = self._claim.is_open
            if turns.strangers.take_word(host, now, is_open=is_open) and self._wanted is not None:
                self._sign()
                self.is_idle = False
                self._escalate(self._wanted[0], now)
        hosts = [place.host for place in self.remote.surroundings.ours if not place.is_ipv6]
        if ask is not None and hosts and (answer := words.answer(ask, hosts[0], now)):
            self.is_idle = False
            self._answers.append(answer)

    def remember(self, last_good: Mapping[Address, float], now: float) -> None:
        """Where the peer answered in an earlier run, freshest first, and how many seconds ago."""
        self.remote.remember(tuple(last_good))
        for place, s_ago in last_good.items():
            if s_ago < ANSWERED_FOR_S:
                until = self.proofs.answered(place.host, now, s_ago=s_ago)
                self._budget.turns.answered(place.host, until, now)

    def begin(self, start_in_s: float, now: float, *, fresh: bool) -> None:
        """Try every known address."""
        self.is_idle = False
        known = self.remote
        self._began = now
        known.take_turns()
        chosen = self._worth_checking()
        if known.has_news:
            for candidate in chosen:
                self._budget.returned(candidate.address, now)
        if self._since is None:
            self._since = now
        self.punch.start(
            chosen,
            ours=known.surroundings.ours,
            nats=(known.surroundings.nat, known.their_nat),
            start_in_s=start_in_s,
            rtt_s=known.surroundings.rtt_s,
            fresh=fresh or known.has_news,
            now=now,
        )
        known.has_news = False
        has_failed, is_alone = self.punch.has_failed_before, self._is_alone
        situation = known.situation(have_checks_failed=has_failed or is_alone, is_alone=is_alone)
        self._escalate(situation, now)
        if known.is_far_off(now) and not has_failed and not situation.are_both_hard:
            self.punch.sample_now(now)

    def set_surroundings(self, surroundings: Surroundings, now: float) -> None:
        """Our own side as servers see it; during a search it may add candidates."""
        self.remote.surroundings = surroundings
        if self.punch.active:
            self.punch.learn_rtt(surroundings.rtt_s)
            self.widen(now)
            put_off = self._put_off
            if put_off is not None and put_off.is_early and not surroundings.is_sampling:
                self.punch.learn_nat(surroundings.nat)
                self._escalate(self.remote.situation(have_checks_failed=False), now)

    def server_is_silent(self, now: float) -> None:
        """No server has answered our last request for an introduction in time: if the peer may
        have moved, look for it at once."""
        self.punch.server_is_silent()
        if self.punch.active and self._is_alone:
            self.is_idle = False
            self._escalate(self.remote.situation(have_checks_failed=True, is_alone=True), now)

    def widen(self, now: float) -> None:
        """Add newly known addresses to the running round."""
        self.is_idle = False
        self.punch.add(self._worth_checking(), now)

    def check_received(self, address: Address, socket: SocketId, now: float) -> None:
        """An authentic check of the peer came from `address`."""
        self.is_idle = False
        self._sign()
        self.punch.check_received(address, socket, now)

    def receive_sample(
        self, message: stun.StunMessage, address: Address, socket: SocketId, now: float
    ) -> bool:
        """Take a server's answer to a sample of an escalation; False: it is none."""
        escalation = self._escalation
        return escalation is not None and escalation.receive_answer(message, address, socket, now)

    def check_answered(self, answer: CheckAnswer) -> PathFound | None:
        """The path that the answer has shown, if it belongs to a check of the search."""
        if self.punch.is_checking(answer.address, answer.socket):
            found, technique = self.punch.check_answered(answer), self.technique
            return replace(found, technique=technique) if found and technique else found
        for escalation in self._escalations:
            if (technique := escalation.technique) is not None:
                kind = self.remote.kind_of(answer.address)
                return PathFound(answer.address, answer.socket, kind, technique, answer.rtt_s)
        return None

    def succeed(self, in_use: tuple[Address, SocketId], now: float, *, by_peer: bool) -> bool:
        """Look for another flow beside the path in use: guess one of the peer's, from our end of
        the path, or open many of ours for the peer to guess.  True if that has begun."""
        known = self.remote
        hard = as_unpredictable(known.their_nat if by_peer else known.surroundings.nat)
        nats = (FOUND, hard) if by_peer else (hard, FOUND)
        ends = Endpoints(in_use[:1], (), in_use[1], known.surroundings.servers)
        if self.is_succeeding:
            return True
        self.is_idle = False
        if self._succession is None:
            self._succession = self._make_escalation(Claim(is_open=self._claim.is_open))
        self._succession.sign()  # a path is the best sign of life
        return self._succession.begin(Situation(*nats), ends, now)

    def is_successor_hidden(self, failures: int) -> bool:
        """Whether a new flow of ours gets a port that can't be predicted, or one that a server
        can't sample twice, while the peer's end stays where it is."""
        ours, theirs = self.remote.surroundings.nat, self.remote.their_nat
        is_told_once = failures > 0 and ours.allocation is not Allocation.PRESERVING
        is_hidden = ours.is_hard or is_told_once
        return is_hidden and not theirs.is_hard

    def settle(self) -> None:
        """A path was found and works: end the search."""
        self.punch.settle()
        if self._escalation is not None:
            self._escalation.stop()
        self._since = self._put_off = self._wanted = None

    def reached(self, address: Address, socket: SocketId) -> None:
        """This path is in use from now on."""
        self.settle()
        self.punch.reached(address, socket)
        self._reached_from = socket
        if self._succession is not None:
            self._succession.stop()
        self._budget.turns.found(self._claim, address.host)
        self.remote.reached(address)
        self._guesses.are_known(self._ends(is_alone=False))

    def stop(self) -> None:
        """The peer is gone or blocked: send nothing more to it."""
        self.punch.stop()
        for escalation in self._escalations:
            escalation.stop()
        self._since = self._put_off = self._wanted = None

    def handle_timer(self, now: float) -> None:
        self.punch.handle_timer(now)
        for escalation in self._escalations:
            escalation.handle_timer(now)
        if (guesses := self._escalation) is not None and guesses.has_missed:
            guesses.has_missed = False
            self.punch.leave_socket(has_server=self.remote.surroundings.is_registered)

    # --- outputs

    def datagrams_to_send(self) -> list[Datagram]:
        datagrams = self.punch.datagrams_to_send()
        for escalation in self._escalations:
            datagrams += escalation.datagrams_to_send()
        has_more = self.punch.active or self.punch.events or self.get_timer() is not None
        self.is_idle = not has_more
        return datagrams

    def next_event(self, now: float) -> PunchEvent | None:
        escalation = self._escalation
        if escalation is not None and (anchors := escalation.new_anchors()):
            return IntroductionWanted(anchors)
        if (word := self._next_word(now)) is not None:
            return word
        event = self.punch.next_event()
        match event:
            case SampleWanted():
                situation = self.remote.situation(have_checks_failed=True, is_alone=self._is_alone)
                if not situation.are_both_hard:
                    self._escalate(situation, now)
            case IntroductionWanted() if escalation is not None and escalation.anchors:
                return IntroductionWanted(escalation.anchors)
        return event

    def get_timer(self) -> float | None:
        timers = (escalation.get_timer() for escalation in self._escalations)
        return earliest(self.punch.get_timer(), *timers)

    @property
    def next_try_at(self) -> float | None:
        """When the next step is tried; None: no search."""
        at = None if self._escalation is None else self._escalation.next_try_at
        return earliest(self.punch.next_try_at, at)

    @property
    def sockets(self) -> frozenset[SocketId]:
        """All sockets that the search needs."""
        trying = self.punch.sockets if self.punch.active else frozenset()
        return trying.union(*(escalation.sockets for escalation in self._escalations))

    @property
    def technique(self) -> str | None:
        """The technique of the running escalation; None: there is none."""
        return None if self._escalation is None else self._escalation.technique

    def is_wanted_at(self, host: str, now: float) -> bool:
        """Whether there is no path that answers, and the peer was reached at this host, where it
        has proved to be."""
        place = self.remote.last_place
        is_there = place is not None and place.host == host and not self.has_path
        return is_there and self.proofs.holds(host, now)

    @property
    def is_succeeding(self) -> bool:
        """Whether it looks for another flow beside the path in use."""
        return self._succession is not None and self._succession.technique is not None

    def is_trying(self, now: float) -> bool:
        """Whether an attempt runs that has not lasted longer than `LATE_S`."""
        return self._since is not None and now - self._since < LATE_S

    # --- private

    @property
    def _escalations(self) -> list[Escalation]:
        return [each for each in (self._escalation, self._succession) if each is not None]

    def _make_escalation(self, claim: Claim) -> Escalation:
        return Escalation(self._checks, self._budget.turns, self._prefix, self._random, claim)

    def _sign(self) -> None:
        """The peer has shown a sign of life."""
        (self._escalation or self._claim).sign()

    def _worth_checking(self) -> tuple[Candidate, ...]:
        return worth_checking(self.remote.targets(), self.remote.their_nat)

    @property
    def _is_alone(self) -> bool:
        """Whether no server will tell where the peer is, if that is no longer where it was."""
        has_asked = self.punch.is_unheard or not self.remote.surroundings.is_registered
        return self.punch.is_alone or (has_asked and self.remote.may_have_moved)

    def _ends(self, *, is_alone: bool) -> Endpoints:
        known = self.remote
        sound = {target.address for target in known.targets()}
        socket, places = self.punch.socket, known.seen
        if is_alone and known.last_place is not None:
            socket, places = self._reached_from, (known.last_place, *places)
        seen = tuple(dict.fromkeys(address for address in places if address in sound))
        ours = [address for address in known.surroundings.ours if not address.is_ipv6]
        return Endpoints(
            seen,
            known.anchors,
            socket,
            known.surroundings.servers,
            known.drift(self._began),
            ours[0].port if ours else None,
            tuple(address.host for address in ours),
            known.seen_since,
            self.punch.sampled_at,
        )

    def _next_word(self, now: float) -> IntroductionWanted | None:
        """Our ask for a further wave, or our word for the peer's."""
        samples = () if self._escalation is None else self._escalation.anchors
        if self._answers:
            return IntroductionWanted(samples, word=self._answers.popleft())
        if self._words is None or self._wanted is None or self.has_path:
            return None
        (_, host), turns = self._wanted, self._budget.turns
        is_open = self._claim.is_open
        if turns.has_answered(host, now):
            return None
        if not turns.strangers.wants_word(host, now, is_open=is_open):
            return None
        ask = self._words.ask_for(host, now)
        return None if ask is None else IntroductionWanted(samples, ask=ask)

    def _escalate(self, situation: Situation, now: float) -> None:
        """Plain checks have failed, or are bound to fail."""
        if self.has_path or (self.punch.is_held and not situation.are_both_hard):
            return
        self._put_off = None
        if self._succession is not None:
            self._succession.stop()
        if self._escalation is None:
            if not (situation.ours.may_be_hard or situation.theirs.may_be_hard):
                self._seen += [place for place in self.remote.seen if place not in self._seen]
                return
            self._escalation = self._make_escalation(self._claim)
            self._escalation.remember(self._seen)
        ends = self._ends(is_alone=situation.is_alone)
        self.may_guess = bool(ends.places) and self.proofs.holds(ends.places[0].host, now)
        if situation.wants_samples:
            match self._guesses.next_step(ends, now):
                case NextStep.WAIT:
                    self.punch.rest_until(self._guesses.runs_until)
                    return
                case NextStep.SAMPLE:
                    self.punch.sample_now(now)
                    return
        host = ends.places[0].host if ends.places else None
        is_early = situation.is_early and self.remote.surroundings.is_sampling
        if not self.may_guess or host is None or is_early:
            self._put_off = situation
            return
        self._wanted = situation, host
        turns, is_open = self._budget.turns, self._claim.is_open
        has_none = turns.left_for(host, now, is_open=is_open) == 0
        self.lacks_place = has_none and turns.strangers.lacks_place(host, now, is_open=is_open)
        if has_none:
            return
        if self._escalation.begin(situation, ends, now) and situation.wants_samples:
            self._guesses.spent(ends, now)
            self.punch.rest_until(self._guesses.runs_until)
