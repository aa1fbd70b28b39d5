"""The frames that two conversations exchange inside a session.

On the stream, each frame:

    length of the rest (4, big-endian, at most 64 KiB) | msgpack array: [type, field, ...]

Rules that a change must not break:

- A type, once given, keeps its number and the order of its fields; new fields go to the end
  and have a default.  A reader ignores fields that it does not know, and skips frames of
  types that it does not know.
- `FrameReader` raises nothing but DecodeError, and holds at most one unfinished frame.  After
  an error the next frame can't be found: the session is to be closed.
- What a frame carries has been checked for length and range before anyone sees it.
"""

from collections.abc import Callable
from typing import Annotated, Any, Final

import msgspec

from natd.core.base.types import PEER_ID_BYTES, Address, DecodeError, canonical_host

FRAME_LIMIT_BYTES = 64 * 1024
"""A message, with room to grow; bounds what an unfinished frame can hold."""

BODY_LIMIT_BYTES = 16 * 1024
MESSAGE_ID_LIMIT = 26

EPOCH_LIMIT = 2**64 - 1
"""What msgpack can carry."""

NATURAL_LIMIT = 2**63 - 1
"""Sequence numbers and sizes end up in SQLite, whose integers are signed."""

UNIX_MS_LIMIT = 253_402_300_799_999
"""The end of the year 9999, the last that a calendar date can show."""

HAVE_PREFIX_BYTES = 8
HAVE_LIMIT = 4096
"""Far more than the 256 members that a server keeps of a network."""

START_IN_LIMIT_MS = 500
"""As in an introduction by a server."""

OTHERS_LIMIT = 3

_PREFIX_BYTES = 4

_Epoch = Annotated[int, msgspec.Meta(ge=0)]
_Natural = Annotated[int, msgspec.Meta(ge=0, le=NATURAL_LIMIT)]
_Position = Annotated[int, msgspec.Meta(ge=1, le=NATURAL_LIMIT)]
_UnixMs = Annotated[int, msgspec.Meta(ge=0, le=UNIX_MS_LIMIT)]
_Word = Annotated[str, msgspec.Meta(max_length=32)]
_Reason = Annotated[str, msgspec.Meta(max_length=256)]
_PeerBytes = Annotated[bytes, msgspec.Meta(min_length=PEER_ID_BYTES, max_length=PEER_ID_BYTES)]
_SealedCard = Annotated[bytes, msgspec.Meta(max_length=1024)]
_PeerPrefix = Annotated[
    bytes, msgspec.Meta(min_length=HAVE_PREFIX_BYTES, max_length=HAVE_PREFIX_BYTES)
]
_Have = Annotated[tuple[_PeerPrefix, ...], msgspec.Meta(max_length=HAVE_LIMIT)]
_StartIn = Annotated[int, msgspec.Meta(ge=0, le=START_IN_LIMIT_MS)]
_Others = Annotated[tuple[Address, ...], msgspec.Meta(max_length=OTHERS_LIMIT)]


class Hello(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=1, kw_only=True):
    """First on every session, from both sides.

    Its first three fields are not read, but version 0.1 refuses a hello without them.
    """

    unread_nick: Any = ""
    unread_features: tuple[Any, ...] = ()
    unread_observed: Any = None
    epoch: _Epoch
    """Drawn by the sender for this session; version 0.1 names its outbox here."""
    first_seq: _Position
    """The oldest sequence number that the sender may still send: all before it are done with,
    and the receiver may skip to it."""
    outbox: _Epoch = 0
    """The sender's outbox, the same in each session; 0: not told."""
    heard_outbox: _Epoch = 0
    """The receiver's outbox that the sender has last had a message from; 0: none, or not told."""
    heard_seq: _Natural = 0
    """The highest number of it on the sender's disk."""


class Message(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=2):
    """One chat message, in its place in the sender's order."""

    message_id: Annotated[str, msgspec.Meta(min_length=1, max_length=MESSAGE_ID_LIMIT)]
    epoch: _Epoch
    seq: _Position
    sent_at_unix_ms: _UnixMs
    kind: _Word
    body: Annotated[str, msgspec.Meta(max_length=BODY_LIMIT_BYTES)]


class Ack(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=3):
    """Everything of `epoch` up to `seq` is on the sender's disk."""

    epoch: _Epoch
    seq: _Natural


class NewerCard(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=5):
    """A newer card of the sender's."""

    sealed: _SealedCard


