"""Which addresses of a peer are tried, and in what order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from natd.core.base.scope import is_private
from natd.core.base.types import Address, Candidate, CandidateKind, PathKind
from natd.core.checks.candidates import local_candidates, path_kind, targets

START = 1000.0
CHECK_BYTES = 84
ANSWER_BYTES = 350
FLIGHT_BYTES = 1200
VICTIM = Address("198.51.100.7", 4567)
OURS = Address("203.0.113.20", 40000)
THEIRS = Address("203.0.113.30", 40001)
SERVER = Address("203.0.113.1", 8080)


# --- which addresses


def test_every_kind_of_candidate_is_tried_and_the_nearest_first():
    claimed = [
        Candidate(CandidateKind.MAPPED, Address("203.0.113.30", 5000)),
        Candidate(CandidateKind.IPV6, Address("2001:db8::5", 40001)),
        Candidate(CandidateKind.LAN, Address("192.168.1.5", 40001)),
    ]
    chosen = _targets(
        claimed, seen=[OURS._replace(port=40001)], last_good=[Address("203.0.113.99", 4001)]
    )
    assert [c.kind.value for c in chosen] == [
        "lan",
        "ipv6",
        "mapped",
        "server-reflexive",
        "last-good",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "224.0.0.1 5353",
        "ff02::1 5353",
        "255.255.255.255 40000",
        "0.0.0.0 40000",
        "0.1.2.3 40000",
        ":: 40000",
        "203.0.113.30 1023",
        "203.0.113.30 53",
        "203.0.113.30 0",
        "203.0.113.1 8080",
        "127.0.0.1 40000",
        "::1 40000",
        "10.1.2.3 40000",
        "172.16.0.9 40000",
        "192.168.1.1 40000",
        "169.254.7.7 40000",
        "100.64.0.1 40000",
        "fd00::1 40000",
        "fe80::1 40000",
    ],
)
@pytest.mark.parametrize("claim", ["card", "server"])
def test_what_can_be_no_peer_of_ours_is_never_a_target(text, claim):
    host, port = text.split()
    address = Address(host, int(port))
    if claim == "card":
        chosen = _targets([Candidate(CandidateKind.LAN, address)], seen=[THEIRS])
        assert address not in {c.address for c in chosen}
        assert {c.address.host for c in chosen} == {THEIRS.host}
    else:
        assert _targets([], seen=[address]) == ()


def test_a_private_address_is_tried_where_both_were_seen_from_the_same_public_one():
    lan = Candidate(CandidateKind.LAN, Address("192.168.1.5", 40001))
    assert _targets([lan], seen=[THEIRS])[0].address == THEIRS
    assert _targets([lan], seen=[OURS._replace(port=40001)])[0] == lan


def test_a_private_address_is_tried_where_the_server_is_in_our_own_realm():
    lan = Candidate(CandidateKind.LAN, Address("192.168.1.5", 40001))
    chosen = targets([lan], seen=[], ours=[], servers=[Address("192.168.1.1", 8080)])
    assert chosen == (lan,)
    chosen = targets([lan], seen=[], ours=[Address("10.0.0.4", 40000)], servers=[SERVER])
    assert chosen == (lan,)


def test_a_private_address_is_not_tried_for_a_peer_that_the_server_sees_outside():
    """Its card would aim at our own LAN.  A public address that only the card claims changes
    nothing."""
    lan = Candidate(CandidateKind.LAN, Address("192.168.1.77", 40001))
    ours_too = Candidate(CandidateKind.SERVER_REFLEXIVE, OURS._replace(port=40001))
    for near in (
        {"ours": [Address("192.168.1.5", 40000)], "servers": [Address("192.168.1.9", 8080)]},
        {"ours": [OURS], "inside": ["192.168.1.5"], "servers": [SERVER]},
        {"ours": [OURS], "servers": [Address("127.0.0.1", 8080)]},
    ):
        assert lan not in targets([lan, ours_too], seen=[THEIRS], **near)
        assert lan in targets([lan], seen=[Address("192.168.1.6", 40001)], **near)


def test_a_server_behind_a_proxy_makes_no_public_site_of_two_peers():
    lan = Candidate(CandidateKind.LAN, Address("192.168.1.6", 40001))
    proxy = Address("172.17.0.1", 40001)
    chosen = targets([lan], seen=[proxy], ours=[proxy], servers=[SERVER])
    assert chosen[0] == lan, "they may be in one LAN: it costs a plain check to find out"
    assert path_kind(chosen[-1], (proxy,)) is PathKind.LAN, "no hairpin"


def test_what_a_server_saw_is_tried_before_what_the_card_claims_and_each_host_before_another_port():
    claim = Candidate(CandidateKind.SERVER_REFLEXIVE, Address("198.51.100.9", 5000))
    ports = [THEIRS._replace(port=port) for port in (1, 2, 3, 4, 5)]
    ports = [port._replace(port=40001 + port.port) for port in ports]
    uplink = Address("198.51.100.7", 40001)
    chosen = [c.address for c in _targets([claim], seen=[*ports, uplink])]
    assert chosen == [ports[0], uplink, *ports[1:3]]
    assert [c.address for c in _targets([claim], seen=ports[:1])] == [ports[0], claim.address]


def test_loopback_is_tried_only_where_a_server_is_on_loopback():
    loopback = Address("127.0.0.1", 40001)
    server, ours = Address("127.0.0.1", 8080), Address("127.0.0.1", 40000)
    chosen = targets([], seen=[loopback], ours=[ours], servers=[server])
    assert [c.address for c in chosen] == [loopback]
    in_a_lan = targets([], seen=[loopback], ours=[Address("192.168.1.4", 40000)], servers=[SERVER])
    assert in_a_lan == ()


def test_a_private_address_that_carried_a_path_before_is_tried_again():
    known = Address("192.168.1.5", 40001)
    assert [c.address for c in _targets([], seen=[], last_good=[known])] == [known]


def test_a_private_address_is_tried_first_where_the_peer_was_heard_on_our_own_link():
    heard = Address("192.168.1.5", 40001)
    chosen = _targets([], seen=[THEIRS, heard], on_link=[heard])
    assert [c.address for c in chosen] == [heard, THEIRS]
    group, low = Address("239.255.110.97", 28260), Address("192.168.1.5", 53)
    assert _targets([], seen=[], on_link=[group, low, SERVER]) == ()


def test_a_card_can_not_pass_a_candidate_off_as_last_good():
    claimed = Candidate(CandidateKind.LAST_GOOD, Address("192.168.1.1", 40001))
    assert _targets([claimed], seen=[]) == ()


def test_sixteen_candidates_at_most_and_four_of_a_kind_each_once():
    claimed = [
        Candidate(kind, Address(f"203.0.{kinds}.{number}", 40001))
        for kinds, kind in enumerate(CandidateKind)
        for number in range(20, 40)
    ]
    chosen = _targets(claimed, seen=[THEIRS] * 5)
    assert len(chosen) == 16
    assert len({c.address for c in chosen}) == 16
    for kind in CandidateKind:
        assert sum(c.kind is kind for c in chosen) <= 4


@given(st.ip_addresses(), st.integers(0, 65535))
def test_no_address_whatsoever_makes_targets_raise_or_lets_a_low_port_through(ip, port):
    for chosen in _targets([], seen=[Address(str(ip), port)]):
        assert chosen.address.port >= 1024
        assert not ip.is_multicast
        assert not ip.is_loopback
        assert not is_private(str(ip))


def test_our_own_card_keeps_the_order_by_route_and_names_nothing_that_means_nothing():
    """A LAN that uses the addresses of container bridges is none."""
    addresses = (
        "127.0.0.1",
        "172.17.0.1",
        "192.168.1.4",
        "fe80::1",
        "::1",
        "2001:db8::4",
        "fd00::4",
    )
    told = local_candidates(addresses, 40000)
    assert [c.address.host for c in told] == [
        "172.17.0.1",
        "192.168.1.4",
        "fd00::4",
        "2001:db8::4",
    ]
    assert {c.kind for c in told[:3]} == {CandidateKind.LAN}
    many = tuple(f"192.168.1.{n}" for n in range(1, 20))
    assert len(local_candidates(many, 40000)) == 4


def test_an_address_that_we_hold_ourselves_is_no_target():
    """Container bridges have the same address everywhere: the checks went to our own."""
    lan, bridge = Address("192.168.3.6", 40001), Address("172.17.0.1", 40001)
    claimed = [Candidate(CandidateKind.LAN, each) for each in (bridge, lan)]
    seen = [OURS._replace(port=40001)]
    held = frozenset(("192.168.1.5", "172.17.0.1"))
    chosen = _targets(claimed, seen=seen, held=held)
    assert [c.address for c in chosen if c.kind is CandidateKind.LAN] == [lan]
    twenty = [Address(f"10.96.0.{n}", 40001) for n in range(1, 21)]
    claimed = [Candidate(CandidateKind.LAN, each) for each in (*twenty, lan)]
    chosen = _targets(claimed, seen=seen, held=frozenset(each.host for each in twenty))
    assert [c.address for c in chosen if c.kind is CandidateKind.LAN] == [lan]


def test_a_peer_that_claims_only_addresses_that_we_hold_is_on_this_machine():
    here = Candidate(CandidateKind.LAN, Address("192.168.1.5", 40001))
    held = frozenset(("192.168.1.5", "172.17.0.1"))
    assert here in _targets([here], seen=[OURS._replace(port=40001)], held=held)


def test_where_a_server_sees_a_peer_it_is_even_at_an_address_of_ours():
    """Two daemons on one machine that has a public address."""
    lan = Candidate(CandidateKind.LAN, Address("10.0.0.9", 40001))
    seen = OURS._replace(port=40001)
    held = frozenset((OURS.host,))
    assert seen in [c.address for c in _targets([lan], seen=[seen], held=held)]


def test_a_server_elsewhere_that_sees_us_at_loopback_opens_no_loopback_to_anybody():
    service = Candidate(CandidateKind.MAPPED, Address("127.0.0.1", 5432))
    at_loopback = [Address("127.0.0.1", 40000)]
    assert targets([service], seen=at_loopback, ours=at_loopback, servers=[SERVER]) == ()
    ours = Address("127.0.0.1", 8080)
    assert targets([service], seen=[], ours=at_loopback, servers=[ours]) == (service,)


# --- helpers


def _targets(claimed, *, seen, **known):
    return targets(claimed, seen=seen, ours=[OURS], servers=[SERVER], **known)
