"""The attempts to reach one peer: what was tried, and why there is no path.

    inputs of the peer ─┐
    events of its reach ├─► log      for `natctl doctor PEER`
    datagrams that left ┘    └──► findings ─► verdict, told once for each code

Rules:
- It observes and never acts: nothing that is sent depends on it.
- A verdict is reported when an attempt has failed and there is no path; another one follows when
  facts have changed.  None is repeated until the peer was online, has left, or our network has
  changed: attempts that fail alike are no news.
- `report` judges at any time by the facts known then.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from natd.core.base.scope import is_private, is_public
from natd.core.base.surroundings import Surroundings
from natd.core.base.types import (
    MAIN_SOCKET,
    Address,
    Candidate,
    CandidateKind,
    Datagram,
    NatReport,
    PathReport,
    SocketId,
)
from natd.core.base.verdict import Verdict, VerdictCode
from natd.core.base.wishes import FreshSocketWanted, IntroductionWanted, SampleWanted
from natd.core.checks.turns import Turns
from natd.core.keys.card import FULL, Card
from natd.core.paths.events import PathChosen, PathDown, PathMeasured, PathRecovered
from natd.core.peer.attempt_log import AttemptLog, LogEntry, Step
from natd.core.peer.judgement import Findings, judge, judge_width
from natd.core.peer.reach_events import ReachEvent
from natd.core.punch.events import AttemptFailed

ABSENCE_LAG_S = 1.0
"""A server that says *absent* so soon after another's introduction has only not heard yet."""

_REQUEST, _RESPONSE = b"\x00\x01", b"\x01\x01"
"""How a Binding request and its success response begin (RFC 8489, section 5)."""

_PLACES = {
    CandidateKind.LAN: "its LAN address",
    CandidateKind.IPV6: "its IPv6 address",
    CandidateKind.MAPPED: "the port that its router maps",
    CandidateKind.SERVER_REFLEXIVE: "its public address",
    CandidateKind.PEER_REFLEXIVE: "where it was heard",
    CandidateKind.LAST_GOOD: "where it was before",
    CandidateKind.FORWARDED: "its own port, as if somebody had forwarded it",
}

FORGOTTEN_S = 75.0
"""A server forgets a peer that fell silent by then (`registry.LEASE_S`)."""

ALIVE_S = 30.0
"""How long a peer counts as alive after the last sign of it: it may have gone since."""

HOPE_S = 4.0
"""Hold back further verdicts for so long after an introduction or a first sign of the peer, when a
path is likely.  The first verdict of an attempt is not held back."""

LISTED_AGAIN_S = 30.0
"""A restarted server lists all peers again by then (`registration`): a peer that is missing before
may be there."""

MOST_ADDRESSES = 3
"""Addresses named in one step of the log."""


@dataclass(frozen=True, slots=True)
class PeerDiagnosis:
    """The report for `natctl doctor PEER`."""

    ours: NatReport
    theirs: NatReport
    verdict: Verdict | None
    """None while there is a path."""
    path: PathReport | None
    began: float | None
    """When the logged attempt began; None: there was none."""
    log: tuple[LogEntry, ...]
    missing: int
    """Steps that the log had no room for, after its first ones."""


