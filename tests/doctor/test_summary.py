"""The first sentence of doctor, for people who have never heard of NAT."""

import re

import pytest

from natd.core.base.types import Allocation, Mapping, NatReport
from natd.core.base.verdict import Verdict, VerdictCode
from natd.doctor.summary import own_summary, peer_summary

TERMS = re.compile(r"\b(NAT|UDP|port|IPv[46]|STUN|UPnP|mapping)\b")

HARD = NatReport(mapping=Mapping.DEPENDENT, allocation=Allocation.RANDOM, confidence=0.99)


@pytest.mark.parametrize("code", list(VerdictCode))
def test_every_verdict_has_one_plain_sentence(code: VerdictCode) -> None:
    verdict = Verdict(code, "why")
    for text in (
        own_summary(verdict, [], 1),
        peer_summary("bob", verdict, (HARD, HARD), online=False),
    ):
        assert text.endswith(".")
        assert not TERMS.search(text), text


def test_what_is_wrong_here_is_said_before_what_is_wrong_there() -> None:
    offline = Verdict(VerdictCode.OFFLINE, "this machine is offline")
    assert own_summary(offline, ["network"], 1) == "This computer is offline."
    assert peer_summary("bob", offline, None, online=False) == "This computer is offline."
    assert own_summary(None, ["socket"], 1) == "This computer's own firewall stops natd."
    assert own_summary(None, ["identity"], 1).startswith("Another computer")


def test_two_carriers_and_two_difficult_routers_are_told_apart() -> None:
    verdict = Verdict(VerdictCode.BOTH_RANDOM, "why")
    assert "mobile carrier" in peer_summary("bob", verdict, (HARD, HARD), online=False)
    easy = NatReport(mapping=Mapping.INDEPENDENT)
    assert "mobile carrier" not in peer_summary("bob", verdict, (HARD, easy), online=False)
    assert peer_summary("bob", None, None, online=True) == "You and bob are connected directly."


def test_no_more_is_claimed_than_the_verdict_says() -> None:
    def told(code: VerdictCode) -> str:
        return peer_summary("bob", Verdict(code, "why"), (HARD, HARD), online=False)

    assert "both seem to be behind" in told(VerdictCode.PERHAPS_BOTH_RANDOM)
    assert "are both behind" in told(VerdictCode.BOTH_RANDOM)
    assert "or something there stops it" in told(VerdictCode.NOT_REGISTERED)
    assert "your settings forbid" in told(VerdictCode.BLOCKS_SPARED)
    assert "has to be guessed" in told(VerdictCode.NOT_PROVED)


def test_a_path_without_a_session_is_neither_a_connection_nor_no_way() -> None:
    text = peer_summary("bob", None, None, online=False, has_path=True)
    assert text == "There is a way to bob, and the two sides are agreeing on keys."
    assert "not found a way" in peer_summary("bob", None, None, online=False)


def test_a_server_that_sees_too_little_is_not_said_to_be_well() -> None:
    blind = Verdict(VerdictCode.SERVER_SEES_PRIVATE, "why")
    for text in (own_summary(blind, [], 1), peer_summary("bob", blind, None, online=False)):
        assert text.startswith("The server does not see where")


def test_silence_blames_neither_the_server_nor_the_router_alone() -> None:
    silent = Verdict(VerdictCode.UDP_BLOCKED, "why")
    text = own_summary(silent, ["server", "udp"], 1)
    assert "the server does not run, or your router" in text
    assert "nothing but the web" in text


def test_a_server_whose_name_is_not_found_is_told_as_that() -> None:
    assert "not found by its name" in own_summary(None, ["server"], 1, is_nameless=True)


def test_an_identity_used_twice_is_told_rather_than_the_refusal_that_follows_from_it() -> None:
    refused = Verdict(VerdictCode.SERVER_REFUSES, "a newer card is registered")
    assert own_summary(refused, ["identity", "server"], 1).startswith("Another computer")
    assert "refuses" in own_summary(refused, ["server"], 1)


def test_a_narrow_connection_has_a_plain_sentence() -> None:
    assert "small pieces" in own_summary(None, ["width"], 1)
