"""Which ports of a sequential NAT are surely ours."""

from random import Random

import pytest

from natd.core.base.types import Address, SocketId
from natd.core.codec import stun
from natd.core.prediction.anchors import (
    MOST_ANCHORS,
    OPENERS,
    PATIENCE_S,
    AnchorBurst,
    sampling_places,
    sockets_wanted,
)

START = 1000.0
PLACES = tuple(Address("203.0.113.1", 8080 + offset) for offset in range(4))
WAN = "198.51.100.7"


def _burst(stride=1):
    sockets = [SocketId(0x100001 + number) for number in range(sockets_wanted(PLACES))]
    return AnchorBurst(
        stride=stride,
        places=PLACES,
        sockets=sockets,
        prefix=b"abcd",
        random=Random(1),
        now=START,
    )


def _pass(burst, random, *, stride=1, taken_share=0.3, first=40_000, lost=()):
    """Let the burst through a NAT that counts up; gives each opener's true port."""
    samples, port, ports = burst.samples(), first, {}
    for number, sample in enumerate(samples):
        for opener in [None, *burst.openers][number : number + 1]:
            port = _next(port, stride, taken_share, random)
            ports[opener] = port
        port = _next(port, stride, taken_share, random)
        if number not in lost:
            _answer(burst, sample, port)
    return ports


def _next(port, stride, taken_share, random):
    port += stride
    while random.random() < taken_share:
        port += stride
    return port


def _answer(burst, sample, port, **change):
    transaction = stun.decode(sample.data).transaction
    data = stun.encode_binding_response(transaction, Address(WAN, port))
    place, socket = change.get("place", sample.address), change.get("socket", sample.socket)
    return burst.answered(stun.decode(data), place, socket)


def test_samples_and_openers_take_turns_and_each_has_a_new_mapping():
    burst = _burst()
    samples = burst.samples()
    assert len(samples) == len(burst.openers) + 1 == OPENERS + 1
    assert len({(sample.socket, sample.address) for sample in samples}) == len(samples)
    assert len(set(burst.openers)) == OPENERS
    assert not set(burst.openers) & {sample.socket for sample in samples}


@pytest.mark.parametrize("stride", [1, 2, 4])
@pytest.mark.parametrize("taken_share", [0.0, 0.1, 0.3])
def test_what_is_told_is_almost_always_right_and_almost_always_two(stride, taken_share):
    random = Random(3)
    told = right = 0
    for _ in range(300):
        burst = _burst(stride)
        ports = _pass(burst, random, stride=stride, taken_share=taken_share)
        anchors = burst.anchors()
        told += len(anchors)
        right += sum(ports[a.socket] == a.address.port and a.address.host == WAN for a in anchors)
    assert told >= 0.99 * 300 * MOST_ANCHORS
    assert right >= 0.99 * told


def test_a_stride_that_few_samples_made_too_long_is_put_right():
    random, right = Random(5), 0
    for _ in range(100):
        burst = _burst(stride=2)
        ports = _pass(burst, random, stride=1)
        right += all(ports[a.socket] == a.address.port for a in burst.anchors())
    assert right >= 98


def test_an_opener_beside_a_lost_sample_is_not_told():
    burst = _burst()
    ports = _pass(burst, Random(1), taken_share=0.0, lost=range(4, OPENERS + 1))
    anchors = burst.anchors()
    assert len(anchors) == MOST_ANCHORS
    assert all(ports[anchor.socket] == anchor.address.port for anchor in anchors)
    burst = _burst()
    _pass(burst, Random(1), lost=range(0, OPENERS + 1, 2))
    assert burst.anchors() == ()


def test_it_is_over_when_all_have_answered_or_nobody_has_for_too_long():
    burst = _burst()
    assert not burst.is_over(START + PATIENCE_S - 0.1)
    assert burst.is_over(START + PATIENCE_S)
    assert burst.anchors() == ()
    _pass(burst, Random(1))
    assert burst.is_over(START)


def test_an_answer_from_elsewhere_or_on_another_socket_is_none():
    burst = _burst()
    first, second, *_ = burst.samples()
    assert not _answer(burst, first, 40_000, place=second.address)
    assert not _answer(burst, first, 40_000, socket=SocketId(7))
    assert _answer(burst, first, 40_000)


def test_the_ports_of_one_server_are_asked_in_their_order():
    other = Address("203.0.113.9", 8080)
    places = sampling_places({*PLACES, other, Address("2001:db8::1", 8080)})
    assert places == PLACES
    assert sampling_places({Address("2001:db8::1", 8080)}) == ()
    assert sockets_wanted(PLACES) == OPENERS + 4
    assert sockets_wanted(PLACES[:1]) == OPENERS + OPENERS + 1