class Diagnosis:
    """See the top of this file."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._log = AttemptLog()
        self._surroundings = Surroundings()
        self._seen: tuple[Address, ...] = ()
        self._path: PathReport | None = None
        self._was_lost = False  # whether a path fell silent since the peer was last online
        self.watches = False
        """Whether packets belong to an attempt: otherwise `sent` need not be called."""
        self._narrow: Address | None = None  # where the path in use leads; None: it is not narrow
        self.awaits_sample: SocketId | None = None  # None: awaits no sample
        self._introduced_at: float | None = None  # None: no introduction yet
        self._first_introduced_at: float | None = None  # of a row without a long gap
        self._last_introduced_at = float("-inf")
        self._alive_at = float("-inf")  # when the peer itself was surely at a server
        self._absent_at: float | None = None  # None: no server has said so
        self._server_back_at = float("-inf")  # when one answered again after all were silent
        self._needs_server = False  # no introduction since all fell silent, or refuse us
        self._heard = False
        self._has_left = False
        self._is_blocked = False
        self.has_failed = False
        """Whether an attempt has failed: otherwise `next_verdict` gives nothing."""
        self._told: Verdict | None = None  # None: no attempt has failed
        self._codes: set[VerdictCode] = set()  # reported since the peer was online
        self._is_news = False  # whether facts have changed since the last verdict
        self._hope_until = float("-inf")  # no further verdict until then

    # --- inputs

    def set_surroundings(self, surroundings: Surroundings, now: float) -> None:
        before, self._surroundings = self._surroundings, surroundings
        self._is_news = self._is_news or surroundings != before
        if self._is_alone and not (before.servers_are_silent or before.refusal is not None):
            self._needs_server = True
        elif before.servers_are_silent and not surroundings.servers_are_silent:
            self._server_back_at = now
        if before.ours and surroundings.ours and _hosts(before.ours) != _hosts(surroundings.ours):
            self._codes.clear()

    def card_changed(self) -> None:
        self._is_news = True

    def introduced(
        self, by: str, seen: tuple[Address, ...], now: float, *, asked: bool = False
    ) -> None:
        """The peer was introduced; `by` names the introducer, for people.  `asked`: the peer was
        just there and wanted it; else a server may only not have forgotten it yet."""
        if self._first_introduced_at is None or now > self._last_introduced_at + FORGOTTEN_S:
            self._first_introduced_at = now
        self._last_introduced_at = now
        if asked or now > self._first_introduced_at + FORGOTTEN_S:
            self._alive_at = now
        self._introduced_at, self._has_left, self._needs_server = now, False, False
        self._seen = seen
        self._hope_until = now + HOPE_S
        if self._path is None and not self.watches:
            self._begin(now)
        if self.watches:
            places = ", ".join(map(str, seen[:MOST_ADDRESSES])) or "nowhere"
            self._log.note(Step.INTRODUCED, f"{by}, seen at {places}", now)
        self._is_news = True

    def absent(self, server: str, now: float) -> None:
        """The peer is not registered at a server."""
        if now >= self._server_back_at + LISTED_AGAIN_S:
            self._absent_at, self._is_news = now, True
        if self.watches:
            self._log.note(Step.ABSENT, server, now)

    def sampled(self, socket: SocketId, observed: Address, poisoned: bool, now: float) -> None:
        """A server port saw `socket` there."""
        if self.awaits_sample == socket:
            self.awaits_sample = None
            spoilt = ", spoilt by an early packet" if poisoned else ""
            self._log.note(Step.SAMPLED, f"{_name(socket)} at {observed}{spoilt}", now)

    def take(self, event: ReachEvent, now: float) -> None:
        """Take an event of the reach."""
        match event:
            case SampleWanted(socket):
                self.awaits_sample = socket
            case IntroductionWanted():
                self.watches = True
                self._log.note(Step.ASKED_INTRODUCTION, "of both sides, again", now)
            case FreshSocketWanted():
                self._log.note(Step.FRESH_SOCKET, "the attempt goes on from another port", now)
            case PathChosen(path) | PathRecovered(path):
                self._path, self._narrow = path, None
                self.watches = self.has_failed = self._heard = False
                self._told = self.awaits_sample = None
                self._log.note(Step.PATH, f"{path.kind} {path.address}, by {path.technique}", now)
            case PathMeasured(address, _, is_narrow=True, is_certain=True):
                self._narrow = address
                self.has_failed = self._is_news = True
                self._log.note(Step.NARROW, f"{address} answers small packets only", now)
            case PathMeasured(is_narrow=False):
                self._narrow = self._told = None
                self.has_failed = False
                self._codes.discard(VerdictCode.PATH_TOO_NARROW)
            case PathDown():
                self._path, self._narrow, self._was_lost = None, None, True
                self.watches = self._is_news = True
                self._needs_server = self._needs_server or self._is_alone
                self._log.begin(now)
                self._log.note(Step.PATH_LOST, "no answer on any path", now)
            case AttemptFailed(heard):
                self.has_failed = self._is_news = True
                self._heard = self._heard or heard
            case _:
                pass

    def sent(
        self,
        datagrams: Iterable[Datagram],
        targets: tuple[Candidate, ...],
        technique: str | None,
        now: float,
    ) -> None:
        """These packets were sent to the peer; `technique` is that of the running escalation."""
        if not self.watches:
            return
        kinds = {target.address: target.kind for target in targets}
        for data, address, ttl, socket, _ in datagrams:
            head = data[:2]
            if head == _REQUEST:
                step, detail = _step(kinds.get(address), ttl, socket, technique)
                is_counted = technique is not None and step is not Step.CHECKS
                self._log.note(step, detail, now, socket if is_counted else None)
            elif head == _RESPONSE:
                if not self._heard:
                    self._is_news, self._hope_until = True, now + HOPE_S
                self._heard = True
                self._log.note(Step.HEARD, f"a check of the peer's from {address}", now)
            else:
                self._log.note(Step.HANDSHAKE, f"to {address}", now)

    def is_here(self) -> None:
        """The peer is online: any verdict after that is news."""
        self._codes.clear()
        self._was_lost = False

    def session_established(self, now: float) -> None:
        self._log.note(Step.SESSION, "keys agreed, messages flow", now)

    def left(self, now: float) -> None:
        """The peer has said goodbye."""
        self._has_left, self._path = True, None
        self._codes.clear()
        self.watches = self.has_failed = False
        self._log.note(Step.LEFT, "the peer has said goodbye", now)

    def blocked(self, is_blocked: bool) -> None:
        self._is_blocked = is_blocked
        if is_blocked:
            self._path, self.watches, self.has_failed = None, False, False
            self._codes.clear()

    # --- outputs

    def next_verdict(
        self, card: Card, *, may_guess: bool, now: float, lacks_place: bool = False
    ) -> Verdict | None:
        """Drain: the verdict to report after an attempt has failed.  `may_guess`: whether guesses
        are allowed towards this peer; `lacks_place`: whether others have used up this hour's."""
        if not (self.has_failed and self._is_news):
            return None
        if self._path is not None and self._narrow is None:
            return None
        if self._told is not None and now < self._hope_until:
            return None
        self._is_news = False
        self._told = verdict = self._judge(card, may_guess, lacks_place, now)
        if verdict.code in self._codes:
            return None
        self._codes.add(verdict.code)
        self._log.note(Step.VERDICT, str(verdict.code), now)
        return verdict

    @property
    def told(self) -> Verdict | None:
        """The verdict of the attempt that has failed; None while there is hope."""
        return self._told

    def report(
        self, card: Card, *, may_guess: bool, now: float, lacks_place: bool = False
    ) -> PeerDiagnosis:
        is_well = self._path is not None and self._narrow is None
        return PeerDiagnosis(
            ours=self._surroundings.nat,
            theirs=card.nat,
            verdict=None if is_well else self._judge(card, may_guess, lacks_place, now),
            path=self._path,
            began=self._log.began,
            log=self._log.entries,
            missing=self._log.missing,
        )

    # --- private

    def _begin(self, now: float) -> None:
        self.watches, self._heard, self.has_failed = True, False, False
        self._log.begin(now)

    def _judge(self, card: Card, may_guess: bool, lacks_place: bool, now: float) -> Verdict:
        if self._narrow is not None:
            return judge_width(is_ipv6=self._narrow.is_ipv6)
        found = self._findings(card, may_guess, now)
        return judge(replace(found, lacks_place=lacks_place))

    def _findings(self, card: Card, may_guess: bool, now: float) -> Findings:
        surroundings = self._surroundings
        candidates = card.candidates
        mapped = surroundings.mapped
        told = (CandidateKind.SERVER_REFLEXIVE, CandidateKind.MAPPED)
        claimed = [c.address for c in candidates if c.kind in told and is_public(c.address.host)]
        our_hosts = _hosts((*surroundings.ours, *(a for a in mapped if is_public(a.host))))
        they_have_ipv6 = any(c.kind is CandidateKind.IPV6 for c in candidates)
        return Findings(
            ours=surroundings.nat,
            theirs=card.nat,
            our_hosts=our_hosts,
            their_hosts=_hosts(self._seen) | _hosts(claimed),
            server_hosts=_hosts(surroundings.servers),
            is_translated=not _hosts(surroundings.ours) & surroundings.held,
            meets_inside=surroundings.meets_inside,
            heard=self._heard,
            we_are_mapped=bool(mapped),
            they_are_mapped=any(c.kind is CandidateKind.MAPPED for c in candidates),
            behind_carrier=bool(mapped) and all(is_private(a.host) for a in mapped),
            both_have_ipv6=they_have_ipv6 and any(a.is_ipv6 for a in surroundings.ours),
            may_guess=may_guess,
            spares_blocks=self._turns.spares_blocks,
            servers_are_silent=surroundings.servers_are_silent and self._needs_server,
            refusal=surroundings.refusal if self._needs_server else None,
            is_offline=surroundings.is_offline,
            family_missing=surroundings.family_missing,
            was_lost=self._was_lost,
            udp_works=surroundings.udp_works,
            is_alive=now < self._alive_at + ALIVE_S,
            is_listed=self._is_listed or not surroundings.is_registered,
            has_left=self._has_left,
            is_full=FULL in card.features,
            is_blocked=self._is_blocked,
        )

    @property
    def _is_alone(self) -> bool:
        """Whether no server helps."""
        return self._surroundings.servers_are_silent or self._surroundings.refusal is not None

    @property
    def _is_listed(self) -> bool:
        if self._introduced_at is None:
            return False
        return self._absent_at is None or self._absent_at < self._introduced_at + ABSENCE_LAG_S


def _step(
    kind: CandidateKind | None, ttl: int | None, socket: SocketId, technique: str | None
) -> tuple[Step, str]:
    """What one check was for."""
    if technique is not None and (kind is None or socket != MAIN_SOCKET):
        if ttl is not None:
            return Step.OPENERS, f"opened a port of our NAT towards it ({technique})"
        return Step.GUESSES, f"guessed where it is ({technique})"
    if ttl is not None:
        return Step.OPENERS, "opened our own NAT towards it"
    if socket != MAIN_SOCKET:
        return Step.CHECKS, "its public address, from another port of ours"
    return Step.CHECKS, _PLACES[kind] if kind is not None else "where it may be"


def _hosts(addresses: Iterable[Address]) -> frozenset[str]:
    return frozenset(address.host for address in addresses)


def _name(socket: SocketId) -> str:
    return "our socket" if socket == MAIN_SOCKET else "a fresh socket"
