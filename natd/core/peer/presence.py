"""Whether one peer is online, as reported, and when its handshake is overdue.

    away ─► path ─► handshake ─► online ─► away
              └─ redial_at ─┘

Rules:
- An attempt is timed from its first introduction; one long ago was another attempt.
- A handshake can be overdue only on a path: without one it cannot proceed.
- A session that is answered nothing on a path that answers checks has no other end any more: the
  peer has another one, with somebody who had its identity for a while.  It is dialled again.
"""

from dataclasses import dataclass

from natd.core.base.types import Candidate, NatReport, PathReport, PeerId, PeerState
from natd.core.base.verdict import Verdict
from natd.core.keys.card import Card
from natd.core.peer.reach import Reach
from natd.core.punch.search import LATE_S

HANDSHAKE_PATIENCE_S = 4.0
"""On a path that answers checks, a handshake that takes longer is stuck: dial again.  The side that
was to be dialled waits twice as long before it dials itself."""

UNDIALLED_S = 0.25
"""With a path and no first flight after this long, the introduction that named us as the dialler
was lost: either side dials, and if both do, one session stays."""

SESSION_SILENT_S = 10.0
"""Of checks that are answered and a session that is not, twice in a row: when an outage ends
between the two, the session is answered before the second.  At 30 % loss it is within seconds."""

ANSWERED_LATELY_S = 5.0
"""A path in use on which an answer is awaited is checked every other second."""


@dataclass(frozen=True, slots=True)
class PeerView:
    """The state of a peer, for people and programs."""

    peer: PeerId
    nick: str
    state: PeerState
    path: PathReport | None
    verdict: Verdict | None
    """Why the attempt to reach it has failed; None: it has not, or may still succeed."""
    next_try_at: float | None
    """When the next step to reach it is due, in any state; None: never."""
    is_on_link: bool
    """Whether it was heard on a link of ours, with no server's help."""
    last_heard_at: float | None
    candidates: tuple[Candidate, ...]
    nat: NatReport


def view_of(
    card: Card,
    reach: Reach,
    verdict: Verdict | None,
    *,
    is_online: bool,
    is_blocked: bool,
    now: float,
) -> PeerView:
    """`verdict`: why the last attempt has failed, if it has."""
    state = PeerState.OFFLINE
    if is_blocked:
        state = PeerState.BLOCKED
    elif is_online:
        state = PeerState.ONLINE
    elif reach.search.is_trying(now):
        state = PeerState.PUNCHING
    return PeerView(
        peer=card.peer,
        nick=card.nick,
        state=state,
        path=reach.paths.report,
        verdict=verdict,
        next_try_at=None if is_online else reach.search.next_try_at,
        is_on_link=reach.remote.is_on_link,
        last_heard_at=reach.heard_at,
        candidates=reach.search.punch.targets,
        nat=card.nat,
    )


@dataclass(slots=True)
class Presence:
    """Whether the peer is online, as reported by events."""

    is_online: bool = False
    we_dial: bool = False
    tried_since: float | None = None  # None: reached, or never introduced
    redial_at: float | None = None  # None: no handshake is overdue
    is_undialled: bool = False  # nobody had dialled when the path came up
    role_psk: bytes | None = None  # the key for which `we_dial` was said; None: for none yet
    unanswered_since: float | None = None  # None: the session was answered what it has asked
    is_doubted: bool = False  # `SESSION_SILENT_S` have passed once

    def begin(self, now: float) -> None:
        """An attempt begins: time it from now, unless a recent one is being timed."""
        if not self.is_online and (self.tried_since is None or now - self.tried_since > LATE_S):
            self.tried_since = now
            self.role_psk = None

    def take_role(self, we_dial: bool, psk: bytes) -> bool:
        """Whether we are the one who dials, now that an introduction says so or not.

        The first one of an attempt decides, as long as the pair's key is the same.  A later one
        may name the other side, which asked for it; if both dialled, one first flight with its
        messages would be thrown away, and a round trip with it.
        """
        if self.role_psk != psk:
            self.role_psk, self.we_dial = psk, we_dial
        return self.we_dial

    def is_redial_due(self, is_open: bool, now: float) -> bool:
        """Whether to dial again now; sets the next time."""
        if self.redial_at is None or self.redial_at > now:
            return False
        self.redial_at = now + 2 * HANDSHAKE_PATIENCE_S
        is_under_way = self.is_undialled and is_open
        self.is_undialled = False
        return not is_under_way

    def notice(
        self,
        path: PathReport | None,
        *,
        is_open: bool,
        is_established: bool,
        now: float,
        patience_s: float = 0.0,
    ) -> float | None:
        """A path or a session may have come up.  If the peer is online from now on, gives the
        seconds since the begin.  `is_open`: a handshake has begun; `is_established`: it is
        complete; `patience_s`: how much longer than usual it may take."""
        if path is not None and not is_established:
            self._expect_handshake(is_open, now, patience_s)
            return None
        self.redial_at = None
        if path is None or self.is_online:
            return None
        since = self.tried_since if self.tried_since is not None else now
        self.is_online, self.tried_since, self.role_psk = True, None, None
        return now - since

    def go(self, now: float) -> bool:
        """The peer goes offline; False if it was not online."""
        was_online, self.is_online = self.is_online, False
        if was_online:
            self.begin(now)
        return was_online

    def asked(self, now: float) -> None:
        """The session has sent what must be acknowledged."""
        if self.unanswered_since is None:
            self.unanswered_since = now

    def answered(self) -> None:
        """The session was answered."""
        self.unanswered_since, self.is_doubted = None, False

    @property
    def doubted_at(self) -> float | None:
        """When to see whether the session still has another end; None while it is answered."""
        return None if self.unanswered_since is None else self.unanswered_since + SESSION_SILENT_S

    def has_lost_session(self, path_heard_at: float | None, now: float) -> bool:
        """Whether to dial again now, because the path is answered and the session is not."""
        if self.doubted_at is None or now < self.doubted_at:
            return False
        if path_heard_at is None or now - path_heard_at > ANSWERED_LATELY_S:
            self.answered()
            return False
        was_doubted, self.is_doubted = self.is_doubted, not self.is_doubted
        self.unanswered_since = now
        return was_doubted

    # --- private

    def _expect_handshake(self, is_open: bool, now: float, longer_s: float) -> None:
        """There is a path and no complete handshake: set when that has taken too long."""
        if self.redial_at is None:
            self.is_undialled = not is_open
            patience_s = HANDSHAKE_PATIENCE_S * (1.0 if self.we_dial else 2.0)
            wait_s = UNDIALLED_S if self.is_undialled else patience_s
            self.redial_at = now + wait_s + longer_s
