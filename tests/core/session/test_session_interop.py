"""An independent QUIC library at the other end: the session is the standard's, not qh3's.

Both libraries take a pair's key as a session ticket; nothing else of ours is needed.
"""

from datetime import datetime
from random import Random

import pytest
from aioquic import tls
from aioquic._buffer import Buffer
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicTransportParameters, push_quic_transport_parameters
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from natd.core.keys.secrets import PairSecrets, initial_connection_id
from natd.core.session.quic import STREAM_WINDOW_BYTES
from natd.core.session.quic_header import destination_connection_id
from tests.core.world.lossy_link import START, LossyLink, Party, Weather, pair_of_secrets

ADDRESS = ("192.0.2.1", 1)


def test_aioquic_dials_us_with_the_pairs_key_and_its_first_flight_carries_data() -> None:
    one, other = pair_of_secrets()
    stranger, acceptor = AioquicDialler(one), Party(other)
    acceptor.to_answer = b"to aioquic"
    for data in stranger.datagrams_to_send():
        acceptor.receive_datagram(data, START)
    assert acceptor.received == b"from aioquic"
    link = LossyLink(stranger, acceptor)
    assert link.run(5.0, lambda: acceptor.is_established and stranger.is_established)
    assert stranger.received == b"to aioquic"
    assert stranger.handshake.session_resumed
    assert stranger.handshake.early_data_accepted


def test_we_dial_aioquic_with_the_pairs_key_and_our_first_flight_carries_data() -> None:
    one, other = pair_of_secrets()
    dialler, stranger = Party(one), AioquicAcceptor(other)
    for data in dialler.dial(START, b"to aioquic").datagrams_to_send():
        stranger.receive_datagram(data, START)
    assert stranger.received == b"to aioquic"
    link = LossyLink(dialler, stranger)
    assert link.run(5.0, lambda: dialler.is_established and stranger.is_established)
    assert dialler.received == b"from aioquic"
    assert stranger.handshake.session_resumed
    assert stranger.handshake.early_data_accepted


@pytest.mark.parametrize("aioquic_dials", [True, False])
def test_half_a_megabyte_each_way_passes_between_the_libraries_at_five_percent_of_loss(
    aioquic_dials: bool,
) -> None:
    one, other = pair_of_secrets()
    us = Party(other if aioquic_dials else one)
    us.to_answer = b"hello"
    them = AioquicDialler(one) if aioquic_dials else AioquicAcceptor(other)
    if not aioquic_dials:
        us.dial(START, b"hello")
    link = LossyLink(us, them, Weather(loss=0.05, jitter_s=0.01))
    assert link.run(
        10.0,
        lambda: us.is_established and them.is_established and bool(us.received and them.received),
    )
    piece = bytes(range(256)) * 4
    before = len(us.received), len(them.received)
    for _ in range(512):
        them.connection.send_stream_data(0, piece)
    to_send = [piece] * 512

    def done() -> bool:
        assert us.session is not None
        while to_send and us.session.send_room >= len(piece):
            us.session.send(to_send.pop(), link.now)
        return len(us.received) >= before[0] + 2**19 and len(them.received) >= before[1] + 2**19

    assert link.run(120.0, done)
    assert us.received[before[0] :] == them.received[before[1] :] == piece * 512


def test_aioquic_with_another_key_gets_no_session_and_no_answer() -> None:
    one, other = pair_of_secrets()
    wrong, _ = pair_of_secrets(network_key=b"another network's key".ljust(32))
    stranger, acceptor = AioquicDialler(one, psk=wrong.psk), Party(other)
    link = LossyLink(stranger, acceptor)
    link.run(5.0)
    assert acceptor.received == b""
    assert not acceptor.is_established
    assert not [data for end, data in link.carried if end is acceptor]


def test_aioquic_with_no_key_but_a_plain_handshake_gets_no_session_and_no_answer() -> None:
    one, other = pair_of_secrets()
    stranger, acceptor = AioquicDialler(one, psk=None), Party(other)
    link = LossyLink(stranger, acceptor)
    link.run(5.0)
    assert acceptor.session is not None
    assert acceptor.session.closed
    assert acceptor.received == b""
    assert not acceptor.is_established
    assert not [data for end, data in link.carried if end is acceptor]


def test_no_client_hello_makes_the_acceptor_fail_or_answer() -> None:
    """Anyone who has seen a first flight can write Initial packets of his own."""
    random = Random(11)
    one, other = pair_of_secrets()
    for _ in range(300):
        stranger, acceptor = AioquicDialler(one), Party(other)
        hello = stranger.connection._crypto_streams[tls.Epoch.INITIAL].sender._buffer
        for _ in range(random.choice((1, 2, 5))):
            hello[random.randrange(len(hello))] ^= random.randrange(1, 256)
        for data in stranger.datagrams_to_send():
            acceptor.receive_datagram(data, START)
        assert acceptor.datagrams_to_send() == []
        assert acceptor.received == b""


@pytest.mark.parametrize("has_a_key", [True, False])
def test_we_refuse_an_aioquic_acceptor_without_our_key(has_a_key: bool) -> None:
    one, other = pair_of_secrets()
    wrong, _ = pair_of_secrets(network_key=b"another network's key".ljust(32))
    stranger = AioquicAcceptor(other, psk=wrong.psk if has_a_key else None)
    dialler = Party(one)
    dialler.dial(START, b"secret")
    LossyLink(dialler, stranger).run(5.0)
    assert dialler.session is not None
    assert not dialler.is_established
    assert dialler.received == b""
    assert stranger.received == b""


