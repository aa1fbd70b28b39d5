"""Checks between two peers: who can make them, what an answer proves, and how small they are."""

from random import Random

import pytest

from natd.core.base.types import MAIN_SOCKET, Address, SocketId
from natd.core.checks.checks import (
    AGREED_PORTS,
    ANSWER_AFTER,
    MOST_DELAYED,
    MOST_OUTSTANDING,
    OUTSTANDING_S,
    Checks,
    read_check,
)
from natd.core.codec import stun
from tests.core.world.lossy_link import pair_of_secrets

START = 1000.0
PREFIX = b"abcd"
THEIRS = Address("198.51.100.7", 40001)
OURS = Address("203.0.113.20", 40000)


def test_a_check_and_its_answer_prove_the_path_and_time_it():
    checks, remote = _pair()
    request = checks.request(THEIRS, MAIN_SOCKET, START)
    assert request.address == THEIRS
    response = _answered(request.data, remote, OURS)
    answered = _match(checks, response, at=START + 0.05)
    assert answered is not None
    assert answered.rtt_s == pytest.approx(0.05)
    assert answered.mapped == OURS


@pytest.mark.parametrize(("host", "longer"), [("198.51.100.7", 0), ("2001:db8::7", 4)])
def test_a_check_and_its_answer_have_100_bytes_at_most_and_are_as_good_as_equal(host, longer):
    checks, remote = _pair()
    request = checks.request(Address(host, 40001), MAIN_SOCKET, START)
    response = _answered(request.data, remote, Address(host, 40000))
    assert len(request.data) <= 100
    assert len(response) <= len(request.data) + longer


def test_transactions_begin_with_the_prefix_by_which_answers_find_their_peer():
    checks, _ = _pair()
    seen = {stun.decode(checks.request(THEIRS, MAIN_SOCKET, START).data).transaction}
    seen.add(stun.decode(checks.request(THEIRS, MAIN_SOCKET, START).data).transaction)
    assert len(seen) == 2
    assert all(transaction.startswith(PREFIX) for transaction in seen)


def test_an_answer_counts_once():
    checks, remote = _pair()
    request = checks.request(THEIRS, MAIN_SOCKET, START)
    response = _answered(request.data, remote, OURS)
    assert _match(checks, response) is not None
    assert _match(checks, response) is None


@pytest.mark.parametrize(
    ("address", "socket"),
    [(THEIRS._replace(port=5), MAIN_SOCKET), (OURS, MAIN_SOCKET), (THEIRS, SocketId(70000))],
)
def test_an_answer_from_elsewhere_or_on_another_socket_proves_nothing(address, socket):
    checks, remote = _pair()
    request = checks.request(THEIRS, MAIN_SOCKET, START)
    response = _answered(request.data, remote, OURS)
    message = stun.decode(response)
    assert checks.match(message, response, address, socket, START) is None
    assert _match(checks, response) is not None, "the right one may still come"


def test_an_answer_without_the_pairs_key_proves_nothing():
    checks, _ = _pair()
    request = checks.request(THEIRS, MAIN_SOCKET, START)
    transaction = stun.decode(request.data).transaction
    for key in (None, bytes(32)):
        forged = stun.encode_binding_response(transaction, OURS, key=key)
        assert _match(checks, forged) is None


def test_our_own_check_sent_back_to_us_is_no_answer_and_gets_none():
    """The keys of the two directions differ, so nothing can be reflected."""
    checks, _ = _pair()
    ours, _ = pair_of_secrets()
    request = checks.request(THEIRS, MAIN_SOCKET, START)
    message = stun.decode(request.data)
    assert read_check(message, request.data, ours, THEIRS, MAIN_SOCKET) is None


def test_a_request_without_valid_integrity_gets_no_answer():
    checks, remote = _pair()
    data = bytearray(checks.request(THEIRS, MAIN_SOCKET, START).data)
    for at in range(8, len(data)):
        changed = bytes(data[:at]) + bytes([data[at] ^ 1]) + bytes(data[at + 1 :])
        try:
            message = stun.decode(changed)
        except ValueError:
            continue
        assert read_check(message, changed, remote, OURS, MAIN_SOCKET) is None


def test_an_answer_that_took_longer_than_any_round_trip_is_forgotten():
    checks, remote = _pair()
    old = checks.request(THEIRS, MAIN_SOCKET, START)
    checks.request(THEIRS, MAIN_SOCKET, START + OUTSTANDING_S + 0.1)
    assert _match(checks, _answered(old.data, remote, OURS)) is None


