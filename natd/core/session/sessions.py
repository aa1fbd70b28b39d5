"""The sessions of one peer: the one in use, and the one that may replace it.

    nothing ──dial / first flight──► in use, handshaking ──handshake──► in use
                                                                          │ dial / first flight
                                            replaced when it completes ◄──┴──► replacement

Rules:
- An established session is replaced only by one whose handshake is complete: a replayed first
  flight can open a replacement, but never finish it, and what it said is kept back until then.
- Where nothing is in use, a first flight is listened to at once: its messages are sealed by the
  pair's key and are known by number, so a replay says nothing new.
- If both sides dial at the same time, the session of the lower peer id stays.
- A first connection id opens one session in its life.
- A dial without an answer for a while is started again when a path may exist, not repeated: the
  library would take all that time for a round trip, and its timers would be minutes.
"""

from collections import Counter, deque
from random import Random

from natd.core.base.routes import CONNECTION_ID, RouteAdded, RouteDropped
from natd.core.base.timers import earliest
from natd.core.keys.secrets import SALT_BYTES, PairSecrets, verify_initial_connection_id
from natd.core.session.events import (
    DataReceived,
    HandshakeCompleted,
    SessionEnded,
    SessionOpened,
    SessionsEvent,
)
from natd.core.session.quic_header import may_open_session
from natd.core.session.session import Session

REMEMBERED_FIRST_IDS = 256
"""More first flights than a pair makes in the lifetime of its prekeys."""

HELD_BYTES = 256 * 1024
"""What a replacement may say before its handshake is complete; a first flight has half that."""

PROBE_LIMIT_S = 60.0
"""A QUIC timer nearer than this is a probe timeout, which runs while something that we sent is
not acknowledged (RFC 9002, section 6.2.1); at rest only the idle timeout is left, days away."""

STALE_DIAL_S = 1.0
"""Later than most paths open, and a round trip from which the library's estimate recovers."""


