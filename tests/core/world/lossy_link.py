"""Two ends and the network between them, in virtual time.

The network delays, loses, reorders, doubles and corrupts datagrams as it is told, from one
seeded source of chance.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Protocol

from natd.core.base.routes import CONNECTION_ID
from natd.core.base.timers import earliest
from natd.core.keys.card import Identity
from natd.core.keys.secrets import (
    PairSecrets,
    Prekey,
    derive_pair_secrets,
    verify_initial_connection_id,
)
from natd.core.session.events import DataReceived, HandshakeCompleted, SessionEvent
from natd.core.session.quic_header import destination_connection_id, may_open_session
from natd.core.session.session import Session

START = 1000.0
SALT = b"salt"


class End(Protocol):
    def receive_datagram(self, data: bytes, now: float) -> bool: ...
    def handle_timer(self, now: float) -> None: ...
    def datagrams_to_send(self) -> list[bytes]: ...
    def get_timer(self) -> float | None: ...


@dataclass
class Weather:
    """What happens to each datagram; the shares are probabilities."""

    delay_s: float = 0.025
    jitter_s: float = 0.0
    loss: float = 0.0
    duplicates: float = 0.0
    bit_flips: float = 0.0
    is_cut: bool = False


class LossyLink:
    def __init__(self, one: End, other: End, weather: Weather | None = None, seed: int = 1) -> None:
        self.now = START
        self.weather = weather or Weather()
        self.carried: list[tuple[End, bytes]] = []
        """Everything that was sent, and by whom."""
        self.lets_pass: Callable[[End, bytes], bool] = lambda _sender, _data: True
        self._ends = (one, other)
        self._random = Random(seed)
        self._flying: list[tuple[float, int, End, bytes]] = []
        self._count = 0

    def run(self, for_s: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Let time pass; ends early, with True, when `until` holds."""
        deadline = self.now + for_s
        while True:
            if until():
                return True
            self._carry()
            arrival = self._flying[0][0] if self._flying else None
            due = earliest(arrival, *(end.get_timer() for end in self._ends))
            if due is None or due > deadline:
                self.now = deadline
                return until()
            self.now = max(self.now, due)
            while self._flying and self._flying[0][0] <= self.now:
                _, _, end, data = heapq.heappop(self._flying)
                end.receive_datagram(data, self.now)
            for end in self._ends:
                timer = end.get_timer()
                if timer is not None and timer <= self.now:
                    end.handle_timer(self.now)

    def _carry(self) -> None:
        for end, far in (self._ends, self._ends[::-1]):
            for data in end.datagrams_to_send():
                self.carried.append((end, data))
                if self.lets_pass(end, data):
                    self._launch(far, data)

    def _launch(self, to: End, data: bytes) -> None:
        weather, chance = self.weather, self._random.random
        copies = 2 if chance() < weather.duplicates else 1
        for _ in range(copies):
            if weather.is_cut or chance() < weather.loss:
                continue
            if chance() < weather.bit_flips:
                data = with_a_bit_flipped(data, self._random)
            self._count += 1
            arrival = self.now + weather.delay_s + weather.jitter_s * chance()
            heapq.heappush(self._flying, (arrival, self._count, to, data))


class Party:
    """One end that owns at most one session, the latest, and keeps what came out of it."""

    def __init__(self, secrets: PairSecrets) -> None:
        self.secrets = secrets
        self.session: Session | None = None
        self.events: list[SessionEvent] = []
        self.to_answer = b""
        """Sent as soon as a session has been accepted."""
        self._accepted: set[bytes] = set()

    def dial(self, now: float, first: bytes = b"", salt: bytes = SALT) -> Session:
        self.session = Session.dial(self.secrets, salt=salt, now=now)
        if first:
            self.session.send(first, now)
        return self.session

    def receive_datagram(self, data: bytes, now: float) -> bool:
        cid = destination_connection_id(data)
        if cid is not None and may_open_session(data) and self._is_another(cid):
            if not verify_initial_connection_id(cid, self.secrets):
                return False
            self._accepted.add(cid)
            self.session = Session.accept(self.secrets, cid, now)
            self.session.receive_datagram(data, now)
            self.session.send(self.to_answer, now)
            self._collect()
            return True
        if self.session is None or cid is None or not self._is_ours(cid):
            return False
        genuine = self.session.receive_datagram(data, now)
        self._collect()
        return genuine

    def handle_timer(self, now: float) -> None:
        if self.session is not None:
            self.session.handle_timer(now)
            self._collect()

    def datagrams_to_send(self) -> list[bytes]:
        return [] if self.session is None else self.session.datagrams_to_send()

    def get_timer(self) -> float | None:
        return None if self.session is None else self.session.get_timer()

    @property
    def received(self) -> bytes:
        return b"".join(event.data for event in self.events if isinstance(event, DataReceived))

    @property
    def is_established(self) -> bool:
        return any(isinstance(event, HandshakeCompleted) for event in self.events)

    def _is_another(self, cid: bytes) -> bool:
        is_known = cid in self._accepted or self._is_ours(cid)
        return self.session is None or not is_known

    def _is_ours(self, cid: bytes) -> bool:
        return self.session is not None and CONNECTION_ID + cid in self.session.routes

    def _collect(self) -> None:
        assert self.session is not None
        while (event := self.session.next_event()) is not None:
            self.events.append(event)


def pair_of_secrets(network_key: bytes = b"k" * 32, seed: int = 1) -> tuple[PairSecrets, ...]:
    """Two peers' secrets for each other; another seed gives other prekeys."""
    one, other = Identity(b"1" * 32), Identity(b"2" * 32)
    random = Random(seed)
    prekeys = Prekey(random.randbytes(32)), Prekey(random.randbytes(32))
    return (
        derive_pair_secrets(
            one, prekeys[0], other.static_public, prekeys[1].public, other.peer, network_key
        ),
        derive_pair_secrets(
            other, prekeys[1], one.static_public, prekeys[0].public, one.peer, network_key
        ),
    )


def with_a_bit_flipped(data: bytes, random: Random) -> bytes:
    bit = random.randrange(len(data) * 8)
    flipped = bytearray(data)
    flipped[bit // 8] ^= 1 << bit % 8
    return bytes(flipped)


def linked(weather: Weather | None = None, seed: int = 1) -> tuple[LossyLink, Party, Party]:
    """A dialler that has dialled, and who will accept."""
    dialler, acceptor = parties()
    link = LossyLink(dialler, acceptor, weather, seed)
    dialler.dial(START, b"hello")
    return link, dialler, acceptor


def run_until_established(
    link: LossyLink, dialler: Party, acceptor: Party, within_s: float
) -> bool:
    return link.run(within_s, lambda: dialler.is_established and acceptor.is_established)


def parties() -> tuple[Party, Party]:
    one, other = pair_of_secrets()
    return Party(one), Party(other)


def drained(session: Session) -> list[object]:
    events: list[object] = []
    while (event := session.next_event()) is not None:
        events.append(event)
    return events
