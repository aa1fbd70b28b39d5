"""What a connected peer costs while nobody says anything: packets a minute, both ways.

    python -m tests.core.node.test_idle      the figures, for several kinds of NAT

Counted at the ends: every datagram that either of the two sends to the other; those to the server
and back are counted apart.
"""

from dataclasses import replace

import pytest

from tests.core.world.chat import NAMES, Chat
from tests.internet.nat import (
    LINUX,
    PORT_RESTRICTED,
    SYMMETRIC_BLOCK,
    SYMMETRIC_RANDOM,
    SYMMETRIC_SEQUENTIAL,
    NatPolicy,
)

FIRST_MINUTE_S = 60.0
"""In it the two meet, and a first lesson begins."""

SECOND_MINUTE_S = 120.0
CHATS = 8
"""Few checks fit into a minute, so the figure is of several."""

LEARNED_AFTER_S = 600.0
MEASURED_S = 1800.0

EASY = replace(PORT_RESTRICTED, timeout_s=300.0)
HASTY = replace(PORT_RESTRICTED, timeout_s=30.0)

KINDS = (
    ("timeout 300 s", EASY, 1.3),
    ("timeout 120 s", PORT_RESTRICTED, 2.0),
    ("Linux", LINUX, 2.0),
    ("timeout 60 s", replace(PORT_RESTRICTED, timeout_s=60.0), 3.8),
    ("timeout 30 s", HASTY, 7.2),
)
"""And the most packets a minute, both ways, once the keepalive is learned: chance moves them by a
tenth from chat to chat."""

MOST = 8.0
"""From the first minute on, lessons included: a check and its answer in 15 s, and less as soon as
the first lesson was answered."""

IN_VAIN = 2.0
"""Where no spare flow can be opened, so that nothing can be learned: a try in ten minutes and
more, from both sides."""


@pytest.mark.parametrize(("name", "policy", "most"), KINDS)
def test_an_idle_peer_costs_little_and_less_once_its_nat_is_known(name, policy, most):
    at_first, in_lessons, learned, _ = _packets_a_minute(policy)
    assert at_first <= MOST, name
    assert in_lessons <= MOST, name
    assert round(learned, 6) <= most, name


@pytest.mark.parametrize("policy", [SYMMETRIC_RANDOM, SYMMETRIC_SEQUENTIAL, SYMMETRIC_BLOCK])
def test_a_peer_behind_a_hard_nat_is_no_more_trouble(policy):
    at_first, in_lessons, learned, _ = _packets_a_minute(policy, PORT_RESTRICTED)
    assert at_first <= MOST + IN_VAIN
    assert in_lessons <= MOST + IN_VAIN
    assert learned <= MOST + IN_VAIN


def test_while_every_server_is_dead_no_minute_costs_more():
    """Both ends notice a router's restart within a keepalive, by one check and its answer."""
    for seed in range(2):
        chat = Chat(seed, (EASY, HASTY), speakers=())
        chat.begin()
        chat.run(FIRST_MINUTE_S)
        chat.kill_server()
        chat.run(LEARNED_AFTER_S)
        for _ in range(10):
            chat.internet.trace = []
            chat.run(60.0)
            assert 4 <= _between_peers(chat) <= MOST


def test_both_ends_of_an_idle_path_know_that_udp_gets_through_although_one_asks_nothing():
    """The end that only answers was told that its network blocks UDP."""
    chat = Chat(1, (PORT_RESTRICTED, PORT_RESTRICTED), speakers=())
    chat.begin()
    chat.kill_server()
    server = (chat.village.server_host.address,)
    for _ in range(30):
        chat.run(10.0)
        for name in NAMES:
            answers = chat.members[name].node.nat.answers
            assert answers.other_than(server, chat.internet.now) is not None, name
    chat.gateway("bob").connected = False
    chat.run(90.0)
    answers = chat.members["bob"].node.nat.answers
    assert answers.other_than(server, chat.internet.now) is None


def test_what_was_learned_of_one_side_does_not_stretch_the_other():
    """The shorter of the two keeps the path."""
    chat = Chat(3, (EASY, HASTY))
    chat.begin()
    chat.run(LEARNED_AFTER_S + 600.0)
    for name in NAMES:
        chat.run(400.0)
        chat.say(name)
        chat.run(5.0)
    assert chat.wrong() == []
    assert chat.latest_s() <= 0.1


def _packets_a_minute(
    policy: NatPolicy, other: NatPolicy | None = None
) -> tuple[float, float, float, float]:
    """In the second minute, while lessons are given, once learned; and the last with the
    server's."""
    policies = (policy, other or policy)
    at_first = sum(_at_first(policies, seed) for seed in range(CHATS)) / CHATS
    chat = Chat(2, policies, speakers=())
    chat.begin()
    chat.run(FIRST_MINUTE_S)
    trace = chat.internet.trace = []
    chat.run(LEARNED_AFTER_S - FIRST_MINUTE_S)
    in_lessons = _between_peers(chat) / (LEARNED_AFTER_S - FIRST_MINUTE_S) * 60.0
    trace.clear()
    chat.run(MEASURED_S)
    assert chat.are_online()
    everything = len(trace) / MEASURED_S * 60.0
    return at_first, in_lessons, _between_peers(chat) / MEASURED_S * 60.0, everything


def _at_first(policies: tuple[NatPolicy, NatPolicy], seed: int) -> float:
    chat = Chat(seed, policies, speakers=())
    chat.begin()
    chat.run(FIRST_MINUTE_S)
    chat.internet.trace = []
    chat.run(SECOND_MINUTE_S - FIRST_MINUTE_S)
    return _between_peers(chat) / (SECOND_MINUTE_S - FIRST_MINUTE_S) * 60.0


def _between_peers(chat: Chat) -> int:
    server = chat.village.server_host
    trace = chat.internet.trace or []
    return sum(
        sent.host is not server and sent.datagram.address.host != server.address for sent in trace
    )


def main() -> None:
    print("packets a minute, both ways      at first  in lessons  learned  with the server's")
    for name, policy, _ in KINDS:
        figures = _packets_a_minute(policy)
        print(f"{name:32}", *(f"{figure:8.1f}" for figure in figures), sep="  ")


if __name__ == "__main__":
    main()