def test_the_checks_that_wait_for_an_answer_are_bounded():
    checks, remote = _pair()
    requests = [checks.request(THEIRS, MAIN_SOCKET, START) for _ in range(MOST_OUTSTANDING + 50)]
    assert len(checks._outstanding) <= MOST_OUTSTANDING
    assert _match(checks, _answered(requests[0].data, remote, OURS)) is None
    assert _match(checks, _answered(requests[-1].data, remote, OURS)) is not None


def test_an_answer_that_was_asked_for_later_counts_whenever_it_comes_and_is_no_round_trip():
    checks, remote = _pair()
    later = (ANSWER_AFTER, (170).to_bytes(2, "big"))
    request = checks.request(THEIRS, MAIN_SOCKET, START, asks=later)
    for second in range(100):
        checks.request(THEIRS, MAIN_SOCKET, START + second)
    response = _answered(request.data, remote, OURS)
    answered = _match(checks, response, START + 170.1)
    assert answered.is_delayed
    assert _match(checks, response, START + 170.2) is None, "once"


def test_answers_that_were_asked_for_later_and_never_come_are_bounded():
    checks, _ = _pair()
    for _ in range(10 * MOST_DELAYED):
        checks.request(THEIRS, MAIN_SOCKET, START, asks=(ANSWER_AFTER, bytes(2)))
    assert len(checks._delayed) <= MOST_DELAYED


def test_an_answer_counts_under_the_keys_of_its_request_although_newer_ones_came():
    checks, remote = _pair()
    request = checks.request(THEIRS, MAIN_SOCKET, START)
    checks.use(pair_of_secrets(seed=2)[0])
    assert _match(checks, _answered(request.data, remote, OURS)) is not None


def test_checks_are_made_under_all_secrets_that_the_peer_may_hold_in_turn():
    checks, _ = _pair()
    older, newer = pair_of_secrets(seed=1)[0], pair_of_secrets(seed=2)[0]
    checks.use(newer, older)
    tags = [
        (stun.decode(checks.request(THEIRS, MAIN_SOCKET, START).data).get(stun.USERNAME) or b"")[:8]
        for _ in range(4)
    ]
    assert tags[0] != tags[1]
    assert tags[2:] == tags[:2]
    assert set(tags) == {older.send_tag, newer.send_tag}


def test_a_check_without_secrets_is_a_mistake_of_ours():
    with pytest.raises(ValueError, match="use"):
        Checks(PREFIX, Random(1)).request(THEIRS, MAIN_SOCKET, START)


def test_both_sides_know_each_others_agreed_ports_and_who_opens_without_a_word():
    one, other = (Checks(PREFIX, Random(n)) for n in range(2))
    assert not one.our_ports
    assert not one.their_ports
    for checks, secrets in zip((one, other), pair_of_secrets(), strict=True):
        checks.use(secrets)
    assert one.our_ports == other.their_ports
    assert one.their_ports == other.our_ports
    assert len(one.our_ports) == AGREED_PORTS
    assert one.meeting_ports == tuple((b, a) for a, b in other.meeting_ports)
    assert one.we_open != other.we_open
    assert all(20_000 <= port < 60_000 for port in one.our_ports + one.their_ports)


def _pair():
    """Our checks, and the peer's secrets."""
    ours, theirs = pair_of_secrets()
    checks = Checks(PREFIX, Random(1))
    checks.use(ours)
    return checks, theirs


def _answered(data, remote_secrets, mapped):
    check = read_check(stun.decode(data), data, remote_secrets, mapped, MAIN_SOCKET)
    assert check is not None
    return check.answer.data


def _match(checks, response, at=START):
    return checks.match(stun.decode(response), response, THEIRS, MAIN_SOCKET, at)


def test_a_check_of_full_size_and_the_one_after_it_are_made_under_the_same_secrets():
    """Else one may be lost because the peer lacks those, and the path be taken for a narrow one."""
    checks, _ = _pair()
    checks.use(pair_of_secrets(seed=2)[0], pair_of_secrets(seed=1)[0])
    tags = []
    for _ in range(2):
        large = checks.filled(THEIRS, MAIN_SOCKET, 1_200, START)
        small = checks.request(THEIRS, MAIN_SOCKET, START)
        tags.append({stun.decode(d.data).get(stun.USERNAME) for d in (large, small)})
    assert [len(each) for each in tags] == [1, 1]
    assert tags[0] != tags[1]
