"""One encrypted session with one peer: QUIC version 1, and the only door to qh3.

A session turns bytes to send into datagrams and datagrams into bytes received, in order.
It knows no address: which path carries its datagrams is decided by its owner, so a path may
come, go or double without the session noticing.

Rules that a change must not break:

- The pair's key (`PairSecrets.psk`) is the only way in.  It goes to TLS 1.3 as the secret of
  a session ticket at both ends; a handshake that did not resume that ticket is refused before
  anything is delivered, and a refused or unfinished handshake ends without a datagram.
- The dialler's first flight carries what was given to `send` until then (0-RTT), and the
  acceptor's answer carries what was given to `send` at its end.
- What an acceptor receives before `Established` may be a recorded first flight, sent again:
  it was written by the peer, but perhaps not now.  `established` says that the peer is here.
- The remembered transport parameters are a lower bound of the real ones, or the dialler
  would close ("cannot decrease when accepting 0-RTT").

Datagrams find their session by destination connection id (RFC 9000, section 17):

    long header   1 | 4 version | 1 length | destination id | ...      first byte & 0x80
    short header  1 | 8 destination id | ...

The dialler's first destination id, 20 bytes, is `initial_connection_id`: it names the pair and
is authenticated, so that junk is dropped before there is a session.
"""

import functools
import logging
from collections import Counter, deque
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from qh3 import tls
from qh3._hazmat import Buffer
from qh3.quic import events as quic
from qh3.quic.configuration import QuicConfiguration
from qh3.quic.connection import QuicConnection, QuicConnectionError
from qh3.quic.packet import QuicTransportParameters, push_quic_transport_parameters

from natd.core.schedule import earliest
from natd.core.secrets import INITIAL_CONNECTION_ID_BYTES, PairSecrets, initial_connection_id

APPLICATION_PROTOCOL = "natd/1"

CONNECTION_ID_BYTES = 8
"""Ours, in every datagram that the peer sends but its first flight."""

DATAGRAM_BYTES = 1200
"""The least that every path must carry (RFC 9000, section 14); never probed for more, since a
path may change below the session at any time."""

SEND_BUFFER_BYTES = 256 * 1024
"""How much may wait here.  Enough to fill a long fat path between two timers; what is more
stays with the conversation and on disk."""

STREAM_WINDOW_BYTES = 1024 * 1024
CONNECTION_WINDOW_BYTES = 4 * 1024 * 1024
"""What the peer may send ahead of us: 10 MB/s at 100 ms on one stream, four such streams."""

REMEMBERED_WINDOW_BYTES = 128 * 1024
"""What a first flight may hold.  Part of the protocol: each end must grant at least this."""

REMEMBERED_STREAMS = 8

IDLE_TIMEOUT_S = 7 * 24 * 3600.0
"""As long as messages are kept for an absent peer.  Whether a peer is alive is judged by its
paths; a session that is silent because nobody types must not end."""

INITIAL_RTT_S = 0.1
"""First guess of the round trip; a lost first flight is sent again after three of them.
Shorter than RFC 9002's 333 ms because both ends are known to be there and waiting."""

EARLY_DATAGRAMS = 16
"""How many datagrams may wait for the keys that open them, when the network swapped them with
the ones that bring the keys.  A first flight with a full window has 10."""

DIALLER_FLIGHT_BYTES = 10 * DATAGRAM_BYTES
ACCEPTOR_FLIGHT_BYTES = 3 * DATAGRAM_BYTES
"""How much of what an unfinished handshake has sent is kept to be sent again: a full first
flight, and for the acceptor three times the one datagram that asks for it."""

HEARD_DATAGRAMS = 64
"""How many it remembers to have heard."""

PINGS_IN_FLIGHT = 64

REPEAT_S, LONGEST_REPEAT_S = 0.2, 2.0
"""How long a dialler waits for progress before it sends its part of the handshake again as it
was, and the limit of the doubling after.  The library's own timers double without limit, look
at one packet number space at a time, and can leave both ends waiting for each other: at 30 %
loss one handshake in 130 took more than a minute by them alone."""

