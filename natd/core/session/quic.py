"""One QUIC connection by the pair's key: the only door to qh3.

TLS 1.3 takes the pair's key as the secret of a session ticket, at both ends.  The ticket also
remembers transport parameters, without which the library sends no 0-RTT data.

Rules that a change must not break:

- The remembered transport parameters are a lower bound of the real ones, or the dialler
  would close ("cannot decrease when accepting 0-RTT").
- No key of a handshake without the ticket is ever installed, so nothing of such a handshake can be
  read or delivered: the library itself would accept a certificate.
- Nothing that the network delivers makes `receive` raise.
"""

import functools
import logging
from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from qh3 import tls
from qh3._hazmat import Buffer, CryptoError
from qh3.quic import events
from qh3.quic.configuration import QuicConfiguration
from qh3.quic.connection import QuicConnection, QuicConnectionError
from qh3.quic.packet import QuicTransportParameters, push_quic_transport_parameters

from natd.core.base.routes import CONNECTION_ID, RouteAdded, RouteDropped
from natd.core.base.types import MESSAGES_KEPT_DAYS
from natd.core.keys.secrets import PairSecrets, initial_connection_id
from natd.core.session.events import HandshakeCompleted

APPLICATION_PROTOCOL = "natd/1"

CONNECTION_ID_BYTES = 8
"""Ours, in every datagram that the peer sends but its first flight."""

QUIC_DATAGRAM_BYTES = 1200
"""The least that every path must carry (RFC 9000, section 14); never probed for more, since a
path may change below the session at any time."""

STREAM_WINDOW_BYTES = 1024 * 1024
CONNECTION_WINDOW_BYTES = 4 * 1024 * 1024
"""What the peer may send ahead of us: 10 MB/s at 100 ms on one stream, four such streams."""

REMEMBERED_WINDOW_BYTES = 128 * 1024
"""What a first flight may hold.  Part of the protocol: each end must grant at least this."""

REMEMBERED_STREAMS = 8

IDLE_TIMEOUT_S = MESSAGES_KEPT_DAYS * 86_400.0
"""As long as messages are kept for an absent peer.  Whether a peer is alive is judged by its
paths; a session in which no line is typed must not end."""

INITIAL_RTT_S = 0.1
"""First guess of the round trip; a lost first flight is sent again after two of them.
Shorter than RFC 9002's 333 ms because both ends are known to be there and waiting."""

VIRTUAL_ADDRESS = ("192.0.2.1", 1)
"""The library wants an address; it gets one that never changes (TEST-NET-1, RFC 5737)."""

_SERVER_NAME = "natd.invalid"
_CIPHER_SUITE = tls.CipherSuite.CHACHA20_POLY1305_SHA256
_MAX_EARLY_DATA = 0xFFFFFFFF
_IDLE_REASON = "Idle timeout"
_PING = 0

_HOSTILE_INPUT_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    CryptoError,
    LookupError,
    QuicConnectionError,
    RuntimeError,
    TypeError,
    ValueError,
    tls.Alert,
)
"""What the library was seen to raise, or might, on a handshake that was made to break it: a key
share that is no point of its curve is enough for a `CryptoError`."""

# The library reports every closed connection as a warning; here that is an event.
logging.getLogger("quic").setLevel(logging.ERROR)


class StreamData(NamedTuple):
    stream: int
    data: bytes


class PingAcknowledged(NamedTuple):
    """The far end has acknowledged a `ping`."""


QuicEvent = HandshakeCompleted | StreamData | RouteAdded | RouteDropped | PingAcknowledged


def dial(secrets: PairSecrets, salt: bytes, now: float, patience_s: float = 0.0) -> "Connection":
    """Begin a connection whose first destination connection id is made of `salt`.  `patience_s`: no
    answer is to be expected sooner."""
    configuration = _configuration(is_dialler=True, patience_s=patience_s)
    configuration.session_ticket = _ticket(secrets)
    connection = _Library(configuration=configuration)
    connection.set_initial_destination(initial_connection_id(secrets, salt))
    connection.connect(VIRTUAL_ADDRESS, now)
    return Connection(connection)


def accept(secrets: PairSecrets, initial_dcid: bytes, patience_s: float = 0.0) -> "Connection":
    """Take part in a connection that the peer began with this first connection id."""
    ticket = _ticket(secrets)
    return Connection(
        _Library(
            configuration=_configuration(is_dialler=False, patience_s=patience_s),
            original_destination_connection_id=initial_dcid,
            session_ticket_fetcher=lambda identity: (
                ticket if identity == secrets.ticket_identity else None
            ),
        )
    )


def prepare() -> None:
    """Do now what the first handshake of a process would otherwise wait for.

    The cryptographic library seeds itself at first use (about 45 ms) and the throw-away
    certificate is made (about 5 ms).
    """
    _certificate()
    _Library(configuration=_configuration(is_dialler=True)).connect(VIRTUAL_ADDRESS, 0.0)


