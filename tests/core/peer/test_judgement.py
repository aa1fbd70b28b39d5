"""One sentence for people that says why there is no path and what would help."""

from dataclasses import replace
from itertools import product

import pytest

from natd.core.base.types import Allocation, Mapping, NatReport
from natd.core.base.verdict import Help, Verdict, VerdictCode, judge_servers
from natd.core.peer.judgement import Findings, judge

EASY = NatReport(Mapping.INDEPENDENT, allocation=Allocation.PRESERVING, confidence=0.94)
UNSURE = NatReport(Mapping.INDEPENDENT, allocation=Allocation.RANDOM, confidence=0.8)
RANDOM = NatReport(Mapping.DEPENDENT, allocation=Allocation.RANDOM, confidence=0.94)
COUNTING = replace(RANDOM, allocation=Allocation.SEQUENTIAL, allocation_confidence=0.9)
PERHAPS_COUNTING = replace(COUNTING, allocation_confidence=0.2)
BLOCK = replace(RANDOM, allocation=Allocation.BLOCK, low=2048, high=2559, allocation_confidence=0.9)
APART = Findings(our_hosts=frozenset({"198.51.100.1"}), their_hosts=frozenset({"198.51.100.2"}))


@pytest.mark.parametrize(
    ("ours", "theirs", "code"),
    [
        (RANDOM, RANDOM, VerdictCode.BOTH_RANDOM),
        (COUNTING, RANDOM, VerdictCode.SEQUENTIAL_RANDOM),
        (PERHAPS_COUNTING, RANDOM, VerdictCode.BOTH_RANDOM),
        (RANDOM, BLOCK, VerdictCode.BLOCK_RANDOM),
        (COUNTING, COUNTING, VerdictCode.GUESS_MISSED),
        (BLOCK, BLOCK, VerdictCode.GUESS_MISSED),
        (RANDOM, EASY, VerdictCode.GUESS_MISSED),
        (RANDOM, UNSURE, VerdictCode.PERHAPS_BOTH_RANDOM),
        (UNSURE, UNSURE, VerdictCode.PERHAPS_BOTH_RANDOM),
        (UNSURE, EASY, VerdictCode.SILENT),
        (EASY, EASY, VerdictCode.SILENT),
        (RANDOM, NatReport(Mapping.OPEN), VerdictCode.SILENT),
        (NatReport(), NatReport(), VerdictCode.SILENT),
    ],
)
def test_two_nats_are_judged_the_same_from_either_side(ours, theirs, code):
    assert judge(replace(APART, ours=ours, theirs=theirs)).code is code
    assert judge(replace(APART, ours=theirs, theirs=ours)).code is code


def test_of_a_hard_nat_and_an_unknown_one_the_unknown_one_is_named():
    ours = judge(replace(APART, ours=RANDOM))
    theirs = judge(replace(APART, theirs=COUNTING))
    assert (ours.code, theirs.code) == (VerdictCode.SILENT, VerdictCode.SILENT)
    assert "the peer's router, which is not known yet, can't be connected with yours" in ours.why
    assert "your router, which is not known yet, can't be connected with the peer's" in theirs.why
    assert "NAT" not in judge(APART).why


DOCKER, LAN, PUBLIC = frozenset({"172.17.0.1"}), frozenset({"192.168.1.5"}), APART.their_hosts


def test_a_server_that_sees_a_private_address_is_named_with_what_to_do():
    verdict = judge(Findings(our_hosts=DOCKER, their_hosts=PUBLIC, is_translated=True))
    assert verdict.code == "server-sees-private"
    assert verdict.text == (
        "the server sees you at 172.17.0.1: it stands behind a proxy or in your own network; "
        "give it a public address, or name a STUN server"
    )
    theirs = judge(Findings(our_hosts=PUBLIC, their_hosts=LAN))
    assert theirs.code == "server-sees-private"
    assert "the server sees the peer at 192.168.1.5" in theirs.text


@pytest.mark.parametrize("host", ["10.0.0.7", "127.0.0.1", "100.64.3.4", "fd00::4", "169.254.7.7"])
def test_every_address_that_means_nothing_elsewhere_counts(host):
    verdict = judge(Findings(our_hosts=frozenset({host}), their_hosts=PUBLIC))
    assert verdict.code is VerdictCode.SERVER_SEES_PRIVATE