ANSWER_AGAIN_S = 0.1
"""An acceptor repeats its part only when it hears the dialler's part again, and not faster:
what it sends to an unproved address stays below three times what it hears."""

WAKING_S = 0.25
"""How long to wait for the answer to the ping that tries a new path, doubling."""

LONGEST_WAIT_S = 15.0

LAST_DATAGRAMS = 2
"""How many datagrams are kept to be sent again on a new path.  The library's last two probes
hold the oldest of what is not acknowledged: a chat line is there half a round trip later."""

MESSAGE_STREAM = 0
"""The dialler's first bidirectional stream: control and messages, both ways."""

VIRTUAL_ADDRESS = ("192.0.2.1", 1)
"""The library wants an address; it gets one that never changes (TEST-NET-1, RFC 5737)."""

_LONG_HEADER = 0x80
_PACKET_TYPE = 0x30
_INITIAL, _ZERO_RTT, _RETRY = 0x00, 0x10, 0x30
_VERSION_1 = b"\x00\x00\x00\x01"
_SERVER_NAME = "natd.invalid"
_CIPHER_SUITE = tls.CipherSuite.CHACHA20_POLY1305_SHA256
_MAX_EARLY_DATA = 0xFFFFFFFF
_WAKING_PING = 0

_HOSTILE_INPUT_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    QuicConnectionError,
    RuntimeError,
    TypeError,
    ValueError,
    tls.Alert,
)
"""What the library was seen to raise, or might, on a handshake that was made to break it."""

# The library reports every closed connection as a warning; that is an event here.
logging.getLogger("quic").setLevel(logging.ERROR)


@dataclass(frozen=True, slots=True)
class Established:
    """The handshake is complete: the peer holds the pair's key, and is here at this moment."""

    early_data: bool
    """Whether the first flight's data counted."""


@dataclass(frozen=True, slots=True)
class Received:
    """Bytes from the peer, in the order they were sent, each once."""

    data: bytes


@dataclass(frozen=True, slots=True)
class ConnectionIdIssued:
    """Datagrams with this destination connection id are ours, too."""

    connection_id: bytes


@dataclass(frozen=True, slots=True)
class ConnectionIdRetired:
    """Datagrams with this destination connection id are no longer ours."""

    connection_id: bytes


@dataclass(frozen=True, slots=True)
class Pinged:
    """The peer has answered `ping(token)`."""

    token: int


@dataclass(frozen=True, slots=True)
class Closed:
    """The session is over: it takes and gives nothing more, apart from one last datagram."""

    reason: str


SessionEvent = Established | Received | ConnectionIdIssued | ConnectionIdRetired | Pinged | Closed


def destination_connection_id(data: bytes) -> bytes | None:
    """By which a QUIC datagram finds its session; None when it is too short to have one."""
    if not data:
        return None
    if data[0] & _LONG_HEADER:
        if len(data) < 7 or len(data) < 6 + data[5]:
            return None
        return data[6 : 6 + data[5]]
    if len(data) < 1 + CONNECTION_ID_BYTES:
        return None
    return data[1 : 1 + CONNECTION_ID_BYTES]


def may_open_session(data: bytes) -> bool:
    """Whether a datagram has the shape of a part of a dialler's first flight."""
    return (
        len(data) > 6 + INITIAL_CONNECTION_ID_BYTES
        and data[0] & _LONG_HEADER != 0
        and data[0] & _PACKET_TYPE in (_INITIAL, _ZERO_RTT)
        and data[1:5] == _VERSION_1
        and data[5] == INITIAL_CONNECTION_ID_BYTES
    )


def prepare_sessions() -> None:
    """Do now what the first handshake of a process would otherwise wait for.

    The cryptographic library seeds itself at first use (about 45 ms) and the throw-away
    certificate is made (about 1 ms).  Calling this is never needed, only quicker later.
    """
    _certificate()
    QuicConnection(configuration=_configuration(is_dialler=True)).connect(VIRTUAL_ADDRESS, 0.0)


