"""What is learned of our NAT with one peer counts for all, and what is heard in one network."""

from natd.core.base.types import MAIN_SOCKET, Address, PathKind, PeerId
from natd.core.paths.flows import Flows, FlowsToPeer, Subject
from natd.core.paths.path import Path

START = 1000.0
THEIRS = Address("203.0.113.5", 40000)
ALICE, BOB, CAROL = (PeerId(bytes([number]) * 32) for number in range(3))
DIRECT = PathKind.DIRECT


def test_one_lesson_at_a_time_teaches_for_all_peers_and_kinds_of_path_learn_apart():
    flows = Flows()
    alice, bob = flows.of(ALICE), flows.of(BOB)
    subject = alice.subject(DIRECT, START)
    assert bob.subject(DIRECT, START) is subject
    assert bob.subject(PathKind.IPV6, START) is not subject
    assert begins(subject, "a", alice) == begins(subject, "b", bob) == START + 8.0
    subject.begin("a", START + 8.0, 28.0)
    assert begins(subject, "b", bob) >= START + 8.0 + 28.0
    subject.answered(alice)
    subject.end("a")
    assert subject.keepalive.wait_s > 15.0


def test_a_lesson_that_nobody_ends_keeps_no_other_for_long():
    flows = Flows()
    alice, bob = flows.of(ALICE), flows.of(BOB)
    subject = alice.subject(DIRECT, START)
    subject.begin("a", START + 8.0, 28.0)
    assert begins(subject, "b", bob) <= START + 8.0 + 28.0 + 10.0


def test_with_a_peer_whose_lesson_failed_or_proved_wrong_others_go_first():
    flows = Flows()
    alice, bob = flows.of(ALICE), flows.of(BOB)
    subject = alice.subject(DIRECT, START)
    subject.missed(alice, START)
    assert begins(subject, "b", bob) + 30.0 <= begins(subject, "a", alice)
    subject.answered(bob)
    subject.gone(START + 100.0, is_certain=True)
    assert begins(subject, "a", alice) + 30.0 <= begins(subject, "b", bob)


def test_a_peer_whose_address_changes_puts_off_only_its_own_lesson():
    flows = Flows()
    alice, bob = flows.of(ALICE), flows.of(BOB)
    subject = alice.subject(DIRECT, START)
    subject.put_off(alice, START)
    assert begins(subject, "a", alice) >= START + 600.0
    assert begins(subject, "b", bob) == START + 8.0


def test_behind_another_nat_nothing_is_known():
    flows = Flows()
    alice = flows.of(ALICE)
    subject = alice.subject(DIRECT, START)
    subject.answered(alice)
    flows.restart(START + 50.0)
    assert subject.keepalive.wait_s == 15.0
    assert begins(subject, "a", alice) == START + 58.0


def test_a_flow_is_that_of_one_peer_in_all_networks_and_is_gone_with_the_last():
    flows = Flows()
    in_one, in_another = flows.of(ALICE), flows.of(ALICE)
    assert in_one is in_another
    flow = in_one.flow((THEIRS, MAIN_SOCKET))
    assert in_another.flow((THEIRS, MAIN_SOCKET)) is flow
    assert flows.of(BOB).flow((THEIRS, MAIN_SOCKET)) is not flow
    for port in range(1000):
        in_one.flow((THEIRS._replace(port=1024 + port), MAIN_SOCKET))
    assert len(in_one._flows) <= 32


def test_a_path_rests_on_what_another_network_has_heard_or_just_asked():
    flow = Flows().of(CAROL).flow((THEIRS, MAIN_SOCKET))
    one, other = (
        Path(THEIRS, MAIN_SOCKET, DIRECT, "", 0.1, START, START, START + 15.0, flow)
        for _ in range(2)
    )
    assert not one.rests_on_another(START + 15.0), "nobody has"
    flow.asked_at = START + 15.0
    assert other.rests_on_another(START + 15.1)
    assert other.keepalive_at > START + 15.1
    assert not other.rests_on_another(START + 16.0), "it was not answered"
    one.prove(START + 15.2)
    assert other.rests_on_another(START + 16.0)
    assert other.heard_at == START + 15.2
    other.awaiting_since = START + 17.0
    flow.heard_at = START + 18.0
    assert not other.rests_on_another(START + 18.0), "its own data is not answered"


def begins(subject: Subject, lesson: str, peer: FlowsToPeer) -> float:
    at = subject.begin_at(lesson, peer)
    assert at is not None
    return at
