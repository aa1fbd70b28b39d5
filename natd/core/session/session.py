"""One encrypted session with one peer.

A session turns bytes to send into datagrams and datagrams into bytes received, in order.
It knows no address: which path carries its datagrams is decided by its owner, so a path may
come, go or double without the session noticing.

Rules that a change must not break:

- The pair's key (`PairSecrets.psk`) is the only way in.  A handshake that did not use it is
  refused before anything is delivered, and a refused or unfinished handshake ends without a
  datagram: without the key it can't be learned that a natd is here.
- The dialler's first flight carries what was given to `send` until then (0-RTT), and the
  acceptor's answer carries what was given to `send` at its end.
- What an acceptor receives before `HandshakeCompleted` may be a recorded first flight, sent again:
  it was written by the peer, but perhaps not now.  `established` says that the peer is here.
"""

from collections import Counter, deque
from typing import Final

from natd.core.base.routes import CONNECTION_ID, RouteAdded, RouteDropped
from natd.core.base.timers import earliest
from natd.core.keys.secrets import PairSecrets
from natd.core.session import quic
from natd.core.session.events import DataReceived, HandshakeCompleted, SessionEnded, SessionEvent
from natd.core.session.handshake_retransmit import HandshakeRetransmit
from natd.core.session.quic_header import begins_with_initial, is_version_1

SEND_BUFFER_BYTES = 256 * 1024
"""How much may wait here.  Enough to fill a long fat path between two timers; what is more
stays with the conversation and on disk."""

EARLY_DATAGRAMS = 16
"""How many datagrams may wait for the keys that open them, when the network swapped them with
the ones that bring the keys.  A first flight with a full window has 10."""

WAKING_S, LONGEST_WAKING_S = 0.25, 15.0
"""How long to wait for the answer to the ping that tries a new path, doubling."""

LAST_DATAGRAMS = 2
"""How many datagrams are kept to be sent again on a new path.  The library's last two probes
hold the oldest of what is not acknowledged: a chat line is there half a round trip later."""

LAST_FOR_S = 1.0
"""For how long they are.  The library takes the time since a packet was first sent for its round
trip, and after an outage of an hour would send a few bytes a second, and wait for minutes."""

MESSAGE_STREAM = 0
"""The dialler's first bidirectional stream: control and messages, both ways."""


def prepare_sessions() -> None:
    """Do now, in 50 ms, what the first handshake of a process would otherwise wait for."""
    quic.prepare()