class Session:
    """See the top of this file.  Follows the contract of a core, without addresses."""

    def __init__(
        self, connection: "_Connection", connection_ids: set[bytes], is_dialler: bool, now: float
    ) -> None:
        self.is_dialler: Final = is_dialler
        self.established = False
        self._is_confirmed = False
        self.closed = False
        self.connection_ids = connection_ids
        """Destination connection ids by which incoming datagrams are ours."""
        self.dropped: Counter[str] = Counter()
        self._connection = connection
        self._now = now
        self._events: deque[SessionEvent] = deque()
        # Given to `send` while the message stream can't take it yet.
        self._held = bytearray()
        # Datagrams that came before the keys to open them.
        self._early: list[bytes] = []
        # What an unfinished handshake has sent.
        self._flight: list[bytes] = []
        self._pings: dict[int, int] = {}
        self._next_ping = _WAKING_PING + 1
        self._last: deque[bytes] = deque(maxlen=LAST_DATAGRAMS)
        # To be sent again, as they are.
        self._again: list[bytes] = []
        # Hashes of the datagrams that an unfinished handshake has heard.
        self._heard: set[int] = set()
        # When to send the flight again; None: the handshake is finished, or not ours to drive.
        self._repeat_at: float | None = now + REPEAT_S if is_dialler else None
        self._repeat_wait_s = REPEAT_S
        self._answer_again_at = now
        # When to try the new path again; None: it has answered.
        self._wake_at: float | None = None
        self._wake_wait_s = WAKING_S

    @classmethod
    def dial(cls, secrets: PairSecrets, *, salt: bytes, now: float) -> "Session":
        """Begin a session; `salt` (4 bytes) makes its first connection id another one than
        that of every earlier session of this pair."""
        connection = _Connection(configuration=_dialler_configuration(secrets))
        connection.set_initial_destination(initial_connection_id(secrets, salt))
        connection.connect(VIRTUAL_ADDRESS, now)
        return cls(connection, {connection.host_cid}, True, now)

    @classmethod
    def accept(cls, secrets: PairSecrets, initial_dcid: bytes, now: float) -> "Session":
        """Take part in a session that the peer began: then feed it its datagrams.

        The caller has checked `initial_dcid` (`verify_initial_connection_id`), so that junk
        makes no session.
        """
        ticket = _ticket(secrets)
        connection = _Connection(
            configuration=_acceptor_configuration(),
            original_destination_connection_id=initial_dcid,
            session_ticket_fetcher=lambda identity: (
                ticket if identity == secrets.ticket_identity else None
            ),
        )
        return cls(connection, {initial_dcid, connection.host_cid}, False, now)

    # --- inputs ------------------------------------------------------------------------

    def receive_datagram(self, data: bytes, now: float) -> bool:
        """Take a datagram whose destination connection id is one of ours.

        True when it held something new that the peer (or, before `Established`, someone who
        has seen our first flight) has written: evidence that the path it came by works.
        """
        self._now = now
        if self.closed:
            self.dropped["session-closed"] += 1
            return False
        if not _is_version_1(data):
            self.dropped["quic-version-or-retry"] += 1
            return False
        genuine = self._feed(data)
        if not self._is_confirmed:
            self._after_handshake_datagram(data, genuine)
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
        if self._repeat_at is not None and self._repeat_at <= now:
            self._again = list(self._flight)
            self._repeat_wait_s = min(LONGEST_REPEAT_S, 2 * self._repeat_wait_s)
            self._repeat_at = now + self._repeat_wait_s
        if self._wake_at is not None and self._wake_at <= now:
            self._wake()

    def send(self, data: bytes, now: float) -> None:
        """Queue bytes for the peer; ValueError when they are more than `send_room`.

        Before `Established` they leave with the first flight.  Once closed, they are dropped.
        """
        self._now = now
        if self.closed:
            return
        if len(data) > self.send_room:
            raise ValueError(f"{len(data)} bytes to send, room for {self.send_room}")
        self._held += data
        self._release_held()

    def ping(self, token: int, now: float) -> None:
        """Ask the peer for a sign of life: `Pinged(token)` follows when it comes."""
        self._now = now
        if self.closed or not self.established:
            return
        if len(self._pings) >= PINGS_IN_FLIGHT:
            del self._pings[next(iter(self._pings))]
        self._pings[self._next_ping] = token
        self._connection.send_ping(self._next_ping)
        self._next_ping += 1

    def path_changed(self, now: float) -> None:
        """The datagrams take another path from here on, or one that was dead lives again.

        The last of what was sent is sent again at once, and a ping, until one is answered:
        what else was lost is known one round trip from now, however long the library's own
        timer had grown.
        """
        self._now = now
        if self.closed:
            return
        self._again = list(self._last if self._is_confirmed else self._flight)
        if self.established:
            self._wake_wait_s = WAKING_S
            self._wake()

    def close(self, now: float) -> None:
        """End the session and tell the peer, if it is there."""
        self._now = now
        if self.closed:
            return
        if self.established:
            self._connection.close()
        self._close("closed here")

    # --- outputs -----------------------------------------------------------------------

    @property
    def send_room(self) -> int:
        """How many bytes `send` would take."""
        if self.closed:
            return 0
        queued = len(self._held) + self._connection.get_send_buffer_size()
        return max(0, SEND_BUFFER_BYTES - queued)

    @property
    def flight(self) -> tuple[bytes, ...]:
        """What the unfinished handshake has sent so far, for every further path to carry.

        Duplicates are harmless to QUIC.  Empty once the session is established or closed.
        """
        return tuple(self._flight)

    def datagrams_to_send(self) -> list[bytes]:
        if self.closed and not self.established:
            return []
        datagrams = self._connection.poll(self._now)
        again, self._again = self._again, []
        if self._is_confirmed:
            self._last.extend(datagrams)
        else:
            self._keep_flight(datagrams)
        return again + datagrams

    def next_event(self) -> SessionEvent | None:
        return self._events.popleft() if self._events else None

    def get_timer(self) -> float | None:
        if self.closed:
            return None
        return earliest(self._connection.get_timer(), self._repeat_at, self._wake_at)

    # --- inside ------------------------------------------------------------------------

    def _feed(self, data: bytes) -> bool:
        before = self._connection.genuine_packets
        try:
            self._connection.receive_datagram(data, VIRTUAL_ADDRESS, self._now)
        except _HOSTILE_INPUT_ERRORS:
            self.dropped["library-error"] += 1
            if not self.established:
                self._close("the handshake failed")
            return False
        return self._connection.genuine_packets > before

    def _after_handshake_datagram(self, data: bytes, genuine: bool) -> None:
        if genuine:
            if len(self._heard) < HEARD_DATAGRAMS:
                self._heard.add(hash(data))
            if self._repeat_at is not None:
                self._repeat_wait_s = REPEAT_S
                self._repeat_at = self._now + REPEAT_S
            self._feed_early()
        elif hash(data) in self._heard:
            if not self.is_dialler and self._now >= self._answer_again_at:
                self._answer_again_at = self._now + ANSWER_AGAIN_S
                self._again = list(self._flight)
        elif not _begins_with_initial(data) and len(self._early) < EARLY_DATAGRAMS:
            self._early.append(data)
        else:
            self.dropped["not-authentic-or-not-new"] += 1

    def _feed_early(self) -> None:
        """Each datagram that opened may have brought the keys to others."""
        while self._early and not self.closed:
            waiting, self._early = self._early, []
            opened = False
            for data in waiting:
                if self._feed(data):
                    opened = True
                else:
                    self._early.append(data)
            if not opened:
                return

    def _settle(self) -> None:
        """What follows from the library's state after an input."""
        if self.closed:
            return
        if self._connection.is_unauthenticated:
            self._close("refused: the handshake did not use the pair's key")
            return
        if self._connection.is_closing:
            # A handshake that ends like this may be the work of anyone who saw it begin.
            self._take_events()
            self._close("closed by the peer" if self.established else "the handshake failed")
            return
        self._take_events()
        self._release_held()
        if not self._is_confirmed and self._connection.is_confirmed:
            self._is_confirmed = True
            self._repeat_at = None
            self._flight.clear()
            self._heard.clear()
            self._early.clear()

    def _take_events(self) -> None:
        while (event := self._connection.next_event()) is not None:
            match event:
                case quic.StreamDataReceived(stream_id=stream, data=data):
                    if stream != MESSAGE_STREAM:
                        self.dropped["unknown-stream"] += 1
                    elif data:
                        self._events.append(Received(data))
                case quic.HandshakeCompleted(early_data_accepted=early_data):
                    self.established = True
                    self._flight.clear()
                    self._connection.forget_initial_packets()
                    self._events.append(Established(early_data))
                case quic.ConnectionIdIssued(connection_id=cid):
                    self.connection_ids.add(cid)
                    self._events.append(ConnectionIdIssued(cid))
                case quic.ConnectionIdRetired(connection_id=cid):
                    self.connection_ids.discard(cid)
                    self._events.append(ConnectionIdRetired(cid))
                case quic.PingAcknowledged(uid=uid):
                    if uid == _WAKING_PING:
                        self._wake_at = None
                    elif (token := self._pings.pop(uid, None)) is not None:
                        self._events.append(Pinged(token))

    def _release_held(self) -> None:
        """The acceptor can write to the dialler's stream once it has heard of it."""
        if self._held and self._connection.may_write(MESSAGE_STREAM):
            self._connection.send_stream_data(MESSAGE_STREAM, bytes(self._held))
            self._held.clear()

    def _keep_flight(self, datagrams: list[bytes]) -> None:
        room = DIALLER_FLIGHT_BYTES if self.is_dialler else ACCEPTOR_FLIGHT_BYTES
        room -= sum(map(len, self._flight))
        for data in datagrams:
            if len(data) <= room:
                self._flight.append(data)
                room -= len(data)

    def _wake(self) -> None:
        self._connection.send_ping(_WAKING_PING)
        self._wake_at = self._now + self._wake_wait_s
        self._wake_wait_s = min(LONGEST_WAIT_S, 2 * self._wake_wait_s)

    def _close(self, reason: str) -> None:
        self.closed = True
        self._again.clear()
        self._held.clear()
        self._early.clear()
        self._flight.clear()
        self._pings.clear()
        self._events.append(Closed(reason))


