"""The answers that need no registration: SAMPLE, STUN, and questions in another version.

Each question has an allowance, a SAMPLE another than STUN.  An ERROR about the version, like a
CHALLENGE, costs nothing and has none: a flood must not keep anybody from being told.
"""

from collections import Counter

from natd.core.base.types import Address, Datagram, DecodeError, SocketId
from natd.core.codec import rendezvous_codec, stun
from natd.core.codec.rendezvous import Error, ErrorCode, Sample
from natd.core.coordinator.allowances import Allowances
from natd.core.coordinator.stun_server import StunServer


class Stateless:
    """Gives the datagrams to send, and counts in its owner's `dropped` what gets no answer."""

    def __init__(
        self, stun_server: StunServer, allowances: Allowances, dropped: Counter[str]
    ) -> None:
        self._stun_server = stun_server
        self._allowances = allowances
        self._dropped = dropped

    def sampled(
        self, sample: Sample, size_bytes: int, source: Address, socket: SocketId, now: float
    ) -> list[Datagram]:
        """All answers together are not longer than the question."""
        if not self._allowances.sample(source, now):
            self._dropped["too many from one source"] += 1
            return []
        answers = self._stun_server.sampled(sample, source, socket)
        if sum(len(answer.data) for answer in answers) > size_bytes:
            self._dropped["answer over budget"] += 1
            return []
        return answers

    def stun(self, data: bytes, source: Address, socket: SocketId, now: float) -> list[Datagram]:
        try:
            request = stun.decode(data)
        except DecodeError:
            self._dropped["malformed"] += 1
            return []
        is_request = request.message_class is stun.MessageClass.REQUEST
        if request.method != stun.BINDING or not is_request:
            self._dropped["not a question"] += 1
            return []
        answer = self._stun_server.answer(request, len(data), source, socket)
        is_longer = len(answer.data) > len(data)
        if not self._allowances.stun(source, now, is_longer=is_longer):
            self._dropped["too many from one source"] += 1
            return []
        return [answer]

    def version_error(self, foreign: rendezvous_codec.ForeignVersionError) -> Error | None:
        """Never answer an ERROR with an ERROR: two servers would go on for ever."""
        self._dropped["foreign version"] += 1
        if foreign.kind == rendezvous_codec.ERROR_TYPE:
            return None
        text = f"this server speaks version {rendezvous_codec.VERSION}"
        return Error(foreign.transaction, ErrorCode.VERSION, text)
