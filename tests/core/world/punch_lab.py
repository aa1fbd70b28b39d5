"""One punch with a clock, and the peer's keys: what the tests of an attempt need."""

from random import Random

from natd.core.base.types import (
    MAIN_SOCKET,
    SURE,
    Address,
    Allocation,
    Candidate,
    CandidateKind,
    Mapping,
    NatReport,
)
from natd.core.base.wishes import SampleWanted
from natd.core.checks.budget import TargetBudget
from natd.core.checks.checks import Checks, read_check
from natd.core.codec import stun
from natd.core.punch.punch import Punch
from tests.core.world.lossy_link import pair_of_secrets

START = 1000.0
RTT_S = 0.05
OURS = Address("203.0.113.20", 40000)
THEIRS = Address("198.51.100.7", 40001)
LAN = Address("192.168.1.9", 40001)
KEEPS = NatReport(Mapping.INDEPENDENT, allocation=Allocation.PRESERVING)
MIXES = NatReport(Mapping.INDEPENDENT, allocation=Allocation.RANDOM, confidence=SURE)
"""Behind such a NAT no port can be agreed on, so that only the main socket is at work."""


class Lab:
    """One punch, the clock, and the peer's keys."""

    def __init__(self, side=0):
        ours, self.theirs = pair_of_secrets() if side == 0 else reversed(pair_of_secrets())
        self.now = START
        self.checks = Checks(b"abcd", Random(1))
        self.checks.use(ours)
        self.budget = TargetBudget()
        self.punch = Punch(self.checks, self.budget, Random(2))
        self.has_server = False
        """Whether samples are answered."""
        self.sent = []
        self.events = []

    def start(self, *addresses, start_in_s=0.0, nats=(MIXES, MIXES), fresh=False, rtt_s=RTT_S):
        self.punch.start(
            [candidate(address) for address in addresses or (THEIRS,)],
            ours=(OURS,),
            nats=nats,
            start_in_s=start_in_s,
            rtt_s=rtt_s,
            fresh=fresh,
            now=self.now,
        )
        self.drain()

    def run(self, duration_s):
        until = self.now + duration_s
        while (timer := self.punch.get_timer()) is not None and timer <= until:
            self.now = max(self.now, timer)
            self.punch.handle_timer(self.now)
            self.drain()
        self.now = until

    def drain(self):
        self.sent += [(self.now, datagram) for datagram in self.punch.datagrams_to_send()]
        while (event := self.punch.next_event()) is not None:
            self.events.append((self.now, event))
            if self.has_server and isinstance(event, SampleWanted):
                self.punch.sampled(event.socket, OURS, poisoned=False, now=self.now)

    def answer(self, check):
        """The peer has received this check, and its answer arrives now."""
        heard = read_check(stun.decode(check.data), check.data, self.theirs, OURS, MAIN_SOCKET)
        assert heard is not None
        data = heard.answer.data
        answer = self.checks.match(stun.decode(data), data, check.address, check.socket, self.now)
        assert answer is not None
        if (found := self.punch.check_answered(answer)) is not None:
            self.events.append((self.now, found))
        self.drain()

    def event(self, kind):
        """The oldest event of a kind; None when there was none."""
        return next((event for _, event in self.events if isinstance(event, kind)), None)

    def take(self, kind):
        """All events of a kind, which are then gone."""
        taken = [event for _, event in self.events if isinstance(event, kind)]
        self.events = [(at, event) for at, event in self.events if not isinstance(event, kind)]
        return taken

    def offsets(self, address, since=START):
        return [at - since for at, check in self.sent if check.address == address]


def candidate(address):
    kind = CandidateKind.LAN if address == LAN else CandidateKind.SERVER_REFLEXIVE
    return Candidate(kind, address)
