"""Every decoder of bytes that others make, and the only errors that each may raise."""

import contextlib
import json
import os
import socket
import struct
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from natd.control import command_table
from natd.core.base.types import DecodeError
from natd.core.codec import rendezvous_codec, stun
from natd.core.codec.frames import FrameReader
from natd.core.codec.rendezvous import Register
from natd.core.keys import card
from natd.core.keys.secrets import network_key
from natd.core.network import greeting
from natd.core.portmap import natpmp, pcp, ssdp
from natd.core.session import quic_header
from natd.host.errors import CommandError, ConfigError
from natd.ipc import frames as ipc_frames
from natd.ipc import zmtp
from natd.ipc.errors import RequestError
from natd.net import routes
from natd.settings import names
from natd.settings.config import load_config
from natd.settings.secret_file import read_secret_file

KEY = network_key("demo", b"")

GATEWAY = "192.168.1.1"


@dataclass(frozen=True)
class Decoder:
    """One plane.  `read` takes any bytes, and raises nothing but `errors`."""

    name: str
    read: Callable[[bytes], object]
    errors: tuple[type[Exception], ...]

    def try_on(self, data: bytes) -> bool:
        """Whether the bytes mean something; any other error goes up."""
        try:
            self.read(data)
        except self.errors:
            return False
        return True


def _rendezvous(data: bytes) -> None:
    message = rendezvous_codec.decode(data)
    if not isinstance(message, Register):  # That is signed anew each time.
        rendezvous_codec.encode(message)


def _stun(data: bytes) -> None:
    message = stun.decode(data)
    stun.verify(data, KEY)
    for attribute in (stun.USERNAME, stun.XOR_MAPPED_ADDRESS):
        message.get(attribute)


def _frames(data: bytes) -> None:
    reader = FrameReader()
    half = len(data) // 2
    reader.feed(data[:half])
    reader.feed(data[half:])


def _card(data: bytes) -> None:
    card.is_sealed_for(data, KEY)
    card.open_card(data, KEY)


def _card_body(data: bytes) -> None:
    card._decode_body(data)


def _quic_header(data: bytes) -> None:
    quic_header.destination_connection_id(data)
    quic_header.may_open_session(data)
    quic_header.begins_with_initial(data)
    if data:
        quic_header.is_version_1(data)


def _ssdp(data: bytes) -> None:
    ssdp.decode_location(data, GATEWAY)


def _reply(data: bytes) -> None:
    reply = ipc_frames.decode_reply(data)
    ipc_frames.check_hello(ipc_frames.outcome(reply))


def _request(data: bytes) -> None:
    command_table.check_envelope(command_table.decode_request(data))


def _zmtp(data: bytes) -> None:
    ours, theirs = socket.socketpair()
    with theirs, contextlib.closing(ours):
        theirs.sendall(data[:16_384])
        theirs.shutdown(socket.SHUT_WR)
        dealer = zmtp.Dealer(ours, None)
        dealer.receive(None)
        with contextlib.suppress(zmtp.Hangup):
            while True:
                dealer.receive(None)


def _config(data: bytes) -> None:
    with _file(data) as path:
        load_config(path, environ={})


def _secret(data: bytes) -> None:
    with _file(data) as path:
        read_secret_file(path)


def _names(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    names.nick_problem(text)
    names.network_name_problem(text)
    names.server_problem(text)
    names.address_problem(text)


@contextlib.contextmanager
def _file(data: bytes) -> Iterator[Path]:
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.NamedTemporaryFile(dir=memory) as file:
        file.write(data)
        file.flush()
        yield Path(file.name)


DECODERS = (
    Decoder("rendezvous", _rendezvous, (DecodeError, rendezvous_codec.ForeignVersionError)),
    Decoder("stun", _stun, (DecodeError,)),
    Decoder("frames", _frames, (DecodeError,)),
    Decoder("card", _card, (DecodeError,)),
    Decoder("card_body", _card_body, (DecodeError,)),
    Decoder("greeting", greeting.decode_greeting, (DecodeError,)),
    Decoder("quic_header", _quic_header, ()),
    Decoder("natpmp", natpmp.decode, (DecodeError,)),
    Decoder("pcp", pcp.decode, (DecodeError,)),
    Decoder("ssdp", _ssdp, (DecodeError,)),
    Decoder("route", routes.decode_answer, ()),
    Decoder("ipc_reply", _reply, (RequestError,)),
    Decoder("ipc_request", _request, (CommandError,)),
    Decoder("zmtp", _zmtp, (zmtp.Hangup, TimeoutError)),
    Decoder("config", _config, (ConfigError,)),
    Decoder("secret", _secret, (ConfigError,)),
    Decoder("names", _names, ()),
)

BY_NAME = {decoder.name: decoder for decoder in DECODERS}


def made_seeds() -> dict[str, list[bytes]]:
    """Valid input of those planes that no datagram between members holds."""
    route = struct.pack("=IHHII", 52, 24, 0, 1, 0) + struct.pack(
        "=8BI", 2, 32, 0, 0, 254, 16, 0, 1, 0
    )
    route += struct.pack("=HH", 8, 4) + struct.pack("=I", 2)
    route += struct.pack("=HH", 8, 5) + bytes((192, 168, 1, 1))
    route += struct.pack("=HH", 8, 7) + bytes((192, 168, 1, 7))
    hello = json.dumps({"v": 1, "id": 1, "ok": {"protocol": 1, "version": "0.3"}}).encode()
    request = ipc_frames.encode_request(7, "send", {"network": "demo", "text": "hi", "to": None})
    http = (
        "HTTP/1.1 200 OK\r\nST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n"
        f"LOCATION: http://{GATEWAY}:5000/desc.xml\r\n\r\n"
    )
    config = (
        "nick: alice\nport: 7000\nlimits:\n  message_bytes: 1000\npaths: {ipv6: false}\n"
        "networks:\n  demo:\n    servers: ['a.example:8080']\n    nick: bob\n"
    )
    zmtp_hello = (
        zmtp.ZMTP_GREETING + zmtp.ready_frame(b"DEALER") + zmtp.frame_header(0, len(hello)) + hello
    )
    return {
        "natpmp": [
            bytes.fromhex("0080 0000 00000007 2d010203".replace(" ", "")),
            bytes.fromhex("0081 0000 00000007 9c40 9c41 00000e10".replace(" ", "")),
        ],
        "pcp": [
            bytes.fromhex("0281 0000 00000e10 00000007".replace(" ", ""))
            + bytes(12)
            + bytes(range(12))
            + bytes.fromhex("11000000 9c40 9c41".replace(" ", ""))
            + bytes(10)
            + bytes.fromhex("ffff2d010203"),
        ],
        "ssdp": [http.encode()],
        "route": [route],
        "ipc_reply": [
            hello,
            b'{"v":1,"id":2,"error":{"code":"usage","text":"no","hint":null}}',
            b'{"v":1,"id":2,"error":5}',
        ],
        "ipc_request": [request],
        "zmtp": [zmtp_hello],
        "config": [config.encode(), b"- a\n", b"a: &a [*a]\n", b"{" * 50],
        "secret": [b"0123456789abcdef0123456789abcdef\n", b"a passphrase\n", b"\xff"],
        "names": [b"alice", b"[2001:db8::1]:8080", b"host.example:80", b"45.1.2.3"],
    }