@pytest.mark.parametrize(
    ("found", "is_named"),
    [
        (Findings(our_hosts=DOCKER, their_hosts=DOCKER, is_translated=True), True),
        (Findings(our_hosts=DOCKER, their_hosts=LAN, is_translated=True), True),
        # A LAN with a server of its own: a peer that is missing is switched off.
        (Findings(our_hosts=LAN, their_hosts=frozenset({"192.168.1.6"})), False),
        (
            Findings(our_hosts=DOCKER, their_hosts=DOCKER, is_translated=True, meets_inside=True),
            False,
        ),
        # A peer outside is kept out by it all the same.
        (Findings(our_hosts=LAN, their_hosts=PUBLIC, meets_inside=True), True),
        (Findings(our_hosts=LAN | PUBLIC, their_hosts=frozenset({"198.51.100.9"})), False),
        (Findings(our_hosts=LAN, their_hosts=PUBLIC, heard=True), False),
    ],
)
def test_a_private_sighting_is_named_only_where_it_matters(found, is_named):
    assert (judge(found).code is VerdictCode.SERVER_SEES_PRIVATE) is is_named


def test_a_server_that_sees_both_at_its_own_address_stands_behind_a_balancer():
    both = Findings(our_hosts=PUBLIC, their_hosts=PUBLIC, is_translated=True)
    assert judge(both).code is VerdictCode.NO_HAIRPIN
    assert judge(replace(both, server_hosts=PUBLIC)).code is VerdictCode.SERVER_SEES_PRIVATE
    on_its_machine = replace(both, server_hosts=PUBLIC, is_translated=False)
    assert judge(on_its_machine).code is VerdictCode.NO_HAIRPIN


def test_no_private_address_is_called_public():
    found = Findings(our_hosts=DOCKER, their_hosts=DOCKER, meets_inside=True)
    assert "public address" not in judge(found).why


@pytest.mark.parametrize("hard", [RANDOM, COUNTING, BLOCK, UNSURE])
def test_where_nothing_proves_that_the_peer_is_there_a_server_is_what_would_help(hard):
    stranger = replace(APART, ours=hard, theirs=EASY, may_guess=False)
    for found in (stranger, replace(stranger, ours=EASY, theirs=hard)):
        verdict = judge(found)
        assert verdict.code is VerdictCode.NOT_PROVED
        assert verdict.helps[0] is Help.SERVER


def test_who_waits_for_another_hours_guesses_is_not_told_of_bad_luck():
    for ours, theirs in ((RANDOM, EASY), (COUNTING, BLOCK)):
        told = judge(replace(APART, ours=ours, theirs=theirs, lacks_place=True))
        assert told.code is VerdictCode.GUESSES_USED_UP
        assert "luck" not in told.text
    both = judge(replace(APART, ours=RANDOM, theirs=RANDOM, lacks_place=True))
    assert both.code is VerdictCode.BOTH_RANDOM


def test_no_server_helps_where_no_guess_can():
    for may_guess in (True, False):
        verdict = judge(replace(APART, ours=RANDOM, theirs=RANDOM, may_guess=may_guess))
        assert verdict.code is VerdictCode.BOTH_RANDOM
        assert Help.SERVER not in verdict.helps


def test_who_spares_its_block_is_told_that_this_is_why():
    found = replace(APART, ours=BLOCK, theirs=COUNTING, spares_blocks=True)
    assert judge(found).code is VerdictCode.BLOCKS_SPARED
    assert judge(found).helps[0] is Help.FILL_BLOCKS
    assert judge(replace(found, theirs=RANDOM)).code is VerdictCode.BLOCK_RANDOM
    assert judge(replace(found, ours=COUNTING, theirs=BLOCK)).code is VerdictCode.GUESS_MISSED


def test_what_is_true_of_the_peer_goes_before_what_is_true_of_the_nats():
    found = replace(APART, ours=RANDOM, theirs=RANDOM)
    assert judge(replace(found, is_listed=False)).code is VerdictCode.NOT_REGISTERED
    assert judge(replace(found, has_left=True, is_listed=False)).code is VerdictCode.LEFT
    assert judge(replace(found, is_blocked=True, has_left=True)).code is VerdictCode.BLOCKED_HERE
    assert judge(replace(found, heard=True)).code is VerdictCode.PEER_FIREWALL