class Connection:
    """What a session needs from the library."""

    def __init__(self, library: "_Library") -> None:
        self._library = library
        self._has_news = True  # whether an input has come since `poll`
        self._timer: float | None = None
        self._is_timer_known = False

    def receive(self, data: bytes, now: float) -> bool:
        """Whether the datagram held a packet that is authentic and new."""
        library = self._touched()
        before = library.genuine_packets
        try:
            library.receive_datagram(data, VIRTUAL_ADDRESS, now)
        except _HOSTILE_INPUT_ERRORS:
            library.is_broken = True
            return False
        return library.genuine_packets > before

    def handle_timer(self, now: float) -> None:
        self._touched().handle_timer(now)

    def send(self, stream: int, data: bytes) -> None:
        self._touched().send_stream_data(stream, data)

    def ping(self) -> None:
        self._touched().send_ping(_PING)

    def close(self) -> None:
        self._touched().close()

    def forget_initial_packets(self) -> None:
        """They have no use after the handshake (RFC 9001, section 4.9.1), but the library's
        client counts its padded acknowledgements among them as in flight until its first
        handshake packet has left, and keeps that back while too much is in flight."""
        self._touched().require_core().discard_keys(int(tls.Epoch.INITIAL))

    def poll(self, now: float) -> list[bytes]:
        """What is to be sent; nothing unless there was an input."""
        if not self._has_news:
            return []
        self._has_news = self._is_timer_known = False
        return self._library.poll(now)

    def events(self) -> Iterator[QuicEvent]:
        """Drain what has happened."""
        while (event := self._library.next_event()) is not None:
            match event:
                case events.StreamDataReceived(stream_id=stream, data=data):
                    yield StreamData(stream, data)
                case events.HandshakeCompleted():
                    yield HandshakeCompleted()
                case events.ConnectionIdIssued(connection_id=connection_id):
                    yield RouteAdded(CONNECTION_ID + connection_id)
                case events.ConnectionIdRetired(connection_id=connection_id):
                    yield RouteDropped(CONNECTION_ID + connection_id)
                case events.PingAcknowledged():
                    yield PingAcknowledged()

    def get_timer(self) -> float | None:
        if not self._is_timer_known:
            self._timer, self._is_timer_known = self._library.get_timer(), True
        return self._timer

    @property
    def own_id(self) -> bytes:
        """The connection id that we chose."""
        return self._library.host_cid

    @property
    def unsent_bytes(self) -> int:
        """Stream data that has not left for the first time."""
        return self._library.get_send_buffer_size()

    @property
    def is_authenticated(self) -> bool:
        """Whether the far end has shown that it holds the pair's key, or repeats someone who
        has."""
        context = self._library.tls
        return context is not None and context.session_resumed

    @property
    def is_confirmed(self) -> bool:
        """Whether both ends know that the handshake is complete."""
        return self._library.handshake_confirmed

    @property
    def end(self) -> str | None:
        """Why the connection is over; None while it is not."""
        return self._library.end

    def may_write(self, stream: int) -> bool:
        """Whether the stream is there: the acceptor first has to hear of the dialler's."""
        return self._library.may_write(stream)

    def _touched(self) -> "_Library":
        """Of many inputs of a peer few are for its session: else the library is left alone."""
        self._has_news, self._is_timer_known = True, False
        return self._library


class _Library(QuicConnection):
    """The one place that uses internals of the library (qh3 2.1)."""

    genuine_packets = 0
    """Packets that were decrypted and are not duplicates."""

    is_broken = False
    """Whether a received datagram made the library raise."""

    _is_stuck = False
    """Whether it wants to send what it has no key for yet."""

    def set_initial_destination(self, connection_id: bytes) -> None:
        self._original_destination_connection_id = connection_id

    def require_core(self) -> Any:
        return self._require_core()

    @property
    def handshake_confirmed(self) -> bool:
        return self._handshake_confirmed

    @property
    def end(self) -> str | None:
        if not self._handshake_complete and (self.is_broken or self._close_event is not None):
            # An observer of its first packet can end it, too.
            return "the handshake failed, or used another key"
        if self._close_event is not None:
            is_idle = self._close_event.reason_phrase == _IDLE_REASON
            return "no packet for too long" if is_idle else "closed by the peer"
        return None

    def may_write(self, stream: int) -> bool:
        return self._is_client or (self._core is not None and self._stream_can_send(stream))

    def poll(self, now: float) -> list[bytes]:
        """A dialler whose 0-RTT data is overdue while the acceptor's part of the handshake is
        still missing wants to send 1-RTT probes, and raises: until something else happens
        there is nothing to send."""
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

    def _create_tls(self, remote_source_cid: bytes | None) -> Any:
        bridge = super()._create_tls(remote_source_cid)
        context, install = bridge.tls, bridge.tls.update_traffic_key_cb

        def install_key(direction: Any, epoch: Any, suite: Any, secret: bytes) -> None:
            if epoch is not tls.Epoch.ZERO_RTT and not context.session_resumed:
                raise tls.AlertHandshakeFailure("the handshake did not use the pair's key")
            install(direction, epoch, suite, secret)

        context.update_traffic_key_cb = install_key
        return bridge

    def _learn_remote_source_cid(self, data: bytes) -> None:
        """Called by the library for each packet that it decrypted and had not seen before."""
        self.genuine_packets += 1
        self._is_stuck = False
        super()._learn_remote_source_cid(data)


def _configuration(*, is_dialler: bool, patience_s: float = 0.0) -> QuicConfiguration:
    configuration = QuicConfiguration(
        alpn_protocols=[APPLICATION_PROTOCOL],
        cipher_suites=[_CIPHER_SUITE],
        connection_id_length=CONNECTION_ID_BYTES,
        idle_timeout=IDLE_TIMEOUT_S,
        initial_rtt=max(INITIAL_RTT_S, patience_s),
        is_client=is_dialler,
        max_data=CONNECTION_WINDOW_BYTES,
        max_datagram_size=QUIC_DATAGRAM_BYTES,
        max_stream_data=STREAM_WINDOW_BYTES,
        probe_datagram_size=False,
    )
    if is_dialler:
        configuration.server_name = _SERVER_NAME
    else:
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
    """A throw-away certificate and key, which the library asks of an acceptor.

    A connection by the pair's key never shows it, and any other handshake is refused.
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
        .not_valid_after(datetime(2120, 1, 1))
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
