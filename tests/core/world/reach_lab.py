"""One reach with a clock, and a peer who answers from some addresses."""

from random import Random

from natd.core.base.surroundings import Surroundings
from natd.core.base.types import (
    MAIN_SOCKET,
    Address,
    Allocation,
    Mapping,
    NatReport,
)
from natd.core.checks.budget import TargetBudget
from natd.core.checks.checks import (
    Checks,
    read_check,
)
from natd.core.codec import stun
from natd.core.paths.flows import FlowsToPeer
from natd.core.peer.reach import Reach
from tests.core.world.lossy_link import pair_of_secrets

START = 1000.0
RTT_S = 0.1
OURS = Address("203.0.113.20", 40000)
THEIRS = Address("198.51.100.7", 40001)
ELSEWHERE = Address("198.51.100.99", 40001)
LAN = Address("192.168.1.9", 40001)
SERVER = Address("203.0.113.1", 8080)
MIXES = NatReport(Mapping.INDEPENDENT, allocation=Allocation.RANDOM)
HARD = NatReport(Mapping.DEPENDENT, allocation=Allocation.RANDOM)
FLIGHT = b"\xc0" + bytes(1199)


class Lab:
    """One reach, the clock, and a peer who answers from some addresses."""

    def __init__(self, answers=None, nats=(MIXES, MIXES)):
        ours, self.theirs = pair_of_secrets()
        self._secrets = ours
        self.now = START
        self.reach = Reach(TargetBudget(), Random(1), FlowsToPeer(), None)
        self.reach.checks.use(ours)
        self.reach.remote.describe_peer((), nats[1])
        surroundings = Surroundings((OURS,), frozenset({SERVER}), nats[0], RTT_S)
        self.reach.search.set_surroundings(surroundings, START)
        self.remote = Checks(b"wxyz", Random(2))
        self.remote.use(self.theirs)
        self.answers = answers
        """None for every address."""
        self.sent = []
        self.events = []
        self._on_the_way = []

    def introduce(self, *seen, start_in_s=0.0):
        self.reach.introduced(seen, start_in_s, self.now)
        self.drain()

    def hear_check(self, address, asks=None):
        """A fresh check of the peer's arrives from an address; its bytes."""
        data = self.remote.request(OURS, MAIN_SOCKET, self.now, asks=asks).data
        self.receive(data, address)
        return data

    def receive(self, data, address):
        message = stun.decode(data)
        self.reach.receive_check(message, data, self._secrets, address, MAIN_SOCKET, self.now)
        self.drain()

    def run(self, duration_s):
        until = self.now + duration_s
        self.drain()
        while True:
            timer = self.reach.get_timer()
            arrival = self._on_the_way[0][0] if self._on_the_way else None
            due = min((at for at in (timer, arrival) if at is not None), default=None)
            if due is None or due > until:
                break
            self.now = max(self.now, due)
            if arrival == due:
                _, check = self._on_the_way.pop(0)
                heard = read_check(
                    stun.decode(check.data), check.data, self.theirs, OURS, MAIN_SOCKET
                )
                if heard is not None:
                    self.reach.receive_check_answer(
                        stun.decode(heard.answer.data),
                        heard.answer.data,
                        check.address,
                        check.socket,
                        self.now,
                    )
            else:
                self.reach.handle_timer(self.now)
            self.drain()
        self.now = until

    def drain(self):
        for datagram in self.reach.datagrams_to_send():
            self.sent.append((self.now, datagram))
            answers = self.answers is None or datagram.address in self.answers
            if answers and datagram.ttl is None and kind(datagram) == "check":
                self._on_the_way.append((self.now + RTT_S, datagram))
        while (event := self.reach.next_event()) is not None:
            self.events.append(event)

    def take(self, wanted):
        taken = [event for event in self.events if isinstance(event, wanted)]
        self.events = [event for event in self.events if not isinstance(event, wanted)]
        return taken

    def checks_to(self, address):
        return sum(d.address == address and kind(d) == "check" for _, d in self.sent)

    def flights_to(self, address):
        return sum(d.address == address and kind(d) == "flight" for _, d in self.sent)


def kind(datagram):
    if datagram.data[0] & 0x80:
        return "flight"
    is_request = stun.decode(datagram.data).message_class is stun.MessageClass.REQUEST
    return "check" if is_request else "answer"