class Introduce(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=6):
    """A mutual peer passes a card on, and where it sees its owner."""

    peer: _PeerBytes
    sealed: _SealedCard
    observed: Address | None
    you_dial: bool = False
    start_in_ms: _StartIn = 0
    """How long the reader, which is nearer to the sender, waits so that both begin together."""
    others: _Others = ()
    """Where else the peer was said to be, freshest first."""


class Bye(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=11):
    """The sender is leaving; nothing of its will follow."""

    reason: _Reason


class Seek(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=12):
    """The sender has no server to ask: the reader introduces it to those it is connected with."""

    peer: _PeerBytes | None
    """The one that the sender looks for; None: all but those that it has."""
    have: _Have = ()
    """First bytes of the ids of the peers that it is connected with."""


Frame = Hello | Message | Ack | NewerCard | Introduce | Bye | Seek

_TYPES_READ = frozenset((1, 2, 3, 5, 6, 11, 12))
"""4 and 7 to 10 were given in version 0.1 to frames that it never sends."""

_ARRAY_HEADS = range(0x90, 0xA0)
_TYPES = range(0x80)
"""msgpack's short arrays and small positive integers: the first two bytes of any frame."""

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final[Callable[[Any], Frame]] = msgspec.msgpack.Decoder(Frame).decode


def encode_frame(frame: Frame) -> bytes:
    """The frame as it stands on the stream.

    ValueError for what every reader would refuse: an epoch of more than 64 bits, a message of
    more than 16 KiB, a frame over the limit.
    """
    if isinstance(frame, Message | Hello) and not 0 <= frame.epoch <= EPOCH_LIMIT:
        raise ValueError("an epoch of more than 64 bits")
    rest = _encode(frame)
    if isinstance(frame, Message) and len(rest) > BODY_LIMIT_BYTES:
        _check_body(frame)
    if len(rest) > FRAME_LIMIT_BYTES:
        raise ValueError(f"a frame of {len(rest)} bytes, where {FRAME_LIMIT_BYTES} are the most")
    return len(rest).to_bytes(_PREFIX_BYTES, "big") + rest


class FrameReader:
    """Cuts a stream into frames."""

    __slots__ = ("_pending", "unknown")

    def __init__(self) -> None:
        self.unknown = 0
        """How many frames were skipped because their type is not known here."""
        self._pending = b""
        """The beginning of a frame whose end has not come yet."""

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that `data` completes, in order; DecodeError when it can't be one."""
        if self._pending:
            data = self._pending + data
        frames: list[Frame] = []
        view = memoryview(data)
        at, end = 0, len(data)
        while end - at >= _PREFIX_BYTES:
            start = at + _PREFIX_BYTES
            size = int.from_bytes(view[at:start], "big")
            if size > FRAME_LIMIT_BYTES:
                raise DecodeError(f"a frame of {size} bytes")
            if start + size > end:
                break
            at = start + size
            frame = _decode_frame(view[start:at])
            if frame is None:
                self.unknown += 1
            else:
                frames.append(frame)
        self._pending = data[at:]
        return frames


def _decode_frame(rest: memoryview) -> Frame | None:
    """One frame; None for a type that is not known here."""
    if len(rest) < 2 or rest[0] not in _ARRAY_HEADS or rest[1] not in _TYPES:
        raise DecodeError("not a frame")
    if rest[1] not in _TYPES_READ:
        return None
    try:
        frame = _decode(rest)
    except (ValueError, RecursionError) as error:
        # A field, known or not, may nest deeper than the decoder goes.
        raise DecodeError(f"a frame of type {rest[1]}: {error}") from error
    if isinstance(frame, Message):
        # A body this long is rare; the shorter ones need no second look.
        if len(rest) > BODY_LIMIT_BYTES:
            _check_body(frame)
    elif isinstance(frame, Introduce):
        others = tuple(checked for other in frame.others if (checked := _checked(other)))
        return msgspec.structs.replace(frame, observed=_checked(frame.observed), others=others)
    return frame


def _check_body(message: Message) -> None:
    size = len(message.body.encode())
    if size > BODY_LIMIT_BYTES:
        raise DecodeError(f"a message of {size} bytes, where {BODY_LIMIT_BYTES} are the most")


def _checked(address: Address | None) -> Address | None:
    if address is None:
        return None
    if not 0 < address.port < 65536:
        raise DecodeError(f"a port of {address.port}")
    host, _, _scope_of_the_other_host = address.host.partition("%")
    try:
        return Address(canonical_host(host), address.port)
    except ValueError as error:
        raise DecodeError("an observed address that is not valid") from error
