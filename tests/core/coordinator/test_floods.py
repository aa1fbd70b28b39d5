"""Floods that must starve nobody: from a neighbour behind the same NAT, under a forged source, and
by members who ask for introductions all the time.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest

from natd.core.base.types import Address, NetworkId
from natd.core.base.wishes import IntroductionWanted
from natd.core.codec import rendezvous_codec, stun
from natd.core.codec.rendezvous import (
    REGISTER_LABEL,
    Challenge,
    Connect,
    Error,
    Introduce,
    Refresh,
    Register,
    Registered,
    Sample,
)
from natd.core.keys.card import Identity
from natd.core.keys.membership_key import MembershipKey
from natd.core.registration.events import Introduced, SocketSampled
from tests.core.coordinator.server import ALICE, AWAY, BOB, CAROL, HOME, Server, T
from tests.core.world.meeting import CARD, NETWORK, Guest, Meeting
from tests.internet.net import unix_s

LINE_RATE = 64_000
"""Bytes a second: what an old modem sends."""

SHARED = "203.0.113.77"
NEIGHBOUR, NEWCOMER = Address(SHARED, 1111), Address(SHARED, 2222)
STEP_S = 0.02


def samples() -> Iterator[bytes]:
    while True:
        yield rendezvous_codec.encode(Sample(T))


def bindings() -> Iterator[bytes]:
    while True:
        yield stun.encode_binding_request(T)


def strange_refreshes() -> Iterator[bytes]:
    while True:
        yield rendezvous_codec.encode(Refresh(T, b"?" * 8))


def other_versions() -> Iterator[bytes]:
    while True:
        yield bytes((5, 1, 1)) + T + bytes(49)


def registers(token: bytes = b"") -> Iterator[bytes]:
    """Each is new, and well signed."""
    return (_register(b"mallory", number, token) for number in count())


FLOODS = [samples, bindings, strange_refreshes, other_versions, registers]


@pytest.mark.parametrize("flood", FLOODS, ids=lambda flood: flood.__name__)
@pytest.mark.parametrize("source", [NEIGHBOUR, NEWCOMER], ids=["neighbour", "forged source"])
def test_64_kb_a_second_from_ones_own_source_keep_nobody_from_registering(
    flood: Callable[[], Iterator[bytes]], source: Address
) -> None:
    place = Flooded()
    place.floods.append((source, flood(), None))
    place.run(10.0)
    newcomer = place.newcomer()
    place.run(5.0)
    assert newcomer.registration.state == "registered"
    assert newcomer.of(Introduced), "and it is introduced"
    if flood is not bindings:
        assert len(newcomer.of(SocketSampled)) == 3, "and learns what its NAT does"


@pytest.mark.parametrize("question", ["register", "ask", "connect"])
def test_nor_do_500_kb_of_good_questions_from_a_neighbour_who_is_registered(question: str) -> None:
    """Of one socket: it has an allowance, too."""
    place = Flooded()
    token, lease_id = place.neighbour()
    flood = {
        "register": repeated(_register(b"mallory", 2, token)),
        "ask": repeated(rendezvous_codec.encode(Refresh(T, lease_id, True))),
        "connect": repeated(
            rendezvous_codec.encode(Connect(T, lease_id, place.resident.identity.peer))
        ),
    }[question]
    place.floods.append((NEIGHBOUR, flood, 500_000))
    place.run(10.0)
    newcomer = place.newcomer()
    place.run(5.0)
    assert newcomer.registration.state == "registered"
    assert newcomer.of(Introduced)
    place.meeting.sent.clear()
    newcomer.registration.connect(place.resident.identity.peer, IntroductionWanted(()), place.now)
    place.run(1.0)
    assert place.has_told_of_each_other(newcomer, place.resident)


@pytest.mark.parametrize("source", [NEIGHBOUR, NEWCOMER], ids=["neighbour", "forged source"])
def test_nor_do_2_000_registers_in_the_very_same_instant(source: Address) -> None:
    server = Server()
    server.register(ALICE, HOME)
    for _ in range(2_000):
        server.tell(server.datagram(BOB), source)
    assert isinstance(server.register(CAROL, NEWCOMER), Registered)


def test_nor_do_2_000_good_questions_of_one_socket_in_the_very_same_instant() -> None:
    server = Server()
    server.register(ALICE, HOME)
    registered = server.register(BOB, NEIGHBOUR)
    register = server.datagram(BOB, token=registered.token)
    connect = rendezvous_codec.encode(Connect(T, registered.lease_id, ALICE.peer))
    for _ in range(2_000):
        server.tell(register, NEIGHBOUR)
        server.tell(connect, NEIGHBOUR)
    lease_id = server.register(CAROL, NEWCOMER).lease_id
    answers = server.ask(rendezvous_codec.encode(Connect(T, lease_id, ALICE.peer)), NEWCOMER)
    assert [address for address, _ in answers] == [HOME, NEWCOMER]


def test_nor_do_all_of_these_at_once_from_many_sockets_of_a_neighbour() -> None:
    place = Flooded()
    for number, flood in enumerate(FLOODS):
        source = Address(SHARED, 3000 + number)
        place.floods.append((source, flood(), LINE_RATE // len(FLOODS)))
    place.run(10.0)
    newcomer = place.newcomer()
    place.run(5.0)
    assert newcomer.registration.state == "registered"


def test_forged_sources_of_the_whole_internet_cost_a_newcomer_one_round_trip_at_most() -> None:
    """More REGISTERs at once than the server verifies, each from elsewhere."""
    place = Flooded()
    sources = [Address(f"198.18.{n // 250}.{n % 250}", 1000 + n) for n in range(4_600)]
    place.flood_now(registers(), sources, 4_600)
    newcomer = place.newcomer()
    place.run(0.2)
    assert newcomer.registration.state == "registered"
    assert newcomer.of(Introduced)


def test_100_connects_a_second_to_one_member_keep_nobody_else_from_being_introduced() -> None:
    """By ten members, for a minute: more than one member is told of by all together."""
    server = Server()
    server.register(ALICE, HOME)
    crowd = [Identity(bytes((n + 1,)) * 32) for n in range(10)]
    places = [Address(f"203.0.113.{n + 100}", 1) for n in range(10)]
    leases = [server.register(m, p).lease_id for m, p in zip(crowd, places, strict=True)]
    asks = [rendezvous_codec.encode(Connect(T, lease_id, ALICE.peer)) for lease_id in leases]
    mine = rendezvous_codec.encode(Connect(T, server.register(BOB, AWAY).lease_id, ALICE.peer))
    told = 0
    for _ in range(60):
        for _ in range(10):
            server.now += 0.1
            for ask, place in zip(asks, places, strict=True):
                told += sum(a == HOME for a, _ in server.ask(ask, place))
    assert told < 512 + 60 * 64 + 10 * (4 + 60 / 4) + 1, "a member is told of no more than that"
    for _ in range(4):
        answers = server.ask(mine, AWAY)
        assert [(type(m), a) for a, m in answers] == [(Introduce, HOME), (Introduce, AWAY)]
    lease_id = server.register(CAROL, NEWCOMER).lease_id
    have = tuple(member.peer[:4] for member in (*crowd, BOB))
    answers = server.ask(rendezvous_codec.encode(Refresh(T, lease_id, True, have)), NEWCOMER)
    assert HOME in [a for a, m in answers if isinstance(m, Introduce)]


def test_one_address_is_introduced_512_times_at_once_and_32_times_a_second() -> None:
    server = Server()
    residents = [Identity(bytes((n + 1,)) * 32) for n in range(3)]
    for number, resident in enumerate(residents):
        server.register(resident, Address(f"203.0.113.{number + 100}", 1))
    lease_id = server.register(BOB, AWAY).lease_id
    asks = [rendezvous_codec.encode(Connect(T, lease_id, each.peer)) for each in residents]
    assert sum(len(server.tell(asks[n % 3], AWAY)) > 0 for n in range(900)) == 512
    server.now += 1.0
    assert sum(len(server.tell(asks[n % 3], AWAY)) > 0 for n in range(90)) == 32


def test_an_empty_allowance_costs_the_introductions_of_a_refresh_and_not_its_answer() -> None:
    server = Server()
    server.register(ALICE, HOME)
    ask = rendezvous_codec.encode(Refresh(T, server.register(BOB, AWAY).lease_id, True))
    answers = [server.ask(ask, AWAY) for _ in range(600)]
    assert [len(each) for each in answers[:1] + answers[-1:]] == [3, 1]


def test_a_full_network_says_so_and_keeps_places_for_others() -> None:
    server = Server()
    for number in range(192):
        server.register(Identity(number.to_bytes(32, "big")), Address(SHARED, 3000 + number))
    token = server.challenge(ALICE, NEWCOMER).token
    ((_, error),) = server.ask(server.datagram(ALICE, token=token), NEWCOMER)
    assert isinstance(error, Error)
    assert (error.code, error.text) == (5, "this network is full")
    assert isinstance(server.register(ALICE, HOME), Registered)


def test_10_000_guesses_find_no_oracle_in_size_or_time() -> None:
    """A name is tried by its id, with a token and without, in its moment and out of it: whether
    there is such a network is not to be seen by whoever lacks its key."""
    server = Server()
    for number in range(200):
        member = Identity(number.to_bytes(32, "big"))
        server.register(member, Address(f"203.0.113.{number}", 1))
    taken_s: dict[bool, list[float]] = {True: [], False: []}
    answers: dict[bool, set[tuple[int, ...]]] = {True: set(), False: set()}
    wrong = MembershipKey(b"a guess")
    token = server.challenge(ALICE, AWAY).token
    for number in range(5_000):
        server.now += 0.02
        if number % 2_000 == 0:
            token = server.challenge(ALICE, AWAY).token
        how: dict[str, Any] = {"token": token if number % 3 == 0 else b""}
        if number % 3 == 1:
            how["sent_at_unix_ms"] = 1
        for exists, network in ((True, NETWORK), (False, NetworkId(number.to_bytes(16, "big")))):
            guess = server.datagram(ALICE, network=network, as_member=wrong, **how)
            began = time.perf_counter()
            sent = server.tell(guess, AWAY)
            taken_s[exists].append(time.perf_counter() - began)
            answers[exists].add((number % 3, *(len(d.data) for d in sent)))
    assert answers[True] == answers[False]
    slower = statistics.median(taken_s[True]) / statistics.median(taken_s[False])
    assert 0.8 < slower < 1.25


def test_under_all_of_this_no_address_gets_more_than_it_sends() -> None:
    """But for STUN, which any client may ask with nothing (`stun_server`)."""
    for flood in FLOODS:
        if flood is bindings:
            continue
        place, questions, into, out = Flooded(), flood(), 0, 0
        for _ in range(300):
            data = next(questions)
            into += len(data)
            sent = place.meeting.tell_server(data, NEIGHBOUR)
            out += sum(len(answer) for address, answer in sent if address == NEIGHBOUR)
            assert sum(len(answer) for _, answer in sent) <= 3 * len(data)
        assert out <= into


class Flooded:
    """A meeting of one resident, and those who flood its server."""

    def __init__(self) -> None:
        self.meeting = Meeting()
        self.resident = self.meeting.register("resident")
        self.floods: list[tuple[Address, Iterator[bytes], int | None]] = []
        """From where, what, and how many bytes a second, if not `LINE_RATE`."""

    def run(self, for_s: float) -> None:
        for _ in range(round(for_s / STEP_S)):
            for source, flood, rate in self.floods:
                spent = 0
                while spent < (rate or LINE_RATE) * STEP_S:
                    data = next(flood)
                    spent += len(data)
                    self.meeting.tell_server(data, source)
            self.meeting.run(STEP_S)

    def flood_now(self, flood: Iterator[bytes], sources: list[Address], count: int) -> None:
        for number in range(count):
            self.meeting.tell_server(next(flood), sources[number % len(sources)])

    @property
    def now(self) -> float:
        return self.meeting.now

    def has_told_of_each_other(self, left: Guest, right: Guest) -> bool:
        """Whether the server has introduced them since `sent` was cleared."""
        told = {
            (sent.destination, message.peer)
            for sent in self.meeting.sent
            if isinstance(message := rendezvous_codec.decode(sent.data), Introduce)
        }
        wanted = {(left.address, right.identity.peer), (right.address, left.identity.peer)}
        return wanted <= told

    def newcomer(self) -> Guest:
        guest = self.meeting.invite("newcomer", address=NEWCOMER)
        self.meeting.start(guest)
        return guest

    def neighbour(self) -> tuple[bytes, bytes]:
        """A token and a lease of mallory, who is a member."""
        first = self.meeting.tell_server(_register(b"mallory", 0, b""), NEIGHBOUR)
        challenge = rendezvous_codec.decode(first[-1][1])
        assert isinstance(challenge, Challenge)
        then = self.meeting.tell_server(_register(b"mallory", 1, challenge.token), NEIGHBOUR)
        registered = rendezvous_codec.decode(then[-1][1])
        assert isinstance(registered, Registered)
        return registered.token, registered.lease_id


def repeated(data: bytes) -> Iterator[bytes]:
    while True:
        yield data


def _register(name: bytes, number: int, token: bytes) -> bytes:
    identity, member = Identity(name.ljust(32, b".")), MembershipKey(NETWORK)
    register = Register(
        number.to_bytes(12, "big"),
        NetworkId(member.public),
        identity.peer,
        1,
        CARD,
        token,
        sent_at_unix_ms=int(unix_s(1001.2) * 1000) + number,
    )
    return rendezvous_codec.encode_register(
        register, lambda part: identity.sign(REGISTER_LABEL, part), member.sign
    )
