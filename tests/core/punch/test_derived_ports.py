"""Ports that both sides know without a word, to be met at when the main sockets are spoilt."""

from natd.core.base.types import MAIN_SOCKET, Address, SocketId
from tests.core.world.lossy_link import pair_of_secrets
from tests.core.world.punch_lab import KEEPS, MIXES, THEIRS, Lab


def test_openers_go_to_the_agreed_ports_before_anything_else():
    """A check that came first would spoil those, too."""
    lab = Lab()
    lab.start(nats=(KEEPS, KEEPS))
    openers, rest = lab.sent[:3], lab.sent[3:]
    assert [check.address.port for _, check in openers] == list(lab.checks.their_ports[:3])
    assert [(check.ttl, check.is_strict) for _, check in openers] == [
        (3, True),
        (3, False),
        (2, True),
    ]
    assert [check.address for _, check in rest] == [THEIRS]


def test_in_each_round_another_agreed_port_of_ours_calls_a_little_later():
    lab = Lab()
    lab.start(nats=(KEEPS, KEEPS))
    lab.run(30.0)
    calls = [
        check.socket
        for _, check in lab.sent
        if check.socket in lab.checks.our_ports and check.address == THEIRS
    ]
    called = list(dict.fromkeys(calls))
    assert len(called) >= 3
    assert called == list(lab.checks.our_ports[: len(called)])


def test_after_a_path_of_agreed_ports_the_search_for_another_begins_with_the_next():
    """A router had forgotten its flows, the next packet spoilt the path's ports, and
    the pair stayed apart for as long as the other side went on sending."""
    for number in range(2):
        lab = Lab(side=number)
        pairs = lab.checks.meeting_ports
        ours, theirs = pairs[1]
        lab.punch.reached(Address(THEIRS.host, theirs), SocketId(ours))
        lab.start(nats=(KEEPS, KEEPS))
        lab.run(0.8)
        met = {(check.socket, check.address.port) for _, check in lab.sent} & set(pairs)
        assert met == set(pairs[2:5] if lab.checks.we_open else pairs[2:3])


def test_of_two_fresh_ports_the_one_side_opens_and_the_other_calls_when_that_is_done():
    for number in range(2):
        lab = Lab(side=number)
        lab.start(nats=(KEEPS, KEEPS))
        lab.run(0.8)
        pairs = lab.checks.meeting_ports
        meeting = [
            (at, check)
            for at, check in lab.sent
            if (check.socket, check.address.port) in pairs and check.address.host == THEIRS.host
        ]
        if lab.checks.we_open:
            assert {check.socket for _, check in meeting} == {ours for ours, _ in pairs[:3]}
            limits = [(check.ttl, check.is_strict) for _, check in meeting]
            assert limits[:3] == [(2, True), (2, True), (2, False)]
            opened_at = meeting[0][0]
        else:
            assert {check.socket for _, check in meeting} == {pairs[0][0]}
            assert all(check.ttl is None for _, check in meeting)
            called_at = meeting[0][0]
    assert called_at - opened_at >= 0.2


def test_a_host_that_is_named_meanwhile_is_checked_from_the_main_socket_at_once():
    """A renumbered peer was looked for at its old address only, until the next round."""
    lab = Lab()
    elsewhere = Address("198.51.100.99", THEIRS.port)
    lab.start(nats=(KEEPS, KEEPS))
    lab.run(0.3)
    introduced_at = lab.now
    lab.start(THEIRS, elsewhere, nats=(KEEPS, KEEPS))
    lab.run(0.2)
    early = [at for at, check in lab.sent if (check.address, check.socket) == (elsewhere, 0)]
    assert len([at for at in early if at <= introduced_at + 0.1]) >= 3


def test_no_port_is_agreed_on_behind_a_nat_that_mixes_them():
    lab = Lab()
    lab.start(nats=(MIXES, MIXES))
    lab.run(60.0)
    assert {check.socket for _, check in lab.sent} == {MAIN_SOCKET}
    assert {check.address for _, check in lab.sent} == {THEIRS}


def test_the_sockets_of_an_attempt_are_bounded_however_long_it_lasts_and_keys_change():
    lab = Lab()
    lab.start(nats=(KEEPS, KEEPS))
    for hour in range(30):
        lab.checks.use(pair_of_secrets(seed=hour)[0])
        lab.run(600.0)
        assert len(lab.punch.sockets) <= 18


def test_no_socket_is_kept_open_for_a_peer_who_stays_away():
    """With a few hundred of them a daemon would run out of files."""
    lab = Lab()
    lab.has_server = True
    lab.start(nats=(KEEPS, KEEPS))
    lab.run(300.0)
    assert lab.punch.sockets == {MAIN_SOCKET}
    lab.start(nats=(KEEPS, KEEPS), fresh=True)
    lab.run(1.0)
    assert len(lab.punch.sockets) > 1, "and news make it worth trying again"


def test_with_no_server_to_say_when_one_is_kept_open_that_the_peer_may_call():
    lab = Lab()
    lab.start(nats=(KEEPS, KEEPS))
    lab.run(300.0)
    for _ in range(10):
        lab.run(60.0)
        (fresh,) = lab.punch.sockets - {MAIN_SOCKET}
        assert fresh in lab.checks.our_ports
