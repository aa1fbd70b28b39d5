"""What is said of a server that was asked at several addresses."""

import pytest

from natd.core.base.types import Address
from natd.core.codec.rendezvous import Error, ErrorCode
from natd.core.coordinator.registry import Refusal
from natd.core.registration.reasons import other_version, refused
from natd.core.registration.servers import ServerReport
from natd.doctor.rows import sentence
from natd.doctor.server_rows import server_rows

NAME = "chat.example.net:8080"
ONE, TWO = Address("192.0.2.1", 8080), Address("192.0.2.2", 8080)
IPV6 = Address("2001:db8::1", 8080)
NOW = 1000.0


def test_an_address_is_told_as_it_was_given():
    up = ServerReport(ONE, "registered", 0.0018, NOW, None)
    down = ServerReport(TWO, "lost", None, NOW - 62.0, None)
    assert server_rows([up, down], "demo", NOW) == [
        (True, "192.0.2.1:8080 of demo: answers, 1.8 ms", "state: registered"),
        (
            False,
            "192.0.2.2:8080 of demo: does not answer, last answer 62 s ago",
            "state: lost",
        ),
    ]


def test_a_name_answers_if_one_of_its_families_does_and_says_where():
    ipv4 = ServerReport(TWO, "registered", 0.002, NOW, None, NAME, (ONE, TWO))
    ipv6 = ServerReport(IPV6, "lost", None, None, None, NAME, (IPV6,))
    assert server_rows([ipv6, ipv4], "demo", NOW) == [
        (
            True,
            f"{NAME} of demo: answers at 192.0.2.2:8080, 2.0 ms",
            "state: lost, registered; no answer at [2001:db8::1]:8080",
        )
    ]


def test_a_server_of_another_version_is_named_once():
    refusal = other_version(ONE, 1)
    [(is_well, text, _)] = server_rows(
        [ServerReport(ONE, "lost", None, NOW, None, refusal=refusal)], "demo", NOW
    )
    assert not is_well
    assert text == (
        "192.0.2.1:8080 of demo: speaks an older version of natd (protocol 1, and here it is 2)"
    )
    assert refusal.advice == "update the server", "what to do stands below, once"


def test_a_name_that_does_not_answer_is_told_with_every_address_that_was_tried():
    ipv4 = ServerReport(TWO, "lost", None, None, None, NAME, (ONE, TWO))
    ipv6 = ServerReport(IPV6, "starting", None, None, None, NAME, (IPV6,))
    [(good, text, _)] = server_rows([ipv4, ipv6], "demo", NOW)
    assert not good
    assert text == (
        f"{NAME} of demo: asked, no answer yet; "
        "asked at 192.0.2.1:8080, 192.0.2.2:8080, [2001:db8::1]:8080"
    )


@pytest.mark.parametrize("said", [*(each.value for each in Refusal), "full.", "what? "])
def test_what_a_server_says_ends_a_sentence_once(said: str):
    """`… was an old state directory restored?.`"""
    refusal = refused(ONE, Error(bytes(12), ErrorCode.STALE, said))
    assert refusal.text[-1].isalpha()
    assert sentence(refusal.text).endswith(f"{said.rstrip(' .?')}.")


def test_where_a_server_is_helps_nobody_whom_it_refuses():
    assert refused(ONE, Error(bytes(12), ErrorCode.FULL, "full")).helps == ()