class _Connection(QuicConnection):
    """The one place that looks under the library's lid (qh3 2.1)."""

    genuine_packets = 0
    """Packets that were decrypted and are not duplicates."""

    _is_stuck = False
    """Whether the library wants to send what it has no key for yet."""

    def set_initial_destination(self, connection_id: bytes) -> None:
        self._original_destination_connection_id = connection_id

    @property
    def is_unauthenticated(self) -> bool:
        """Whether the handshake went on without the pair's key."""
        context = self.tls
        return (
            context is not None
            and context.state not in _BEFORE_KEY_CHOICE
            and not context.session_resumed
        )

    @property
    def is_confirmed(self) -> bool:
        """Whether both ends know that the handshake is complete."""
        return self._handshake_confirmed

    @property
    def is_closing(self) -> bool:
        return self._close_event is not None

    def poll(self, now: float) -> list[bytes]:
        """What is to be sent.

        A dialler whose 0-RTT data is overdue while the acceptor's part of the handshake is
        still missing wants to send 1-RTT probes, and raises: until something else happens
        there is nothing to send.
        """
        datagrams: list[bytes] = []
        while self._core is not None and not self._is_stuck:
            try:
                transmit = self._core.poll_transmit(now)
            except RuntimeError:
                if self._handshake_complete:
                    raise
                self._is_stuck = True
                break
            if transmit is None:
                break
            datagrams.append(transmit[0])
        return datagrams

    def forget_initial_packets(self) -> None:
        """They have no use after the handshake (RFC 9001, section 4.9.1), but the library's
        client counts its padded acknowledgements among them as in flight until its first
        handshake packet has left, and keeps that back while too much is in flight."""
        self._require_core().discard_keys(int(tls.Epoch.INITIAL))

    def may_write(self, stream_id: int) -> bool:
        return self._is_client or (self._core is not None and self._stream_can_send(stream_id))

    def _learn_remote_source_cid(self, data: bytes) -> None:
        """Called by the library for each packet that it decrypted and had not seen before."""
        self.genuine_packets += 1
        self._is_stuck = False
        super()._learn_remote_source_cid(data)


