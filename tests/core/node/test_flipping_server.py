"""A server that says of a member now that it is here, now that it is there.

At each of the two hosts somebody has answered us once, so no stranger's budget holds there.  What
counts are the flows that this opens at our own NAT within the half minute that it keeps them: a
home router has room for 16,384.
"""

from dataclasses import replace

import pytest

from natd.core.base.types import Address
from natd.core.codec import rendezvous_codec
from natd.core.codec.rendezvous import Introduce
from natd.core.keys.secrets import network_key
from tests.core.world.village import Village
from tests.internet.nat import PORT_RESTRICTED, SYMMETRIC_BLOCK, SYMMETRIC_RANDOM, NatPolicy

KEY = network_key("demo", b"0123456789abcdef")
A_WEEK_S = 7 * 86_400.0
NAT_FORGETS_S = 30.0


@pytest.mark.parametrize(
    ("ours", "theirs", "most"),
    [
        pytest.param(SYMMETRIC_RANDOM, PORT_RESTRICTED, 2_048, id="who opens"),
        pytest.param(SYMMETRIC_BLOCK, SYMMETRIC_BLOCK, 2_048, id="two blocks"),
        pytest.param(PORT_RESTRICTED, SYMMETRIC_RANDOM, 5_200, id="who probes"),
    ],
)
def test_a_member_who_is_said_to_move_each_second_fills_no_router(
    ours: NatPolicy, theirs: NatPolicy, most: int
) -> None:
    """It made 7,687 flows.  Who probes sends as many packets where nobody moves."""
    assert 100 < flows_of_half_a_minute(ours, theirs, flips_every_s=1.0) <= most


def flows_of_half_a_minute(ours: NatPolicy, theirs: NatPolicy, flips_every_s: float) -> int:
    """The most that our NAT sees in any, of two minutes."""
    village = Village(3)
    internet = village.internet
    alice = village.member("alice", internet.add_nat(ours), key=KEY)
    mallory = village.member("mallory", internet.add_nat(theirs), key=KEY, port=40100)
    hosts = [internet.add_host(name=f"place {number}").address for number in range(2)]
    alice.start()
    internet.run(5.0)
    for host in hosts:
        alice.node.shared.budget.turns.answered(host, internet.now + A_WEEK_S, internet.now)
    seat = internet._attached[village.server_host]
    seat.core = Flipper(seat.core, mallory.peer, hosts, lambda: internet.now / flips_every_s)
    trace = internet.trace = []
    mallory.start()
    for _ in range(120):
        internet.run(1.0)
        mallory.membership.retry(alice.peer, internet.now)
    sent = [(e.at, (e.datagram.socket, e.datagram.address)) for e in trace if e.host is alice.host]
    return max(
        len({flow for at, flow in sent if began <= at < began + NAT_FORGETS_S})
        for began, _ in sent[::50]
    )


class Flipper:
    """A server that puts a member at each of two hosts in turn."""

    def __init__(self, server, member, hosts, turn):
        self._server = server
        self._member = member
        self._hosts = hosts
        self._turn = turn

    def datagrams_to_send(self):
        return [self._twisted(sent) for sent in self._server.datagrams_to_send()]

    def _twisted(self, sent):
        message = rendezvous_codec.decode(sent.data)
        if not (isinstance(message, Introduce) and message.peer == self._member):
            return sent
        which = int(self._turn()) % 2
        there = Address(self._hosts[which], 40000 + which)
        lie = replace(message, observed=(there,), samples=(), is_proved=True)
        return sent._replace(data=rendezvous_codec.encode(lie))

    def __getattr__(self, name):
        return getattr(self._server, name)