def test_silent_servers_are_told_apart_from_a_network_without_udp():
    found = replace(APART, servers_are_silent=True, is_listed=False)
    assert judge(found).code is VerdictCode.NO_SERVER
    assert judge(replace(found, udp_works=False)).code is VerdictCode.UDP_BLOCKED
    assert judge_servers(udp_works=False).code is VerdictCode.UDP_BLOCKED


def test_a_server_of_another_family_is_not_said_to_be_down():
    """`…; a server that runs would help`, of one that did."""
    verdict = judge_servers(udp_works=True, family_missing="IPv4")
    assert verdict.text.endswith("; give the server an IPv6 address, or use another server")
    verdict = judge_servers(udp_works=True, family_missing="IPv6")
    assert verdict.text.endswith("; IPv6 on both sides would help")


def test_a_peer_that_falls_silent_with_everybody_else_may_be_well():
    """The router had begun to stop UDP, and only the peer was said to have gone or moved."""
    lost = replace(APART, servers_are_silent=True, was_lost=True)
    assert judge(lost).code is VerdictCode.MOVED
    assert "blocks UDP" not in judge(lost).why
    silent = judge(replace(lost, udp_works=False))
    assert silent.code is VerdictCode.MOVED
    assert "this network blocks UDP, it has gone" in silent.why
    assert silent.helps[-1] is Help.FIREWALL


def test_what_may_be_besides_stands_in_brackets():
    """Three semicolons in a row were a riddle."""
    found = replace(APART, ours=RANDOM, theirs=EASY)
    assert "time to time (or the peer has just gone offline); UPnP" in judge(found).text
    assert "time to time; UPnP" in judge(replace(found, is_alive=True)).text


def test_two_at_one_public_address_lack_a_hairpin():
    found = replace(APART, their_hosts=APART.our_hosts)
    verdict = judge(found)
    assert verdict.code is VerdictCode.NO_HAIRPIN
    assert "198.51.100.1" in verdict.text
    assert verdict.helps[0] is Help.INNER_PORT_MAPPING


def test_who_shares_no_family_of_addresses_needs_ipv6():
    found = replace(APART, their_hosts=frozenset({"2001:db8::1"}))
    assert judge(found).code is VerdictCode.NO_COMMON_FAMILY
    both = replace(found, our_hosts=frozenset({"198.51.100.1", "2001:db8::2"}))
    assert judge(both).code is VerdictCode.SILENT


def test_no_help_is_named_that_is_there_already():
    found = replace(APART, ours=RANDOM, theirs=RANDOM)
    assert {Help.PORT_MAPPING, Help.IPV6} <= set(judge(found).helps)
    assert Help.IPV6 not in judge(replace(found, both_have_ipv6=True)).helps
    mapped = replace(found, we_are_mapped=True, they_are_mapped=True)
    assert Help.PORT_MAPPING not in judge(mapped).helps
    assert Help.PUBLIC_ADDRESS in judge(replace(found, behind_carrier=True)).helps


def test_every_verdict_is_one_line_that_says_what_would_help():
    reports = (NatReport(), EASY, UNSURE, RANDOM, COUNTING, BLOCK)
    for ours, theirs, may_guess in product(reports, reports, (True, False)):
        verdict = judge(replace(APART, ours=ours, theirs=theirs, may_guess=may_guess))
        assert verdict.text.endswith(" would help")
        assert "\n" not in verdict.text
        assert verdict.why == verdict.why.removesuffix(".")


def test_a_peer_that_was_at_a_server_a_moment_ago_is_not_called_offline() -> None:
    for found in (APART, replace(APART, ours=UNSURE, theirs=UNSURE)):
        assert "offline" in judge(found).why
        told = judge(replace(found, is_alive=True))
        assert told.code is judge(found).code
        assert "offline" not in told.why


def test_a_server_that_refuses_us_is_neither_down_nor_blocked() -> None:
    refusal = Verdict(VerdictCode.SERVER_REFUSES, "192.0.2.1:8080 refused us: full", (Help.SERVER,))
    told = judge_servers(udp_works=False, refusal=refusal)
    assert told.code is VerdictCode.SERVER_REFUSES
    assert "full" in told.text