_BEFORE_KEY_CHOICE = (
    tls.State.CLIENT_HANDSHAKE_START,
    tls.State.CLIENT_EXPECT_SERVER_HELLO,
    tls.State.SERVER_EXPECT_CLIENT_HELLO,
)


def _is_version_1(data: bytes) -> bool:
    """Neither Version Negotiation nor Retry is ever sent by us; both can be forged by anyone
    who saw the first flight, and would end or restart the handshake."""
    if not data:
        return False
    if not data[0] & _LONG_HEADER:
        return True
    return data[1:5] == _VERSION_1 and data[0] & _PACKET_TYPE != _RETRY


def _begins_with_initial(data: bytes) -> bool:
    return data[0] & (_LONG_HEADER | _PACKET_TYPE) == _LONG_HEADER | _INITIAL


def _configuration(*, is_dialler: bool) -> QuicConfiguration:
    return QuicConfiguration(
        alpn_protocols=[APPLICATION_PROTOCOL],
        cipher_suites=[_CIPHER_SUITE],
        connection_id_length=CONNECTION_ID_BYTES,
        idle_timeout=IDLE_TIMEOUT_S,
        initial_rtt=INITIAL_RTT_S,
        is_client=is_dialler,
        max_data=CONNECTION_WINDOW_BYTES,
        max_datagram_size=DATAGRAM_BYTES,
        max_stream_data=STREAM_WINDOW_BYTES,
        probe_datagram_size=False,
    )


