"""Paths with a clock, and a peer who answers from some addresses."""

from random import Random

from natd.core.base.types import MAIN_SOCKET, Address, PathKind
from natd.core.checks.budget import TargetBudget
from natd.core.checks.checks import Checks, read_check
from natd.core.codec import stun
from natd.core.paths.flows import FlowsToPeer
from natd.core.paths.paths import (
    Paths,
)
from tests.core.world.lossy_link import pair_of_secrets

START = 1000.0
THEIRS = Address("198.51.100.7", 40001)
ELSEWHERE = Address("198.51.100.7", 51000)
LAN = Address("192.168.1.9", 40001)


class Lab:
    """Paths, the clock, and a peer who answers from some addresses, or from all."""

    def __init__(self, answers=True):
        ours, self.theirs = pair_of_secrets()
        self.now = START
        self.checks = Checks(b"abcd", Random(1))
        self.checks.use(ours)
        self.paths = Paths(self.checks, TargetBudget(), Random(2), FlowsToPeer())
        self.answers = answers
        """True for every address, False for none, or the set of those that answer."""
        self.sent = []
        self.events = []
        self._on_the_way = []

    def add(self, address, kind=PathKind.DIRECT, rtt_s=0.05):
        self.paths.add(address, MAIN_SOCKET, kind, "simultaneous-open", rtt_s, self.now)
        self.drain()

    def hear(self, address, *, is_data=False):
        self.paths.heard(address, MAIN_SOCKET, self.now, is_data=is_data)
        self.drain()

    def time(self, address, rtt_s, count):
        """So many checks to there are answered after so long."""
        for _ in range(count):
            check = self.checks.request(address, MAIN_SOCKET, self.now - rtt_s)
            self.paths.check_answered(self.answered(check), PathKind.DIRECT, self.now)
        self.drain()

    def run(self, duration_s):
        until = self.now + duration_s
        self.drain()
        while True:
            timer = self.paths.get_timer()
            arrival = self._on_the_way[0][0] if self._on_the_way else None
            due = min((at for at in (timer, arrival) if at is not None), default=None)
            if due is None or due > until:
                break
            self.now = max(self.now, due)
            if arrival == due:
                answered = self.answered(self._on_the_way.pop(0)[1])
                if answered is not None:
                    self.paths.check_answered(answered, PathKind.DIRECT, self.now)
            else:
                self.paths.handle_timer(self.now)
            self.drain()
        self.now = until

    def drain(self):
        for check in self.paths.datagrams_to_send():
            self.sent.append((self.now, check))
            if self.answers is True or (self.answers and check.address in self.answers):
                self._on_the_way.append((self.now + 0.05, check))
        while (event := self.paths.next_event()) is not None:
            self.events.append((self.now, event))

    def answered(self, check):
        heard = read_check(stun.decode(check.data), check.data, self.theirs, THEIRS, MAIN_SOCKET)
        assert heard is not None
        data = heard.answer.data
        return self.checks.match(stun.decode(data), data, check.address, check.socket, self.now)

    def take(self, kind):
        taken = [event for _, event in self.events if isinstance(event, kind)]
        self.events = [(at, event) for at, event in self.events if not isinstance(event, kind)]
        return taken