class AioquicEnd:
    """What the link wants of an end, around an aioquic connection."""

    def __init__(self, connection: QuicConnection) -> None:
        self.connection = connection
        self.received = b""
        self.handshakes: list[events.HandshakeCompleted] = []
        self._now = START

    @property
    def is_established(self) -> bool:
        return bool(self.handshakes)

    @property
    def handshake(self) -> events.HandshakeCompleted:
        return self.handshakes[0]

    def receive_datagram(self, data: bytes, now: float) -> bool:
        self._now = now
        self.connection.receive_datagram(data, ADDRESS, now)
        self._collect()
        return True

    def handle_timer(self, now: float) -> None:
        self._now = now
        self.connection.handle_timer(now)
        self._collect()

    def datagrams_to_send(self) -> list[bytes]:
        return [data for data, _ in self.connection.datagrams_to_send(self._now)]

    def get_timer(self) -> float | None:
        return self.connection.get_timer()

    def _collect(self) -> None:
        while (event := self.connection.next_event()) is not None:
            if isinstance(event, events.StreamDataReceived):
                self.received += event.data
            elif isinstance(event, events.HandshakeCompleted):
                self.handshakes.append(event)


class AioquicDialler(AioquicEnd):
    def __init__(self, secrets: PairSecrets, psk: bytes | None = b"") -> None:
        """`psk`: empty for the pair's own, None for a handshake by certificate."""
        configuration = configured(is_client=True)
        configuration.verify_mode = False
        if psk is not None:
            configuration.session_ticket = ticket(secrets, psk or secrets.psk)
        connection = QuicConnection(configuration=configuration)
        cid = initial_connection_id(secrets, b"salt")
        connection._peer_cid.cid = connection._original_destination_connection_id = cid
        super().__init__(connection)
        connection.connect(ADDRESS, now=START)
        connection.send_stream_data(0, b"from aioquic")


class AioquicAcceptor(AioquicEnd):
    def __init__(self, secrets: PairSecrets, psk: bytes | None = b"") -> None:
        self._secrets = secrets
        self._psk = secrets.psk if psk == b"" else psk
        self._begun = False
        super().__init__(QuicConnection(configuration=configured(is_client=True)))

    def receive_datagram(self, data: bytes, now: float) -> bool:
        if not self._begun:
            self._begun = True
            self.connection = self._accept(data)
        genuine = super().receive_datagram(data, now)
        if self.received and not self._answered():
            self.connection.send_stream_data(0, b"from aioquic")
        return genuine

    def get_timer(self) -> float | None:
        return super().get_timer() if self._begun else None

    def datagrams_to_send(self) -> list[bytes]:
        return super().datagrams_to_send() if self._begun else []

    def _answered(self) -> bool:
        stream = self.connection._streams[0]
        return stream.sender._buffer_stop > 0

    def _accept(self, data: bytes) -> QuicConnection:
        configuration = configured(is_client=False)
        certificate, key = tls_credentials()
        configuration.certificate, configuration.private_key = certificate, key
        secrets, psk = self._secrets, self._psk
        return QuicConnection(
            configuration=configuration,
            original_destination_connection_id=destination_connection_id(data),
            session_ticket_fetcher=lambda identity: (
                ticket(secrets, psk)
                if psk is not None and identity == secrets.ticket_identity
                else None
            ),
            session_ticket_handler=lambda _: None,
        )


def configured(*, is_client: bool) -> QuicConfiguration:
    return QuicConfiguration(
        alpn_protocols=["natd/1"],
        cipher_suites=[tls.CipherSuite.CHACHA20_POLY1305_SHA256],
        idle_timeout=600.0,
        is_client=is_client,
        max_datagram_size=1200,
        server_name="natd.invalid" if is_client else None,
    )


def ticket(secrets: PairSecrets, psk: bytes) -> tls.SessionTicket:
    """aioquic never raises the limit of a stream that began as 0-RTT by the real transport
    parameters, so it is told the real ones to begin with; qh3 is told less."""
    zone = tls.utcnow().tzinfo
    parameters = Buffer(capacity=256)
    push_quic_transport_parameters(
        parameters,
        QuicTransportParameters(
            initial_max_data=STREAM_WINDOW_BYTES,
            initial_max_stream_data_bidi_local=STREAM_WINDOW_BYTES,
            initial_max_stream_data_bidi_remote=STREAM_WINDOW_BYTES,
            initial_max_streams_bidi=1,
        ),
    )
    return tls.SessionTicket(
        age_add=0,
        cipher_suite=tls.CipherSuite.CHACHA20_POLY1305_SHA256,
        max_early_data_size=0xFFFFFFFF,
        not_valid_after=datetime(9999, 1, 1, tzinfo=zone),
        not_valid_before=datetime(1970, 1, 1, tzinfo=zone),
        other_extensions=[(tls.ExtensionType.QUIC_TRANSPORT_PARAMETERS, parameters.data)],
        resumption_secret=psk,
        server_name="natd.invalid",
        ticket=secrets.ticket_identity,
    )


def tls_credentials() -> tuple[object, object]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "natd.invalid")])
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
    return certificate, key
