"""Binding answers: RFC 5780's table, what is refused, and how long an answer may be."""

import itertools
from random import Random

import pytest

from natd.core.base.types import Address, Datagram, SocketId
from natd.core.codec import stun
from natd.core.coordinator.stun_server import StunServer

T = bytes(range(12))
PORTS = (8080, 8081, 8082, 8083)
A, B = "192.0.2.1", "192.0.2.2"
A6, B6 = "2001:db8::1", "2001:db8::2"
HOME, HOME6 = Address("203.0.113.7", 4000), Address("2001:db8:7::7", 4000)
UNKNOWN = 0x7FFF
"""A type of the range that must be understood, and given to nobody."""


@pytest.mark.parametrize("asked", range(8))
@pytest.mark.parametrize("flags", [None, 0, 2, 4, 6])
def test_an_answer_leaves_from_where_the_table_of_rfc_5780_says(
    asked: int, flags: int | None
) -> None:
    stun_server = StunServer((A, B), PORTS)
    row, column = divmod(asked, 4)
    da, ca = (A, B)[row], (B, A)[row]
    dp, cp = PORTS[column], PORTS[column ^ 1]
    source = Address(ca if (flags or 0) & 4 else da, cp if (flags or 0) & 2 else dp)

    extra = [] if flags is None else [(stun.CHANGE_REQUEST, bytes((0, 0, 0, flags)))]
    answer, told = ask(stun_server, HOME, asked, extra)
    assert Address((A, B)[answer.socket // 4], PORTS[answer.socket % 4]) == source
    assert address_in(told, stun.RESPONSE_ORIGIN) == source
    assert address_in(told, stun.OTHER_ADDRESS) == Address(ca, cp)
    assert told.mapped_address() == HOME
    assert told.transaction == T


def test_the_other_address_of_the_other_is_the_first_again_and_of_the_same_family() -> None:
    stun_server = StunServer((A, A6, B, B6), PORTS)
    for row, other in enumerate((B, B6, A, A6)):
        assert stun_server.other_host(SocketId(4 * row)) == other
    _, told = ask(stun_server, HOME6, 4, [(stun.CHANGE_REQUEST, b"\0\0\0\4")])
    assert address_in(told, stun.RESPONSE_ORIGIN) == Address(B6, 8080)
    assert address_in(told, stun.OTHER_ADDRESS) == Address(B6, 8081)


def test_a_last_port_without_a_neighbour_changes_to_the_first() -> None:
    _, told = ask(StunServer((A, B), (1, 2, 3)), HOME, 2, [])
    assert address_in(told, stun.OTHER_ADDRESS) == Address(B, 1)


@pytest.mark.parametrize(
    ("hosts", "ports"),
    [
        ((), PORTS),
        ((A,), PORTS),
        ((A, A6), PORTS),
        (("::",), PORTS),
        (("::", "0.0.0.0"), PORTS),
        (("0.0.0.0", A), PORTS),
        ((A6, "fe80::1"), PORTS),
        ((A, B), (8080,)),
    ],
)
def test_without_a_second_address_and_port_a_change_request_is_refused_as_unknown(
    hosts: tuple[str, ...], ports: tuple[int, ...]
) -> None:
    """RFC 5780, section 6.1: MUST, whatever the flags; an answer from here would be a lie."""
    stun_server = StunServer(hosts, ports)
    for flags in (0, 2, 4, 6):
        change = (stun.CHANGE_REQUEST, bytes((0, 0, 0, flags)))
        answer, told = ask(stun_server, HOME, 0, [change])
        assert_refused(told, [stun.CHANGE_REQUEST])
        assert answer.socket == 0
    _, told = ask(stun_server, HOME, 0, [])
    assert told.get(stun.OTHER_ADDRESS) is None
    assert told.get(stun.RESPONSE_ORIGIN) is None
    assert stun_server.other_host(SocketId(0)) is None


def test_a_row_that_was_bound_to_nothing_has_no_other_address() -> None:
    """The shell numbers what a wildcard socket was asked at beyond the bound addresses."""
    answer, told = ask(StunServer((A, B), PORTS), HOME, 13, [])
    assert answer.socket == 13
    assert told.get(stun.OTHER_ADDRESS) is None
    assert StunServer((A, B), PORTS).other_host(SocketId(13)) is None


def test_what_must_be_understood_and_is_not_is_refused_by_name() -> None:
    change = (stun.CHANGE_REQUEST, b"\0\0\0\6")
    extra = [(0x0002, b""), change, (UNKNOWN, b"1234"), (0x0002, b"")]
    for hosts, also in (((A, B), []), ((A,), [stun.CHANGE_REQUEST])):
        _, told = ask(StunServer(hosts, PORTS), HOME, 0, extra)
        assert_refused(told, [0x0002, *also, UNKNOWN])
    optional = [(0x8001, b"whatever"), (stun.SOFTWARE, b"x")]
    assert ask(StunServer((A, B), PORTS), HOME, 0, optional)[1].mapped_address() == HOME


@pytest.mark.parametrize("hosts", [(), (A, B)])
def test_a_response_port_is_where_the_answer_goes_at_the_same_host(hosts: tuple[str, ...]) -> None:
    for value in (b"\x12\x34", b"\x12\x34\0\0"):
        answer, told = ask(StunServer(hosts, PORTS), HOME, 0, [(stun.RESPONSE_PORT, value)])
        assert answer.address == Address(HOME.host, 0x1234)
        assert told.mapped_address() == HOME


@pytest.mark.parametrize("hosts", [(), (A, B)])
def test_padding_is_answered_by_padding_up_to_the_length_of_the_question(
    hosts: tuple[str, ...],
) -> None:
    for length in (0, 1, 40, 41, 500, 1500):
        extra = [(stun.PADDING, bytes(length))]
        answer, told = ask(StunServer(hosts, PORTS), HOME, 0, extra)
        assert told.mapped_address() == HOME
        if length >= 60:
            assert len(answer.data) == len(request(extra))
            assert told.get(stun.PADDING) is not None


@pytest.mark.parametrize(
    "extra",
    [
        [(stun.RESPONSE_PORT, b"\0\0")],
        [(stun.RESPONSE_PORT, b"\0\0\0\7")],
        [(stun.RESPONSE_PORT, b"")],
        [(stun.RESPONSE_PORT, b"\7")],
        [(stun.RESPONSE_PORT, b"\7\7"), (stun.PADDING, b"")],
        [(stun.CHANGE_REQUEST, b"")],
        [(stun.CHANGE_REQUEST, b"\0\0\4")],
        [(stun.CHANGE_REQUEST, bytes(8))],
    ],
)
def test_what_no_client_may_ask_is_a_bad_request(extra: list[tuple[int, bytes]]) -> None:
    answer, told = ask(StunServer((A, B), PORTS), HOME, 5, extra)
    assert told.message_class is stun.MessageClass.ERROR
    assert told.get(stun.ERROR_CODE) == b"\0\0\4\0"
    assert (answer.address, answer.socket) == (HOME, 5)


def test_a_fingerprint_answers_a_fingerprint() -> None:
    for stun_server, extra in itertools.product(
        (StunServer((), PORTS), StunServer((A, B), PORTS)), ([], [(UNKNOWN, bytes(8))])
    ):
        for fingerprint in (True, False):
            _, told = ask(stun_server, HOME, 0, extra, fingerprint=fingerprint)
            assert (told.get(stun.FINGERPRINT) is not None) == fingerprint


def test_the_answer_to_a_bare_request_has_no_byte_too_many() -> None:
    sizes = {
        (hosts, source.is_ipv6): len(ask(StunServer(hosts, PORTS), source, 0, [])[0].data)
        for hosts, source in (((), HOME), ((A, B), HOME), ((), HOME6), ((A6, B6), HOME6))
    }
    assert sizes == {((), False): 32, ((A, B), False): 56, ((), True): 44, ((A6, B6), True): 92}


def test_mapped_address_is_added_when_the_question_pays_for_it() -> None:
    stun_server = StunServer((A, B), PORTS)
    change = (stun.CHANGE_REQUEST, b"\0\0\0\0")
    assert address_in(ask(stun_server, HOME, 0, [change])[1], stun.MAPPED_ADDRESS) == HOME
    assert ask(stun_server, HOME, 0, [])[1].get(stun.MAPPED_ADDRESS) is None


def test_no_answer_is_longer_than_three_times_its_question() -> None:
    random = Random(1)
    kinds = (stun.CHANGE_REQUEST, stun.SOFTWARE, stun.PADDING, stun.RESPONSE_PORT, UNKNOWN)
    for hosts, source, headers in (((A, B), HOME, 0), ((A6, B6), HOME6, 48)):
        stun_server = StunServer(hosts, PORTS)
        for _ in range(3000):
            extra = [
                (kind, bytes(4 if kind == stun.CHANGE_REQUEST else random.choice((0, 3, 4, 9))))
                for kind in random.choices(kinds, k=random.randrange(7))
            ]
            fingerprint = random.random() < 0.5
            question = request(extra, fingerprint=fingerprint)
            answer, _ = ask(
                stun_server, source, random.randrange(8), extra, fingerprint=fingerprint
            )
            assert len(answer.data) + headers <= 3 * (len(question) + headers)


def request(extra: list[tuple[int, bytes]], *, fingerprint: bool = False) -> bytes:
    return stun.encode(stun.BINDING, stun.MessageClass.REQUEST, T, extra, fingerprint=fingerprint)


def ask(
    stun_server: StunServer,
    source: Address,
    number: int,
    extra: list[tuple[int, bytes]],
    *,
    fingerprint: bool = False,
) -> tuple[Datagram, stun.StunMessage]:
    data = request(extra, fingerprint=fingerprint)
    answer = stun_server.answer(stun.decode(data), len(data), source, SocketId(number))
    return answer, stun.decode(answer.data)


def assert_refused(told: stun.StunMessage, unknown: list[int]) -> None:
    assert told.message_class is stun.MessageClass.ERROR
    error = told.get(stun.ERROR_CODE)
    assert error is not None
    assert error[2] * 100 + error[3] == 420
    listed = told.get(stun.UNKNOWN_ATTRIBUTES)
    assert listed == b"".join(kind.to_bytes(2, "big") for kind in unknown)
    assert told.mapped_address() is None


def address_in(told: stun.StunMessage, kind: int) -> Address:
    value = told.get(kind)
    assert value is not None
    assert value[0] == 0
    packed = value[4:]
    assert (value[1], len(packed)) in ((1, 4), (2, 16))
    host = ".".join(map(str, packed)) if len(packed) == 4 else None
    if host is None:
        host = next(
            known for known in (A6, B6, HOME6.host) if Address(known, 1).ip.packed == packed
        )
    return Address(host, int.from_bytes(value[2:4], "big"))