class Session:
    """See the top of this file.  Follows the contract of a core, without addresses."""

    def __init__(
        self, connection: quic.Connection, connection_ids: set[bytes], is_dialler: bool, now: float
    ) -> None:
        self.is_dialler: Final = is_dialler
        self.begun_at: Final = now
        self.established = False
        self.closed = False
        self.routes = {CONNECTION_ID + connection_id for connection_id in connection_ids}
        """Routing keys of the datagrams that are ours."""
        self.dropped: Counter[str] = Counter()
        self._connection = connection
        self._now = now
        self._events: deque[SessionEvent] = deque()
        self._held = bytearray()  # given to `send` while the message stream can't take it
        self._early: list[bytes] = []  # datagrams that came before the keys to open them
        # None once both ends know that the handshake is complete.
        self._flight: HandshakeRetransmit | None = HandshakeRetransmit(
            is_dialler=is_dialler, now=now
        )
        # With the instants at which they were sent.
        self._last: deque[tuple[float, bytes]] = deque(maxlen=LAST_DATAGRAMS)
        # To be sent again, as they are.
        self._again: list[bytes] = []
        # When to try the new path again; None: it has answered.
        self._wake_at: float | None = None
        self._wake_wait_s = WAKING_S
        self._patience_s = 0.0

    @classmethod
    def dial(
        cls, secrets: PairSecrets, *, salt: bytes, now: float, patience_s: float = 0.0
    ) -> "Session":
        """Begin a session; `salt` (4 bytes) makes its first connection id another one than
        that of every earlier session of this pair."""
        connection = quic.dial(secrets, salt, now, patience_s)
        return cls(connection, {connection.own_id}, True, now)

    @classmethod
    def accept(
        cls, secrets: PairSecrets, initial_dcid: bytes, now: float, patience_s: float = 0.0
    ) -> "Session":
        """Take part in a session that the peer began: then feed it its datagrams.

        The caller has checked `initial_dcid` (`verify_initial_connection_id`), so that junk
        makes no session.
        """
        connection = quic.accept(secrets, initial_dcid, patience_s)
        return cls(connection, {initial_dcid, connection.own_id}, False, now)

    def be_patient(self, patience_s: float) -> None:
        """Repeat nothing sooner than that."""
        self._patience_s = patience_s
        if self._flight is not None:
            self._flight.be_patient(patience_s)

    # --- inputs ------------------------------------------------------------------------

    def receive_datagram(self, data: bytes, now: float) -> bool:
        """Take a datagram whose destination connection id is one of ours.

        True when it held something new that the peer (or, before `HandshakeCompleted`, someone
        who has seen our first flight) has written: evidence that the path it came by works.
        """
        self._now = now
        if self.closed:
            self.dropped["session-closed"] += 1
            return False
        if not is_version_1(data):
            self.dropped["quic-version-or-retry"] += 1
            return False
        genuine = self._connection.receive(data, now)
        if self._flight is not None:
            self._after_handshake_datagram(self._flight, data, genuine)
        elif not genuine:
            self.dropped["not-authentic-or-not-new"] += 1
        self._settle()
        return genuine

    def handle_timer(self, now: float) -> None:
        self._now = now
        if self.closed:
            return
        self._connection.handle_timer(now)
        self._settle()
        if self.closed:
            return
        if self._flight is not None:
            self._again = self._flight.due(now) or self._again
        if self._wake_at is not None and self._wake_at <= now:
            self._wake()

    def send(self, data: bytes, now: float) -> None:
        """Queue bytes for the peer; ValueError when they are more than `send_room`.

        Until the handshake is complete they leave with the first flight.  Dropped once closed.
        """
        self._now = now
        if self.closed:
            return
        if len(data) > self.send_room:
            raise ValueError(f"{len(data)} bytes to send, room for {self.send_room}")
        self._held += data
        self._release_held()

    def path_changed(self, now: float) -> None:
        """The datagrams take another path from here on, or one that was dead lives again.

        The last of what was sent is sent again at once, and a ping, until one is answered:
        what else was lost is known one round trip from now, however long the library's own
        timer had grown.
        """
        self._now = now
        if self.closed:
            return
        if self._flight is None:
            self._again = [data for at, data in self._last if now - at <= LAST_FOR_S]
        else:
            self._again = list(self._flight.datagrams)
            self._flight.renew(now)
        if self.established:
            self._wake_wait_s = max(WAKING_S, self._patience_s)
            self._wake()

    def close(self, now: float) -> None:
        """End the session and tell the peer, if it is there."""
        self._now = now
        if self.closed:
            return
        if self.established:
            self._connection.close()
        self._close("closed by us")

    # --- outputs -----------------------------------------------------------------------

    @property
    def send_room(self) -> int:
        """How many bytes `send` would take."""
        if self.closed:
            return 0
        return max(0, SEND_BUFFER_BYTES - len(self._held) - self._connection.unsent_bytes)

    @property
    def flight(self) -> tuple[bytes, ...]:
        """What the unfinished handshake has sent so far, for every further path to carry.

        Duplicates are harmless to QUIC.  Empty once the handshake is finished at both ends, or
        the session closed.
        """
        return () if self._flight is None else tuple(self._flight.datagrams)

    def datagrams_to_send(self) -> list[bytes]:
        if (self.closed and not self.established) or self._is_silent:
            return []
        datagrams = self._connection.poll(self._now)
        if self._flight is None:
            self._last.extend((self._now, data) for data in datagrams)
        else:
            # The library's later Initial packets repeat what is in the first ones.
            begun = bool(self._flight.datagrams)
            news = [d for d in datagrams if not (begun and begins_with_initial(d))]
            self._flight.add(news, self._now)
        again, self._again = self._again, []
        return again + datagrams

    def next_event(self) -> SessionEvent | None:
        return self._events.popleft() if self._events else None

    def get_timer(self) -> float | None:
        if self.closed or self._is_silent:
            return None
        repeat_at = None if self._flight is None else self._flight.get_timer()
        return earliest(self._connection.get_timer(), repeat_at, self._wake_at)

    # --- inside ------------------------------------------------------------------------

    @property
    def _is_silent(self) -> bool:
        """An acceptor says nothing, not even that it has heard a part of a first flight, until
        that has proved that its maker holds the key."""
        return not self.is_dialler and not self._connection.is_authenticated

    def _after_handshake_datagram(
        self, flight: HandshakeRetransmit, data: bytes, genuine: bool
    ) -> None:
        if genuine:
            flight.hear(data, self._now)
            self._open_early()
        elif flight.has_heard(data):
            self._again = flight.hear_again(self._now) or self._again
        elif not begins_with_initial(data) and len(self._early) < EARLY_DATAGRAMS:
            self._early.append(data)
        else:
            self.dropped["not-authentic-or-not-new"] += 1

    def _open_early(self) -> None:
        """Each datagram that opened may have brought the keys to others."""
        opened = True
        while opened and self._early:
            waiting, self._early = self._early, []
            self._early = [
                data for data in waiting if not self._connection.receive(data, self._now)
            ]
            opened = len(self._early) < len(waiting)

    def _settle(self) -> None:
        """What follows from the connection's state after an input."""
        self._take_events()
        end = self._connection.end
        if end is not None:
            self._close(end)
            return
        self._release_held()
        if self._flight is not None and self._connection.is_confirmed:
            self._flight = None
            self._early.clear()

    def _take_events(self) -> None:
        for event in self._connection.events():
            match event:
                case quic.StreamData(stream, data):
                    if stream != MESSAGE_STREAM:
                        self.dropped["unknown-stream"] += 1
                    elif data:
                        self._events.append(DataReceived(data))
                case HandshakeCompleted():
                    self._establish()
                    self._events.append(event)
                case RouteAdded(key):
                    self.routes.add(key)
                    self._events.append(event)
                case RouteDropped(key):
                    self.routes.discard(key)
                    self._events.append(event)
                case quic.PingAcknowledged():
                    self._wake_at = None

    def _establish(self) -> None:
        self.established = True
        self._connection.forget_initial_packets()
        if self._flight is not None:
            self._flight.next_stage()

    def _release_held(self) -> None:
        """The acceptor can write to the dialler's stream once it has heard of it."""
        if self._held and self._connection.may_write(MESSAGE_STREAM):
            self._connection.send(MESSAGE_STREAM, bytes(self._held))
            self._held.clear()

    def _wake(self) -> None:
        self._connection.ping()
        self._wake_at = self._now + self._wake_wait_s
        self._wake_wait_s = min(LONGEST_WAKING_S, 2 * self._wake_wait_s)

    def _close(self, reason: str) -> None:
        self.closed = True
        self._held.clear()
        self._early.clear()
        self._again.clear()
        self._flight = None
        self._events.append(SessionEnded(reason))