class Sessions:
    """See the top of this file."""

    def __init__(self, random: Random, *, ours_stay: bool) -> None:
        """`ours_stay`: our peer id is the lower one, so a dial of ours beats one of theirs."""
        self.dropped: Counter[str] = Counter()
        self._patience_s = 0.0
        self._random = random
        self._ours_stay = ours_stay
        self._in_use: Session | None = None
        self._replacement: Session | None = None
        self._secrets: dict[int, PairSecrets] = {}  # by id() of the two sessions above
        self._held = bytearray()  # said by the replacement
        self._first_ids: deque[bytes] = deque(maxlen=REMEMBERED_FIRST_IDS)
        self._events: deque[SessionsEvent] = deque()
        self._datagrams: list[bytes] = []

    # --- inputs

    def be_patient(self, patience_s: float) -> None:
        """Repeat nothing of a handshake sooner than that."""
        self._patience_s = patience_s
        for session in (self._in_use, self._replacement):
            if session is not None:
                session.be_patient(patience_s)

    def dial(self, secrets: PairSecrets, now: float) -> None:
        """Begin a session, unless one of ours is being opened with the same secrets."""
        for session in (self._in_use, self._replacement):
            if session is not None and session.is_dialler and not session.established:
                if self._secrets[id(session)].psk == secrets.psk:
                    return
                self._discard(session)
        salt = self._random.randbytes(SALT_BYTES)
        session = Session.dial(secrets, salt=salt, now=now, patience_s=self._patience_s)
        self._adopt(session, secrets)

    def redial(self, secrets: PairSecrets, now: float) -> None:
        """Begin a new session although one is being opened, because that one is stuck."""
        for session in (self._in_use, self._replacement):
            if session is not None and not session.established:
                self._discard(session)
        self.dial(secrets, now)

    def renew(self, now: float) -> None:
        """A path may exist now: start a dial again that has waited for one."""
        for session in (self._in_use, self._replacement):
            if session is None or session.established or not session.is_dialler:
                continue
            if now - session.begun_at > max(STALE_DIAL_S, 2.0 * self._patience_s):
                secrets = self._secrets[id(session)]
                self._discard(session)
                self.dial(secrets, now)

    def receive_datagram(
        self, data: bytes, connection_id: bytes, secrets: PairSecrets | None, now: float
    ) -> bool:
        """Take a QUIC datagram; True if it was authentic and new.

        `secrets` are the pair's, found by the first 8 bytes of a dialler's first connection id;
        None for every other datagram.
        """
        for session in (self._in_use, self._replacement):
            if session is not None and CONNECTION_ID + connection_id in session.routes:
                genuine = session.receive_datagram(data, now)
                self._settle()
                return genuine
        if secrets is None or not may_open_session(data):
            self.dropped["session-unknown"] += 1
            return False
        return self._receive_first(data, connection_id, secrets, now)

    def send(self, data: bytes, now: float) -> None:
        if self._in_use is not None:
            self._in_use.send(data, now)

    def path_changed(self, now: float, *, has_flight: bool = False) -> None:
        """The datagrams take another path, or the old one is back: repeat what is unanswered.
        `has_flight`: a handshake has just been sent by this path, and needs no other copy."""
        self.renew(now)
        for session in (self._in_use, self._replacement):
            if session is not None and (session.established or not has_flight):
                session.path_changed(now)

    def handle_timer(self, now: float) -> None:
        for session in (self._in_use, self._replacement):
            if session is not None:
                timer = session.get_timer()
                if timer is not None and timer <= now:
                    session.handle_timer(now)
        self._settle()

    def flush(self) -> None:
        """Turn written data into datagrams: a close sends no more data."""
        for session in (self._in_use, self._replacement):
            if session is not None:
                self._datagrams += session.datagrams_to_send()

    def close(self, now: float) -> None:
        for session in (self._in_use, self._replacement):
            if session is not None:
                session.close(now)
                self._datagrams += session.datagrams_to_send()
                in_use = session is self._in_use
                self._discard(session)
                if in_use:
                    self._events.append(SessionEnded("closed by us"))

    # --- outputs

    def datagrams_to_send(self) -> list[bytes]:
        datagrams, self._datagrams = self._datagrams, []
        for session in (self._in_use, self._replacement):
            if session is not None:
                datagrams += session.datagrams_to_send()
        return datagrams

    def next_event(self) -> SessionsEvent | None:
        return self._events.popleft() if self._events else None

    def get_timer(self) -> float | None:
        return earliest(
            None if self._in_use is None else self._in_use.get_timer(),
            None if self._replacement is None else self._replacement.get_timer(),
        )

    @property
    def is_open(self) -> bool:
        """Whether there is a session to write to."""
        return self._in_use is not None

    @property
    def is_established(self) -> bool:
        """Whether the handshake of the session in use is complete."""
        return self._in_use is not None and self._in_use.established

    def is_awaiting(self, now: float) -> bool:
        """Whether the peer owes us an answer: a handshake runs, or data is not acknowledged."""
        for session in (self._in_use, self._replacement):
            if session is not None:
                timer = session.get_timer()
                if not session.established or (timer is not None and timer < now + PROBE_LIMIT_S):
                    return True
        return False

    def has_asked(self, now: float) -> bool:
        """Whether the session in use, which is complete, waits for an acknowledgement."""
        if self._in_use is None or not self._in_use.established:
            return False
        timer = self._in_use.get_timer()
        return timer is not None and timer < now + PROBE_LIMIT_S

    @property
    def send_room(self) -> int:
        return 0 if self._in_use is None else self._in_use.send_room

    @property
    def all_dropped(self) -> Counter[str]:
        """Ours and those of all sessions, ended ones included."""
        living = [each for each in (self._in_use, self._replacement) if each is not None]
        return sum((each.dropped for each in living), Counter(self.dropped))

    @property
    def psk(self) -> bytes | None:
        """The secret of the session in use; None without a session."""
        return None if self._in_use is None else self._secrets[id(self._in_use)].psk

    @property
    def flight(self) -> list[bytes]:
        """What unfinished handshakes have sent so far (duplicates are harmless)."""
        return [
            data
            for session in (self._in_use, self._replacement)
            if session is not None
            for data in session.flight
        ]

    # --- private

    def _receive_first(
        self, data: bytes, connection_id: bytes, secrets: PairSecrets, now: float
    ) -> bool:
        if not verify_initial_connection_id(connection_id, secrets):
            self.dropped["first-flight-forged"] += 1
            return False
        if connection_id in self._first_ids:
            self.dropped["first-flight-replayed"] += 1
            return False
        for session in (self._in_use, self._replacement):
            if session is None or session.established or not session.is_dialler:
                continue
            if self._ours_stay and self._secrets[id(session)].psk == secrets.psk:
                self.dropped["first-flight-lost-the-tie"] += 1
                return False
            self._discard(session)
        self._first_ids.append(connection_id)
        session = Session.accept(secrets, connection_id, now, self._patience_s)
        self._adopt(session, secrets)
        genuine = session.receive_datagram(data, now)
        self._settle()
        return genuine

    def _adopt(self, session: Session, secrets: PairSecrets) -> None:
        """Take a new session into use, or let it wait until its handshake is complete."""
        if self._in_use is not None and self._in_use.established:
            if self._replacement is not None:
                self._discard(self._replacement)
            self._replacement = session
            self._held.clear()
        else:
            if self._in_use is not None:
                self._discard(self._in_use)
            self._in_use = session
            self._events.append(SessionOpened())
        session.be_patient(self._patience_s)
        self._secrets[id(session)] = secrets
        self._events += [RouteAdded(key) for key in session.routes]

    def _settle(self) -> None:
        """Turn the sessions' events into ours, and replace where a handshake is complete."""
        if self._in_use is not None:
            self._take_events(self._in_use)
        if self._replacement is not None:
            self._take_events(self._replacement)
        if self._in_use is None and self._replacement is not None:
            self._promote()

    def _take_events(self, session: Session) -> None:
        while (event := session.next_event()) is not None:
            match event:
                case DataReceived(data) if session is self._replacement:
                    if len(self._held) + len(data) > HELD_BYTES:
                        self._discard(session)
                        return
                    self._held += data
                case HandshakeCompleted() if session is self._replacement:
                    self._datagrams += session.datagrams_to_send()
                    if self._in_use is not None:
                        self._discard(self._in_use)
                    self._promote()
                case SessionEnded():
                    in_use = session is self._in_use
                    self._datagrams += session.datagrams_to_send()
                    self._discard(session)
                    if in_use:
                        self._events.append(event)
                    return
                case _:
                    self._events.append(event)

    def _promote(self) -> None:
        session, self._replacement = self._replacement, None
        assert session is not None
        self._in_use = session
        self._events.append(SessionOpened())
        if session.established:
            self._events.append(HandshakeCompleted())
        if self._held:
            self._events.append(DataReceived(bytes(self._held)))
            self._held.clear()

    def _discard(self, session: Session) -> None:
        self._events += [RouteDropped(key) for key in session.routes]
        del self._secrets[id(session)]
        self.dropped += session.dropped
        if session is self._in_use:
            self._in_use = None
        elif session is self._replacement:
            self._replacement = None
            self._held.clear()
