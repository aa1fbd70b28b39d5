"""One escalation with the pair's secrets: to begin it, run it out, and answer its samples."""

from random import Random
from typing import Any

from natd.core.base.types import (
    MAIN_SOCKET,
    Address,
    Allocation,
    Datagram,
    Mapping,
    NatReport,
)
from natd.core.checks.checks import Checks
from natd.core.checks.turns import Turns
from natd.core.codec import stun
from natd.core.prediction.escalation import (
    Escalation,
)
from natd.core.prediction.samples import Endpoints
from natd.core.prediction.strategy import Situation
from tests.core.world.lossy_link import pair_of_secrets

START = 1000.0
SEEN = (Address("198.51.100.7", 40001),)
SERVERS = frozenset(Address("203.0.113.1", 8080 + offset) for offset in range(4))
EASY = NatReport(Mapping.INDEPENDENT, allocation=Allocation.PRESERVING, confidence=0.95)
SEEMS_EASY = NatReport(Mapping.INDEPENDENT, confidence=0.8)
RANDOM = NatReport(Mapping.DEPENDENT, allocation=Allocation.RANDOM)
SEQUENTIAL = NatReport(
    Mapping.DEPENDENT, allocation=Allocation.SEQUENTIAL, stride=1, allocation_confidence=0.99
)
BLOCK = NatReport(
    Mapping.DEPENDENT,
    allocation=Allocation.BLOCK,
    low=20_480,
    high=20_991,
    allocation_confidence=0.99,
)


def pair_of_secrets_checks():
    """The checks of both sides; the first is the one that opens."""
    both = []
    for secrets in pair_of_secrets():
        checks = Checks(b"abcd", Random(1))
        checks.use(secrets)
        both.append(checks)
    return sorted(both, key=lambda checks: not checks.we_open)


def met_before(host=SEEN[0].host):
    """The turns of a daemon that has had an answer from there."""
    turns = Turns()
    turns.answered(host, START + 7 * 86_400.0, START)
    return turns


def make_escalation(turns=None, *, lower=True):
    checks = pair_of_secrets_checks()[not lower]
    return Escalation(checks, turns or met_before(), b"abcd", Random(2))


def begin(escalation, ours, theirs, now=START, *, seen=SEEN, socket=MAIN_SOCKET, **rest):
    ends = Endpoints(seen, rest.pop("anchors", ()), socket, SERVERS)
    return escalation.begin(Situation(ours, theirs, **rest), ends, now)


def run_out(escalation, until=START + 120.0):
    sent = escalation.datagrams_to_send()
    while (due := escalation.get_timer()) is not None and due <= until:
        escalation.handle_timer(due)
        sent += escalation.datagrams_to_send()
    return sent


def run_all(escalations, since, until):
    """What each sends, with its instant, when all of their timers are kept."""
    sent: dict[Escalation, list[tuple[float, Datagram]]] = {e: [] for e in escalations}
    now = since
    while True:
        for escalation in escalations:
            sent[escalation] += [(now, d) for d in escalation.datagrams_to_send()]
        due = [(e.get_timer(), n) for n, e in enumerate(escalations) if e.get_timer() is not None]
        if not due or min(due)[0] > until:
            return sent
        now, number = min(due)
        escalations[number].handle_timer(now)


def waves_of(escalation, until):
    """(instant of its first packet, its packets) of each wave."""
    waves: list[list[Any]] = []
    now = START
    for _ in range(100_000):
        sent = [(d.socket, d.address, d.ttl) for d in escalation.datagrams_to_send()]
        if sent and (not waves or now - waves[-1][2] > 5.0):
            waves.append([now, [], now])
        if sent:
            waves[-1][1] += sent
            waves[-1][2] = now
        due = escalation.get_timer()
        if due is None or due > until:
            break
        now = due
        escalation.handle_timer(now)
    return [(began, packets, ended) for began, packets, ended in waves]


def answer_samples(escalation, port, skip=frozenset(), stride=1):
    """Let the burst through a NAT that counts up; gives the port of each opener."""
    ports = {}
    for datagram in escalation.datagrams_to_send():
        port += stride
        while port in skip:
            port += stride
        if datagram.address in SERVERS:
            data = stun.encode_binding_response(
                stun.decode(datagram.data).transaction, Address("198.51.100.1", port)
            )
            escalation.receive_answer(
                stun.decode(data), datagram.address, datagram.socket, START + 0.1
            )
        else:
            ports[port] = datagram
    return ports