def _dialler_configuration(secrets: PairSecrets) -> QuicConfiguration:
    configuration = _configuration(is_dialler=True)
    configuration.server_name = _SERVER_NAME
    configuration.session_ticket = _ticket(secrets)
    return configuration


def _acceptor_configuration() -> QuicConfiguration:
    configuration = _configuration(is_dialler=False)
    configuration.certificate, configuration.private_key = _certificate()
    return configuration


def _ticket(secrets: PairSecrets) -> tls.SessionTicket:
    """The pair's key in the form in which TLS 1.3 takes one (RFC 8446, section 4.6.1).

    Its times are naive UTC, and so wide that no clock matters.
    """
    return tls.SessionTicket(
        age_add=0,
        cipher_suite=_CIPHER_SUITE,
        max_early_data_size=_MAX_EARLY_DATA,
        not_valid_after=datetime.max,
        not_valid_before=datetime.min,
        other_extensions=[
            (tls.ExtensionType.QUIC_TRANSPORT_PARAMETERS, _remembered_parameters()),
        ],
        resumption_secret=secrets.psk,
        server_name=_SERVER_NAME,
        ticket=secrets.ticket_identity,
    )


@functools.cache
def _remembered_parameters() -> bytes:
    buffer = Buffer(capacity=256)
    push_quic_transport_parameters(
        buffer,
        QuicTransportParameters(
            initial_max_data=REMEMBERED_WINDOW_BYTES,
            initial_max_stream_data_bidi_local=REMEMBERED_WINDOW_BYTES,
            initial_max_stream_data_bidi_remote=REMEMBERED_WINDOW_BYTES,
            initial_max_stream_data_uni=REMEMBERED_WINDOW_BYTES,
            initial_max_streams_bidi=REMEMBERED_STREAMS,
            initial_max_streams_uni=REMEMBERED_STREAMS,
        ),
    )
    return buffer.data


@functools.cache
def _certificate() -> tuple[Any, Any]:
    """A throw-away certificate and key, which the library asks of whoever accepts.

    A session by the pair's key never shows it, and any other handshake is refused.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _SERVER_NAME)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1))
        .not_valid_after(datetime(2020, 1, 1) + timedelta(days=36500))
        .sign(key, hashes.SHA256())
    )
    configuration = QuicConfiguration(is_client=False)
    configuration.load_cert_chain(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )
    return configuration.certificate, configuration.private_key
